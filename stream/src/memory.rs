//! The log in memory: the model for the seeded simulation. Same promises, no disk; [`MemoryLog::crash`] is a `kill -9`.

use crate::{Append, Bounds, Consumer, Log, LogError};
use async_trait::async_trait;
use model::{Clock, Entry, Micros, Offset, Origin, Stream};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What goes wrong at the next call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The next append is refused as full.
    Full,
    /// The next append or read finds the log away.
    Unavailable,
    /// The next append takes this long.
    Slow(Duration),
}

#[derive(Default, Debug)]
struct Partition {
    first: u64,
    entries: VecDeque<Entry>,
    appended: Micros,
}

impl Partition {
    fn bounds(&self) -> Bounds {
        Bounds { first: self.first, next: self.first + self.entries.len() as u64 }
    }
}

#[derive(Debug)]
struct State {
    partitions: HashMap<(Stream, u32), Partition>,
    positions: HashMap<(String, Stream, u32), u64>,
    faults: VecDeque<Fault>,
    life: u64,
    closed: bool,
}

/// A log that outlives simulated processes.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    partitions: u32,
    collector: u64,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(partitions: u32, collector: u64, clock: Arc<dyn Clock>) -> Self {
        let partitions_made = (0..partitions)
            .flat_map(|p| [(Stream::Readings, p), (Stream::Transitions, p)])
            .map(|key| (key, Partition::default()))
            .collect();
        let state = State {
            partitions: partitions_made,
            positions: HashMap::new(),
            faults: VecDeque::new(),
            life: 0,
            closed: false,
        };
        Self { partitions, collector, clock, state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(0) }
    }

    /// What was appended and not yet durable is lost and its caller is told; what is durable stays.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.life += 1;
        state.closed = false;
        state.faults.clear();
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Makes a coming call go wrong; faults are used up in order.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn fault(&self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut state = self.lock();
        if state.faults.front().is_some_and(wanted) { state.faults.pop_front() } else { None }
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    async fn append(&self, stream: Stream, partition: u32, records: Vec<Append>) -> Result<u64, LogError> {
        let life = self.lock().life;
        match self.fault(|_| true) {
            Some(Fault::Full) => return Err(LogError::Full("injected".to_owned())),
            Some(Fault::Unavailable) => return Err(LogError::Unavailable("injected".to_owned())),
            Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
            // A commit takes a moment in which others can run, as it does on disk.
            None => tokio::task::yield_now().await,
        }
        let mut state = self.lock();
        if state.life != life || state.closed {
            return Err(LogError::Broken("the process ended".to_owned()));
        }
        let (clock, collector) = (self.clock.now(), self.collector);
        let part = state.partitions.get_mut(&(stream, partition)).expect("callers know the partitions");
        part.appended = part.appended.max(clock);
        let first = part.bounds().next;
        for (append, number) in records.into_iter().zip(first..) {
            let origin = append.origin.unwrap_or(Origin { collector, sequence: number });
            let (offset, appended) = (Offset { partition, number }, part.appended);
            part.entries.push_back(Entry { offset, appended, origin, bytes: append.bytes });
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        Ok(first)
    }

    async fn read(&self, stream: Stream, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        if self.fault(|f| matches!(f, Fault::Unavailable)).is_some() {
            return Err(LogError::Unavailable("injected".to_owned()));
        }
        let state = self.lock();
        let part = &state.partitions[&(stream, partition)];
        if from < part.first {
            return Err(LogError::Gone { partition, wanted: from, first: part.first });
        }
        let mut bytes = 0;
        let wanted = part.entries.iter().skip((from - part.first) as usize).take_while(|e| {
            let take = bytes == 0 || bytes + e.bytes.len() <= max_bytes;
            bytes += e.bytes.len();
            take
        });
        Ok(wanted.cloned().collect())
    }

    async fn wait(&self, stream: Stream, partition: u32, from: u64) -> Result<(), LogError> {
        let mut changed = self.changed.subscribe();
        loop {
            if self.lock().partitions[&(stream, partition)].bounds().next > from {
                return Ok(());
            }
            changed.changed().await.map_err(|_| LogError::Broken("the log is gone".to_owned()))?;
        }
    }

    async fn bounds(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError> {
        Ok(self.lock().partitions[&(stream, partition)].bounds())
    }

    async fn save_position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
        next: u64,
    ) -> Result<(), LogError> {
        let mut state = self.lock();
        let now = state.positions.entry((consumer.to_owned(), stream, partition)).or_default();
        *now = next.max(*now);
        Ok(())
    }

    async fn position(&self, consumer: Consumer<'_>, stream: Stream, partition: u32) -> Result<Option<u64>, LogError> {
        Ok(self.lock().positions.get(&(consumer.to_owned(), stream, partition)).copied())
    }

    async fn trim(&self, stream: Stream, consumers: &[&str], older_than: Micros) -> Result<(), LogError> {
        let mut state = self.lock();
        for partition in 0..self.partitions {
            let of = |c: &&str| state.positions.get(&((*c).to_owned(), stream, partition)).copied().unwrap_or(0);
            let limit = consumers.iter().map(of).min().unwrap_or(u64::MAX);
            let part = state.partitions.get_mut(&(stream, partition)).expect("made with the log");
            while part.first < limit && part.entries.front().is_some_and(|e| e.appended < older_than) {
                part.entries.pop_front();
                part.first += 1;
            }
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), LogError> {
        self.lock().closed = true;
        Ok(())
    }
}
