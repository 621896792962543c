//! `silent`: a point that should speak and does not. Armed from the catalog, so a point that never spoke is silent too, counting from
//! the activation; disarmed where the site is idle or in maintenance: what is on then is withdrawn. Any reading that is newer breaks the
//! silence and its on-delay, a bad one too; what is on ends at a good reading only, as every level does: a row that says `not inspected`
//! or carries no value is no sign of the sensor.

use super::shared::{may_clear, read_span};
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
    after: Vec<After>,
}

/// Reads `after` or `periods`, at the rule or at each level.
pub fn read(s: &Section<'_>) -> Option<Read> {
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
    Some((levels, Arc::new(SilentSpec { after })))
}

fn read_after(s: &Section<'_>) -> After {
    let periods = s.int("periods", 1, 1_000_000).map_or(PERIODS, |p| p.value);
    read_span(s, "after").ok().flatten().map_or(After::Periods(periods), After::Time)
}

impl Spec for SilentSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let mut after = Vec::new();
        for &ix in points {
            let armed = !matches!(b.catalog.site_of(ix).state.as_str(), "idle" | "maintenance");
            let period = b.catalog.point(ix).period.unwrap_or(PERIOD);
            after.extend(self.after.iter().map(|a| match a {
                _ if !armed => Micros::MAX,
                After::Time(time) => *time,
                After::Periods(n) => period.saturating_mul(*n),
            }));
        }
        Box::new(SilentBound { after, width: self.after.len() })
    }
}

#[derive(Debug)]
struct SilentBound {
    /// `width` a slot; never where disarmed.
    after: Vec<Micros>,
    width: usize,
}

impl Bound for SilentBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(SilentMachine(self))
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
        let after = &self.0.after[slot * self.0.width..(slot + 1) * self.0.width];
        for (verdict, after) in verdicts.iter_mut().zip(after) {
            *verdict = if now.saturating_sub(heard) > *after { Verdict::Over } else { Verdict::Band };
        }
    }

    fn reason(&self, slot: usize, level: usize, _: f64, on: bool) -> String {
        let after = self.0.after[slot * self.0.width + level];
        if on {
            format!("no reading for more than {}", show_duration(after))
        } else {
            "a good reading came".to_owned()
        }
    }
}
