//! What all clients of Kafka share: names, settings, records as messages, errors.

use super::KafkaOptions;
use crate::{LogError, STREAMS};
use bytes::Bytes;
use model::record::RECORD_LEN_MAX;
use model::{Entry, Offset, Origin, Stream};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::{ClientConfig, ClientContext, TopicPartitionList};
use std::sync::{Arc, Mutex};

/// Header that carries the origin: collector, then sequence, both u64 little-endian.
const ORIGIN_HEADER: &str = "firedamp-origin";
/// A message is a record with its header and Kafka's own frame.
pub const MESSAGE_LEN_MAX: usize = RECORD_LEN_MAX + (64 << 10);
/// What one consumer fetches ahead for a partition.
const FETCH_AHEAD_KIB: &str = "4096";

/// Settings that the promises of the log hang on.
const FIXED: [&str; 14] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "retries",
    "message.send.max.retries",
    "group.id",
    "enable.auto.commit",
    "auto.offset.reset",
    "isolation.level",
];

/// A consumer of this log.
pub type Client = BaseConsumer<Told>;

/// What librdkafka told of the connections of a consumer.
#[derive(Debug, Default)]
pub struct Told(Mutex<Option<String>>);

impl Told {
    /// What the last broker said that did not let this client in.
    pub fn refused(&self) -> Option<String> {
        self.0.lock().expect("no code panics while it holds the reason").clone()
    }
}

impl ClientContext for Told {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::error!("librdkafka: {error}: {reason}");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
            *self.0.lock().expect("no code panics while it holds the reason") = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Told {}

/// Names and settings; cheap to clone.
#[derive(Clone, Debug)]
pub struct Topics {
    pub names: [Arc<str>; 2],
    pub partitions: u32,
    base: Arc<ClientConfig>,
}

impl Topics {
    pub fn new(options: &KafkaOptions) -> Result<Self, LogError> {
        if options.partitions == 0 || options.topic.is_empty() || options.brokers.is_empty() {
            return Err(LogError::Broken(
                "log.kafka needs brokers, a topic and at least one partition".to_owned(),
            ));
        }
        if let Some(name) = options.settings.keys().find(|k| FIXED.contains(&k.as_str())) {
            return Err(LogError::Broken(format!(
                "log.kafka: `{name}` is set by firedamp and cannot be changed"
            )));
        }
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", &options.brokers);
        base.set("client.id", "firedamp");
        // A broker that comes back is found within a second, not within ten.
        base.set("reconnect.backoff.max.ms", "1000");
        for (name, value) in &options.settings {
            base.set(name, value);
        }
        let names = [options.topic.as_str().into(), format!("{}.transitions", options.topic).into()];
        Ok(Self { names, partitions: options.partitions, base: Arc::new(base) })
    }

    /// Settings common to all clients.
    pub fn config(&self) -> ClientConfig {
        (*self.base).clone()
    }

    pub fn name_of(&self, stream: Stream) -> &str {
        &self.names[usize::from(stream == Stream::Transitions)]
    }

    /// Topic and partition of a region.
    pub fn place(&self, region: usize) -> (&str, i32) {
        let stream = STREAMS[region % STREAMS.len()];
        (self.name_of(stream), (region / STREAMS.len()) as i32)
    }

    /// The region of a message.
    pub fn region_of(&self, topic: &str, partition: i32) -> Option<usize> {
        let stream = self.names.iter().position(|n| **n == *topic)?;
        let partition = u32::try_from(partition).ok().filter(|p| *p < self.partitions)?;
        Some(partition as usize * STREAMS.len() + stream)
    }

    /// A list with one region at an offset.
    pub fn at(&self, region: usize, offset: u64) -> Result<TopicPartitionList, LogError> {
        let (topic, partition) = self.place(region);
        let mut list = TopicPartitionList::new();
        let offset =
            i64::try_from(offset).map_err(|_| LogError::Broken(format!("offset {offset} is too large")))?;
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset)).map_err(unavailable)?;
        Ok(list)
    }

    /// A consumer that is told what to read. It belongs to a group by name only: librdkafka's messages come to where
    /// this binding polls only if there is one. It never joins it and commits nothing by itself.
    pub fn consumer(&self, group: &str, tell_end: bool) -> Result<Client, LogError> {
        self.config()
            .set("group.id", format!("{}-{group}", self.names[0]))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", if tell_end { "true" } else { "false" })
            .set("queued.max.messages.kbytes", FETCH_AHEAD_KIB)
            .set("fetch.message.max.bytes", (2 << 20).to_string())
            .set("fetch.error.backoff.ms", "100")
            .create_with_context(Told::default())
            .map_err(setting)
    }
}

/// The header with the origin.
pub fn origin_header(origin: Origin) -> OwnedHeaders {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&origin.collector.to_le_bytes());
    value[8..].copy_from_slice(&origin.sequence.to_le_bytes());
    OwnedHeaders::new_with_capacity(1).insert(Header { key: ORIGIN_HEADER, value: Some(&value) })
}

/// A message as an entry. One without origin was not written by firedamp: as origin it gets the one that is never
/// dropped as seen, and its reader sets it aside when it cannot decode it.
pub fn entry(message: &impl Message) -> Entry {
    let origin = message.headers().and_then(|headers| {
        let header = headers.iter().find(|h| h.key == ORIGIN_HEADER)?;
        let (collector, sequence) = header.value?.split_first_chunk()?;
        let sequence = sequence.try_into().ok()?;
        Some(Origin { collector: u64::from_le_bytes(*collector), sequence: u64::from_le_bytes(sequence) })
    });
    Entry {
        offset: Offset {
            partition: u32::try_from(message.partition()).unwrap_or(0),
            number: u64::try_from(message.offset()).unwrap_or(0),
        },
        appended: message.timestamp().to_millis().unwrap_or(0).saturating_mul(1000),
        origin: origin.unwrap_or(Origin { collector: 0, sequence: 0 }),
        bytes: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }
}

/// Runs what blocks away from the tasks.
pub async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let done = tokio::task::spawn_blocking(f).await;
    done.unwrap_or_else(|e| Err(LogError::Broken(format!("a call of librdkafka ended: {e}"))))
}

/// An error that a wait may mend.
pub fn unavailable(e: KafkaError) -> LogError {
    LogError::Unavailable(format!("Kafka: {e}"))
}

/// An error of the settings.
pub fn setting(e: KafkaError) -> LogError {
    LogError::Broken(format!("log.kafka: {e}"))
}

/// An error of a delivery: a few no wait mends.
pub fn delivery(e: KafkaError) -> LogError {
    use RDKafkaErrorCode as Code;
    match e.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge) => LogError::Broken(format!(
            "the topic does not take a record of up to {RECORD_LEN_MAX} bytes ({e}); set its max.message.bytes to \
             {MESSAGE_LEN_MAX}"
        )),
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::InvalidTopic) => {
            LogError::Broken(format!("Kafka refuses the record for good: {e}"))
        }
        _ => unavailable(e),
    }
}
