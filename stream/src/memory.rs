//! The log in memory: the model that simulations run on. It keeps the promises of [`Log`] to the letter, and can do at a
//! word what a real one does at its worst moment: [`MemoryLog::crash`], [`MemoryLog::inject`].
//!
//! An append becomes durable one turn of the scheduler after it was handed over, or after the time of [`Fault::Slow`];
//! until then a crash drops it. Everything is decided by the callers and the tokio clock: on one thread with a paused
//! clock two runs are the same.

use crate::tip::Tip;
use crate::{Append, Bounds, Consumer, Log, LogError, region, regions};
use async_trait::async_trait;
use model::{Clock, Entry, Micros, Offset, Origin, Stream};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;

/// What goes wrong until [`MemoryLog::heal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Appends are refused as [`LogError::Full`]; reads go on.
    Full,
    /// Everything is refused as [`LogError::Unavailable`].
    Unavailable,
    /// Appends and saved positions take so long to become durable.
    Slow(Duration),
    /// The next append becomes durable, but its caller is told [`LogError::Unavailable`]; once.
    LostReply,
}

/// A log in memory; clones are handles of the same log.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    partitions: u32,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    collector: u64,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    tips: Vec<Tip>,
}

#[derive(Debug, Default)]
struct State {
    regions: Vec<Region>,
    positions: BTreeMap<(String, usize), u64>,
    full: bool,
    unavailable: bool,
    slow: Option<Duration>,
    lost_reply: bool,
    closed: bool,
    /// Counts the crashes: what was handed over before one never becomes durable after it.
    life: u64,
    pending: BTreeMap<u64, oneshot::Sender<LogError>>,
    handed_over: u64,
}

#[derive(Debug, Default)]
struct Region {
    first: u64,
    /// With the own sequence that follows each.
    entries: VecDeque<(Entry, u64)>,
    durable: u64,
    appended_min: Micros,
    sequence_min: u64,
}

impl Region {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn push(&mut self, partition: u32, record: Append, collector: u64, now: Micros) {
        let number = self.next();
        let (last, sequence) = match self.entries.back() {
            Some((e, sequence)) => (e.appended, *sequence),
            None => (self.appended_min, self.sequence_min),
        };
        let (origin, sequence) = match record.origin {
            Some(origin) => (origin, sequence),
            None => (Origin { collector, sequence }, sequence + 1),
        };
        let offset = Offset { partition, number };
        let entry = Entry { offset, appended: now.max(last), origin, bytes: record.bytes };
        self.entries.push_back((entry, sequence));
    }

    fn remove_before(&mut self, offset: u64) {
        while self.first < offset.min(self.durable) {
            let Some((entry, sequence)) = self.entries.pop_front() else { break };
            (self.appended_min, self.sequence_min) = (entry.appended, sequence);
            self.first += 1;
        }
    }
}

