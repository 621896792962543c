//! Waiting between attempts: doubles from a first delay to a longest one, with jitter so that a thousand links that
//! broke together do not come back together.

use rand::Rng;
use std::time::Duration;

/// Longest pause before a delivery is tried again that the log did not take.
pub const SINK_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Delays between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `first` and doubles up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self { first, longest: longest.max(first), next: first }
    }

    /// For links to devices and brokers: 250 ms up to 30 s.
    pub fn link() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(30))
    }

    /// For a log that does not take readings now: 20 ms up to [`SINK_PAUSE_MAX`], so that it is used again soon after space is
    /// freed.
    pub fn sink() -> Self {
        Self::new(Duration::from_millis(20), SINK_PAUSE_MAX)
    }

    /// The delay before the next attempt: between half of the present step and the whole of it.
    pub fn delay(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        rand::rng().random_range(whole / 2..=whole)
    }

    /// After a success: the next failure starts at the first delay again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_longest_with_jitter_and_starts_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for whole in [100, 200, 350, 350] {
            let delay = backoff.delay();
            let whole = Duration::from_millis(whole);
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} is not within half of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.delay() <= Duration::from_millis(100));
    }
}
