//! Metrics of all sources: one struct, registered once on the registry that is handed in. Each source resolves its labels
//! when it starts ([`Metrics::source`]), so that every series is there from the start with zero.

use crate::{Delivery, Refusal};
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::sync::Arc;

/// The families, with the label `source`.
#[derive(Clone, Debug)]
pub struct Metrics {
    readings: IntCounterVec,
    unknown: IntCounterVec,
    positions: IntCounterVec,
    refused: IntCounterVec,
    retries: IntCounterVec,
    connects: IntCounterVec,
    stale_acks: IntCounterVec,
    broker_dropped: IntCounterVec,
    connected: IntGaugeVec,
    under_way: IntGaugeVec,
    events: IntCounterVec,
}

fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are constants that fit")
}

fn gauge(name: &str, help: &str) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), &["source"]).expect("names and labels are constants that fit")
}

impl Default for Metrics {
    fn default() -> Self {
        let source: &[&str] = &["source"];
        Self {
            readings: counter(
                "firedamp_ingest_readings_total",
                "Readings of known points made durable",
                source,
            ),
            unknown: counter(
                "firedamp_ingest_unknown_total",
                "Readings of unknown points handed over",
                source,
            ),
            positions: counter("firedamp_ingest_positions_total", "People's positions made durable", source),
            refused: counter(
                "firedamp_ingest_refused_total",
                "Readings refused, by reason",
                &["source", "reason"],
            ),
            retries: counter(
                "firedamp_ingest_retries_total",
                "Deliveries that the log did not take at once",
                source,
            ),
            connects: counter(
                "firedamp_ingest_connects_total",
                "Connections made to the device or broker",
                source,
            ),
            stale_acks: counter(
                "firedamp_ingest_stale_acks_total",
                "Acknowledgements thrown away because their connection had ended; the broker sends these messages again",
                source,
            ),
            broker_dropped: counter(
                "firedamp_ingest_broker_dropped_total",
                "Messages that the broker says it dropped since firedamp watches it",
                source,
            ),
            connected: gauge("firedamp_ingest_connected", "Links of the source that are up"),
            under_way: gauge("firedamp_ingest_under_way", "Messages received and not yet durable"),
            events: counter(
                "firedamp_ingest_events_total",
                "What else happens at a source, by event: time-outs, exceptions, skipped polls, files by result",
                &["source", "event"],
            ),
        }
    }
}

impl Metrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// When they are registered there already.
    pub fn register(registry: &Registry) -> prometheus::Result<Arc<Self>> {
        let this = Self::default();
        let all: [Box<dyn Collector>; 11] = [
            Box::new(this.readings.clone()),
            Box::new(this.unknown.clone()),
            Box::new(this.positions.clone()),
            Box::new(this.refused.clone()),
            Box::new(this.retries.clone()),
            Box::new(this.connects.clone()),
            Box::new(this.stale_acks.clone()),
            Box::new(this.broker_dropped.clone()),
            Box::new(this.connected.clone()),
            Box::new(this.under_way.clone()),
            Box::new(this.events.clone()),
        ];
        for collector in all {
            registry.register(collector)?;
        }
        Ok(Arc::new(this))
    }

    /// The series of one source.
    pub fn source(&self, name: &str) -> SourceMetrics {
        SourceMetrics {
            name: name.into(),
            readings: self.readings.with_label_values(&[name]),
            unknown: self.unknown.with_label_values(&[name]),
            positions: self.positions.with_label_values(&[name]),
            refused: self.refused.clone(),
            retries: self.retries.with_label_values(&[name]),
            connects: self.connects.with_label_values(&[name]),
            stale_acks: self.stale_acks.with_label_values(&[name]),
            broker_dropped: self.broker_dropped.with_label_values(&[name]),
            connected: self.connected.with_label_values(&[name]),
            under_way: self.under_way.with_label_values(&[name]),
            events: self.events.clone(),
        }
    }
}

/// Metrics of one source.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    name: Arc<str>,
    readings: IntCounter,
    unknown: IntCounter,
    positions: IntCounter,
    refused: IntCounterVec,
    /// A delivery that the log did not take at once.
    pub retries: IntCounter,
    /// A connection was made.
    pub connects: IntCounter,
    /// An acknowledgement was thrown away with its connection.
    pub stale_acks: IntCounter,
    /// The broker says that it dropped messages.
    pub broker_dropped: IntCounter,
    /// Links that are up.
    pub connected: IntGauge,
    /// Messages received and not yet durable.
    pub under_way: IntGauge,
    events: IntCounterVec,
}

impl SourceMetrics {
    /// The counter of one kind of event of this source; a protocol resolves its fixed set of words when it starts.
    pub fn event(&self, event: &'static str) -> IntCounter {
        self.events.with_label_values(&[&*self.name, event])
    }

    /// Counts what a delivery held, once, when it is durable.
    pub fn durable(&self, tally: &Tally) {
        self.readings.inc_by(tally.readings);
        self.unknown.inc_by(tally.unknown);
        self.positions.inc_by(tally.positions);
        for (reason, count) in &tally.refused {
            self.refused.with_label_values(&[&*self.name, reason]).inc_by(*count);
        }
    }
}

/// What a delivery holds, in numbers; taken before it is handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Readings of known points.
    pub readings: u64,
    /// Readings of unknown points.
    pub unknown: u64,
    /// People's positions.
    pub positions: u64,
    /// Refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
}

impl Tally {
    /// Counts a delivery.
    pub fn of(delivery: &Delivery) -> Self {
        Self {
            readings: delivery.readings.len() as u64,
            unknown: delivery.unknown.len() as u64,
            positions: delivery.positions.as_ref().map_or(0, |p| p.rows.len() as u64),
            refused: delivery.refused.iter().map(|Refusal { reason, count, .. }| (*reason, *count)).collect(),
        }
    }
}