impl MemoryLog {
    /// An empty log. `collector` names its own records, as the random number of a real log does.
    pub fn new(partitions: u32, collector: u64, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            regions: std::iter::repeat_with(Region::default).take(regions(partitions)).collect(),
            ..State::default()
        };
        let tips = std::iter::repeat_with(|| Tip::at(0)).take(regions(partitions)).collect();
        Self { partitions, inner: Arc::new(Inner { collector, clock, state: Mutex::new(state), tips }) }
    }

    /// From now on this goes wrong.
    pub fn inject(&self, fault: Fault) {
        let mut state = self.lock();
        match fault {
            Fault::Full => state.full = true,
            Fault::Unavailable => state.unavailable = true,
            Fault::Slow(by) => state.slow = Some(by),
            Fault::LostReply => state.lost_reply = true,
        }
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut state = self.lock();
        (state.full, state.unavailable, state.slow, state.lost_reply) = (false, false, None, false);
    }

    /// The process dies and a new one opens the log: what is not durable is gone; appends under way and those who wait
    /// fail as [`LogError::Broken`].
    pub fn crash(&self) {
        let mut state = self.lock();
        state.life += 1;
        state.closed = false;
        for (region, tip) in state.regions.iter_mut().zip(&self.inner.tips) {
            region.entries.truncate((region.durable - region.first) as usize);
            tip.again(region.durable);
        }
        for (_, answer) in std::mem::take(&mut state.pending) {
            let _ =
                answer.send(LogError::Broken("the process crashed before the append was durable".to_owned()));
        }
    }

    /// Opens it again after [`Log::close`].
    pub fn reopen(&self) {
        let mut state = self.lock();
        state.closed = false;
        for (region, tip) in state.regions.iter().zip(&self.inner.tips) {
            tip.again(region.durable);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("no code panics while it holds the state")
    }

    /// The state, when the log can be reached.
    fn reach(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.lock();
        if state.closed {
            return Err(LogError::Broken("the log is closed".to_owned()));
        }
        if state.unavailable {
            return Err(LogError::Unavailable("injected".to_owned()));
        }
        Ok(state)
    }

    /// Runs `durable` after the delay of this moment, unless a crash comes first; returns its answer.
    fn commit<T, F>(
        &self,
        mut state: MutexGuard<'_, State>,
        durable: F,
    ) -> impl Future<Output = Result<T, LogError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Inner, &mut State) -> Result<T, LogError> + Send + 'static,
    {
        let (life, delay) = (state.life, state.slow);
        state.handed_over += 1;
        let ticket = state.handed_over;
        let (answer, crashed) = oneshot::channel();
        state.pending.insert(ticket, answer);
        drop(state);
        let log = self.clone();
        // A task of its own: a caller that gives up takes nothing back, as with the real log.
        let done = tokio::spawn(async move {
            match delay {
                Some(delay) => tokio::time::sleep(delay).await,
                None => tokio::task::yield_now().await,
            }
            let mut state = log.lock();
            if state.life == life {
                state.pending.remove(&ticket);
                return durable(&log.inner, &mut state);
            }
            Err(LogError::Broken("the process crashed before the append was durable".to_owned()))
        });
        async move {
            tokio::select! {
                biased;
                Ok(error) = crashed => Err(error),
                done = done => done.unwrap_or_else(|e| Err(LogError::Broken(e.to_string()))),
            }
        }
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    async fn append(&self, stream: Stream, partition: u32, records: Vec<Append>) -> Result<u64, LogError> {
        let at = region(self.partitions, stream, partition)?;
        let committing = {
            let mut state = self.reach()?;
            if state.full {
                return Err(LogError::Full("injected".to_owned()));
            }
            let lost = std::mem::take(&mut state.lost_reply);
            let now = self.inner.clock.now();
            let region = &mut state.regions[at];
            let first = region.next();
            for record in records {
                region.push(partition, record, self.inner.collector, now);
            }
            let next = region.next();
            self.commit(state, move |inner, state| {
                state.regions[at].durable = state.regions[at].durable.max(next);
                inner.tips[at].reached(next);
                if lost {
                    Err(LogError::Unavailable("injected: the reply is lost".to_owned()))
                } else {
                    Ok(first)
                }
            })
        };
        committing.await
    }

    async fn read(
        &self,
        stream: Stream,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let at = region(self.partitions, stream, partition)?;
        let state = self.reach()?;
        let region = &state.regions[at];
        if from < region.first {
            return Err(LogError::Gone { partition, wanted: from, first: region.first });
        }
        if from > region.durable {
            return Err(LogError::Gone { partition, wanted: from, first: region.durable });
        }
        let there =
            region.entries.range((from - region.first) as usize..(region.durable - region.first) as usize);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for (entry, _) in there {
            bytes += entry.bytes.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    async fn wait(&self, stream: Stream, partition: u32, from: u64) -> Result<(), LogError> {
        let at = region(self.partitions, stream, partition)?;
        drop(self.reach()?);
        self.inner.tips[at].wait(from).await
    }

    async fn bounds(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError> {
        let at = region(self.partitions, stream, partition)?;
        let state = self.reach()?;
        Ok(Bounds { first: state.regions[at].first, next: state.regions[at].durable })
    }

    async fn save_position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
        next: u64,
    ) -> Result<(), LogError> {
        let at = region(self.partitions, stream, partition)?;
        let key = (consumer.to_owned(), at);
        let committing = {
            let state = self.reach()?;
            self.commit(state, move |_, state| {
                let saved = state.positions.entry(key).or_insert(next);
                *saved = next.max(*saved);
                Ok(())
            })
        };
        committing.await
    }

    async fn position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
    ) -> Result<Option<u64>, LogError> {
        let at = region(self.partitions, stream, partition)?;
        Ok(self.reach()?.positions.get(&(consumer.to_owned(), at)).copied())
    }

    async fn trim(&self, consumers: &[&str], older_than: Micros) -> Result<(), LogError> {
        let mut state = self.reach()?;
        let State { regions, positions, .. } = &mut *state;
        for (at, region) in regions.iter_mut().enumerate() {
            let position = |c: &&str| positions.get(&((*c).to_owned(), at)).copied().unwrap_or(0);
            let read = consumers.iter().map(position).min().unwrap_or(u64::MAX);
            let old = region.entries.iter().take_while(|(e, _)| e.appended < older_than).count() as u64;
            region.remove_before(read.min(region.first + old));
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), LogError> {
        let mut state = self.lock();
        state.closed = true;
        for (region, tip) in state.regions.iter_mut().zip(&self.inner.tips) {
            region.durable = region.next();
            tip.reached(region.durable);
            tip.end("the log is closed");
        }
        Ok(())
    }
}
