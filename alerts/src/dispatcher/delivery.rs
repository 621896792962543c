//! The task of one receiver.

use super::{DOWN_AFTER, DOWN_TOLD, GRACE, PARALLEL, Way};
use crate::metrics::{TellMetrics, Tries};
use crate::notifiers::{Notifier, SendError};
use crate::{AlarmStore, OutboxRow, OwnAlarm, Receiver, StoreError, own};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use model::time::SECOND;
use model::{Clock, Micros};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// First and longest pause between tries of a message.
const PAUSE: (Micros, Micros) = (SECOND, 300 * SECOND);
/// Longest pause between questions to a receiver that is down.
const PAUSE_DOWN_MAX: Micros = 60 * SECOND;
/// The outbox is looked at this often even when nothing says that it changed: another process may write it, and tries fall due.
const LOOK: Duration = Duration::from_millis(500);
/// What is too old is looked for this often.
const EXPIRE_EVERY: Micros = 60 * SECOND;

/// An answer to a message.
type Answer = (OutboxRow, Result<(), SendError>);

pub(super) struct Delivery {
    store: Arc<dyn AlarmStore>,
    receiver: Receiver,
    notifier: Arc<dyn Notifier>,
    clock: Arc<dyn Clock>,
    tries: Tries,
    seconds: prometheus::Histogram,
    random: StdRng,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    keys: HashSet<String>,
    health: Health,
    expired_at: Micros,
}

/// What the answers so far say of the receiver.
#[derive(Default)]
struct Health {
    failures: u32,
    /// When the first of them came.
    since: Micros,
    /// Nothing is sent before.
    not_before: Micros,
    /// The alarm `receiver-down` may be on: at the start too, from an earlier run.
    told: Option<bool>,
}

impl Health {
    fn is_down(&self) -> bool {
        self.failures >= DOWN_AFTER
    }
}

impl Delivery {
    pub fn new(
        store: Arc<dyn AlarmStore>,
        way: Way,
        clock: Arc<dyn Clock>,
        metrics: &TellMetrics,
        random: StdRng,
    ) -> Self {
        let tries = metrics.tries(&way.receiver.name);
        let (receiver, notifier, seconds) = (way.receiver, way.notifier, metrics.seconds.clone());
        let (under_way, keys, health) = (FuturesUnordered::new(), HashSet::new(), Health::default());
        Self {
            store,
            receiver,
            notifier,
            clock,
            tries,
            seconds,
            random,
            under_way,
            keys,
            health,
            expired_at: Micros::MIN,
        }
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let mut changed = self.store.changed();
        while !stop.is_cancelled() {
            changed.mark_unchanged();
            if let Err(e) = self.fill().await {
                tracing::error!(
                    receiver = self.receiver.name,
                    "the outbox cannot be read, trying again: {e}"
                );
            }
            tokio::select! {
                biased; // an answer makes room, so it comes before what is new
                _ = stop.cancelled() => {}
                Some(answer) = self.under_way.next() => self.settle(answer).await,
                _ = changed.changed() => {}
                _ = tokio::time::sleep(LOOK) => {}
            }
        }
        if tokio::time::timeout(GRACE, self.drain()).await.is_err() {
            tracing::warn!(
                receiver = self.receiver.name,
                "stopped with messages under way; they are sent again at the next start"
            );
        }
    }

    /// What is due at the stop still goes out.
    async fn drain(&mut self) {
        loop {
            if let Err(e) = self.fill().await {
                return tracing::error!(receiver = self.receiver.name, "the outbox cannot be read: {e}");
            }
            match self.under_way.next().await {
                Some(answer) => self.settle(answer).await,
                None => return,
            }
        }
    }

