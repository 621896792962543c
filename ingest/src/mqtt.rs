//! MQTT 5 and 3.1.1 against any broker, with rumqttc. What this module promises:
//!
//! - **PUBACK after durable, in order.** A message is acknowledged when the sink has taken it and everything that came before it
//!   on the connection. A message that cannot be decoded is a counted refusal, and acknowledged in its turn like the others.
//! - **An acknowledgement of an earlier connection is thrown away** (and counted). Each connection has its own rumqttc event
//!   loop: no packet id, pending request or collision (rumqtt #1056) outlives the connection it belongs to.
//! - **The event loop is always polled**: a log that stalls stops acknowledgements, never pings.
//! - **Bounded.** MQTT 5: the broker sends at most `receive_maximum` unacknowledged messages. 3.1.1 has no such word: the
//!   broker's own limit holds (Mosquitto: `max_inflight_messages`, 20; more throughput by `clients`, which share out
//!   `topics`). Above `under_way_max` the connection is given up; its messages are sent again once the log takes readings,
//!   for nothing is connected before all of the earlier connection is settled.
//! - **Persistent session**: the broker keeps messages of QoS 1 while firedamp is away. After each connect the topics are subscribed again
//!   and the answer is checked: a refused topic stands in the health and is tried again each minute.
//! - **The broker's own losses are watched** (`$SYS/broker/publish/messages/dropped`, Mosquitto): a metric, and a message in the health.
//!
//! Retained messages are readings like others; the same one again is a duplicate to the stages behind. A persistent session
//! outlives the configuration: a topic taken out of `topics` keeps coming until the broker forgets the session (another
//! `client_id`, or `session_expiry`), and a session of a `client_id` that is no longer used fills the broker's queue.
//!
//! `link.rs` is the loop of one connection after another, `connection.rs` the two protocol versions behind one face, `window.rs`
//! what is received and not yet durable, `watch.rs` health and broker losses, `options.rs` and `tls.rs` the configuration.

mod connection;
mod keys;
mod link;
mod options;
mod tls;
mod watch;
mod window;

pub use keys::KEYS;
pub use options::MqttOptions;

use crate::{Common, Context, Protocol, Source, TimeFrom};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use link::Link;
use model::toml_file::Section;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Most messages received and not yet durable, on one connection; MQTT has as many packet ids.
pub const UNDER_WAY_MAX: usize = 65_535;

/// One `[[source]]` of kind `mqtt`.
pub struct MqttSource {
    options: Arc<MqttOptions>,
    receive_time: bool,
}

impl MqttSource {
    /// A source that has not run yet.
    pub fn new(options: Arc<MqttOptions>, time: TimeFrom) -> Self {
        Self { options, receive_time: time == TimeFrom::Receive }
    }
}

/// Reads the keys of the section; problems are reported through it.
pub fn configure(common: &Common, section: &Section<'_>) -> Option<Protocol> {
    let options = Arc::new(MqttOptions::from_section(section)?);
    let time = common.time;
    let summary = format!("{} {}", options.broker, options.topics.join(" "));
    let make = move || Box::new(MqttSource::new(options.clone(), time)) as Box<dyn Source>;
    Some(Protocol { make: Arc::new(make), summary, points: Vec::new() })
}

#[async_trait]
impl Source for MqttSource {
    async fn run(self: Box<Self>, context: Context, stop: CancellationToken) {
        let board = Arc::new(watch::Board::new(&context, self.options.clients));
        let mut links: FuturesUnordered<_> = (0..self.options.clients)
            .map(|n| {
                let link = Link::new(n, self.options.clone(), self.receive_time, &context, board.clone());
                AbortOnDropHandle::new(tokio::spawn(link.run(stop.clone())))
            })
            .collect();
        while let Some(end) = links.next().await {
            // A bug in one link ends the source, so that its supervisor sees it: a link that is silently missing would not be.
            if let Some(panic) = end.err().and_then(|e| e.try_into_panic().ok()) {
                board.stopped();
                std::panic::resume_unwind(panic);
            }
        }
        board.stopped();
    }
}
