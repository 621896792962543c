//! `out_of_range`: a value that the sensor cannot measure: beyond the ends of its range in the catalog, by more than a margin, or with
//! the bit over range. Two levels, `low` and `high`, since both ends may break.
//!
//! At an end a value is inside. Between an end and its margin a level stays as it is. A bit that says over range counts for the low
//! level where the value is at or below the low end, else for the high one, also without a value.

use super::shared::{ANY, decimal, may_clear, read_positive};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::level::{Name, read_level};
use crate::reading::{Grade, Reading, Verdict, range};
use model::toml_file::Section;
use std::sync::Arc;

const LOW: usize = 0;
const HIGH: usize = 1;

#[derive(Clone, Debug, PartialEq)]
struct RangeSpec {
    margin: f64,
}

/// Reads `margin`; delays and severity are those of both levels.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let margin = read_positive(s, "margin");
    let levels = vec![read_level(s, Name::Is("low"), 0)?, read_level(s, Name::Is("high"), 0)?];
    Some((levels, Arc::new(RangeSpec { margin: margin.ok()?.unwrap_or(0.0) })))
}

impl Spec for RangeSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let mut slots = Vec::with_capacity(points.len());
        for &ix in points {
            // Without a margin nothing is converted.
            let scale = if self.margin == 0.0 { Some(1.0) } else { b.conversion(ix).map(|(scale, _)| scale) };
            let point = b.catalog.point(ix);
            if point.low.is_none() && point.high.is_none() {
                let message = format!(
                    "rule `{}`: point `{}` of site `{}` has no range in the catalog; only its bit is judged",
                    b.rule, point.code, point.site
                );
                b.warning(message, "add `low` and `high` to the points file, or select fewer points");
            }
            let (low, high) = range(point);
            let margin = scale.map(|scale| decimal(self.margin * scale));
            slots.push(Slot { margin, low, high, unit: point.unit.clone() });
        }
        Box::new(RangeBound(slots))
    }
}

#[derive(Debug)]
struct Slot {
    /// `None` where its unit does not fit: then nothing is said.
    margin: Option<f64>,
    low: f64,
    high: f64,
    unit: String,
}

#[derive(Debug)]
struct RangeBound(Vec<Slot>);

impl Bound for RangeBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(RangeMachine(self))
    }

    fn is_up(&self, _: usize, level: usize) -> bool {
        level == HIGH
    }

    fn calm(&self, slot: usize) -> Option<(f64, f64)> {
        let s = &self.0[slot];
        Some(if s.margin.is_some() { (s.low.next_down(), s.high.next_up()) } else { ANY })
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.0[slot].margin.is_some()
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let s = &self.0[slot];
        let Some(margin) = s.margin else { return Vec::new() };
        let mut shown = Vec::new();
        if s.low.is_finite() {
            shown.push(("low".to_owned(), format!("< {}", decimal(s.low - margin)), "catalog"));
        }
        if s.high.is_finite() {
            shown.push(("high".to_owned(), format!("> {}", decimal(s.high + margin)), "catalog"));
        }
        shown
    }
}

struct RangeMachine(Arc<RangeBound>);

/// How far a value stands beyond an end; at most 0 inside.
fn beyond(s: &Slot, level: usize, value: f64) -> f64 {
    decimal(if level == HIGH { value - s.high } else { s.low - value })
}

impl Machine for RangeMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        let s = &self.0.0[slot];
        let Some(margin) = s.margin else { return f64::NAN };
        let (value, clears) = match r.grade(s.low, s.high) {
            Grade::Bad | Grade::Missing => return f64::NAN,
            Grade::OverRange(_) => {
                verdicts[if r.value <= s.low { LOW } else { HIGH }] = Verdict::Over;
                return r.value;
            }
            Grade::Good(value) | Grade::Calibrating(value) => (value, may_clear(r)),
        };
        for (level, verdict) in verdicts.iter_mut().enumerate() {
            let beyond = beyond(s, level, value);
            *verdict = if beyond > margin {
                Verdict::Over
            } else if !clears {
                Verdict::Hold
            } else if beyond <= 0.0 {
                Verdict::Below
            } else {
                Verdict::Band
            };
        }
        value
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let s = &self.0.0[slot];
        let range = format!("{} to {} {}", s.low, s.high, s.unit);
        match on {
            false => format!("{value} is within {range}"),
            true if beyond(s, level, value) > 0.0 => format!("{value} is outside {range}"),
            true => format!("over range by its status, range {range}"),
        }
    }
}
