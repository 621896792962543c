//! The reads and writes of one transaction in memory.

use super::{Mistake, Sent, SentState, State};
use crate::flood::Flood;
use crate::journal::{Entry, Head, NOTHING};
use crate::life::{Clock, Row};
use crate::store::{Settled, ShelfKey, Shelves, Tables};
use crate::{Counts, OnShelf, OutboxRow, StoreError};
use async_trait::async_trait;
use model::{AlarmState, Micros};
use std::sync::Arc;

#[async_trait]
impl Tables for State {
    async fn position(&mut self, partition: u32) -> Result<u64, StoreError> {
        Ok(self.positions.get(&partition).map_or(0, |(next, _)| *next))
    }

    async fn set_position(&mut self, partition: u32, next: u64, held: bool) -> Result<(), StoreError> {
        self.positions.insert(partition, (next, held));
        Ok(())
    }

    async fn remember(&mut self, ids: &[String], at: Micros) -> Result<Vec<bool>, StoreError> {
        let forgets = self.mistake == Some(Mistake::ForgetsIds);
        let mut new = |id: &String| {
            let new = !self.remembered.contains_key(id);
            if new {
                self.remembered.insert(id.clone(), at);
            }
            new || forgets
        };
        Ok(ids.iter().map(&mut new).collect())
    }

    async fn forget(
        &mut self,
        ids_before: Micros,
        delivered_before: Micros,
        _: i64,
    ) -> Result<(), StoreError> {
        self.remembered.retain(|_, at| *at >= ids_before);
        self.outbox.retain(|s| !matches!(s.state, SentState::Delivered(at) if at < delivered_before));
        Ok(())
    }

