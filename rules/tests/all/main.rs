//! Tests of rules: exact cases, a model simpler than the code, cuts and restarts, real readings.

mod cases;
mod exact;
mod longwall;
mod model_limit;
mod stand;
