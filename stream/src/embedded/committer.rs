//! The one thread that writes: takes what is queued, writes it as one batch with one fsync, answers. While it writes, the next
//! batch queues up: the slower the disk, the larger the batches.

use super::{EmbeddedOptions, META, Shared, wire};
use crate::{Append, Bounds, LogError};
use model::{Clock, Micros, Stream};
use raft_engine::LogBatch;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Bytes of one batch, about: an fsync of more takes longer than a caller wants to wait.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Rounds of freeing a tenth when the log is over its size.
const TRIM_ROUNDS_MAX: u32 = 10;

type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// Records of one append.
pub struct Work {
    pub stream: Stream,
    pub partition: u32,
    pub records: Vec<Append>,
    pub answer: Answer<u64>,
}

/// What the committer does.
pub enum Job {
    Append(Work),
    Position { key: (String, Stream, u32), next: u64, answer: Answer<()> },
    Trim { stream: Stream, consumers: Vec<String>, older_than: Micros, answer: Answer<()> },
}

pub struct Committer {
    shared: Arc<Shared>,
    options: EmbeddedOptions,
    clock: Arc<dyn Clock>,
    /// Newest append time of each stream and partition.
    appended: Vec<Micros>,
}

impl Committer {
    /// A committer that goes on with the append times it finds.
    pub fn new(shared: Arc<Shared>, options: EmbeddedOptions, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let mut appended = Vec::new();
        for (slot, bounds) in shared.bounds.iter().enumerate() {
            let Bounds { first, next } = *bounds.borrow();
            let newest = if next > first { entry_time(&shared, slot, next - 1)? } else { Micros::MIN };
            appended.push(newest);
        }
        Ok(Self { shared, options, clock, appended })
    }

