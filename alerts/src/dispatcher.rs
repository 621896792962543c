//! Sends the outbox: one task a receiver, so that a receiver that is slow or down delays nobody else. Messages of one alarm go out
//! in order, each once the one before is settled; those of different alarms side by side, at most [`PARALLEL`].
//!
//! A message that is not taken is tried again with back-off and jitter until the receiver's deadline; then it is a dead letter,
//! which is an alarm of its own, told to the others. A receiver that failed [`DOWN_AFTER`] times in a row is asked with one message
//! at a time, with growing pauses, and is an alarm of its own when that lasts [`DOWN_TOLD`]; once it takes one, all that waits for
//! it is due.
//!
//! At a stop what is due still goes out, for at most [`GRACE`]; what was not answered lies in the outbox and is sent again, with the
//! same key and bytes.

use crate::metrics::TellMetrics;
use crate::notifiers::{Notifier, PARALLEL};
use crate::{AlarmStore, Receiver, StoreError};
use delivery::Delivery;
use model::{Clock, Micros};
use prometheus::Registry;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

mod delivery;

/// Failures in a row after which a receiver is asked with one message at a time.
pub const DOWN_AFTER: u32 = 3;
/// A receiver that fails this long is an alarm.
pub const DOWN_TOLD: Micros = model::time::MINUTE;
/// How long a stop waits for answers under way.
pub const GRACE: Duration = Duration::from_secs(2);
/// Digests are written, and what waits is looked at, this often.
const TEND: Duration = Duration::from_secs(1);

/// One receiver and the way to it.
pub struct Way {
    /// Who.
    pub receiver: Receiver,
    /// How.
    pub notifier: Arc<dyn Notifier>,
}

/// Sends what the store has to tell.
pub struct Dispatcher {
    store: Arc<dyn AlarmStore>,
    ways: Vec<Way>,
    clock: Arc<dyn Clock>,
    metrics: TellMetrics,
    seed: u64,
}

impl Dispatcher {
    /// Prepares the notifiers of all receivers.
    ///
    /// # Errors
    /// A sentence naming the receiver whose settings cannot be used.
    pub fn new(
        store: Arc<dyn AlarmStore>,
        receivers: Vec<Receiver>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, ReceiverError> {
        let mut ways = Vec::new();
        for receiver in receivers {
            let notifier = receiver.settings.connect();
            let notifier =
                notifier.map_err(|e| ReceiverError(format!("receiver `{}`: {e}", receiver.name)))?;
            ways.push(Way { receiver, notifier });
        }
        Self::with(store, ways, clock, registry)
    }

    /// With notifiers that are there already: for models.
    ///
    /// # Errors
    /// When the metrics are registered twice.
    pub fn with(
        store: Arc<dyn AlarmStore>,
        ways: Vec<Way>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, ReceiverError> {
        let names: Vec<String> = ways.iter().map(|w| w.receiver.name.clone()).collect();
        let metrics = TellMetrics::register(registry, &names).map_err(|e| ReceiverError(e.to_string()))?;
        Ok(Self { store, ways, clock, metrics, seed: rand::random() })
    }

    /// With a seed for the jitter, so that a run can be repeated.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Runs until stopped; what is under way then is finished or stays in the outbox.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, ways, clock, metrics, seed } = self;
        let names: Vec<String> = ways.iter().map(|w| w.receiver.name.clone()).collect();
        let mut tasks =
            vec![tokio::spawn(tend(store.clone(), names, clock.clone(), metrics.clone(), stop.clone()))];
        for (i, way) in ways.into_iter().enumerate() {
            let random = StdRng::seed_from_u64(seed.wrapping_add(i as u64));
            let delivery = Delivery::new(store.clone(), way, clock.clone(), &metrics, random);
            tasks.push(tokio::spawn(delivery.run(stop.clone())));
        }
        for task in tasks {
            if let Err(e) = task.await {
                tracing::error!("a dispatcher ended badly: {e}");
            }
        }
    }
}

/// A receiver that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReceiverError(String);

/// Writes digests and says what waits.
async fn tend(
    store: Arc<dyn AlarmStore>,
    receivers: Vec<String>,
    clock: Arc<dyn Clock>,
    metrics: TellMetrics,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        if let Err(e) = tended(&*store, &receivers, clock.now(), &metrics).await {
            tracing::error!("digests are not written, trying again: {e}");
        }
        tokio::select! {
            biased; // a simulation's seed must replay
            _ = stop.cancelled() => {}
            _ = tokio::time::sleep(TEND) => {}
        }
    }
}

async fn tended(
    store: &dyn AlarmStore,
    receivers: &[String],
    now: Micros,
    metrics: &TellMetrics,
) -> Result<(), StoreError> {
    store.flush(now).await?;
    let waiting = store.backlog().await?;
    for name in receivers {
        let one = waiting.iter().find(|b| b.receiver == *name);
        metrics.backlog(
            name,
            one.map_or(0, |b| b.pending),
            one.map_or(0, |b| (now - b.oldest).max(0) / model::time::SECOND),
        );
    }
    Ok(())
}
