//! The legal limits that a site may only tighten, checked against what the rules say of each point: alarm, cut, release and delay.
//!
//! Source: domain 1.3, Coal Mine Safety Regulations and AQ 1029-2019, methane by place (the rows the sources confirm), and CO 24 ppm.

use crate::compare::{Compare, Op};
use crate::compile::Program;
use model::problem::Problem;
use model::time::{Micros, SECOND, show_duration};
use model::{Catalog, Problems};
use std::collections::BTreeMap;

/// What the law says of a place, in the quantity's usual unit: on at or above, off below.
#[derive(Clone, Copy, Debug)]
struct Legal {
    alarm: f64,
    /// Cut and restore.
    cut: Option<(f64, f64)>,
}

/// Methane by place class: T0 to T8, and words for the rows without a class.
const METHANE: [(&[&str], Legal); 5] = [
    (&["T0", "T1", "T5", "shearer"], Legal { alarm: 1.0, cut: Some((1.5, 1.0)) }),
    (&["T2", "T6", "T8", "return-middle"], Legal { alarm: 1.0, cut: Some((1.0, 1.0)) }),
    (&["T3", "T4", "haulage", "series-fan"], Legal { alarm: 0.5, cut: Some((0.5, 0.5)) }),
    (&["T7"], Legal { alarm: 2.5, cut: Some((2.5, 2.5)) }),
    (&["bunker"], Legal { alarm: 1.5, cut: Some((1.5, 1.5)) }),
];

/// Methane at a place without a class: the mildest row but T7's.
const METHANE_ELSEWHERE: Legal = Legal { alarm: 1.5, cut: Some((1.5, 1.5)) };

const MONOXIDE: Legal = Legal { alarm: 24.0, cut: None };

/// Longest on-delay of a legal level: a cut by methane is due within 2 s (domain 1.2). A long off-delay is no looser.
const ON_DELAY_MAX: Micros = 2 * SECOND;

/// Points told by name before the rest is only counted.
const TOLD_MAX: usize = 10;

fn legal(quantity: &str, place: &str) -> Option<Legal> {
    match quantity {
        "ch4" => {
            let row = METHANE.iter().find(|(places, _)| places.contains(&place));
            Some(row.map_or(METHANE_ELSEWHERE, |(_, legal)| *legal))
        }
        "co" => Some(MONOXIDE),
        _ => None,
    }
}

/// What the law says of a point, in words; `None` where it says nothing.
pub fn of_point(catalog: &Catalog, ix: u32) -> Option<String> {
    let point = catalog.point(ix);
    let legal = legal(&point.quantity, &point.place).filter(|_| catalog.site_of(ix).kind == "mine")?;
    let unit = crate::kinds::usual_unit(&point.quantity);
    let cut = legal.cut.map(|(on, off)| format!(", cut on >= {on} {unit} off < {off} {unit}"));
    Some(format!(
        "alarm on >= {} {unit} off < {} {unit}{}",
        legal.alarm,
        legal.alarm,
        cut.unwrap_or_default()
    ))
}

/// An upper level of a rule at a point, in the usual unit.
struct Level<'a> {
    rule: usize,
    name: &'a str,
    on: Compare,
    off: Compare,
    on_delay: Micros,
}

impl Level<'_> {
    fn is_cut(&self) -> bool {
        matches!(self.name, "cut" | "high_high")
    }

    /// In what it is looser than on at or above `on`, off below `off`, at once.
    fn looser(&self, on: f64, off: f64) -> Vec<String> {
        // Conversions leave something in the last digits.
        let above = |a: f64, b: f64| a > b + 1e-9 * b.abs();
        let same = |a: f64, b: f64| !above(a, b) && !above(b, a);
        let mut ways = Vec::new();
        if above(self.on.limit, on) || (self.on.op == Op::Gt && same(self.on.limit, on)) {
            ways.push(format!("is on {}, the law at {on}", self.on.show()));
        }
        if above(self.off.limit, off) || (self.off.op == Op::Le && same(self.off.limit, off)) {
            ways.push(format!("is off {}, the law below {off}", self.off.show()));
        }
        if self.on_delay > ON_DELAY_MAX {
            let (is, may) = (show_duration(self.on_delay), show_duration(ON_DELAY_MAX));
            ways.push(format!("is on after {is}, the law at once, within {may}"));
        }
        ways
    }
}

