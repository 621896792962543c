//! Tests of alerts: both stores hold the same promises; what is committed survives a kill; receivers that misbehave.

mod stores;
mod telling;
