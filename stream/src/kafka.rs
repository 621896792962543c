//! The log in Apache Kafka: topic `<topic>` for readings, `<topic>.transitions` for transitions.
//!
//! - An append is acknowledged by all in-sync replicas; a broker with too few of them refuses, and the producer tries
//!   again until [`KafkaOptions::timeout`], then the append is [`LogError::Unavailable`]. It may still have been written:
//!   who tries again may write twice, under the same origin if it was given one, which consumers drop. What a partition
//!   holds of one producer is always a prefix of what was handed over, never a later record without an earlier one
//!   (`producer`).
//! - Who follows the end reads from memory, filled by one consumer a process (`tail`); who lags reads with a consumer of
//!   its own (`cursors`). Offsets may have holes: the next offset is that of the last entry plus one.
//! - An offset that is no longer there is [`LogError::Gone`]; no consumer resets by itself.
//! - Positions are the committed offsets of group `<topic>-<consumer>`: the offset to read next. Retention is the
//!   brokers': [`Log::trim`] does nothing here.
//! - Append times are the brokers', in milliseconds. They may go back by the difference of two brokers' clocks when a
//!   partition changes its leader; the rules take their running maximum.

mod admin;
mod client;
mod cursors;
mod positions;
mod producer;
mod tail;

pub use admin::{TopicOptions, create_topics};

use crate::metrics::{counter, counters};
use crate::view::{Read, Region};
use crate::{Append, Bounds, Consumer, Log, LogError, region, regions};
use async_trait::async_trait;
use client::{Topics, blocking};
use cursors::Cursors;
use model::record::RECORD_LEN_MAX;
use model::{Entry, Micros, Stream};
use positions::Positions;
use producer::Producer;
use prometheus::{IntCounter, Registry};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tail::Tail;
use tokio::sync::OnceCell;

/// How long a read waits for what this process appended itself to come back from the broker.
const OWN_APPEND_WAIT: Duration = Duration::from_secs(5);

