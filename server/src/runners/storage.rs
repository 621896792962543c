//! Storage's reader: carries records of both streams into the table's tail, and commits on time.
//!
//! The table itself knows where it stands ([`Storage::next_offset`]); the position saved in the log only frees space, and
//! is saved after the commit that covers it.

use super::{Reader, Shared};
use crate::live::Live;
use ::storage::{Flushed, Storage, StorageError};
use model::{Record, Stream};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(1);

/// Carries one partition of the readings until stopped and drained.
pub async fn readings(
    shared: Shared,
    storage: Storage,
    live: Arc<Live>,
    partition: u32,
    stop: CancellationToken,
    broken: CancellationToken,
) {
    let next = storage.next_offset(partition);
    let mut reader = Reader::new(shared.clone(), "storage", Stream::Readings, partition, next);
    while let Some(entries) = reader.entries(PATIENCE, &stop).await {
        for entry in entries {
            // What cannot be decoded is set aside; its offset is noted like a tick's.
            let record = reader.decode(&entry).unwrap_or(Record::Tick);
            live.see(&record);
            if !push(&shared, || storage.push(&entry, record.clone()), &stop).await {
                broken.cancel();
                return;
            }
        }
    }
}

/// Carries one partition of the transitions into the table of events until stopped and drained.
pub async fn events(
    shared: Shared,
    storage: Storage,
    partition: u32,
    stop: CancellationToken,
    broken: CancellationToken,
) {
    let next = storage.next_event_offset(partition);
    let mut reader = Reader::new(shared.clone(), "storage", Stream::Transitions, partition, next);
    while let Some(entries) = reader.entries(PATIENCE, &stop).await {
        for entry in entries {
            let Some(Record::Transitions(transitions)) = reader.decode(&entry) else { continue };
            if !push(&shared, || storage.push_events(&entry, transitions.clone()), &stop).await {
                broken.cancel();
                return;
            }
        }
    }
}

/// Pushes, trying again while the store is away. False when this writer must stop.
async fn push<F: Future<Output = Result<(), StorageError>>>(
    shared: &Shared,
    mut once: impl FnMut() -> F,
    stop: &CancellationToken,
) -> bool {
    let mut pause = super::RETRY.0;
    loop {
        match once().await {
            Ok(()) => return true,
            Err(e) => {
                if !goes_on(shared, &e) || stop.is_cancelled() {
                    return false;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(super::RETRY.1);
            }
        }
    }
}

/// Tells what went wrong; false when it cannot go away by itself.
fn goes_on(shared: &Shared, e: &StorageError) -> bool {
    if !e.is_transient() {
        tracing::error!("this process stops writing the table: {e}");
        shared.own.raise("table-stopped", "table", e.to_string());
        return false;
    }
    tracing::warn!("not stored, trying again: {e}");
    shared.own.raise("table-unavailable", "table", e.to_string());
    true
}

/// Commits every `every`, maintains the table every [`MAINTAIN_EVERY`], and commits once more at the end.
pub async fn commits(
    shared: Shared,
    storage: Storage,
    every: Duration,
    stop: CancellationToken,
    broken: CancellationToken,
) {
    let mut last_maintained = shared.clock.now();
    loop {
        let stopped = tokio::select! {
            biased;
            _ = broken.cancelled() => return,
            _ = stop.cancelled() => true,
            _ = storage.flush_wanted() => false,
            _ = tokio::time::sleep(every) => false,
        };
        match storage.flush().await {
            Ok(flushed) => {
                shared.own.clear("table-unavailable", "table", "the table takes commits again".to_owned());
                save_positions(&shared, flushed).await;
            }
            Err(e) => {
                if !goes_on(&shared, &e) {
                    broken.cancel();
                    return;
                }
            }
        }
        if stopped {
            return;
        }
        let now = shared.clock.now();
        if now - last_maintained >= MAINTAIN_EVERY {
            last_maintained = now;
            if let Err(e) = storage.maintain().await {
                tracing::warn!("the table was not maintained: {e}");
            }
        }
    }
}

/// Compaction, clean-up and retention: often enough that small files stay few, seldom enough to cost nothing.
const MAINTAIN_EVERY: model::Micros = 10 * model::time::MINUTE;

async fn save_positions(shared: &Shared, flushed: Flushed) {
    let readings = flushed.next.into_iter().map(|(p, next)| (Stream::Readings, p, next));
    let events = flushed.next_event.into_iter().map(|(p, next)| (Stream::Transitions, p, next));
    for (stream, partition, next) in readings.chain(events) {
        if let Err(e) = shared.log.save_position("storage", stream, partition, next).await {
            tracing::warn!(partition, "position of storage not saved: {e}");
        }
    }
}
