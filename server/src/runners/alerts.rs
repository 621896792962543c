//! The alarms of one partition: carries transitions into the alarm store, which keeps the position in the same transaction.
//!
//! While the rules are more than [`HOLD`] behind the newest record, notifications are held; the store tells what then
//! stands open, and sends what rose and fell meanwhile as one digest.

use super::{Reader, Shared};
use ::alerts::{AlarmStore, CatchUp, StoreError, TransitionBatch};
use model::{Micros, Record, Stream};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Lag of the rules beyond which nothing is told as live.
const HOLD: Micros = 5 * model::time::SECOND;
const PATIENCE: Duration = Duration::from_secs(1);

/// Holds what is told of a partition before anything is told at all: until its transitions are read, nobody is pressed for an alarm that may
/// be over. Gives the offset to read next.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn hold(store: &dyn AlarmStore, partition: u32, now: Micros) -> Result<u64, StoreError> {
    let next = store.position(partition).await?;
    let nothing = TransitionBatch { partition, next, transitions: Vec::new(), now, hold: true };
    store.apply(nothing).await.map(|_| next)
}

/// Carries one partition from an offset on, which [`hold`] gave, until stopped and drained.
///
/// `judged_here`: the rules run in this process and say how far they are behind; else it is told from their transitions.
pub async fn run(
    shared: Shared,
    store: Arc<dyn AlarmStore>,
    (partition, next): (u32, u64),
    judged_here: bool,
    stop: CancellationToken,
) {
    let mut reader = Reader::new(shared.clone(), "alerts", Stream::Transitions, partition, next);
    // As [`hold`] left it: what was held before a restart is told as it stands as soon as the rules have caught up.
    let mut held = true;
    let mut catch_up = CatchUp::new(shared.clock.now());
    while let Some(entries) = reader.entries(PATIENCE, &stop).await {
        let mut transitions = Vec::new();
        for entry in &entries {
            if let Some(Record::Transitions(more)) = reader.decode(entry) {
                transitions.extend(more);
            }
        }
        let hold = match judged_here {
            true => shared.lag.of(partition) > HOLD,
            false => catch_up.hold(&transitions, shared.clock.now()),
        };
        if entries.is_empty() && hold == held {
            continue;
        }
        held = hold;
        let batch =
            TransitionBatch { partition, next: reader.next(), transitions, now: shared.clock.now(), hold };
        if !apply(&shared, &*store, batch, &stop).await {
            return;
        }
        reader.save(reader.next()).await;
    }
}

async fn apply(
    shared: &Shared,
    store: &dyn AlarmStore,
    mut batch: TransitionBatch,
    stop: &CancellationToken,
) -> bool {
    let mut pause = super::RETRY.0;
    loop {
        match store.apply(batch.clone()).await {
            Ok(_) => return true,
            Err(e) if stop.is_cancelled() => {
                tracing::error!(partition = batch.partition, "stopping before alarms are stored: {e}");
                return false;
            }
            Err(e) => {
                tracing::error!(partition = batch.partition, "alarms not stored, trying again: {e}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(super::RETRY.1);
                batch.now = shared.clock.now();
            }
        }
    }
}
