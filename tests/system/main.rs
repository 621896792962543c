//! Whole-system tests: the built binary, real brokers, real devices, real kills.

mod activation;
mod backtest;
mod config;
mod deploy;
mod explained;
mod faults;
mod handled;
mod kafka;
mod kill;
mod longwall;
mod once;
mod page;
mod people;
mod points;
mod receivers;
mod registration;
mod routes;
mod rule_tools;
mod s3;
mod same;
mod seed;
mod stand;
mod stopping;
mod torn;
mod unread;
mod watch;
