//! `sequence`: one condition begins to hold, and within a time another does, or does not: the door opened and the fan stopped; the gas
//! was over the cut level and the power not off.
//!
//! Only what is seen to begin counts: a condition that holds already when its point is first heard began then. What is unknown does
//! not follow and is not missing either.

use super::group::any_of;
use super::relation::{With, groups, read_when};
use super::shared::{read_levels, read_span, refuse_unit};
use super::term::{TermMachines, Terms};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::bytes::{In, Out};
use crate::reading::{Reading, Verdict};
use model::time::{Micros, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

/// What is told.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Tells {
    /// The second follows the first in time.
    Follows,
    /// It does not.
    Missing,
}

#[derive(Clone, Debug)]
struct SequenceSpec {
    first: super::term::Term,
    then: With,
    within: Micros,
    tells: Tells,
}

/// Reads `first`, `then`, `within` and `tells`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    refuse_unit(s, "each condition has its own");
    let first = read_when(s, "first");
    let then = s.table("then");
    if then.is_none() {
        s.missing(
            "then",
            "{ by = \"label:heading\", select = { quantity = \"feed\" }, kind = \"state\", danger = 0 }",
        );
    }
    let then = then.and_then(|section| With::read(&section));
    if !s.has("within") {
        s.missing("within", "\"10s\"");
    }
    let within = read_span(s, "within").ok()?;
    let tells = s.one_of("tells", &["follows", "missing"]);
    if !s.has("tells") {
        s.missing("tells", "\"missing\"");
    }
    let (levels, _) = read_levels(s, "sequence", |_| Some(()))?;
    let tells = if tells?.value == "follows" { Tells::Follows } else { Tells::Missing };
    Some((levels, Arc::new(SequenceSpec { first: first?, then: then?, within: within?, tells })))
}

impl Spec for SequenceSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let groups = groups(std::slice::from_ref(&self.then), points, b);
        let terms = Arc::new(Terms::bind(groups, [&self.first, self.then.term()], b));
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(SequenceBound { terms, within: self.within, tells: self.tells, names })
    }
}

#[derive(Debug)]
struct SequenceBound {
    terms: Arc<Terms>,
    within: Micros,
    tells: Tells,
    names: Vec<String>,
}

impl Bound for SequenceBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        Box::new(SequenceMachine {
            terms: self.terms.machines(),
            steps: vec![Steps::NONE; slots],
            bound: self,
        })
    }

    fn groups(&self) -> Option<&[Vec<u32>]> {
        Some(&self.terms.groups.points)
    }

    fn is_up(&self, slot: usize, _: usize) -> bool {
        self.terms.is_up(slot)
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.terms.judges(&self.terms.groups.of[slot][0])
    }

    fn remembers(&self) -> Micros {
        self.terms.remembers().saturating_add(self.within)
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let members = &self.terms.groups.of[slot];
        let (own, then) = (&members[0], self.terms.describe(&members[1]));
        let codes = self.terms.groups.codes(slot, |m| m > 0);
        let word = if self.tells == Tells::Follows { "then" } else { "without" };
        let within = show_duration(self.within);
        let first = self.terms.describe(own);
        let text = format!("`{}` {first}, {word} any of {codes} {then} within {within}", own.code);
        self.names.iter().map(|name| (name.clone(), text.clone(), "rule")).collect()
    }
}

/// What has happened of a sequence.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Steps {
    /// When the first began last; `MIN` where it is not waited for the second any more.
    began: Micros,
    /// The first holds, as last known.
    first: bool,
    /// The second holds, as last known.
    then: bool,
    /// What is told has happened.
    told: bool,
    /// The first still held when the time ran out: its end ends it.
    held: bool,
}

impl Steps {
    const NONE: Self = Self { began: Micros::MIN, first: false, then: false, told: false, held: false };

    fn words(self) -> u32 {
        u32::from(self.first)
            | u32::from(self.then) << 1
            | u32::from(self.told) << 2
            | u32::from(self.held) << 3
    }

    fn of(began: Micros, words: u32) -> Self {
        let is = |bit: u32| words & (1 << bit) != 0;
        Self { began, first: is(0), then: is(1), told: is(2), held: is(3) }
    }

