//! Answers sources later where what they handed over is judged too late, or stored too slowly. What comes faster than the machine can
//! judge makes alarms late, and what comes faster than the table takes it makes the page's last values old; what is not answered is not
//! sent by those who wait for an answer: brokers and collectors keep it. Who polls rests as long before it asks again. It slows down and never stops anybody:
//! what is handed over is taken, however far rules and table are behind.
//!
//! Promises: only who sends into a partition that is behind waits for its rules; rules that were not heard of for [`SILENT`] hold nobody,
//! since nothing says when they go on, and nor does a table whose last commit failed or whose reader is more than [`NEAR`] behind, as it
//! is when its store comes back: alarms go before it, and the log keeps what it has to read.

use crate::runners::Lag;
use crate::watchdog::SILENT;
use model::time::SECOND;
use model::{Clock, Micros};
use std::sync::Arc;
use std::time::Duration;
use storage::Storage;

/// How far the rules may be behind before anybody is slowed down.
const FREE: Micros = SECOND / 2;
/// The longest that an answer is held back, reached where the rules are behind by [`FREE`] and four times as long.
const MOST: Micros = SECOND / 4;
/// How much of the memory for what is not yet stored may be taken before anybody is slowed down, of 1.
const TAIL_FREE: f64 = 0.75;

/// How far the table's reader may be behind and still be waited for: what is older is caught up with, and a commit that takes as long hangs.
const NEAR: Micros = 120 * SECOND;

/// How far behind those are that read what this edge writes.
pub struct Brake {
    rules: Option<Lag>,
    table: Option<(Storage, Lag)>,
    clock: Arc<dyn Clock>,
}

impl Brake {
    /// By rules and table of this process where they read the log the edge writes, how far they are behind, and the clock of that.
    pub fn by(rules: Option<Lag>, table: Option<(Storage, Lag)>, clock: Arc<dyn Clock>) -> Self {
        Self { rules, table, clock }
    }

    /// How long the answer to what went into these partitions is held back.
    pub fn hold(&self, partitions: &[u32]) -> Duration {
        let now = self.clock.now();
        let by_rules = self.rules.as_ref().map(|lag| hold_by_rules(lag, partitions, now));
        let by_table = self.table.as_ref().map(|(storage, lag)| hold_by_table(storage, lag, partitions, now));
        by_rules.max(by_table).unwrap_or_default()
    }
}

fn hold_by_rules(lag: &Lag, partitions: &[u32], now: Micros) -> Duration {
    let is_heard = |p: u32| (now - lag.seen(p)).abs() <= SILENT;
    // What nobody has judged yet since the start is not known to be behind.
    let known =
        partitions.iter().filter(|p| is_heard(**p)).map(|p| lag.of(*p)).filter(|lag| *lag < Micros::MAX);
    let over = (known.max().unwrap_or_default() - FREE).max(0);
    // A quarter of what it is behind by: enough to catch up with, and the answer is not late by more than that.
    Duration::from_micros((over / 4).min(MOST).unsigned_abs())
}

fn hold_by_table(storage: &Storage, lag: &Lag, partitions: &[u32], now: Micros) -> Duration {
    let is_near = |p: &u32| (now - lag.seen(*p)).max(0).saturating_add(lag.of(*p)) <= NEAR;
    let full = storage.fullness().filter(|_| partitions.iter().any(is_near));
    full.map_or(Duration::ZERO, hold_where_full)
}

