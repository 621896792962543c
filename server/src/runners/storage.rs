//! Storage's reader: carries records of both streams into the table's tail, and commits on time.
//!
//! The table itself knows where it stands ([`Storage::next_offset`]); the position saved in the log only frees space, and
//! is saved after the commit that covers it.

use super::{Reader, Shared};
use crate::live::Live;
use ::storage::{Storage, StorageError};
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
            let Some(record) = reader.decode(&entry) else {
                continue;
            };
            live.see(&entry, &record);
            if matches!(record, Record::Tick | Record::Activation(_) | Record::Transitions(_)) {
                continue;
            }
            if !push(&shared, &storage, || storage.push(&entry, record.clone()), &stop).await {
                broken.cancel();
                return;
            }
        }
    }
}

/// Carries one partition of the transitions into the table of events until stopped and drained.
pub async fn events(shared: Shared, storage: Storage, partition: u32, stop: CancellationToken, broken: CancellationToken) {
    let next = storage.next_event_offset(partition);
    let mut reader = Reader::new(shared.clone(), "storage", Stream::Transitions, partition, next);
    while let Some(entries) = reader.entries(PATIENCE, &stop).await {
        for entry in entries {
            let Some(Record::Transitions(transitions)) = reader.decode(&entry) else { continue };
            if !push(&shared, &storage, || storage.push_events(&entry, transitions.clone()), &stop).await {
                broken.cancel();
                return;
            }
        }
    }
}

/// Pushes, trying again while the store is away. False when this writer must stop.
async fn push<F: Future<Output = Result<(), StorageError>>>(
    shared: &Shared,
    storage: &Storage,
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
                let _ = storage;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(super::RETRY.1);
            }
        }
    }
}

/// Tells what went wrong; false when it cannot go away by itself.
fn goes_on(shared: &Shared, e: &StorageError) -> bool {
    if matches!(e, StorageError::OtherWriter(_)) {
        tracing::error!("another process writes this table; this one stops writing: {e}");
        shared.own.raise("table-other-writer", "table", e.to_string());
        return false;
    }
    tracing::warn!("not stored, trying again: {e}");
    shared.own.raise("table-unavailable", "table", e.to_string());
    true
}

/// Commits every `every`, maintains the table after each hundredth of a day, and commits once more at the end.
pub async fn commits(shared: Shared, storage: Storage, every: Duration, stop: CancellationToken, broken: CancellationToken) {
    let mut last_maintained = shared.clock.now();
    loop {
        let stopped = tokio::select! {
            _ = tokio::time::sleep(every) => false,
            _ = stop.cancelled() => true,
            _ = broken.cancelled() => return,
        };
        match storage.flush().await {
            Ok(_) => {
                shared.own.clear("table-unavailable", "table", "the table takes commits again".to_owned());
                save_positions(&shared, &storage).await;
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
            storage.maintain().await;
        }
    }
}

/// Compaction, clean-up and retention: often enough that small files stay few, seldom enough to cost nothing.
const MAINTAIN_EVERY: model::Micros = 10 * model::time::MINUTE;

async fn save_positions(shared: &Shared, storage: &Storage) {
    for partition in 0..shared.log.partitions() {
        for (stream, next) in [
            (Stream::Readings, storage.committed_offset(partition)),
            (Stream::Transitions, storage.committed_event_offset(partition)),
        ] {
            if let Err(e) = shared.log.save_position("storage", stream, partition, next).await {
                tracing::warn!(partition, "position of storage not saved: {e}");
            }
        }
    }
}
