//! MQTT and Mosquitto, by both versions; over TLS; a topic that nobody subscribes to; one connection for all messages.

use super::{Counterpart, Hopeless, assert_same, below_the_line, episode, large, suite};
use crate::bureau::PATIENCE;
use alerts::notifiers::mqtt::{MqttSettings, Template};
use alerts::{Message, SendError, Settings};
use async_trait::async_trait;
use model::mqtt::{Broker, Version};
use model::secret::Secret;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tests::mosquitto::{self, Mosquitto};
use tests::mqtt::Subscriber;

/// Largest packet that the broker of the suite takes.
const PACKET_LEN_MAX: usize = 20_000;

fn settings(port: u16, version: Version, topic: &str, timeout: Duration) -> MqttSettings {
    let topic = Template::parse(topic).unwrap();
    let broker = Broker { host: "127.0.0.1".to_owned(), port, tls: false, login: None, ca: None };
    MqttSettings { broker, topic, version, timeout }
}

/// The broker, and a bureau that subscribes to `firedamp/#`.
struct Brokered {
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    version: Version,
    refused: Vec<Hopeless>,
    mendable: Vec<Hopeless>,
}

#[async_trait]
impl Counterpart for Brokered {
    fn at(&self, port: u16, timeout: Duration) -> Arc<dyn Settings> {
        Arc::new(settings(port, self.version, "firedamp/{region}/{site}", timeout))
    }

    fn settings(&self) -> Arc<dyn Settings> {
        self.at(self.mosquitto.port, Duration::from_secs(5))
    }

    async fn took(&mut self, messages: &[Message]) {
        let got = self.subscriber.take().await;
        // Of MQTT 3.1.1 the payload must tell which message it is.
        let key =
            |payload: &[u8]| messages.iter().find(|m| below_the_line(m) == payload).map(|m| m.key.clone());
        let got = got.into_iter().map(|got| {
            assert_eq!(got.key.is_some(), self.version == Version::V5);
            assert!(["firedamp/140100/M1", "firedamp/-/M1"].contains(&got.topic.as_str()), "{}", got.topic);
            (got.key.or_else(|| key(&got.payload)).unwrap_or_default(), got.payload)
        });
        assert_same(got.collect(), messages, below_the_line);
    }

    async fn stop(&mut self) {
        self.mosquitto.stop();
    }

    async fn start_again(&mut self) {
        let before = self.subscriber.connects();
        self.mosquitto.start_again();
        // Mosquitto 2.0.11 keeps what comes for a session of before its restart, and does not send it when the client is back.
        self.subscriber.is_back(before).await;
    }

    fn refused(&mut self) -> Vec<Hopeless> {
        self.refused.clone()
    }

    fn mendable(&mut self) -> Vec<Hopeless> {
        self.mendable.clone()
    }
}

/// The same with a password that is not the user's.
fn wrong(mut settings: MqttSettings) -> MqttSettings {
    settings.broker.login = Some(("firedamp".to_owned(), Secret::new("wrong")));
    settings
}

async fn one(settings: MqttSettings) -> Hopeless {
    let settings: Arc<dyn Settings> = Arc::new(settings);
    let message = episode(&settings).await.remove(0);
    Hopeless { settings, message }
}