    async fn active(&mut self, keys: &[ShelfKey]) -> Result<Vec<Row>, StoreError> {
        let is = |row: &Row| {
            let of = |(rule, point_id, class): &ShelfKey| {
                row.alarm.rule == *rule && row.point_id == *point_id && row.class == *class
            };
            row.alarm.state == AlarmState::Active && keys.iter().any(of)
        };
        Ok(self.rows.values().filter(|(_, row)| is(row)).map(|(_, row)| (**row).clone()).collect())
    }

    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(id).map(|(_, row)| (**row).clone()))
    }

    async fn due(&mut self, now: Micros, limit: usize) -> Result<Vec<Row>, StoreError> {
        let next = |row: &Row| row.clock.and_then(|c| c.next).filter(|next| *next <= now);
        let is_held = |row: &Row| self.positions.get(&row.partition).is_some_and(|(_, held)| *held);
        let mut due: Vec<_> = self.rows.values().filter(|(_, row)| !is_held(row)).collect();
        due.retain(|(_, row)| next(row).is_some());
        due.sort_by_key(|(n, row)| (next(row), *n));
        Ok(due.into_iter().take(limit).map(|(_, row)| (**row).clone()).collect())
    }

    async fn start_clock(&mut self, id: &str, now: Micros) -> Result<(), StoreError> {
        let Some((_, row)) = self.rows.get_mut(id) else { return Ok(()) };
        if let Some(clock) = row.clock.filter(|c| c.since > now) {
            let next = clock.next.map(|next| next - (clock.since - now));
            Arc::make_mut(row).clock = Some(Clock { since: now, next, ..clock });
        }
        Ok(())
    }

    async fn look_at_clocks(&mut self, now: Micros) -> Result<(), StoreError> {
        for (_, row) in self.rows.values_mut() {
            if let Some(clock) = row.clock {
                Arc::make_mut(row).clock = Some(clock.looked_at(now));
            }
        }
        Ok(())
    }

    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError> {
        let mut rows: Vec<_> =
            self.rows.values().filter(|(_, r)| r.held && r.partition == partition).collect();
        rows.sort_by_key(|(n, _)| *n);
        Ok(rows.into_iter().map(|(_, row)| (**row).clone()).collect())
    }

    async fn put(&mut self, rows: &[(Arc<Row>, String)]) -> Result<(), StoreError> {
        for (row, _) in rows {
            let n = self.rows.get(&row.alarm.id).map_or(self.rows.len() as u64, |(n, _)| *n);
            self.rows.insert(row.alarm.id.clone(), (n, row.clone()));
        }
        Ok(())
    }

    async fn head(&mut self) -> Result<Head, StoreError> {
        Ok(self.journal.last().map_or(NOTHING, |entry| entry.head()))
    }

    async fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.journal.extend(entries.iter().cloned().map(Arc::new));
        Ok(())
    }

    async fn shelves(&mut self) -> Result<Shelves, StoreError> {
        Ok(self.shelves.clone())
    }

    async fn set_shelf(&mut self, key: &ShelfKey, shelf: Option<&OnShelf>) -> Result<(), StoreError> {
        match shelf {
            Some(shelf) => self.shelves.insert(key.clone(), shelf.clone()),
            None => self.shelves.remove(key),
        };
        Ok(())
    }

    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError> {
        Ok(self.journal.iter().any(|e| e.rose && e.seq > seq && e.alarm_id == id))
    }

    async fn send(&mut self, messages: &[OutboxRow]) -> Result<u64, StoreError> {
        if self.mistake == Some(Mistake::OutboxOutside) {
            self.later.extend_from_slice(messages);
            return Ok(messages.len() as u64);
        }
        let before = self.outbox.len();
        for message in messages {
            if !self.outbox.iter().any(|s| s.row.key == message.key) {
                self.outbox.push(Arc::new(Sent { row: message.clone(), state: SentState::Pending }));
            }
        }
        Ok((self.outbox.len() - before) as u64)
    }

    async fn floods(&mut self) -> Result<Vec<(String, Flood)>, StoreError> {
        Ok(self.floods.clone().into_iter().collect())
    }

    async fn set_flood(&mut self, receiver: &str, flood: &Flood) -> Result<(), StoreError> {
        self.floods.insert(receiver.to_owned(), flood.clone());
        Ok(())
    }

    async fn list(&mut self, listed: &[(String, String)]) -> Result<(), StoreError> {
        self.listed.extend(listed.iter().cloned());
        Ok(())
    }

    async fn listed_take(&mut self, receiver: &str, limit: usize) -> Result<Vec<Row>, StoreError> {
        let of_receiver = self.listed.iter().filter(|(name, _)| name == receiver);
        let taken: Vec<_> = of_receiver.take(limit).cloned().collect();
        let mut rows: Vec<_> = taken.iter().filter_map(|(_, id)| self.rows.get(id)).collect();
        rows.sort_by_key(|(n, _)| *n);
        let rows = rows.into_iter().map(|(_, row)| (**row).clone()).collect();
        self.listed.retain(|listed| !taken.contains(listed));
        Ok(rows)
    }

    async fn digest_add(&mut self, id: &str, now: Micros, due: Micros) -> Result<(), StoreError> {
        self.digest.entry(id.to_owned()).or_insert((now, due));
        Ok(())
    }

    async fn digest_take(
        &mut self,
        now: Micros,
        held_before: Micros,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let due = self.digest.values().any(|(_, due)| *due <= now);
        let held = self.positions.values().any(|(_, held)| *held)
            && !self.digest.values().any(|(added, _)| *added <= held_before);
        if !due || held {
            return Ok(Vec::new());
        }
        let mut waiting: Vec<(Micros, String)> =
            self.digest.iter().map(|(id, (_, due))| (*due, id.clone())).collect();
        waiting.sort();
        waiting.truncate(limit);
        let mut taken: Vec<_> = waiting.iter().filter_map(|(_, id)| self.rows.get(id)).cloned().collect();
        for (_, id) in &waiting {
            self.digest.remove(id);
        }
        taken.sort_by_key(|(n, _)| *n);
        Ok(taken.into_iter().map(|(_, row)| (*row).clone()).collect())
    }

    async fn settle(&mut self, key: &str, end: &Settled<'_>) -> Result<Option<OutboxRow>, StoreError> {
        let is = |s: &&mut Arc<Sent>| s.row.key == key && s.state == SentState::Pending;
        let Some(sent) = self.outbox.iter_mut().find(is) else { return Ok(None) };
        let sent = Arc::make_mut(sent);
        sent.row.attempts += 1;
        match *end {
            Settled::Delivered { now } => sent.state = SentState::Delivered(now),
            Settled::Again { next_at, .. } => sent.row.next_at = next_at,
            Settled::Dead { .. } => sent.state = SentState::Dead,
        }
        Ok(Some(sent.row.clone()))
    }

    async fn expire(
        &mut self,
        receiver: &str,
        created_before: Micros,
        _: Micros,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let mut dead = Vec::new();
        for sent in &mut self.outbox {
            let old = sent.row.attempts > 0 && sent.row.created < created_before;
            if old && sent.row.receiver == receiver && sent.state == SentState::Pending {
                Arc::make_mut(sent).state = SentState::Dead;
                dead.push(sent.row.clone());
            }
        }
        Ok(dead)
    }

    async fn add(&mut self, more: &Counts) -> Result<(), StoreError> {
        let t = &mut self.totals;
        t.raised += more.raised;
        t.cleared += more.cleared;
        t.withdrawn += more.withdrawn;
        t.sent += more.sent;
        t.delivered += more.delivered;
        t.dead += more.dead;
        Ok(())
    }
}
