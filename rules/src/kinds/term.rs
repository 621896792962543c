//! A condition of a rule across points: written like a rule of a kind that judges one point, with one level and no delays. Its kind's
//! own machine judges each member, so that a limit, a slope or a switch means the same in a relation as alone.

use super::group::{Groups, Member, Members};
use super::{Binding, Bound, Machine, Spec};
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
        Some(Self { unit, levels, spec })
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
            bound: self.spec.bind(&mut own, points).into(),
            slots: points.len(),
            width: self.levels.len(),
        }
    }
}

/// A condition bound to all its members.
#[derive(Debug)]
struct BoundTerm {
    bound: Arc<dyn Bound>,
    slots: usize,
    width: usize,
}

/// The conditions of a rule, bound to the members of all its groups.
#[derive(Debug)]
pub(super) struct Terms {
    pub groups: Arc<Groups>,
    terms: Vec<BoundTerm>,
}

impl Terms {
    /// Binds each condition to the members it is for.
    pub fn bind<'t>(groups: Groups, terms: impl IntoIterator<Item = &'t Term>, b: &mut Binding<'_>) -> Self {
        let terms = terms.into_iter().zip(&groups.terms).map(|(term, points)| term.bind(points, b)).collect();
        Self { terms, groups: Arc::new(groups) }
    }

    fn inner(&self, member: &Member) -> &dyn Bound {
        &*self.terms[member.term].bound
    }

    /// Whether farther over means a greater number at the own point.
    pub fn is_up(&self, slot: usize) -> bool {
        let own = &self.groups.of[slot][0];
        self.inner(own).is_up(own.inner, 0)
    }

    /// Whether a member has a limit to be judged by.
    pub fn judges(&self, member: &Member) -> bool {
        self.inner(member).judges(member.inner, 0)
    }

    /// How far back readings may lie that a verdict depends on.
    pub fn remembers(&self) -> Micros {
        let windows = self.terms.iter().map(|t| t.bound.remembers()).max().unwrap_or_default();
        windows.saturating_add(self.groups.remembers())
    }

    /// A member's condition for a person.
    pub fn describe(&self, member: &Member) -> String {
        let said = self.inner(member).describe(member.inner);
        said.first().map_or("is not judged".to_owned(), |(_, text, _)| text.clone())
    }

    /// Machines without history.
    pub fn machines(self: &Arc<Self>) -> TermMachines {
        let inner = self.terms.iter().map(|t| t.bound.clone().machine(t.slots)).collect();
        TermMachines { members: Members::new(self.groups.clone()), bound: self.clone(), inner }
    }
}

/// The conditions at work.
pub(super) struct TermMachines {
    pub bound: Arc<Terms>,
    pub members: Members,
    inner: Vec<Box<dyn Machine>>,
}

impl TermMachines {
    /// Takes a reading; false where nothing is to be decided.
    pub fn take(&mut self, slot: usize, r: &Reading) -> bool {
        let (bound, inner) = (&self.bound, &mut self.inner);
        self.members.take(slot, r, |member, r| {
            let term = &bound.terms[member.term];
            // Nothing is decided across points under the bit, unless the condition is about it.
            let calibrating = r.status & status::CALIBRATION != 0 && term.bound.minds_calibration();
            let mut said = [Verdict::Hold; LEVELS_MAX];
            let r = Reading { calibrating, ..*r };
            let number = inner[member.term].reading(member.inner, &r, &mut said[..term.width]);
            (if calibrating { Verdict::Hold } else { said[0] }, number)
        })
    }

    /// Why a member's condition holds, or does not.
    pub fn reason(&self, slot: usize, member: usize, on: bool) -> String {
        let is = &self.bound.groups.of[slot][member];
        let number = self.members.number(slot, member);
        format!("`{}` {}", is.code, self.inner[is.term].reason(is.inner, 0, number, on))
    }

    /// Bytes of a snapshot; none where no member spoke.
    pub fn save(&self, slot: usize, out: &mut Vec<u8>) {
        if self.members.is_silent(slot) {
            return;
        }
        let mut all = Out(Vec::new());
        self.members.save(slot, &mut all, |member| {
            let mut state = Vec::new();
            self.inner[member.term].save(member.inner, &mut state);
            state
        });
        out.append(&mut all.0);
    }

    /// Takes back what [`TermMachines::save`] wrote.
    pub fn load(&mut self, slot: usize, all: &mut In<'_>) -> Option<()> {
        let inner = &mut self.inner;
        self.members.load(slot, all, |member, state| {
            // State of another shape (a window that was changed) begins anew.
            inner[member.term].load(member.inner, state);
        })
    }
}
