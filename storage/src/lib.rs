//! The tables: Delta tables of readings, positions, quarantine, arrivals and events, written exactly once from the log, with
//! the rows not yet committed (the tail), and SQL over both as one.

#![warn(missing_docs)]

mod catalog_tables;
mod columns;
mod dedupe;
mod delta;
mod error;
mod events;
mod files;
mod metrics;
mod names;
mod options;
mod query;
mod schema;
mod start;
mod state;
mod storage;
mod store;
mod tail;
mod view;
mod writer;

pub use error::{QueryError, StorageError};
pub use options::{KEYS, Limits, Options, Retain, S3, Secret};
pub use query::QueryStream;
pub use storage::Storage;
pub use writer::Flushed;