impl Program {
    /// Points of a legally limited kind that no rule covers, and limits looser than the legal ones.
    pub fn check_coverage(&self, catalog: &Catalog) -> Problems {
        check(self, catalog)
    }
}

fn check(program: &Program, catalog: &Catalog) -> Problems {
    let mut problems = Problems::default();
    let mut uncovered = Vec::new();
    let mut loose = Loose::default();
    for ix in 0..catalog.points().len() as u32 {
        let point = catalog.point(ix);
        if catalog.site_of(ix).kind != "mine" {
            continue;
        }
        let Some(legal) = legal(&point.quantity, &point.place) else { continue };
        let levels = upper_levels(program, catalog, ix);
        let (cuts, alarms): (Vec<&Level<'_>>, Vec<_>) = levels.iter().partition(|l| l.is_cut());
        // A rule that names an alarm means it; without one any level will do.
        let named: Vec<_> = alarms.iter().copied().filter(|l| matches!(l.name, "alarm" | "high")).collect();
        let alarms = [named, alarms, levels.iter().collect()].into_iter().find(|l| !l.is_empty());
        match alarms {
            None => uncovered.push(ix),
            Some(alarms) => {
                loose.compare(ix, &alarms, legal.alarm, legal.alarm);
                if let Some((on, off)) = legal.cut {
                    loose.compare(ix, &cuts, on, off);
                }
            }
        }
    }
    loose.tell(program, catalog, &mut problems);
    tell_uncovered(&uncovered, catalog, &mut problems);
    problems
}

/// What is looser: by rule, level and way; whether another level stands for it everywhere; the first point, and how many.
#[derive(Default)]
struct Loose(BTreeMap<(usize, String, String), (bool, u32, usize)>);

impl Loose {
    /// Compares the levels that stand for one legal level of a point: one that is strict enough is what the law asks.
    fn compare(&mut self, ix: u32, levels: &[&Level<'_>], on: f64, off: f64) {
        let met = levels.iter().any(|l| l.looser(on, off).is_empty());
        for level in levels {
            for way in level.looser(on, off) {
                let found = self.0.entry((level.rule, level.name.to_owned(), way)).or_insert((true, ix, 0));
                found.0 &= met;
                found.2 += 1;
            }
        }
    }

    fn tell(self, program: &Program, catalog: &Catalog, problems: &mut Problems) {
        for ((rule, level, way), (met, ix, count)) in self.0 {
            let (def, point) = (&program.defs()[rule], catalog.point(ix));
            let (file, line, column) = &def.place;
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            let message = format!(
                "rule `{}`: level `{level}` at point `{}` of site `{}` ({} {}){more} {way}",
                def.name, point.code, point.site, point.quantity, point.place
            );
            problems.push(if met {
                Problem::warning(file, *line, *column, message)
                    .help("another rule is as strict as the law; give this level another name")
            } else {
                Problem::error(file, *line, *column, message)
                    .help("a site may tighten a legal limit, never loosen it")
            });
        }
    }
}

fn tell_uncovered(uncovered: &[u32], catalog: &Catalog, problems: &mut Problems) {
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
    let more = uncovered.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        let message = format!("{more} more points of a limited kind are not covered");
        problems.push(Problem::error("rules", 0, 0, message));
    }
}

/// All levels of a point that rise at a limit.
fn upper_levels<'a>(program: &'a Program, catalog: &Catalog, ix: u32) -> Vec<Level<'a>> {
    let point = catalog.point(ix);
    let usual = crate::kinds::usual_unit(&point.quantity);
    let unit = if point.unit.is_empty() { usual } else { &point.unit };
    let Some(to_usual) = model::units::conversion(unit, usual, &point.quantity) else { return Vec::new() };
    let mut levels = Vec::new();
    for (rule, slot) in program.slots_at(ix) {
        let rule = rule as usize;
        let r = &program.bound_rules()[rule];
        for (i, def) in r.levels.iter().enumerate() {
            if let Some((on, off)) = r.bound.limit(slot as usize, i).filter(|(on, _)| on.is_up()) {
                let (on, off) = (on.converted(to_usual), off.converted(to_usual));
                levels.push(Level { rule, name: &def.name, on, off, on_delay: def.on_delay });
            }
        }
    }
    levels
}
