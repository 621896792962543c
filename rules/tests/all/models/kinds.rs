//! What each kind says of a reading, as straight functions over all that came before it; and the rule as its file says it.

use super::grade::Grade;
use super::level::{Mistake, Say, Seen, Step};
use model::Micros;
use model::status::*;
use model::time::{MINUTE, SECOND};
use std::collections::BTreeMap;

/// A rule of one kind with one level.
#[derive(Clone, Debug)]
pub struct Rule {
    pub kind: Kind,
    /// In half seconds.
    pub on_delay: i64,
    pub off_delay: i64,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Limit { off: f64 },
    Status { any: Vec<&'static str>, all: Vec<&'static str> },
    Silent { after: i64 },
    Rate(Rate),
    Grade(Grade),
}

/// Times in half seconds.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub window: i64,
    pub buckets: i64,
    pub min_readings: usize,
    pub min_covered: i64,
    pub blank: i64,
    pub gap: i64,
    pub least_squares: bool,
    pub falling: bool,
}

/// Half a second.
pub const HALF: Micros = SECOND / 2;
/// Limits of the rate a minute.
const STEEP: f64 = 6.0;
const FLAT: f64 = 3.0;
/// The range of the point.
const RANGE: (f64, f64) = (0.0, 4.0);

impl Rule {
    pub fn text(&self) -> String {
        let ms = |halves: i64| format!("{}ms", halves * 500);
        let head = |kind: &str| {
            format!("[[rule]]\nname = \"m\"\nkind = \"{kind}\"\nselect = {{ point = \"T1\" }}\n")
        };
        let delays = format!("on_delay = \"{}\"", ms(self.on_delay));
        let (on, off) = (format!("{delays}\n"), format!("off_delay = \"{}\"\n", ms(self.off_delay)));
        let level = |on: String, off: String| {
            let off_delay = ms(self.off_delay);
            format!(
                "level = [{{ name = \"a\", on = \"{on}\", off = \"{off}\", {delays}, off_delay = \"{off_delay}\" }}]\n"
            )
        };
        match &self.kind {
            Kind::Limit { off } => head("limit") + &level(">= 1.0".to_owned(), format!("< {off:?}")),
            Kind::Status { any, all } => format!("{}any = {any:?}\nall = {all:?}\n{on}{off}", head("status")),
            Kind::Silent { after } => format!("{}after = \"{}\"\n{on}{off}", head("silent"), ms(*after)),
            Kind::Rate(r) => {
                let (sign, up, down) = if r.falling { ("-", "<=", ">") } else { ("", ">=", "<") };
                let limits = level(format!("{up} {sign}{STEEP} /min"), format!("{down} {sign}{FLAT} /min"));
                let method = if r.least_squares { "least_squares" } else { "ends" };
                format!(
                    "{}window = \"{}\"\nbuckets = {}\nmin_readings = {}\nmin_covered = \"{}\"\nblank = \"{}\"\ngap = \"{}\"\n\
                     method = \"{method}\"\n{limits}",
                    head("rate"),
                    ms(r.window),
                    r.buckets,
                    r.min_readings,
                    ms(r.min_covered),
                    ms(r.blank),
                    ms(r.gap)
                )
            }
            Kind::Grade(g) => {
                format!("{}off_delay = \"{}\"\n{}", head("grade"), ms(self.off_delay), g.keys())
            }
        }
    }

    /// Whether a level is the one the model is of.
    pub fn is_of(&self, level: &str) -> bool {
        match &self.kind {
            Kind::Grade(g) => level == g.level(),
            _ => level != "reported",
        }
    }

    pub fn minds_calibration(&self) -> bool {
        match &self.kind {
            Kind::Status { any, all } => !any.iter().chain(all).any(|word| *word == "calibration"),
            _ => true,
        }
    }

    pub fn says(&self, steps: &[Step], i: usize, mistake: Mistake) -> Say {
        let Step::Reading(r) = &steps[i] else { return Say::Nothing };
        match &self.kind {
            Kind::Limit { off } => limit(r, 1.0, *off, mistake),
            Kind::Grade(g) => match g.limit(mistake) {
                Some((on, off)) => limit(r, on, off, mistake),
                None => Say::Nothing,
            },
            Kind::Status { any, all } => status(r, any, all, mistake),
            Kind::Silent { .. } if clears(r.status, mistake) => Say::Below,
            Kind::Silent { .. } => Say::Nothing,
            Kind::Rate(rate) => rate.says(steps, i, mistake),
        }
    }
}

/// Whether a reading may clear.
fn clears(status: i32, mistake: Mistake) -> bool {
    let forgiven = match mistake {
        Mistake::BadClears => BAD,
        Mistake::MissingClears => MISSING,
        Mistake::CalibrationClears => CALIBRATION,
        Mistake::OverRangeClears => OVER_RANGE,
        Mistake::StaleClears => STALE,
        _ => 0,
    };
    status & (BAD | MISSING | CALIBRATION | OVER_RANGE | STALE) & !forgiven == 0
}