    /// What became of the two conditions by now.
    fn step(&mut self, first: Verdict, then: Verdict, now: Micros, within: Micros, tells: Tells) {
        let begins = |was: &mut bool, says: Verdict| {
            let begins = says == Verdict::Over && !*was;
            match says {
                Verdict::Over => *was = true,
                Verdict::Below => *was = false,
                Verdict::Band | Verdict::Hold => {}
            }
            begins
        };
        let (first_begins, then_begins) = (begins(&mut self.first, first), begins(&mut self.then, then));
        if first_begins {
            self.began = now;
        }
        match tells {
            Tells::Follows => {
                if then_begins && self.began != Micros::MIN && now - self.began <= within {
                    self.told = true;
                }
                self.told &= then != Verdict::Below;
            }
            Tells::Missing => {
                if then == Verdict::Over {
                    (self.began, self.told) = (Micros::MIN, false);
                }
                if self.told && self.held && first == Verdict::Below {
                    (self.told, self.began) = (false, Micros::MIN);
                }
                self.run_out(then, now, within);
            }
        }
    }

    /// The time for the second is over.
    fn run_out(&mut self, then: Verdict, now: Micros, within: Micros) {
        let is_over = self.began != Micros::MIN && now - self.began > within;
        if is_over && !self.told && matches!(then, Verdict::Band | Verdict::Below) {
            (self.told, self.held) = (true, self.first);
        }
    }

    fn verdict(self, then: Verdict, tells: Tells) -> Verdict {
        let is_waiting = tells == Tells::Follows || self.began != Micros::MIN;
        match then {
            _ if self.told => Verdict::Over,
            Verdict::Hold if is_waiting => Verdict::Hold,
            _ if is_waiting && tells == Tells::Missing => Verdict::Band,
            _ => Verdict::Below,
        }
    }
}

struct SequenceMachine {
    bound: Arc<SequenceBound>,
    terms: TermMachines,
    steps: Vec<Steps>,
}

impl SequenceMachine {
    fn then(&self, slot: usize, now: Micros) -> Verdict {
        let members = 1..self.bound.terms.groups.of[slot].len();
        any_of(members.map(|m| self.terms.members.says(slot, m, now)))
    }
}

impl Machine for SequenceMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        if !self.terms.take(slot, r) {
            return f64::NAN;
        }
        let (first, then) = (self.terms.members.says(slot, 0, r.heard), self.then(slot, r.heard));
        let steps = &mut self.steps[slot];
        steps.step(first, then, r.heard, self.bound.within, self.bound.tells);
        verdicts.fill(steps.verdict(then, self.bound.tells));
        self.terms.members.number(slot, 0)
    }

    fn ticks(&self) -> bool {
        self.bound.tells == Tells::Missing
    }

    fn tick(&mut self, slot: usize, now: Micros, _: Micros, verdicts: &mut [Verdict]) {
        // Most sequences wait for nothing.
        if self.steps[slot].began == Micros::MIN {
            return;
        }
        let then = self.then(slot, now);
        self.steps[slot].run_out(then, now, self.bound.within);
        if self.steps[slot].told {
            verdicts.fill(Verdict::Over);
        }
    }

    fn reason(&self, slot: usize, _: usize, _: f64, on: bool) -> String {
        let within = show_duration(self.bound.within);
        let codes = self.bound.terms.groups.codes(slot, |m| m > 0);
        let first = self.terms.reason(slot, 0, true);
        match (self.bound.tells, on) {
            (Tells::Follows, true) => format!("{first}; {codes} followed within {within}"),
            (Tells::Missing, true) => format!("{first}; {codes} did not follow within {within}"),
            (Tells::Follows, false) => format!("{codes} ended"),
            (Tells::Missing, false) => format!("{codes} followed, or what it was to follow is over"),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        if !self.terms.members.is_silent(slot) {
            let mut own = Out(Vec::new());
            own.u64(self.steps[slot].began as u64);
            own.u32(self.steps[slot].words());
            out.append(&mut own.0);
            self.terms.save(slot, out);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let mut all = In(bytes);
        let steps = all.u64().zip(all.u32()).map(|(began, words)| Steps::of(began as Micros, words));
        let Some(steps) = steps else { return false };
        self.steps[slot] = steps;
        self.terms.load(slot, &mut all).is_some() && all.0.is_empty()
    }
}
