//! Sends the outbox: one task a receiver, in order, one message at a time, so that a receiver that is slow or down delays nobody
//! else. A message that is not taken is tried again with back-off and jitter until its deadline; then it is a dead letter, which
//! is an alarm of its own, told to the others.

use crate::metrics::TellMetrics;
use crate::notifiers::{self, Notifier, SendError};
use crate::{AlarmStore, OutboxRow, Receiver};
use model::{Clock, Micros};
use prometheus::Registry;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Messages taken from the outbox at once.
const TAKE: usize = 64;
/// First and longest pause between tries.
const PAUSE: (Micros, Micros) = (model::time::SECOND, 300 * model::time::SECOND);
/// The outbox is looked at this often even when nothing says that it changed.
const LOOK: Duration = Duration::from_millis(500);

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
            let notifier = notifiers::connect(&receiver);
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
        let receivers: Vec<Receiver> = ways.iter().map(|w| w.receiver.clone()).collect();
        let metrics =
            TellMetrics::register(registry, &receivers).map_err(|e| ReceiverError(e.to_string()))?;
        Ok(Self { store, ways, clock, metrics })
    }

    /// Runs until stopped; what is under way then is finished or stays in the outbox.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, ways, clock, metrics } = self;
        let tasks = ways.into_iter().map(|way| {
            let (store, clock, metrics) = (store.clone(), clock.clone(), metrics.clone());
            tokio::spawn(deliver(store, way, clock, metrics, stop.clone()))
        });
        for task in tasks.collect::<Vec<_>>() {
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

async fn deliver(
    store: Arc<dyn AlarmStore>,
    way: Way,
    clock: Arc<dyn Clock>,
    metrics: TellMetrics,
    stop: CancellationToken,
) {
    let name = way.receiver.name.clone();
    let mut changed = store.changed();
    while !stop.is_cancelled() {
        changed.mark_unchanged();
        let due = match store.outbox_due(&name, clock.now(), TAKE).await {
            Ok(due) => due,
            Err(e) => {
                tracing::error!(receiver = name, "the outbox cannot be read: {e}");
                Vec::new()
            }
        };
        if due.is_empty() {
            tokio::select! {
                _ = stop.cancelled() => {}
                _ = changed.changed() => {}
                _ = tokio::time::sleep(LOOK) => {}
            }
        }
        for message in due {
            if stop.is_cancelled() {
                return;
            }
            let sent = way.notifier.send(&message).await;
            settle(&*store, &way.receiver, &message, sent, &*clock, &metrics).await;
        }
    }
}

/// Writes down what became of a try.
async fn settle(
    store: &dyn AlarmStore,
    receiver: &Receiver,
    message: &OutboxRow,
    sent: Result<(), SendError>,
    clock: &dyn Clock,
    metrics: &TellMetrics,
) {
    let now = clock.now();
    let count = |outcome: &str| metrics.tries.with_label_values(&[receiver.name.as_str(), outcome]).inc();
    let written = match sent {
        Ok(()) => {
            count("delivered");
            metrics.seconds.observe((now - message.created) as f64 / 1e6);
            store.delivered(&message.key, now).await
        }
        Err(e) => {
            let next = next_try(receiver, message, &e, now);
            count(if next.is_some() { "retry" } else { "dead" });
            tracing::warn!(
                receiver = receiver.name,
                key = message.key,
                attempts = message.attempts + 1,
                "not delivered: {e}"
            );
            store.failed(&message.key, &e.to_string(), next, now).await
        }
    };
    if let Err(e) = written {
        // It is sent again, with the same key and bytes.
        tracing::error!(
            receiver = receiver.name,
            key = message.key,
            "what became of it is not written down: {e}"
        );
    }
}

/// When to try again; `None` when it is given up.
fn next_try(receiver: &Receiver, message: &OutboxRow, e: &SendError, now: Micros) -> Option<Micros> {
    if matches!(e, SendError::Refused(_)) {
        return None;
    }
    let pause = PAUSE.0.saturating_mul(1 << message.attempts.min(20)).min(PAUSE.1);
    // Half to one and a half: receivers that failed together do not come back together.
    let pause = pause / 2 + rand::random_range(0..=pause);
    let end = message.created + receiver.deadline.as_micros() as Micros;
    (now < end).then(|| (now + pause).min(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifiers::{Options, webhook::WebhookOptions};

    #[test]
    fn back_off_grows_and_ends_at_the_deadline() {
        let options = WebhookOptions { url: String::new(), secret: None, timeout: Duration::from_secs(1) };
        let receiver = Receiver {
            name: "r".into(),
            drill: false,
            severity: model::Severity::Blue,
            sites: Vec::new(),
            deadline: Duration::from_secs(3600),
            options: Options::Webhook(options),
        };
        let mut message = OutboxRow {
            key: "k".into(),
            receiver: "r".into(),
            body: Vec::new(),
            attempts: 0,
            created: 0,
            next_at: 0,
        };
        let retry = SendError::Retry("down".into());
        let second = model::time::SECOND;
        let first = next_try(&receiver, &message, &retry, 0).unwrap();
        assert!((second / 2..=3 * second / 2).contains(&first), "{first}");
        message.attempts = 40;
        let late = next_try(&receiver, &message, &retry, 0).unwrap();
        assert!((150 * second..=450 * second).contains(&late), "{late}");
        assert_eq!(next_try(&receiver, &message, &retry, 3600 * second), None);
        assert_eq!(next_try(&receiver, &message, &SendError::Refused("no".into()), 0), None);
    }
}
