//! Errors by what the caller does next: try again, stop, mend the input.

use datafusion::error::DataFusionError;

/// Why the table could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another writer moved the offset of a partition that this writer owned. What was not committed is thrown away and
    /// this writer takes nothing more: reopen and go on from the offset that the table now holds.
    #[error(
        "another writer moved partition {partition} of table `{table}` from offset {expected} to {found}; \
         this writer stops. Only one process may store a partition: stop the other one, or give it the role"
    )]
    OtherWriter {
        /// Table whose commit was to be made.
        table: &'static str,
        /// Partition that moved.
        partition: u32,
        /// Next offset that this writer had committed.
        expected: i64,
        /// Next offset that stands in the table.
        found: i64,
    },
    /// The writer has stopped after an earlier [`StorageError::OtherWriter`] or was opened only for reading.
    #[error("this writer of the table has stopped: {0}")]
    Stopped(String),
    /// The object store did not answer or refused; nothing is lost, hold back and try again.
    #[error("the table's store is not available: {0}")]
    Unavailable(String),
    /// What lies in the table folder is not what this program wrote or can read.
    #[error("table `{table}`: {message}")]
    Table {
        /// Name of the table.
        table: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Settings that cannot be used.
    #[error("storage settings: {0}")]
    Settings(String),
    /// A query of the table's own (dedup, balance) failed.
    #[error("reading the table: {0}")]
    Read(String),
}

impl StorageError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Read(_))
    }
}

impl From<object_store::Error> for StorageError {
    fn from(e: object_store::Error) -> Self {
        Self::Unavailable(e.to_string())
    }
}

impl From<DataFusionError> for StorageError {
    fn from(e: DataFusionError) -> Self {
        Self::Read(e.to_string())
    }
}

/// Why a query gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The SQL is wrong; the message is the planner's.
    #[error("{0}")]
    Sql(String),
    /// The SQL would change something.
    #[error("only reading is allowed: {0}")]
    ReadOnly(String),
    /// It ran longer than allowed.
    #[error(
        "the query took longer than the limit of {limit_ms} ms; narrow it (by `time` and `site`), or raise the limit (`{setting}`)"
    )]
    Time {
        /// The limit in milliseconds.
        limit_ms: u128,
        /// Setting that raises it.
        setting: &'static str,
    },
    /// It needed more memory than allowed.
    #[error(
        "the query needs more memory than the limit of {limit} bytes; narrow it, aggregate less at once, or raise the limit (`{setting}`): {detail}"
    )]
    Memory {
        /// The limit in bytes.
        limit: usize,
        /// Setting that raises it.
        setting: &'static str,
        /// The engine's own words.
        detail: String,
    },
    /// It gave more rows than allowed.
    #[error(
        "the query gives more rows than the limit of {limit}; add `LIMIT`, aggregate, or raise the limit (`{setting}`)"
    )]
    Rows {
        /// The limit.
        limit: usize,
        /// Setting that raises it.
        setting: &'static str,
    },
    /// The table could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
