//! Answers sources later where what was accepted is judged too late, or stored too slowly. What comes faster than the machine can judge
//! makes alarms late, and what is not answered is not sent by those who wait for an answer: brokers and collectors keep it, polls come
//! less often. It slows down and never stops anybody: what is handed over is taken, however far the rules are behind.

use crate::runners::Lag;
use model::Micros;
use model::time::SECOND;
use std::time::Duration;
use storage::Storage;

/// How far the rules may be behind before anybody is slowed down.
const FREE: Micros = SECOND / 2;
/// The longest that an answer is held back, reached where the rules are behind by [`FREE`] and four times as long.
const MOST: Micros = SECOND / 4;
/// How much of the memory for what is not yet stored is taken when that slows down too, in per cent.
const TAIL_FREE: i64 = 75;

/// What may be behind.
pub struct Brake {
    /// Of the rules, where they run in this process.
    pub lag: Option<Lag>,
    /// Where this process stores.
    pub storage: Option<Storage>,
    /// Number of partitions.
    pub partitions: u32,
}

impl Brake {
    /// How long the next answer is held back.
    pub fn hold(&self) -> Duration {
        let lags = self.lag.iter().flat_map(|lag| (0..self.partitions).map(|p| lag.of(p)));
        // Where nothing was judged yet nothing is known.
        let behind = lags.filter(|lag| *lag != Micros::MAX).max().unwrap_or_default();
        let full = self.storage.as_ref().map_or(0, |s| (s.tail_fullness() * 100.0) as i64);
        let held = hold(behind).max(hold_by_tail(full));
        Duration::from_micros(held as u64)
    }
}

fn hold(behind: Micros) -> Micros {
    ((behind - FREE) / 4).clamp(0, MOST)
}

fn hold_by_tail(full: i64) -> Micros {
    ((full - TAIL_FREE) * MOST / (100 - TAIL_FREE)).clamp(0, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_further_behind_the_longer_and_never_longer_than_the_most() {
        assert_eq!((hold(0), hold(FREE), hold(FREE + 4_000)), (0, 0, 1_000));
        assert_eq!((hold(FREE + 4 * MOST), hold(3600 * SECOND)), (MOST, MOST));
        assert_eq!(
            (hold_by_tail(75), hold_by_tail(85), hold_by_tail(100), hold_by_tail(300)),
            (0, 100_000, MOST, MOST)
        );
        let lag = Lag::new(2);
        let brake = Brake { lag: Some(lag.clone()), storage: None, partitions: 2 };
        assert_eq!(brake.hold(), Duration::ZERO, "nothing was judged yet");
        lag.set(1, FREE + 400_000, 1);
        assert_eq!(brake.hold(), Duration::from_millis(100));
    }
}
