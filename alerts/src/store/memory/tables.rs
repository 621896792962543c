//! The reads and writes of one transaction in memory.

use super::{Mistake, Sent, SentState, State};
use crate::journal::{Entry, Head, NOTHING};
use crate::life::{Class, Row};
use crate::store::{Settled, ShelfKey, Tables};
use crate::{Counts, OutboxRow, StoreError};
use async_trait::async_trait;
use model::{AlarmState, Micros, Shelved};
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

    async fn remember(&mut self, id: &str, at: Micros) -> Result<bool, StoreError> {
        let new = !self.remembered.contains_key(id);
        if new {
            self.remembered.insert(id.to_owned(), at);
        }
        Ok(new || self.mistake == Some(Mistake::ForgetsIds))
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

    async fn active(&mut self, rule: &str, point_id: i64, class: Class) -> Result<Option<Row>, StoreError> {
        let is = |r: &Row| {
            r.alarm.state == AlarmState::Active
                && r.alarm.rule == rule
                && r.point_id == point_id
                && r.class == class
        };
        Ok(self.rows.values().find(|(_, row)| is(row)).map(|(_, row)| (**row).clone()))
    }

    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(id).map(|(_, row)| (**row).clone()))
    }

    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError> {
        let mut rows: Vec<_> =
            self.rows.values().filter(|(_, r)| r.held && r.partition == partition).collect();
        rows.sort_by_key(|(n, _)| *n);
        Ok(rows.into_iter().map(|(_, row)| (**row).clone()).collect())
    }

    async fn put(&mut self, row: &Row) -> Result<(), StoreError> {
        let n = self.rows.get(&row.alarm.id).map_or(self.rows.len() as u64, |(n, _)| *n);
        self.rows.insert(row.alarm.id.clone(), (n, Arc::new(row.clone())));
        Ok(())
    }

    async fn head(&mut self) -> Result<Head, StoreError> {
        Ok(self.journal.last().map_or(NOTHING, |entry| entry.head()))
    }

    async fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.journal.push(Arc::new(entry.clone()));
        Ok(())
    }

    async fn shelf(&mut self, (rule, point_id, class): ShelfKey<'_>) -> Result<Option<Shelved>, StoreError> {
        Ok(self.shelves.get(&(rule.to_owned(), point_id, class)).cloned())
    }

    async fn set_shelf(
        &mut self,
        (rule, point_id, class): ShelfKey<'_>,
        shelf: Option<&Shelved>,
    ) -> Result<(), StoreError> {
        let key = (rule.to_owned(), point_id, class);
        match shelf {
            Some(shelf) => self.shelves.insert(key, shelf.clone()),
            None => self.shelves.remove(&key),
        };
        Ok(())
    }

    async fn shelves_over(
        &mut self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<(String, i64, Class)>, StoreError> {
        let mut over: Vec<_> = self.shelves.iter().filter(|(_, shelf)| shelf.until <= now).collect();
        over.sort_by_key(|(_, shelf)| shelf.until);
        Ok(over.into_iter().take(limit).map(|(key, _)| key.clone()).collect())
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
