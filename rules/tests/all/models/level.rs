//! A model of one level at one point, simpler than the code: all that came lies in a list, and each question (is it on, since when is
//! it over, what is known) is answered by looking back through it. Nothing is carried from reading to reading but what was decided,
//! and the late readings that belong together. [`Mistake`] is what may be wrong with it: a test of the tests.

use model::Micros;
use model::status::*;
use model::time::SECOND;

/// A row as it comes.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Event time.
    pub time: Micros,
    pub value: f64,
    pub status: i32,
}

/// A record as it comes: rows, a tick where there are none, or one that was seen before.
#[derive(Clone, Debug)]
pub struct Record {
    pub appended: Micros,
    pub rows: Vec<Row>,
    pub seen_before: bool,
}

/// What a planted mistake changes in the model: each must be noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    None,
    OnIsStrict,
    OffIsInclusive,
    OnDelayIsStrict,
    OffDelayIsStrict,
    BadClears,
    MissingClears,
    CalibrationClears,
    OverRangeClears,
    StaleClears,
    LowOverRangeIsHigh,
    OrderIsIgnored,
    TimeIsStrict,
    TimeDecidesNothing,
    FourPeriodsAreFresh,
    SentAgainRaises,
    TwoMinutesAreLate,
    LateIgnoresDelay,
    LateIsLive,
    FutureIsTaken,
    JumpCounts,
    SixtySecondsAreAJump,
    SimulatedIsReal,
    BornStaysCalibrating,
    CalibrationIsNotShown,
    SilenceIsInclusive,
    BadIsSilent,
    OffDelaySurvivesSilence,
    WindowIsLonger,
    BucketsAreOneLess,
    BlankIsLonger,
    GapIsInclusive,
    OneReadingLess,
    CoveredIsStrict,
    OtherPlacesCount,
    OtherColoursCount,
    OtherTimesCount,
    NarrowestRowCounts,
    DeadBandIsForgotten,
}

/// What a kind says of a reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Say {
    Over,
    Between,
    Below,
    Nothing,
}

/// A reading as it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub time: Micros,
    pub heard: Micros,
    pub value: f64,
    pub status: i32,
    pub late: bool,
    pub newer: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The clock decides at this time.
    Time(Micros),
    Reading(Seen),
}

/// All that happens to the live readings, or to a drill's, in order.
pub fn steps(records: &[Record], drill: bool, mistake: Mistake) -> Vec<Step> {
    let second = |t: Micros| t.div_euclid(SECOND);
    let (mut clock, mut newest, mut out) = (Micros::MIN, Micros::MIN, Vec::new());
    for record in records.iter().filter(|r| !r.seen_before) {
        let (before, tick) = (clock, record.rows.is_empty());
        let ahead = record.appended.saturating_sub(before);
        let jumps = ahead > 60 * SECOND || (mistake == Mistake::SixtySecondsAreAJump && ahead == 60 * SECOND);
        if before == Micros::MIN || tick || !jumps || mistake == Mistake::JumpCounts {
            clock = clock.max(record.appended);
        }
        if before != Micros::MIN && second(before) < second(clock) {
            out.push(Step::Time(before));
        }
        if tick {
            out.push(Step::Time(clock));
        }
        for row in &record.rows {
            if (row.status & SIMULATED != 0) != drill && mistake != Mistake::SimulatedIsReal {
                continue;
            }
            let future = row.status & FUTURE != 0 && mistake != Mistake::FutureIsTaken;
            let time = if future { record.appended } else { row.time };
            let age = record.appended - time;
            let late = (age > 120 * SECOND || (mistake == Mistake::TwoMinutesAreLate && age == 120 * SECOND))
                || row.status & HISTORICAL != 0;
            let late = late && mistake != Mistake::LateIsLive;
            let newer = !late && (time > newest || mistake == Mistake::OrderIsIgnored);
            newest = if newer { newest.max(time) } else { newest };
            let heard = clock.max(record.appended);
            out.push(Step::Reading(Seen { time, heard, value: row.value, status: row.status, late, newer }));
        }
    }
    out
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Out {
    /// Step that decided it.
    pub at: usize,
    pub time: Micros,
    pub on: bool,
    pub late: bool,
    pub calibrating: bool,
    /// Event time of the first reading over.
    pub first: Micros,
    pub what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Turned,
    Real,
    Shown,
}

pub struct Level<'a> {
    pub steps: &'a [Step],
    pub says: &'a dyn Fn(usize) -> Say,
    pub on_delay: Micros,
    pub off_delay: Micros,
    pub period: Micros,
    /// Readings with the bit are marked.
    pub minds_calibration: bool,
    /// Silence that is told, for the one kind that waits; and when that was armed.
    pub silent: Option<(Micros, Micros)>,
    pub mistake: Mistake,
}

