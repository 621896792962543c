//! The embedded log: raft-engine 0.4 behind [`Log`]. One process, one committer thread, one fsync a batch.
//!
//! Layout: stream and partition are a raft-engine region (readings `1 + p`, transitions `1 + partitions + p`); an entry's
//! index is its offset + 1; consumer positions, the collector's number and the number of partitions are key-values of the
//! region [`META`]. Every write is synced. What raft-engine 0.4.2 needs to be kept right, and where it is:
//!
//! - indexes without a hole, checked before they are written (a hole panics after it is on disk): the committer alone assigns
//!   them, from the bounds it alone moves;
//! - a failing fsync panics, so a write that would fill the disk is refused before ([`EmbeddedOptions::disk_reserve`]); a panic
//!   for another reason ends the committer, and from then on the log says [`LogError::Broken`];
//! - a torn tail is cut at open (`TolerateTailCorruption`), told and counted;
//! - retention is `compact_to` and then `purge_expired_files`, with a purge threshold no smaller than what is retained: below
//!   it, purging would rewrite live data. Files are not recycled, so purging frees the disk at once.

use crate::{Append, Bounds, Consumer, Log, LogError, LogMetrics};
use async_trait::async_trait;
use model::{Clock, Entry, Micros, Offset, Origin, Stream};
use prometheus::Registry;
use raft_engine::{Config, Engine, ReadableSize, RecoveryMode};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

mod committer;
mod wire;

use committer::{Job, Work};
use wire::Wire;

/// Region of key-values; far from any partition.
const META: u64 = 1 << 40;
/// Appends waiting for the committer; a full queue makes the callers wait.
const QUEUE_LEN_MAX: usize = 4096;
/// Entries fetched at once at most.
const READ_ENTRIES_MAX: u64 = 4096;

/// Tells the free bytes of the disk a folder is on; a seam for tests.
pub type FreeSpace = Arc<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;

/// Where and how large.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Folder; made when absent.
    pub dir: PathBuf,
    /// Number of partitions; fixed when the log is made.
    pub partitions: u32,
    /// Bytes on disk beyond which appends are refused.
    pub retain_size: u64,
    /// Free bytes of the disk that are left untouched.
    pub disk_reserve: u64,
    /// How the free bytes are asked for.
    pub free_space: FreeSpace,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("log"),
            partitions: 8,
            retain_size: 20 << 30,
            disk_reserve: 1 << 30,
            free_space: Arc::new(|dir: &Path| fs2::available_space(dir)),
        }
    }
}

impl std::fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EmbeddedOptions({}, {} partitions)", self.dir.display(), self.partitions)
    }
}

type Positions = HashMap<(String, Stream, u32), u64>;

/// What readers and the committer share.
struct Shared {
    engine: Engine,
    partitions: u32,
    collector: u64,
    bounds: Vec<watch::Sender<Bounds>>,
    positions: RwLock<Positions>,
    metrics: LogMetrics,
}

impl Shared {
    fn slot(&self, stream: Stream, partition: u32) -> usize {
        let base = if stream == Stream::Readings { 0 } else { self.partitions };
        (base + partition) as usize
    }

    fn region(&self, stream: Stream, partition: u32) -> u64 {
        self.slot(stream, partition) as u64 + 1
    }

    fn bounds(&self, stream: Stream, partition: u32) -> Bounds {
        *self.bounds[self.slot(stream, partition)].borrow()
    }
}

/// The embedded log.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    committer: Mutex<Option<std::thread::JoinHandle<()>>>,
    dir: PathBuf,
    // Holds the folder for this process.
    _lock: File,
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EmbeddedLog({})", self.dir.display())
    }
}

impl EmbeddedLog {
    /// Opens or makes the log.
    ///
    /// # Errors
    /// When another process has it, it was made with another number of partitions, or its files cannot be read.
    pub fn open(options: EmbeddedOptions, clock: Arc<dyn Clock>, registry: &Registry) -> Result<Self, LogError> {
        let dir = options.dir.clone();
        let at = |e: &dyn std::fmt::Display| LogError::Broken(format!("{}: {e}", dir.display()));
        std::fs::create_dir_all(&dir).map_err(|e| at(&e))?;
        let lock = lock(&dir)?;
        let metrics = LogMetrics::register(registry).map_err(|e| at(&e))?;
        let before = last_file(&dir);
        let engine = Engine::open(engine_config(&options)).map_err(|e| at(&e))?;
        if let Some((file, written)) = before {
            tell_torn(&file, written, &metrics);
        }
        let (partitions, collector) = meta(&engine, &options, &dir)?;
        let regions = 1..=u64::from(partitions) * 2;
        let bounds = regions.map(|region| watch::Sender::new(region_bounds(&engine, region))).collect();
        let positions = RwLock::new(read_positions(&engine, partitions));
        metrics.used_bytes.set(engine.get_used_size() as i64);
        let shared = Arc::new(Shared { engine, partitions, collector, bounds, positions, metrics });
        let (sender, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        let committer = committer::Committer::new(shared.clone(), options, clock)?;
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || committer.run(receiver));
        let thread = thread.map_err(|e| at(&e))?;
        let (jobs, committer) = (Mutex::new(Some(sender)), Mutex::new(Some(thread)));
        Ok(Self { shared, jobs, committer, dir, _lock: lock })
    }

