//! The kinds of rules, a line each. A kind reads its keys, binds itself to a point (units, range, the point's own limits), and then
//! gives a verdict for each level at each reading, or at each tick for those that wait for what does not come.

use crate::compare::Compare;
use crate::level::LevelDef;
use crate::reading::{Reading, Verdict};
use model::time::Micros;
use model::toml_file::Section;
use model::{Catalog, Problems};
use std::sync::Arc;

pub mod clock;
pub mod copy;
pub mod deviation;
pub mod forecast;
pub mod grade;
mod group;
mod ladder;
pub mod limit;
pub mod masked;
pub mod mismatch;
pub mod noise;
pub mod out_of_range;
pub mod people;
pub mod rate;
mod ring;
mod shared;
pub(crate) use shared::{both_calm, decimal};
pub mod relation;
pub mod sequence;
pub mod silent;
pub mod spike;
pub mod state;
pub mod status;
pub mod stuck;
mod term;
pub mod vote;
pub mod window;

/// Levels of a rule, and what its kind read.
pub type Read = (Vec<LevelDef>, Arc<dyn Spec>);

/// A kind of rule.
pub struct Kind {
    /// Its word.
    pub name: &'static str,
    /// Reads the keys of a rule of this kind.
    pub read: fn(&Section<'_>) -> Option<Read>,
    /// Whether it can be a condition of a rule across points: it judges one point, by its readings alone, and has one level.
    pub is_condition: bool,
}

/// All kinds.
pub fn all() -> &'static [Kind] {
    &[
        Kind { name: "clock", read: clock::read, is_condition: true },
        Kind { name: "copy", read: copy::read, is_condition: false },
        Kind { name: "deviation", read: deviation::read, is_condition: false },
        Kind { name: "forecast", read: forecast::read, is_condition: true },
        Kind { name: "grade", read: grade::read, is_condition: false },
        Kind { name: "limit", read: limit::read, is_condition: true },
        Kind { name: "masked", read: masked::read, is_condition: true },
        Kind { name: "mismatch", read: mismatch::read, is_condition: false },
        Kind { name: "noise", read: noise::read, is_condition: true },
        Kind { name: "out_of_range", read: out_of_range::read, is_condition: false },
        Kind { name: "people", read: people::read, is_condition: false },
        Kind { name: "rate", read: rate::read, is_condition: true },
        Kind { name: "relation", read: relation::read, is_condition: false },
        Kind { name: "sequence", read: sequence::read, is_condition: false },
        Kind { name: "silent", read: silent::read, is_condition: false },
        Kind { name: "spike", read: spike::read, is_condition: true },
        Kind { name: "state", read: state::read, is_condition: true },
        Kind { name: "status", read: status::read, is_condition: true },
        Kind { name: "stuck", read: stuck::read, is_condition: true },
        Kind { name: "vote", read: vote::read, is_condition: false },
        Kind { name: "window", read: window::read, is_condition: true },
    ]
}

/// Where a rule is bound to a point, for problems and units.
pub struct Binding<'a> {
    /// Name of the rule.
    pub rule: &'a str,
    /// Unit of the rule; empty: the quantity's usual one.
    pub unit: &'a str,
    /// Its levels.
    pub levels: &'a [LevelDef],
    /// Where the rule stands.
    pub place: &'a (String, usize, usize),
    /// The catalog.
    pub catalog: &'a Catalog,
    /// Collects problems; one a rule and cause is enough.
    pub problems: &'a mut Problems,
}

impl Binding<'_> {
    /// The conversion of the rule's limits to the point's unit; a problem where there is none.
    pub fn conversion(&mut self, ix: u32) -> Option<(f64, f64)> {
        let point = self.catalog.point(ix);
        let from = if self.unit.is_empty() { usual_unit(&point.quantity) } else { self.unit };
        if from.is_empty() || point.unit.is_empty() || from == point.unit {
            return Some((1.0, 0.0));
        }
        let found = model::units::conversion(from, &point.unit, &point.quantity);
        if found.is_none() {
            let message = format!(
                "rule `{}` has limits in `{from}`, point `{}` of site `{}` is in `{}`: they cannot be converted",
                self.rule, point.code, point.site, point.unit
            );
            self.error(message, "give the rule a `unit`, or select fewer points");
        }
        found
    }

    /// Adds an error at the rule.
    pub fn error(&mut self, message: String, help: &str) {
        let (file, line, column) = self.place;
        self.problems.push(model::Problem::error(file, *line, *column, message).help(help));
    }

    /// Adds a warning at the rule.
    pub fn warning(&mut self, message: String, help: &str) {
        let (file, line, column) = self.place;
        self.problems.push(model::Problem::warning(file, *line, *column, message).help(help));
    }
}

/// The unit legal limits of a quantity are written in; empty where there is none.
pub fn usual_unit(quantity: &str) -> &'static str {
    match quantity {
        "ch4" | "co2" | "o2" => "%",
        "co" | "h2s" | "no2" | "so2" | "nh3" => "ppm",
        "temperature" => "°C",
        "wind" => "m/s",
        _ => "",
    }
}

/// What a kind knows of each slot, equal things once: most points of a mine have the same range and limits, and what a reading looks
/// at then stays in the cache.
#[derive(Debug)]
pub(crate) struct Shapes<T> {
    slots: Vec<u32>,
    shapes: Vec<T>,
}

/// How far back an equal one is looked for: a catalog in which every point differs must not be compared with itself.
const SHAPES_COMPARED: usize = 64;

