//! The server: wires ingest, log, rules, storage and alarms together ([`pipeline`]), and serves API, page and commands.
//!
//! `main` -> [`commands`] -> [`app`] -> [`pipeline`] is the way to the data.

pub mod acting;
pub mod app;
pub mod balance;
pub mod commands;
pub mod config;
pub mod edge;
pub mod heartbeat;
pub mod http;
pub mod keeper;
pub mod live;
pub mod logging;
pub mod people;
pub mod pipeline;
pub mod readiness;
pub mod registration;
pub mod reload;
pub mod restore;
pub mod runners;
pub mod same_log;
pub mod snapshots;
pub mod source_watch;
pub mod sources;
pub mod trim;
pub mod versions;
pub mod watchdog;
