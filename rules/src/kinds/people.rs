//! `people`: who is below in a mine or in one of its areas. The points it is bound to are anchors: quantity `people` stands for the
//! whole mine, `people_area` for the area whose code is the label `area`, or else the code of the point. What is judged are records of
//! positions (`rules/src/people.rs`); a reading of such a point says nothing here.
//!
//! | `what` | on while | keys |
//! |---|---|---|
//! | `capacity` | more are there than may be | `max`; the point's own `alarm_on` is the authorised number too, the smaller counts |
//! | `alone` | exactly one is there | - |
//! | `overtime` | somebody is there for `after` | `after` |
//! | `forbidden` | somebody is there for `after` | `after` (0), `allow`: cards, or prefixes `62*` |
//! | `help` | somebody's work state is one of `states` | `states` |
//! | `vanished` | somebody there was not seen for `after`, and of the mine others were | `after` |
//! | `evacuation` | somebody is there while a level of another rule is on at a point with the same label `area` (of a mine: anywhere) | `rules`, `levels`: which |
//!
//! The last five are about single cards, so each card has `after` of its own and the level no on-delay; with `each` (not of `overtime`)
//! every further card is told. Alarms of an area are those at points that stand for no people.

use super::shared::{ANY, read_span, read_time};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::level::{Name, read_level};
use crate::reading::{Reading, Verdict};
use model::time::{MINUTE, Micros, show_duration};
use model::toml_file::Section;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Quantities of the points that stand for a mine, and for an area.
const QUANTITIES: [&str; 2] = ["people", "people_area"];

/// How often people are heard of where the catalog does not say.
const PERIOD: Micros = 5 * MINUTE;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// More than so many; `None`: than the catalog says.
    Capacity(Option<u32>),
    /// Exactly one.
    Alone,
    /// For so long.
    Overtime(Micros),
    /// For so long, but for these cards.
    Forbidden(Micros, Vec<String>),
    /// One of these work states.
    Help(Vec<String>),
    /// Not seen for so long.
    Vanished(Micros),
    /// In an area in alarm.
    Evacuation(Which),
}

/// Which alarms; where none are named, all.
#[derive(Clone, Debug, PartialEq)]
pub struct Which {
    /// Names of rules, or prefixes with `*`.
    pub rules: Vec<String>,
    /// Names of levels, or prefixes.
    pub levels: Vec<String>,
}

/// Whether a name is one of these, or nothing is asked of it.
pub(crate) fn fits(name: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || is_one_of(name, wanted)
}

/// Whether a text is one of these, or begins as one with `*` does.
pub(crate) fn is_one_of(text: &str, all: &[String]) -> bool {
    all.iter().any(|one| match one.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => text == one,
    })
}

const WORDS: [&str; 7] = ["capacity", "alone", "overtime", "forbidden", "help", "vanished", "evacuation"];

impl What {
    /// Whether it asks how many there are, and not what single cards do.
    pub fn counts(&self) -> bool {
        matches!(self, What::Capacity(_) | What::Alone)
    }
}

/// Where an anchor stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchor {
    /// Site code.
    pub site: String,
    /// Area code; `None`: the whole mine.
    pub area: Option<String>,
    /// How many may be there; `None` where nobody says.
    pub max: Option<u32>,
    /// How often people of it are heard of.
    pub period: Micros,
}

/// Whether a point stands for people.
pub(crate) fn is_anchor(point: &model::Point) -> bool {
    QUANTITIES.contains(&point.quantity.as_str())
}

/// The area that a point is labelled with.
pub(crate) fn area_of(point: &model::Point) -> Option<&String> {
    point.labels.iter().find(|(key, _)| key == "area").map(|(_, area)| area)
}

impl Anchor {
    /// The anchor that a point is; `None` where it is none.
    pub fn of(point: &model::Point) -> Option<Self> {
        let area = match QUANTITIES.iter().position(|q| *q == point.quantity)? {
            0 => None,
            _ => Some(area_of(point).unwrap_or(&point.code).clone()),
        };
        let max = point.limits.alarm_on.filter(|n| *n >= 0.0).map(|n| n as u32);
        let period = point.period.unwrap_or(PERIOD);
        Some(Self { site: point.site.clone(), area, max, period })
    }
}

/// A rule about people bound to its points.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What is asked, in one word; and with its keys.
    word: &'static str,
    pub what: What,
    /// Whether every further card is told.
    pub each: bool,
    /// The anchor of each slot; `None` where nothing is judged.
    pub slots: Vec<Option<Anchor>>,
}

#[derive(Clone, Debug, PartialEq)]
struct PeopleSpec {
    word: &'static str,
    what: What,
    each: bool,
}

/// Reads `what` and the keys that belong to it; the rule is its one level.
pub fn read(s: &Section<'_>) -> Option<Read> {
    if !s.has("what") {
        s.missing("what", "\"capacity\"");
    }
    let word = s.one_of("what", &WORDS)?.value;
    let what = read_what(s, word);
    let is_each = word != "overtime";
    let about_cards = what.as_ref().is_some_and(|what| !what.counts());
    let each = if about_cards { s.bool("each").map_or(is_each, |b| b.value) } else { false };
    if about_cards && let Some(delay) = s.duration("on_delay") {
        s.file().error_at(
            delay.at,
            format!("a rule about `{word}` has no on-delay: each card has a time of its own"),
            "write `after`, or leave it out",
        );
        return None;
    }
    let level = read_level(s, Name::Is(word), 0)?;
    Some((vec![level], Arc::new(PeopleSpec { word, what: what?, each })))
}

