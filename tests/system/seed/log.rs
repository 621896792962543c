//! The log of the simulation: the model of the crate `stream`, with points to die at, and with what was trimmed kept aside for the
//! judge at the end.

use super::world::World;
use async_trait::async_trait;
use model::{Entry, Micros, Stream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stream::{Append, Bounds, Consumer, Log, LogError, MemoryLog};

/// A mistake that this log makes in place of the code that waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Early {
    /// Readings are said to be durable before they are.
    Readings,
    /// Transitions are: so a snapshot is saved before what it has decided.
    Transitions,
}

/// All entries there ever were, by stream and partition.
pub type History = BTreeMap<(bool, u32), Vec<Entry>>;

#[derive(Clone, Debug)]
pub struct SeedLog {
    pub inner: MemoryLog,
    world: World,
    early: Option<Early>,
    kept: Arc<Mutex<History>>,
}

impl SeedLog {
    pub fn new(inner: MemoryLog, world: World, early: Option<Early>) -> Self {
        Self { inner, world, early, kept: Arc::default() }
    }

    /// Every durable entry, those trimmed too.
    pub async fn history(&self) -> History {
        for stream in [Stream::Readings, Stream::Transitions] {
            for p in 0..self.inner.partitions() {
                let bounds = self.inner.bounds(stream, p).await.unwrap();
                let key = (stream == Stream::Transitions, p);
                let next = self.kept.lock().unwrap().entry(key).or_default().len() as u64;
                assert!(bounds.first <= next, "what was trimmed was kept before");
                let more = self.inner.read(stream, p, next, usize::MAX).await.unwrap();
                self.kept.lock().unwrap().entry(key).or_default().extend(more);
            }
        }
        self.kept.lock().unwrap().clone()
    }
}

#[async_trait]
impl Log for SeedLog {
    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    async fn append(&self, stream: Stream, partition: u32, records: Vec<Append>) -> Result<u64, LogError> {
        let [before, after] = match stream {
            Stream::Readings => ["append readings: before", "append readings: after"],
            Stream::Transitions => ["append transitions: before", "append transitions: after"],
        };
        records.iter().for_each(|r| self.world.note(&r.bytes));
        let early = match self.early {
            Some(Early::Readings) => stream == Stream::Readings,
            Some(Early::Transitions) => stream == Stream::Transitions,
            None => false,
        };
        if early {
            let (log, next) = (self.inner.clone(), self.inner.bounds(stream, partition).await?.next);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                log.append(stream, partition, records).await
            });
            self.world.pass(after).await;
            return Ok(next);
        }
        self.world.call("log", before).await.map_err(LogError::Unavailable)?;
        let first = self.inner.append(stream, partition, records).await?;
        // Durable, and yet the caller may be told that it failed.
        self.world.call("reply of the log", after).await.map_err(LogError::Unavailable)?;
        Ok(first)
    }

    async fn read(
        &self,
        stream: Stream,
        p: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.inner.read(stream, p, from, max_bytes).await
    }

    async fn wait(&self, stream: Stream, partition: u32, from: u64) -> Result<(), LogError> {
        self.inner.wait(stream, partition, from).await
    }

    async fn bounds(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError> {
        self.inner.bounds(stream, partition).await
    }

    async fn save_position(&self, who: Consumer<'_>, s: Stream, p: u32, next: u64) -> Result<(), LogError> {
        self.world.call("log", "save position: before").await.map_err(LogError::Unavailable)?;
        self.inner.save_position(who, s, p, next).await?;
        self.world.pass("save position: after").await;
        Ok(())
    }

    async fn position(&self, who: Consumer<'_>, stream: Stream, p: u32) -> Result<Option<u64>, LogError> {
        self.inner.position(who, stream, p).await
    }

    async fn trim(&self, consumers: &[&str], older_than: Micros) -> Result<(), LogError> {
        self.history().await;
        self.inner.trim(consumers, older_than).await
    }

    async fn close(&self) -> Result<(), LogError> {
        self.inner.close().await
    }
}
