//! Whether the rules are catching up, told from their transitions alone: for a process that carries alarms while another judges
//! and its lag is not known here. Pure: the time comes in as an argument.
//!
//! A transition is decided at the partition clock. While the newest one is older than [`LAG_MAX`] when it arrives the rules are
//! behind, and notifications are held. Where nothing comes any more for [`QUIET`], what is held stands as it is and is told.

use model::time::SECOND;
use model::{Micros, Transition};

/// Transitions older than this when they arrive are not news.
pub const LAG_MAX: Micros = 5 * SECOND;
/// Nothing is held longer than this after the last transition.
pub const QUIET: Micros = 10 * SECOND;

/// How far the transitions of one partition are behind.
#[derive(Clone, Copy, Debug)]
pub struct CatchUp {
    lag: Micros,
    heard: Micros,
}

impl CatchUp {
    /// At the start nothing is known: held until something fresh comes, or nothing does.
    pub fn new(now: Micros) -> Self {
        Self { lag: Micros::MAX, heard: now }
    }

    /// Takes the next transitions, if any, and says whether to hold.
    pub fn hold(&mut self, transitions: &[Transition], now: Micros) -> bool {
        if let Some(newest) = transitions.iter().map(|t| t.decided).max() {
            self.lag = now.saturating_sub(newest);
            self.heard = now;
        }
        // A wall clock that was set back ends the wait too.
        self.lag > LAG_MAX && (0..QUIET).contains(&(now - self.heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::transition;
    use model::To;

    #[test]
    fn old_transitions_hold_until_they_are_fresh_or_none_come() {
        let decided = |second| [transition(second, "alarm", To::On, 1.0)];
        let mut catch_up = CatchUp::new(100 * SECOND);
        assert!(catch_up.hold(&[], 101 * SECOND), "nothing is known yet");
        assert!(catch_up.hold(&decided(40), 102 * SECOND));
        assert!(catch_up.hold(&decided(90), 103 * SECOND));
        assert!(!catch_up.hold(&decided(99), 104 * SECOND), "five seconds are no lag");
        assert!(!catch_up.hold(&[], 300 * SECOND), "silence is no lag");
        assert!(catch_up.hold(&decided(200), 301 * SECOND), "behind again");
        assert!(catch_up.hold(&[], 310 * SECOND));
        assert!(!catch_up.hold(&[], 311 * SECOND), "nothing comes any more: it stands as it is");
        let mut back = CatchUp::new(100 * SECOND);
        assert!(!back.hold(&[], 50 * SECOND), "a clock set back");
    }
}