    /// Runs until all senders are gone and everything is answered.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut bytes = size(&first);
            let mut queued = vec![first];
            while bytes < BATCH_BYTES_MAX {
                let Ok(job) = jobs.try_recv() else { break };
                bytes += size(&job);
                queued.push(job);
            }
            self.commit(queued, bytes);
        }
        if let Err(e) = self.shared.engine.sync() {
            tracing::error!("the log could not be synced at its end: {e}");
        }
    }

    fn commit(&mut self, jobs: Vec<Job>, bytes: usize) {
        let full = self.full(bytes as u64);
        let mut batch = Batch::default();
        let mut trims = Vec::new();
        for job in jobs {
            match job {
                Job::Append(work) => match &full {
                    Some(why) => {
                        self.shared.metrics.full.inc();
                        let _ = work.answer.send(Err(LogError::Full(why.clone())));
                    }
                    None => self.add(&mut batch, work),
                },
                Job::Position { key, next, answer } => {
                    let stream = if key.1 == Stream::Readings { "readings" } else { "transitions" };
                    let name = format!("position/{}/{stream}/{}", key.0, key.2).into_bytes();
                    let put = put(&mut batch.log, name, next);
                    batch.keep(put);
                    batch.positions.push((key, next, answer));
                }
                Job::Trim { stream, consumers, older_than, answer } => trims.push((stream, consumers, older_than, answer)),
            }
        }
        self.write(batch);
        for (stream, consumers, older_than, answer) in trims {
            let _ = answer.send(self.trim(stream, &consumers, older_than));
        }
    }

    /// Why nothing can be taken, if so: raft-engine must never meet a full disk.
    fn full(&self, bytes: u64) -> Option<String> {
        let used = self.shared.engine.get_used_size() as u64;
        self.shared.metrics.used_bytes.set(used as i64);
        if used + bytes > self.options.retain_size {
            return Some(format!("{used} bytes are kept of {} allowed, and consumers still need them", self.options.retain_size));
        }
        match (self.options.free_space)(&self.options.dir) {
            // Twice: raft-engine allocates ahead and rewrites.
            Ok(free) if free < self.options.disk_reserve.saturating_add(2 * bytes) => {
                Some(format!("the disk has {free} bytes free, {} are reserved", self.options.disk_reserve))
            }
            Ok(_) => None,
            Err(e) => Some(format!("the free space of {} is not known: {e}", self.options.dir.display())),
        }
    }

    fn add(&mut self, batch: &mut Batch, work: Work) {
        let slot = self.shared.slot(work.stream, work.partition);
        let region = slot as u64 + 1;
        let next = batch.next.iter().rev().find(|(s, _)| *s == slot).map_or(self.shared.bounds[slot].borrow().next, |(_, n)| *n);
        let appended = self.clock.now().max(self.appended[slot]);
        self.appended[slot] = appended;
        let entries: Vec<_> =
            work.records.iter().zip(next + 1..).map(|(append, index)| wire::encode(index, appended, append)).collect();
        let after = next + entries.len() as u64;
        batch.records += entries.len() as u64;
        batch.bytes += work.records.iter().map(|r| r.bytes.len() as u64).sum::<u64>();
        let added = batch.log.add_entries::<wire::Wire>(region, &entries);
        batch.keep(added);
        batch.next.push((slot, after));
        batch.answers.push((work.answer, next));
    }

    fn write(&self, mut batch: Batch) {
        if batch.answers.is_empty() && batch.positions.is_empty() {
            return;
        }
        let start = Instant::now();
        let written = match batch.failed.take() {
            None => self.shared.engine.write(&mut batch.log, true).map(|_| ()).map_err(|e| e.to_string()),
            Some(e) => Err(e),
        };
        if let Err(e) = written {
            tracing::error!("the log cannot be written: {e}");
            let broken = || LogError::Broken(e.clone());
            batch.answers.into_iter().for_each(|(a, _)| drop(a.send(Err(broken()))));
            batch.positions.into_iter().for_each(|(.., a)| drop(a.send(Err(broken()))));
            return;
        }
        let metrics = &self.shared.metrics;
        metrics.commit_seconds.observe(start.elapsed().as_secs_f64());
        metrics.commits.inc();
        metrics.records.inc_by(batch.records);
        metrics.bytes.inc_by(batch.bytes);
        for (slot, next) in batch.next {
            self.shared.bounds[slot].send_modify(|b| b.next = next);
        }
        if !batch.positions.is_empty() {
            let mut positions = self.shared.positions.write().expect("no holder of this lock panics");
            for (key, next, answer) in batch.positions {
                let now = positions.entry(key).or_default();
                *now = next.max(*now);
                let _ = answer.send(Ok(()));
            }
        }
        for (answer, first) in batch.answers {
            let _ = answer.send(Ok(first));
        }
    }

    /// Frees what is older than `older_than`, and while the log is over its size more, never what a consumer still needs.
    fn trim(&self, stream: Stream, consumers: &[String], older_than: Micros) -> Result<(), LogError> {
        for partition in 0..self.shared.partitions {
            let limit = self.read_by_all(stream, partition, consumers);
            let slot = self.shared.slot(stream, partition);
            let cut = self.first_newer(slot, older_than, limit)?;
            self.cut(slot, cut)?;
        }
        self.purge()?;
        // Nine tenths: trimming must make room, not only stop at the edge.
        let goal = self.options.retain_size / 10 * 9;
        for _ in 0..TRIM_ROUNDS_MAX {
            if (self.shared.engine.get_used_size() as u64) < goal {
                break;
            }
            for partition in 0..self.shared.partitions {
                let limit = self.read_by_all(stream, partition, consumers);
                let slot = self.shared.slot(stream, partition);
                let Bounds { first, next } = *self.shared.bounds[slot].borrow();
                self.cut(slot, (first + (next - first).div_ceil(10)).min(limit))?;
            }
            self.purge()?;
        }
        self.shared.metrics.used_bytes.set(self.shared.engine.get_used_size() as i64);
        Ok(())
    }

    fn read_by_all(&self, stream: Stream, partition: u32, consumers: &[String]) -> u64 {
        let positions = self.shared.positions.read().expect("no holder of this lock panics");
        let of = |c: &String| positions.get(&(c.clone(), stream, partition)).copied().unwrap_or(0);
        consumers.iter().map(of).min().unwrap_or(u64::MAX)
    }

    /// The first offset not older than a time, at most `limit`: append times never go back, so halving finds it.
    fn first_newer(&self, slot: usize, older_than: Micros, limit: u64) -> Result<u64, LogError> {
        let Bounds { first, next } = *self.shared.bounds[slot].borrow();
        let (mut low, mut high) = (first, next.min(limit).max(first));
        while low < high {
            let middle = low + (high - low) / 2;
            if entry_time(&self.shared, slot, middle)? < older_than { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn cut(&self, slot: usize, to: u64) -> Result<(), LogError> {
        let Bounds { first, next } = *self.shared.bounds[slot].borrow();
        let to = to.min(next);
        if to <= first {
            return Ok(());
        }
        let region = slot as u64 + 1;
        // The first offset is written down before the entries go: a log that was emptied must not begin at 0 again.
        let mut log = LogBatch::default();
        let put = put(&mut log, format!("first/{region}").into_bytes(), to);
        put.and_then(|()| self.shared.engine.write(&mut log, true).map(|_| ())).map_err(|e| LogError::Broken(e.to_string()))?;
        self.shared.bounds[slot].send_modify(|b| b.first = to);
        self.shared.engine.compact_to(region, to + 1);
        Ok(())
    }

    fn purge(&self) -> Result<(), LogError> {
        self.shared.engine.purge_expired_files().map(|_| ()).map_err(|e| LogError::Broken(e.to_string()))
    }
}

fn put(log: &mut LogBatch, key: Vec<u8>, value: u64) -> raft_engine::Result<()> {
    log.put(META, key, value.to_le_bytes().to_vec())
}

#[derive(Default)]
struct Batch {
    log: LogBatch,
    next: Vec<(usize, u64)>,
    answers: Vec<(Answer<u64>, u64)>,
    positions: Vec<((String, Stream, u32), u64, Answer<()>)>,
    records: u64,
    bytes: u64,
    failed: Option<String>,
}

impl Batch {
    fn keep(&mut self, added: raft_engine::Result<()>) {
        if let Err(e) = added {
            self.failed = Some(e.to_string());
        }
    }
}

fn size(job: &Job) -> usize {
    match job {
        Job::Append(work) => work.records.iter().map(|r| r.bytes.len() + 64).sum(),
        Job::Position { .. } | Job::Trim { .. } => 64,
    }
}

fn entry_time(shared: &Shared, slot: usize, offset: u64) -> Result<Micros, LogError> {
    let entry = shared.engine.get_entry::<wire::Wire>(slot as u64 + 1, offset + 1);
    let entry = entry.map_err(|e| LogError::Broken(e.to_string()))?;
    let entry = entry.ok_or_else(|| LogError::Broken(format!("offset {offset} has no entry")))?;
    wire::decode(0, entry, shared.collector).map(|e| e.appended)
}
