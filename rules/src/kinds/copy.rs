//! `copy`: a curve that was there before: of the point itself, played again, or of another point of its group. What bureaus fine most.
//!
//! A curve is the values of the last `changes` changes, whatever their times: two real sensors never share forty of them, as long as
//! enough of these differ. Each such stretch has a fingerprint; of four, by their content, one is kept and looked for, so that a thousand
//! fingerprints of a member reach back four thousand changes of it. A member is a copy from a stretch that was there before until one that
//! was not; a group is over while any of its members is.

use super::group::{By, Groups, Members};
use super::shared::{decimal, may_clear, read_levels, refuse_unit};
use super::{Binding, Bound, Heard, Machine, Read, Spec};
use crate::bytes::{In, Out};
use crate::reading::{Reading, Verdict};
use model::time::Micros;
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
            None => Groups::new(points.iter().map(|ix| vec![(*ix, 0)]).collect(), 1, b.catalog),
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

    fn groups(&self) -> Option<Vec<Vec<u32>>> {
        Some(self.groups.points())
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
    count: u32,
    /// Its fingerprints, each after so many of its changes, oldest first.
    prints: VecDeque<(u64, u32)>,
    /// Whom it repeats, and how many changes before where that is itself.
    repeats: Option<(u32, u32)>,
}

/// What is known of the curves of a group.
#[derive(Debug)]
struct Curves {
    tails: Vec<Tail>,
    /// Fingerprints that are kept: whose, and after how many of its changes.
    kept: BTreeSet<Print>,
    /// Those that came at a time which is not over yet. Of two that have the same one then neither was first: each is a copy.
    new: Vec<Print>,
}

/// A fingerprint, whose it is, and after how many of its changes.
type Print = (u64, u32, u32);

impl Curves {
    fn new(members: usize) -> Self {
        Self { tails: vec![Tail::default(); members], kept: BTreeSet::new(), new: Vec::new() }
    }

    /// Takes a good value of a member.
    fn take(&mut self, member: u32, value: f64, spec: &CopySpec) {
        let tail = &mut self.tails[member as usize];
        let bits = decimal(value).to_bits();
        if tail.values.back() == Some(&bits) {
            return;
        }
        tail.values.push_back(bits);
        tail.count += 1;
        if tail.values.len() > spec.changes {
            tail.values.pop_front();
        }
        if tail.values.len() < spec.changes {
            return;
        }
        let mut hasher = blake3::Hasher::new();
        for value in &tail.values {
            hasher.update(&value.to_le_bytes());
        }
        let hash = u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("eight bytes"));
        let is_looked_for = hash.is_multiple_of(KEPT_OF);
        if !is_looked_for || tail.values.iter().collect::<BTreeSet<_>>().len() < spec.distinct {
            return;
        }
        tail.prints.push_back((hash, tail.count));
        self.kept.insert((hash, member, tail.count));
        self.new.push((hash, member, tail.count));
        if tail.prints.len() > KEPT
            && let Some((hash, then)) = tail.prints.pop_front()
        {
            self.kept.remove(&(hash, member, then));
        }
    }

    /// Whether a stretch of a member was there before.
    fn judge(&mut self, (hash, member, count): Print, spec: &CopySpec) -> bool {
        // Its own stretch that overlaps this one is no copy.
        let is_before = |&&(_, by, then): &&Print| by != member || then + spec.changes as u32 <= count;
        let before = self.kept.range((hash, 0, 0)..=(hash, u32::MAX, u32::MAX)).rev().find(is_before);
        let repeats = before.map(|&(_, by, then)| (by, if by == member { count - then } else { 0 }));
        self.tails[member as usize].repeats = repeats;
        repeats.is_some()
    }
}

struct CopyMachine {
    bound: Arc<CopyBound>,
    members: Members,
    curves: Vec<Curves>,
}

impl CopyMachine {
    /// The first member that is a copy.
    fn copy(&self, slot: usize) -> Option<usize> {
        (0..self.bound.groups.of[slot].len()).find(|m| self.members.held(slot, *m) == Some(true))
    }
}

impl Machine for CopyMachine {
    fn hear(&mut self, slot: usize, r: &Reading) -> Heard {
        let is_good = may_clear(r) && r.value.is_finite();
        // Whether it is a copy is seen when all of its time has come.
        let says = if is_good { Verdict::Band } else { Verdict::Hold };
        let heard = self.members.hear(slot, r, |_, _, r| (says, r.value));
        let curves = &mut self.curves[slot];
        if heard == Heard::Anew {
            *curves = Curves::new(self.bound.groups.of[slot].len());
        }
        if heard != Heard::Nothing && is_good {
            curves.take(r.member, r.value, &self.bound.spec);
        }
        heard
    }

