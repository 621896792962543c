//! The tables: Delta tables of readings, positions, quarantine, arrivals and events, written exactly once from the log, with
//! the rows not yet committed (the tail), statistics counted from the readings, and SQL over all as one.
//!
//! ```text
//! push -> state -> tail (open rows -> packed chunks, one generation between two flushes)
//!                    |  dedupe: late and repeated readings are looked up before a flush or a query
//! flush -> writer -> files (Parquet) -> delta (commits; `arrivals` last) -> view
//! query -> view + tail, pinned at one instant -> DataFusion
//! histories -> the readings in the order of the log, for rules that judge them again
//! maintain -> stats (five minutes of each point), compaction, retention, checkpoints, deletion
//! ```
//!
//! What is promised: a reading of the log is in `readings` once, whatever was killed when (see `writer`); what is a
//! duplicate depends on the log alone (see `dedupe`); a query sees every row taken before it once, committed or not; memory
//! stays within `storage.tail`; all futures may be dropped at any point and called again.

#![warn(missing_docs)]

pub mod background;
mod balance;
mod catalog_tables;
mod columns;
mod dedupe;
mod delta;
mod error;
mod events;
mod files;
mod history;
mod maintain;
mod metrics;
mod names;
mod options;
pub mod output;
mod quarantine;
mod query;
mod schema;
mod start;
mod state;
mod stats;
mod storage;
mod store;
mod tail;
mod view;
mod writer;

pub use balance::SourceBalance;
pub use error::{QueryError, StorageError};
pub use history::{History, HistoryRecord};
pub use maintain::Maintained;
#[doc(hidden)]
pub use options::Planted;
pub use options::{KEYS, Limits, Options, Retain, S3};
pub use quarantine::{QuarantinedPoint, QuarantinedReading, STRANGERS_MAX};
pub use query::QueryStream;
pub use storage::Storage;
pub use writer::Flushed;