impl<T: PartialEq> FromIterator<T> for Shapes<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut this = Self { slots: Vec::new(), shapes: Vec::new() };
        for shape in all {
            let from = this.shapes.len().saturating_sub(SHAPES_COMPARED);
            let ix = this.shapes[from..].iter().position(|s| *s == shape).map_or_else(
                || {
                    this.shapes.push(shape);
                    this.shapes.len() - 1
                },
                |i| from + i,
            );
            this.slots.push(ix as u32);
        }
        this
    }
}

impl<T> std::ops::Index<usize> for Shapes<T> {
    type Output = T;

    fn index(&self, slot: usize) -> &T {
        &self.shapes[self.slots[slot] as usize]
    }
}

/// A rule of some kind, not yet bound to points.
pub trait Spec: Send + Sync + std::fmt::Debug {
    /// The machine for these points, one slot each, in this order. Points it cannot be bound to keep a slot that always holds.
    fn bind(&self, binding: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound>;
}

/// A rule bound to its points, without state; shared by all evaluators.
pub trait Bound: Send + Sync + std::fmt::Debug {
    /// A machine without history.
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine>;

    /// Of a kind across points, by index in the catalog: for each slot all points it is judged by, first the one its levels stand at,
    /// ascending by that. `None`: each slot is the point it was bound to.
    fn groups(&self) -> Option<Vec<Vec<u32>>> {
        None
    }

    /// Whether farther over means a greater number.
    fn is_up(&self, _slot: usize, _level: usize) -> bool {
        true
    }

    /// Whether the level can go on at all at this point: not where its limit is gone or its site idle. One that is on when a new
    /// version does not judge it any more is withdrawn: nothing could end it.
    fn judges(&self, _slot: usize, _level: usize) -> bool {
        true
    }

    /// On and off of a level that is a plain limit on the value, in the point's unit: what is compared with the law.
    fn limit(&self, _slot: usize, _level: usize) -> Option<(Compare, Compare)> {
        None
    }

    /// Whether it is about nothing but that somebody was heard of: then records of people that stand for a point count too.
    fn is_about_silence(&self) -> bool {
        false
    }

    /// Of a kind that remembers nothing of a reading: values between which, both excluded, one without any status bit changes nothing at
    /// a slot whose levels are idle, so that it need not be asked. `None`: it must be.
    fn calm(&self, _slot: usize) -> Option<(f64, f64)> {
        None
    }

    /// What it asks of people, where it is about them: then records of positions are judged by it, and no readings.
    fn people(&self) -> Option<&people::Watch> {
        None
    }

    /// Whether what is decided on a calibrating reading is marked; not where the rule is about calibration itself.
    fn minds_calibration(&self) -> bool {
        true
    }

    /// How far back readings may lie that a verdict depends on: what is read again where no snapshot can be used.
    fn remembers(&self) -> Micros {
        0
    }

    /// The levels of a slot as a person reads them: name, limit, and where the limit comes from.
    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)>;
}

/// What a rule across points makes of a reading of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It says nothing new.
    Nothing,
    /// It counts: there is something to decide once all of its time has come.
    Something,
    /// It counts and comes by another clock than what was known until now, of which nothing is left.
    Anew,
}

/// A rule at work on its slots: of a kind that judges one point by [`Machine::reading`], of one across points by [`Machine::hear`] and
/// [`Machine::decide`].
pub trait Machine: Send + Sync {
    /// Verdicts for each level at a reading. Returns the number worth reporting: the value, or what was computed of it.
    fn reading(&mut self, _slot: usize, _reading: &Reading, _verdicts: &mut [Verdict]) -> f64 {
        f64::NAN
    }

    /// Takes a reading of a member that is not late. It finds out itself whether that is newer than all before it of the member: shards
    /// of a snapshot stand at different offsets, and only the slot's own is known to fit.
    fn hear(&mut self, _slot: usize, _reading: &Reading) -> Heard {
        Heard::Nothing
    }

    /// Verdicts for each level when all that came at a time has been heard, so that the order within that time does not matter. Returns
    /// the number worth reporting.
    fn decide(&mut self, _slot: usize, _now: Micros, _verdicts: &mut [Verdict]) -> f64 {
        f64::NAN
    }

    /// Number of the clock that a group is judged by, once a member spoke: 0 the partition's, else that of a replay.
    fn clock(&self, _slot: usize) -> Option<u32> {
        None
    }

    /// Whether [`Machine::tick`] says anything.
    fn ticks(&self) -> bool {
        false
    }

    /// Verdicts at a tick; `heard` is the clock at the point's last reading, or where it was armed. `Over`: the condition holds;
    /// `Band`: it does not, an on-delay that a tick began is over. No tick clears.
    fn tick(&mut self, _slot: usize, _now: Micros, _heard: Micros, _verdicts: &mut [Verdict]) {}

    /// Why a level is on, in words, for its transition.
    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String;

    /// State of a slot that is not in the latches.
    fn save(&self, _slot: usize, _out: &mut Vec<u8>) {}

    /// Takes back what [`Machine::save`] wrote; false when it is not that.
    fn load(&mut self, _slot: usize, bytes: &[u8]) -> bool {
        bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shapes_lie_once_and_each_slot_finds_its_own() {
        let all: Vec<usize> = (0..1000).map(|i| i % 3).chain(0..200).chain([199, 150, 0]).collect();
        let shapes: Shapes<usize> = all.iter().copied().collect();
        assert!(all.iter().enumerate().all(|(slot, is)| shapes[slot] == *is));
        // The last one lies too far back to be found again.
        assert_eq!(shapes.shapes.len(), 201);
    }
}
