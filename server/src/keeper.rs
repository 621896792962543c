//! Keeps in the journal of alarms what happens beside them: that this process started, which configuration, rules, catalog and routes came
//! into force; and has its newest entry signed from time to time.
//!
//! Promises: nothing of it is left out while the process lives: each change waits its turn, and what the alarm database does not take is
//! tried again.

use crate::config::{Config, Hashes};
use ::alerts::journal::Signer;
use ::alerts::{AlarmStore, Happened, StoreError};
use model::{Clock, Micros};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pause before the database is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The keeper of one process.
pub struct Keeper {
    alarms: Arc<dyn AlarmStore>,
    clock: Arc<dyn Clock>,
    signer: Option<Arc<Signer>>,
    every: Duration,
    started: Hashes,
    changes: mpsc::UnboundedReceiver<Hashes>,
}

impl Keeper {
    /// Of what was read at the start and the changes that come.
    pub fn new(
        config: &Config,
        alarms: Arc<dyn AlarmStore>,
        clock: Arc<dyn Clock>,
        started: Hashes,
        changes: mpsc::UnboundedReceiver<Hashes>,
    ) -> Self {
        let (signer, every) = (config.alerts.signer.clone(), config.alerts.checkpoint);
        Self {
            alarms,
            clock,
            signer,
            every: Duration::from_micros(every.max(1).unsigned_abs()),
            started,
            changes,
        }
    }

    /// Keeps until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&mut self) {
        let mut signing = tokio::time::interval(self.every);
        signing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.record("started", &self.started).await;
        loop {
            tokio::select! {
                _ = signing.tick(), if self.signer.is_some() => self.sign().await,
                Some(hashes) = self.changes.recv() => self.record("reloaded", &hashes).await,
                else => return std::future::pending().await, // nobody is left who could change anything
            }
        }
    }

    async fn record(&self, event: &'static str, hashes: &Hashes) {
        let (by, detail) = ("firedamp".to_owned(), json!(hashes).to_string());
        let note = format!("firedamp {}", env!("CARGO_PKG_VERSION"));
        let happened = Happened { event, by, note, detail };
        self.until_taken(|now| self.alarms.record(happened.clone(), now)).await;
    }

    async fn sign(&self) {
        if let Some(signer) = &self.signer {
            self.until_taken(|now| async move { self.alarms.checkpoint(signer, now).await.map(|_| ()) })
                .await;
        }
    }

    async fn until_taken<F: Future<Output = Result<(), StoreError>>>(&self, write: impl Fn(Micros) -> F) {
        while let Err(e) = write(self.clock.now()).await {
            tracing::warn!("the journal was not written, tried again: {e}");
            tokio::time::sleep(AGAIN).await;
        }
    }
}
