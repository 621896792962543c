//! What verdicts do to one level of one rule at one point: the same for every kind.
//!
//! - **On** when the condition has held for the on-delay: `(event time of the last reading over - event time of the first) + (clock now -
//!   append time of the last over)`. So neither a slow nor a fast device clock shortens it. It may run out at a tick while that last
//!   reading is fresh, at most three of its periods old: one that says nothing (bad, missing) keeps nothing fresh.
//! - **Off** only at a reading that may clear, at least the off-delay after the first such reading below. No tick clears.
//! - What neither raises nor clears (bad, missing, calibrating below) leaves both delays as they are.
//! - A reading that is not newer than the last of its point may raise a level without delay, and never clears; it counts for no delay,
//!   since what came after it is already known.
//! - A late reading never touches the live state. It, and what a source sends again, is judged by what is known of the past
//!   (module `past`).
//! - Decided while calibrating is marked; still over at the first reading that is not, it is real from then on, a step of its own.
//! - What is real and gets the bit stays on and real; a step marked calibrating says so, and one that is not marked when the bit goes.

use crate::level::LevelDef;
use crate::reading::{Reading, Verdict};
use model::time::Micros;
use model::{Origin, To, Transition};

/// Readings older than this many periods are not fresh.
const FRESH_PERIODS: i64 = 3;

/// State of one level of one rule at one point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Latch {
    flags: u8,
    /// Transitions of this episode so far.
    step: u32,
    row: u32,
    origin: Origin,
    /// Event time of the first reading over.
    first: Micros,
    /// While on: event time of the first reading below that may clear, `MIN` where there is none. While an on-delay runs: event time
    /// of the last reading over.
    below: Micros,
    /// While an on-delay runs: the clock when the last reading over came.
    seen: Micros,
    /// The value farthest over since then.
    peak: f64,
}

const ON: u8 = 1;
const PENDING: u8 = 2;
const CALIBRATING: u8 = 4;
const LATE: u8 = 8;
/// On and real, and its newest reading has the calibration bit.
const SHOWN_CALIBRATING: u8 = 16;
/// An on-delay runs that a tick began: what is missing still does not come.
const WAITING: u8 = 32;

/// What brought a step about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The condition or its release, or the rule is gone.
    Decided,
    /// What is on and real got the calibration bit.
    CalibrationBegan,
    /// The bit is gone.
    CalibrationEnded,
    /// It is on, and one more meets the condition.
    Further,
    /// It is on, and how many meet the condition is another number.
    Update,
}

/// A step of a latch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change {
    /// What the level became.
    pub to: To,
    /// Why there is a step.
    pub cause: Cause,
    /// Origin and row of the first reading over.
    pub first_over: (Origin, u32),
    /// Number of the step within the episode.
    pub step: u32,
    /// Decided while calibrating.
    pub calibrating: bool,
    /// Found in late readings.
    pub late: bool,
    /// The value farthest over.
    pub peak: f64,
    /// Event time of the first reading over.
    pub since: Micros,
}

impl Latch {
    /// Nothing known.
    pub const IDLE: Self = Self {
        flags: 0,
        step: 0,
        row: 0,
        origin: Origin { collector: 0, sequence: 0 },
        first: 0,
        below: Micros::MIN,
        seen: Micros::MIN,
        peak: f64::NAN,
    };

    /// On since a step that was told before the state was lost.
    pub fn adopted(told: &Transition, is_real: bool, origin: Origin) -> Self {
        let mark = match (is_real, told.marks.calibrating) {
            (false, _) => CALIBRATING,
            (true, true) => SHOWN_CALIBRATING,
            (true, false) => 0,
        };
        let peak = told.peak.unwrap_or(f64::NAN);
        Self { flags: ON | mark, step: 1, origin, first: told.time, peak, ..Self::IDLE }
    }

    /// Whether nothing is going on: the common case, decided by one byte.
    pub fn is_idle(&self) -> bool {
        self.flags == 0
    }

    /// Whether the level is on.
    pub fn is_on(&self) -> bool {
        self.flags & ON != 0
    }

    /// Whether the level is on, and more than an episode of a calibration.
    pub fn is_real(&self) -> bool {
        self.is_on() && self.flags & CALIBRATING == 0
    }

    /// Whether late readings are over.
    pub fn is_late(&self) -> bool {
        self.flags & LATE != 0
    }

