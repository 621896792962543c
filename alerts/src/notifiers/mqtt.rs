//! MQTT: publishes the JSON of the webhook with QoS 1; delivered is what the broker acknowledged. With MQTT 5 the idempotency key is the
//! user property `idempotency-key`, and the broker says why it does not take a message. Topic and JSON lie together in the outbox.
//!
//! - A message that nobody subscribes to (reason 16 of MQTT 5) is not delivered: the broker has thrown it away. It is tried again. MQTT
//!   3.1.1 does not say so, nor that a topic is not allowed: version 5 is the default.
//! - Refused for good are a topic name or payload format that the broker names as wrong, and what is larger than it says that it takes.
//! - One connection a receiver, shared by all its messages; `link.rs` keeps it, `connection.rs` has the two versions behind one face,
//!   `topic.rs` the names of topics.

use super::{
    Message, Notice, Notifier, SendError, Settings, apart, below, read_ca, read_login, read_timeout,
};
use async_trait::async_trait;
use link::{Job, Link};
use model::keys::{KeyDoc, key};
use model::secret::Secret;
use model::toml_file::{Located, Section};
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

/// MQTT version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// 3.1.1
    V3,
    /// 5
    V5,
}

/// Settings of MQTT.
#[derive(Clone, Debug)]
pub struct MqttSettings {
    /// Name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is in TLS.
    pub tls: bool,
    /// Where to publish.
    pub topic: Template,
    /// MQTT version.
    pub version: Version,
    /// Sign-on.
    pub login: Option<(String, Secret)>,
    /// Certificates trusted beside those of the machine, PEM.
    pub ca: Option<Vec<u8>>,
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
    key("timeout", "duration", "\"10s\"", "longest time of one try"),
];

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<Arc<dyn Settings>> {
    let url = s.need_str("url", "\"mqtt://127.0.0.1:1883\"");
    let topic = s.need_str("topic", "\"firedamp/{region}/{site}\"");
    let version = s.one_of("version", &["5", "3.1.1"]);
    let (login, ca) = (read_login(s), read_ca(s));
    let timeout = read_timeout(s, Duration::from_secs(10));
    let topic = topic.and_then(|t| match Template::parse(t.value) {
        Ok(template) => Some(template),
        Err(e) => {
            s.file().error_at(t.at, format!("`{}` is no topic: {e}", t.value), "");
            None
        }
    });
    let broker = url.and_then(|url| read_broker(s, &url));
    let version = if version.is_some_and(|v| v.value == "3.1.1") { Version::V3 } else { Version::V5 };
    let (host, port, tls) = broker?;
    if !tls && let Some(ca) = s.str("ca") {
        s.file().error_at(ca.at, "`ca` is for TLS, and `url` has none", "write mqtts:// in `url`");
        return None;
    }
    let topic = topic?;
    Some(Arc::new(MqttSettings { host, port, tls, topic, version, login: login?, ca: ca?, timeout }))
}

/// Host, port and whether it is in TLS.
fn read_broker(s: &Section<'_>, url: &Located<&str>) -> Option<(String, u16, bool)> {
    let example = "write for example \"mqtt://127.0.0.1:1883\"";
    let error = |message: String, help: &str| {
        s.file().error_at(url.at, message, help);
        None
    };
    let Ok(parsed) = url::Url::parse(url.value) else {
        return error(format!("`{}` is no mqtt or mqtts address", url.value), example);
    };
    let (tls, port) = match parsed.scheme() {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        _ => return error(format!("`{}` is no mqtt or mqtts address", url.value), example),
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return error("`url` holds a user or a password".to_owned(), "use the keys `user` and `password`");
    }
    let more = !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some();
    match parsed.host_str().filter(|host| !host.is_empty()) {
        _ if more => error(format!("`{}` has more than host and port", url.value), example),
        None => error(format!("`{}` has no host", url.value), example),
        Some(host) => Some((host.to_owned(), parsed.port().unwrap_or(port), tls)),
    }
}

impl MqttSettings {
    /// The broker as people write it.
    fn shown(&self) -> String {
        format!("{}://{}:{}", if self.tls { "mqtts" } else { "mqtt" }, self.host, self.port)
    }
}

impl Settings for MqttSettings {
    fn render(&self, notice: &Notice<'_>) -> Vec<u8> {
        below(&self.topic.fill(notice.alarms), notice.json)
    }

    fn connect(&self) -> Result<Arc<dyn Notifier>, String> {
        let tls = if self.tls { Some(Arc::new(trusting(self.ca.as_deref())?)) } else { None };
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
