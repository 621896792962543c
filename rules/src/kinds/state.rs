//! `state`: a switch or multi-state point has its dangerous value. Which one that is depends on the type: 0 for fans and air ducts, 1
//! for smoke and air doors; the rule may say another. A value that is neither the dangerous nor a safe one says nothing.
//!
//! A level `reported` is added: on when the mine's own alarm or cut bit comes with a bad value.

use super::shared::{may_clear, read_levels, refuse_unit};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::level::reported;
use crate::reading::{Grade, Reading, Verdict};
use model::toml_file::Section;
use model::{Point, status};
use std::sync::Arc;

/// Codes of states are small numbers.
const CODE_MAX: i64 = 65_535;

/// What the values of a point mean.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Meaning {
    danger: f64,
    safe: [f64; 2],
}

const fn danger(danger: f64, safe: f64) -> Meaning {
    Meaning { danger, safe: [safe, safe] }
}

/// Dangerous values by national sensor type and, where a point has none, by quantity: MT/T 1201.1, types of switches. Types that are
/// not here (doors of equipment, switches, bunkers, feeds) are dangerous either way or neither: the rule must say.
const BY_TYPE: [(&str, &str, Meaning); 9] = [
    ("1001", "fan", danger(0.0, 1.0)),
    ("1002", "door", danger(1.0, 0.0)),
    ("1003", "duct", danger(0.0, 1.0)),
    ("1006", "wind_direction", danger(0.0, 1.0)),
    ("1008", "smoke", danger(1.0, 0.0)),
    ("1010", "main_fan", danger(0.0, 1.0)),
    ("1012", "alarm_device", danger(1.0, 0.0)),
    ("4001", "substation", danger(0.0, 1.0)),
    // 0 no supply; 1 mains, 2 battery: both feed the station.
    ("4002", "power_supply", Meaning { danger: 0.0, safe: [1.0, 2.0] }),
];

fn by_type(point: &Point) -> Option<Meaning> {
    let is = |(code, quantity, _): &&(&str, &str, Meaning)| match point.type_code.as_str() {
        "" => *quantity == point.quantity,
        own => *code == own,
    };
    BY_TYPE.iter().find(is).map(|(.., meaning)| *meaning)
}

/// For each level what the rule says; `None`: by type.
#[derive(Clone, Debug, PartialEq)]
struct StateSpec {
    meanings: Vec<Option<Meaning>>,
}

/// Reads `danger` and `safe`, at the rule or at each level.
pub fn read(s: &Section<'_>) -> Option<Read> {
    refuse_unit(s, "a state is a number without one");
    let (mut levels, meanings) = read_levels(s, "state", read_meaning)?;
    levels.push(reported(levels.first()?));
    Some((levels, Arc::new(StateSpec { meanings })))
}

/// The outer `None` is a mistake that was told.
fn read_meaning(s: &Section<'_>) -> Option<Option<Meaning>> {
    let said = (s.has("danger"), s.has("safe"));
    let (code, safe) = (s.int("danger", 0, CODE_MAX), s.int("safe", 0, CODE_MAX));
    if said != (code.is_some(), safe.is_some()) {
        return None;
    }
    match (code, safe) {
        (None, None) => Some(None),
        (None, Some(safe)) => {
            s.file().error_at(safe.at, "`safe` without `danger`", "add for example `danger = 0`");
            None
        }
        (Some(code), Some(safe)) if code.value == safe.value => {
            let message = format!("{} is both `danger` and `safe`", code.value);
            s.file().error_at(safe.at, message, "one value cannot mean both");
            None
        }
        (Some(code), Some(safe)) => Some(Some(danger(code.value as f64, safe.value as f64))),
        // Of a switch the other value is safe.
        (Some(code), None) if code.value <= 1 => {
            Some(Some(danger(code.value as f64, 1.0 - code.value as f64)))
        }
        (Some(code), None) => {
            let message = format!("`danger` is {}, so that `safe` must be said", code.value);
            s.file().error_at(code.at, message, "add for example `safe = 1`");
            None
        }
    }
}

impl Spec for StateSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let mut meanings = Vec::with_capacity(points.len() * self.meanings.len());
        for &ix in points {
            let point = b.catalog.point(ix);
            let own = by_type(point);
            if own.is_none() && self.meanings.contains(&None) {
                let what = if point.type_code.is_empty() { &point.quantity } else { &point.type_code };
                let message = format!(
                    "rule `{}`: point `{}` of site `{}` is of type `{what}`, which has no dangerous value of its own",
                    b.rule, point.code, point.site
                );
                b.warning(message, "say `danger = 0` or `danger = 1`, or select fewer points");
            }
            meanings.extend(self.meanings.iter().map(|said| match said {
                Some(said) => (Some(*said), "rule"),
                None => (own, "type"),
            }));
        }
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(StateBound { meanings, names, width: self.meanings.len() })
    }
}

#[derive(Debug)]
struct StateBound {
    /// `width` a slot.
    meanings: Vec<(Option<Meaning>, &'static str)>,
    names: Vec<String>,
    width: usize,
}

impl StateBound {
    fn of(&self, slot: usize) -> &[(Option<Meaning>, &'static str)] {
        &self.meanings[slot * self.width..(slot + 1) * self.width]
    }
}

impl Bound for StateBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(StateMachine(self))
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        self.of(slot).get(level).is_none_or(|(meaning, _)| meaning.is_some())
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let shown = self.names.iter().zip(self.of(slot)).filter_map(|(name, (meaning, from))| {
            meaning.map(|m| (name.clone(), format!("is {}", m.danger), *from))
        });
        shown.collect()
    }
}

struct StateMachine(Arc<StateBound>);

impl Machine for StateMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        let (verdicts, reported) = verdicts.split_at_mut(self.0.width);
        verdicts.fill(Verdict::Hold);
        let grade = r.grade(f64::NEG_INFINITY, f64::INFINITY);
        reported[0] = match grade {
            Grade::Bad if r.status & (status::ALARM | status::CUT) != 0 => Verdict::Over,
            Grade::Good(value) if !value.is_nan() && may_clear(r) => Verdict::Below,
            _ => Verdict::Hold,
        };
        let (value, clears) = match grade {
            Grade::Good(value) | Grade::Calibrating(value) => (value, may_clear(r)),
            Grade::OverRange(_) | Grade::Bad | Grade::Missing => return f64::NAN,
        };
        for (verdict, (meaning, _)) in verdicts.iter_mut().zip(self.0.of(slot)) {
            *verdict = match meaning {
                Some(m) if value == m.danger => Verdict::Over,
                Some(m) if clears && m.safe.contains(&value) => Verdict::Below,
                _ => Verdict::Hold,
            };
        }
        value
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        match self.0.of(slot).get(level) {
            None if on => "reported by the mine, unconfirmed".to_owned(),
            None => "a good reading came".to_owned(),
            Some((_, from)) if on => format!("{value} is the dangerous value, by {from}"),
            Some(_) => format!("{value} is safe"),
        }
    }
}
