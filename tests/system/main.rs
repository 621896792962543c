//! Whole-system tests: the built binary, real brokers, real devices, real kills.

mod activation;
mod config;
mod deploy;
mod faults;
mod kafka;
mod kill;
mod longwall;
mod page;
mod people;
mod points;
mod registration;
mod s3;
mod seed;
mod stand;
mod torn;
mod watch;
