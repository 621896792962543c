//! One connection to the broker, MQTT 5 or 3.1.1 behind one face. A connection has a rumqttc event loop of its own and is
//! thrown away whole when it breaks: packet ids, requests and collisions never reach the next one.
//!
//! [`Connection::next`] may be cancelled at any await: the poll that was under way stays where it was. (A cancelled
//! `EventLoop::poll` could lose a PUBACK that it had taken and not yet written.)

use super::{MqttOptions, UNDER_WAY_MAX};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use model::mqtt::Version;
use rumqttc::{Outgoing, v5};
use std::time::Duration;

/// Largest packet of MQTT: a message above `max_message` must be read to be refused. A smaller limit here would cut the
/// connection, and the persistent session would send the same message again for ever.
const PACKET_LEN_MAX: u32 = 268_435_455;
/// Largest packet that is sent: a SUBSCRIBE with all topics.
const OUTGOING_LEN_MAX: usize = 4 << 20;
/// Requests that wait for the event loop: an acknowledgement for each message that can be under way, and what else there is.
const REQUESTS_MAX: usize = UNDER_WAY_MAX + 64;
/// How long connecting may take.
const CONNECT_TIMEOUT_S: u64 = 10;
/// Outgoing messages that are not acknowledged; firedamp publishes none, and rumqttc reserves room for each.
const OUTGOING_INFLIGHT: u16 = 16;

/// What happens on a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// The broker accepted; whether it still had the session.
    Connected { session_present: bool },
    /// A message.
    Message(Message),
    /// A SUBSCRIBE was sent under this packet id.
    Subscribing(u16),
    /// The broker's answer to it, a code for each topic.
    Subscribed(u16, Vec<Granted>),
    /// Our DISCONNECT was sent.
    Disconnected,
    /// Something else; the connection is alive.
    Other,
}

/// The broker's answer for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Granted {
    /// With this quality of service.
    Qos(u8),
    /// Not; why.
    Refused(String),
}

/// A message of the broker.
#[derive(Debug)]
pub(super) struct Message {
    /// Its topic; MQTT says UTF-8, MQTT 5 of rumqttc does not check it.
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    /// What to acknowledge; `None` for QoS 0.
    pub(super) ack: Option<Ack>,
}

/// What to acknowledge on the connection that it came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    id: u16,
    twice: bool,
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
    pub(super) fn open(options: &MqttOptions, client_id: &str) -> Self {
        match options.protocol {
            Version::V3 => Self::open_v3(options, client_id),
            Version::V5 => Self::open_v5(options, client_id),
        }
    }

    fn open_v3(options: &MqttOptions, client_id: &str) -> Self {
        let mut set = rumqttc::MqttOptions::new(client_id, &options.broker.host, options.broker.port);
        set.set_clean_session(false)
            .set_manual_acks(true)
            .set_keep_alive(options.keep_alive)
            .set_inflight(OUTGOING_INFLIGHT)
            .set_max_packet_size(PACKET_LEN_MAX as usize, OUTGOING_LEN_MAX);
        if let Some((user, password)) = &options.broker.login {
            set.set_credentials(user, password.expose());
        }
        if let Some(transport) = transport(options) {
            set.set_transport(transport);
        }
        let (client, mut events) = rumqttc::AsyncClient::new(set, REQUESTS_MAX);
        events.network_options.set_connection_timeout(CONNECT_TIMEOUT_S);
        events.network_options.set_tcp_nodelay(true);
        let events = stream::unfold(events, |mut events| async move {
            let event = events.poll().await.map(of_v3).map_err(|e| e.to_string());
            Some((event, events))
        });
        Self { client: Client::V3(client), events: events.boxed() }
    }

    fn open_v5(options: &MqttOptions, client_id: &str) -> Self {
        let mut set = v5::MqttOptions::new(client_id, &options.broker.host, options.broker.port);
        let expiry = u32::try_from(options.session_expiry.as_secs()).unwrap_or(u32::MAX);
        set.set_clean_start(false)
            .set_manual_acks(true)
            .set_keep_alive(options.keep_alive)
            .set_connection_timeout(CONNECT_TIMEOUT_S)
            .set_outgoing_inflight_upper_limit(OUTGOING_INFLIGHT)
            .set_receive_maximum(Some(options.receive_maximum))
            .set_session_expiry_interval(Some(expiry))
            .set_max_packet_size(Some(PACKET_LEN_MAX));
        if let Some((user, password)) = &options.broker.login {
            set.set_credentials(user, password.expose());
        }
        if let Some(transport) = transport(options) {
            set.set_transport(transport);
        }
        let mut network = set.network_options();
        network.set_tcp_nodelay(true);
        set.set_network_options(network);
        let (client, events) = v5::AsyncClient::new(set, REQUESTS_MAX);
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

    /// What has happened already, without waiting.
    pub(super) fn ready(&mut self) -> Option<Result<Event, String>> {
        self.next().now_or_never()
    }

    /// Asks for an acknowledgement to be sent.
    pub(super) fn ack(&self, ack: Ack) -> Result<(), String> {
        let qos = if ack.twice { rumqttc::QoS::ExactlyOnce } else { rumqttc::QoS::AtLeastOnce };
        let sent = match &self.client {
            Client::V3(client) => {
                let mut publish = rumqttc::Publish::new("", qos, Vec::new());
                publish.pkid = ack.id;
                client.try_ack(&publish).map_err(|e| e.to_string())
            }
            Client::V5(client) => {
                let qos =
                    if ack.twice { v5::mqttbytes::QoS::ExactlyOnce } else { v5::mqttbytes::QoS::AtLeastOnce };
                let mut publish = v5::mqttbytes::v5::Publish::new("", qos, Bytes::new(), None);
                publish.pkid = ack.id;
                client.try_ack(&publish).map_err(|e| e.to_string())
            }
        };
        sent.map_err(|e| format!("an acknowledgement found no room: {e}"))
    }

    /// Asks for topics to be subscribed, in one packet.
    pub(super) fn subscribe<'t>(&self, topics: impl Iterator<Item = &'t str>, qos: u8) -> Result<(), String> {
        match &self.client {
            Client::V3(client) => {
                let qos = if qos == 0 { rumqttc::QoS::AtMostOnce } else { rumqttc::QoS::AtLeastOnce };
                let filters = topics.map(|t| rumqttc::SubscribeFilter::new(t.to_owned(), qos));
                client.try_subscribe_many(filters).map_err(|e| e.to_string())
            }
            Client::V5(client) => {
                use v5::mqttbytes::v5::{Filter, RetainForwardRule};
                let qos =
                    if qos == 0 { v5::mqttbytes::QoS::AtMostOnce } else { v5::mqttbytes::QoS::AtLeastOnce };
                let filters = topics.map(|t| Filter {
                    // Retained messages only when the session is new: each reconnect would bring them all again.
                    retain_forward_rule: RetainForwardRule::OnNewSubscribe,
                    ..Filter::new(t, qos)
                });
                client.try_subscribe_many(filters).map_err(|e| e.to_string())
            }
        }
    }

    /// Says goodbye after what is waiting was sent, and waits until the broker hangs up: to close first, with something
    /// unread, would reset the connection, and the broker would lose the acknowledgements that it has not read yet.
    /// True when the goodbye was sent in time.
    pub(super) async fn close(mut self, within: Duration) -> bool {
        let asked = match &self.client {
            Client::V3(client) => client.try_disconnect().is_ok(),
            Client::V5(client) => client.try_disconnect().is_ok(),
        };
        let mut sent = false;
        let goodbye = async {
            while let Ok(event) = self.next().await {
                sent |= matches!(event, Event::Disconnected);
            }
        };
        // A broker that does not hang up is left after a while all the same.
        let _ = tokio::time::timeout(within, goodbye).await;
        asked && sent
    }
}

