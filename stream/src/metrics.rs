//! Metrics of a log.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// Counters of one log, zero from the start.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// Records made durable.
    pub records: IntCounter,
    /// Their bytes.
    pub bytes: IntCounter,
    /// Commits: one fsync each.
    pub commits: IntCounter,
    /// Seconds of a commit, fsync included.
    pub commit_seconds: Histogram,
    /// Appends refused because the log is full.
    pub full: IntCounter,
    /// Bytes of a torn tail that were cut at open.
    pub torn_bytes: IntCounter,
    /// Bytes on disk.
    pub used_bytes: IntGauge,
}

impl LogMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let c = IntCounter::new(name, help)?;
            registry.register(Box::new(c.clone()))?;
            Ok(c)
        };
        let buckets = prometheus::exponential_buckets(0.000_1, 2.0, 16)?;
        let seconds = HistogramOpts::new("firedamp_log_commit_seconds", "seconds of a commit, fsync included");
        let this = Self {
            records: counter("firedamp_log_records_total", "records made durable")?,
            bytes: counter("firedamp_log_bytes_total", "bytes of records made durable")?,
            commits: counter("firedamp_log_commits_total", "commits, one fsync each")?,
            commit_seconds: Histogram::with_opts(seconds.buckets(buckets))?,
            full: counter("firedamp_log_full_total", "appends refused because the log is full")?,
            torn_bytes: counter("firedamp_log_torn_bytes_total", "bytes of a torn tail cut at open")?,
            used_bytes: IntGauge::new("firedamp_log_used_bytes", "bytes on disk")?,
        };
        registry.register(Box::new(this.commit_seconds.clone()))?;
        registry.register(Box::new(this.used_bytes.clone()))?;
        Ok(this)
    }
}
