//! `sequence`: one condition begins to hold, and within a time another does, or does not: the door opened and the fan stopped; the gas
//! was over the cut level and the power not off.
//!
//! Only what is seen to begin counts: a condition that holds already when its point is first heard began then. What is unknown does
//! not follow and is not missing either.

use super::group::any_of;
use super::relation::{With, groups, read_when};
use super::shared::{read_levels, read_span, refuse_unit};
use super::term::{TermMachines, Terms};
use super::{Binding, Bound, Heard, Machine, Read, Spec};
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
            across: self.terms.machines(),
            steps: vec![Steps::NONE; slots],
            bound: self,
        })
    }

    fn groups(&self) -> Option<Vec<Vec<u32>>> {
        Some(self.terms.groups.points())
    }

    fn is_up(&self, slot: usize, _: usize) -> bool {
        self.terms.is_up(slot)
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.terms.judges(slot)
    }

    fn remembers(&self) -> Micros {
        self.terms.remembers().saturating_add(self.within)
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let own = &self.terms.groups.of[slot][0];
        let (first, then) = (self.terms.describe(slot, 0), self.terms.describe(slot, 1));
        let codes = self.terms.groups.codes(slot, |m| m > 0);
        let word = if self.tells == Tells::Follows { "then" } else { "without" };
        let within = show_duration(self.within);
        let text = format!("`{}` {first}, {word} any of {codes} {then} within {within}", own.code);
        self.names.iter().map(|name| (name.clone(), text.clone(), "rule")).collect()
    }
}

/// What has happened of a sequence.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Steps {
    /// When the first began that is waited with, or that was followed; `MIN` where nothing is waited for.
    began: Micros,
    /// The number that it began with.
    number: f64,
    /// What is told has happened.
    told: bool,
    /// The first still held when the time ran out: its end ends it.
    held: bool,
    /// What was told is over.
    ended: bool,
}

/// Length of [`Steps`] in a snapshot.
const STEPS_LEN: usize = 8 + 8 + 4;

impl Steps {
    const NONE: Self = Self { began: Micros::MIN, number: f64::NAN, told: false, held: false, ended: false };

    fn save(self) -> Vec<u8> {
        let mut out = Out(Vec::with_capacity(STEPS_LEN));
        out.u64(self.began as u64);
        out.u64(self.number.to_bits());
        out.u32(u32::from(self.told) | u32::from(self.held) << 1 | u32::from(self.ended) << 2);
        out.0
    }

    fn load(bytes: &[u8]) -> Option<Self> {
        let mut all = In(bytes);
        let (began, number, flags) = (all.u64()? as Micros, f64::from_bits(all.u64()?), all.u32()?);
        let is = |bit: u32| flags & (1 << bit) != 0;
        Some(Self { began, number, told: is(0), held: is(1), ended: is(2) })
    }

    /// What was told, or waited for, is over.
    fn end(&mut self) {
        self.ended |= self.told;
        (self.began, self.told) = (Micros::MIN, false);
    }

    /// The time for the second is over, which is known not to hold.
    fn run_out(&mut self, first_holds: bool, then: Verdict, now: Micros, within: Micros) {
        let is_over = self.began != Micros::MIN && now - self.began > within;
        if is_over && !self.told && then == Verdict::Below {
            (self.told, self.held, self.ended) = (true, first_holds, false);
        }
    }
}

struct SequenceMachine {
    bound: Arc<SequenceBound>,
    across: TermMachines,
    steps: Vec<Steps>,
}

impl SequenceMachine {
    /// Whether the second is known to hold at one of its points, or not to hold at any.
    fn then(&self, slot: usize, now: Micros) -> Verdict {
        any_of(self.across.say(slot, 1, now))
    }

    /// When the second began last at one of its points; `MIN` where it never did.
    fn then_began(&self, slot: usize) -> Micros {
        let began = self.bound.terms.judged(slot, 1).map(|m| self.across.members.began(slot, m));
        began.max().unwrap_or(Micros::MIN)
    }

