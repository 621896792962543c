//! `copy`: a curve that was there before: of the point itself, played again, or of another point of its group. What bureaus fine most.
//!
//! A curve is the values of the last `changes` changes, whatever their times: two real sensors never share forty of them, as long as
//! enough of these differ. Each such stretch has a fingerprint; of four, by their content, one is kept and looked for, so that a thousand
//! fingerprints reach back four thousand changes. A stretch that is looked at and was never seen ends it.

use super::group::{By, Groups, Member, Members};
use super::shared::{decimal, may_clear, read_levels, refuse_unit};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::bytes::{In, Out};
use crate::reading::{Reading, Verdict};
use model::toml_file::Section;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Changes of a stretch, unless said otherwise.
const CHANGES: i64 = 40;
const CHANGES_MAX: i64 = 256;
/// Different values in it, unless said otherwise: a flutter between two values repeats itself.
const DISTINCT: i64 = 8;
/// One fingerprint of so many is kept and looked for.
const KEPT_OF: u64 = 4;
/// Fingerprints kept a member.
const KEPT: usize = 1024;

#[derive(Clone, Debug)]
struct CopySpec {
    /// `None`: each point for itself.
    by: Option<By>,
    changes: usize,
    distinct: usize,
}

/// Reads `by`, `changes` and `distinct`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    refuse_unit(s, "values are compared with values");
    let by = if s.has("by") { Some(By::read(s, false)?) } else { None };
    let changes = s.int("changes", 4, CHANGES_MAX).map_or(CHANGES, |n| n.value);
    let distinct = s.int("distinct", 1, CHANGES_MAX).map_or(DISTINCT.min(changes), |n| n.value);
    if distinct > changes {
        s.error("`distinct` is more than `changes`", "no stretch could have so many values");
        return None;
    }
    let (levels, _) = read_levels(s, "copy", |_| Some(()))?;
    Some((levels, Arc::new(CopySpec { by, changes: changes as usize, distinct: distinct as usize })))
}

impl Spec for CopySpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let groups = match &self.by {
            Some(by) => Groups::alike(by, points, b),
            None => Groups::new(points.iter().map(|ix| vec![(*ix, 0)]).collect(), 1, b),
        };
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(CopyBound { groups: Arc::new(groups), spec: self.clone(), names })
    }
}

#[derive(Debug)]
struct CopyBound {
    groups: Arc<Groups>,
    spec: CopySpec,
    names: Vec<String>,
}

impl Bound for CopyBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        let curves = self.groups.of.iter().map(|g| Curves::new(g.len())).collect();
        debug_assert_eq!(slots, self.groups.of.len());
        Box::new(CopyMachine { members: Members::new(self.groups.clone()), curves, bound: self })
    }

    fn groups(&self) -> Option<&[Vec<u32>]> {
        Some(&self.groups.points)
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let (n, distinct) = (self.spec.changes, self.spec.distinct);
        let of = self.groups.codes(slot, |_| true);
        let text = format!("{of}: {n} changes with {distinct} values or more that were there before");
        self.names.iter().map(|name| (name.clone(), text.clone(), "rule")).collect()
    }
}

/// The last changes of a member.
#[derive(Clone, Debug, Default)]
struct Tail {
    /// Bits of values, oldest first.
    values: VecDeque<u64>,
    /// Changes so far.
    count: u64,
}

/// A fingerprint, whose it is, and after how many of its changes.
#[derive(Clone, Copy, Debug)]
struct Print {
    hash: u64,
    member: usize,
    count: u64,
}

/// What is known of the curves of a group.
#[derive(Debug)]
struct Curves {
    tails: Vec<Tail>,
    kept: VecDeque<Print>,
    /// Who repeats whom, and how many changes before, as last found.
    found: Option<(usize, usize, u64)>,
}

impl Curves {
    fn new(members: usize) -> Self {
        Self { tails: vec![Tail::default(); members], kept: VecDeque::new(), found: None }
    }

