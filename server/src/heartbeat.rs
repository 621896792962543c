//! The outgoing heartbeat: as long as this process does its work it says so to a watcher outside, which raises the alarm when
//! nothing comes any more. It is the one thing that tells of a machine that is gone.
//!
//! Promises: nothing is sent while [`Readiness`] does not hold; a watcher that does not answer delays nothing and is an own alarm
//! after [`FAILURES`] tries in a row.

use crate::readiness::Readiness;
use crate::runners::own::OwnAlarms;
use model::{Clock, Micros};
use prometheus::{IntCounterVec, Opts, Registry};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Beats in a row that were not taken, after which that is an alarm.
const FAILURES: u32 = 3;
/// How long a watcher may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// `server.heartbeat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Where to.
    pub url: String,
    /// How often.
    pub every: Duration,
}

/// Beats until stopped.
pub struct Heartbeat {
    config: HeartbeatConfig,
    client: reqwest::Client,
    readiness: Readiness,
    own: OwnAlarms,
    clock: Arc<dyn Clock>,
    beats: IntCounterVec,
}

impl Heartbeat {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// A sentence, when TLS cannot be set up or the metric stands twice.
    pub fn new(
        config: HeartbeatConfig,
        readiness: Readiness,
        own: OwnAlarms,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, String> {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(|e| e.to_string())?;
        let help = "beats to the watcher: taken, refused, or held because this process was not ready";
        let beats = IntCounterVec::new(Opts::new("firedamp_heartbeat_total", help), &["result"])
            .map_err(|e| e.to_string())?;
        registry.register(Box::new(beats.clone())).map_err(|e| e.to_string())?;
        Ok(Self { config, client, readiness, own, clock, beats })
    }

    /// Beats until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let result = match self.readiness.look().await {
                (false, parts) => {
                    tracing::warn!(%parts, "no heartbeat: this process does not do its work");
                    "held"
                }
                (true, _) => match self.beat(self.clock.now()).await {
                    Ok(()) => {
                        failures = 0;
                        self.own.clear(
                            "heartbeat",
                            "watcher",
                            "the watcher takes heartbeats again".to_owned(),
                        );
                        "taken"
                    }
                    Err(e) => {
                        failures += 1;
                        tracing::warn!(failures, "the watcher took no heartbeat: {e}");
                        if failures == FAILURES {
                            let reason = format!("the watcher took none of {FAILURES} heartbeats: {e}");
                            self.own.raise("heartbeat", "watcher", reason);
                        }
                        "refused"
                    }
                },
            };
            self.beats.with_label_values(&[result]).inc();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.config.every) => {}
            }
        }
    }

    async fn beat(&self, now: Micros) -> Result<(), String> {
        let body = json!({ "from": "firedamp", "time": model::time::rfc3339(now) });
        // Without the address: it may hold a secret.
        let answer = self.client.post(&self.config.url).json(&body).send().await;
        let answer = answer.map_err(|e| e.without_url().to_string())?;
        answer.error_for_status().map(|_| ()).map_err(|e| e.without_url().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::Lag;
    use ::tests::webhook::Webhook;
    use model::{ManualClock, time::SECOND};

    /// In real time, since the watcher is a real server; the clock that the rules are judged by stands still.
    #[tokio::test]
    async fn is_held_while_the_rules_are_not_heard_of() {
        let (watcher, clock, lag) = (Webhook::start().await, ManualClock::at(1_000 * SECOND), Lag::new(1));
        let readiness = Readiness {
            log: Arc::new(stream::MemoryLog::new(1, 7, Arc::new(clock.clone()))),
            lag: Some(lag.clone()),
            alarms: Arc::new(alerts::MemoryStore::new(Vec::new())),
            broken: CancellationToken::new(),
            clock: Arc::new(clock.clone()),
        };
        let config = HeartbeatConfig { url: watcher.url.clone(), every: Duration::from_millis(5) };
        let (own, registry) = (OwnAlarms::queue().0, Registry::new());
        let beat = Heartbeat::new(config, readiness, own, Arc::new(clock.clone()), &registry).unwrap();
        let beats = beat.beats.clone();
        let stop = CancellationToken::new();
        let running = tokio::spawn(beat.run(stop.clone()));
        let more = async |result: &str| {
            let now = || beats.with_label_values(&[result]).get();
            let before = now();
            let grown = || async { (now() >= before + 3).then_some(()) };
            ::tests::wait_for_async("three more beats", Duration::from_secs(30), grown).await;
        };
        more("held").await;
        assert!(watcher.received().is_empty(), "nothing was judged yet");
        lag.set(0, 0, clock.now());
        more("taken").await;
        // The rules were not behind when they last said so; since then they say nothing.
        clock.advance(11 * SECOND);
        more("held").await;
        let told = watcher.received().len();
        more("held").await;
        assert_eq!(watcher.received().len(), told);
        lag.set(0, 0, clock.now());
        more("taken").await;
        stop.cancel();
        running.await.unwrap();
    }
}
