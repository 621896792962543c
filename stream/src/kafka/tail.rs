//! Follows the end of the partitions that this process reads: one consumer, one thread, into memory. A record comes over
//! the network once, however many consumers the process has.

use super::KafkaMetrics;
use super::client::{Client, Topics, blocking, entry, unavailable};
use super::cursors::Cursors;
use crate::LogError;
use crate::view::Region;
use model::Entry;
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// How long a poll waits; the thread looks at its other duties that often.
const POLL: Duration = Duration::from_millis(200);
/// Records shown to readers at once.
const SHOWN_MAX: usize = 1024;
/// How long the cluster has to tell a partition's bounds. A cluster takes nine seconds to see that a broker died, then elects.
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one try waits: a question put to a broker that has just died is never answered, and must be put to its successor.
const WATERMARKS_TRY: Duration = Duration::from_secs(3);
/// Pause between two tries.
const WATERMARKS_RETRY: Duration = Duration::from_millis(100);

/// A handle; clones follow the same end.
#[derive(Clone, Debug)]
pub struct Tail(Arc<Inner>);

struct Inner {
    topics: Topics,
    consumer: Client,
    regions: Arc<[Region]>,
    followed: Vec<OnceCell<()>>,
    stop: AtomicBool,
    metrics: KafkaMetrics,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tail")
    }
}

impl Tail {
    /// Starts the thread; it follows nothing until told to.
    pub fn start(
        topics: Topics,
        regions: Arc<[Region]>,
        cursors: Arc<Cursors>,
        metrics: KafkaMetrics,
    ) -> Result<Self, LogError> {
        let inner = Arc::new(Inner {
            consumer: topics.consumer("tail", false)?,
            followed: std::iter::repeat_with(OnceCell::new).take(regions.len()).collect(),
            stop: AtomicBool::new(false),
            topics,
            regions,
            metrics,
        });
        let thread = Arc::downgrade(&inner);
        let run = move || {
            // A handle for one round only: the log that is dropped without being closed ends the thread too.
            while let Some(inner) = thread.upgrade() {
                if inner.stop.load(Ordering::Relaxed) {
                    return;
                }
                inner.round();
                cursors.drop_idle();
            }
        };
        std::thread::Builder::new()
            .name("kafka-tail".to_owned())
            .spawn(run)
            .map_err(|e| LogError::Broken(format!("no thread can be started: {e}")))?;
        Ok(Self(inner))
    }

    /// Ends the thread soon.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Follows a region from its end of now on, if it is not followed yet.
    pub async fn follow(&self, region: usize) -> Result<(), LogError> {
        let follow = || async {
            let tail = self.clone();
            blocking(move || tail.0.begin(region)).await
        };
        self.0.followed[region].get_or_try_init(follow).await.copied()
    }

    /// The id of the cluster. Blocks.
    pub fn cluster(&self, timeout: Duration) -> Option<String> {
        self.0.consumer.client().fetch_cluster_id(timeout)
    }

    /// What a broker said that did not let this process in, if one did.
    pub fn refused(&self) -> Option<String> {
        self.0.consumer.context().refused()
    }

    /// First and next offset of a region, as the broker tells. Blocks.
    pub fn watermarks(&self, region: usize) -> Result<(u64, u64), LogError> {
        self.0.watermarks(region)
    }
}

/// First and next offset of a region. Blocks.
pub fn watermarks(topics: &Topics, consumer: &Client, region: usize) -> Result<(u64, u64), LogError> {
    let (topic, partition) = topics.place(region);
    let deadline = Instant::now() + WATERMARKS_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).clamp(WATERMARKS_RETRY, WATERMARKS_TRY);
        match consumer.fetch_watermarks(topic, partition, left) {
            Ok((low, high)) => {
                return Ok((u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0)));
            }
            Err(e) if Instant::now() >= deadline => return Err(unavailable(e)),
            // A new leader is found in a moment; librdkafka does not ask again by itself.
            Err(_) => std::thread::sleep(WATERMARKS_RETRY),
        }
    }
}

impl Inner {
    fn watermarks(&self, region: usize) -> Result<(u64, u64), LogError> {
        watermarks(&self.topics, &self.consumer, region)
    }

    fn begin(&self, region: usize) -> Result<(), LogError> {
        let (low, high) = self.watermarks(region)?;
        self.regions[region].reset(low, high);
        self.consumer.incremental_assign(&self.topics.at(region, high)?).map_err(unavailable)
    }

    /// What came, or a pause.
    fn round(&self) {
        let mut came: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
        let mut wait = POLL;
        for _ in 0..SHOWN_MAX {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    if let Some(region) = self.topics.region_of(message.topic(), message.partition()) {
                        came.entry(region).or_default().push(entry(&message));
                    }
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    self.look_again()
                }
                Some(Err(e)) => {
                    self.metrics.consumer_errors.inc();
                    tracing::warn!("following Kafka: {e}; librdkafka tries again");
                }
            }
            wait = Duration::ZERO;
        }
        for (region, mut entries) in came {
            let (_, next) = self.regions[region].bounds();
            entries.retain(|e| e.offset.number >= next);
            self.regions[region].extend(entries);
        }
    }

    /// An offset that is followed is not there: the end of a partition moved back, since records that brokers had
    /// acknowledged are lost, or its beginning passed us by. The error does not name it, so each is looked at.
    fn look_again(&self) {
        for region in (0..self.regions.len()).filter(|r| self.followed[*r].initialized()) {
            let (_, next) = self.regions[region].bounds();
            let (low, high) = match self.watermarks(region) {
                Ok(watermarks) => watermarks,
                Err(e) => {
                    tracing::error!("an offset that was followed is gone, and the bounds are not known: {e}");
                    continue;
                }
            };
            if (low..=high).contains(&next) {
                continue;
            }
            let (topic, partition) = self.topics.place(region);
            tracing::error!(
                topic,
                partition,
                followed = next,
                low,
                high,
                "Kafka lost records that were followed"
            );
            self.metrics.lost_tails.inc();
            let again = self.topics.at(region, high).and_then(|list| {
                self.consumer.incremental_unassign(&list).map_err(unavailable)?;
                self.regions[region].reset(low, high);
                self.consumer.incremental_assign(&list).map_err(unavailable)
            });
            if let Err(e) = again {
                tracing::error!(topic, partition, "the partition is not followed any more: {e}");
                self.regions[region].tip.end("Kafka lost records and the partition cannot be followed");
            }
        }
    }
}