/// The fuller the longer, and the longest where there is no room.
fn hold_where_full(full: f64) -> Duration {
    let share = ((full - TAIL_FREE) / (1.0 - TAIL_FREE)).clamp(0.0, 1.0);
    Duration::from_micros(MOST.unsigned_abs()).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Catalog, ManualClock, PointId, ReadingsBuilder, Record, Run, Stream};
    use object_store::{ObjectStore, memory::InMemory};
    use std::sync::RwLock;
    use stream::{Append, Log, MemoryLog};

    /// Held by two partitions, of which the second is behind by so much and was heard of so long ago.
    fn hold(behind: Micros, ago: Micros, partitions: &[u32]) -> Duration {
        const NOW: Micros = 1_000 * SECOND;
        let lag = Lag::new(2);
        lag.set(1, behind, NOW - ago);
        Brake::by(Some(lag), None, Arc::new(ManualClock::at(NOW))).hold(partitions)
    }

    #[test]
    fn the_further_behind_the_longer_and_never_longer_than_the_most() {
        let most = Duration::from_millis(250);
        for (behind, held) in [
            (0, Duration::ZERO),
            (FREE, Duration::ZERO),
            (FREE + 4_000, Duration::from_millis(1)),
            (FREE + 400_000, Duration::from_millis(100)),
            (FREE + 4 * MOST, most),
            (3600 * SECOND, most),
            (Micros::MAX, Duration::ZERO),
        ] {
            assert_eq!(hold(behind, 0, &[0, 1]), held, "{behind}");
        }
    }

    #[test]
    fn only_who_sends_there_waits_and_nobody_for_rules_that_are_not_heard_of() {
        let most = Duration::from_millis(250);
        assert_eq!((hold(9 * SECOND, 0, &[0]), hold(9 * SECOND, 0, &[])), (Duration::ZERO, Duration::ZERO));
        assert_eq!(hold(9 * SECOND, 10 * SECOND, &[1]), most);
        assert_eq!(hold(9 * SECOND, 10 * SECOND + 1, &[1]), Duration::ZERO);
        assert_eq!(hold(9 * SECOND, -11 * SECOND, &[1]), Duration::ZERO, "the clock was set back");
        assert_eq!(Brake::by(None, None, Arc::new(ManualClock::at(0))).hold(&[0, 1]), Duration::ZERO);
    }

    #[test]
    fn the_fuller_the_table_s_memory_the_longer() {
        let held = [0.0, 0.75, 0.85, 1.0, 3.0].map(|full| hold_where_full(full).as_millis());
        assert_eq!(held, [0, 0, 100, 250, 250]);
    }

    #[tokio::test]
    async fn a_table_is_waited_for_while_it_is_full_takes_commits_and_is_not_far_behind() {
        let clock = Arc::new(ManualClock::at(1_000 * SECOND));
        let lake: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let options = storage::Options { query_threads: 0, tail_bytes_max: 1_000, ..Default::default() };
        let catalog = Arc::new(RwLock::new(Arc::new(Catalog::default())));
        let registry = prometheus::Registry::new();
        let table = Storage::open(options, Some(lake), catalog, clock.clone(), &registry).await.unwrap();
        let (most, lag) = (Duration::from_millis(250), Lag::new(2));
        let brake = Brake::by(None, Some((table.clone(), lag.clone())), clock.clone());
        lag.set(1, 0, clock.now());
        assert_eq!(brake.hold(&[0, 1]), Duration::ZERO, "it is empty");
        let log = MemoryLog::new(2, 1, clock.clone());
        let mut rows = ReadingsBuilder::default();
        for n in 0..100 {
            rows.push(PointId::of("M1", "T1"), n * SECOND, 1.0, 0);
        }
        let runs = vec![Run { source: "east".into(), received: 0, rows: 100, flags: 0 }];
        let record = Record::Readings { runs, readings: rows.finish() };
        log.append(Stream::Readings, 1, vec![Append { bytes: record.encode(), origin: None }]).await.unwrap();
        table.push(&log.read(Stream::Readings, 1, 0, 1 << 20).await.unwrap()[0], record).await.unwrap();
        assert_eq!(
            (brake.hold(&[0]), brake.hold(&[0, 1])),
            (Duration::ZERO, most),
            "nothing of 0 was read yet"
        );
        clock.advance(NEAR);
        assert_eq!(brake.hold(&[1]), most);
        clock.advance(1);
        assert_eq!(brake.hold(&[1]), Duration::ZERO, "its commit hangs");
        lag.set(1, NEAR + 1, clock.now());
        assert_eq!(brake.hold(&[1]), Duration::ZERO, "it catches up");
        lag.set(1, NEAR, clock.now());
        assert_eq!(brake.hold(&[1]), most);
        table.stop("for the test".into()).await;
        assert_eq!(brake.hold(&[1]), Duration::ZERO, "it takes nothing more");
    }
}
