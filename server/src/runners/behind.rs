//! A log that ends before one of its readers stands: its end was lost after it had been read (a torn tail that had been
//! durable, a backup put back, another folder). Its offsets would be given a second time, and every reader skips what it
//! takes for seen: readings that are never stored, gas that is never judged.
//!
//! So no offset is given twice: before anything is appended at a start, the log is filled with ticks up to where its furthest
//! reader stands, and the own alarm `firedamp/log-behind` says what was lost. A log that is further behind than
//! [`FILL_MAX`] is not the one that was read, and nothing starts.

use super::Shared;
use ::alerts::AlarmStore;
use ::storage::Storage;
use model::{Record, Stream};
use std::sync::Arc;
use stream::{Append, Log, LogError};

/// Offsets filled at most: more than the last file of a log can hold, which is all that a torn tail can take away.
const FILL_MAX: u64 = 1 << 22;
/// Ticks of one append.
const FILL_AT_ONCE: u64 = 1 << 14;

/// Sees to it that the log reaches where table and alarm store stand, whichever of them this process feeds. The rules
/// do so when they are restored.
///
/// # Errors
/// As [`reach`], or when the alarm store cannot be read.
pub async fn reach_all(
    shared: &Shared,
    storage: Option<&Storage>,
    alarms: Option<&dyn AlarmStore>,
) -> Result<(), String> {
    let ends = ends(&shared.log).await.map_err(|e| e.to_string())?;
    for (p, [readings, mut transitions]) in (0..).zip(ends) {
        if let Some(table) = storage {
            fill(shared, Stream::Readings, p, "the table", readings, table.next_offset(p)).await?;
            let next = table.next_event_offset(p);
            fill(shared, Stream::Transitions, p, "the table", transitions, next).await?;
            transitions = transitions.max(next);
        }
        if let Some(alarms) = alarms {
            let next = alarms.position(p).await;
            let next = next.map_err(|e| format!("the alarm store cannot be read: {e}"))?;
            fill(shared, Stream::Transitions, p, "the alarm store", transitions, next).await?;
        }
    }
    Ok(())
}

/// Where both streams of each partition end, readings first. All are asked side by side: Kafka lets a question wait behind what it is
/// fetching, up to a second each.
///
/// # Errors
/// When the log does not answer.
pub async fn ends(log: &Arc<dyn Log>) -> Result<Vec<[u64; 2]>, LogError> {
    let one = |p| async move {
        let (readings, transitions) =
            tokio::try_join!(log.bounds(Stream::Readings, p), log.bounds(Stream::Transitions, p))?;
        Ok([readings.next, transitions.next])
    };
    futures::future::try_join_all((0..log.partitions()).map(one)).await
}

/// Sees to it that the log reaches `next`, where `reader` stands.
///
/// # Errors
/// A sentence, when the log cannot be read or written, or is another one.
pub async fn reach(
    shared: &Shared,
    stream: Stream,
    partition: u32,
    reader: &str,
    next: u64,
) -> Result<(), String> {
    let end = shared.log.bounds(stream, partition).await.map_err(|e| e.to_string())?.next;
    fill(shared, stream, partition, reader, end, next).await
}

/// Fills a log that ends at `end` up to `next`.
async fn fill(
    shared: &Shared,
    stream: Stream,
    partition: u32,
    reader: &str,
    end: u64,
    next: u64,
) -> Result<(), String> {
    if end >= next {
        return Ok(());
    }
    let what = match stream {
        Stream::Readings => "readings",
        Stream::Transitions => "transitions",
    };
    let found = format!(
        "the log of {what} ends at offset {end} of partition {partition}, and {reader} had read up to {next}"
    );
    if next - end > FILL_MAX {
        return Err(format!(
            "{found}: this is not the log that was read. Put that log back; or, to begin with a new one, move the table, \
             the alarm database and the snapshots that belong to the old one away too"
        ));
    }
    let tick = Append { bytes: Record::Tick.encode(), origin: Some(crate::versions::NO_ORIGIN) };
    let mut at = end;
    while at < next {
        let ticks = vec![tick.clone(); (next - at).min(FILL_AT_ONCE) as usize];
        let count = ticks.len() as u64;
        at = shared
            .log
            .append(stream, partition, ticks)
            .await
            .map_err(|e| format!("{found}; filling it: {e}"))?
            + count;
    }
    shared.metrics.lost_end.with_label_values(&[what]).inc_by(next - end);
    let lost = format!(
        "{found}: its end is lost (a damaged disk, or a backup put back). What was stored and decided stays and the log goes \
         on at {next}; what was in the lost records and had not been read by all is missing there. Check the disk; \
         `firedamp balance` and a backtest over that time show what is missing"
    );
    tracing::error!("{lost}");
    shared.own.raise("log-behind", &format!("{what}/{partition}"), lost);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::{RunnerMetrics, aside::Aside, own::OwnAlarms};
    use model::{Clock, ManualClock};
    use stream::MemoryLog;

    #[tokio::test]
    async fn a_lost_end_is_filled_and_told_once_and_another_log_is_refused() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(2, 1, clock.clone()));
        let registry = prometheus::Registry::new();
        let (own, mut told) = OwnAlarms::queue();
        let metrics = RunnerMetrics::register(&registry).unwrap();
        let shared = Shared::new(log.clone(), clock, metrics, Aside(None), own);
        let next = |stream, p| {
            let log = log.clone();
            async move { log.bounds(stream, p).await.unwrap().next }
        };
        reach(&shared, Stream::Readings, 1, "the table", 0).await.unwrap();
        assert!(told.try_recv().is_err());
        let far = FILL_AT_ONCE + 7;
        reach(&shared, Stream::Transitions, 1, "the alarm store", far).await.unwrap();
        reach(&shared, Stream::Transitions, 1, "the table", far - 1).await.unwrap();
        assert_eq!((next(Stream::Transitions, 1).await, next(Stream::Readings, 1).await), (far, 0));
        let alarm = told.try_recv().unwrap();
        assert_eq!(
            (alarm.what.as_str(), alarm.key.as_str(), alarm.on),
            ("log-behind", "transitions/1", true)
        );
        assert!(
            alarm.reason.contains("ends at offset 0 of partition 1, and the alarm store"),
            "{}",
            alarm.reason
        );
        assert!(told.try_recv().is_err(), "told once");
        let refused = reach(&shared, Stream::Readings, 0, "the table", FILL_MAX + 1).await.unwrap_err();
        assert!(refused.contains("not the log that was read"), "{refused}");
        assert_eq!(next(Stream::Readings, 0).await, 0);
    }
}
