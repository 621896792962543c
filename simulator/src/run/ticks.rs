//! The cycles of a device: one each period, told with its place on the device's own time line. A device that falls behind
//! by more than a cycle (a busy machine, a laptop that slept) leaves out what it missed instead of making it up in a rush.

use model::{Clock, Micros};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A device may be this late before it leaves out cycles, at least.
const LATE_MAX: Duration = Duration::from_secs(1);

/// One cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tick {
    /// Its number from 0.
    pub number: u64,
    /// Its place in the world.
    pub since: Duration,
    /// Its time by the clock.
    pub time: Micros,
    /// Cycles left out before it.
    pub skipped: u64,
}

/// Makes cycles.
#[derive(Debug)]
pub(crate) struct Ticks {
    started: Micros,
    first: Duration,
    period: Duration,
    clock: Arc<dyn Clock>,
    zero: Instant,
    next: u64,
}

impl Ticks {
    /// Cycle 0 is due `first` after `started`, which is now by the clock.
    pub fn new(started: Micros, first: Duration, period: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { started, first, period, clock, zero: Instant::now(), next: 0 }
    }

    /// Waits for the next cycle.
    pub async fn next(&mut self) -> Tick {
        sleep_until(self.zero + self.offset(self.next)).await;
        let skipped = self.behind();
        if skipped > 0 {
            self.next += skipped;
            // The timer did not see the time that the clock did, so it is set by the clock.
            self.zero = Instant::now().checked_sub(self.offset(self.next)).unwrap_or(self.zero);
        }
        let number = self.next;
        self.next += 1;
        let since = self.offset(number);
        Tick { number, since, time: self.started + since.as_micros() as Micros, skipped }
    }

    fn offset(&self, number: u64) -> Duration {
        let nanos = (self.period.as_nanos() * u128::from(number)).min(u128::from(u64::MAX / 2));
        self.first + Duration::from_nanos(nanos as u64)
    }

    /// Whole cycles that the clock is ahead of the next one, once that is more than a device may be late.
    fn behind(&self) -> u64 {
        let due = self.started + self.offset(self.next).as_micros() as Micros;
        let late = (self.clock.now() - due).max(0) as u128;
        let most = LATE_MAX.max(self.period * 2).as_micros();
        if late <= most { 0 } else { (late / self.period.as_micros()) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ManualClock;

    #[tokio::test]
    async fn cycles_keep_their_lattice_and_leave_out_what_a_sleep_missed() {
        let clock = ManualClock::at(1_000_000);
        let mut ticks =
            Ticks::new(1_000_000, Duration::ZERO, Duration::from_millis(10), Arc::new(clock.clone()));
        let began = Instant::now();
        for number in 0..4 {
            let tick = ticks.next().await;
            assert_eq!(
                (tick.number, tick.time, tick.skipped),
                (number, 1_000_000 + number as i64 * 10_000, 0)
            );
            clock.advance(10_000);
        }
        assert!(began.elapsed() >= Duration::from_millis(30));
        clock.advance(60_000_000);
        let tick = ticks.next().await;
        assert_eq!((tick.number, tick.time, tick.skipped), (6004, 61_040_000, 6000));
        clock.advance(10_000);
        let woken = Instant::now();
        assert_eq!(ticks.next().await.number, 6005);
        assert!(woken.elapsed() >= Duration::from_millis(5), "the cycles after a sleep keep their pace");
    }
}
