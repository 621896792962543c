//! A condition of a rule across points: written like a rule of a kind that judges one point, with one level and no delays. Its kind's
//! own machine judges each member, so that a limit, a slope or a switch means the same in a relation as alone.

use super::group::{Groups, Member, Members};
use super::shared::shape;
use super::{Binding, Bound, Heard, Machine, Spec};
use crate::bytes::{In, Out};
use crate::level::{LEVELS_MAX, LevelDef, REPORTED};
use crate::reading::{Reading, Verdict};
use model::status;
use model::time::Micros;
use model::toml_file::Section;
use std::sync::Arc;

/// A condition.
#[derive(Clone, Debug)]
pub(super) struct Term {
    kind: &'static str,
    unit: String,
    levels: Vec<LevelDef>,
    spec: Arc<dyn Spec>,
}

impl Term {
    /// Reads a condition from its own table; other keys of it are read before.
    pub fn read(s: &Section<'_>) -> Option<Self> {
        let words: Vec<&str> = super::all().iter().filter(|k| k.is_condition).map(|k| k.name).collect();
        if !s.has("kind") {
            s.missing("kind", "\"limit\"");
        }
        let kind = s.one_of("kind", &words)?.value;
        let unit = s.str("unit").map(|t| t.value.to_owned()).unwrap_or_default();
        let kind = super::all().iter().find(|k| k.name == kind)?;
        let (levels, spec) = (kind.read)(s)?;
        if levels.iter().filter(|l| l.name != REPORTED).count() != 1 {
            s.error("a condition has one level", "write a rule for each");
            return None;
        }
        if levels[0].on_delay > 0 || levels[0].off_delay > 0 {
            s.error("a condition has no delay of its own", "give the rule `on_delay` or `off_delay`");
            return None;
        }
        Some(Self { kind: kind.name, unit, levels, spec })
    }

    /// Bound to its members, a slot each.
    fn bind(&self, points: &[u32], b: &mut Binding<'_>) -> BoundTerm {
        let mut own = Binding {
            rule: b.rule,
            unit: &self.unit,
            levels: &self.levels,
            place: b.place,
            catalog: b.catalog,
            problems: &mut *b.problems,
        };
        BoundTerm {
            kind: shape(self.kind, ""),
            spec: shape(&format!("{}{:?}{:?}", self.kind, self.levels, self.spec), &self.unit),
            bound: self.spec.bind(&mut own, points).into(),
            slots: points.len(),
            width: self.levels.len(),
        }
    }
}

/// A condition bound to all its members.
#[derive(Debug)]
struct BoundTerm {
    /// What a snapshot was made by: its kind, and all that its table says.
    kind: u64,
    spec: u64,
    bound: Arc<dyn Bound>,
    slots: usize,
    width: usize,
}

/// The conditions of a rule, bound to the members of all its groups.
#[derive(Debug)]
pub(super) struct Terms {
    pub groups: Arc<Groups>,
    terms: Vec<BoundTerm>,
    /// For each member whether its condition can be judged; one without a limit is left out.
    judged: Vec<Vec<bool>>,
}

