//! A ladder of limits at work: what `limit` and `grade` bind themselves to. At each point every level has a rung, or none and says
//! nothing there. Behind them stands the level `reported`: on when the mine's own alarm or cut bit comes with a bad value.

use super::shared::{ANY, Rung, both_calm, may_clear};
use super::{Bound, Machine, Shapes};
use crate::compare::Compare;
use crate::level::LevelDef;
use crate::reading::{Grade, Reading, Verdict, range};
use model::time::{Micros, show_duration};
use model::{Point, status};
use std::sync::Arc;

/// The rung of a level at a point, and where it comes from.
pub(super) type Placed = (Option<Rung>, &'static str);

/// What is known of a point.
#[derive(Debug, PartialEq)]
pub(super) struct Slot {
    low: f64,
    high: f64,
    unit: String,
    /// One a level.
    rungs: Vec<Placed>,
}

impl Slot {
    pub fn new(point: &Point, rungs: Vec<Placed>) -> Self {
        let (low, high) = range(point);
        Self { low, high, unit: point.unit.clone(), rungs }
    }
}

/// A ladder bound to its points.
#[derive(Debug)]
pub(super) struct Ladder {
    slots: Shapes<Slot>,
    names: Vec<String>,
    /// How long the value must have been there, where that is part of the condition and no delay of an alarm.
    held: Vec<Micros>,
}

impl Ladder {
    /// `levels` are those of `held`, and `reported` behind them.
    pub fn new(levels: &[LevelDef], held: Vec<Micros>, slots: Shapes<Slot>) -> Self {
        let names = levels[..held.len()].iter().map(|l| l.name.clone()).collect();
        Self { slots, names, held }
    }

    fn width(&self) -> usize {
        self.held.len()
    }

    fn rung(&self, slot: usize, level: usize) -> Option<Rung> {
        self.slots[slot].rungs.get(level)?.0
    }
}

impl Bound for Ladder {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(LadderMachine(self))
    }

    fn is_up(&self, slot: usize, level: usize) -> bool {
        self.rung(slot, level).is_none_or(|r| r.on.is_up())
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        level == self.width() || self.rung(slot, level).is_some()
    }

    fn calm(&self, slot: usize) -> Option<(f64, f64)> {
        let rungs = self.slots[slot].rungs.iter().filter_map(|(rung, _)| *rung);
        Some(rungs.map(|r| r.on.calm()).fold(ANY, both_calm))
    }

    fn limit(&self, slot: usize, level: usize) -> Option<(Compare, Compare)> {
        // The law's limits count at once: what must last stands for none of them.
        self.rung(slot, level).filter(|_| self.held[level] == 0).map(|r| (r.on, r.off))
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let shown = self.names.iter().zip(&self.slots[slot].rungs).filter_map(|(name, (rung, from))| {
            rung.map(|r| (name.clone(), format!("on {} off {}", r.on.show(), r.off.show()), *from))
        });
        shown.collect()
    }
}

struct LadderMachine(Arc<Ladder>);

impl Machine for LadderMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        let s = &self.0.slots[slot];
        let (verdicts, reported) = verdicts.split_at_mut(s.rungs.len());
        let grade = r.grade(s.low, s.high);
        reported[0] = match grade {
            Grade::Bad if r.status & (status::ALARM | status::CUT) != 0 => Verdict::Over,
            Grade::Good(_) if may_clear(r) => Verdict::Below,
            _ => Verdict::Hold,
        };
        let (value, clears) = match grade {
            Grade::Good(v) => (v, may_clear(r)),
            Grade::OverRange(v) | Grade::Calibrating(v) => (v, false),
            Grade::Bad | Grade::Missing => {
                verdicts.fill(Verdict::Hold);
                return f64::NAN;
            }
        };
        for (verdict, (rung, _)) in verdicts.iter_mut().zip(&s.rungs) {
            *verdict = match rung {
                None => Verdict::Hold,
                Some(rung) if rung.on.holds(value) => Verdict::Over,
                Some(_) if !clears => Verdict::Hold,
                Some(rung) if rung.off.holds(value) => Verdict::Below,
                Some(_) => Verdict::Band,
            };
        }
        value
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let ladder = &*self.0;
        if level == ladder.width() {
            let what = if on { "reported by the mine, unconfirmed" } else { "a good reading came" };
            return what.to_owned();
        }
        let Some(rung) = ladder.rung(slot, level) else { return String::new() };
        let unit = &ladder.slots[slot].unit;
        let held = match ladder.held[level] {
            long if on && long > 0 => format!(" for {}", show_duration(long)),
            _ => String::new(),
        };
        if value.is_infinite() {
            return format!("over range, {} {unit}{held}", rung.on.show());
        }
        format!("{value} {} {unit}{held}", if on { rung.on.show() } else { rung.off.show() })
    }
}
