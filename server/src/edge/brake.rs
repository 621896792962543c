//! Answers sources later where what they handed over is judged too late, or stored too slowly. What comes faster than the machine can
//! judge makes alarms late, and what comes faster than the table takes it makes the page's last values old; what is not answered is not
//! sent by those who wait for an answer: brokers and collectors keep it, polls come less often. It slows down and never stops anybody:
//! what is handed over is taken, however far rules and table are behind.
//!
//! Promises: only who sends into a partition that is behind waits for its rules; rules that were not heard of for [`SILENT`] hold nobody,
//! since nothing says when they go on, and nor does a table that takes no commits: alarms go before it, and the log keeps what it has to
//! read.

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

/// How far behind those are that read what this edge writes.
pub struct Brake {
    rules: Option<(Lag, Arc<dyn Clock>)>,
    table: Option<Storage>,
}

impl Brake {
    /// By rules and table of this process that read the log the edge writes, and the clock the rules' lag is by.
    pub fn by(rules: Option<Lag>, clock: Arc<dyn Clock>, table: Option<Storage>) -> Self {
        Self { rules: rules.map(|lag| (lag, clock)), table }
    }

    /// Where they run elsewhere, or read another log: how far they are behind does not depend on this edge alone.
    pub fn none() -> Self {
        Self { rules: None, table: None }
    }

    /// How long the answer to what went into these partitions is held back.
    pub fn hold(&self, partitions: &[u32]) -> Duration {
        let full = self.table.as_ref().and_then(Storage::fullness).unwrap_or_default();
        self.hold_by_rules(partitions).max(hold_by_table(full))
    }

    fn hold_by_rules(&self, partitions: &[u32]) -> Duration {
        let Some((lag, clock)) = &self.rules else { return Duration::ZERO };
        let now = clock.now();
        // A clock that was set back makes old news look new.
        let heard_of = |p: &&u32| now.abs_diff(lag.seen(**p)) <= SILENT.unsigned_abs();
        // Where nothing was judged yet nothing is known.
        let behind = partitions.iter().filter(heard_of).map(|p| lag.of(*p)).filter(|lag| *lag != Micros::MAX);
        let behind = behind.max().unwrap_or_default();
        Duration::from_micros(((behind - FREE) / 4).clamp(0, MOST).unsigned_abs())
    }
}

/// The fuller the longer, and the longest where there is no room.
fn hold_by_table(full: f64) -> Duration {
    let share = ((full - TAIL_FREE) / (1.0 - TAIL_FREE)).clamp(0.0, 1.0);
    Duration::from_micros(MOST.unsigned_abs()).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ManualClock;

    /// Held by two partitions, of which the second is behind by so much and was heard of so long ago.
    fn hold(behind: Micros, ago: Micros, partitions: &[u32]) -> Duration {
        const NOW: Micros = 1_000 * SECOND;
        let lag = Lag::new(2);
        lag.set(1, behind, NOW - ago);
        Brake::by(Some(lag), Arc::new(ManualClock::at(NOW)), None).hold(partitions)
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
        assert_eq!(Brake::none().hold(&[0, 1]), Duration::ZERO);
    }

    #[test]
    fn the_fuller_the_table_s_memory_the_longer() {
        let held = [0.0, 0.75, 0.85, 1.0, 3.0].map(|full| hold_by_table(full).as_millis());
        assert_eq!(held, [0, 0, 100, 250, 250]);
    }
}
