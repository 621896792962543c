//! The alarm store in memory: the model. What a transaction did is kept as a whole or not at all; [`MemoryStore::crash`] ends
//! the simulated process, what was committed stays.

use super::{Tables, Work, dead_letter};
use crate::life::{Class, Row};
use crate::receiver::Receiver;
use crate::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// A planted mistake, so that a test can show that it would be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// A transition id seen before is taken again.
    ForgetsIds,
    /// Alarms are committed first and the outbox in a second step.
    OutboxOutside,
}

#[derive(Clone, Debug)]
struct Sent {
    row: OutboxRow,
    state: u8,
}

#[derive(Clone, Default, Debug)]
struct State {
    rows: BTreeMap<String, Row>,
    remembered: HashMap<String, Micros>,
    events: Vec<(AlarmEvent, String)>,
    outbox: Vec<Sent>,
    positions: HashMap<u32, u64>,
    mistake: Option<Mistake>,
    later: Vec<OutboxRow>,
}

/// Alarms in memory; clones are the same store, as processes share a database.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    receivers: Arc<Vec<Receiver>>,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(receivers: Vec<Receiver>) -> Self {
        Self { receivers: Arc::new(receivers), state: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// Plants a mistake.
    pub fn plant(&self, mistake: Mistake) {
        self.lock().mistake = Some(mistake);
    }

    /// The process ends: what was not committed is gone.
    pub fn crash(&self) {
        self.lock().later.clear();
    }

    /// The second step of the planted outbox outside the transaction.
    fn late_outbox(&self) {
        let mut state = self.lock();
        let later = std::mem::take(&mut state.later);
        state.outbox.extend(later.into_iter().map(|row| Sent { row, state: 0 }));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Runs a transaction: on a copy, which replaces the state when it succeeds.
    async fn transact<R>(
        &self,
        work: impl AsyncFnOnce(&mut Work<'_, State>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let mut copy = self.lock().clone();
        let result = work(&mut Work { tables: &mut copy, receivers: &self.receivers }).await?;
        *self.lock() = copy;
        self.changed.send_modify(|n| *n += 1);
        Ok(result)
    }
}

#[async_trait]
impl Tables for State {
    async fn position(&mut self, partition: u32) -> Result<u64, StoreError> {
        Ok(self.positions.get(&partition).copied().unwrap_or(0))
    }

    async fn set_position(&mut self, partition: u32, next: u64) -> Result<(), StoreError> {
        self.positions.insert(partition, next);
        Ok(())
    }

    async fn remember(&mut self, id: &str, at: Micros) -> Result<bool, StoreError> {
        let new = self.remembered.insert(id.to_owned(), at).is_none();
        Ok(new || self.mistake == Some(Mistake::ForgetsIds))
    }

    async fn forget(&mut self, before: Micros) -> Result<(), StoreError> {
        self.remembered.retain(|_, at| *at >= before);
        Ok(())
    }

    async fn active(&mut self, rule: &str, point_id: i64, class: Class) -> Result<Option<Row>, StoreError> {
        let is = |r: &&Row| {
            r.alarm.state == model::AlarmState::Active
                && r.alarm.rule == rule
                && r.point_id == point_id
                && r.class == class
        };
        Ok(self.rows.values().find(is).cloned())
    }

    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(id).cloned())
    }

    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError> {
        Ok(self.rows.values().filter(|r| r.held && r.partition == partition).cloned().collect())
    }

    async fn put(&mut self, row: &Row) -> Result<(), StoreError> {
        self.rows.insert(row.alarm.id.clone(), row.clone());
        Ok(())
    }

    async fn event(
        &mut self,
        row: &Row,
        event: EventKind,
        at: Micros,
        by: &str,
        _: &str,
    ) -> Result<i64, StoreError> {
        let seq = self.events.len() as i64 + 1;
        self.events.push((AlarmEvent { seq, event, alarm: row.alarm.clone(), at }, by.to_owned()));
        Ok(seq)
    }

    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError> {
        let rose = |e: &AlarmEvent| {
            e.seq > seq && e.alarm.id == id && matches!(e.event, EventKind::Raised | EventKind::Changed)
        };
        Ok(self.events.iter().any(|(e, _)| rose(e)))
    }

    async fn send(&mut self, message: &OutboxRow) -> Result<(), StoreError> {
        if self.mistake == Some(Mistake::OutboxOutside) {
            self.later.push(message.clone());
        } else if !self.outbox.iter().any(|s| s.row.key == message.key) {
            self.outbox.push(Sent { row: message.clone(), state: 0 });
        }
        Ok(())
    }
}

