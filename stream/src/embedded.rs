//! The log on the machine's own disk: raft-engine behind [`Log`], in one folder that belongs to one process.
//!
//! ```text
//! dir/lock          held by the process that has it open
//! dir/log/*.raftlog records and key-values; *.rewrite is raft-engine's own
//! ```
//! A stream of a partition is a region of raft-engine. One thread writes (`committer`), one reads files (`reader`); who
//! follows the end of the log reads from memory (`crate::view`).
//!
//! - An append returns after fdatasync. A failed fsync ends the log ([`LogError::Broken`]): nobody knows what is on disk.
//! - The disk is never filled: below [`EmbeddedOptions::disk_reserve`] appends are [`LogError::Full`], saved positions
//!   and retention still work, and appends go on once space is free. Likewise beyond [`EmbeddedOptions::retain_size`].
//! - Retention removes whole files (`table`), never one that holds a record a consumer has not read.
//! - After kill -9 everything acknowledged is there. A torn tail is cut, told and counted. Because the log cannot know
//!   whether what was cut had been acknowledged, it takes a new collector number then: its sequences, which begin anew
//!   where the tail was, are not taken for ones seen before.

mod committer;
mod entry;
mod files;
mod open;
mod reader;
mod store;
mod table;

use crate::view::{Read, Region};
use crate::{Append, Bounds, Consumer, Log, LogError, STREAMS, region};
use async_trait::async_trait;
use committer::{AppendRequest, Positions, Request, SaveRequest};
use model::record::RECORD_LEN_MAX;
use model::{Clock, Entry, Micros, Stream};
use prometheus::Registry;
use raft_engine::internals::FilePipeLog;
use reader::{ReadRequest, Wanted};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

type Engine = raft_engine::Engine<files::WatchedFiles, FilePipeLog<files::WatchedFiles>>;

/// Least reserve: raft-engine allocates 2 MiB ahead and retention writes a little before it frees.
const RESERVE_MIN: u64 = 4 << 20;
/// Files of the log: large enough to be few, small enough that retention removes some of many.
const FILE_SIZE: (u64, u64) = (1 << 20, 128 << 20);
/// Smallest `retain_size`: eight of the smallest files.
const RETAIN_SIZE_MIN: u64 = FILE_SIZE.0 * 8;
/// Largest `partitions`: a region costs a few hundred bytes, and a commit looks at each.
const PARTITIONS_MAX: u32 = 1024;
/// Largest sum of records handed over in one append: raft-engine takes 2 GiB in a batch.
const APPEND_LEN_MAX: usize = 256 << 20;
/// Requests that wait for the committer. A full queue holds callers back.
const REQUESTS_MAX: usize = 4096;
/// Reads that wait for the reader.
const READS_MAX: usize = 256;

const _: () = assert!(RECORD_LEN_MAX <= APPEND_LEN_MAX);

/// Tells how many bytes are free where the log lies.
#[derive(Clone)]
pub struct FreeSpace(Arc<FreeSpaceFn>);

type FreeSpaceFn = dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync;

impl FreeSpace {
    /// Asks `f`, given the folder.
    pub fn new(f: impl Fn(&Path) -> std::io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    fn of(&self, dir: &Path) -> std::io::Result<u64> {
        (self.0)(dir)
    }
}

impl Default for FreeSpace {
    /// Asks the file system.
    fn default() -> Self {
        Self::new(|dir| fs2::available_space(dir))
    }
}

impl std::fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FreeSpace")
    }
}

/// Settings of [`EmbeddedLog`].
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The folder; made when it is not there.
    pub dir: PathBuf,
    /// Number of partitions, fixed when the log is made.
    pub partitions: u32,
    /// Largest size of the log on disk, bytes. What all consumers have read goes first; then appends are refused.
    pub retain_size: u64,
    /// What is older and read by all consumers goes at the next trim, whatever the trim asks. `None`: only that decides.
    pub retain_age: Option<Micros>,
    /// Bytes of the file system that stay free, 4 MiB at least.
    pub disk_reserve: u64,
    /// A commit takes what is queued until it has so many bytes.
    pub max_batch: usize,
    /// Bytes of the newest records of a stream kept in memory, of all partitions together.
    pub cache: usize,
    /// How the free space is found out; a test decides it.
    pub free_space: FreeSpace,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("log"),
            partitions: 8,
            retain_size: 16 << 30,
            retain_age: None,
            disk_reserve: 1 << 30,
            max_batch: 8 << 20,
            cache: 32 << 20,
            free_space: FreeSpace::default(),
        }
    }
}

impl EmbeddedOptions {
    /// Size at which a new file begins.
    fn file_size(&self) -> u64 {
        (self.retain_size / 32).clamp(FILE_SIZE.0, FILE_SIZE.1)
    }

    fn check(&self) -> Result<(), String> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return Err(format!("log.partitions is {}, it must be 1 to {PARTITIONS_MAX}", self.partitions));
        }
        if self.retain_size < RETAIN_SIZE_MIN {
            return Err(format!(
                "log.retain_size is {}, at least {RETAIN_SIZE_MIN} is needed",
                self.retain_size
            ));
        }
        Ok(())
    }
}

