//! Modbus TCP: one source is one link to a device or gateway with any number of units (slaves) on it, polled at a fixed
//! rate. Sources poll side by side; two sources with one url are two links.
//!
//! - A poll starts every `every` from the first one on; while one is under way the next ones are skipped and counted,
//!   never run side by side.
//! - Points near one another are read with one request ([`plan`]); a refusal is split until it names one register.
//! - A link that timed out or brought a reply to another request is dropped ([`link`]); a unit that does not answer is
//!   left to a back-off and costs the others nothing ([`poll`]); an exception is an answer ([`unit`]).
//! - Modbus has no time: readings have receive time and the bit `no_device_time`; they are at least once. A replay
//!   counts its rows ([`config::Replay`]).
//! - Polling is held, not given up, while the log does not take readings ([`crate::outlet`]).

pub mod config;
pub mod keys;
pub mod link;
pub mod plan;
pub mod poll;
pub mod unit;
pub mod value;

use crate::configure::{Common, Kind, Protocol};
use crate::outlet::Outlet;
use crate::{Context, Source};
use async_trait::async_trait;
use config::Config;
use model::toml_file::Section;
use poll::Poller;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The line of this protocol in [`crate::kinds`].
pub const KIND: Kind = Kind {
    name: "modbus",
    doc: "Polls a Modbus TCP device, or a gateway with many units behind it.",
    keys: keys::KEYS,
    configure,
};

fn configure(common: &Common, section: &Section<'_>) -> Option<Protocol> {
    let mut config = config::from_section(common, section)?;
    let named = std::mem::take(&mut config.named);
    let config = Arc::new(config);
    let points: usize = config.units.iter().map(|u| u.points.len()).sum();
    let summary = format!("tcp://{}, {} units, {points} points", config.target, config.units.len());
    let make = move || Box::new(Modbus { config: config.clone() }) as Box<dyn Source>;
    Some(Protocol { make: Arc::new(make), summary, points: named })
}

/// A link and what is polled on it.
pub struct Modbus {
    config: Arc<Config>,
}

#[async_trait]
impl Source for Modbus {
    async fn run(self: Box<Self>, context: Context, stop: CancellationToken) {
        let metrics = context.metrics.source(&context.info.name);
        let outlet = Outlet::start(context.clone(), metrics.clone(), stop.clone());
        let every = self.config.every;
        let mut poller = Poller::new(context.clone(), self.config.clone(), metrics.clone());
        let mut due = Instant::now();
        loop {
            // Stopping comes first; a poll that is cut short was not received.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                polled = async { sleep_until(due).await; outlet.rest().await; poller.poll(&outlet).await } => {
                    if polled.is_err() {
                        break;
                    }
                }
            }
            let late = Instant::now().saturating_duration_since(due);
            let missed = (late.as_nanos() / every.as_nanos()) as u32;
            poller.events.skipped.inc_by(u64::from(missed));
            due += every * (missed + 1);
        }
        drop(poller);
        metrics.connected.set(0);
        context.health.write().expect("no holder of this lock panics").up = false;
        if !outlet.close().await {
            tracing::warn!(source = %context.info.name, "stopped with readings that the log had not taken in time");
        }
    }
}

#[cfg(test)]
mod tests;