impl Terms {
    /// Binds each condition to the members it is for.
    pub fn bind<'t>(groups: Groups, terms: impl IntoIterator<Item = &'t Term>, b: &mut Binding<'_>) -> Self {
        let terms = terms.into_iter().zip(&groups.terms).map(|(term, points)| term.bind(points, b));
        let terms: Vec<BoundTerm> = terms.collect();
        let is_judged = |m: &Member| terms[m.term].bound.judges(m.inner, 0);
        let judged = groups.of.iter().map(|g| g.iter().map(is_judged).collect()).collect();
        Self { terms, judged, groups: Arc::new(groups) }
    }

    /// The members of a group that a condition is for and can judge.
    pub fn judged(&self, slot: usize, term: usize) -> impl Iterator<Item = usize> {
        let members = self.groups.of[slot].iter().zip(&self.judged[slot]).enumerate();
        members.filter(move |(_, (m, judged))| m.term == term && **judged).map(|(i, _)| i)
    }

    /// Whether each condition has somebody whom it can judge.
    pub fn judges(&self, slot: usize) -> bool {
        (0..self.terms.len()).all(|term| self.judged(slot, term).next().is_some())
    }

    /// Whether farther over means a greater number at the own point.
    pub fn is_up(&self, slot: usize) -> bool {
        let own = &self.groups.of[slot][0];
        self.terms[own.term].bound.is_up(own.inner, 0)
    }

    /// How far back readings may lie that a verdict depends on.
    pub fn remembers(&self) -> Micros {
        let windows = self.terms.iter().map(|t| t.bound.remembers()).max().unwrap_or_default();
        windows.saturating_add(self.groups.remembers())
    }

    /// A condition for a person, as it is at the first member that it can judge.
    pub fn describe(&self, slot: usize, term: usize) -> String {
        let member = self.judged(slot, term).next().map(|m| &self.groups.of[slot][m]);
        let said = member.map(|m| self.terms[term].bound.describe(m.inner)).unwrap_or_default();
        said.first().map_or("is not judged".to_owned(), |(_, text, _)| text.clone())
    }

    /// Machines without history.
    pub fn machines(self: &Arc<Self>) -> TermMachines {
        let inner = self.terms.iter().map(|t| t.bound.clone().machine(t.slots)).collect();
        TermMachines { members: Members::new(self.groups.clone()), terms: self.clone(), inner }
    }
}

/// The conditions at work.
pub(super) struct TermMachines {
    pub terms: Arc<Terms>,
    pub members: Members,
    inner: Vec<Box<dyn Machine>>,
}

impl TermMachines {
    /// Takes a reading of a member.
    pub fn hear(&mut self, slot: usize, r: &Reading) -> Heard {
        let (terms, inner) = (&self.terms.terms, &mut self.inner);
        self.members.hear(slot, r, |_, member, r| {
            let term = &terms[member.term];
            // Nothing is decided across points under the bit, unless the condition is about it.
            let calibrating = r.status & status::CALIBRATION != 0 && term.bound.minds_calibration();
            let mut said = [Verdict::Hold; LEVELS_MAX];
            let r = Reading { calibrating, ..*r };
            let number = inner[member.term].reading(member.inner, &r, &mut said[..term.width]);
            (if calibrating { Verdict::Hold } else { said[0] }, number)
        })
    }

    /// What the members say at a time that a condition is for and can judge.
    pub fn say(&self, slot: usize, term: usize, now: Micros) -> impl Iterator<Item = Verdict> {
        self.terms.judged(slot, term).map(move |m| self.members.says(slot, m, now))
    }

    /// Why a member's condition holds, or does not, by a number that it was judged by.
    pub fn reason(&self, slot: usize, member: usize, number: f64, on: bool) -> String {
        let is = &self.terms.groups.of[slot][member];
        format!("`{}` {}", is.code, self.inner[is.term].reason(is.inner, 0, number, on))
    }

    /// Bytes of a snapshot; none where no member spoke.
    pub fn save(&self, slot: usize, out: &mut Vec<u8>) {
        if self.members.newest(slot) == Micros::MIN {
            return;
        }
        let mut all = Out(Vec::new());
        self.members.save(slot, &mut all, |_, member| {
            let (term, mut state) = (&self.terms.terms[member.term], Out(Vec::new()));
            state.u64(term.kind);
            state.u64(term.spec);
            self.inner[member.term].save(member.inner, &mut state.0);
            state.0
        });
        out.append(&mut all.0);
    }

    /// Takes back what [`TermMachines::save`] wrote, from the front; true where there was nothing.
    pub fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let (terms, inner) = (&self.terms.terms, &mut self.inner);
        let mut all = In(bytes);
        let mut load = || {
            self.members.load(slot, &mut all, |_, member, state| {
                let (term, mut state) = (&terms[member.term], In(state));
                let saved = state.u64().zip(state.u64());
                // Of another kind nothing is of use; of the same one with other keys what it remembers, as far as it understands that.
                let is_kind = saved.is_some_and(|(kind, _)| kind == term.kind);
                let is_loaded = is_kind && inner[member.term].load(member.inner, state.0);
                is_loaded && saved.is_some_and(|(_, spec)| spec == term.spec)
            })
        };
        bytes.is_empty() || (load().is_some() && all.0.is_empty())
    }
}
