//! The legal limits that a site may only tighten (domain: Coal Mine Safety Regulations, methane by place; CO 24 ppm), checked against
//! what the rules say of each point.

use crate::compile::Program;
use crate::kinds::limit::REPORTED;
use model::problem::Problem;
use model::{Catalog, Problems};

/// Highest alarm limit the law allows a point, in the quantity's usual unit; `None` where no law of ours limits it.
///
/// Methane by place class: T0, T1, T2, T5, T6, T8 1.0 %; T3, T4 0.5 %; T7 2.5 %. A place without a class is held to 1.5 %, the
/// mildest one of the table but T7's.
pub fn alarm_limit(quantity: &str, place: &str) -> Option<f64> {
    match (quantity, place) {
        ("ch4", "T3" | "T4") => Some(0.5),
        ("ch4", "T7") => Some(2.5),
        ("ch4", "T0" | "T1" | "T2" | "T5" | "T6" | "T8") => Some(1.0),
        ("ch4", _) => Some(1.5),
        ("co", _) => Some(24.0),
        _ => None,
    }
}

/// Points told by name before the rest is only counted.
const TOLD_MAX: usize = 10;

/// Points of a limited kind without a limit rule, and rules looser than the law.
pub fn check(program: &Program, catalog: &Catalog) -> Problems {
    let mut problems = Problems::default();
    let mut uncovered = Vec::new();
    for ix in 0..catalog.points().len() as u32 {
        let point = catalog.point(ix);
        if catalog.site_of(ix).kind != "mine" {
            continue;
        }
        let Some(legal) = alarm_limit(&point.quantity, &point.place) else { continue };
        match strictest(program, catalog, ix) {
            None => uncovered.push(ix),
            Some((limit, rule)) if limit > legal + 1e-9 => {
                let def = &program.defs()[rule];
                let (file, line, column) = &def.place;
                let message = format!(
                    "rule `{}` alarms point `{}` of site `{}` ({} {}) at {limit}, the law at {legal}",
                    def.name, point.code, point.site, point.quantity, point.place
                );
                let help = "a site may tighten a legal limit, never loosen it";
                problems.push(Problem::error(file, *line, *column, message).help(help));
            }
            Some(_) => {}
        }
    }
    let more = uncovered.len().saturating_sub(TOLD_MAX);
    for ix in uncovered.iter().take(TOLD_MAX) {
        let point = catalog.point(*ix);
        let message = format!(
            "point `{}` of site `{}` measures {} and no limit rule covers it",
            point.code, point.site, point.quantity
        );
        problems.push(
            Problem::error("rules", 0, 0, message)
                .help("add `packs = [\"coal\"]` to [rules], or a rule of its own"),
        );
    }
    if more > 0 {
        problems.push(Problem::error(
            "rules",
            0,
            0,
            format!("{more} more points of a limited kind are not covered"),
        ));
    }
    problems
}

/// The lowest upper limit of all levels of all limit rules of a point, in the usual unit, and its rule.
fn strictest(program: &Program, catalog: &Catalog, ix: u32) -> Option<(f64, usize)> {
    let point = catalog.point(ix);
    let usual = crate::kinds::usual_unit(&point.quantity);
    let unit = if point.unit.is_empty() { usual } else { &point.unit };
    let (scale, offset) = model::units::conversion(unit, usual, &point.quantity)?;
    let mut found: Option<(f64, usize)> = None;
    for (rule, slot) in program.of_point(ix) {
        let r = &program.bound_rules()[*rule as usize];
        if r.kind != "limit" {
            continue;
        }
        for (name, limits, _) in r.bound.describe(*slot as usize) {
            let on = limits.strip_prefix("on >= ").or_else(|| limits.strip_prefix("on > "));
            let number = on.and_then(|t| t.split(' ').next()).and_then(|t| t.parse::<f64>().ok());
            if let Some(limit) = number.filter(|_| name != REPORTED).map(|n| n * scale + offset)
                && found.is_none_or(|(now, _)| limit < now)
            {
                found = Some((limit, *rule as usize));
            }
        }
    }
    found
}