fn transport(options: &MqttOptions) -> Option<rumqttc::Transport> {
    let tls = options.tls.as_ref()?;
    Some(rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls.clone())))
}

fn ack_of(id: u16, qos: u8) -> Option<Ack> {
    (qos > 0).then_some(Ack { id, twice: qos > 1 })
}

fn of_outgoing(outgoing: &Outgoing) -> Event {
    match outgoing {
        Outgoing::Subscribe(id) => Event::Subscribing(*id),
        Outgoing::Disconnect => Event::Disconnected,
        _ => Event::Other,
    }
}

fn of_v3(event: rumqttc::Event) -> Event {
    use rumqttc::{Packet, SubscribeReasonCode};
    match event {
        rumqttc::Event::Outgoing(outgoing) => of_outgoing(&outgoing),
        rumqttc::Event::Incoming(Packet::ConnAck(ack)) => {
            Event::Connected { session_present: ack.session_present }
        }
        rumqttc::Event::Incoming(Packet::Publish(publish)) => Event::Message(Message {
            ack: ack_of(publish.pkid, publish.qos as u8),
            topic: publish.topic.into(),
            payload: publish.payload,
        }),
        rumqttc::Event::Incoming(Packet::SubAck(answer)) => {
            let codes = answer.return_codes.into_iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => Granted::Qos(qos as u8),
                SubscribeReasonCode::Failure => Granted::Refused("not allowed".to_owned()),
            });
            Event::Subscribed(answer.pkid, codes.collect())
        }
        rumqttc::Event::Incoming(_) => Event::Other,
    }
}

fn of_v5(event: v5::Event) -> Event {
    use v5::mqttbytes::v5::{Packet, SubscribeReasonCode};
    match event {
        v5::Event::Outgoing(outgoing) => of_outgoing(&outgoing),
        v5::Event::Incoming(Packet::ConnAck(ack)) => {
            Event::Connected { session_present: ack.session_present }
        }
        v5::Event::Incoming(Packet::Publish(publish)) => Event::Message(Message {
            ack: ack_of(publish.pkid, publish.qos as u8),
            topic: publish.topic,
            payload: publish.payload,
        }),
        v5::Event::Incoming(Packet::SubAck(answer)) => {
            let codes = answer.return_codes.into_iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => Granted::Qos(qos as u8),
                other => Granted::Refused(format!("{other:?}")),
            });
            Event::Subscribed(answer.pkid, codes.collect())
        }
        v5::Event::Incoming(_) => Event::Other,
    }
}

#[cfg(test)]
impl Ack {
    /// An acknowledgement of QoS 1.
    pub(super) fn test(id: u16) -> Self {
        Self { id, twice: false }
    }
}
