//! Tests of rules: exact cases, a model simpler than the code, cuts and restarts, real readings.

mod agree;
mod bound;
mod cases;
mod changes;
mod exact;
mod formats;
mod history;
mod kind_clock;
mod kind_forecast;
mod kind_masked;
mod kind_mismatch;
mod kind_mistakes;
mod kind_noise;
mod kind_out_of_range;
mod kind_spike;
mod kind_state;
mod kind_stuck;
mod kind_window;
mod legal;
mod longwall;
mod models;
mod packs;
mod people;
mod shards;
mod stand;
mod user_tests;