    fn decide(&mut self, slot: usize, _: Micros, verdicts: &mut [Verdict]) -> f64 {
        let curves = &mut self.curves[slot];
        for print in std::mem::take(&mut curves.new) {
            let is_copy = curves.judge(print, &self.bound.spec);
            self.members.tell(slot, print.1 as usize, is_copy);
        }
        let copy = self.copy(slot);
        let mut members = 0..self.bound.groups.of[slot].len();
        verdicts.fill(match copy {
            Some(_) => Verdict::Over,
            // Nobody was looked at since all state was lost: nothing ends.
            None if members.all(|m| self.members.held(slot, m).is_none()) => Verdict::Hold,
            None => Verdict::Below,
        });
        self.members.number(slot, copy.unwrap_or(0))
    }

    fn clock(&self, slot: usize) -> Option<u32> {
        self.members.clock(slot)
    }

    fn reason(&self, slot: usize, _: usize, _: f64, on: bool) -> String {
        let n = self.bound.spec.changes;
        let code = |m: u32| &self.bound.groups.of[slot][m as usize].code;
        let Some(a) = self.copy(slot).filter(|_| on) else {
            return format!("{n} changes that were not there before");
        };
        let repeats = self.curves[slot].tails[a].repeats;
        let (a, whose) = (a as u32, format!("the last {n} changes of `{}`", code(a as u32)));
        match repeats {
            Some((b, ago)) if a == b => format!("{whose} are those {ago} changes before"),
            Some((b, _)) => format!("{whose} are those of `{}`", code(b)),
            None => format!("{whose} were there before"),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        if self.members.newest(slot) == Micros::MIN {
            return;
        }
        let (mut all, curves) = (Out(Vec::new()), &self.curves[slot]);
        all.u64(self.bound.spec.changes as u64);
        let id = |m: u32| self.bound.groups.of[slot][m as usize].id as u64;
        self.members.save(slot, &mut all, |m, _| {
            let (mut bytes, tail) = (Out(Vec::new()), &curves.tails[m]);
            bytes.u32(tail.count);
            bytes.u32(u32::from(tail.repeats.is_some()));
            tail.repeats.inspect(|(by, ago)| {
                bytes.u64(id(*by));
                bytes.u32(*ago);
            });
            bytes.u32(tail.values.len() as u32);
            tail.values.iter().for_each(|v| bytes.u64(*v));
            let is_new = |hash, count| curves.new.contains(&(hash, m as u32, count));
            tail.prints.iter().for_each(|&(hash, count)| {
                bytes.u64(hash);
                bytes.u32(count);
                bytes.u32(u32::from(is_new(hash, count)));
            });
            bytes.0
        });
        out.append(&mut all.0);
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let group = &self.bound.groups.of[slot];
        self.curves[slot] = Curves::new(group.len());
        let (curves, mut all) = (&mut self.curves[slot], In(bytes));
        if bytes.is_empty() {
            return true;
        }
        // Of another length nothing is of use.
        let same = all.u64() == Some(self.bound.spec.changes as u64);
        let position = |id: u64| (0..).zip(group).find(|(_, m)| m.id as u64 == id).map(|(m, _)| m);
        let loaded = self.members.load(slot, &mut all, |m, _, state| {
            same && load_tail(curves, m as u32, &mut In(state), position).is_some()
        });
        loaded.is_some() && all.0.is_empty()
    }
}

/// Takes back what a member remembers. Whom it repeats may be gone: then it is known to be a copy, and not of whom.
fn load_tail(
    curves: &mut Curves,
    member: u32,
    all: &mut In<'_>,
    position: impl Fn(u64) -> Option<u32>,
) -> Option<()> {
    let mut tail = Tail { count: all.u32()?, ..Tail::default() };
    if all.u32()? == 1 {
        let (by, ago) = (all.u64()?, all.u32()?);
        tail.repeats = position(by).map(|by| (by, ago));
    }
    for _ in 0..all.u32()? {
        tail.values.push_back(all.u64()?);
    }
    while !all.0.is_empty() {
        let (hash, count, is_new) = (all.u64()?, all.u32()?, all.u32()? == 1);
        tail.prints.push_back((hash, count));
        curves.kept.insert((hash, member, count));
        if is_new {
            curves.new.push((hash, member, count));
        }
    }
    curves.tails[member as usize] = tail;
    Some(())
}
