//! `vote`: a condition holds at so many points of a group, at once or within a time. One sensor of three may be wrong; two are not.
//!
//! It ends only when so many are known to be below that the others, were they all over, could not make the number.

use super::group::{By, Groups};
use super::relation::read_when;
use super::shared::{read_levels, read_time, refuse_unit};
use super::term::{TermMachines, Terms};
use super::{Binding, Bound, Heard, Machine, Read, Spec};
use crate::reading::{Reading, Verdict};
use model::time::{Micros, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

/// Most points that a level may ask for.
const NEED_MAX: i64 = 256;

#[derive(Clone, Debug)]
struct VoteSpec {
    by: By,
    when: super::term::Term,
    within: Micros,
    /// For each level.
    need: Vec<usize>,
}

/// Reads `by`, `when`, `within`, and `need` at the rule or at each level.
pub fn read(s: &Section<'_>) -> Option<Read> {
    refuse_unit(s, "the condition has its own");
    let by = By::read(s, false);
    let when = read_when(s, "when");
    let within = read_time(s, "within", 0).ok()?.unwrap_or_default();
    let (levels, need) = read_levels(s, "vote", |s| {
        if !s.has("need") {
            s.missing("need", "2");
        }
        s.int("need", 1, NEED_MAX).map(|n| n.value as usize)
    })?;
    if need.is_sorted_by(|a, b| a < b) {
        return Some((levels, Arc::new(VoteSpec { by: by?, when: when?, within, need })));
    }
    s.error(
        "each level needs more points than the one before it",
        "write the levels from the mildest to the hardest",
    );
    None
}

impl Spec for VoteSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let groups = Groups::alike(&self.by, points, b);
        let terms = Arc::new(Terms::bind(groups, [&self.when], b));
        let highest = self.need.last().copied().unwrap_or_default();
        for (slot, group) in terms.groups.of.iter().enumerate() {
            let judged = terms.judged(slot, 0).count();
            if judged < highest {
                let own = b.catalog.point(group[0].ix);
                let message = format!(
                    "rule `{}`: the group of point `{}` of site `{}` has {judged} points that can be judged, and never reaches {highest}",
                    b.rule, own.code, own.site
                );
                b.warning(message, "lower `need`, or group the points by something they share");
            }
        }
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(VoteBound { terms, need: self.need.clone(), within: self.within, names })
    }
}

#[derive(Debug)]
struct VoteBound {
    terms: Arc<Terms>,
    need: Vec<usize>,
    within: Micros,
    names: Vec<String>,
}

impl Bound for VoteBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(VoteMachine { across: self.terms.machines(), bound: self })
    }

    fn groups(&self) -> Option<Vec<Vec<u32>>> {
        Some(self.terms.groups.points())
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        self.terms.judged(slot, 0).count() >= self.need[level]
    }

    fn remembers(&self) -> Micros {
        self.terms.remembers().saturating_add(self.within)
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let judged: Vec<usize> = self.terms.judged(slot, 0).collect();
        let codes = self.terms.groups.codes(slot, |m| judged.contains(&m));
        let of = judged.len();
        let within =
            if self.within > 0 { format!(" within {}", show_duration(self.within)) } else { String::new() };
        let condition = self.terms.describe(slot, 0);
        let shown = self.names.iter().zip(&self.need);
        shown
            .map(|(name, need)| {
                (name.clone(), format!("{need} of {of} ({codes}) {condition}{within}"), "rule")
            })
            .collect()
    }
}

struct VoteMachine {
    bound: Arc<VoteBound>,
    across: TermMachines,
}

impl VoteMachine {
    /// A member's vote: over now, or within the time; without one only what it says now counts.
    fn vote(&self, slot: usize, member: usize, now: Micros) -> Verdict {
        let (members, within) = (&self.across.members, self.bound.within);
        let was_over = within > 0 && members.was_over(slot, member, now, within);
        if was_over { Verdict::Over } else { members.says(slot, member, now) }
    }
}

impl Machine for VoteMachine {
    fn hear(&mut self, slot: usize, r: &Reading) -> Heard {
        self.across.hear(slot, r)
    }

    fn decide(&mut self, slot: usize, now: Micros, verdicts: &mut [Verdict]) -> f64 {
        let votes = self.bound.terms.judged(slot, 0).map(|m| self.vote(slot, m, now));
        let (mut over, mut unknown) = (0, 0);
        votes.for_each(|vote| match vote {
            Verdict::Over => over += 1,
            Verdict::Hold => unknown += 1,
            Verdict::Below | Verdict::Band => {}
        });
        for (verdict, need) in verdicts.iter_mut().zip(&self.bound.need) {
            *verdict = match *need {
                need if over >= need => Verdict::Over,
                need if over + unknown >= need => Verdict::Hold,
                _ => Verdict::Below,
            };
        }
        over as f64
    }

    fn clock(&self, slot: usize) -> Option<u32> {
        self.across.members.clock(slot)
    }

    fn reason(&self, slot: usize, level: usize, _: f64, on: bool) -> String {
        let terms = &self.bound.terms;
        let newest = self.across.members.newest(slot);
        let is_over = |m: &usize| self.vote(slot, *m, newest) == Verdict::Over;
        let over: Vec<usize> = terms.judged(slot, 0).filter(is_over).collect();
        let (of, need) = (terms.judged(slot, 0).count(), self.bound.need[level]);
        match (on, over.len()) {
            (_, 0) => format!("none of {of} over, {need} needed"),
            (true, n) => {
                let codes = terms.groups.codes(slot, |m| over.contains(&m));
                format!("{n} of {of} over, {need} needed: {codes}")
            }
            (false, n) => format!("{n} of {of} over, {need} needed"),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        self.across.save(slot, out);
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.across.load(slot, bytes)
    }
}
