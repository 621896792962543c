//! Metrics of the edge.

use ingest::{SinkError, SourceInfo};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

/// Counters of the edge, zero from the start.
#[derive(Clone, Debug)]
pub struct EdgeMetrics {
    rows: IntCounterVec,
    retried: IntCounterVec,
    record_rows: Histogram,
    held_back: IntCounter,
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
        let this = Self {
            rows: IntCounterVec::new(rows, &["source"])?,
            retried: IntCounterVec::new(retried, &["source"])?,
            record_rows: Histogram::with_opts(record_rows)?,
            held_back: IntCounter::new(
                "firedamp_edge_held_back_total",
                "records the log did not take at first",
            )?,
        };
        registry.register(Box::new(this.rows.clone()))?;
        registry.register(Box::new(this.retried.clone()))?;
        registry.register(Box::new(this.record_rows.clone()))?;
        registry.register(Box::new(this.held_back.clone()))?;
        Ok(this)
    }

    pub(super) fn accepted(&self, source: &SourceInfo, rows: usize, result: &Result<(), SinkError>) {
        match result {
            Ok(()) => self.rows.with_label_values(&[&source.name]).inc_by(rows as u64),
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