    /// Notes whether late readings are over.
    pub fn set_late(&mut self, late: bool) {
        self.flags = (self.flags & !LATE) | if late { LATE } else { 0 };
    }

    /// Whether the level is on and was over at `time` already.
    pub fn began_by(&self, time: Micros) -> bool {
        self.is_on() && time >= self.first
    }

    /// Whether an on-delay runs.
    pub fn is_pending(&self) -> bool {
        self.flags & (PENDING | WAITING) != 0
    }

    fn begin(&mut self, r: &Reading, value: f64) {
        self.flags = (self.flags & LATE) | PENDING;
        (self.step, self.row, self.origin) = (0, r.row, r.origin);
        (self.first, self.peak) = (r.time, value);
        self.stay_over(r);
    }

    /// An on-delay runs on at this reading.
    fn stay_over(&mut self, r: &Reading) {
        (self.below, self.seen) = (r.time, r.heard);
        self.flags = (self.flags & !CALIBRATING) | if r.calibrating { CALIBRATING } else { 0 };
    }

    fn change(&mut self, to: To) -> Change {
        let step = self.step;
        self.step += 1;
        Change {
            to,
            cause: Cause::Decided,
            first_over: (self.origin, self.row),
            step,
            calibrating: self.flags & CALIBRATING != 0,
            late: false,
            peak: self.peak,
            since: self.first,
        }
    }

    /// Times of another clock mean nothing any more: delays begin anew, what is on stays on.
    pub fn begin_anew(&mut self) {
        self.below = Micros::MIN;
        self.end_pending();
    }

    /// An on-delay that runs is over; what is on stays on.
    fn end_pending(&mut self) {
        if self.is_pending() {
            self.flags &= !(PENDING | WAITING | CALIBRATING);
        }
    }

    fn turn_on(&mut self) -> Change {
        self.flags = (self.flags & (LATE | CALIBRATING)) | ON;
        self.below = Micros::MIN;
        self.change(To::On)
    }

    fn turn_off(&mut self, to: To) -> Change {
        let change = self.change(to);
        let late = self.flags & LATE;
        *self = Self { flags: late, ..Self::IDLE };
        change
    }

    /// Takes a verdict at a reading that is not late.
    pub fn reading(
        &mut self,
        level: &LevelDef,
        verdict: Verdict,
        r: &Reading,
        value: f64,
        up: bool,
    ) -> Option<Change> {
        let change = match verdict {
            Verdict::Hold => None,
            Verdict::Over => self.over(level, r, value, up),
            Verdict::Band if r.newer => {
                self.begin_anew();
                None
            }
            Verdict::Below if r.newer => self.below(level, r),
            Verdict::Band | Verdict::Below => None,
        };
        change.or_else(|| self.show_calibrating(r))
    }

    /// What is on and real follows the bit of its newest reading.
    fn show_calibrating(&mut self, r: &Reading) -> Option<Change> {
        let is = self.flags & SHOWN_CALIBRATING != 0;
        if !r.newer || !self.is_on() || self.flags & CALIBRATING != 0 || is == r.calibrating {
            return None;
        }
        self.flags ^= SHOWN_CALIBRATING;
        let cause = if r.calibrating { Cause::CalibrationBegan } else { Cause::CalibrationEnded };
        Some(Change { calibrating: r.calibrating, cause, ..self.change(To::On) })
    }

    fn over(&mut self, level: &LevelDef, r: &Reading, value: f64, up: bool) -> Option<Change> {
        if self.is_on() {
            self.peak = farther(self.peak, value, up);
            if r.newer {
                self.below = Micros::MIN;
            }
            // Born in calibration, still over at the first normal reading: real from then on.
            if self.flags & CALIBRATING != 0 && !r.calibrating && r.newer {
                self.flags &= !CALIBRATING;
                return Some(self.change(To::On));
            }
            return None;
        }
        if !r.newer {
            if level.on_delay > 0 {
                return None;
            }
            self.begin(r, value);
            return Some(self.turn_on());
        }
        match self.flags & (PENDING | WAITING) {
            0 => self.begin(r, value),
            PENDING => {
                self.peak = farther(self.peak, value, up);
                self.stay_over(r);
            }
            // Begun by a tick, it runs on by the clock; a kind that ticks across points has no other time.
            _ => {}
        }
        (r.time - self.first >= level.on_delay).then(|| self.turn_on())
    }

