//! The runners: each reads one partition of one stream of the log and feeds one crate. They meet in `pipeline.rs`.
//!
//! All follow one shape: read from where their own durable state stands, work, make the work durable, save the position.
//! On stop each first drains what is in the log, then ends; the order of stopping is the pipeline's.

use model::{Clock, Entry, Micros, Record, Stream};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use stream::{Log, LogError};
use tokio_util::sync::CancellationToken;

pub mod alerts;
pub mod aside;
pub mod behind;
pub mod own;
pub mod rules;
pub mod storage;

/// Bytes read from the log at once: a few hundred records, so that a reader that is behind catches up in large steps.
const READ_BYTES: usize = 2 << 20;
/// First and longest pause after the log was not reachable.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What all runners of a process share.
#[derive(Clone)]
pub struct Shared {
    /// The log they read.
    pub log: Arc<dyn Log>,
    /// The clock, for lag and for records of their own.
    pub clock: Arc<dyn Clock>,
    /// Their metrics.
    pub metrics: RunnerMetrics,
    /// Where undecodable records go.
    pub aside: aside::Aside,
    /// firedamp's own alarms.
    pub own: own::OwnAlarms,
    /// How far the rules are behind, by partition.
    pub lag: Lag,
    /// How far the reader of the table is.
    pub storing_lag: Lag,
    /// Cancelled when nothing more is stored, for a reason that does not pass by itself.
    pub not_storing: CancellationToken,
}

impl Shared {
    /// Of runners that have read nothing yet.
    pub fn new(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        metrics: RunnerMetrics,
        aside: aside::Aside,
        own: own::OwnAlarms,
    ) -> Self {
        let [lag, storing_lag] = [(); 2].map(|()| Lag::new(log.partitions()));
        Self { log, clock, metrics, aside, own, lag, storing_lag, not_storing: CancellationToken::new() }
    }
}

/// How far a reader, most often the rules, is behind the newest record, by partition, and when it last saw one.
#[derive(Clone, Debug)]
pub struct Lag(Arc<Vec<[AtomicI64; 2]>>);

impl Lag {
    /// Nothing read yet counts as far behind: notifications are held until the rules have caught up once, and nobody is for the table.
    pub fn new(partitions: u32) -> Self {
        Self(Arc::new((0..partitions).map(|_| [AtomicI64::new(i64::MAX), AtomicI64::new(0)]).collect()))
    }

    pub(crate) fn set(&self, partition: u32, lag: Micros, now: Micros) {
        let [behind, seen] = &self.0[partition as usize];
        behind.store(lag, Ordering::Relaxed);
        seen.store(now, Ordering::Relaxed);
    }

    /// Microseconds behind; [`i64::MAX`] before the first record was read.
    pub fn of(&self, partition: u32) -> Micros {
        self.0[partition as usize][0].load(Ordering::Relaxed)
    }

    /// Wall time of the last record or tick that was read.
    pub fn seen(&self, partition: u32) -> Micros {
        self.0[partition as usize][1].load(Ordering::Relaxed)
    }
}

/// Metrics of the runners, by name of the consumer.
#[derive(Clone, Debug)]
pub struct RunnerMetrics {
    /// Records read.
    pub records: IntCounterVec,
    /// Rows of readings judged or stored.
    pub rows: IntCounterVec,
    /// Undecodable records set aside.
    pub aside: IntCounterVec,
    /// Offsets that were gone before they were read.
    pub gone: IntCounterVec,
    /// Offsets lost from the end of the log and filled at a start, by stream.
    pub lost_end: IntCounterVec,
    /// Offset read next.
    pub position: IntGaugeVec,
    /// Up to when the table's reader has read the log, Unix seconds; it stands still while that waits for room or for its store.
    pub storing_until: IntGaugeVec,
    /// Transitions made, by what they became.
    pub transitions: IntCounterVec,
}

impl RunnerMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, label: &str| -> prometheus::Result<IntCounterVec> {
            let c = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(c.clone()))?;
            Ok(c)
        };
        let position = IntGaugeVec::new(
            Opts::new("firedamp_consumer_position", "offset the consumer reads next"),
            &["consumer", "partition"],
        )?;
        registry.register(Box::new(position.clone()))?;
        let storing_until = IntGaugeVec::new(
            Opts::new(
                "firedamp_storage_read_until_seconds",
                "append time up to which the log was read for the table, Unix seconds",
            ),
            &["partition"],
        )?;
        registry.register(Box::new(storing_until.clone()))?;
        Ok(Self {
            records: counter("firedamp_consumer_records_total", "records read from the log", "consumer")?,
            rows: counter("firedamp_consumer_rows_total", "rows of readings read from the log", "consumer")?,
            aside: counter(
                "firedamp_consumer_undecodable_total",
                "records set aside as undecodable",
                "consumer",
            )?,
            gone: counter(
                "firedamp_consumer_gone_total",
                "offsets removed before they were read",
                "consumer",
            )?,
            lost_end: counter(
                "firedamp_log_lost_end_total",
                "offsets lost from the end of the log after they were read, filled at a start",
                "stream",
            )?,
            position,
            storing_until,
            transitions: counter("firedamp_transitions_total", "transitions decided by the rules", "to")?,
        })
    }
}

