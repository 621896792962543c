//! `forecast`: how long until a value reaches its limit, as the readings of a window go on; for gas that rises and tanks that fill or
//! run empty. One limit a rule, of the rule or of the point; its levels differ in the time that is left.
//!
//! A trend is fitted to the buckets of the window each time: a straight line by least squares through their first and last readings,
//! or Holt's level and trend over their last readings (smoothing `alpha` and `beta`, steps by their real times). Both know how far
//! they may be wrong: the half-width of the prediction at a time ahead, `sigmas` standard errors.
//!
//! - Over: the limit is reached now, or within the time even by the careful end of the prediction.
//! - Below: it is not reached within the time to clear by the hasty end either. Between the two nothing changes.
//! - After a gap, a fault or a calibration the window begins anew after the blank: a sensor that gets power jumps.

use super::ring::{BUCKETS_MAX, Cell, Ring, split, width_of};
use super::shared::{
    Limit, decimal, gap_of, next_good, read_levels, read_positive, read_span, read_time, save, shape,
};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::compare::Compare;
use crate::reading::{Reading, Verdict};
use fit::{Fit, Method, Point};
use model::status;
use model::time::{MINUTE, Micros, SECOND, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

mod fit;

/// Time left of a level: on, and to clear.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Left {
    within: Micros,
    clear: Micros,
}

#[derive(Clone, Debug, PartialEq)]
struct ForecastSpec {
    limit: Limit,
    method: Method,
    sigmas: f64,
    width: Micros,
    buckets: usize,
    min_readings: u32,
    min_covered: Micros,
    blank: Micros,
    gap: Option<Micros>,
    left: Vec<Left>,
}

/// Reads `limit`, `method`, `sigmas`, the window and its guards, and levels with `within` and `clear`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let limit = Limit::read(s, "limit", "\">= 12\"");
    let method = read_method(s);
    let sigmas = read_positive(s, "sigmas");
    let gap = read_span(s, "gap");
    let blank = read_time(s, "blank", 0); // a blank of zero is none
    if !s.has("window") {
        s.missing("window", "\"30min\"");
    }
    let window = read_span(s, "window");
    let buckets = s.int("buckets", 4, BUCKETS_MAX).map_or(BUCKETS_MAX, |b| b.value);
    let min_readings = s.int("min_readings", 4, 1_000_000).map_or(8, |n| n.value) as u32;
    let min_covered = read_span(s, "min_covered");
    let levels = read_levels(s, "forecast", read_left);
    let window = window.ok()??;
    if window < buckets * SECOND {
        s.error(format!("`window` is shorter than {buckets}s, a second a bucket"), "make it longer");
        return None;
    }
    let width = width_of(window, buckets);
    let min_covered = min_covered.ok()?.unwrap_or(window / 2);
    if min_covered > width * (buckets - 1) {
        let most = show_duration(width * (buckets - 1));
        s.error(
            format!("`min_covered` is longer than {most}, the part of the window that is over"),
            "make it shorter",
        );
        return None;
    }
    let (levels, left) = levels?;
    let spec = ForecastSpec {
        limit: limit?,
        method: method?,
        sigmas: sigmas.ok()?.unwrap_or(2.0),
        width,
        buckets: buckets as usize,
        min_readings,
        min_covered,
        blank: blank.ok()?.unwrap_or(20 * SECOND),
        gap: gap.ok()?,
        left,
    };
    Some((levels, Arc::new(spec)))
}

fn read_method(s: &Section<'_>) -> Option<Method> {
    let said = s.has("method");
    let word = s.one_of("method", &["linear", "holt"]).map(|w| w.value);
    let smoothing = |key: &'static str, usual: f64| {
        if !s.has(key) {
            return Some(usual);
        }
        let number = s.f64(key)?;
        if word != Some("holt") {
            s.file().error_at(
                number.at,
                format!("`{key}` has no meaning here"),
                "it belongs to `method = \"holt\"`",
            );
            return None;
        }
        if number.value > 0.0 && number.value <= 1.0 {
            return Some(number.value);
        }
        s.file().error_at(number.at, format!("`{key}` is not above 0 and at most 1"), "");
        None
    };
    let (alpha, beta) = (smoothing("alpha", 0.5), smoothing("beta", 0.3));
    match word {
        Some("holt") => Some(Method::Holt { alpha: alpha?, beta: beta? }),
        None if said => None,
        _ => alpha.and(beta).map(|_| Method::Linear),
    }
}

