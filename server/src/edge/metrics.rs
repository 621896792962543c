//! Metrics of the edge.

use ingest::{SinkError, SourceInfo};
use prometheus::{
    Counter, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};
use std::time::Duration;

/// Counters of the edge, zero from the start.
#[derive(Clone, Debug)]
pub struct EdgeMetrics {
    rows: IntCounterVec,
    retried: IntCounterVec,
    record_rows: Histogram,
    held_back: IntCounter,
    /// Seconds that answers were held back.
    pub(super) held: Counter,
    accept_seconds: HistogramVec,
}

impl EdgeMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let rows = Opts::new("firedamp_edge_rows_total", "rows that are durable in the log, by source");
        let retried =
            Opts::new("firedamp_edge_retries_total", "deliveries that were not taken at first, by source");
        let buckets = vec![1.0, 10.0, 100.0, 1_000.0, 4_000.0, 8_000.0, 16_000.0];
        let record_rows =
            HistogramOpts::new("firedamp_edge_record_rows", "rows a record of readings").buckets(buckets);
        let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
        let accept_seconds = HistogramOpts::new(
            "firedamp_edge_accept_seconds",
            "from the hand-over of a delivery until it is durable, by source",
        )
        .buckets(buckets);
        let this = Self {
            rows: IntCounterVec::new(rows, &["source"])?,
            retried: IntCounterVec::new(retried, &["source"])?,
            record_rows: Histogram::with_opts(record_rows)?,
            held_back: IntCounter::new(
                "firedamp_edge_held_back_total",
                "records the log did not take at first",
            )?,
            held: Counter::new(
                "firedamp_edge_answers_held_seconds_total",
                "time that answers to sources were held back because rules or table were behind",
            )?,
            accept_seconds: HistogramVec::new(accept_seconds, &["source"])?,
        };
        registry.register(Box::new(this.held.clone()))?;
        registry.register(Box::new(this.rows.clone()))?;
        registry.register(Box::new(this.retried.clone()))?;
        registry.register(Box::new(this.record_rows.clone()))?;
        registry.register(Box::new(this.held_back.clone()))?;
        registry.register(Box::new(this.accept_seconds.clone()))?;
        Ok(this)
    }

    pub(super) fn accepted(
        &self,
        source: &SourceInfo,
        rows: usize,
        took: Duration,
        result: &Result<(), SinkError>,
    ) {
        match result {
            Ok(()) => {
                self.rows.with_label_values(&[&source.name]).inc_by(rows as u64);
                self.accept_seconds.with_label_values(&[&source.name]).observe(took.as_secs_f64());
            }
            Err(_) => self.retried.with_label_values(&[&source.name]).inc(),
        }
    }

    pub(super) fn record(&self, rows: usize) {
        if rows > 0 {
            self.record_rows.observe(rows as f64);
        }
    }

    pub(super) fn held_back(&self) {
        self.held_back.inc();
    }
}
