//! One link: connects, subscribes, takes messages, acknowledges, and begins again with back-off when the connection breaks.
//!
//! ```text
//! connect -> subscribe -> | messages -> decode -> window -> sink |  -> lost -> forget acks -> drain the window -> wait -> connect
//!                         |        acks  <-  durable, in order   |
//! ```
//! Messages that have arrived together become one delivery: fewer and larger pieces for the log, and no waiting for it.

use super::connection::{Connection, Event, Granted, Message};
use super::watch::{Board, BrokerDrops, DROPPED_TOPIC};
use super::window::{Step, Window};
use super::{MqttOptions, UNDER_WAY_MAX};
use crate::Context;
use crate::backoff::Backoff;
use crate::builder::DeliveryBuilder;
use crate::mapping::Scratch;
use crate::metrics::SourceMetrics;
use model::mqtt::Version;
use prometheus::IntGauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Most messages that become one delivery: with a window of 512 at least eight are under way.
const MESSAGES_PER_DELIVERY: usize = 64;
/// A delivery of so many rows is handed over even when more messages are there.
const ROWS_PER_DELIVERY: usize = 8192;
/// A connection that lived so long was a good one: the next attempt starts with the shortest delay.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);
/// How long the goodbye may take at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// How often a refused subscription is tried again.
const RESUBSCRIBE_EVERY: Duration = Duration::from_secs(60);

/// Why a connection ended.
enum End {
    /// The connection broke or was given up.
    Lost(String),
    /// firedamp stops, or the sink is closed.
    Stopped,
}

/// What is known of the present connection.
struct Session {
    /// When it was accepted.
    since: Option<Instant>,
    /// Counts it as up as long as it lives, however it ends.
    up: Option<Up>,
    /// Packet ids of the SUBSCRIBE of the topics; `$SYS` is another one.
    topics_id: Option<u16>,
    /// When to subscribe again because a topic was refused.
    again: Option<Instant>,
    /// When something last happened.
    heard: Instant,
}

/// One of the links that are up.
struct Up(IntGauge);

impl Up {
    fn new(links: &IntGauge) -> Self {
        links.inc();
        Self(links.clone())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.dec();
    }
}

pub(super) struct Link {
    number: usize,
    options: Arc<MqttOptions>,
    client_id: String,
    topics: Vec<String>,
    context: Context,
    metrics: SourceMetrics,
    board: Arc<Board>,
    builder: DeliveryBuilder,
    scratch: Scratch,
    window: Window,
    drops: BrokerDrops,
    /// Messages of QoS 0 that found no room, to be counted with the next delivery.
    overload: u64,
    connected_before: bool,
}