fn read_left(s: &Section<'_>) -> Option<Left> {
    if !s.has("within") {
        s.missing("within", "\"30min\"");
    }
    let (within, clear) = (read_span(s, "within"), read_span(s, "clear"));
    let within = within.ok()??;
    let clear = clear.ok()?.unwrap_or(within);
    if clear < within {
        s.error("`clear` is shorter than `within`", "a level that is on ends when more time is left");
        return None;
    }
    Some(Left { within, clear })
}

impl Spec for ForecastSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let said = format!("{} {}", self.width, self.buckets);
        let slots = points.iter().map(|&ix| {
            let limit = self.limit.of(ix, b);
            let point = b.catalog.point(ix);
            let unit = point.unit.clone();
            Slot { limit, gap: gap_of(self.gap, point), shape: shape(&said, &unit), unit }
        });
        let slots = slots.collect();
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(ForecastBound { spec: self.clone(), slots, names })
    }
}

#[derive(Debug)]
struct Slot {
    /// In the point's unit, and where it comes from; `None` where there is none: then nothing is said.
    limit: Option<(Compare, &'static str)>,
    gap: Micros,
    shape: u64,
    unit: String,
}

#[derive(Debug)]
struct ForecastBound {
    spec: ForecastSpec,
    slots: Vec<Slot>,
    names: Vec<String>,
}

impl Bound for ForecastBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        let ring = Ring::new(slots, self.spec.buckets, self.spec.width);
        Box::new(ForecastMachine { ring, seen: vec![Seen::NOTHING; slots], bound: self })
    }

    /// Farther over is less time.
    fn is_up(&self, _: usize, _: usize) -> bool {
        false
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.slots[slot].limit.is_some()
    }

    fn remembers(&self) -> Micros {
        self.spec.width * self.spec.buckets as Micros
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let s = &self.slots[slot];
        let Some((limit, from)) = s.limit else { return Vec::new() };
        let shown = self.names.iter().zip(&self.spec.left).map(|(name, left)| {
            let left = show_duration(left.within);
            (name.clone(), format!("{} {} within {left}", limit.show(), s.unit), from)
        });
        shown.collect()
    }
}

/// Good readings of one part of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    n: u32,
    first: (Micros, f64),
    last: (Micros, f64),
}

impl Cell<5> for Bucket {
    const EMPTY: Self = Self { n: 0, first: (0, 0.0), last: (0, 0.0) };

    fn words(&self) -> [u64; 5] {
        let (first, last) = (self.first, self.last);
        [u64::from(self.n), first.0 as u64, first.1.to_bits(), last.0 as u64, last.1.to_bits()]
    }

    fn of(words: &[u64; 5]) -> Self {
        let [n, t0, v0, t1, v1] = *words;
        let reading = |time: u64, value: u64| (time as Micros, f64::from_bits(value));
        Self { n: n as u32, first: reading(t0, v0), last: reading(t1, v1) }
    }
}

/// What a slot knows beside its buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    /// The last good reading; `MIN` where the next one begins the window anew.
    last: Micros,
    blank_until: Micros,
}

impl Seen {
    const NOTHING: Self = Self { last: Micros::MIN, blank_until: Micros::MIN };
}

struct ForecastMachine {
    bound: Arc<ForecastBound>,
    ring: Ring<Bucket, 5>,
    seen: Vec<Seen>,
}

impl ForecastMachine {
    /// Takes a good reading; whether it is one to judge.
    fn take(&mut self, slot: usize, time: Micros, value: f64) -> bool {
        let (bound, seen) = (&*self.bound, &mut self.seen[slot]);
        if seen.last == Micros::MIN || time - seen.last > bound.slots[slot].gap {
            seen.blank_until = time + bound.spec.blank;
            self.ring.clear(slot);
        }
        seen.last = time;
        if time < seen.blank_until {
            return false;
        }
        let bucket = self.ring.bucket(slot, time);
        if bucket.n == 0 {
            bucket.first = (time, value);
        }
        bucket.last = (time, value);
        bucket.n += 1;
        true
    }

