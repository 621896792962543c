//! `silent`: a point that should speak and does not. Armed from the catalog, so a point that never spoke is silent too, counting from
//! the activation; disarmed where the site is idle or in maintenance: what is on then is withdrawn. Any reading that is newer breaks the
//! silence and its on-delay, a bad one too; what is on ends at a good reading only, as every level does: a row that says `not inspected`
//! or carries no value is no sign of the sensor.
//!
//! With `by` it is about the points together, a site or what has a label in common: no reading of any of them came, but late ones. It is
//! armed by the first tick that finds it.

use super::group::{By, alike};
use super::shared::{may_clear, read_span, save, words};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::level::{Name, read_level};
use crate::reading::{PERIOD, Reading, Verdict};
use model::time::{Micros, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

/// Periods without a reading, unless said otherwise.
const PERIODS: i64 = 3;

#[derive(Clone, Debug, PartialEq)]
enum After {
    Time(Micros),
    Periods(i64),
}

#[derive(Clone, Debug, PartialEq)]
struct SilentSpec {
    /// `None`: each point for itself.
    by: Option<By>,
    after: Vec<After>,
}

/// Reads `by`, and `after` or `periods` at the rule or at each level.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let by = if s.has("by") { Some(By::read(s, false)?) } else { None };
    let sections = s.tables("level");
    let (mut levels, mut after) = (Vec::new(), Vec::new());
    if sections.is_empty() {
        after.push(read_after(s));
        levels.push(read_level(s, Name::Is("silent"), 0)?);
    }
    for (rank, level) in sections.iter().enumerate() {
        after.push(read_after(level));
        levels.push(read_level(
            level,
            if sections.len() == 1 { Name::Default("silent") } else { Name::Needed },
            rank,
        )?);
        level.finish_ref();
    }
    Some((levels, Arc::new(SilentSpec { by, after })))
}

fn read_after(s: &Section<'_>) -> After {
    let periods = s.int("periods", 1, 1_000_000).map_or(PERIODS, |p| p.value);
    read_span(s, "after").ok().flatten().map_or(After::Periods(periods), After::Time)
}

impl Spec for SilentSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let groups = self.by.as_ref().map(|by| alike(by, points, b.catalog));
        // Of points together the one that is read most seldom says how long they may be silent.
        let slots: Vec<(u32, &[u32])> = match &groups {
            Some(groups) => groups.iter().map(|g| (g[0], &g[..])).collect(),
            None => points.iter().map(|ix| (*ix, std::slice::from_ref(ix))).collect(),
        };
        let mut after = Vec::new();
        for (ix, members) in slots {
            let armed = !matches!(b.catalog.site_of(ix).state.as_str(), "idle" | "maintenance");
            let periods = members.iter().map(|ix| b.catalog.point(*ix).period.unwrap_or(PERIOD));
            let period = periods.max().unwrap_or(PERIOD);
            after.extend(self.after.iter().map(|a| match a {
                _ if !armed => Micros::MAX,
                After::Time(time) => *time,
                After::Periods(n) => period.saturating_mul(*n),
            }));
        }
        Box::new(SilentBound { after, width: self.after.len(), groups })
    }
}

#[derive(Debug)]
struct SilentBound {
    /// `width` a slot; never where disarmed.
    after: Vec<Micros>,
    width: usize,
    groups: Option<Vec<Vec<u32>>>,
}

impl Bound for SilentBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        match self.groups {
            Some(_) => Box::new(TogetherMachine { heard: vec![Micros::MIN; slots], bound: self }),
            None => Box::new(SilentMachine(self)),
        }
    }

    fn groups(&self) -> Option<&[Vec<u32>]> {
        self.groups.as_deref()
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        self.after[slot * self.width + level] != Micros::MAX
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let after = &self.after[slot * self.width..(slot + 1) * self.width];
        let shown = |a: &Micros| {
            if *a == Micros::MAX { "disarmed".to_owned() } else { format!("after {}", show_duration(*a)) }
        };
        after.iter().map(|a| ("silent".to_owned(), shown(a), "catalog")).collect()
    }
}

impl SilentBound {
    fn judge(&self, slot: usize, silent_for: Micros, verdicts: &mut [Verdict]) {
        let after = &self.after[slot * self.width..(slot + 1) * self.width];
        for (verdict, after) in verdicts.iter_mut().zip(after) {
            *verdict = if silent_for > *after { Verdict::Over } else { Verdict::Band };
        }
    }

    fn reason(&self, slot: usize, level: usize, on: bool) -> String {
        let after = show_duration(self.after[slot * self.width + level]);
        let of =
            self.groups.as_ref().map_or(String::new(), |g| format!(" of any of {} points", g[slot].len()));
        match on {
            true => format!("no reading{of} for more than {after}"),
            false => "a good reading came".to_owned(),
        }
    }
}

struct SilentMachine(Arc<SilentBound>);

impl Machine for SilentMachine {
    fn reading(&mut self, _: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(if may_clear(r) { Verdict::Below } else { Verdict::Hold });
        f64::NAN
    }

    fn ticks(&self) -> bool {
        true
    }

    fn tick(&mut self, slot: usize, now: Micros, heard: Micros, verdicts: &mut [Verdict]) {
        self.0.judge(slot, now.saturating_sub(heard), verdicts);
    }

    fn reason(&self, slot: usize, level: usize, _: f64, on: bool) -> String {
        self.0.reason(slot, level, on)
    }
}

struct TogetherMachine {
    bound: Arc<SilentBound>,
    /// The clock when one of them spoke last, or where it was armed.
    heard: Vec<Micros>,
}

impl Machine for TogetherMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        self.heard[slot] = self.heard[slot].max(r.heard);
        verdicts.fill(if may_clear(r) { Verdict::Below } else { Verdict::Hold });
        f64::NAN
    }

    fn ticks(&self) -> bool {
        true
    }

    fn tick(&mut self, slot: usize, now: Micros, _: Micros, verdicts: &mut [Verdict]) {
        if self.heard[slot] == Micros::MIN {
            self.heard[slot] = now;
        }
        self.bound.judge(slot, now.saturating_sub(self.heard[slot]), verdicts);
    }

    fn reason(&self, slot: usize, level: usize, _: f64, on: bool) -> String {
        self.bound.reason(slot, level, on)
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        if self.heard[slot] != Micros::MIN {
            save([self.heard[slot] as u64], out);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.heard[slot] = Micros::MIN;
        match words(bytes).as_deref() {
            Some([]) => true,
            Some([heard]) => {
                self.heard[slot] = *heard as Micros;
                true
            }
            _ => false,
        }
    }
}
