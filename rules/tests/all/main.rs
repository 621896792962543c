//! Tests of rules: exact cases, a model simpler than the code, cuts and restarts, real readings.

mod bound;
mod cases;
mod changes;
mod exact;
mod legal;
mod longwall;
mod models;
mod stand;