fn read_what(s: &Section<'_>, word: &str) -> Option<What> {
    let words = |key| s.strs(key).map(|all| all.into_iter().map(|w| w.value.to_owned()).collect::<Vec<_>>());
    let span = |example: &str| match read_span(s, "after") {
        Ok(None) => {
            s.missing("after", example);
            None
        }
        found => found.ok().flatten(),
    };
    Some(match word {
        "capacity" if s.has("max") => What::Capacity(Some(s.int("max", 0, 1_000_000)?.value as u32)),
        "capacity" => What::Capacity(None),
        "alone" => What::Alone,
        "overtime" => What::Overtime(span("\"10h\"")?),
        "forbidden" => {
            What::Forbidden(read_time(s, "after", 0).ok()?.unwrap_or(0), words("allow").unwrap_or_default())
        }
        "help" => {
            let states = words("states").unwrap_or_default();
            if states.is_empty() {
                s.missing("states", "[\"求救\"]");
                return None;
            }
            What::Help(states)
        }
        "vanished" => What::Vanished(span("\"15min\"")?),
        _ => What::Evacuation(Which {
            rules: words("rules").unwrap_or_default(),
            levels: words("levels").unwrap_or_default(),
        }),
    })
}

impl Spec for PeopleSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let mut slots = Vec::new();
        for &ix in points {
            let point = b.catalog.point(ix);
            let mut anchor = Anchor::of(point);
            if anchor.is_none() {
                let message = format!(
                    "rule `{}`: point `{}` of site `{}` measures {}, it stands for no people",
                    b.rule, point.code, point.site, point.quantity
                );
                b.warning(message, "select quantity `people` (a mine) or `people_area` (an area)");
            }
            if let (What::Capacity(max), Some(found)) = (&self.what, &mut anchor) {
                found.max = [found.max, *max].into_iter().flatten().min();
            }
            slots.push(anchor.filter(|a| a.max.is_some() || !matches!(self.what, What::Capacity(_))));
        }
        if matches!(self.what, What::Evacuation(_)) {
            warn_of_areas_without_points(b, &slots);
        }
        Box::new(PeopleBound(Watch { word: self.word, what: self.what.clone(), each: self.each, slots }))
    }
}

/// Where no point at all is known to be in any of these areas, none of them can be in alarm.
fn warn_of_areas_without_points(b: &mut Binding<'_>, slots: &[Option<Anchor>]) {
    let areas: BTreeSet<(&str, &str)> =
        slots.iter().flatten().filter_map(|a| Some((&*a.site, a.area.as_deref()?))).collect();
    let is_in_one =
        |point: &model::Point| area_of(point).is_some_and(|area| areas.contains(&(&*point.site, &**area)));
    if !areas.is_empty() && !b.catalog.points().iter().any(|p| !is_anchor(p) && is_in_one(p)) {
        let message =
            format!("rule `{}`: no point has one of its {} areas as label `area`", b.rule, areas.len());
        b.warning(message, "label points with the code of their area, else no area is ever in alarm");
    }
}

#[derive(Debug)]
struct PeopleBound(Watch);

impl Bound for PeopleBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(PeopleMachine)
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.0.slots[slot].is_some()
    }

    fn calm(&self, _: usize) -> Option<(f64, f64)> {
        Some(ANY)
    }

    fn people(&self) -> Option<&Watch> {
        Some(&self.0)
    }

    /// Whoever is below was heard of within an hour; what lasts longer begins anew, but that overtime counts from when a person went
    /// below, where that is sent.
    fn remembers(&self) -> Micros {
        let after = match &self.0.what {
            What::Vanished(after) | What::Forbidden(after, _) => *after,
            What::Capacity(_) | What::Alone | What::Overtime(_) => 0,
            What::Help(_) | What::Evacuation(_) => 0,
        };
        after.max(60 * MINUTE)
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let Some(anchor) = &self.0.slots[slot] else { return Vec::new() };
        let (said, from) = match &self.0.what {
            What::Capacity(max) => {
                let number = anchor.max.unwrap_or_default();
                (format!("more than {number} people"), if *max == anchor.max { "rule" } else { "catalog" })
            }
            What::Alone => ("exactly one person".to_owned(), "rule"),
            What::Overtime(after) => (format!("a person for {}", show_duration(*after)), "rule"),
            What::Forbidden(0, _) => ("a person".to_owned(), "rule"),
            What::Forbidden(after, _) => (format!("a person for {}", show_duration(*after)), "rule"),
            What::Help(states) => (format!("work state {}", states.join(", ")), "rule"),
            What::Evacuation(which) if which.rules.is_empty() => {
                ("a person while there is an alarm".to_owned(), "rule")
            }
            What::Evacuation(which) => {
                (format!("a person while there is an alarm of {}", which.rules.join(", ")), "rule")
            }
            What::Vanished(after) => (format!("a person not seen for {}", show_duration(*after)), "rule"),
        };
        vec![(self.0.word.to_owned(), said, from)]
    }
}

/// Readings of such a point say nothing here.
struct PeopleMachine;

impl Machine for PeopleMachine {
    fn reading(&mut self, _: usize, _: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        f64::NAN
    }

    fn reason(&self, _: usize, _: usize, _: f64, _: bool) -> String {
        String::new()
    }
}