    /// What a new value of a member says.
    fn take(&mut self, member: usize, value: f64, spec: &CopySpec) -> Verdict {
        let tail = &mut self.tails[member];
        let bits = decimal(value).to_bits();
        if tail.values.back() == Some(&bits) {
            return Verdict::Hold;
        }
        tail.values.push_back(bits);
        tail.count += 1;
        if tail.values.len() > spec.changes {
            tail.values.pop_front();
        }
        if tail.values.len() < spec.changes {
            return Verdict::Hold;
        }
        let mut hasher = blake3::Hasher::new();
        for value in &tail.values {
            hasher.update(&value.to_le_bytes());
        }
        let hash = u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("eight bytes"));
        let is_varied = tail.values.iter().collect::<BTreeSet<_>>().len() >= spec.distinct;
        if hash % KEPT_OF != 0 || !is_varied {
            return Verdict::Hold;
        }
        let count = tail.count;
        // Its own stretch that overlaps this one is no copy.
        let is_before =
            |p: &&Print| p.hash == hash && (p.member != member || count - p.count >= spec.changes as u64);
        let found = self.kept.iter().rev().find(is_before).copied();
        if self.kept.len() >= KEPT * self.tails.len() {
            self.kept.pop_front();
        }
        self.kept.push_back(Print { hash, member, count });
        match found {
            Some(print) => {
                let ago = if print.member == member { count - print.count } else { 0 };
                self.found = Some((member, print.member, ago));
                Verdict::Over
            }
            None => Verdict::Below,
        }
    }
}

struct CopyMachine {
    bound: Arc<CopyBound>,
    members: Members,
    curves: Vec<Curves>,
}

impl Machine for CopyMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        let (curves, spec) = (&mut self.curves[slot], &self.bound.spec);
        let judge = |member: &Member, r: &Reading| match may_clear(r) && r.value.is_finite() {
            true => (curves.take(member.number, r.value, spec), r.value),
            false => (Verdict::Hold, r.value),
        };
        if !self.members.take(slot, r, judge) {
            return f64::NAN;
        }
        verdicts.fill(self.members.last_said(slot, r.member as usize));
        r.value
    }

    fn reason(&self, slot: usize, _: usize, _: f64, on: bool) -> String {
        let n = self.bound.spec.changes;
        let code = |m: usize| &self.bound.groups.of[slot][m].code;
        match self.curves[slot].found {
            _ if !on => format!("{n} changes that were not there before"),
            Some((a, b, ago)) if a == b => {
                format!("the last {n} changes of `{}` are those {ago} changes before", code(a))
            }
            Some((a, b, _)) => format!("the last {n} changes of `{}` are those of `{}`", code(a), code(b)),
            None => String::new(),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        if self.members.is_silent(slot) {
            return;
        }
        let (mut all, curves) = (Out(Vec::new()), &self.curves[slot]);
        self.members.save(slot, &mut all, |member| {
            let (mut bytes, tail) = (Out(Vec::new()), &curves.tails[member.number]);
            bytes.u64(tail.count);
            tail.values.iter().for_each(|v| bytes.u64(*v));
            bytes.0
        });
        let ids = |m: usize| self.bound.groups.of[slot][m].id() as u64;
        all.u64(self.bound.spec.changes as u64);
        all.u32(curves.kept.len() as u32);
        for print in &curves.kept {
            all.u64(print.hash);
            all.u64(ids(print.member));
            all.u64(print.count);
        }
        all.u32(u32::from(curves.found.is_some()));
        if let Some((a, b, ago)) = curves.found {
            all.u64(ids(a));
            all.u64(ids(b));
            all.u64(ago);
        }
        out.append(&mut all.0);
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.curves[slot] = Curves::new(self.bound.groups.of[slot].len());
        bytes.is_empty() || self.read(slot, &mut In(bytes)).is_some()
    }
}

impl CopyMachine {
    /// Takes back what `save` wrote; a member that is gone takes its fingerprints with it, another length begins anew.
    fn read(&mut self, slot: usize, all: &mut In<'_>) -> Option<()> {
        let (curves, changes) = (&mut self.curves[slot], self.bound.spec.changes);
        self.members.load(slot, all, |member, state| {
            let mut state = In(state);
            let count = state.u64().unwrap_or_default();
            let values = std::iter::from_fn(|| state.u64()).collect();
            curves.tails[member.number] = Tail { values, count };
        })?;
        let same = all.u64()? == changes as u64;
        let group = &self.bound.groups.of[slot];
        let member = |id: u64| group.iter().position(|m| m.id() as u64 == id);
        for _ in 0..all.u32()? {
            let (hash, id, count) = (all.u64()?, all.u64()?, all.u64()?);
            curves.kept.extend(member(id).map(|member| Print { hash, member, count }));
        }
        if all.u32()? == 1 {
            let (a, b, ago) = (all.u64()?, all.u64()?, all.u64()?);
            curves.found = member(a).zip(member(b)).map(|(a, b)| (a, b, ago));
        }
        if !same {
            *curves = Curves::new(group.len());
        }
        all.0.is_empty().then_some(())
    }
}
