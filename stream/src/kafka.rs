//! The log in Apache Kafka: topics `<topic>` and `<topic>.transitions`, one partition of each for a partition of the log.
//!
//! - Durable is acknowledged by `min.insync.replicas` brokers (acks=all, idempotent producer). A single broker, or a `min.insync.replicas`
//!   of 1, can lose seconds when power fails: said plainly at start.
//! - Append time is the broker's (`message.timestamp.type=LogAppendTime`; checked at start). Origins travel as message headers.
//! - Reading is by assignment and offset, never by a group; `auto.offset.reset=error`, so an offset that is gone is an error
//!   ([`LogError::Gone`]), never a silent reset. Saved positions are committed offsets of groups `<topic>-<consumer>`; like
//!   everywhere they are the offset read next, which is what Kafka's own tools show as lag.
//! - Retention is the broker's: [`Log::trim`] does nothing.

use crate::{Append, Bounds, Consumer, Log, LogError};
use async_trait::async_trait;
use model::{Entry, Micros, Offset as Place, Origin, Stream};
use prometheus::{IntCounter, Registry};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod topics;

/// Longest wait for an answer of the brokers before a call says that they are away.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a read waits for the first entry that is there already: the client fetches in the background.
const FETCH: Duration = Duration::from_millis(250);
/// Headers of a record: who made it durable first.
const COLLECTOR: &str = "collector";
const SEQUENCE: &str = "sequence";

/// Where the brokers are.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port`, comma separated.
    pub brokers: String,
    /// Topic of the readings; transitions go to `<topic>.transitions`.
    pub topic: String,
    /// Number of partitions; a topic with another number is refused.
    pub partitions: u32,
}

/// The log in Kafka.
pub struct KafkaLog {
    options: KafkaOptions,
    producer: FutureProducer,
    /// Asks for watermarks.
    asker: Arc<BaseConsumer>,
    readers: HashMap<(Stream, u32), tokio::sync::Mutex<Reader>>,
    groups: Mutex<HashMap<String, Arc<BaseConsumer>>>,
    collector: u64,
    sequences: Vec<Mutex<u64>>,
    appended: IntCounter,
}

/// Reads one partition in order.
struct Reader {
    consumer: StreamConsumer,
    next: Option<u64>,
    waiting: VecDeque<Entry>,
    appended: Micros,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KafkaLog({}, {})", self.options.brokers, self.options.topic)
    }
}

fn away(e: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(e.to_string())
}

fn client(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.brokers).set("client.id", "firedamp");
    config
}

fn consumer_config(options: &KafkaOptions, group: &str) -> ClientConfig {
    let mut config = client(options);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.message.max.bytes", "17000000")
        .set("queued.max.messages.kbytes", "16384");
    config
}

fn topic(options: &KafkaOptions, stream: Stream) -> String {
    match stream {
        Stream::Readings => options.topic.clone(),
        Stream::Transitions => format!("{}.transitions", options.topic),
    }
}