/// Late readings that belong together.
struct Group {
    since: Micros,
    last: Micros,
    until: Micros,
    told: bool,
}

impl Level<'_> {
    pub fn decide(&self) -> Vec<Out> {
        let (mut out, mut known, mut group): (Vec<Out>, Vec<(Micros, Micros)>, Option<Group>) =
            Default::default();
        for (i, step) in self.steps.iter().enumerate() {
            let change = match step {
                Step::Time(now) if self.silent.is_some() => self.silence(&out, i, *now),
                Step::Time(now) => self.time(&out, i, *now),
                Step::Reading(r) if r.late => self.late(&out, &mut known, &mut group, i, r),
                Step::Reading(r) => {
                    if let Some(group) = group.as_mut().filter(|_| r.newer && (self.says)(i) != Say::Nothing)
                    {
                        group.until = group.until.min(r.time);
                    }
                    self.reading(&out, &known, i, r)
                }
            };
            known.extend(change.filter(|c| !c.on).map(|c| (c.first, c.time)));
            out.extend(change);
        }
        out
    }

    fn newer(&self, i: usize) -> Option<&Seen> {
        match &self.steps[i] {
            Step::Reading(r) if r.newer => Some(r),
            _ => None,
        }
    }

    fn bit(&self, r: &Seen) -> bool {
        self.minds_calibration && r.status & CALIBRATION != 0
    }

    /// The last change between on and off.
    fn turned<'o>(&self, out: &'o [Out]) -> Option<&'o Out> {
        out.iter().rev().find(|o| !o.late && o.what == What::Turned)
    }

    fn is_on(&self, out: &[Out]) -> bool {
        self.turned(out).is_some_and(|o| o.on)
    }

    /// Newer readings up to `i` that say `want`, since the last change and since another said something else.
    fn stay(&self, out: &[Out], i: usize, want: Say) -> Vec<&Seen> {
        let mut stay = Vec::new();
        for j in (self.turned(out).map_or(0, |o| o.at + 1)..=i).rev() {
            let interrupts = self.newer(j).is_some_and(|_| ![want, Say::Nothing].contains(&(self.says)(j)));
            let silence = self.is_silent(j) && self.mistake != Mistake::OffDelaySurvivesSilence;
            if interrupts || (want == Say::Below && silence) {
                break;
            }
            stay.extend(self.newer(j).filter(|_| (self.says)(j) == want));
        }
        stay.reverse();
        stay
    }

    fn served(&self, held: Micros, delay: Micros, strict: Mistake) -> bool {
        if self.mistake == strict { held > delay || delay == 0 } else { held >= delay }
    }

    fn turn(&self, at: usize, time: Micros, on: bool, first: Micros, calibrating: bool) -> Option<Out> {
        Some(Out { at, time, on, late: false, calibrating, first, what: What::Turned })
    }

    /// An on-delay runs out while the last reading over is fresh.
    fn time(&self, out: &[Out], i: usize, now: Micros) -> Option<Out> {
        let stay = self.stay(out, i, Say::Over);
        let (first, last) = (stay.first()?, stay.last()?);
        let age = (now - last.heard).max(0);
        let fresh = if self.mistake == Mistake::FourPeriodsAreFresh { 4 } else { 3 };
        let due = age <= fresh * self.period
            && self.served(last.time - first.time + age, self.on_delay, Mistake::TimeIsStrict)
            && self.mistake != Mistake::TimeDecidesNothing;
        (due && !self.is_on(out)).then(|| self.turn(i, now, true, first.time, self.bit(last)))?
    }

    /// Whether the clock finds the point silent at a step.
    fn is_silent(&self, i: usize) -> bool {
        let (Some((after, armed)), Step::Time(now)) = (self.silent, &self.steps[i]) else { return false };
        let counts = |r: &&Seen| self.mistake != Mistake::BadIsSilent || is_good(r.status);
        let heard = (0..i).rev().find_map(|j| self.newer(j).filter(counts)).map_or(armed, |r| r.heard);
        now - heard > after || (self.mistake == Mistake::SilenceIsInclusive && now - heard == after)
    }

    fn silence(&self, out: &[Out], i: usize, now: Micros) -> Option<Out> {
        if self.is_on(out) || !self.is_silent(i) {
            return None;
        }
        let spoke = (0..i).rev().find(|j| self.newer(*j).is_some()).map_or(0, |j| j + 1);
        let Step::Time(first) = self.steps[(spoke..=i).find(|j| self.is_silent(*j))?] else { return None };
        self.served(now - first, self.on_delay, Mistake::OnDelayIsStrict)
            .then(|| self.turn(i, now, true, first, false))?
    }

    fn reading(&self, out: &[Out], known: &[(Micros, Micros)], i: usize, r: &Seen) -> Option<Out> {
        let (say, is_on) = ((self.says)(i), self.is_on(out));
        let state = out.iter().rev().find(|o| !o.late && o.what != What::Shown);
        let born = is_on && state.is_some_and(|o| o.calibrating);
        let change = match say {
            Say::Over
                if is_on
                    && born
                    && r.newer
                    && !self.bit(r)
                    && self.mistake != Mistake::BornStaysCalibrating =>
            {
                Some(Out { what: What::Real, ..self.turn(i, r.time, true, state?.first, false)? })
            }
            Say::Over if !is_on && r.newer => {
                let first = self.stay(out, i, Say::Over)[0].time;
                self.served(r.time - first, self.on_delay, Mistake::OnDelayIsStrict)
                    .then(|| self.turn(i, r.time, true, first, self.bit(r)))
                    .flatten()
            }
            Say::Over if !is_on && self.on_delay == 0 => {
                let is_known = known.iter().any(|(from, to)| (*from..=*to).contains(&r.time));
                (!is_known || self.mistake == Mistake::SentAgainRaises)
                    .then(|| self.turn(i, r.time, true, r.time, self.bit(r)))
                    .flatten()
            }
            Say::Below if is_on && r.newer => {
                let first = self.stay(out, i, Say::Below)[0].time;
                self.served(r.time - first, self.off_delay, Mistake::OffDelayIsStrict)
                    .then(|| self.turn(i, r.time, false, state?.first, born))
                    .flatten()
            }
            _ => None,
        };
        if change.is_some() || !is_on || born || !r.newer || self.mistake == Mistake::CalibrationIsNotShown {
            return change;
        }
        // On and real: shown as calibrating while its newest reading has the bit.
        let before = (state?.at + 1..i).rev().find_map(|j| self.newer(j)).is_some_and(|r| self.bit(r));
        let shown = self.turn(i, r.time, true, state?.first, self.bit(r))?;
        (before != self.bit(r)).then_some(Out { what: What::Shown, ..shown })
    }

    fn late(
        &self,
        out: &[Out],
        known: &mut Vec<(Micros, Micros)>,
        group: &mut Option<Group>,
        i: usize,
        r: &Seen,
    ) -> Option<Out> {
        let say = (self.says)(i);
        let ends = |g: &Group| r.time >= g.since && (say == Say::Below || (say == Say::Between && !g.told));
        if group.as_ref().is_some_and(ends) {
            *group = None;
        }
        let live = self.is_on(out) && self.turned(out).is_some_and(|o| r.time >= o.first);
        let covered = known.iter().any(|(from, to)| (*from..=*to).contains(&r.time));
        if say != Say::Over || live || (covered && self.mistake != Mistake::SentAgainRaises) {
            return None;
        }
        let begin = || Group { since: r.time, last: r.time, until: Micros::MAX, told: false };
        let mut now = group.take().filter(|g| r.time <= g.until).unwrap_or_else(begin);
        let (in_order, was_told) = (r.time >= now.last, now.told);
        if in_order || was_told {
            (now.since, now.last) = (now.since.min(r.time), now.last.max(r.time));
            now.told |= now.last - now.since >= self.on_delay || self.mistake == Mistake::LateIgnoresDelay;
        }
        if now.told {
            known.push((now.since, now.last));
        }
        let found = now.told && !was_told;
        let first = now.since;
        *group = Some(now);
        found.then(|| Some(Out { late: true, ..self.turn(i, r.time, true, first, self.bit(r))? }))?
    }
}
