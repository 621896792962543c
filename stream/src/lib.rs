//! The log that all readings pass through: one interface, [`Log`], with an embedded, a Kafka and an in-memory
//! implementation, all held to one conformance suite ([`conformance`]).
//!
//! Durable means: when [`Log::append`] returns, the records are on disk (embedded: fsync) or acknowledged by the broker's
//! `min.insync.replicas` (Kafka, acks=all). Offsets of a partition of a stream are dense from the producer's view and
//! never reused. Nothing behind the lowest saved position of a consumer is removed.

#![warn(missing_docs)]

pub mod conformance;
mod embedded;
mod forwarder;
mod kafka;
mod memory;
mod metrics;
mod tip;
mod view;

pub use embedded::{EmbeddedLog, EmbeddedOptions, FreeSpace};
pub use forwarder::Forwarder;
pub use kafka::{KafkaLog, KafkaOptions, TopicOptions, create_topics};
pub use memory::{Fault, MemoryLog};

use async_trait::async_trait;
use bytes::Bytes;
use model::{Entry, Micros, Origin, Stream};

/// A record to append and, when a forwarder carries it, who made it durable first.
#[derive(Clone, Debug)]
pub struct Append {
    /// The encoded record.
    pub bytes: Bytes,
    /// `None`: the log gives it its own collector number and the next sequence of the partition.
    pub origin: Option<Origin>,
}

/// Why the log could not do it, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk or the retention limit is full: hold back and try again; reads go on.
    #[error("the log is full: {0}")]
    Full(String),
    /// Not reachable now: hold back and try again.
    #[error("the log is not reachable: {0}")]
    Unavailable(String),
    /// The offset is not there (any more): never reset in silence; count the range and raise an alarm.
    #[error("offset {wanted} of partition {partition} is not in the log; what can be read next is {first}")]
    Gone {
        /// Partition asked for.
        partition: u32,
        /// Offset asked for.
        wanted: u64,
        /// Where reading can go on: the first offset kept, or the end when `wanted` lies beyond the end.
        first: u64,
    },
    /// It cannot go on: the process must end and start again.
    #[error("the log cannot go on: {0}")]
    Broken(String),
}

/// First offset kept and the offset after the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// First offset that can be read.
    pub first: u64,
    /// The offset the next record will get.
    pub next: u64,
}

/// Names a consumer whose positions are kept in the log: `rules`, `storage`, `alerts`, `forwarder`.
pub type Consumer<'a> = &'a str;

/// The position of a consumer in a stream that it never reads: saved once at its start, so that the stream is not kept
/// for it. A consumer that is named in [`Log::trim`] and has saved nothing keeps everything.
pub const NOT_READ: u64 = u64::MAX;

/// How many regions (a stream of a partition) a log of so many partitions has.
fn regions(partitions: u32) -> usize {
    partitions as usize * STREAMS.len()
}

/// Both streams, in the order of their regions.
const STREAMS: [Stream; 2] = [Stream::Readings, Stream::Transitions];

/// The dense number of a region.
fn region(partitions: u32, stream: Stream, partition: u32) -> Result<usize, LogError> {
    if partition >= partitions {
        return Err(LogError::Broken(format!(
            "partition {partition} does not exist, the log has {partitions}"
        )));
    }
    Ok(partition as usize * STREAMS.len() + usize::from(stream == Stream::Transitions))
}

/// Producer and consumer of the log, shared by all tasks of a process.
#[async_trait]
pub trait Log: Send + Sync + std::fmt::Debug {
    /// Number of partitions, fixed when the log was made; both streams have as many.
    fn partitions(&self) -> u32;

    /// Appends records to one partition in order, and returns the offset of the first once all are durable; the others
    /// follow it without a hole in the embedded log. Appends of concurrent callers are committed together. Dropping the
    /// future does not take back what was handed over: it may still become durable.
    async fn append(&self, stream: Stream, partition: u32, records: Vec<Append>) -> Result<u64, LogError>;

    /// Entries from offset `from` on, in order, until about `max_bytes` (at least one if there is any). Empty at the end.
    async fn read(
        &self,
        stream: Stream,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError>;

    /// Returns once an entry at `from` or beyond is durable. Cancel-safe.
    async fn wait(&self, stream: Stream, partition: u32, from: u64) -> Result<(), LogError>;

    /// What is there.
    async fn bounds(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError>;

    /// Saves the offset a consumer will read next. Never goes back.
    async fn save_position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
        next: u64,
    ) -> Result<(), LogError>;

    /// The saved position, if any.
    async fn position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
    ) -> Result<Option<u64>, LogError>;

    /// Removes what retention allows: beyond age or size, never at or behind the lowest position of `consumers`.
    async fn trim(&self, consumers: &[&str], older_than: Micros) -> Result<(), LogError>;

    /// Flushes, closes; appends after it fail with [`LogError::Broken`].
    async fn close(&self) -> Result<(), LogError>;
}
