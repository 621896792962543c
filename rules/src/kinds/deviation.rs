//! `deviation`: points that should agree differ: two sensors of one place, twins on one tank. The greatest less the least of what the
//! members of a group say now, against a limit.
//!
//! Good numbers only; two are enough to raise. It ends only while all members are known: who was apart may be the one that is silent.

use super::group::{By, Groups, Member, Members};
use super::shared::{Rung, decimal, may_clear, read_levels, read_rung};
use super::{Binding, Bound, Heard, Machine, Read, Spec};
use crate::bytes::{In, Out};
use crate::reading::{Reading, Verdict};
use model::time::Micros;
use model::toml_file::Section;
use std::sync::Arc;

#[derive(Clone, Debug)]
struct DeviationSpec {
    by: By,
    rungs: Vec<Rung>,
}

/// Reads `by`, and `on` and `off` at the rule or at each level.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let by = By::read(s, false);
    let (levels, rungs) = read_levels(s, "deviation", |s| {
        let at = s.str("on").map(|on| on.at);
        let rung = read_rung(s, "\">= 0.3\"")?;
        if rung.on.is_up() && rung.on.limit >= 0.0 {
            return Some(rung);
        }
        let message = format!("`on = \"{}\"` is no distance", rung.on.show());
        s.file().error_at(at.unwrap_or(s.at()), message, "write for example `on = \">= 0.3\"`");
        None
    })?;
    Some((levels, Arc::new(DeviationSpec { by: by?, rungs })))
}

impl Spec for DeviationSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let groups = Groups::alike(&self.by, points, b);
        let slots = groups.of.iter().map(|group| self.slot(group, b)).collect();
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(DeviationBound { groups: Arc::new(groups), slots, names })
    }
}

impl DeviationSpec {
    /// Limits in the unit of the own point, and what turns each member's numbers into it.
    fn slot(&self, group: &[Member], b: &mut Binding<'_>) -> Slot {
        let catalog = b.catalog;
        let own = catalog.point(group[0].ix);
        let mut slot = Slot { unit: own.unit.clone(), rungs: Vec::new(), to_own: Vec::new() };
        if group.len() < 2 {
            let message = format!(
                "rule `{}`: point `{}` of site `{}` has nothing to differ from",
                b.rule, own.code, own.site
            );
            b.warning(message, "group it with another point, or select fewer");
            return slot;
        }
        let Some(convert) = b.conversion(group[0].ix) else { return slot };
        for member in group {
            let point = catalog.point(member.ix);
            let same = (point.unit == own.unit).then_some((1.0, 0.0));
            match same.or_else(|| model::units::conversion(&point.unit, &own.unit, &own.quantity)) {
                Some(to_own) => slot.to_own.push(to_own),
                None => {
                    let message = format!(
                        "rule `{}`: points `{}` in `{}` and `{}` in `{}` of site `{}` cannot be compared",
                        b.rule, own.code, own.unit, point.code, point.unit, own.site
                    );
                    b.error(message, "select points of one quantity");
                    return slot;
                }
            }
        }
        // A distance has no zero of its own: of a conversion only the scale counts.
        slot.rungs = self.rungs.iter().map(|r| r.converted((convert.0, 0.0))).collect();
        slot
    }
}

#[derive(Debug)]
struct Slot {
    unit: String,
    /// One a level; none where the group is not judged.
    rungs: Vec<Rung>,
    /// One a member.
    to_own: Vec<(f64, f64)>,
}

#[derive(Debug)]
struct DeviationBound {
    groups: Arc<Groups>,
    slots: Vec<Slot>,
    names: Vec<String>,
}

impl Bound for DeviationBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(DeviationMachine { members: Members::new(self.groups.clone()), bound: self })
    }

    fn groups(&self) -> Option<Vec<Vec<u32>>> {
        Some(self.groups.points())
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        self.slots[slot].rungs.get(level).is_some()
    }

    fn remembers(&self) -> Micros {
        self.groups.remembers()
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let s = &self.slots[slot];
        let codes = self.groups.codes(slot, |_| true);
        let text =
            |r: &Rung| format!("{codes} apart on {} off {}", r.show(true, &s.unit), r.show(false, &s.unit));
        self.names.iter().zip(&s.rungs).map(|(name, r)| (name.clone(), text(r), "rule")).collect()
    }
}

struct DeviationMachine {
    bound: Arc<DeviationBound>,
    members: Members,
}

/// A number, and the member that says it.
type End = (f64, usize);

impl DeviationMachine {
    /// The least and the greatest that members say, which these are, and whether all say something.
    fn ends(&self, slot: usize, is_known: impl Fn(usize) -> bool) -> Option<(End, End, bool)> {
        let s = &self.bound.slots[slot];
        let (mut least, mut most, mut known) = ((f64::INFINITY, 0), (f64::NEG_INFINITY, 0), 0);
        for (m, (scale, offset)) in s.to_own.iter().enumerate().filter(|(m, _)| is_known(*m)) {
            let value = self.members.number(slot, m) * scale + offset;
            known += 1;
            least = if value < least.0 { (value, m) } else { least };
            most = if value > most.0 { (value, m) } else { most };
        }
        (known >= 2).then_some((least, most, known == s.to_own.len()))
    }
}

impl Machine for DeviationMachine {
    fn hear(&mut self, slot: usize, r: &Reading) -> Heard {
        // Over nothing by itself: that it says something is that its number is good.
        self.members.hear(slot, r, |_, _, r| match may_clear(r) && r.value.is_finite() {
            true => (Verdict::Below, r.value),
            false => (Verdict::Hold, r.value),
        })
    }

    fn decide(&mut self, slot: usize, now: Micros, verdicts: &mut [Verdict]) -> f64 {
        let known = |m| self.members.says(slot, m, now) != Verdict::Hold;
        let Some((least, most, are_all)) = self.ends(slot, known) else { return f64::NAN };
        let apart = decimal(most.0 - least.0);
        for (verdict, rung) in verdicts.iter_mut().zip(&self.bound.slots[slot].rungs) {
            *verdict = match rung.verdict(apart) {
                Verdict::Over => Verdict::Over,
                _ if !are_all => Verdict::Hold,
                other => other,
            };
        }
        apart
    }

    fn clock(&self, slot: usize) -> Option<u32> {
        self.members.clock(slot)
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let s = &self.bound.slots[slot];
        let Some(rung) = s.rungs.get(level) else { return String::new() };
        let said = |m| self.members.said(slot, m) != Verdict::Hold;
        let codes = &self.bound.groups.of[slot];
        let ends = self.ends(slot, said).map(|((least, a), (most, b), _)| {
            format!("`{}` {} and `{}` {}: ", codes[a].code, decimal(least), codes[b].code, decimal(most))
        });
        format!("{}{value} {} apart, {}", ends.unwrap_or_default(), s.unit, rung.show(on, &s.unit))
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        if self.members.newest(slot) != Micros::MIN {
            let mut all = Out(Vec::new());
            self.members.save(slot, &mut all, |_, _| Vec::new());
            out.append(&mut all.0);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let mut all = In(bytes);
        bytes.is_empty() || (self.members.load(slot, &mut all, |_, _, _| true).is_some() && all.0.is_empty())
    }
}