impl Link {
    pub(super) fn new(
        number: usize,
        options: Arc<MqttOptions>,
        receive_time: bool,
        context: &Context,
        board: Arc<Board>,
    ) -> Self {
        let metrics = context.metrics.source(&context.info.name);
        let id = options.client_id.clone().unwrap_or_else(|| format!("firedamp-{}", context.info.name));
        Self {
            number,
            client_id: if options.clients == 1 { id } else { format!("{id}-{number}") },
            topics: options.topics.iter().skip(number).step_by(options.clients).cloned().collect(),
            builder: DeliveryBuilder::new(context).with_receive_time(receive_time),
            scratch: Scratch::default(),
            window: Window::new(context, &metrics),
            drops: BrokerDrops::default(),
            overload: 0,
            connected_before: false,
            context: context.clone(),
            metrics,
            board,
            options,
        }
    }

    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::link();
        while !stop.is_cancelled() {
            let mut session =
                Session { since: None, up: None, topics_id: None, again: None, heard: Instant::now() };
            let end = self.serve(&mut session, &stop).await;
            session.up = None;
            let forgotten = self.window.forget_acks();
            let End::Lost(why) = end else { break };
            let shown = self.why_shown(&why, &session);
            tracing::warn!(source = %self.context.info.name, client = self.client_id, forgotten, "{shown}");
            self.board.note(self.number, |notes| notes.down = Some(shown));
            if session.since.is_some_and(|since| since.elapsed() >= GOOD_CONNECTION) {
                backoff.reset();
            }
            let settled = tokio::select! {
                settled = self.settle() => settled,
                () = stop.cancelled() => false,
            };
            if !settled {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.delay()) => {}
                () = stop.cancelled() => {}
            }
        }
        if stop.is_cancelled() {
            self.finish().await;
        }
    }

    /// Says what happened in a way that helps.
    fn why_shown(&self, why: &str, session: &Session) -> String {
        let url = &self.options.broker;
        if session.since.is_some() {
            return format!("connection to {url} lost: {why}");
        }
        let hint = match (self.connected_before, self.options.protocol) {
            (false, Version::V5) => " (a broker without MQTT 5 needs protocol = \"3.1.1\")",
            _ => "",
        };
        format!("cannot connect to {url}: {why}{hint}")
    }

    /// Waits until everything of an earlier connection is durable: until then nothing new is asked for, so that memory stays
    /// bounded and deliveries stay in order. False when the sink is closed.
    async fn settle(&mut self) -> bool {
        while !self.window.is_empty() {
            match self.window.next().await {
                Step::Acks(_) => self.board.note(self.number, |notes| notes.held.clear()),
                Step::Held(why) => self.held(&why),
                Step::Closed => return false,
            }
        }
        true
    }

    /// What is under way when firedamp stops between connections becomes durable or not; nothing is tried again.
    async fn finish(&mut self) {
        while !self.window.is_idle() {
            self.window.next().await;
        }
    }

    fn held(&self, why: &str) {
        tracing::warn!(source = %self.context.info.name, why, "the log does not take readings; holding them");
        self.board.note(self.number, |notes| notes.held = format!("the log does not take readings: {why}"));
    }

    /// One connection, from its attempt to its end.
    async fn serve(&mut self, session: &mut Session, stop: &CancellationToken) -> End {
        let mut connection = Connection::open(&self.options, &self.client_id);
        let mut tick = tokio::time::interval(self.options.keep_alive / 2);
        let mut stopping = false;
        loop {
            if stopping && session.since.is_none() {
                return End::Stopped;
            }
            if stopping && self.window.is_idle() {
                let clean = connection.close(CLOSE_WITHIN).await;
                tracing::info!(source = %self.context.info.name, clean, left = self.window.messages(), "link stopped");
                return End::Stopped;
            }
            // Acknowledgements come first: they let the broker send more, and a stop must see them out. Messages come last:
            // there may always be another one.
            tokio::select! { biased;
                step = self.window.next() => match step {
                    Step::Acks(acks) => {
                        self.board.note(self.number, |notes| notes.held.clear());
                        for ack in acks {
                            if let Err(why) = connection.ack(ack) {
                                return End::Lost(why);
                            }
                        }
                    }
                    Step::Held(why) => self.held(&why),
                    Step::Closed => return End::Stopped,
                },
                () = stop.cancelled(), if !stopping => stopping = true,
                _ = tick.tick() => {
                    if let Err(why) = self.tick(&connection, session) {
                        return End::Lost(why);
                    }
                }
                event = connection.next() => {
                    session.heard = Instant::now();
                    let taken = match event {
                        // What comes after the stop is not acknowledged, and comes again.
                        Ok(Event::Message(_)) if stopping => Ok(()),
                        Ok(Event::Message(message)) => self.messages(message, &mut connection, session),
                        Ok(event) => self.event(event, &connection, session),
                        Err(why) => Err(why),
                    };
                    if let Err(why) = taken {
                        return End::Lost(why);
                    }
                }
            }
        }
    }

    /// Everything but messages.
    fn event(&mut self, event: Event, connection: &Connection, session: &mut Session) -> Result<(), String> {
        match event {
            Event::Connected { session_present } => {
                if self.connected_before && !session_present {
                    let source = &self.context.info.name;
                    tracing::warn!(%source, "the broker lost the session: what it held for firedamp is gone");
                }
                self.connected_before = true;
                session.since = Some(Instant::now());
                self.metrics.connects.inc();
                session.up = Some(Up::new(&self.metrics.connected));
                connection.subscribe(self.topics.iter().map(String::as_str), self.options.qos)?;
                if self.number == 0 && self.options.watch_broker {
                    connection.subscribe(std::iter::once(DROPPED_TOPIC), 0)?;
                }
            }
            // Requests are sent in the order they were made: the first of a connection is that of the topics.
            Event::Subscribing(id) => {
                session.topics_id.get_or_insert(id);
            }
            Event::Subscribed(id, codes) if session.topics_id == Some(id) => self.subscribed(&codes, session),
            Event::Subscribed(..) | Event::Disconnected | Event::Other | Event::Message(_) => {}
        }
        Ok(())
    }

    fn subscribed(&self, codes: &[Granted], session: &mut Session) {
        let mut wrong = Vec::new();
        for (topic, code) in self.topics.iter().zip(codes) {
            match code {
                Granted::Refused(why) => wrong.push(format!("the broker refuses topic `{topic}`: {why}")),
                Granted::Qos(qos) if *qos < self.options.qos => wrong.push(format!(
                    "the broker grants topic `{topic}` only QoS {qos}: it keeps nothing while firedamp is away"
                )),
                Granted::Qos(_) => {}
            }
        }
        session.again = (!wrong.is_empty()).then(|| Instant::now() + RESUBSCRIBE_EVERY);
        if !wrong.is_empty() {
            tracing::error!(source = %self.context.info.name, "{}", wrong.join("; "));
        }
        self.board.note(self.number, |notes| {
            notes.down = None;
            notes.topics = wrong.join("; ");
        });
    }

    fn tick(&mut self, connection: &Connection, session: &mut Session) -> Result<(), String> {
        // Pings make an event each keep-alive; rumqttc itself notices a ping without answer, but not a write that hangs.
        let silent = session.heard.elapsed();
        if session.since.is_some() && silent > self.options.keep_alive * 3 {
            return Err(format!("nothing was heard or sent for {silent:?}"));
        }
        if session.again.is_some_and(|at| Instant::now() >= at) {
            (session.again, session.topics_id) = (None, None);
            connection.subscribe(self.topics.iter().map(String::as_str), self.options.qos)?;
        }
        let shown = self.drops.shown(self.context.clock.now());
        self.board.note(self.number, |notes| notes.dropped = shown);
        Ok(())
    }

    /// Takes a message and those that have arrived with it, as one delivery.
    fn messages(
        &mut self,
        first: Message,
        connection: &mut Connection,
        session: &mut Session,
    ) -> Result<(), String> {
        self.builder.begin();
        self.board.heard(self.builder.received());
        let (mut acks, mut messages, mut bytes) = (Vec::new(), 0, 0);
        let mut next = Ok(Event::Message(first));
        let end = loop {
            match next {
                Ok(Event::Message(message)) => match self.has_room(messages, bytes, &message) {
                    Ok(true) => {
                        messages += 1;
                        bytes += message.payload.len();
                        acks.extend(message.ack);
                        self.decode(&message);
                    }
                    Ok(false) => self.overload += 1,
                    Err(why) => break Err(why),
                },
                Ok(event) => {
                    if let Err(why) = self.event(event, connection, session) {
                        break Err(why);
                    }
                }
                Err(why) => break Err(why),
            }
            if messages >= MESSAGES_PER_DELIVERY || self.builder.rows() >= ROWS_PER_DELIVERY {
                break Ok(());
            }
            match connection.ready() {
                Some(event) => next = event,
                None => break Ok(()),
            }
        };
        if self.overload > 0 && self.window.messages() < UNDER_WAY_MAX {
            let lost = std::mem::take(&mut self.overload);
            self.builder.refuse("overload", lost, "messages of QoS 0 while the log did not take readings");
        }
        // Nothing to make durable and nothing to acknowledge: a message of the broker about itself.
        if !self.builder.is_empty() || !acks.is_empty() {
            self.window.push(self.builder.finish(), acks, messages, bytes);
        }
        end
    }

    /// Whether a message can be taken beside `messages` of the delivery being made. If not, one of QoS 0 is lost and
    /// counted; for one of QoS 1 the connection is given up, and the broker keeps it.
    fn has_room(&self, messages: usize, bytes: usize, message: &Message) -> Result<bool, String> {
        let waiting = self.window.messages() + messages;
        let waiting_bytes = self.window.bytes() + bytes;
        // One that is larger than the room must not come again and again: alone it is always taken.
        let fits = waiting == 0 || waiting_bytes + message.payload.len() <= self.options.under_way_bytes_max;
        if waiting < UNDER_WAY_MAX && fits {
            return Ok(true);
        }
        if message.ack.is_some() {
            return Err(format!(
                "{waiting} messages of {waiting_bytes} bytes wait for the log: hung up until it has taken them"
            ));
        }
        Ok(false)
    }

    fn decode(&mut self, message: &Message) {
        let Ok(topic) = std::str::from_utf8(&message.topic) else {
            return self.builder.refuse("topic", 1, "the topic is not UTF-8");
        };
        if topic == DROPPED_TOPIC && message.ack.is_none() {
            let now = self.context.clock.now();
            self.drops.take(&message.payload, now, &self.metrics);
            let shown = self.drops.shown(now);
            return self.board.note(self.number, |notes| notes.dropped = shown);
        }
        if message.payload.len() > self.options.message_len_max {
            let sample = format!(
                "`{topic}`: {} bytes, `max_message` is {}",
                message.payload.len(),
                self.options.message_len_max
            );
            return self.builder.refuse("oversize", 1, &sample);
        }
        self.options.mapping.decode(&mut self.scratch, topic, &message.payload, &mut self.builder);
    }
}
