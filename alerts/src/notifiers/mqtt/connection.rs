//! One connection to the broker, MQTT 5 or 3.1.1 behind one face. It has a rumqttc event loop of its own and is thrown away whole
//! when it breaks: packet ids, requests and collisions never reach the next one, nor is anything sent again that is answered for
//! already.
//!
//! [`Connection::next`] may be cancelled at any await: the poll that was under way stays where it was. (A cancelled
//! `EventLoop::poll` could lose a message that it had taken and not yet written.)

use super::MqttSettings;
use crate::notifiers::{PARALLEL, SendError};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use model::mqtt::Version;
use rumqttc::{Outgoing, Transport, v5};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often the broker is pinged; rumqttc takes no less for MQTT 5.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Largest packet that is sent to a broker of MQTT 3.1.1, which says no limit of its own: MQTT's.
const PACKET_LEN_MAX: usize = 268_435_455;
/// Largest packet that is taken: acknowledgements are all that comes.
const INCOMING_LEN_MAX: usize = 64 << 10;
/// Packet ids in use at once. More than messages under way: rumqttc gives ids in turn, and waits where the next one is still in use.
const INFLIGHT_MAX: u16 = 1000;
const _: () = assert!(PARALLEL < INFLIGHT_MAX as usize);

/// A message on its way, and who waits for its answer.
pub(super) struct Job {
    pub topic: String,
    pub payload: Vec<u8>,
    pub key: String,
    /// When it must be answered.
    pub until: Instant,
    pub answer: oneshot::Sender<Result<(), SendError>>,
}

impl Job {
    pub(super) fn settle(self, answer: Result<(), SendError>) {
        // Who asked may be gone: the message lies in the outbox.
        let _ = self.answer.send(answer);
    }
}

/// What happens on a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// The broker accepted.
    Connected {
        /// Largest packet that it takes.
        packet_len_max: Option<u32>,
        /// Best quality of service that it gives.
        qos_max: u8,
    },
    /// The message handed over longest ago was sent under this packet id.
    Sent(u16),
    /// The broker's answer to it.
    Answered(u16, Result<(), SendError>),
    /// Something else; the connection is alive.
    Other,
}

enum Client {
    V3(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

pub(super) struct Connection {
    client: Client,
    events: BoxStream<'static, Result<Event, String>>,
}

impl Connection {
    /// Nothing happens before the first [`Connection::next`].
    pub(super) fn open(settings: &MqttSettings, tls: Option<&Arc<ClientConfig>>) -> Self {
        // A session holds nothing for who only publishes, so nobody need be known again. Two that run by one configuration must not
        // throw each other out.
        let id = format!("firedamp-{:016x}", rand::random::<u64>());
        let transport =
            tls.map(|tls| Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls.clone())));
        let timeout_s = settings.timeout.as_secs().max(1);
        match settings.version {
            Version::V3 => Self::open_v3(settings, &id, transport, timeout_s),
            Version::V5 => Self::open_v5(settings, &id, transport, timeout_s),
        }
    }

    fn open_v3(settings: &MqttSettings, id: &str, transport: Option<Transport>, timeout_s: u64) -> Self {
        let mut set = rumqttc::MqttOptions::new(id, &settings.broker.host, settings.broker.port);
        set.set_clean_session(true)
            .set_keep_alive(KEEP_ALIVE)
            .set_inflight(INFLIGHT_MAX)
            .set_max_packet_size(INCOMING_LEN_MAX, PACKET_LEN_MAX);
        if let Some((user, password)) = &settings.broker.login {
            set.set_credentials(user, password.expose());
        }
        if let Some(transport) = transport {
            set.set_transport(transport);
        }
        let (client, mut events) = rumqttc::AsyncClient::new(set, PARALLEL * 4);
        events.network_options.set_connection_timeout(timeout_s);
        events.network_options.set_tcp_nodelay(true);
        let events = stream::unfold(events, |mut events| async move {
            let event = events.poll().await.map(of_v3).map_err(|e| e.to_string());
            Some((event, events))
        });
        Self { client: Client::V3(client), events: events.boxed() }
    }

    fn open_v5(settings: &MqttSettings, id: &str, transport: Option<Transport>, timeout_s: u64) -> Self {
        let mut set = v5::MqttOptions::new(id, &settings.broker.host, settings.broker.port);
        set.set_clean_start(true)
            .set_keep_alive(KEEP_ALIVE)
            .set_connection_timeout(timeout_s)
            .set_outgoing_inflight_upper_limit(INFLIGHT_MAX)
            .set_max_packet_size(Some(INCOMING_LEN_MAX as u32));
        if let Some((user, password)) = &settings.broker.login {
            set.set_credentials(user, password.expose());
        }
        if let Some(transport) = transport {
            set.set_transport(transport);
        }
        let mut network = set.network_options();
        network.set_tcp_nodelay(true);
        set.set_network_options(network);
        let (client, events) = v5::AsyncClient::new(set, PARALLEL * 4);
        let events = stream::unfold(events, |mut events| async move {
            let event = events.poll().await.map(of_v5).map_err(|e| e.to_string());
            Some((event, events))
        });
        Self { client: Client::V5(client), events: events.boxed() }
    }