    /// The trend of the window that ends at `now`, if enough of it is known.
    fn fit(&self, slot: usize, now: Micros) -> Option<Fit> {
        let spec = &self.bound.spec;
        let mut points: Vec<Point> = Vec::with_capacity(2 * BUCKETS_MAX as usize);
        let (mut n, mut oldest) = (0, now);
        for (_, bucket) in self.ring.inside(slot, now) {
            n += bucket.n;
            oldest = oldest.min(bucket.first.0);
            // A bucket with one reading counts it once; Holt steps from bucket to bucket.
            if bucket.n > 1 && spec.method == Method::Linear {
                points.push(Point::of(bucket.first, now));
            }
            points.push(Point::of(bucket.last, now));
        }
        if n < spec.min_readings || now - oldest < spec.min_covered {
            return None;
        }
        Fit::of(spec.method, &points)
    }
}

/// What a trend says of the time that is left.
fn verdict(limit: Compare, fit: &Fit, sigmas: f64, left: Left) -> Verdict {
    let ahead = |time: Micros, careful: f64| {
        let seconds = time as f64 / SECOND as f64;
        let up = if limit.is_up() { 1.0 } else { -1.0 };
        decimal(fit.level + fit.slope * seconds - careful * up * sigmas * fit.error(seconds))
    };
    if limit.holds(decimal(fit.level)) || limit.holds(ahead(left.within, 1.0)) {
        Verdict::Over
    } else if limit.opposite().holds(ahead(left.clear, -1.0)) {
        Verdict::Below
    } else {
        Verdict::Band
    }
}

/// Minutes until the limit by the trend itself; infinite where it is never reached.
fn minutes(limit: Compare, fit: &Fit) -> f64 {
    if limit.holds(decimal(fit.level)) {
        return 0.0;
    }
    let seconds = (limit.limit - fit.level) / fit.slope;
    if seconds >= 0.0 { decimal(seconds * SECOND as f64 / MINUTE as f64) } else { f64::INFINITY }
}

impl Machine for ForecastMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        let Some((limit, _)) = self.bound.slots[slot].limit else { return f64::NAN };
        let Some(value) = next_good(r) else {
            if r.newer && r.status & (status::BAD | status::CALIBRATION) != 0 {
                self.seen[slot].last = Micros::MIN;
            }
            return f64::NAN;
        };
        if !self.take(slot, r.time, value) {
            return f64::NAN;
        }
        let Some(fit) = self.fit(slot, r.time) else { return f64::NAN };
        let spec = &self.bound.spec;
        for (v, left) in verdicts.iter_mut().zip(&spec.left) {
            *v = verdict(limit, &fit, spec.sigmas, *left);
        }
        minutes(limit, &fit)
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let (s, left) = (&self.bound.slots[slot], self.bound.spec.left[level]);
        let Some((limit, _)) = s.limit else { return String::new() };
        let limit = format!("{} {}", limit.show(), s.unit);
        match on {
            true => format!("{limit} in {value:.1} min, within {}", show_duration(left.within)),
            false if value.is_finite() => {
                format!("{limit} in {value:.1} min, not within {}", show_duration(left.clear))
            }
            false => format!("{limit} is not ahead"),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let seen = self.seen[slot];
        if seen != Seen::NOTHING {
            save([self.bound.slots[slot].shape, seen.last as u64, seen.blank_until as u64], out);
            self.ring.save(slot, out);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        (self.seen[slot], _) = (Seen::NOTHING, self.ring.clear(slot));
        if bytes.is_empty() {
            return true;
        }
        let Some((shape, [last, blank], cells)) = split(bytes) else { return false };
        if shape != self.bound.slots[slot].shape {
            return true; // a window that was changed begins anew
        }
        self.seen[slot] = Seen { last: last as Micros, blank_until: blank as Micros };
        self.ring.load(slot, &cells)
    }
}
