//! `limit`: a ladder of levels, each on at a limit and off at its release, each its own latch.
//!
//! Limits come from the rule, from the point's own catalog fields (`on = "catalog"`), or from both: then the stricter sane one
//! counts. A catalog limit outside (low range, high range], or with its release on the wrong side, is refused with a warning and the
//! rule's stands. A level `reported` is added to every ladder: on when the mine's own alarm or cut bit comes with a bad value.

use super::shared::{Rung, catalog_rung, may_clear, read_rung};
use super::{Binding, Bound, Machine, Read, Shapes, Spec};
use crate::compare::Compare;
use crate::level::{LevelDef, Name, REPORTED, read_level};
use crate::reading::{Grade, Reading, Verdict, range};
use model::catalog::Limits;
use model::toml_file::Section;
use model::{Point, status};
use std::sync::Arc;

/// Limits of a level as the rule says them; `None`: the catalog's.
#[derive(Clone, Debug, PartialEq)]
struct LimitSpec {
    rungs: Vec<Option<Rung>>,
}

/// Reads `level = [{ name, on, off, .. }]`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let (mut levels, mut rungs) = (Vec::new(), Vec::new());
    let sections = s.tables("level");
    if sections.is_empty() {
        s.missing("level", "[{ name = \"alarm\", on = \">= 1.0\", off = \"< 1.0\" }]");
    }
    let mut whole = true;
    for (rank, level) in sections.into_iter().enumerate() {
        let def = read_level(&level, Name::Needed, rank);
        let rung = read_limit(&level);
        level.finish();
        match (def, rung) {
            (Some(def), Some(rung)) => {
                levels.push(def);
                rungs.push(rung);
            }
            _ => whole = false,
        }
    }
    for (i, pair) in rungs.windows(2).enumerate() {
        if let [Some(mild), Some(hard)] = pair
            && mild.on.is_up() == hard.on.is_up()
            && (if mild.on.is_up() { hard.on.limit < mild.on.limit } else { hard.on.limit > mild.on.limit })
        {
            let message = format!("level `{}` comes before level `{}`", levels[i + 1].name, levels[i].name);
            s.error(message, "write the levels from the mildest to the hardest");
        }
    }
    if let Some(first) = levels.first() {
        levels.push(LevelDef {
            name: REPORTED.to_owned(),
            severity: first.severity,
            on_delay: 0,
            off_delay: 0,
        });
    }
    (whole && !rungs.is_empty()).then(|| (levels, Arc::new(LimitSpec { rungs }) as Arc<dyn Spec>))
}

/// The outer `None` is a mistake that was told.
fn read_limit(s: &Section<'_>) -> Option<Option<Rung>> {
    if !s.has("on") || s.str("on")?.value != "catalog" {
        return read_rung(s, "\">= 1.0\"").map(Some);
    }
    if let Some(off) = s.str("off") {
        let message = "`off` has no meaning with `on = \"catalog\"`";
        s.file().error_at(off.at, message, "the catalog's release counts");
    }
    Some(None)
}

/// The limits of a level name in the catalog: on, off, upwards.
fn in_catalog(limits: &Limits, level: &str) -> Option<(Option<f64>, Option<f64>, bool)> {
    Some(match level {
        "alarm" | "high" => (limits.alarm_on, limits.alarm_off, true),
        "cut" | "high_high" => (limits.cut_on, limits.cut_off, true),
        "low_alarm" | "low" => (limits.low_alarm_on, limits.low_alarm_off, false),
        "low_cut" | "low_low" => (limits.low_cut_on, limits.low_cut_off, false),
        _ => return None,
    })
}

impl LimitSpec {
    fn rung(
        &self,
        i: usize,
        convert: (f64, f64),
        point: &Point,
        b: &mut Binding<'_>,
    ) -> (Option<Rung>, &'static str) {
        let name = &b.levels[i].name;
        let own = self.rungs[i].map(|r| r.converted(convert));
        let Some((Some(on), off, up)) = in_catalog(&point.limits, name) else { return (own, "rule") };
        if let Some(rule) = own
            && rule.on.is_up() != up
        {
            return (own, "rule");
        }
        let Some(catalog) = catalog_rung(point, on, off, up) else {
            let message = format!(
                "point `{}` of site `{}`: limit {on} with release {} of level `{name}` is refused; {}",
                point.code,
                point.site,
                off.unwrap_or(on),
                if own.is_some() { "the rule's stands" } else { "the level has no limit" }
            );
            b.warning(message, "a limit lies within the range, its release on the side of normal");
            return (own, "rule");
        };
        match own {
            None => (Some(catalog), "catalog"),
            Some(rule) => {
                let (rung, of_catalog) = rule.stricter(catalog);
                (Some(rung), if of_catalog { "catalog" } else { "rule" })
            }
        }
    }
}