impl KafkaLog {
    /// Connects; makes topics that are missing, checks those that are there, and says what is weak about them.
    ///
    /// # Errors
    /// When the brokers are away, or a topic has another number of partitions.
    pub async fn open(options: KafkaOptions, registry: &Registry) -> Result<Self, LogError> {
        topics::ensure(&options).await?;
        let producer: FutureProducer = client(&options)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "none")
            .set("linger.ms", "1")
            .set("message.max.bytes", "17000000")
            .set("message.timeout.ms", TIMEOUT.as_millis().to_string())
            .create()
            .map_err(away)?;
        let asker = consumer_config(&options, &format!("{}-asker", options.topic)).create().map_err(away)?;
        let mut readers = HashMap::new();
        for stream in [Stream::Readings, Stream::Transitions] {
            for partition in 0..options.partitions {
                let config = consumer_config(&options, &format!("{}-reader", options.topic));
                let consumer: StreamConsumer = config.create().map_err(away)?;
                let reader = Reader { consumer, next: None, waiting: VecDeque::new(), appended: Micros::MIN };
                readers.insert((stream, partition), tokio::sync::Mutex::new(reader));
            }
        }
        let appended = IntCounter::new("firedamp_kafka_records_total", "records the brokers acknowledged")
            .map_err(away)?;
        registry.register(Box::new(appended.clone())).map_err(away)?;
        let sequences = (0..options.partitions * 2).map(|_| Mutex::new(0)).collect();
        let collector = rand::random::<u64>() | 1;
        Ok(Self {
            options,
            producer,
            asker: Arc::new(asker),
            readers,
            groups: Mutex::default(),
            collector,
            sequences,
            appended,
        })
    }

    fn reader(&self, stream: Stream, partition: u32) -> Result<&tokio::sync::Mutex<Reader>, LogError> {
        let none =
            || LogError::Broken(format!("there is no partition {partition} of {}", self.options.partitions));
        self.readers.get(&(stream, partition)).ok_or_else(none)
    }

    /// Hands the records to the producer, in order; their deliveries are awaited by the caller.
    fn send(
        &self,
        stream: Stream,
        partition: u32,
        records: Vec<Append>,
    ) -> Result<Vec<rdkafka::producer::DeliveryFuture>, LogError> {
        let topic = topic(&self.options, stream);
        let slot = partition + if stream == Stream::Transitions { self.options.partitions } else { 0 };
        // Held while sending: sequences and the order of the messages are the same.
        let mut sequence = self.sequences[slot as usize].lock().expect("no holder of this lock panics");
        let mut sent = Vec::with_capacity(records.len());
        for record in &records {
            let origin = record.origin.unwrap_or_else(|| {
                *sequence += 1;
                Origin { collector: self.collector, sequence: *sequence }
            });
            let (collector, number) = (origin.collector.to_le_bytes(), origin.sequence.to_le_bytes());
            let headers = OwnedHeaders::new()
                .insert(Header { key: COLLECTOR, value: Some(&collector) })
                .insert(Header { key: SEQUENCE, value: Some(&number) });
            let message: FutureRecord<'_, (), [u8]> = FutureRecord::to(&topic)
                .partition(partition as i32)
                .payload(&record.bytes[..])
                .headers(headers);
            match self.producer.send_result(message) {
                Ok(delivery) => sent.push(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    return Err(LogError::Full("the producer's queue is full".to_owned()));
                }
                Err((e, _)) => return Err(away(e)),
            }
        }
        Ok(sent)
    }

    async fn watermarks(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError> {
        let (asker, topic) = (self.asker.clone(), topic(&self.options, stream));
        let ask = move || asker.fetch_watermarks(&topic, partition as i32, TIMEOUT);
        let (low, high) = tokio::task::spawn_blocking(ask).await.map_err(away)?.map_err(away)?;
        Ok(Bounds { first: low as u64, next: high as u64 })
    }

    /// The client that commits and reads the offsets of a consumer's group.
    fn group(&self, consumer: Consumer<'_>) -> Result<Arc<BaseConsumer>, LogError> {
        let mut groups = self.groups.lock().expect("no holder of this lock panics");
        if let Some(group) = groups.get(consumer) {
            return Ok(group.clone());
        }
        let name = format!("{}-{consumer}", self.options.topic);
        let group: Arc<BaseConsumer> =
            Arc::new(consumer_config(&self.options, &name).create().map_err(away)?);
        groups.insert(consumer.to_owned(), group.clone());
        Ok(group)
    }
}

