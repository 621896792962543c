//! Where an entry stands, one reading of it as rules see it, and what a kind says of that.

use model::time::Micros;
use model::{Offset, Origin, Point, status};

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Its offset.
    pub offset: Offset,
    /// When the log took it.
    pub appended: Micros,
    /// Who made it durable first.
    pub origin: Origin,
}

/// What a kind says of one level at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The condition holds.
    Over,
    /// Neither the condition nor its release holds: the state stays, a stay below is interrupted.
    Band,
    /// The release holds, by something that may clear.
    Below,
    /// Nothing can be said: state and delays stay as they are.
    Hold,
}

/// A value by its quality.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Grade {
    /// Good: raises and clears.
    Good(f64),
    /// Over range, as the value it counts as: raises, never clears.
    OverRange(f64),
    /// Calibrating: raises marked, never clears.
    Calibrating(f64),
    /// Bad by its status bits: neither.
    Bad,
    /// There is no value.
    Missing,
}

/// One reading, in the order of the log.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// When it is judged to be: event time, or receive time where the device's clock is in the future.
    pub time: Micros,
    /// The clock it is judged by when it came: append time, or the source's own clock where that is marked replay.
    pub heard: Micros,
    /// What that clock decides by: where a jump is not confirmed it stands still, and `heard` lies beyond it.
    pub clock: Micros,
    /// Number of that clock: 0 the partition's, else that of a replay.
    pub source: u32,
    /// Value in the point's unit, NaN where missing.
    pub value: f64,
    /// Status word.
    pub status: i32,
    /// Newer than all before it of its point.
    pub newer: bool,
    /// Late or historical: corrects history only.
    pub late: bool,
    /// What it decides is marked as calibrating: the bit is set, and the rule is not about the bit.
    pub calibrating: bool,
    /// Record it stands in.
    pub origin: Origin,
    /// Row in the record.
    pub row: u32,
    /// Of a rule across points the member that it is of; else 0.
    pub member: u32,
}

impl Reading {
    /// What latches see where no reading of a device decides: something good without a number, which counts at `time` and came at
    /// `heard` by the clock of this number, with a record and a row.
    pub(crate) fn moment((origin, row): (Origin, u32), time: Micros, heard: Micros, source: u32) -> Self {
        let (value, status, newer, late, calibrating) = (f64::NAN, 0, true, false, false);
        Self {
            time,
            heard,
            clock: heard,
            source,
            value,
            status,
            newer,
            late,
            calibrating,
            origin,
            row,
            member: 0,
        }
    }

    /// The value by its quality. Over range: at or below the low end it counts as at most the low end, any other as at least
    /// the high end; without a value, or where the catalog knows no high end, as infinitely high: a limit lies within the range, so
    /// every upper level rises.
    pub fn grade(&self, low: f64, high: f64) -> Grade {
        let s = self.status;
        if s & status::BAD != 0 {
            return Grade::Bad;
        }
        if s & status::OVER_RANGE != 0 {
            return Grade::OverRange(match self.value {
                v if v.is_nan() => f64::INFINITY,
                v if v <= low => v.min(low),
                v => v.max(high),
            });
        }
        if s & status::MISSING != 0 {
            return Grade::Missing;
        }
        if s & status::CALIBRATION != 0 { Grade::Calibrating(self.value) } else { Grade::Good(self.value) }
    }
}

/// The ends of a point's range; unlimited where the catalog has none.
pub fn range(point: &Point) -> (f64, f64) {
    (point.low.unwrap_or(f64::NEG_INFINITY), point.high.unwrap_or(f64::INFINITY))
}

/// Period assumed where the catalog has none: one inspection cycle of a mine.
pub const PERIOD: Micros = 30 * model::time::SECOND;