    /// This log's collector number.
    pub fn collector(&self) -> u64 {
        self.shared.collector
    }

    async fn ask<T>(&self, work: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Job) -> Result<T, LogError> {
        let closed = || LogError::Broken("it is closed".to_owned());
        let (answer, answered) = oneshot::channel();
        let job = work(answer);
        let jobs = self.jobs.lock().expect("no holder of this lock panics").clone().ok_or_else(closed)?;
        jobs.send(job).await.map_err(|_| closed())?;
        answered.await.map_err(|_| LogError::Broken("its committer ended; the disk may have failed".to_owned()))?
    }

    fn check(&self, partition: u32) -> Result<(), LogError> {
        if partition < self.shared.partitions {
            return Ok(());
        }
        Err(LogError::Broken(format!("there is no partition {partition} of {}", self.shared.partitions)))
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    fn partitions(&self) -> u32 {
        self.shared.partitions
    }

    async fn append(&self, stream: Stream, partition: u32, records: Vec<Append>) -> Result<u64, LogError> {
        self.check(partition)?;
        if let Some(large) = records.iter().find(|r| r.bytes.len() > model::record::RECORD_LEN_MAX) {
            return Err(LogError::Full(format!("a record of {} bytes is never taken", large.bytes.len())));
        }
        self.ask(|answer| Job::Append(Work { stream, partition, records, answer })).await
    }

    async fn read(&self, stream: Stream, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.check(partition)?;
        let Bounds { first, next } = self.shared.bounds(stream, partition);
        if from < first {
            return Err(LogError::Gone { partition, wanted: from, first });
        }
        if from >= next {
            return Ok(Vec::new());
        }
        let shared = self.shared.clone();
        let region = self.shared.region(stream, partition);
        let end = next.min(from + READ_ENTRIES_MAX);
        let fetch = move || {
            let mut raw = Vec::new();
            let fetched = shared.engine.fetch_entries_to::<Wire>(region, from + 1, end + 1, Some(max_bytes), &mut raw);
            fetched.map(|_| raw)
        };
        let fetched = tokio::task::spawn_blocking(fetch).await.map_err(|e| LogError::Broken(e.to_string()))?;
        match fetched {
            Ok(raw) => raw.into_iter().map(|e| wire::decode(partition, e, self.shared.collector)).collect(),
            Err(e) => {
                // Trimmed between the look at the bounds and the read.
                let first = self.shared.bounds(stream, partition).first;
                if from < first { Err(LogError::Gone { partition, wanted: from, first }) } else { Err(LogError::Broken(e.to_string())) }
            }
        }
    }

    async fn wait(&self, stream: Stream, partition: u32, from: u64) -> Result<(), LogError> {
        self.check(partition)?;
        let mut bounds = self.shared.bounds[self.shared.slot(stream, partition)].subscribe();
        let ended = |_| LogError::Broken("it is closed".to_owned());
        bounds.wait_for(|b| b.next > from).await.map(|_| ()).map_err(ended)
    }

    async fn bounds(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError> {
        self.check(partition)?;
        Ok(self.shared.bounds(stream, partition))
    }

    async fn save_position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
        next: u64,
    ) -> Result<(), LogError> {
        self.check(partition)?;
        if self.position(consumer, stream, partition).await?.is_some_and(|now| now >= next) {
            return Ok(());
        }
        let key = (consumer.to_owned(), stream, partition);
        self.ask(|answer| Job::Position { key, next, answer }).await
    }

    async fn position(&self, consumer: Consumer<'_>, stream: Stream, partition: u32) -> Result<Option<u64>, LogError> {
        let positions = self.shared.positions.read().expect("no holder of this lock panics");
        Ok(positions.get(&(consumer.to_owned(), stream, partition)).copied())
    }

    async fn trim(&self, stream: Stream, consumers: &[&str], older_than: Micros) -> Result<(), LogError> {
        let consumers = consumers.iter().map(|c| (*c).to_owned()).collect();
        self.ask(|answer| Job::Trim { stream, consumers, older_than, answer }).await
    }

    async fn close(&self) -> Result<(), LogError> {
        drop(self.jobs.lock().expect("no holder of this lock panics").take());
        let Some(thread) = self.committer.lock().expect("no holder of this lock panics").take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            _ => Err(LogError::Broken("its committer ended badly".to_owned())),
        }
    }
}

fn lock(dir: &Path) -> Result<File, LogError> {
    let broken = |why: String| LogError::Broken(format!("{}: {why}", dir.display()));
    let file = File::create(dir.join("lock")).map_err(|e| broken(e.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(broken("another process has this log open; ask the running server, or stop it first".to_owned()))
        }
        Err(e) => Err(broken(e.to_string())),
    }
}

