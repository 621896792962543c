//! MQTT and Mosquitto, by both versions; over TLS; a topic that nobody subscribes to; one connection for all messages.

use super::{Counterpart, Hopeless, assert_same, below_the_line, episode, large, suite};
use crate::bureau::until;
use alerts::notifiers::mqtt::{MqttSettings, Template, Version};
use alerts::{Message, SendError, Settings};
use async_trait::async_trait;
use model::secret::Secret;
use rumqttc::v5;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::mosquitto::{self, Mosquitto};
use tokio_util::task::AbortOnDropHandle;

/// Largest packet that the broker of the suite takes.
const PACKET_LEN_MAX: usize = 20_000;

fn settings(port: u16, version: Version, topic: &str, timeout: Duration) -> MqttSettings {
    let topic = Template::parse(topic).unwrap();
    let host = "127.0.0.1".to_owned();
    MqttSettings { host, port, tls: false, topic, version, login: None, ca: None, timeout }
}

/// One message as a bureau gets it: topic, idempotency key, payload.
type Got = (String, Option<String>, Vec<u8>);

/// A bureau that subscribes to `firedamp/#` and keeps its session while the broker is away.
struct Subscriber {
    got: Arc<Mutex<Vec<Got>>>,
    connects: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Subscriber {
    async fn start(port: u16) -> Self {
        let mut options = v5::MqttOptions::new("bureau", "127.0.0.1", port);
        options.set_clean_start(false).set_session_expiry_interval(Some(3600));
        options.set_max_packet_size(Some(1 << 20));
        let (client, mut events) = v5::AsyncClient::new(options, 10);
        let filter = Filter::new("firedamp/#", v5::mqttbytes::QoS::AtLeastOnce);
        client.subscribe_many([filter]).await.unwrap();
        let (got, subscribed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(tokio::sync::Notify::new()));
        let (taken, ready) = (got.clone(), subscribed.clone());
        let connects = Arc::new(AtomicUsize::new(0));
        let connected = connects.clone();
        let task = tokio::spawn(async move {
            let _client = client;
            loop {
                match events.poll().await {
                    Ok(v5::Event::Incoming(Packet::Publish(p))) => {
                        let key = p.properties.unwrap_or_default().user_properties.into_iter();
                        let key =
                            key.filter(|(name, _)| name == "idempotency-key").map(|(_, value)| value).next();
                        let topic = String::from_utf8(p.topic.to_vec()).unwrap();
                        taken.lock().unwrap().push((topic, key, p.payload.to_vec()));
                    }
                    Ok(v5::Event::Incoming(Packet::SubAck(_))) => ready.notify_one(),
                    Ok(v5::Event::Incoming(Packet::ConnAck(_))) => {
                        connected.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(60), subscribed.notified()).await.expect("it subscribes");
        Self { got, connects, _task: AbortOnDropHandle::new(task) }
    }

    async fn take(&self, n: usize) -> Vec<Got> {
        let has = || std::future::ready((self.got.lock().unwrap().len() >= n).then_some(()));
        tests::wait_for_async("the bureau has it", Duration::from_secs(60), has).await;
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

struct Broker {
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    version: Version,
    refused: Vec<Hopeless>,
    mendable: Vec<Hopeless>,
}

#[async_trait]
impl Counterpart for Broker {
    fn at(&self, port: u16, timeout: Duration) -> Arc<dyn Settings> {
        Arc::new(settings(port, self.version, "firedamp/{region}/{site}", timeout))
    }

    fn settings(&self) -> Arc<dyn Settings> {
        self.at(self.mosquitto.port, Duration::from_secs(5))
    }

    async fn took(&mut self, messages: &[Message]) {
        let got = self.subscriber.take(messages.len()).await;
        // Of MQTT 3.1.1 the payload must tell which message it is.
        let key =
            |payload: &[u8]| messages.iter().find(|m| below_the_line(m) == payload).map(|m| m.key.clone());
        let got = got.into_iter().map(|(topic, said, payload)| {
            assert_eq!(said.is_some(), self.version == Version::V5);
            assert!(["firedamp/140100/M1", "firedamp/-/M1"].contains(&topic.as_str()), "{topic}");
            (said.or_else(|| key(&payload)).unwrap_or_default(), payload)
        });
        assert_same(got.collect(), messages, below_the_line);
    }

    async fn stop(&mut self) {
        self.mosquitto.stop();
    }

    async fn start_again(&mut self) {
        let connects = self.subscriber.connects.clone();
        let before = connects.load(Ordering::Relaxed);
        self.mosquitto.start_again();
        // Mosquitto 2.0.11 keeps what comes for a session of before its restart, and does not send it when the client is back.
        let back = || std::future::ready((connects.load(Ordering::Relaxed) > before).then_some(()));
        tests::wait_for_async("the bureau is back", Duration::from_secs(60), back).await;
    }

    fn refused(&mut self) -> Vec<Hopeless> {
        self.refused.clone()
    }

    fn mendable(&mut self) -> Vec<Hopeless> {
        self.mendable.clone()
    }
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
    let subscriber = Subscriber::start(port).await;
    let mut broker = Broker { mosquitto, subscriber, version, refused: Vec::new(), mendable: Vec::new() };
    let settings_of = |topic: &str| settings(port, version, topic, timeout);
    let large = large(&broker.settings(), PACKET_LEN_MAX).await;
    broker.refused.push(Hopeless { settings: broker.settings(), message: large });
    let wrong = ("firedamp".to_owned(), Secret::new("wrong"));
    broker.mendable = vec![
        one(settings_of("forbidden/{site}")).await,
        one(settings_of("nobody/{site}")).await,
        one(MqttSettings { login: Some(wrong), ..settings_of("firedamp/x") }).await,
    ];
    suite(&mut broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_3_1_1_keeps_what_it_can() {
    let (mosquitto, version) = (mosquitto::start(), Version::V3);
    let subscriber = Subscriber::start(mosquitto.port).await;
    // This version has no word for a refusal.
    suite(&mut Broker { mosquitto, subscriber, version, refused: Vec::new(), mendable: Vec::new() }).await;
}

/// Why a message was not taken, in the words of the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_takes_no_message_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mosquitto = strict(dir.path());
    let settings_of = |topic: &str| settings(mosquitto.port, Version::V5, topic, Duration::from_secs(5));
    let wrong = ("firedamp".to_owned(), Secret::new("wrong"));
    for (settings, why) in [
        (settings_of("forbidden/{site}"), "does not let this user publish"),
        (settings_of("nobody/{site}"), "nobody subscribes to the topic"),
        (MqttSettings { login: Some(wrong), ..settings_of("nobody/x") }, "NotAuthorized"),
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
    let subscriber = Subscriber::start(mosquitto.port).await;
    let settings: Arc<dyn Settings> =
        Arc::new(settings(mosquitto.port, Version::V5, "firedamp/x", Duration::from_secs(5)));
    let notifier = settings.connect().unwrap();
    let message = episode(&settings).await.remove(0);
    for _ in 0..3 {
        let all = futures::future::join_all((0..8).map(|_| notifier.send(&message))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }
    assert_eq!(subscriber.take(24).await.len(), 24);
    let log = std::fs::read_to_string(mosquitto.log_file()).unwrap();
    assert_eq!(log.matches("as firedamp-").count(), 1, "{log}");
    // Whoever is done says goodbye.
    drop(notifier);
    until("the broker is told goodbye", async || {
        let log = std::fs::read_to_string(mosquitto.log_file()).unwrap();
        log.contains("Received DISCONNECT from firedamp-")
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
    let subscriber = Subscriber::start(mosquitto.port).await;
    for version in [Version::V5, Version::V3] {
        let plain = settings(port, version, "firedamp/x", Duration::from_secs(5));
        let trusting = |ca: Option<&str>| MqttSettings {
            tls: true,
            ca: ca.map(|name| std::fs::read(file(name)).unwrap()),
            ..plain.clone()
        };
        for settings in [trusting(None), trusting(Some("other.pem"))] {
            let Hopeless { settings, message } = one(settings).await;
            let error = settings.connect().unwrap().send(&message).await.unwrap_err();
            assert!(matches!(&error, SendError::Retry(e) if e.contains("ertificate")), "{error:?}");
        }
        let Hopeless { settings, message } = one(trusting(Some("ca.pem"))).await;
        settings.connect().unwrap().send(&message).await.unwrap();
        assert_eq!(subscriber.take(1).await[0].2, below_the_line(&message));
    }
}
