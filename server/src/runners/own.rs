//! firedamp's own alarms: what is wrong with itself goes the same way as gas, through the alarm store, under rules named
//! `firedamp/...`.
//!
//! Raising never waits and nothing is dropped: of each alarm the newest state that is wanted is kept until the store has it. One
//! that the store does not take is tried again and holds up no other.

use ::alerts::{AlarmStore, OwnAlarm};
use model::{Clock, Severity};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Pause before own alarms are written again that the store did not take.
const AGAIN: Duration = Duration::from_secs(1);

/// The rule's last word and which one of them.
type Key = (&'static str, String);

/// Raises and clears own alarms.
#[derive(Clone, Debug, Default)]
pub struct OwnAlarms(Arc<Wanted>);

/// What the store does not have yet. It grows with the number of different alarms only: parts and their names.
#[derive(Debug, Default)]
struct Wanted {
    alarms: Mutex<BTreeMap<Key, OwnAlarm>>,
    changed: Notify,
}

impl Wanted {
    fn alarms(&self) -> MutexGuard<'_, BTreeMap<Key, OwnAlarm>> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end of [`OwnAlarms`], for [`run`].
#[derive(Debug)]
pub struct Queue(Arc<Wanted>);

impl OwnAlarms {
    /// Both ends.
    pub fn queue() -> (Self, Queue) {
        let own = Self::default();
        let queue = Queue(own.0.clone());
        (own, queue)
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
        self.0.alarms().insert((what, key.to_owned()), alarm);
        self.0.changed.notify_one();
    }
}

/// Writes own alarms into the store until stopped and each that is left has been tried.
pub async fn run(store: Arc<dyn AlarmStore>, clock: Arc<dyn Clock>, queue: Queue, stop: CancellationToken) {
    loop {
        let stopping = stop.is_cancelled();
        let all_stored = queue.round(|alarm| store.raise_own(alarm, clock.now())).await;
        if stopping {
            return;
        }
        tokio::select! {
            biased; // a simulation's seed must replay
            _ = stop.cancelled() => {}
            _ = queue.0.changed.notified(), if all_stored => {}
            _ = tokio::time::sleep(AGAIN), if !all_stored => {}
        }
    }
}

impl Queue {
    /// Tries each that waits; whether all were stored.
    async fn round<E: std::fmt::Display, F: Future<Output = Result<(), E>>>(
        &self,
        store: impl Fn(OwnAlarm) -> F,
    ) -> bool {
        let waiting: Vec<(Key, OwnAlarm)> =
            self.0.alarms().iter().map(|(key, alarm)| (key.clone(), alarm.clone())).collect();
        let mut all_stored = true;
        for (key, alarm) in waiting {
            if let Err(e) = store(alarm.clone()).await {
                all_stored = false;
                tracing::error!(alarm.what, alarm.reason, "own alarm not stored, trying again: {e}");
                continue;
            }
            let mut alarms = self.0.alarms();
            // What has changed meanwhile is still to be written.
            if alarms.get(&key) == Some(&alarm) {
                alarms.remove(&key);
            }
        }
        all_stored
    }
}

#[cfg(test)]
impl Queue {
    /// Takes one out: what a test looks at.
    pub fn try_recv(&mut self) -> Result<OwnAlarm, &'static str> {
        self.0.alarms().pop_first().map(|(_, alarm)| alarm).ok_or("none is wanted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::alerts::MemoryStore;
    use model::SystemClock;

    #[tokio::test]
    async fn the_newest_state_is_stored_of_more_alarms_than_any_queue_holds() {
        let (own, queue) = OwnAlarms::queue();
        for n in 0..2000 {
            own.raise("source-down", &n.to_string(), "away".to_owned());
            if n % 2 == 0 {
                own.clear("source-down", &n.to_string(), "back".to_owned());
            }
        }
        let store = Arc::new(MemoryStore::new(Vec::new()));
        let stop = CancellationToken::new();
        stop.cancel();
        run(store.clone(), Arc::new(SystemClock), queue, stop).await;
        let active = store.list(&Default::default()).await.unwrap();
        assert_eq!(active.len(), 1000);
        assert!(active.iter().all(|a| a.point.parse::<u32>().unwrap() % 2 == 1));
    }

    #[tokio::test]
    async fn one_that_is_not_taken_holds_up_no_other_and_stays() {
        let (own, mut queue) = OwnAlarms::queue();
        for key in ["a", "b", "c"] {
            own.raise("source-down", key, "away".to_owned());
        }
        let tried = Mutex::new(Vec::new());
        let all = queue.round(|alarm| {
            tried.lock().unwrap().push(alarm.key.clone());
            // Meanwhile `b` has ended: that is to be written too.
            if alarm.key == "b" {
                own.clear("source-down", "b", "back".to_owned());
            }
            std::future::ready(if alarm.key == "a" { Err("locked") } else { Ok(()) })
        });
        assert!(!all.await);
        assert_eq!(*tried.lock().unwrap(), ["a", "b", "c"]);
        let left: Vec<_> =
            std::iter::from_fn(|| queue.try_recv().ok()).map(|alarm| (alarm.key, alarm.on)).collect();
        assert_eq!(left, [("a".to_owned(), true), ("b".to_owned(), false)]);
    }
}
