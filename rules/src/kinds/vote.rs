//! `vote`: a condition holds at so many points of a group, at once or within a time. One sensor of three may be wrong; two are not.
//!
//! It ends only when so many are known to be below that the others, were they all over, could not make the number.

use super::group::{By, Groups};
use super::relation::read_when;
use super::shared::{read_levels, read_time, refuse_unit};
use super::term::{TermMachines, Terms};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::bytes::In;
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
        let highest = self.need.last().copied().unwrap_or_default();
        for group in groups.of.iter().filter(|g| g.len() < highest) {
            let own = b.catalog.point(group[0].ix);
            let message = format!(
                "rule `{}`: the group of point `{}` of site `{}` has {} points and can never reach {highest}",
                b.rule,
                own.code,
                own.site,
                group.len()
            );
            b.warning(message, "lower `need`, or group the points by something they share");
        }
        let terms = Arc::new(Terms::bind(groups, [&self.when], b));
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
        Box::new(VoteMachine { terms: self.terms.machines(), bound: self })
    }

    fn groups(&self) -> Option<&[Vec<u32>]> {
        Some(&self.terms.groups.points)
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        let judged = self.terms.groups.of[slot].iter().filter(|m| self.terms.judges(m)).count();
        judged >= self.need[level]
    }

    fn remembers(&self) -> Micros {
        self.terms.remembers().saturating_add(self.within)
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let groups = &self.terms.groups;
        let (of, codes) = (groups.of[slot].len(), groups.codes(slot, |_| true));
        let within =
            if self.within > 0 { format!(" within {}", show_duration(self.within)) } else { String::new() };
        let condition = self.terms.describe(&groups.of[slot][0]);
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
    terms: TermMachines,
}

impl VoteMachine {
    /// Whether a member was over within the time; without one only what it says now counts.
    fn was_over(&self, slot: usize, member: usize, now: Micros) -> bool {
        self.bound.within > 0 && self.terms.members.was_over(slot, member, now, self.bound.within)
    }

    /// Each member's vote: over now, or within the time.
    fn votes(&self, slot: usize, now: Micros) -> impl Iterator<Item = Verdict> {
        let members = &self.terms.members;
        (0..self.bound.terms.groups.of[slot].len()).map(move |m| {
            if self.was_over(slot, m, now) { Verdict::Over } else { members.says(slot, m, now) }
        })
    }
}

impl Machine for VoteMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        if !self.terms.take(slot, r) {
            return f64::NAN;
        }
        let count = |is: Verdict| self.votes(slot, r.heard).filter(|v| *v == is).count();
        let (over, band, unknown) = (count(Verdict::Over), count(Verdict::Band), count(Verdict::Hold));
        for (verdict, need) in verdicts.iter_mut().zip(&self.bound.need) {
            *verdict = match *need {
                need if over >= need => Verdict::Over,
                need if over + unknown >= need => Verdict::Hold,
                need if over + unknown + band >= need => Verdict::Band,
                _ => Verdict::Below,
            };
        }
        over as f64
    }

    fn reason(&self, slot: usize, level: usize, _: f64, on: bool) -> String {
        let groups = &self.bound.terms.groups;
        let members = &self.terms.members;
        let newest = members.newest(slot);
        let is_over = |m| members.last_said(slot, m) == Verdict::Over || self.was_over(slot, m, newest);
        let over = (0..groups.of[slot].len()).filter(|m| is_over(*m)).count();
        let (of, need) = (groups.of[slot].len(), self.bound.need[level]);
        match (on, over) {
            (_, 0) => format!("none of {of} over, {need} needed"),
            (true, _) => format!("{over} of {of} over, {need} needed: {}", groups.codes(slot, is_over)),
            (false, _) => format!("{over} of {of} over, {need} needed"),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        self.terms.save(slot, out);
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let mut all = In(bytes);
        bytes.is_empty() || (self.terms.load(slot, &mut all).is_some() && all.0.is_empty())
    }
}
