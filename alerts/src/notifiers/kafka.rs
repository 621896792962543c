//! Kafka: the JSON of the webhook as a message of a topic, keyed by site (so that a site is in one partition; messages of one alarm keep their order), with the header
//! `idempotency-key`. Delivered is what all in-sync brokers have (acks=all); the producer is idempotent, so that a retry of librdkafka
//! within one try writes once. Site and JSON lie together in the outbox.
//!
//! A message that is too large for the topic, or that the broker says is no valid record, is refused for good. Everything else is tried
//! again: a topic that is not there and a user who must not write are mended at the brokers or in the configuration.

use super::{Message, Notice, Notifier, SendError, Settings, apart, below, common, read_timeout};
use async_trait::async_trait;
use model::kafka::KafkaAccess;
use model::keys::{KeyDoc, joined, key};
use model::toml_file::Section;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, ClientContext};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Settings of Kafka.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// Where to write.
    pub topic: String,
    /// How brokers are spoken to; plain when absent.
    pub access: Option<KafkaAccess>,
    /// Longest time of one try.
    pub timeout: Duration,
}

/// Keys of Kafka.
pub const KEYS: &[KeyDoc] = &joined::<10>(
    &[
        key("brokers", "list of texts", "-", "`host:port` of some brokers"),
        key(
            "topic",
            "text",
            "-",
            "topic that the JSON is written to, with the site as key; firedamp makes none",
        ),
        key("timeout", "duration", "\"10s\"", "longest time of one try, from 1s to 1h"),
    ],
    &model::kafka::KEYS,
);

/// How long a topic may be unknown before that is believed: metadata of a new one spread.
const UNKNOWN_TOPIC_MS: &str = "2000";
/// Largest message that is handed to librdkafka: the topic's own limit is to decide.
const MESSAGE_LEN_MAX: &str = "100000000";
/// How long to wait for room in librdkafka's queue; it holds far more than may be under way.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<Arc<dyn Settings>> {
    let brokers: Vec<String> =
        s.strs("brokers").unwrap_or_default().iter().map(|b| b.value.to_owned()).collect();
    if brokers.is_empty() {
        s.missing("brokers", "[\"127.0.0.1:9092\"]");
    }
    let topic = s.need_str("topic", "\"alarms\"");
    let timeout = read_timeout(s, Duration::from_secs(10));
    let access = KafkaAccess::read(s, cfg!(feature = "kafka-tls"));
    let topic = topic.filter(|t| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let named = (1..=249).contains(&t.value.len()) && t.value.chars().all(good);
        let named = named && !matches!(t.value, "." | "..");
        if !named {
            let help = "1 to 249 letters, digits, `.`, `_` and `-`";
            s.file().error_at(t.at, format!("`{}` is no topic of Kafka", t.value), help);
        }
        named
    });
    let topic = topic?.value.to_owned();
    (!brokers.is_empty()).then_some(())?;
    Some(Arc::new(KafkaSettings { brokers, topic, access: Some(access), timeout: timeout? }))
}

impl KafkaSettings {
    fn producer(&self, told: &Told) -> Result<Producer, KafkaError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", "firedamp")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", self.timeout.as_millis().to_string())
            .set("message.max.bytes", MESSAGE_LEN_MAX)
            .set("topic.metadata.propagation.max.ms", UNKNOWN_TOPIC_MS)
            // A broker that comes back is found within a second, not within ten.
            .set("reconnect.backoff.max.ms", "1000")
            .set("linger.ms", "0")
            // A topic's limit is on what is written at once: one message must not be refused for the size of others.
            .set("batch.num.messages", "1");
        for (name, value) in self.access.iter().flat_map(KafkaAccess::settings) {
            config.set(name, value);
        }
        config.create_with_context(told.clone())
    }
}

impl Settings for KafkaSettings {
    fn render(&self, notice: &Notice<'_>) -> Vec<u8> {
        // A site code in a catalog holds no line feed; one that does is that of a stranger.
        let site = common(notice.alarms, |a| &a.site).replace('\n', " ");
        below(&site, notice.json)
    }

    fn connect(&self) -> Result<Arc<dyn Notifier>, String> {
        let told = Told::default();
        let producer = self.producer(&told).map_err(|e| e.to_string())?;
        Ok(Arc::new(Kafka { settings: self.clone(), told, current: Mutex::new(Some(producer)) }))
    }
}

/// What librdkafka last told of its connections: a message that timed out does not say why.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Option<String>>>);

impl Told {
    fn last(&self) -> Option<String> {
        self.0.lock().expect("no code panics while it holds the reason").clone()
    }
}

impl ClientContext for Told {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!("librdkafka: {error}: {reason}");
        *self.0.lock().expect("no code panics while it holds the reason") = Some(reason.to_owned());
    }
}

type Producer = FutureProducer<Told>;

/// Sends by a producer that all messages share.
pub struct Kafka {
    settings: KafkaSettings,
    told: Told,
    current: Mutex<Option<Producer>>,
}

impl Kafka {
    fn producer(&self) -> Result<Producer, KafkaError> {
        let mut current = self.current.lock().expect("no code panics while it holds the producer");
        match &*current {
            Some(producer) => Ok(producer.clone()),
            None => Ok(current.insert(self.settings.producer(&self.told)?).clone()),
        }
    }

    /// An idempotent producer that has met a fatal error takes nothing any more: the next message gets a new one.
    fn replace_if_broken(&self) {
        let mut current = self.current.lock().expect("no code panics while it holds the producer");
        if current.as_ref().is_some_and(|producer| producer.client().fatal_error().is_some()) {
            let_go(current.take());
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let_go(self.current.get_mut().map(Option::take).unwrap_or_default());
    }
}

/// The last handle of a producer waits for librdkafka's threads: that must not be one of a task.
fn let_go(producer: Option<Producer>) {
    let dropped = std::thread::Builder::new().name("kafka-drop".to_owned()).spawn(move || drop(producer));
    if let Err(e) = dropped {
        tracing::warn!("no thread can be started to end a producer: {e}");
    }
}

#[async_trait]
impl Notifier for Kafka {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let (site, payload) = apart(&message.body)?;
        let producer = self.producer().map_err(|e| SendError::Retry(e.to_string()))?;
        let header = Header { key: "idempotency-key", value: Some(&message.key) };
        let record = FutureRecord::to(&self.settings.topic)
            .key(site)
            .payload(payload)
            .headers(OwnedHeaders::new().insert(header));
        // It resolves by itself: librdkafka gives the message up after its time-out.
        let Err((e, _)) = producer.send(record, ROOM_WAIT).await else { return Ok(()) };
        self.replace_if_broken();
        let_go(Some(producer));
        Err(judge(&e, self.told.last(), &self.settings.topic))
    }
}

/// What an error of a delivery means.
fn judge(e: &KafkaError, told: Option<String>, topic: &str) -> SendError {
    use RDKafkaErrorCode as Code;
    match e.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidRecord) => {
            SendError::Refused(format!("topic `{topic}` does not take it: {e}"))
        }
        Some(Code::MessageTimedOut) => match told {
            Some(why) => SendError::Retry(format!("{e}; last heard of the brokers: {why}")),
            None => SendError::Retry(e.to_string()),
        },
        _ => SendError::Retry(format!("topic `{topic}`: {e}")),
    }
}