fn limit(r: &Seen, on: f64, off: f64, mistake: Mistake) -> Say {
    let s = r.status;
    let mut value = r.value;
    if s & BAD != 0 && mistake != Mistake::BadClears {
        return Say::Nothing;
    }
    if s & OVER_RANGE != 0 {
        let is_low = value <= RANGE.0 && mistake != Mistake::LowOverRangeIsHigh;
        value = if is_low { value } else { f64::INFINITY };
    } else if s & MISSING != 0 {
        return if mistake == Mistake::MissingClears { Say::Below } else { Say::Nothing };
    }
    if value > on || (value == on && mistake != Mistake::OnIsStrict) {
        return Say::Over;
    }
    match clears(s, mistake) {
        false => Say::Nothing,
        true if value < off || (value == off && mistake == Mistake::OffIsInclusive) => Say::Below,
        true => Say::Between,
    }
}

fn status(r: &Seen, any: &[&str], all: &[&str], mistake: Mistake) -> Say {
    let names = names(r.status);
    let holds =
        any.iter().any(|w| names.contains(w)) || (!all.is_empty() && all.iter().all(|w| names.contains(w)));
    match holds {
        true => Say::Over,
        false if clears(r.status, mistake) => Say::Below,
        false => Say::Nothing,
    }
}

impl Rate {
    fn says(&self, steps: &[Step], i: usize, mistake: Mistake) -> Say {
        let newer = |step: &Step| match step {
            Step::Reading(r) if r.newer && r.status & STALE == 0 => Some(*r),
            _ => None,
        };
        if newer(&steps[i]).is_none() {
            return Say::Nothing;
        }
        // The readings that follow each other without a gap and all are good, up to this one.
        let mut run: Vec<Seen> = Vec::new();
        for r in steps[..=i].iter().rev().filter_map(newer) {
            let gap = run.last().map_or(0, |next| next.time - r.time);
            let broken =
                gap > self.gap * HALF || (mistake == Mistake::GapIsInclusive && gap == self.gap * HALF);
            if !clears(r.status, mistake) || broken {
                break;
            }
            run.push(r);
        }
        let Some(began) = run.last().map(|r| r.time) else { return Say::Nothing };
        let blank = self.blank * HALF + i64::from(mistake == Mistake::BlankIsLonger);
        // The parts of the window that this reading ends.
        let width = (self.window * HALF + self.buckets - 1) / self.buckets;
        let now = run[0].time;
        let back = self.buckets + i64::from(mistake == Mistake::WindowIsLonger)
            - i64::from(mistake == Mistake::BucketsAreOneLess);
        let mut parts: BTreeMap<i64, Vec<(Micros, f64)>> = BTreeMap::new();
        for r in run.iter().rev().filter(|r| r.time >= began + blank) {
            let part = r.time.div_euclid(width);
            if part > now.div_euclid(width) - back {
                parts.entry(part).or_default().push((r.time, r.value));
            }
        }
        if now < began + blank {
            return Say::Nothing;
        }
        let all: Vec<(Micros, f64)> = parts.values().flatten().copied().collect();
        let (first, last) = (all[0], all[all.len() - 1]);
        let covered = last.0 - first.0;
        let least = self.min_readings - usize::from(mistake == Mistake::OneReadingLess);
        let strict = mistake == Mistake::CoveredIsStrict && covered == self.min_covered * HALF;
        if all.len() < least || covered == 0 || covered < self.min_covered * HALF || strict {
            return Say::Nothing;
        }
        let a_minute = MINUTE as f64
            * if self.least_squares {
                let ends = parts
                    .values()
                    .flat_map(|p| if p.len() > 1 { vec![p[0], p[p.len() - 1]] } else { vec![p[0]] });
                least_squares(&ends.collect::<Vec<_>>())
            } else {
                (last.1 - first.1) / covered as f64
            };
        let steepness = if self.falling { -a_minute } else { a_minute };
        // To the billionth: what the decimals of the values say.
        let steepness = (steepness * 1e9).round() / 1e9;
        if steepness > STEEP || (steepness == STEEP && mistake != Mistake::OnIsStrict) {
            Say::Over
        } else if steepness < FLAT || (steepness == FLAT && mistake == Mistake::OffIsInclusive) {
            Say::Below
        } else {
            Say::Between
        }
    }
}

/// The slope of the straight line with the least squared distances.
fn least_squares(points: &[(Micros, f64)]) -> f64 {
    let n = points.len() as f64;
    let start = points[0].0;
    let t = |p: &(Micros, f64)| (p.0 - start) as f64;
    let (mean_t, mean_v) =
        (points.iter().map(t).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let above: f64 = points.iter().map(|p| (t(p) - mean_t) * (p.1 - mean_v)).sum();
    let below: f64 = points.iter().map(|p| (t(p) - mean_t) * (t(p) - mean_t)).sum();
    above / below
}
