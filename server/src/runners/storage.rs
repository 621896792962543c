//! Storage's reader: carries records of both streams into the table's tail, commits on time, and maintains the table beside that.
//!
//! The table itself knows where it stands ([`Storage::next_offset`]); the position saved in the log only frees space, and
//! is saved after the commit that covers it.
//!
//! A table that can never take what this process has (another process writes it, or changed its shape) ends only the storing:
//! rules, alarms and live values go on, the alarm `firedamp/table-stopped` says what to do, and the position stays where it is,
//! so that the log keeps everything until a process can store it.

use super::{Reader, Shared};
use crate::live::Live;
use ::storage::{Flushed, Storage, StorageError};
use model::time::SECOND;
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
) {
    let next = match shared.not_storing.is_cancelled() {
        // Where the table is another's, its offsets say nothing of this log: live values begin with what comes.
        true => shared.log.bounds(Stream::Readings, partition).await.map_or(0, |b| b.next),
        false => storage.next_offset(partition),
    };
    let mut reader = Reader::new(shared.clone(), "storage", Stream::Readings, partition, next);
    while let Some(entries) = reader.entries(PATIENCE, &stop).await {
        let now = shared.clock.now();
        // Where there is nothing to read it is at the end of the log.
        let behind = entries.last().map_or(0, |e| (now - e.appended).max(0));
        shared.storing_lag.set(partition, behind, now);
        shared
            .metrics
            .storing_until
            .with_label_values(&[&partition.to_string()])
            .set((now - behind) / SECOND);
        for entry in entries {
            // What cannot be decoded is set aside; its offset is noted like a tick's.
            let record = reader.decode(&entry).unwrap_or(Record::Tick);
            live.see(&record);
            if !shared.not_storing.is_cancelled()
                && !push(&shared, &storage, || storage.push(&entry, record.clone()), &stop).await
                && !shared.not_storing.is_cancelled()
            {
                // A stop while the store is away. The next record would be stored behind the one that was not, which would be lost.
                return;
            }
        }
    }
}

/// Carries one partition of the transitions into the table of events until stopped and drained.
pub async fn events(shared: Shared, storage: Storage, partition: u32, stop: CancellationToken) {
    if shared.not_storing.is_cancelled() {
        return;
    }
    let next = storage.next_event_offset(partition);
    let mut reader = Reader::new(shared.clone(), "storage", Stream::Transitions, partition, next);
    while let Some(entries) = reader.entries(PATIENCE, &stop).await {
        for entry in entries {
            let Some(Record::Transitions(transitions)) = reader.decode(&entry) else { continue };
            if !push(&shared, &storage, || storage.push_events(&entry, transitions.clone()), &stop).await {
                return;
            }
        }
    }
}

/// Pushes, trying again while the store is away. False when nothing more is stored.
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
                if !goes_on(shared, storage, &e).await || stop.is_cancelled() {
                    return false;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(super::RETRY.1);
            }
        }
    }
}

/// Tells what went wrong; false when it cannot go away by itself: then nothing more is stored.
async fn goes_on(shared: &Shared, storage: &Storage, e: &StorageError) -> bool {
    if !e.is_transient() {
        // Many tasks meet the end of the storing; the first one knows why.
        if !shared.not_storing.is_cancelled() {
            shared.not_storing.cancel();
            storage.stop(e.to_string()).await;
            tell_stopped(shared, storage);
        }
        return false;
    }
    tracing::warn!("not stored, trying again: {e}");
    shared.own.raise("table-unavailable", "table", e.to_string());
    true
}

/// Raises the alarm that says why nothing is stored, what goes on and what to do.
pub fn tell_stopped(shared: &Shared, storage: &Storage) {
    let why = storage.stopped().unwrap_or_default();
    tracing::error!("this process stops writing the table: {why}");
    let what = "Rules and alarms go on. What comes in stays in the log until it is full: put right what is said here, then \
                start this process again, which stores all of it";
    shared.own.raise("table-stopped", "table", format!("{why}. {what}"));
}

/// Commits every `every`, and once more at the end.
pub async fn commits(shared: Shared, storage: Storage, every: Duration, stop: CancellationToken) {
    loop {
        let stopped = tokio::select! {
            biased;
            _ = shared.not_storing.cancelled() => return,
            _ = stop.cancelled() => true,
            _ = storage.flush_wanted() => false,
            _ = tokio::time::sleep(every) => false,
        };
        match storage.flush().await {
            Ok(flushed) => {
                // A flush of nothing says nothing of the table.
                if !flushed.next.is_empty() || !flushed.next_event.is_empty() {
                    for what in ["table-unavailable", "table-stopped"] {
                        shared.own.clear(what, "table", "the table takes commits again".to_owned());
                    }
                }
                save_positions(&shared, flushed).await;
            }
            Err(e) => {
                if !goes_on(&shared, &storage, &e).await {
                    return;
                }
            }
        }
        if stopped {
            return;
        }
    }
}

/// Statistics, compaction, clean-up and retention: often enough that small files stay few, seldom enough to cost nothing.
const MAINTAIN_EVERY: Duration = Duration::from_secs(600);

/// Maintains the table, a round at a time. It has a task of its own, since a round takes as long as what has piled up, and commits
/// must not wait for it. A stop ends it where it is: what a round had committed stays, and the next process goes on from there.
pub async fn maintenance(shared: Shared, storage: Storage, stop: CancellationToken) {
    let rounds = async {
        loop {
            tokio::time::sleep(MAINTAIN_EVERY).await;
            if let Err(e) = storage.maintain().await {
                tracing::warn!("the table was not maintained: {e}");
            }
        }
    };
    tokio::select! {
        biased; // a simulation's seed must replay
        _ = stop.cancelled() => {}
        _ = shared.not_storing.cancelled() => {}
        () = rounds => {}
    }
}

async fn save_positions(shared: &Shared, flushed: Flushed) {
    let readings = flushed.next.into_iter().map(|(p, next)| (Stream::Readings, p, next));
    let events = flushed.next_event.into_iter().map(|(p, next)| (Stream::Transitions, p, next));
    for (stream, partition, next) in readings.chain(events) {
        if let Err(e) = shared.log.save_position("storage", stream, partition, next).await {
            tracing::warn!(partition, "position of storage not saved: {e}");
        }
    }
}