/// A reader of one partition of one stream.
pub struct Reader {
    shared: Shared,
    consumer: &'static str,
    stream: Stream,
    partition: u32,
    next: u64,
    pause: Duration,
}

impl Reader {
    /// A reader that goes on at `next`.
    pub fn new(shared: Shared, consumer: &'static str, stream: Stream, partition: u32, next: u64) -> Self {
        Self { shared, consumer, stream, partition, next, pause: RETRY.0 }
    }

    /// The offset read next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The entries after those of the last call; waits at most `patience` for one to come, and returns none then. `None`
    /// once `stop` is cancelled and everything is read, or when the log is broken.
    pub async fn entries(&mut self, patience: Duration, stop: &CancellationToken) -> Option<Vec<Entry>> {
        loop {
            match self.shared.log.read(self.stream, self.partition, self.next, READ_BYTES).await {
                Ok(entries) if !entries.is_empty() => {
                    self.pause = RETRY.0;
                    self.next = entries.last().map_or(self.next, |e| e.offset.number + 1);
                    self.shared
                        .metrics
                        .records
                        .with_label_values(&[self.consumer])
                        .inc_by(entries.len() as u64);
                    let labels = [self.consumer, &self.partition.to_string()];
                    self.shared.metrics.position.with_label_values(&labels).set(self.next as i64);
                    return Some(entries);
                }
                Ok(_) if stop.is_cancelled() => return None,
                Ok(_) => {
                    tokio::select! {
                        biased; // a simulation's seed must replay
                        _ = stop.cancelled() => {}
                        waited = self.shared.log.wait(self.stream, self.partition, self.next) => {
                            if let Err(e) = waited && !self.after_error(e, stop).await {
                                return None;
                            }
                        }
                        _ = tokio::time::sleep(patience) => return Some(Vec::new()),
                    }
                }
                Err(e) => {
                    if !self.after_error(e, stop).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether reading goes on.
    async fn after_error(&mut self, e: LogError, stop: &CancellationToken) -> bool {
        let (consumer, partition) = (self.consumer, self.partition);
        match e {
            LogError::Gone { wanted, first, .. } => {
                let count = first.saturating_sub(wanted);
                tracing::error!(
                    consumer,
                    partition,
                    wanted,
                    first,
                    "{count} records are gone before they were read"
                );
                self.shared.metrics.gone.with_label_values(&[consumer]).inc_by(count);
                let reason = format!(
                    "{consumer}: offsets {wanted} to {first} of partition {partition} are gone unread"
                );
                self.shared.own.raise("records-gone", &format!("{consumer}/{partition}"), reason);
                self.next = first;
                true
            }
            LogError::Broken(why) => {
                tracing::error!(consumer, partition, why, "the log is broken");
                false
            }
            LogError::Full(why) | LogError::Unavailable(why) => {
                tracing::warn!(consumer, partition, why, "the log is away; trying again");
                if stop.is_cancelled() {
                    return false;
                }
                tokio::select! {
                    biased;
                    _ = stop.cancelled() => {}
                    _ = tokio::time::sleep(self.pause) => {}
                }
                self.pause = (self.pause * 2).min(RETRY.1);
                true
            }
        }
    }

    /// The record of an entry, or `None` after it was set aside.
    pub fn decode(&self, entry: &Entry) -> Option<Record> {
        match entry.decode() {
            Ok(record) => {
                if let Record::Readings { readings, .. } = &record {
                    self.shared
                        .metrics
                        .rows
                        .with_label_values(&[self.consumer])
                        .inc_by(readings.len() as u64);
                }
                Some(record)
            }
            Err(e) => {
                self.shared.metrics.aside.with_label_values(&[self.consumer]).inc();
                self.shared.aside.keep(entry, &e);
                let (partition, number) = (entry.offset.partition, entry.offset.number);
                let reason = format!("record {number} of partition {partition} cannot be decoded: {e}");
                // One alarm a partition: a damaged stretch is thousands of records.
                self.shared.own.raise("undecodable-record", &partition.to_string(), reason);
                None
            }
        }
    }

    /// Saves where this consumer stands, so that the log can remove what is behind.
    pub async fn save(&self, next: u64) {
        let saved = self.shared.log.save_position(self.consumer, self.stream, self.partition, next).await;
        if let Err(e) = saved {
            // The position only frees space: the consumer's own state says where to go on.
            tracing::warn!(consumer = self.consumer, partition = self.partition, "position not saved: {e}");
        }
    }
}
