//! The tables: Delta tables of readings, positions, quarantine, arrivals and events, written exactly once from the log, with
//! the rows not yet committed (the tail), and SQL over both as one.

#![warn(missing_docs)]

mod balance;
mod catalog_tables;
mod columns;
mod dedupe;
mod delta;
mod error;
mod events;
mod files;
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
mod storage;
mod store;
mod tail;
mod view;
mod writer;

pub use balance::SourceBalance;
pub use error::{QueryError, StorageError};
pub use maintain::Maintained;
#[doc(hidden)]
pub use options::Planted;
pub use options::{KEYS, Limits, Options, Retain, S3, Secret};
pub use quarantine::{QuarantinedPoint, QuarantinedReading};
pub use query::QueryStream;
pub use storage::Storage;
pub use writer::Flushed;
