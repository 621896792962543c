//! firedamp's own alarms: what is wrong with itself goes the same way as gas, through the alarm store, under rules named
//! `firedamp/...`. Raising never waits: a bounded queue, and what does not fit is logged.

use ::alerts::{AlarmStore, OwnAlarm};
use model::{Clock, Severity};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pause before an own alarm is written again that the store did not take.
const AGAIN: Duration = Duration::from_secs(1);
/// Own alarms waiting for the store.
const QUEUE_LEN_MAX: usize = 256;

/// Raises and clears own alarms.
#[derive(Clone, Debug)]
pub struct OwnAlarms(mpsc::Sender<OwnAlarm>);

impl OwnAlarms {
    /// A queue; the receiver goes to [`run`].
    pub fn queue() -> (Self, mpsc::Receiver<OwnAlarm>) {
        let (sender, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        (Self(sender), receiver)
    }

    /// Raises the alarm `firedamp/<what>` of `key`; raising it again changes nothing.
    pub fn raise(&self, what: &'static str, key: &str, reason: String) {
        self.put(what, key, reason, true);
    }

    /// Ends it; ending what is not on changes nothing.
    pub fn clear(&self, what: &'static str, key: &str, reason: String) {
        self.put(what, key, reason, false);
    }

    fn put(&self, what: &'static str, key: &str, reason: String, on: bool) {
        let alarm =
            OwnAlarm { what: what.to_owned(), key: key.to_owned(), severity: Severity::Orange, reason, on };
        if let Err(e) = self.0.try_send(alarm) {
            tracing::error!("own alarm not kept, the queue is full: {e}");
        }
    }
}

/// Writes own alarms into the store until stopped and empty.
pub async fn run(
    store: Arc<dyn AlarmStore>,
    clock: Arc<dyn Clock>,
    mut queue: mpsc::Receiver<OwnAlarm>,
    stop: CancellationToken,
) {
    loop {
        let alarm = tokio::select! {
            biased; // what is queued is written before the stop is looked at
            alarm = queue.recv() => alarm,
            _ = stop.cancelled() => None,
        };
        let Some(alarm) = alarm else { return };
        while let Err(e) = store.raise_own(alarm.clone(), clock.now()).await {
            tracing::error!(alarm.what, alarm.reason, "own alarm not stored, trying again: {e}");
            if stop.is_cancelled() {
                break;
            }
            tokio::select! {
                biased;
                _ = stop.cancelled() => {}
                _ = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}
