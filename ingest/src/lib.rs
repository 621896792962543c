//! Device protocols to readings. A protocol is one file that implements [`Source`] and one line in `kinds`.
//!
//! A source decodes what a device sends into a [`Delivery`] and hands it to the [`Sink`]; when [`Sink::accept`] returns,
//! the readings are durable, and only then does the source acknowledge upwards (PUBACK, file moved to done, HTTP 200).
//! `ingest` knows neither the log nor the rules: the sink is the edge in `server`.

#![warn(missing_docs)]

pub mod backoff;
pub mod builder;
pub mod configure;
pub mod deliver;
pub mod keys;
pub mod mapping;
pub mod metrics;
pub mod modbus;
pub mod mqtt;
pub mod national;
pub mod outlet;
pub mod probe;
pub mod push;
pub mod testing;

pub use builder::DeliveryBuilder;
pub use configure::{Common, Configured, Kind, NamedPoint, Protocol, TimeFrom, sources_from_section};

use async_trait::async_trait;
use model::people::Positions;
use model::record::Quarantined;
use model::{Catalog, Clock, Micros, Readings};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a source is, for runs, metrics and health.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    /// Name in the configuration.
    pub name: Arc<str>,
    /// Bits of [`model::record::run_flags`].
    pub flags: u8,
}

/// Readings refused while decoding; nothing is dropped without one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// A short word of a fixed set: `json`, `topic`, `time`, `type`, `oversize`, `encoding`, ...
    pub reason: &'static str,
    /// How many readings (an undecodable message counts as one).
    pub count: u64,
    /// The first of them, shortened, for the log and the sources page.
    pub sample: String,
}

/// What one message, poll, file or request brought.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// When it was received.
    pub received: Micros,
    /// Readings of points that are in the catalog.
    pub readings: Readings,
    /// Readings of unknown points; the sink applies the policy.
    pub unknown: Vec<Quarantined>,
    /// People's positions.
    pub positions: Option<Positions>,
    /// What could not be decoded.
    pub refused: Vec<Refusal>,
}

/// Why a delivery was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SinkError {
    /// Hold back and try again: the log is full or away. Nothing of the delivery was kept, or all of it may be there
    /// already (a retry is then a duplicate and counted as one).
    #[error("not taken now: {0}")]
    Retry(String),
    /// firedamp is stopping: do not acknowledge.
    #[error("stopping")]
    Closed,
}

/// Takes deliveries. Bounded: `accept` waits when the log is behind, and that is the back-pressure of a source.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Returns when everything in the delivery is durable. Deliveries of one source are kept in the order of the calls
    /// (the first poll of the future counts), so a source may have several under way.
    async fn accept(&self, source: &SourceInfo, delivery: Delivery) -> Result<(), SinkError>;

    /// How long one that polls rests before it asks its devices again. What was handed over never waits for it, and what a poll brings
    /// then is as new as ever: only less of it comes.
    fn pause(&self, _source: &SourceInfo) -> Duration {
        Duration::ZERO
    }
}

/// State of a source as operators see it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Health {
    /// Connected, or for files: the folder can be read.
    pub up: bool,
    /// What is wrong, for people; empty when nothing is.
    pub message: String,
    /// What was lost for good before it reached firedamp, for people; empty when nothing was lately.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lost: String,
    /// When something last came, microseconds UTC.
    pub last: Option<Micros>,
}

/// What a source is handed: catalog, clock, sink, health. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Who it is.
    pub info: SourceInfo,
    /// The catalog in force; ask again for each delivery.
    pub catalog: Arc<RwLock<Arc<Catalog>>>,
    /// The clock of the edge.
    pub clock: Arc<dyn Clock>,
    /// Where readings go.
    pub sink: Arc<dyn Sink>,
    /// Health of this source, updated by it.
    pub health: Arc<RwLock<Health>>,
    /// Metrics of all sources; a source resolves its own once.
    pub metrics: Arc<metrics::Metrics>,
}

impl Context {
    /// The catalog now in force.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().expect("no holder of this lock panics").clone()
    }
}

/// All protocols, one line each.
pub fn kinds() -> &'static [Kind] {
    const KINDS: &[Kind] = &[
        Kind {
            name: "mqtt",
            doc: "JSON messages of an MQTT broker",
            keys: mqtt::KEYS,
            configure: mqtt::configure,
        },
        modbus::KIND,
        national::KIND,
    ];
    KINDS
}

/// A protocol at work.
#[async_trait]
pub trait Source: Send {
    /// Runs until `stop` is cancelled; then stops taking, finishes what it has under way and returns. Link failures are
    /// not errors: the source reconnects with back-off and jitter and says so in its health.
    async fn run(self: Box<Self>, context: Context, stop: CancellationToken);
}