impl Spec for LimitSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        // Limits of the catalog are in the point's unit: nothing is converted.
        let says_numbers = self.rungs.iter().any(Option::is_some);
        let slot = |&ix: &u32| {
            let convert = if says_numbers { b.conversion(ix) } else { Some((1.0, 0.0)) };
            let point = b.catalog.point(ix);
            let rungs = (0..self.rungs.len()).map(|i| match convert {
                Some(convert) => self.rung(i, convert, point, b),
                None => (None, "rule"),
            });
            let rungs = rungs.collect();
            let (low, high) = range(point);
            Slot { low, high, unit: point.unit.clone(), rungs }
        };
        Box::new(LimitBound { slots: points.iter().map(slot).collect(), names, width: self.rungs.len() })
    }
}

#[derive(Debug, PartialEq)]
struct Slot {
    low: f64,
    high: f64,
    unit: String,
    /// One a level, and where it comes from.
    rungs: Vec<(Option<Rung>, &'static str)>,
}

#[derive(Debug)]
struct LimitBound {
    slots: Shapes<Slot>,
    names: Vec<String>,
    width: usize,
}

impl Bound for LimitBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(LimitMachine(self))
    }

    fn is_up(&self, slot: usize, level: usize) -> bool {
        level == self.width || self.slots[slot].rungs[level].0.is_none_or(|r| r.on.is_up())
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        level == self.width || self.limit(slot, level).is_some()
    }

    fn limit(&self, slot: usize, level: usize) -> Option<(Compare, Compare)> {
        self.slots[slot].rungs.get(level)?.0.map(|r| (r.on, r.off))
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let shown = self.names.iter().zip(&self.slots[slot].rungs).filter_map(|(name, (rung, from))| {
            rung.map(|r| (name.clone(), format!("on {} off {}", r.on.show(), r.off.show()), *from))
        });
        shown.collect()
    }
}

struct LimitMachine(Arc<LimitBound>);

impl Machine for LimitMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        let bound = &*self.0;
        let s = &bound.slots[slot];
        let (verdicts, reported) = verdicts.split_at_mut(bound.width);
        let grade = r.grade(s.low, s.high);
        reported[0] = match grade {
            Grade::Bad if r.status & (status::ALARM | status::CUT) != 0 => Verdict::Over,
            Grade::Good(_) if may_clear(r) => Verdict::Below,
            _ => Verdict::Hold,
        };
        let (value, clears) = match grade {
            Grade::Good(v) => (v, may_clear(r)),
            Grade::OverRange(v) | Grade::Calibrating(v) => (v, false),
            Grade::Bad | Grade::Missing => {
                verdicts.fill(Verdict::Hold);
                return f64::NAN;
            }
        };
        for (verdict, (rung, _)) in verdicts.iter_mut().zip(&s.rungs) {
            *verdict = match rung {
                None => Verdict::Hold,
                Some(rung) if rung.on.holds(value) => Verdict::Over,
                Some(_) if !clears => Verdict::Hold,
                Some(rung) if rung.off.holds(value) => Verdict::Below,
                Some(_) => Verdict::Band,
            };
        }
        value
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let bound = &*self.0;
        if level == bound.width {
            let what = if on { "reported by the mine, unconfirmed" } else { "a good reading came" };
            return what.to_owned();
        }
        let unit = &bound.slots[slot].unit;
        match &bound.slots[slot].rungs[level] {
            (Some(rung), _) if value.is_infinite() => format!("over range, {} {unit}", rung.on.show()),
            (Some(rung), _) => {
                format!("{value} {} {unit}", if on { rung.on.show() } else { rung.off.show() })
            }
            (None, _) => String::new(),
        }
    }
}