/// Settings of [`KafkaLog`].
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port,host:port`: some of the brokers.
    pub brokers: String,
    /// Topic of the readings; transitions lie in `<topic>.transitions`.
    pub topic: String,
    /// Number of partitions of both.
    pub partitions: u32,
    /// Further settings of librdkafka by name, as for TLS. What the promises of the log hang on cannot be set.
    pub settings: BTreeMap<String, String>,
    /// How long an append, a position or a look at the topics is tried before it is [`LogError::Unavailable`].
    pub timeout: Duration,
    /// Bytes of the newest records of a stream kept in memory, of all partitions together.
    pub cache: usize,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            topic: "firedamp".to_owned(),
            partitions: 8,
            settings: BTreeMap::new(),
            timeout: Duration::from_secs(30),
            cache: 64 << 20,
        }
    }
}

/// Metrics of the log in Kafka.
#[derive(Clone, Debug)]
pub(crate) struct KafkaMetrics {
    pub appended: [IntCounter; 2],
    pub failed: IntCounter,
    pub lost_tails: IntCounter,
    pub consumer_errors: IntCounter,
}

impl KafkaMetrics {
    fn new(registry: &Registry) -> Self {
        let appended = "firedamp_stream_kafka_appended_records_total";
        let appended = counters(registry, appended, "Records acknowledged by Kafka", "stream");
        Self {
            appended: crate::STREAMS.map(|s| appended.with_label_values(&[crate::metrics::stream_label(s)])),
            failed: counter(
                registry,
                "firedamp_stream_kafka_failed_appends_total",
                "Appends that Kafka did not acknowledge in time; they are tried again",
            ),
            lost_tails: counter(
                registry,
                "firedamp_stream_kafka_lost_tails_total",
                "Times that Kafka lost records it had acknowledged",
            ),
            consumer_errors: counter(
                registry,
                "firedamp_stream_kafka_consumer_errors_total",
                "Errors that librdkafka's consumer told",
            ),
        }
    }
}

/// The log in Kafka. Shared behind an `Arc`.
#[derive(Debug)]
pub struct KafkaLog {
    options: KafkaOptions,
    topics: Topics,
    producer: Producer,
    tail: Tail,
    cursors: Arc<Cursors>,
    positions: Arc<Positions>,
    regions: Arc<[Region]>,
    /// What was found at the topics, once they could be looked at.
    checked: OnceCell<Vec<String>>,
    metrics: KafkaMetrics,
}

impl KafkaLog {
    /// Connects and looks at the topics: append time by the broker, partitions, retention, replicas. What is doubtful is
    /// a warning ([`KafkaLog::warnings`]). Brokers that cannot be reached are no error: a collector starts without them,
    /// and the topics are looked at before the first use.
    ///
    /// # Errors
    /// [`LogError::Broken`] says which setting or which property of the topic cannot work, and what to do.
    pub async fn open(options: KafkaOptions, registry: &Registry) -> Result<KafkaLog, LogError> {
        let topics = Topics::new(&options)?;
        let metrics = KafkaMetrics::new(registry);
        let count = regions(options.partitions);
        let share = options.cache / options.partitions as usize;
        let regions: Arc<[Region]> = (0..count).map(|_| Region::new(0, 0, share)).collect();
        let cursors = Arc::new(Cursors::new(topics.clone()));
        let log = KafkaLog {
            producer: Producer::new(topics.clone(), count, options.timeout)?,
            tail: Tail::start(topics.clone(), regions.clone(), cursors.clone(), metrics.clone())?,
            cursors,
            positions: Arc::new(Positions::new(topics.clone(), options.timeout)),
            regions,
            checked: OnceCell::new(),
            metrics,
            topics,
            options,
        };
        match log.check().await {
            Ok(_) => {}
            Err(LogError::Unavailable(why)) => {
                tracing::warn!(
                    brokers = log.options.brokers,
                    "Kafka cannot be reached yet, going on without: {why}"
                );
            }
            Err(e) => return Err(e),
        }
        Ok(log)
    }

    /// What is doubtful about the topics, a sentence each; empty until they could be looked at.
    pub fn warnings(&self) -> &[String] {
        self.checked.get().map_or(&[], Vec::as_slice)
    }

    /// The name that the cluster gave itself; with the topic it says which log this is.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when no broker answers, or none has let this process in yet.
    pub async fn cluster(&self) -> Result<String, LogError> {
        if let (None, Some(why)) = (self.checked.get(), self.tail.refused()) {
            return Err(admin::not_let_in(&why));
        }
        let (tail, timeout) = (self.tail.clone(), self.options.timeout);
        let id = blocking(move || Ok(tail.cluster(timeout))).await?;
        id.ok_or_else(|| LogError::Unavailable("Kafka: the cluster does not tell its id".to_owned()))
    }

    async fn check(&self) -> Result<&Vec<String>, LogError> {
        self.checked
            .get_or_try_init(|| async {
                let tail = self.tail.clone();
                let warnings =
                    admin::check(&self.topics, self.options.timeout, move || tail.refused()).await?;
                for warning in &warnings {
                    tracing::warn!("Kafka: {warning}");
                }
                Ok(warnings)
            })
            .await
    }

    /// A region that is being followed, with its number.
    async fn followed(&self, stream: Stream, partition: u32) -> Result<(usize, &Region), LogError> {
        let at = region(self.options.partitions, stream, partition)?;
        if let Some(ended) = self.regions[at].tip.ended() {
            return Err(ended);
        }
        self.check().await?;
        self.tail.follow(at).await?;
        Ok((at, &self.regions[at]))
    }

    /// First and next offset, as the broker tells.
    async fn watermarks(&self, region: usize) -> Result<(u64, u64), LogError> {
        let tail = self.tail.clone();
        blocking(move || tail.watermarks(region)).await
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn partitions(&self) -> u32 {
        self.options.partitions
    }

    async fn append(&self, stream: Stream, partition: u32, records: Vec<Append>) -> Result<u64, LogError> {
        let at = region(self.options.partitions, stream, partition)?;
        if let Some(record) = records.iter().find(|r| r.bytes.len() > RECORD_LEN_MAX) {
            let len = record.bytes.len();
            return Err(LogError::Broken(format!("a record has {len} bytes, {RECORD_LEN_MAX} is the limit")));
        }
        if let Some(ended) = self.regions[at].tip.ended() {
            return Err(ended);
        }
        self.check().await?;
        if records.is_empty() {
            return Ok(self.watermarks(at).await?.1);
        }
        let count = records.len() as u64;
        let result = self.producer.append(at, records).await;
        match &result {
            Ok(_) => self.metrics.appended[usize::from(stream == Stream::Transitions)].inc_by(count),
            Err(_) => self.metrics.failed.inc(),
        }
        result
    }

    async fn read(
        &self,
        stream: Stream,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let (at, region) = self.followed(stream, partition).await?;
        if (region.bounds().1..self.producer.acknowledged(at)).contains(&from) {
            // Acknowledged to this process, but not back yet: it must not look as if it were not there.
            let _ = tokio::time::timeout(OWN_APPEND_WAIT, region.tip.wait(from)).await;
        }
        match region.read(from, max_bytes) {
            Read::Entries(entries) => Ok(entries),
            Read::Older(_) => {
                let cursors = self.cursors.clone();
                let timeout = self.options.timeout;
                blocking(move || cursors.read(at, from, max_bytes, timeout)).await
            }
            Read::Gone(first) if from < first => Err(LogError::Gone { partition, wanted: from, first }),
            Read::Gone(_) => {
                // Another process may have appended what has not come here yet.
                let (_, next) = self.watermarks(at).await?;
                if from <= next {
                    Ok(Vec::new())
                } else {
                    Err(LogError::Gone { partition, wanted: from, first: next })
                }
            }
        }
    }

    async fn wait(&self, stream: Stream, partition: u32, from: u64) -> Result<(), LogError> {
        let (_, region) = self.followed(stream, partition).await?;
        region.tip.wait(from).await
    }

    async fn bounds(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError> {
        let (at, region) = self.followed(stream, partition).await?;
        let (first, next) = self.watermarks(at).await?;
        region.begins_at(first);
        Ok(Bounds { first, next })
    }

    async fn save_position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
        next: u64,
    ) -> Result<(), LogError> {
        let at = region(self.options.partitions, stream, partition)?;
        self.check().await?;
        let (positions, consumer) = (self.positions.clone(), consumer.to_owned());
        blocking(move || positions.save(&consumer, at, next)).await
    }

    async fn position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
    ) -> Result<Option<u64>, LogError> {
        let at = region(self.options.partitions, stream, partition)?;
        self.check().await?;
        let (positions, consumer) = (self.positions.clone(), consumer.to_owned());
        blocking(move || positions.saved(&consumer, at)).await
    }

    /// Does nothing: the brokers remove records, by the retention of the topic.
    async fn trim(&self, _consumers: &[&str], _older_than: Micros) -> Result<(), LogError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), LogError> {
        self.regions.iter().for_each(|r| r.tip.end("the log is closed"));
        self.tail.stop();
        self.producer.close().await
    }
}
