//! What a route asks of an alarm: keys that must all hold, each of them one value or a list of which one must.

use super::when::{Moment, When, no_value};
use crate::own;
use model::catalog::{SITE_STATES, fits};
use model::problem::nearest;
use model::toml_file::{Located, Section};
use model::{Alarm, Severity};

type Read = fn(&Alarm) -> &str;

/// Keys that are compared as texts, and what they read of an alarm.
pub(super) const TEXTS: [(&str, Read); 7] = [
    ("region", |a| &a.place.region),
    ("site", |a| &a.site),
    ("level", |a| &a.level),
    ("quantity", |a| &a.place.quantity),
    ("place", |a| &a.place.class),
    ("rule", |a| &a.rule),
    ("state", |a| &a.place.site_state),
];
pub(super) const REGION: usize = 0;
pub(super) const SITE: usize = 1;
pub(super) const LEVEL: usize = 2;
pub(super) const QUANTITY: usize = 3;
pub(super) const PLACE: usize = 4;
pub(super) const RULE: usize = 5;
pub(super) const STATE: usize = 6;

/// Whom an alarm is of: a route is for one of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// A site.
    Site,
    /// firedamp itself.
    Own,
    /// A drill.
    Drill,
}

impl Kind {
    pub fn of(alarm: &Alarm) -> Self {
        if alarm.marks.simulated {
            Kind::Drill
        } else if alarm.site == own::SITE {
            Kind::Own
        } else {
            Kind::Site
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Site => "alarms of sites",
            Kind::Own => "firedamp's own alarms",
            Kind::Drill => "drills",
        }
    }
}

/// An alarm and the moment of its local week at which it is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub alarm: &'a Alarm,
    pub kind: Kind,
    pub moment: Moment,
}

/// The first condition that does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unmet {
    Kind,
    /// By its place in [`TEXTS`].
    Text(usize),
    Severity,
    When,
}

/// The conditions of one route.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Conditions {
    /// By the place in [`TEXTS`].
    texts: Vec<(usize, Vec<String>)>,
    severities: Option<Vec<Severity>>,
    when: When,
}

impl Conditions {
    /// Reads the keys of a `[[route]]`.
    pub fn read(s: &Section<'_>) -> Self {
        let mut texts = Vec::new();
        for (i, (key, _)) in TEXTS.iter().enumerate() {
            let Some(values) = s.strs(key) else { continue };
            if values.is_empty() {
                no_value(s, key);
            }
            let values = values.iter().filter_map(|v| match i {
                REGION => region(s, v),
                STATE => state(s, v),
                _ => Some(v.value.to_owned()),
            });
            texts.push((i, values.collect()));
        }
        Self { texts, severities: severities(s), when: When::read(s) }
    }

    /// Those that a receiver's own keys stand for.
    pub fn of_receiver(mildest: Severity, sites: &[String], regions: &[String]) -> Self {
        let mut texts = Vec::new();
        if !sites.is_empty() {
            texts.push((SITE, sites.to_vec()));
        }
        if !regions.is_empty() {
            texts.push((REGION, regions.iter().map(|r| region_pattern(r)).collect()));
        }
        let severities = (mildest != Severity::Blue).then(|| at_least(mildest));
        Self { texts, severities, when: When::default() }
    }

    /// Whether all hold; else the first that does not.
    pub fn hold(&self, s: &Subject<'_>) -> Result<(), Unmet> {
        for (i, wanted) in &self.texts {
            let is = TEXTS[*i].1(s.alarm);
            if !wanted.iter().any(|w| fits(is, w)) {
                return Err(Unmet::Text(*i));
            }
        }
        if self.severities.as_ref().is_some_and(|all| !all.contains(&s.alarm.severity)) {
            return Err(Unmet::Severity);
        }
        if self.when.holds(s.moment) { Ok(()) } else { Err(Unmet::When) }
    }

    /// Whether whatever meets the other meets these, as far as it shows from what is written.
    pub fn cover(&self, other: &Self) -> bool {
        let texts = self.texts.iter().all(|(i, wide)| {
            let narrow = other.texts.iter().find(|(j, _)| i == j);
            narrow.is_some_and(|(_, narrow)| narrow.iter().all(|n| wide.iter().any(|w| is_within(n, w))))
        });
        let severities = self.severities.as_ref().is_none_or(|wide| {
            let narrow = other.severities.as_deref().unwrap_or(&Severity::ALL);
            narrow.iter().all(|s| wide.contains(s))
        });
        texts && severities && self.when.covers(&other.when)
    }

