//! The metrics of the logs: what came in, what was refused and why, what was cut, what retention removed.

use crate::STREAMS;
use model::Stream;
use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The value of the label `stream`.
pub(crate) fn stream_label(stream: Stream) -> &'static str {
    match stream {
        Stream::Readings => "readings",
        Stream::Transitions => "transitions",
    }
}

/// Registers one metric; one that is there already (a second log in one process) goes on being used.
pub(crate) fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.expect("the name and labels are constants that Prometheus allows");
    if let Err(e) = registry.register(Box::new(metric.clone())) {
        tracing::warn!("a metric of the log is not exported: {e}");
    }
    metric
}

pub(crate) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

pub(crate) fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), &[label]))
}

pub(crate) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

/// What a log counts for one of its streams.
#[derive(Clone, Debug)]
pub(crate) struct StreamMetrics {
    pub appended: IntCounter,
    pub appended_bytes: IntCounter,
    pub trimmed: IntCounter,
}

/// Metrics of the embedded log.
#[derive(Clone, Debug)]
pub(crate) struct EmbeddedMetrics {
    streams: [StreamMetrics; 2],
    pub commit_seconds: Histogram,
    pub refused_disk: IntCounter,
    pub refused_retention: IntCounter,
    pub torn_tails: IntCounter,
    pub torn_bytes: IntCounter,
    pub damaged: IntCounter,
    pub lost: IntCounter,
    pub size: IntGauge,
    pub free: IntGauge,
    pub read_cache: IntCounter,
    pub read_disk: IntCounter,
}

impl EmbeddedMetrics {
    pub fn new(registry: &Registry) -> Self {
        let appended = "firedamp_stream_appended_records_total";
        let appended = counters(registry, appended, "Records made durable in the embedded log", "stream");
        let bytes = "firedamp_stream_appended_bytes_total";
        let bytes = counters(registry, bytes, "Bytes of records made durable in the embedded log", "stream");
        let trimmed = "firedamp_stream_trimmed_records_total";
        let trimmed = counters(registry, trimmed, "Records that retention removed", "stream");
        let refused = "firedamp_stream_refused_appends_total";
        let refused = counters(registry, refused, "Appends refused because the log is full", "reason");
        let read = "firedamp_stream_read_records_total";
        let read = counters(registry, read, "Records read from the embedded log", "from");
        let commit = HistogramOpts::new("firedamp_stream_commit_seconds", "One group commit with its fsync")
            .buckets(vec![0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0]);
        Self {
            streams: STREAMS.map(|s| StreamMetrics {
                appended: appended.with_label_values(&[stream_label(s)]),
                appended_bytes: bytes.with_label_values(&[stream_label(s)]),
                trimmed: trimmed.with_label_values(&[stream_label(s)]),
            }),
            commit_seconds: register(registry, Histogram::with_opts(commit)),
            refused_disk: refused.with_label_values(&["disk"]),
            refused_retention: refused.with_label_values(&["retention"]),
            torn_tails: counter(
                registry,
                "firedamp_stream_torn_tails_total",
                "Torn ends cut off when the log was opened",
            ),
            torn_bytes: counter(registry, "firedamp_stream_torn_bytes_total", "Bytes cut off with torn ends"),
            damaged: counter(
                registry,
                "firedamp_stream_damaged_records_total",
                "Records whose bytes on disk are damaged; they are handed out empty",
            ),
            lost: counter(
                registry,
                "firedamp_stream_lost_records_total",
                "Records found missing when the log was opened",
            ),
            size: gauge(registry, "firedamp_stream_log_bytes", "Size of the embedded log's files"),
            free: gauge(
                registry,
                "firedamp_stream_disk_free_bytes",
                "Free space of the embedded log's file system",
            ),
            read_cache: read.with_label_values(&["memory"]),
            read_disk: read.with_label_values(&["disk"]),
        }
    }

    pub fn of(&self, stream: Stream) -> &StreamMetrics {
        &self.streams[usize::from(stream == Stream::Transitions)]
    }
}
