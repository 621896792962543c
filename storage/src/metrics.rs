//! Figures of the storage, registered once.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// See the module; names begin with `firedamp_storage_`.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Records taken into the tail.
    pub records: IntCounter,
    /// Records skipped because they stand in the table already.
    pub skipped_behind: IntCounter,
    /// Records skipped because their origin sent them twice.
    pub skipped_repeated: IntCounter,
    /// Readings committed.
    pub stored: IntCounter,
    /// Readings found to be there already.
    pub duplicate: IntCounter,
    /// Readings that had to be looked up before they could be stored.
    pub suspects: IntCounter,
    /// Readings of an id that no catalog has named.
    pub unknown_id: IntCounter,
    /// Memory of the tail.
    pub tail_bytes: IntGauge,
    /// Readings in the tail.
    pub tail_rows: IntGauge,
    /// Times that taking a record waited for a commit because the tail was full.
    pub waits: IntCounter,
    /// Commits made with the priority of the path, since what came in next waited already.
    pub urgent: IntCounter,
    /// How long a flush took.
    pub flush_seconds: Histogram,
    /// Commits made.
    pub commits: IntCounter,
    /// Flushes that failed.
    pub flush_errors: IntCounter,
    /// Bytes written to files.
    pub written_bytes: IntCounter,
    /// Files merged away by compaction.
    pub compacted_files: IntCounter,
    /// Files removed by retention.
    pub expired_files: IntCounter,
    /// Files deleted from the store.
    pub deleted_files: IntCounter,
    /// Rounds of maintenance that failed.
    pub maintain_errors: IntCounter,
    /// 1 when the writer has stopped.
    pub stopped: IntGauge,
    /// Files of the tables.
    pub files: IntGauge,
    /// Queries by how they ended.
    pub queries: IntCounterVec,
}

impl Metrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// When they stand in the registry already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let c = IntCounter::new(format!("firedamp_storage_{name}"), help)?;
            registry.register(Box::new(c.clone()))?;
            prometheus::Result::Ok(c)
        };
        let gauge = |name: &str, help: &str| {
            let g = IntGauge::new(format!("firedamp_storage_{name}"), help)?;
            registry.register(Box::new(g.clone()))?;
            prometheus::Result::Ok(g)
        };
        let skipped = Opts::new("firedamp_storage_records_skipped_total", "Records skipped, by reason");
        let skipped = IntCounterVec::new(skipped, &["reason"])?;
        registry.register(Box::new(skipped.clone()))?;
        let queries = Opts::new("firedamp_storage_queries_total", "Queries, by how they ended");
        let queries = IntCounterVec::new(queries, &["end"])?;
        registry.register(Box::new(queries.clone()))?;
        let flush = HistogramOpts::new("firedamp_storage_flush_seconds", "How long a flush took")
            .buckets(vec![0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]);
        let flush_seconds = Histogram::with_opts(flush)?;
        registry.register(Box::new(flush_seconds.clone()))?;
        Ok(Self {
            records: counter("records_total", "Records taken into the tail")?,
            skipped_behind: skipped.with_label_values(&["behind"]),
            skipped_repeated: skipped.with_label_values(&["repeated"]),
            stored: counter("readings_stored_total", "Readings committed")?,
            duplicate: counter("readings_duplicate_total", "Readings found to be there already")?,
            suspects: counter("readings_looked_up_total", "Readings looked up before they could be stored")?,
            unknown_id: counter("readings_unknown_id_total", "Readings of an id that no catalog has named")?,
            tail_bytes: gauge("tail_bytes", "Memory of rows not yet committed")?,
            tail_rows: gauge("tail_readings", "Readings not yet committed")?,
            waits: counter("tail_full_total", "Times that a record waited because the tail was full")?,
            urgent: counter(
                "urgent_commits_total",
                "Commits that stood back for nobody, since more waited already",
            )?,
            flush_seconds,
            commits: counter("commits_total", "Commits made")?,
            flush_errors: counter("flush_errors_total", "Flushes that failed")?,
            written_bytes: counter("written_bytes_total", "Bytes written to files")?,
            compacted_files: counter("compacted_files_total", "Files merged away by compaction")?,
            expired_files: counter("expired_files_total", "Files removed by retention")?,
            deleted_files: counter("deleted_files_total", "Files deleted from the store")?,
            maintain_errors: counter("maintain_errors_total", "Rounds of maintenance that failed")?,
            files: gauge("files", "Files of the tables")?,
            stopped: gauge("stopped", "1 when this process has stopped writing the tables")?,
            queries,
        })
    }
}