fn partition_of_region(region: usize) -> u32 {
    (region / STREAMS.len()) as u32
}

fn stream_of_region(region: usize) -> Stream {
    STREAMS[region % STREAMS.len()]
}

/// The log on disk. Shared behind an `Arc`; dropping it closes it.
#[derive(Debug)]
pub struct EmbeddedLog {
    partitions: u32,
    collector: u64,
    regions: Arc<[Region]>,
    positions: Arc<Mutex<Positions>>,
    requests: Option<mpsc::Sender<Request>>,
    reads: Option<mpsc::Sender<ReadRequest>>,
    threads: Vec<JoinHandle<()>>,
    metrics: crate::metrics::EmbeddedMetrics,
}

impl EmbeddedLog {
    /// Opens the log in a folder, or makes it. Blocks while it reads the files: about 0.1 s a 4 GB when they are cached.
    ///
    /// # Errors
    /// [`LogError::Broken`] says what is wrong and where: the folder belongs to another process, it has another number of
    /// partitions, a file is damaged elsewhere than at the end.
    pub fn open(
        options: EmbeddedOptions,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<EmbeddedLog, LogError> {
        open::open(options, clock, registry)
    }

    /// The number under which this log gives origins to its own records.
    pub fn collector(&self) -> u64 {
        self.collector
    }

    async fn ask<T>(
        &self,
        region: usize,
        request: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Request,
    ) -> Result<T, LogError> {
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        let answered = match requests.send(request(answer)).await {
            Ok(()) => answered.await.ok(),
            Err(_) => None,
        };
        match answered {
            Some(result) => result,
            // The committer let go of the request: it is ending, and says why in a moment.
            None => Err(self.regions[region].tip.why_ended().await),
        }
    }
}

fn closed() -> LogError {
    LogError::Broken("the log is closed".to_owned())
}

#[async_trait]
impl Log for EmbeddedLog {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    async fn append(&self, stream: Stream, partition: u32, records: Vec<Append>) -> Result<u64, LogError> {
        let region = region(self.partitions, stream, partition)?;
        if let Some(record) = records.iter().find(|r| r.bytes.len() > RECORD_LEN_MAX) {
            let len = record.bytes.len();
            return Err(LogError::Broken(format!("a record has {len} bytes, {RECORD_LEN_MAX} is the limit")));
        }
        let len: usize = records.iter().map(|r| r.bytes.len()).sum();
        if len > APPEND_LEN_MAX {
            return Err(LogError::Broken(format!(
                "an append has {len} bytes, {APPEND_LEN_MAX} is the limit"
            )));
        }
        self.ask(region, |answer| Request::Append(AppendRequest { region, records, answer })).await
    }

    async fn read(
        &self,
        stream: Stream,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let region = region(self.partitions, stream, partition)?;
        let end = match self.regions[region].read(from, max_bytes) {
            Read::Entries(entries) => {
                self.metrics.read_cache.inc_by(entries.len() as u64);
                return Ok(entries);
            }
            Read::Gone(first) => return Err(LogError::Gone { partition, wanted: from, first }),
            Read::Older(end) => end,
        };
        let (answer, answered) = oneshot::channel();
        let reads = self.reads.as_ref().ok_or_else(closed)?;
        let wanted = Wanted { region, partition, from, end, max_bytes };
        reads.send(ReadRequest::Read(wanted, answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    async fn wait(&self, stream: Stream, partition: u32, from: u64) -> Result<(), LogError> {
        let region = region(self.partitions, stream, partition)?;
        self.regions[region].tip.wait(from).await
    }

    async fn bounds(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError> {
        let (first, next) = self.regions[region(self.partitions, stream, partition)?].bounds();
        Ok(Bounds { first, next })
    }

    async fn save_position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
        next: u64,
    ) -> Result<(), LogError> {
        let region = region(self.partitions, stream, partition)?;
        let consumer = consumer.to_owned();
        self.ask(region, |answer| Request::Save(SaveRequest { region, consumer, next, answer })).await
    }

    async fn position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
    ) -> Result<Option<u64>, LogError> {
        let region = region(self.partitions, stream, partition)?;
        let positions = self.positions.lock().expect("no code panics while it holds the positions");
        Ok(positions.get(&(region, consumer.to_owned())).copied())
    }

    async fn trim(&self, consumers: &[&str], older_than: Micros) -> Result<(), LogError> {
        let consumers = consumers.iter().map(|c| (*c).to_owned()).collect();
        self.ask(0, |answer| Request::Trim { consumers, older_than, answer }).await
    }

    async fn close(&self) -> Result<(), LogError> {
        // The reader first: the committer is the last that holds the engine and the lock of the folder.
        let (answer, stopped) = oneshot::channel();
        if let Some(reads) = &self.reads
            && reads.send(ReadRequest::Stop(answer)).await.is_ok()
        {
            let _ = stopped.await;
        }
        let (answer, closed) = oneshot::channel();
        if let Some(requests) = &self.requests
            && requests.send(Request::Close { answer }).await.is_ok()
        {
            let _ = closed.await;
        }
        Ok(())
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // Both threads end when nobody can ask any more. Waiting for them, a commit at most, lets who opens the folder
        // next find it free.
        self.requests = None;
        self.reads = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