fn engine_config(options: &EmbeddedOptions) -> Config {
    Config {
        dir: options.dir.join("raft").display().to_string(),
        recovery_mode: RecoveryMode::TolerateTailCorruption,
        // Payloads are lz4 already.
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize::mb(64),
        purge_threshold: ReadableSize(options.retain_size.max(1 << 30)),
        enable_log_recycle: false,
        ..Config::default()
    }
}

/// The newest file of entries and where its last written byte is: what follows is room allocated ahead.
fn last_file(dir: &Path) -> Option<(PathBuf, u64)> {
    let files = std::fs::read_dir(dir.join("raft")).ok()?.flatten().map(|e| e.path());
    let newest = files.filter(|p| p.extension().is_some_and(|e| e == "raftlog")).max()?;
    let bytes = std::fs::read(&newest).ok()?;
    let written = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i as u64 + 1);
    Some((newest, written))
}

fn tell_torn(file: &Path, written: u64, metrics: &LogMetrics) {
    let now = std::fs::metadata(file).map_or(written, |m| m.len());
    if now < written {
        metrics.torn_bytes.inc_by(written - now);
        tracing::warn!(
            "the tail of {} was torn: {} bytes that were never acknowledged are cut",
            file.display(),
            written - now
        );
    }
}

/// Number of partitions and collector; written when the log is made.
fn meta(engine: &Engine, options: &EmbeddedOptions, dir: &Path) -> Result<(u32, u64), LogError> {
    let broken = |e: &dyn std::fmt::Display| LogError::Broken(format!("{}: {e}", dir.display()));
    if let Some(made) = engine.get(META, b"made") {
        let (version, rest) = made.split_first_chunk::<4>().ok_or_else(|| broken(&"its first entry is damaged"))?;
        let (partitions, collector) = rest.split_first_chunk::<4>().ok_or_else(|| broken(&"its first entry is damaged"))?;
        let collector = collector.first_chunk::<8>().ok_or_else(|| broken(&"its first entry is damaged"))?;
        if u32::from_le_bytes(*version) != wire::VERSION {
            return Err(broken(&format!("its format is {}, this firedamp reads {}", u32::from_le_bytes(*version), wire::VERSION)));
        }
        let partitions = u32::from_le_bytes(*partitions);
        if partitions != options.partitions {
            let message = format!("it was made with {partitions} partitions, not {}; the number is fixed", options.partitions);
            return Err(broken(&message));
        }
        return Ok((partitions, u64::from_le_bytes(*collector)));
    }
    // The number only has to differ from other collectors': the hash of a fresh random state is random enough.
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), dir) | 1;
    let mut made = wire::VERSION.to_le_bytes().to_vec();
    made.extend_from_slice(&options.partitions.to_le_bytes());
    made.extend_from_slice(&random.to_le_bytes());
    let mut batch = raft_engine::LogBatch::default();
    batch.put(META, b"made".to_vec(), made).map_err(|e| broken(&e))?;
    engine.write(&mut batch, true).map_err(|e| broken(&e))?;
    Ok((options.partitions, random))
}

fn region_bounds(engine: &Engine, region: u64) -> Bounds {
    let first = engine.get(META, format!("first/{region}").as_bytes()).and_then(|v| v.first_chunk::<8>().copied());
    let trimmed = first.map_or(0, u64::from_le_bytes);
    match (engine.first_index(region), engine.last_index(region)) {
        (Some(first), Some(last)) => Bounds { first: first - 1, next: last },
        // Everything was trimmed: the next offset is not forgotten.
        _ => Bounds { first: trimmed, next: trimmed },
    }
}

fn read_positions(engine: &Engine, partitions: u32) -> Positions {
    let mut positions = Positions::new();
    let scan = |key: &[u8], value: &[u8]| {
        let text = std::str::from_utf8(key).ok().and_then(|k| k.strip_prefix("position/"));
        let parts: Option<Vec<&str>> = text.map(|t| t.rsplitn(3, '/').collect());
        if let (Some([partition, stream, consumer]), Some(next)) = (parts.as_deref(), value.first_chunk::<8>()) {
            let stream = if *stream == "readings" { Stream::Readings } else { Stream::Transitions };
            if let Some(partition) = partition.parse().ok().filter(|p| *p < partitions) {
                positions.insert(((*consumer).to_owned(), stream, partition), u64::from_le_bytes(*next));
            }
        }
        true
    };
    if let Err(e) = engine.scan_raw_messages(META, Some(b"position/"), Some(b"position0"), false, scan) {
        tracing::warn!("positions of consumers cannot be read; nothing is trimmed until they are saved again: {e}");
    }
    positions
}

/// Place of an entry in a partition; the log's own origin where none was given.
fn place(partition: u32, index: u64) -> Offset {
    Offset { partition, number: index - 1 }
}

fn own_origin(collector: u64, index: u64) -> Origin {
    Origin { collector, sequence: index - 1 }
}
