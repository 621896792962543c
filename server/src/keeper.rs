//! Keeps in the journal of alarms what happens beside them: that this process started, which rules and which catalog came into force;
//! and has its newest entry signed from time to time.
//!
//! Promises: nothing of it is left out: what the alarm database does not take is tried again, in order.

use crate::config::Config;
use crate::versions::Version;
use ::alerts::journal::Signer;
use ::alerts::{AlarmStore, Happened, StoreError};
use model::{Clock, Micros};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Pause before the database is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The keeper of one process.
pub struct Keeper {
    alarms: Arc<dyn AlarmStore>,
    clock: Arc<dyn Clock>,
    signer: Option<Arc<Signer>>,
    every: Duration,
    config_hash: String,
    version: watch::Receiver<Arc<Version>>,
}

impl Keeper {
    /// Of this configuration, and of the versions that come.
    pub fn new(
        config: &Config,
        alarms: Arc<dyn AlarmStore>,
        clock: Arc<dyn Clock>,
        version: watch::Receiver<Arc<Version>>,
    ) -> Self {
        Self {
            alarms,
            clock,
            signer: config.alerts.signer.clone(),
            every: Duration::from_micros(config.alerts.checkpoint.max(1).unsigned_abs()),
            config_hash: blake3::hash(config.text.as_bytes()).to_hex().to_string(),
            version,
        }
    }

    /// Keeps until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&mut self) {
        let mut signing = tokio::time::interval(self.every);
        signing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut in_force = self.version.borrow_and_update().clone();
        self.record("started", &in_force).await;
        loop {
            tokio::select! {
                _ = signing.tick(), if self.signer.is_some() => self.sign().await,
                changed = self.version.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    let new = self.version.borrow_and_update().clone();
                    if (&new.rules_hash, &new.catalog_hash) != (&in_force.rules_hash, &in_force.catalog_hash) {
                        self.record("reloaded", &new).await;
                    }
                    in_force = new;
                }
            }
        }
    }

    async fn record(&self, event: &'static str, version: &Version) {
        let detail = self.detail(version).to_string();
        let note = format!("firedamp {}", env!("CARGO_PKG_VERSION"));
        let happened = Happened { event, by: "firedamp".to_owned(), note, detail };
        self.until_taken(|now| self.alarms.record(happened.clone(), now)).await;
    }

    /// What names each text exactly: the hash of its bytes.
    fn detail(&self, version: &Version) -> Value {
        json!({ "config": self.config_hash, "rules": version.rules_hash, "catalog": version.catalog_hash })
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
