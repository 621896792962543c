//! Appending to Kafka: acks=all, idempotent, and never a record without the ones before it.
//!
//! Consumers drop a record whose sequence is not above the last one seen of its collector. So a later record must not
//! get into a partition without an earlier one: tried again, the earlier one would be dropped. librdkafka keeps that
//! order within one producer as long as no message is given up. Therefore none ever is: messages have no time-out of
//! their own. When an append takes too long, the whole producer is given up instead: nothing more is handed to it, what
//! it has is purged, all its appends fail, and a new one begins. What the broker took of the old one is a prefix.

use super::client::{MESSAGE_LEN_MAX, Topics, delivery, origin_header, setting, unavailable};
use crate::{Append, LogError};
use model::Origin;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait when librdkafka's queue is full.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

/// One producer until it is given up.
struct Generation {
    producer: FutureProducer,
    /// Given up: taken for reading by who hands over, for writing by who gives up.
    given_up: RwLock<bool>,
}

/// What a region's appends share.
#[derive(Debug, Default)]
struct Lane {
    /// The next own sequence. Held while records are handed over, so that sequences and offsets have one order.
    sequence: tokio::sync::Mutex<u64>,
    /// Everything before is acknowledged.
    acknowledged: AtomicU64,
}

/// See the module.
pub struct Producer {
    topics: Topics,
    collector: u64,
    lanes: Vec<Lane>,
    current: Mutex<Option<Arc<Generation>>>,
    timeout: Duration,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("collector", &self.collector).finish_non_exhaustive()
    }
}

impl Producer {
    pub fn new(topics: Topics, regions: usize, timeout: Duration) -> Result<Self, LogError> {
        let lanes = std::iter::repeat_with(Lane::default).take(regions).collect();
        // 0 is kept for records that may come twice.
        let collector = rand::random_range(1..=u64::MAX);
        let producer = Self { topics, collector, lanes, current: Mutex::new(None), timeout };
        producer.current()?;
        Ok(producer)
    }

    /// Everything before this offset was acknowledged to this process.
    pub fn acknowledged(&self, region: usize) -> u64 {
        self.lanes[region].acknowledged.load(Ordering::Acquire)
    }

    /// Appends and returns the offset of the first. Where the broker does not tell it (it took the record before and
    /// only its answer was lost), an offset at or before it.
    pub async fn append(&self, region: usize, records: Vec<Append>) -> Result<u64, LogError> {
        let deadline = Instant::now() + self.timeout;
        let lane = &self.lanes[region];
        let mut sequence = match tokio::time::timeout_at(deadline, lane.sequence.lock()).await {
            Ok(sequence) => sequence,
            Err(_) => return Err(self.too_late("its turn did not come")),
        };
        let before = self.acknowledged(region);
        let generation = self.current()?;
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let origin = record.origin.unwrap_or_else(|| {
                let own = Origin { collector: self.collector, sequence: *sequence };
                *sequence += 1;
                own
            });
            match self.hand_over(&generation, region, &record.bytes, origin, deadline).await {
                Ok(delivery) => deliveries.push(delivery),
                Err(e) => {
                    self.give_up(&generation);
                    return Err(e);
                }
            }
        }
        drop(sequence);
        let mut first = None;
        for (i, delivered) in deliveries.into_iter().enumerate() {
            let error = match tokio::time::timeout_at(deadline, delivered).await {
                Ok(Ok(Ok(delivered))) => {
                    if let Ok(offset) = u64::try_from(delivered.offset) {
                        lane.acknowledged.fetch_max(offset + 1, Ordering::AcqRel);
                        first.get_or_insert(offset.saturating_sub(i as u64));
                    }
                    continue;
                }
                Ok(Ok(Err((e, _)))) => delivery(e),
                Ok(Err(_)) => self.too_late("the producer was given up"),
                Err(_) => self.too_late("it was not acknowledged"),
            };
            self.give_up(&generation);
            return Err(error);
        }
        Ok(first.unwrap_or(before))
    }

    async fn hand_over(
        &self,
        generation: &Generation,
        region: usize,
        bytes: &[u8],
        origin: Origin,
        deadline: Instant,
    ) -> Result<DeliveryFuture, LogError> {
        let (topic, partition) = self.topics.place(region);
        loop {
            let record = FutureRecord::<(), [u8]>::to(topic).partition(partition).payload(bytes);
            let result = {
                let given_up = generation.given_up.read().expect("no code panics while it holds the flag");
                if *given_up {
                    return Err(self.too_late("the producer was given up"));
                }
                generation.producer.send_result(record.headers(origin_header(origin)))
            };
            match result {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _))
                    if Instant::now() < deadline =>
                {
                    tokio::time::sleep(QUEUE_FULL_WAIT).await;
                }
                Err((e, _)) => return Err(delivery(e)),
            }
        }
    }

    fn too_late(&self, what: &str) -> LogError {
        LogError::Unavailable(format!("an append to Kafka failed: {what} within {:?}", self.timeout))
    }

    fn current(&self) -> Result<Arc<Generation>, LogError> {
        let mut current = self.current.lock().expect("no code panics while it holds the producer");
        if let Some(generation) = &*current {
            return Ok(generation.clone());
        }
        let producer = self
            .topics
            .config()
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0")
            .set("message.max.bytes", MESSAGE_LEN_MAX.to_string())
            .set("batch.size", (1 << 20).to_string())
            .set("linger.ms", "1")
            .set("queue.buffering.max.kbytes", (64 << 10).to_string())
            .set("compression.type", "none")
            .create()
            .map_err(setting)?;
        let generation = Arc::new(Generation { producer, given_up: RwLock::new(false) });
        *current = Some(generation.clone());
        Ok(generation)
    }

    /// Ends a producer: all its appends fail, the next one gets a new producer.
    fn give_up(&self, generation: &Arc<Generation>) {
        {
            let mut given_up = generation.given_up.write().expect("no code panics while it holds the flag");
            if std::mem::replace(&mut *given_up, true) {
                return;
            }
        }
        generation.producer.purge(PurgeConfig::default().queue().inflight());
        let mut current = self.current.lock().expect("no code panics while it holds the producer");
        if current.as_ref().is_some_and(|c| Arc::ptr_eq(c, generation)) {
            *current = None;
        }
        drop(current);
        // Its last handle waits for librdkafka's threads: that must not be one of a task. The others let go as soon as
        // their purged deliveries are told.
        let last = generation.clone();
        let wait = move || {
            while Arc::strong_count(&last) > 1 {
                std::thread::sleep(QUEUE_FULL_WAIT);
            }
        };
        let dropped = std::thread::Builder::new().name("kafka-drop".to_owned()).spawn(wait);
        if let Err(e) = dropped {
            tracing::warn!("no thread can be started to end a producer: {e}");
        }
    }

    /// Waits until everything handed over is acknowledged.
    pub async fn close(&self) -> Result<(), LogError> {
        let current = self.current.lock().expect("no code panics while it holds the producer").take();
        let Some(generation) = current else { return Ok(()) };
        let timeout = self.timeout;
        super::client::blocking(move || generation.producer.flush(timeout).map_err(unavailable)).await
    }
}
