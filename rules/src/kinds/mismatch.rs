//! `mismatch`: the mine's own alarm or cut bit against our limits, at good readings. Two levels: `mine_only`, the bit is set and the
//! value is below; `ours_only`, the value is over and the bit is not set.
//!
//! The limits are those of the rule or, where they are stricter, the point's own, as for `limit`; or the point's own alone. Between a limit and its release
//! either answer is right: a level stays as it is.

use super::shared::{ANY, Rung, both_calm, catalog_rung, may_clear, read_rung, rung_of_bit};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::level::{Name, read_level};
use crate::reading::{Reading, Verdict};
use model::toml_file::Section;
use model::{Point, status};
use std::sync::Arc;

const MINE_ONLY: usize = 0;
const OURS_ONLY: usize = 1;

#[derive(Clone, Debug, PartialEq)]
struct MismatchSpec {
    bit: i32,
    /// `None`: the point's own.
    rung: Option<Rung>,
}

/// Reads `bit`, and `on` with `off` or `on = "catalog"`; delays and severity are those of both levels.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let said = s.has("bit");
    let bit = match s.one_of("bit", &["alarm", "cut"]).map(|w| w.value) {
        Some("cut") => Some(status::CUT),
        None if said => None,
        _ => Some(status::ALARM),
    };
    let of_catalog = s.has("on") && s.str("on").is_some_and(|on| on.value == "catalog");
    let rung = if of_catalog { Some(None) } else { read_rung(s, "\">= 1.0\"").map(Some) };
    let levels = vec![read_level(s, Name::Is("mine_only"), 0)?, read_level(s, Name::Is("ours_only"), 0)?];
    Some((levels, Arc::new(MismatchSpec { bit: bit?, rung: rung? })))
}

/// The upper and the lower limit of a point as the catalog has them; without those that are not sane.
fn of_point(point: &Point, bit: i32, b: &mut Binding<'_>) -> [Option<Rung>; 2] {
    let l = &point.limits;
    let (up, down) = if bit == status::CUT {
        ((l.cut_on, l.cut_off), (l.low_cut_on, l.low_cut_off))
    } else {
        ((l.alarm_on, l.alarm_off), (l.low_alarm_on, l.low_alarm_off))
    };
    let mut rung = |(on, off): (Option<f64>, Option<f64>), is_up: bool| {
        let on = on?;
        if let Some(rung) = catalog_rung(point, on, off, is_up) {
            return Some(rung);
        }
        let message = format!(
            "rule `{}`: limit {on} with release {} of point `{}` of site `{}` is refused",
            b.rule,
            off.unwrap_or(on),
            point.code,
            point.site
        );
        b.warning(message, "a limit lies within the range, its release on the side of normal");
        None
    };
    [rung(up, true), rung(down, false)]
}

impl Spec for MismatchSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let slots = points.iter().map(|&ix| {
            let point = b.catalog.point(ix);
            match self.rung {
                Some(rung) => {
                    let Some(rung) = b.conversion(ix).map(|convert| rung.converted(convert)) else {
                        return ([None, None], "rule");
                    };
                    let (rung, of_catalog) = rung_of_bit(point, self.bit == status::CUT, rung.on.is_up())
                        .map_or((rung, false), |catalog| rung.stricter(catalog));
                    ([Some(rung), None], if of_catalog { "catalog" } else { "rule" })
                }
                None => (of_point(point, self.bit, b), "catalog"),
            }
        });
        Box::new(MismatchBound { slots: slots.collect(), bit: self.bit })
    }
}

#[derive(Debug)]
struct MismatchBound {
    /// Limits of each point, at most an upper and a lower one, and where they come from.
    slots: Vec<([Option<Rung>; 2], &'static str)>,
    bit: i32,
}

impl MismatchBound {
    fn word(&self) -> &'static str {
        if self.bit == status::CUT { "cut" } else { "alarm" }
    }
}

impl Bound for MismatchBound {
    fn machine(self: Arc<Self>, _: usize) -> Box<dyn Machine> {
        Box::new(MismatchMachine(self))
    }

    fn calm(&self, slot: usize) -> Option<(f64, f64)> {
        Some(self.slots[slot].0.iter().flatten().map(|r| r.on.calm()).fold(ANY, both_calm))
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.slots[slot].0.iter().any(Option::is_some)
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let (rungs, from) = &self.slots[slot];
        let limits: Vec<String> = rungs.iter().flatten().map(|r| r.show(true, "")).collect();
        if limits.is_empty() {
            return Vec::new();
        }
        let (word, limits) = (self.word(), limits.join(" or "));
        vec![
            ("mine_only".to_owned(), format!("bit {word}, not {limits}"), *from),
            ("ours_only".to_owned(), format!("{limits}, no bit {word}"), *from),
        ]
    }
}

struct MismatchMachine(Arc<MismatchBound>);

/// What the limits say of a good value: over one, below all, or between.
fn ours(rungs: &[Option<Rung>; 2], value: f64) -> Verdict {
    let verdicts = || rungs.iter().flatten().map(|rung| rung.verdict(value));
    if rungs.iter().all(Option::is_none) {
        Verdict::Hold
    } else if verdicts().any(|v| v == Verdict::Over) {
        Verdict::Over
    } else if verdicts().all(|v| v == Verdict::Below) {
        Verdict::Below
    } else {
        Verdict::Band
    }
}

impl Machine for MismatchMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        if !may_clear(r) || !r.value.is_finite() {
            return f64::NAN;
        }
        let theirs = r.status & self.0.bit != 0;
        (verdicts[MINE_ONLY], verdicts[OURS_ONLY]) = match (ours(&self.0.slots[slot].0, r.value), theirs) {
            (Verdict::Hold, _) => (Verdict::Hold, Verdict::Hold),
            (Verdict::Below, true) => (Verdict::Over, Verdict::Below),
            (Verdict::Over, false) => (Verdict::Below, Verdict::Over),
            (Verdict::Band, true) => (Verdict::Band, Verdict::Below),
            (Verdict::Band, false) => (Verdict::Below, Verdict::Band),
            (Verdict::Over, true) | (Verdict::Below, false) => (Verdict::Below, Verdict::Below),
        };
        r.value
    }

    fn reason(&self, _: usize, level: usize, value: f64, on: bool) -> String {
        let word = self.0.word();
        match (on, level) {
            (false, _) => "the mine and our limits agree".to_owned(),
            (true, MINE_ONLY) => format!("the mine says {word}, {value} is below the limit"),
            (true, _) => format!("{value} is over the limit, the mine does not say {word}"),
        }
    }
}