/// A broker that takes small messages below two topics only, and knows one user.
fn strict(dir: &Path) -> Mosquitto {
    let (acl, users) = (dir.join("acl"), dir.join("users"));
    std::fs::write(&acl, "topic readwrite firedamp/#\ntopic readwrite nobody/#\n").unwrap();
    let mut command = std::process::Command::new("mosquitto_passwd");
    assert!(command.args(["-b", "-c"]).arg(&users).args(["firedamp", "right"]).status().unwrap().success());
    // Mosquitto 2.0.11 hangs up after it refused a message where the queue has no limit.
    mosquitto::start_with(&format!(
        "max_queued_messages 1000\nacl_file {}\npassword_file {}\nmax_packet_size {PACKET_LEN_MAX}",
        acl.display(),
        users.display()
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_5_keeps_all_promises() {
    let (dir, version, timeout) = (tempfile::tempdir().unwrap(), Version::V5, Duration::from_secs(5));
    let mosquitto = strict(dir.path());
    let port = mosquitto.port;
    let subscriber = Subscriber::start(port, "firedamp").await;
    let mut broker = Brokered { mosquitto, subscriber, version, refused: Vec::new(), mendable: Vec::new() };
    let settings_of = |topic: &str| settings(port, version, topic, timeout);
    let large = large(&broker.settings(), PACKET_LEN_MAX).await;
    broker.refused.push(Hopeless { settings: broker.settings(), message: large });
    broker.mendable = vec![
        one(settings_of("forbidden/{site}")).await,
        one(settings_of("nobody/{site}")).await,
        one(wrong(settings_of("firedamp/x"))).await,
    ];
    suite(&mut broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_1_keeps_what_it_can() {
    let (mosquitto, version) = (mosquitto::start(), Version::V3);
    let subscriber = Subscriber::start(mosquitto.port, "firedamp").await;
    // This version has no word for a refusal.
    suite(&mut Brokered { mosquitto, subscriber, version, refused: Vec::new(), mendable: Vec::new() }).await;
}

/// Why a message was not taken, in the words of the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_takes_no_message_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mosquitto = strict(dir.path());
    let settings_of = |topic: &str| settings(mosquitto.port, Version::V5, topic, Duration::from_secs(5));
    for (settings, why) in [
        (settings_of("forbidden/{site}"), "does not let this user publish"),
        (settings_of("nobody/{site}"), "nobody subscribes to the topic"),
        (wrong(settings_of("nobody/x")), "NotAuthorized"),
    ] {
        let Hopeless { settings, message } = one(settings).await;
        let error = settings.connect().unwrap().send(&message).await.unwrap_err();
        assert!(matches!(&error, SendError::Retry(e) if e.contains(why)), "{why}: {error:?}");
        assert!(!format!("{settings:?} {error:?}").contains("wrong"), "a secret is never shown");
    }
}

/// Messages side by side go by one connection, and it is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_messages_share_one_connection() {
    let mosquitto = mosquitto::start();
    let subscriber = Subscriber::start(mosquitto.port, "firedamp").await;
    let settings: Arc<dyn Settings> =
        Arc::new(settings(mosquitto.port, Version::V5, "firedamp/x", Duration::from_secs(5)));
    let notifier = settings.connect().unwrap();
    let message = episode(&settings).await.remove(0);
    for _ in 0..3 {
        let all = futures::future::join_all((0..8).map(|_| notifier.send(&message))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }
    assert_eq!(subscriber.take().await.len(), 24);
    let log = std::fs::read_to_string(mosquitto.log_file()).unwrap();
    assert_eq!(log.matches("as firedamp-").count(), 1, "{log}");
    // Whoever is done says goodbye.
    drop(notifier);
    tests::wait_for_async("the broker is told goodbye", PATIENCE, async || {
        let log = std::fs::read_to_string(mosquitto.log_file()).unwrap();
        log.contains("Received DISCONNECT from firedamp-").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_checked_by_both_versions() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ingest/tests/tls");
    let (port, file) = (tests::free_port(), |name: &str| certificates.join(name));
    let mosquitto = mosquitto::start_with(&format!(
        "listener {port} 127.0.0.1\ncertfile {}\nkeyfile {}",
        file("broker.pem").display(),
        file("broker.key").display()
    ));
    let subscriber = Subscriber::start(mosquitto.port, "firedamp").await;
    for version in [Version::V5, Version::V3] {
        let plain = settings(port, version, "firedamp/x", Duration::from_secs(5));
        let trusting = |ca: Option<&str>| {
            let ca = ca.map(|name| std::fs::read(file(name)).unwrap());
            MqttSettings { broker: Broker { tls: true, ca, ..plain.broker.clone() }, ..plain.clone() }
        };
        for settings in [trusting(None), trusting(Some("other.pem"))] {
            let Hopeless { settings, message } = one(settings).await;
            let error = settings.connect().unwrap().send(&message).await.unwrap_err();
            assert!(matches!(&error, SendError::Retry(e) if e.contains("ertificate")), "{error:?}");
        }
        let Hopeless { settings, message } = one(trusting(Some("ca.pem"))).await;
        settings.connect().unwrap().send(&message).await.unwrap();
        assert_eq!(subscriber.take().await[0].payload, below_the_line(&message));
    }
}