    /// What is wanted of one text key.
    pub fn wanted(&self, text: usize) -> &[String] {
        self.texts.iter().find(|(i, _)| *i == text).map_or(&[], |(_, wanted)| wanted)
    }

    /// When they hold.
    pub fn when(&self) -> &When {
        &self.when
    }

    /// In words, as they were written.
    pub fn text(&self) -> Vec<String> {
        let mut out: Vec<String> =
            self.texts.iter().map(|(i, wanted)| format!("{} {}", TEXTS[*i].0, wanted.join(" or "))).collect();
        if let Some(severities) = &self.severities {
            out.push(format!("severity {}", show_severities(severities)));
        }
        out.extend(self.when.text());
        out
    }

    /// Why one does not hold.
    pub fn why(&self, unmet: Unmet, s: &Subject<'_>) -> String {
        match unmet {
            Unmet::Kind => format!("this is one of {}", s.kind.as_str()),
            Unmet::Text(i) => {
                let (key, is) = (TEXTS[i].0, TEXTS[i].1(s.alarm));
                let is = if is.is_empty() { "not known" } else { is };
                format!("{key} is {is}, wanted {}", self.wanted(i).join(" or "))
            }
            Unmet::Severity => {
                let wanted = self.severities.as_deref().unwrap_or_default();
                format!("severity is {}, wanted {}", s.alarm.severity, show_severities(wanted))
            }
            Unmet::When => {
                let Moment { day, minute } = s.moment;
                let is = format!("{} {}", super::when::DAYS[day], super::when::clock(minute));
                format!("it is {is}, wanted {}", self.when.text().join(", "))
            }
        }
    }
}

/// `14` is all of the province.
fn region_pattern(code: &str) -> String {
    if code.len() == 6 { code.to_owned() } else { format!("{code}*") }
}

fn region(s: &Section<'_>, v: &Located<&str>) -> Option<String> {
    let digits = v.value.bytes().all(|b| b.is_ascii_digit());
    if digits && [2, 4, 6].contains(&v.value.len()) {
        return Some(region_pattern(v.value));
    }
    let message = format!("`{}` is no region", v.value);
    s.file().error_at(v.at, message, "six digits of GB/T 2260, or the first two or four");
    None
}

fn state(s: &Section<'_>, v: &Located<&str>) -> Option<String> {
    if SITE_STATES.contains(&v.value) {
        return Some(v.value.to_owned());
    }
    let near = nearest(v.value, SITE_STATES).map(|w| format!("did you mean `{w}`?"));
    let message = format!("`{}` is no state of a site", v.value);
    s.file().error_at(v.at, message, near.unwrap_or_else(|| SITE_STATES.join(", ")));
    None
}

fn severities(s: &Section<'_>) -> Option<Vec<Severity>> {
    let words = s.strs("severity")?;
    if words.is_empty() {
        no_value(s, "severity");
    }
    let mut out = Vec::new();
    for word in words {
        let mildest = word.value.strip_prefix("at least ").map(str::trim);
        match (mildest.and_then(Severity::parse), Severity::parse(word.value)) {
            (Some(mildest), _) => out.extend(at_least(mildest)),
            (None, Some(one)) => out.push(one),
            (None, None) => {
                let near = nearest(mildest.unwrap_or(word.value), Severity::WORDS);
                let help = near.map_or(Severity::WORDS.join(", "), |w| format!("did you mean `{w}`?"));
                let message = format!("`{}` is no severity", word.value);
                s.file().error_at(word.at, message, format!("{help} Or as \"at least orange\""));
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

/// The worst first.
fn at_least(mildest: Severity) -> Vec<Severity> {
    Severity::ALL.into_iter().filter(|s| *s <= mildest).collect()
}

fn show_severities(all: &[Severity]) -> String {
    match all {
        [_, .., mildest] if *all == at_least(*mildest) => format!("at least {mildest}"),
        _ => all.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" or "),
    }
}

/// Whether all that one pattern fits the other fits too.
fn is_within(narrow: &str, wide: &str) -> bool {
    match (narrow.strip_suffix('*'), wide.strip_suffix('*')) {
        (Some(_), None) => false,
        (Some(narrow), Some(wide)) => narrow.starts_with(wide),
        (None, _) => fits(narrow, wide),
    }
}