    fn below(&mut self, level: &LevelDef, r: &Reading) -> Option<Change> {
        self.end_pending();
        if !self.is_on() {
            return None;
        }
        if self.below == Micros::MIN {
            self.below = r.time;
        }
        (r.time - self.below >= level.off_delay).then(|| self.turn_off(To::Off))
    }

    /// Takes the time of a tick: an on-delay may run out.
    pub fn tick(&mut self, level: &LevelDef, now: Micros, period: Micros) -> Option<Change> {
        // Below zero where the clock has not confirmed a jump yet: then the reading itself decided what there is to decide.
        let age = now.saturating_sub(self.seen);
        if self.flags & PENDING == 0 || age > period.saturating_mul(FRESH_PERIODS) {
            return None;
        }
        ((self.below - self.first) + age >= level.on_delay).then(|| self.turn_on())
    }

    /// Takes a verdict that a tick brought, of a kind that waits for what does not come: over, or not (any more). No reading begins
    /// such an episode: its id is made from the clock that began it, so that one withdrawn and begun again has another, and from `row`: what
    /// else may begin at that clock, in a drill, has another.
    pub fn tick_verdict(
        &mut self,
        level: &LevelDef,
        verdict: Verdict,
        now: Micros,
        row: u32,
    ) -> Option<Change> {
        if verdict != Verdict::Over {
            if self.flags & WAITING != 0 {
                self.end_pending();
            }
            return None;
        }
        if self.is_on() {
            // A stay below that is interrupted begins anew.
            self.below = Micros::MIN;
            return None;
        }
        if self.flags & PENDING != 0 {
            return None; // begun by a reading: it runs out by its own rule
        }
        if self.flags & WAITING == 0 {
            self.flags |= WAITING;
            let origin = Origin { collector: 0, sequence: now as u64 };
            (self.step, self.row, self.origin, self.first) = (0, row, origin, now);
            (self.below, self.seen, self.peak) = (now, now, f64::NAN);
        }
        (now - self.first >= level.on_delay).then(|| self.turn_on())
    }

    /// A step of what is on and stays on, at this number.
    pub fn step(&mut self, cause: Cause, value: f64) -> Change {
        self.reach(value);
        Change { cause, ..self.change(To::On) }
    }

    /// Takes a number that no reading brought; gives the farthest so far.
    pub fn reach(&mut self, value: f64) -> f64 {
        self.peak = farther(self.peak, value, true);
        self.peak
    }

    /// Ends it because its rule or point is gone.
    pub fn withdraw(&mut self) -> Option<Change> {
        self.is_on().then(|| self.turn_off(To::Withdrawn))
    }

    /// Bytes of a snapshot.
    pub fn save(&self, out: &mut Vec<u8>) {
        out.push(self.flags);
        out.extend_from_slice(&self.step.to_le_bytes());
        out.extend_from_slice(&self.row.to_le_bytes());
        out.extend_from_slice(&self.origin.collector.to_le_bytes());
        out.extend_from_slice(&self.origin.sequence.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.below.to_le_bytes());
        out.extend_from_slice(&self.seen.to_le_bytes());
        out.extend_from_slice(&self.peak.to_bits().to_le_bytes());
    }

    /// Length of [`Latch::save`].
    pub const SAVED_LEN: usize = 1 + 4 + 4 + 8 * 6;

    /// What [`Latch::save`] wrote.
    pub fn load(b: &[u8; Self::SAVED_LEN]) -> Self {
        let u32_at = |at: usize| u32::from_le_bytes(b[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(b[at..at + 8].try_into().expect("eight bytes"));
        Self {
            flags: b[0],
            step: u32_at(1),
            row: u32_at(5),
            origin: Origin { collector: u64_at(9), sequence: u64_at(17) },
            first: u64_at(25) as Micros,
            below: u64_at(33) as Micros,
            seen: u64_at(41) as Micros,
            peak: f64::from_bits(u64_at(49)),
        }
    }
}

/// Which of two values is farther over; `up` says which way. NaN where there is none yet.
pub fn farther(peak: f64, value: f64, up: bool) -> f64 {
    if peak.is_nan() || (up && value > peak) || (!up && value < peak) { value } else { peak }
}