    /// The second began in time.
    fn follow(&mut self, slot: usize, now: Micros) -> Verdict {
        let began = self.across.members.began(slot, 0);
        let is_now = self.then_began(slot) == now;
        let then = self.then(slot, now);
        let number = self.across.members.number(slot, 0);
        let steps = &mut self.steps[slot];
        if began == now {
            (steps.began, steps.number) = (now, number);
        }
        if is_now && steps.began != Micros::MIN && now - steps.began <= self.bound.within {
            steps.told = true;
        } else if then == Verdict::Below {
            steps.told = false;
        }
        match then {
            _ if steps.told => Verdict::Over,
            Verdict::Below => Verdict::Below,
            _ => Verdict::Hold,
        }
    }

    /// The second did not begin in time.
    fn miss(&mut self, slot: usize, now: Micros) -> Verdict {
        let members = &self.across.members;
        let (first, holds) = (members.says(slot, 0, now), members.held(slot, 0) == Some(true));
        let (begins, number) = (members.began(slot, 0) == now, members.number(slot, 0));
        let then = self.then(slot, now);
        let has_followed = then == Verdict::Over || self.then_began(slot) == now;
        let steps = &mut self.steps[slot];
        // One that flutters is waited with since it began first: it must put nothing off.
        if begins && steps.began == Micros::MIN {
            (steps.began, steps.number) = (now, number);
        }
        if has_followed || (steps.told && steps.held && first == Verdict::Below) {
            steps.end();
        }
        steps.run_out(holds, then, now, self.bound.within);
        // Of one that was told before all state was lost it is not known whether its first still held.
        let is_over = steps.ended || has_followed || (steps.began == Micros::MIN && first == Verdict::Below);
        match steps.told {
            true => Verdict::Over,
            false if is_over => Verdict::Below,
            false => Verdict::Hold,
        }
    }
}

impl Machine for SequenceMachine {
    fn hear(&mut self, slot: usize, r: &Reading) -> Heard {
        let heard = self.across.hear(slot, r);
        if heard == Heard::Anew {
            self.steps[slot] = Steps::NONE;
        }
        heard
    }

    fn decide(&mut self, slot: usize, now: Micros, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(match self.bound.tells {
            Tells::Follows => self.follow(slot, now),
            Tells::Missing => self.miss(slot, now),
        });
        self.across.members.number(slot, 0)
    }

    fn clock(&self, slot: usize) -> Option<u32> {
        self.across.members.clock(slot)
    }

    fn ticks(&self) -> bool {
        self.bound.tells == Tells::Missing
    }

    fn tick(&mut self, slot: usize, now: Micros, _: Micros, verdicts: &mut [Verdict]) {
        // Most sequences wait for nothing.
        if self.steps[slot].began == Micros::MIN {
            return;
        }
        let (then, holds) = (self.then(slot, now), self.across.members.held(slot, 0) == Some(true));
        self.steps[slot].run_out(holds, then, now, self.bound.within);
        if self.steps[slot].told {
            verdicts.fill(Verdict::Over);
        }
    }

    fn reason(&self, slot: usize, _: usize, _: f64, on: bool) -> String {
        let within = show_duration(self.bound.within);
        let codes = self.bound.terms.groups.codes(slot, |m| m > 0);
        let first = self.across.reason(slot, 0, self.steps[slot].number, true);
        match (self.bound.tells, on) {
            (Tells::Follows, true) => format!("{first}; {codes} followed within {within}"),
            (Tells::Missing, true) => format!("{first}; {codes} did not follow within {within}"),
            (Tells::Follows, false) => format!("{codes} ended"),
            (Tells::Missing, false) => format!("{codes} followed, or what it was to follow is over"),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let mut members = Vec::new();
        self.across.save(slot, &mut members);
        if !members.is_empty() {
            out.extend(self.steps[slot].save());
            out.append(&mut members);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let Some((steps, members)) = bytes.split_at_checked(STEPS_LEN) else { return bytes.is_empty() };
        // Steps without the members they were made with mean nothing.
        let steps = Steps::load(steps).filter(|_| self.across.load(slot, members));
        self.steps[slot] = steps.unwrap_or(Steps::NONE);
        steps.is_some()
    }
}