    /// What happens next. After an error the connection is to be dropped.
    pub(super) async fn next(&mut self) -> Result<Event, String> {
        self.events.next().await.unwrap_or_else(|| Err("the event loop ended".to_owned()))
    }

    /// Hands a message over.
    pub(super) fn publish(&self, job: &Job) -> Result<(), String> {
        let (topic, payload) = (job.topic.clone(), job.payload.clone());
        let handed = match &self.client {
            Client::V3(client) => {
                let qos = rumqttc::QoS::AtLeastOnce;
                client.try_publish(topic, qos, false, payload).map_err(|e| e.to_string())
            }
            Client::V5(client) => {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                let properties = properties(&job.key);
                let handed = client.try_publish_with_properties(topic, qos, false, payload, properties);
                handed.map_err(|e| e.to_string())
            }
        };
        handed.map_err(|e| format!("a message found no room: {e}"))
    }

    /// Says goodbye, and waits until the broker hangs up.
    pub(super) async fn close(mut self, within: Duration) {
        let asked = match &self.client {
            Client::V3(client) => client.try_disconnect().is_ok(),
            Client::V5(client) => client.try_disconnect().is_ok(),
        };
        let goodbye = async { while asked && self.next().await.is_ok() {} };
        // A broker that does not hang up is left after a while all the same.
        let _ = tokio::time::timeout(within, goodbye).await;
    }
}

fn properties(key: &str) -> v5::mqttbytes::v5::PublishProperties {
    v5::mqttbytes::v5::PublishProperties {
        // The payload is UTF-8.
        payload_format_indicator: Some(1),
        content_type: Some("application/json".to_owned()),
        user_properties: vec![("idempotency-key".to_owned(), key.to_owned())],
        ..Default::default()
    }
}

/// Bytes of the packet that carries a message by MQTT 5, its header at its largest.
pub(super) fn packet_len(job: &Job) -> usize {
    let (topic, payload) = (job.topic.clone(), job.payload.clone());
    let qos = v5::mqttbytes::QoS::AtLeastOnce;
    v5::mqttbytes::v5::Publish::new(topic, qos, payload, Some(properties(&job.key))).size()
}

fn of_outgoing(outgoing: &Outgoing) -> Event {
    match outgoing {
        Outgoing::Publish(id) => Event::Sent(*id),
        _ => Event::Other,
    }
}

fn of_v3(event: rumqttc::Event) -> Event {
    use rumqttc::Packet;
    match event {
        rumqttc::Event::Outgoing(outgoing) => of_outgoing(&outgoing),
        rumqttc::Event::Incoming(Packet::ConnAck(_)) => Event::Connected { packet_len_max: None, qos_max: 2 },
        rumqttc::Event::Incoming(Packet::PubAck(ack)) => Event::Answered(ack.pkid, Ok(())),
        rumqttc::Event::Incoming(_) => Event::Other,
    }
}

fn of_v5(event: v5::Event) -> Event {
    use v5::mqttbytes::v5::Packet;
    match event {
        v5::Event::Outgoing(outgoing) => of_outgoing(&outgoing),
        v5::Event::Incoming(Packet::ConnAck(ack)) => {
            let said = ack.properties.as_ref();
            Event::Connected {
                packet_len_max: said.and_then(|p| p.max_packet_size),
                qos_max: said.and_then(|p| p.max_qos).unwrap_or(2),
            }
        }
        v5::Event::Incoming(Packet::PubAck(ack)) => {
            let said = ack.properties.as_ref().and_then(|p| p.reason_string.as_deref()).unwrap_or_default();
            Event::Answered(ack.pkid, judge(ack.reason, said))
        }
        v5::Event::Incoming(_) => Event::Other,
    }
}

/// What the broker's answer to a message means.
fn judge(reason: v5::mqttbytes::v5::PubAckReason, said: &str) -> Result<(), SendError> {
    use v5::mqttbytes::v5::PubAckReason as Reason;
    let text = |what: &str| if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") };
    match reason {
        Reason::Success => Ok(()),
        Reason::NoMatchingSubscribers => Err(SendError::Retry(text("nobody subscribes to the topic"))),
        Reason::TopicNameInvalid => Err(SendError::Refused(text("the broker does not take this topic"))),
        Reason::PayloadFormatInvalid => {
            Err(SendError::Refused(text("the broker does not take this payload")))
        }
        Reason::NotAuthorized => {
            Err(SendError::Retry(text("the broker does not let this user publish to the topic")))
        }
        other => Err(SendError::Retry(text(&format!("the broker answered {other:?}")))),
    }
}