#[async_trait]
impl AlarmStore for MemoryStore {
    async fn position(&self, partition: u32) -> Result<u64, StoreError> {
        Ok(self.lock().positions.get(&partition).copied().unwrap_or(0))
    }

    async fn apply(&self, batch: TransitionBatch) -> Result<Vec<AlarmEvent>, StoreError> {
        let events = self.transact(async |work| work.apply(&batch).await).await?;
        if self.lock().mistake == Some(Mistake::OutboxOutside) {
            tokio::task::yield_now().await;
            self.late_outbox();
        }
        Ok(events)
    }

    async fn acknowledge(
        &self,
        ids: &[String],
        by: &str,
        note: &str,
        seen_seq: Option<i64>,
        now: Micros,
    ) -> Result<Vec<AckOutcome>, StoreError> {
        self.transact(async |work| {
            let mut out = Vec::new();
            for id in ids {
                out.push(work.acknowledge(id, by, note, seen_seq, now).await?);
            }
            Ok(out)
        })
        .await
    }

    async fn clear(
        &self,
        ids: &[String],
        by: &str,
        note: &str,
        now: Micros,
    ) -> Result<Vec<AckOutcome>, StoreError> {
        self.transact(async |work| {
            let mut out = Vec::new();
            for id in ids {
                out.push(work.clear(id, by, note, now).await?);
            }
            Ok(out)
        })
        .await
    }

    async fn list(&self, filter: &AlarmFilter) -> Result<Vec<Alarm>, StoreError> {
        let state = self.lock();
        let is_active = |a: &Alarm| a.state == model::AlarmState::Active;
        let mut alarms: Vec<Alarm> = state.rows.values().map(|r| r.alarm.clone()).collect();
        alarms.retain(|a| (filter.all || is_active(a)) && filter.site.as_ref().is_none_or(|s| *s == a.site));
        alarms.sort_by_key(|a| (!is_active(a), -a.opened));
        alarms.truncate(filter.limit);
        Ok(alarms)
    }

    async fn get(&self, id: &str) -> Result<Option<Alarm>, StoreError> {
        Ok(self.lock().rows.get(id).map(|r| r.alarm.clone()))
    }

    async fn last_seq(&self) -> Result<i64, StoreError> {
        Ok(self.lock().events.len() as i64)
    }

    async fn events_after(&self, seq: i64, limit: usize) -> Result<Vec<AlarmEvent>, StoreError> {
        Ok(self.lock().events.iter().map(|(e, _)| e).filter(|e| e.seq > seq).take(limit).cloned().collect())
    }

    async fn raise_own(&self, alarm: OwnAlarm, now: Micros) -> Result<(), StoreError> {
        self.transact(async |work| work.own(&alarm, now).await).await.map(|_| ())
    }

    async fn outbox_due(
        &self,
        receiver: &str,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let state = self.lock();
        let due = state
            .outbox
            .iter()
            .filter(|s| s.state == 0 && s.row.receiver == receiver && s.row.next_at <= now);
        Ok(due.take(limit).map(|s| s.row.clone()).collect())
    }

    async fn delivered(&self, key: &str, _: Micros) -> Result<(), StoreError> {
        self.lock().outbox.iter_mut().filter(|s| s.row.key == key).for_each(|s| s.state = 1);
        Ok(())
    }

    async fn failed(
        &self,
        key: &str,
        error: &str,
        next_at: Option<Micros>,
        now: Micros,
    ) -> Result<(), StoreError> {
        let dead = {
            let mut state = self.lock();
            let Some(sent) = state.outbox.iter_mut().find(|s| s.row.key == key) else { return Ok(()) };
            sent.row.attempts += 1;
            match next_at {
                Some(next_at) => sent.row.next_at = next_at,
                None => sent.state = 2,
            }
            next_at.is_none().then(|| dead_letter(&sent.row.receiver, key, error))
        };
        match dead {
            Some(alarm) => self.raise_own(alarm, now).await,
            None => Ok(()),
        }
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let state = self.lock();
        let live: Vec<&Row> =
            state.rows.values().filter(|r| r.class == Class::Live && r.alarm.site != own::SITE).collect();
        let count = |wanted: u8| state.outbox.iter().filter(|s| s.state == wanted).count() as u64;
        Ok(Counts {
            raised: live.len() as u64,
            cleared: live.iter().filter(|r| r.alarm.state == model::AlarmState::Closed).count() as u64,
            sent: state.outbox.len() as u64,
            delivered: count(1),
            pending: count(0),
            dead: count(2),
        })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
