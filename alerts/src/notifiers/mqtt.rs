//! MQTT: publishes the JSON of the webhook with QoS 1; delivered is what the broker acknowledged. With MQTT 5 the idempotency key is the
//! user property `idempotency-key`, and the broker says why it does not take a message. Topic and JSON lie together in the outbox.
//!
//! - A message that nobody subscribes to (reason 16 of MQTT 5) is not delivered: the broker has thrown it away. It is tried again. MQTT
//!   3.1.1 does not say so, nor that a topic is not allowed: version 5 is the default.
//! - Refused for good are a topic name or payload format that the broker names as wrong, and what is larger than it says that it takes.
//! - One connection a receiver, shared by all its messages; `link.rs` keeps it, `connection.rs` has the two versions behind one face,
//!   `topic.rs` the names of topics.

use super::{Message, Notice, Notifier, SendError, Settings, apart, below, read_timeout};
use async_trait::async_trait;
use connection::Job;
use link::Link;
use model::keys::{KeyDoc, key};
use model::mqtt::{Broker, Version};
use model::toml_file::Section;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
pub use topic::Template;

mod connection;
mod link;
mod topic;

/// Longest topic of MQTT, in bytes.
const TOPIC_LEN_MAX: usize = 65_535;

/// Settings of MQTT.
#[derive(Clone, Debug)]
pub struct MqttSettings {
    /// The broker and the way to it; what is in `ca` is trusted beside the certificates of the machine.
    pub broker: Broker,
    /// Where to publish.
    pub topic: Template,
    /// MQTT version.
    pub version: Version,
    /// Longest time of one try.
    pub timeout: Duration,
}

/// Keys of MQTT.
pub const KEYS: &[KeyDoc] = &[
    key("url", "text", "-", "the broker: `mqtt://host:1883`, or `mqtts://host:8883` for TLS"),
    key(
        "topic",
        "text",
        "-",
        "where to publish; `{site}`, `{region}`, `{severity}` and `{rule}` in it become those of the alarm, `-` where there is none or a \
         digest has several; what a topic cannot have in a name (`/ + # $ %` and control characters) becomes `%` and two hex digits",
    ),
    key(
        "version",
        "`5` or `3.1.1`",
        "\"5\"",
        "MQTT version; with 3.1.1 there is no `idempotency-key`, and a broker does not say that nobody subscribes or that the topic is \
         not allowed: what it throws away counts as delivered",
    ),
    key("user", "text", "", "name for signing on"),
    key("password", "{ env } or { file }", "", "password for signing on"),
    key(
        "ca",
        "text",
        "",
        "file of certificates in PEM that are trusted beside those of the machine; `mqtts` only",
    ),
    key("timeout", "duration", "\"10s\"", "longest time of one try, from 1s to 1h"),
];

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<Arc<dyn Settings>> {
    let broker = Broker::read(s, "user", &[]);
    let topic = s.need_str("topic", "\"firedamp/{region}/{site}\"");
    let version = Version::read(s, "version");
    let timeout = read_timeout(s, Duration::from_secs(10));
    let topic = topic.and_then(|t| match Template::parse(t.value) {
        Ok(template) => Some(template),
        Err(e) => {
            s.file().error_at(t.at, format!("`{}` is no topic: {e}", t.value), "");
            None
        }
    });
    Some(Arc::new(MqttSettings { broker: broker?, topic: topic?, version, timeout: timeout? }))
}

impl Settings for MqttSettings {
    fn render(&self, notice: &Notice<'_>) -> Vec<u8> {
        below(&self.topic.fill(notice.alarms), notice.json)
    }

    fn connect(&self) -> Result<Arc<dyn Notifier>, String> {
        let Broker { tls, ca, .. } = &self.broker;
        let tls = tls.then(|| trusting(ca.as_deref())).transpose()?.map(Arc::new);
        Ok(Arc::new(Mqtt { settings: Arc::new(self.clone()), tls, jobs: Mutex::new(None) }))
    }
}

/// TLS that trusts the certificates of the machine and these.
fn trusting(ca: Option<&[u8]>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // Systems carry odd certificates; those that cannot be parsed are skipped, as every other program does.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(ca.unwrap_or_default()) {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() {
        return Err("this system has no trusted certificates; name a file with `ca`".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| format!("TLS cannot be used: {e}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Publishes by one connection, which begins with the first message.
pub struct Mqtt {
    settings: Arc<MqttSettings>,
    tls: Option<Arc<ClientConfig>>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

impl Mqtt {
    /// The way to the task that keeps the connection: started at the first message, and anew should it ever have ended.
    fn link(&self) -> mpsc::Sender<Job> {
        let mut jobs = self.jobs.lock().expect("no code panics while it holds the way");
        match &*jobs {
            Some(sender) if !sender.is_closed() => sender.clone(),
            _ => {
                let (sender, receiver) = mpsc::channel(super::PARALLEL);
                tokio::spawn(Link::new(self.settings.clone(), self.tls.clone(), receiver).run());
                jobs.insert(sender).clone()
            }
        }
    }
}

#[async_trait]
impl Notifier for Mqtt {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let (topic, payload) = apart(&message.body)?;
        if topic.len() > TOPIC_LEN_MAX {
            return Err(SendError::Refused(format!("the topic has {} bytes", topic.len())));
        }
        let (answer, answered) = oneshot::channel();
        let job = Job {
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            key: message.key.clone(),
            until: Instant::now() + self.settings.timeout,
            answer,
        };
        let ended = || SendError::Retry("the connection to the broker ended".to_owned());
        self.link().send(job).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}
