//! Tests of alerts: both stores hold the same promises; what is committed survives a kill; receivers that misbehave; settings.

mod bureau;
mod email;
mod full;
mod kill;
mod misbehaving;
mod notifiers;
mod postgres;
mod routes;
mod settings;
mod stores;
mod telling;
