//! `limit`: a ladder of levels, each on at a limit and off at its release, each its own latch.
//!
//! Limits come from the rule, from the point's own catalog fields (`on = "catalog"`), or from both: then the stricter sane one
//! counts. A catalog limit outside (low range, high range], or with its release on the wrong side, is refused with a warning and the
//! rule's stands. A level `reported` is added to every ladder: on when the mine's own alarm or cut bit comes with a bad value.

use super::ladder::{Ladder, Slot};
use super::shared::{Rung, catalog_rung, read_rung};
use super::{Binding, Bound, Read, Spec};
use crate::level::{Name, read_level, reported};
use model::Point;
use model::catalog::Limits;
use model::toml_file::Section;
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
        levels.push(reported(first));
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
        // Limits of the catalog are in the point's unit: nothing is converted.
        let says_numbers = self.rungs.iter().any(Option::is_some);
        let slot = |&ix: &u32| {
            let convert = if says_numbers { b.conversion(ix) } else { Some((1.0, 0.0)) };
            let point = b.catalog.point(ix);
            let rungs = (0..self.rungs.len()).map(|i| match convert {
                Some(convert) => self.rung(i, convert, point, b),
                None => (None, "rule"),
            });
            Slot::new(point, rungs.collect())
        };
        let slots = points.iter().map(slot).collect();
        Box::new(Ladder::new(b.levels, vec![0; self.rungs.len()], slots))
    }
}
