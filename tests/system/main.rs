//! Whole-system tests: the built binary, real brokers, real devices, real kills.

mod config;
mod deploy;
mod kafka;
mod kill;
mod longwall;
mod page;
mod points;
mod s3;
mod stand;
mod torn;