impl Reader {
    /// Goes to an offset unless it stands there.
    fn seek(&mut self, topic: &str, partition: u32, from: u64) -> Result<(), LogError> {
        if self.next == Some(from) {
            return Ok(());
        }
        self.waiting.clear();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition as i32, Offset::Offset(from as i64)).map_err(away)?;
        self.consumer.assign(&list).map_err(away)?;
        self.next = Some(from);
        Ok(())
    }

    /// The next entry; cancel-safe: what was received is kept in `waiting`.
    async fn receive(&mut self, partition: u32) -> Result<(), KafkaError> {
        let message = self.consumer.recv().await?;
        let millis = message.timestamp().to_millis().unwrap_or(0);
        self.appended = self.appended.max(millis * 1000);
        let number = |key: &str| -> Option<u64> {
            let headers = message.headers()?;
            let header = headers.iter().find(|h| h.key == key)?;
            Some(u64::from_le_bytes(header.value?.try_into().ok()?))
        };
        // A message of somebody else has no origin: it is read, cannot be decoded, and is set aside.
        let origin =
            Origin { collector: number(COLLECTOR).unwrap_or(0), sequence: number(SEQUENCE).unwrap_or(0) };
        let offset = Place { partition, number: message.offset() as u64 };
        let bytes = bytes::Bytes::copy_from_slice(message.payload().unwrap_or_default());
        self.waiting.push_back(Entry { offset, appended: self.appended, origin, bytes });
        Ok(())
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn partitions(&self) -> u32 {
        self.options.partitions
    }

    async fn append(&self, stream: Stream, partition: u32, records: Vec<Append>) -> Result<u64, LogError> {
        self.reader(stream, partition)?;
        let sent = self.send(stream, partition, records)?;
        let mut first = None;
        for delivery in sent {
            match delivery.await {
                Ok(Ok(delivered)) => first = first.or(Some(delivered.offset as u64)),
                Ok(Err((e, _))) => return Err(away(e)),
                Err(_) => return Err(LogError::Broken("the producer is closed".to_owned())),
            }
            self.appended.inc();
        }
        match first {
            Some(first) => Ok(first),
            None => self.watermarks(stream, partition).await.map(|b| b.next),
        }
    }

    async fn read(
        &self,
        stream: Stream,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let mut reader = self.reader(stream, partition)?.lock().await;
        reader.seek(&topic(&self.options, stream), partition, from)?;
        let mut wait = FETCH;
        let mut bytes: usize = reader.waiting.iter().map(|e| e.bytes.len()).sum();
        if bytes > 0 {
            wait = Duration::ZERO;
        }
        while bytes < max_bytes {
            match tokio::time::timeout(wait, reader.receive(partition)).await {
                Ok(Ok(())) => bytes += reader.waiting.back().map_or(0, |e| e.bytes.len()),
                Ok(Err(e)) if is_gone(&e) => {
                    reader.next = None;
                    let first = self.watermarks(stream, partition).await?.first;
                    return Err(LogError::Gone { partition, wanted: from, first });
                }
                Ok(Err(e)) => return Err(away(e)),
                Err(_) => break,
            }
            wait = Duration::ZERO;
        }
        let entries: Vec<Entry> = reader.waiting.drain(..).collect();
        if let Some(last) = entries.last() {
            reader.next = Some(last.offset.number + 1);
        }
        Ok(entries)
    }

    async fn wait(&self, stream: Stream, partition: u32, from: u64) -> Result<(), LogError> {
        let mut reader = self.reader(stream, partition)?.lock().await;
        reader.seek(&topic(&self.options, stream), partition, from)?;
        while reader.waiting.is_empty() {
            match reader.receive(partition).await {
                Ok(()) => {}
                // The read that follows says it.
                Err(e) if is_gone(&e) => {
                    reader.next = None;
                    return Ok(());
                }
                Err(e) => return Err(away(e)),
            }
        }
        Ok(())
    }

    async fn bounds(&self, stream: Stream, partition: u32) -> Result<Bounds, LogError> {
        self.watermarks(stream, partition).await
    }

    async fn save_position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
        next: u64,
    ) -> Result<(), LogError> {
        // A stream that is never read needs no offset: the broker's retention asks nobody.
        let Ok(next) = i64::try_from(next) else { return Ok(()) };
        if self.position(consumer, stream, partition).await?.is_some_and(|now| now as i64 >= next) {
            return Ok(());
        }
        let (group, topic) = (self.group(consumer)?, topic(&self.options, stream));
        let commit = move || {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, partition as i32, Offset::Offset(next))?;
            group.commit(&list, CommitMode::Sync)
        };
        tokio::task::spawn_blocking(commit).await.map_err(away)?.map_err(away)
    }

    async fn position(
        &self,
        consumer: Consumer<'_>,
        stream: Stream,
        partition: u32,
    ) -> Result<Option<u64>, LogError> {
        let (group, topic) = (self.group(consumer)?, topic(&self.options, stream));
        let ask = move || {
            let mut list = TopicPartitionList::new();
            list.add_partition(&topic, partition as i32);
            let found = group.committed_offsets(list, TIMEOUT)?;
            Ok::<_, KafkaError>(
                found.elements().first().map(rdkafka::topic_partition_list::TopicPartitionListElem::offset),
            )
        };
        match tokio::task::spawn_blocking(ask).await.map_err(away)?.map_err(away)? {
            Some(Offset::Offset(next)) => Ok(Some(next as u64)),
            _ => Ok(None),
        }
    }

    async fn trim(&self, _consumers: &[&str], _older_than: Micros) -> Result<(), LogError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), LogError> {
        let producer = self.producer.clone();
        let flush = move || producer.flush(Timeout::After(TIMEOUT));
        tokio::task::spawn_blocking(flush).await.map_err(away)?.map_err(away)
    }
}

fn is_gone(e: &KafkaError) -> bool {
    let code = e.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange))
}
