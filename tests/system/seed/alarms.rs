//! The alarm store and the receiver of the simulation: the model of the crate `alerts` and a receiver that remembers every message,
//! with points to die at.

use super::world::World;
use alerts::journal::{Checkpoint, Entry, Head, Journal, Signer};
use alerts::notifiers::{Message, Notice};
use alerts::store::DIGEST_LATE;
use alerts::*;
use async_trait::async_trait;
use model::{Alarm, Clock, Micros, Transition};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// A batch of transitions as the store took it.
pub type Taken = TransitionBatch;

#[derive(Clone, Debug)]
pub struct SeedAlarms {
    pub inner: MemoryStore,
    pub world: World,
    /// Every batch taken, in order, for the judge.
    pub taken: Arc<Mutex<Vec<Taken>>>,
}

impl SeedAlarms {
    /// When everything that is settled by then has been told: what was held or found late waits for others.
    pub fn told_by(&self, started: Micros) -> Micros {
        let taken = self.taken.lock().expect("no holder of this lock panics");
        let held = taken.iter().rev().find(|b| b.hold).map_or(started, |b| b.now.max(started));
        let is_late = |t: &Transition| t.marks.late;
        let late =
            taken.iter().rev().find(|b| b.transitions.iter().any(is_late)).map(|b| b.now + DIGEST_LATE);
        late.unwrap_or(held).max(held) + model::time::MINUTE
    }

    /// A change, with a point before and one after it.
    async fn change<T>(
        &self,
        points: [&'static str; 2],
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.world.call("alarm store", points[0]).await.map_err(StoreError::Database)?;
        let done = change.await?;
        self.world.pass(points[1]).await;
        Ok(done)
    }
}

const APPLY: [&str; 2] = ["apply transitions: before", "apply transitions: after"];
const DELIVERED: [&str; 2] = ["note delivery: before", "note delivery: after"];
const FAILED: [&str; 2] = ["note failure: before", "note failure: after"];

#[async_trait]
impl Journal for SeedAlarms {
    async fn journal(&self, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.journal(after, limit).await
    }

    async fn unlike_journal(&self) -> Result<Option<(String, i64)>, StoreError> {
        self.inner.unlike_journal().await
    }
}

#[async_trait]
impl AlarmStore for SeedAlarms {
    async fn position(&self, partition: u32) -> Result<u64, StoreError> {
        self.inner.position(partition).await
    }

    async fn apply(&self, batch: TransitionBatch) -> Result<Vec<AlarmEvent>, StoreError> {
        let apply = async {
            self.taken.lock().unwrap().push(batch.clone());
            self.inner.apply(batch).await
        };
        self.change(APPLY, apply).await
    }

    async fn act(&self, ids: &[String], act: &Act, now: Micros) -> Result<Vec<Outcome>, StoreError> {
        self.inner.act(ids, act, now).await
    }

    async fn record(&self, happened: Happened, now: Micros) -> Result<(), StoreError> {
        self.inner.record(happened, now).await
    }

    async fn checkpoint(&self, signer: &Signer, now: Micros) -> Result<Checkpoint, StoreError> {
        self.inner.checkpoint(signer, now).await
    }

    async fn history(&self, id: &str) -> Result<Vec<Entry>, StoreError> {
        self.inner.history(id).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }

    async fn shelved(&self) -> Result<Vec<OnShelf>, StoreError> {
        self.inner.shelved().await
    }

    async fn list(&self, filter: &AlarmFilter) -> Result<Vec<Alarm>, StoreError> {
        self.inner.list(filter).await
    }

    async fn get(&self, id: &str) -> Result<Option<Alarm>, StoreError> {
        self.inner.get(id).await
    }

    async fn events_after(&self, seq: i64, limit: usize) -> Result<Vec<AlarmEvent>, StoreError> {
        self.inner.events_after(seq, limit).await
    }

    async fn raise_own(&self, alarm: OwnAlarm, now: Micros) -> Result<(), StoreError> {
        self.inner.raise_own(alarm, now).await
    }

    async fn outbox_due(&self, who: &str, now: Micros, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
        self.inner.outbox_due(who, now, limit).await
    }

    async fn delivered(&self, key: &str, now: Micros) -> Result<(), StoreError> {
        self.change(DELIVERED, self.inner.delivered(key, now)).await
    }

    async fn failed(
        &self,
        key: &str,
        error: &str,
        next_at: Option<Micros>,
        now: Micros,
    ) -> Result<(), StoreError> {
        self.change(FAILED, self.inner.failed(key, error, next_at, now)).await
    }

    async fn expire(&self, receiver: &str, created_before: Micros, now: Micros) -> Result<u64, StoreError> {
        self.inner.expire(receiver, created_before, now).await
    }

    async fn revive(&self, receiver: &str, now: Micros) -> Result<(), StoreError> {
        self.inner.revive(receiver, now).await
    }

    async fn flush(&self, now: Micros) -> Result<(), StoreError> {
        self.inner.flush(now).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.inner.backlog().await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.inner.counts().await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed()
    }
}

/// A message as it came: when, under which key, and what it said.
pub type Told = (Micros, String, Vec<u8>);

/// The receiver at the other end: what it was told, in order.
#[derive(Clone, Debug)]
pub struct Bureau {
    pub world: World,
    pub told: Arc<Mutex<Vec<Told>>>,
}

#[async_trait]
impl Notifier for Bureau {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        self.world.call("receiver", "send message: before").await.map_err(SendError::Retry)?;
        self.world.note(&message.body);
        self.told.lock().unwrap().push((self.world.now(), message.key.clone(), message.body.clone()));
        // Taken, and yet the answer may be lost.
        self.world.call("answer of the receiver", "send message: after").await.map_err(SendError::Retry)
    }
}

impl Settings for Bureau {
    fn render(&self, notice: &Notice<'_>) -> Vec<u8> {
        notice.json.as_bytes().to_vec()
    }

    fn connect(&self) -> Result<Arc<dyn Notifier>, String> {
        Ok(Arc::new(self.clone()))
    }
}