    /// Sends what is due, as much as may be under way.
    async fn fill(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if now - EXPIRE_EVERY >= self.expired_at || now < self.expired_at {
            self.expired_at = now;
            let dead = self.store.expire(&self.receiver.name, now - self.deadline(), now).await?;
            self.tries.dead.inc_by(dead);
        }
        let room = if self.health.is_down() { 1 } else { PARALLEL };
        // A clock that was set back must not silence a receiver.
        if now < self.health.not_before && self.health.not_before - now <= PAUSE_DOWN_MAX * 2
            || self.under_way.len() >= room
        {
            return Ok(());
        }
        // Those under way are still pending and come first in the answer.
        let due = self.store.outbox_due(&self.receiver.name, now, room + self.under_way.len()).await?;
        for message in due {
            if self.under_way.len() >= room {
                break;
            }
            if self.keys.insert(message.key.clone()) {
                let notifier = self.notifier.clone();
                self.under_way.push(Box::pin(async move {
                    let sent = notifier.send(&message).await;
                    (message, sent)
                }));
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Micros {
        Micros::try_from(self.receiver.deadline.as_micros()).unwrap_or(Micros::MAX / 4)
    }

    /// Writes down what became of a try.
    async fn settle(&mut self, (message, sent): Answer) {
        self.keys.remove(&message.key);
        let written = match sent {
            Ok(()) => self.taken(&message).await,
            Err(SendError::Partly(e)) => self.taken_in_part(&message, &e).await,
            Err(e) => self.not_taken(&message, &e).await,
        };
        if let Err(e) = written {
            // It is sent again, with the same key and bytes.
            tracing::error!(
                receiver = self.receiver.name,
                key = message.key,
                "what became of it is not written down: {e}"
            );
            self.health.not_before = self.clock.now() + SECOND;
        }
    }

    async fn taken(&mut self, message: &OutboxRow) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.tries.delivered.inc();
        self.seconds.observe((now - message.created).max(0) as f64 / 1e6);
        self.store.delivered(&message.key, now).await?;
        let was_down = self.health.is_down();
        if self.health.told != Some(false) {
            self.about(own::RECEIVER_DOWN, "takes messages again".to_owned(), false, now).await?;
        }
        self.health = Health { told: Some(false), ..Health::default() };
        if was_down {
            tracing::info!(receiver = self.receiver.name, "takes messages again");
            self.store.revive(&self.receiver.name, now).await?;
        }
        Ok(())
    }

    async fn taken_in_part(&mut self, message: &OutboxRow, e: &str) -> Result<(), StoreError> {
        tracing::warn!(receiver = self.receiver.name, key = message.key, "delivered in part: {e}");
        self.taken(message).await?;
        let reason = format!("took message {} in part only: {e}", message.key);
        self.about(own::ADDRESS_REFUSED, reason, true, self.clock.now()).await
    }

    async fn not_taken(&mut self, message: &OutboxRow, e: &SendError) -> Result<(), StoreError> {
        let now = self.clock.now();
        let jitter = self.random.random_range(0.5..=1.5);
        let next = next_try(now, message.created + self.deadline(), message.attempts, jitter, e);
        tracing::warn!(
            receiver = self.receiver.name,
            key = message.key,
            attempts = message.attempts + 1,
            "not delivered: {e}"
        );
        if matches!(e, SendError::Retry(_)) {
            self.failing(now, jitter, e).await?;
        }
        let counter = if next.is_some() { &self.tries.retry } else { &self.tries.dead };
        counter.inc();
        self.store.failed(&message.key, &e.to_string(), next, now).await
    }

    async fn failing(&mut self, now: Micros, jitter: f64, e: &SendError) -> Result<(), StoreError> {
        let health = &mut self.health;
        if health.failures == 0 {
            health.since = now;
        }
        // Those sent side by side are one failure.
        if health.is_down() && now < health.not_before {
            return Ok(());
        }
        health.failures = health.failures.saturating_add(1);
        if !health.is_down() {
            return Ok(());
        }
        health.not_before = now + pause(health.failures - DOWN_AFTER, PAUSE_DOWN_MAX, jitter);
        if now - health.since < DOWN_TOLD || health.told == Some(true) {
            return Ok(());
        }
        health.told = Some(true);
        let minutes = (now - self.health.since) / (60 * SECOND);
        self.about(own::RECEIVER_DOWN, format!("takes nothing since {minutes} min: {e}"), true, now).await
    }

    async fn about(&mut self, what: &str, reason: String, on: bool, now: Micros) -> Result<(), StoreError> {
        let name = &self.receiver.name;
        self.store
            .raise_own(OwnAlarm::about_receiver(what, name, format!("receiver `{name}` {reason}"), on), now)
            .await
    }
}

fn pause(failures: u32, max: Micros, jitter: f64) -> Micros {
    let pause = PAUSE.0.saturating_mul(1 << failures.min(20)).min(max);
    // Half to one and a half: receivers that failed together do not come back together.
    (pause as f64 * jitter) as Micros
}

/// When to try again; `None` when it is given up.
fn next_try(now: Micros, end: Micros, attempts: u32, jitter: f64, e: &SendError) -> Option<Micros> {
    let again = matches!(e, SendError::Retry(_)) && now < end;
    again.then(|| (now + pause(attempts, PAUSE.1, jitter)).min(end))
}

#[cfg(test)]
mod tests;
