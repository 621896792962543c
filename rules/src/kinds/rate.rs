//! `rate`: how fast a value rises or falls over a window, per minute or hour.
//!
//! The window is cut into at most 16 equal buckets that keep their first reading, their last where least squares ask for it, and how
//! many came; the slope is computed from these each time, never by running sums, so that a restart at any place gives equal bits.
//! Nothing is said before there are enough readings over enough time, and after a gap, a bad or a calibrating reading the window begins
//! anew after a blank.

use super::{Binding, Bound, Machine, Read, Shapes, Spec};
use crate::compare::{Compare, parse};
use crate::def::{Name, read_level};
use crate::reading::{Grade, PERIOD, Reading, Verdict, range};
use model::time::{MINUTE, Micros, SECOND};
use model::toml_file::Section;
use std::sync::Arc;

/// Most buckets of a window.
const BUCKETS_MAX: i64 = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    /// From the first to the last reading of the window.
    Ends,
    /// Least squares over the buckets' first and last readings.
    LeastSquares,
}

#[derive(Clone, Debug, PartialEq)]
struct RateSpec {
    window: Micros,
    width: Micros,
    buckets: usize,
    min_readings: u32,
    min_covered: Micros,
    blank: Micros,
    gap: Option<Micros>,
    method: Method,
    /// On, off, and the time unit of both.
    levels: Vec<(Compare, Compare, Micros)>,
}

/// Reads window, guards and levels.
pub fn read(s: &Section<'_>) -> Option<Read> {
    // Read on after a mistake: what is not read would be told as unknown.
    let (window, known) = match s.duration("window") {
        Some(w) if w.value >= SECOND => (w.value, true),
        Some(w) => {
            s.file().error_at(w.at, "`window` is shorter than a second", "");
            (MINUTE, false)
        }
        None => {
            s.missing("window", "\"5min\"");
            (MINUTE, false)
        }
    };
    let buckets = s.int("buckets", 2, BUCKETS_MAX).map_or(BUCKETS_MAX, |b| b.value);
    let min_readings = s.int("min_readings", 2, 1_000_000).map_or(3, |n| n.value) as u32;
    let min_covered = s.duration("min_covered").map_or(window / 2, |d| d.value);
    if min_covered > window {
        s.error("`min_covered` is longer than `window`", "the rule could never say anything");
    }
    let blank = s.duration("blank").map_or(20 * SECOND, |d| d.value);
    let gap = s.duration("gap").map(|d| d.value);
    let method = match s.one_of("method", &["ends", "least_squares"]).map(|m| m.value) {
        Some("least_squares") => Method::LeastSquares,
        _ => Method::Ends,
    };
    let (mut defs, mut levels) = (Vec::new(), Vec::new());
    let sections = s.tables("level");
    if sections.is_empty() {
        s.missing("level", "[{ name = \"warning\", on = \">= 0.02 /min\", off = \"< 0.01 /min\" }]");
    }
    for (rank, level) in sections.iter().enumerate() {
        let def = read_level(level, Name::Needed, rank);
        let limits = read_limits(level);
        level.finish_ref();
        defs.push(def?);
        levels.push(limits?);
    }
    let width = (window + buckets - 1) / buckets;
    let spec = RateSpec {
        window,
        width,
        buckets: buckets as usize,
        min_readings,
        min_covered,
        blank,
        gap,
        method,
        levels,
    };
    (known && !defs.is_empty()).then(|| (defs, Arc::new(spec) as Arc<dyn Spec>))
}

fn read_limits(s: &Section<'_>) -> Option<(Compare, Compare, Micros)> {
    let on = s.need_str("on", "\">= 0.02 /min\"")?;
    let read = |text: &str, at| match parse(text) {
        Ok(found) => Some(found),
        Err(message) => {
            s.file().error_at(at, message, "write for example \">= 0.02 /min\"");
            None
        }
    };
    let (compare, per) = read(on.value, on.at)?;
    let per = per.unwrap_or(MINUTE);
    let release = match s.str("off") {
        None => compare.opposite(),
        Some(off) => {
            let (release, off_per) = read(off.value, off.at)?;
            release.converted((per as f64 / off_per.unwrap_or(per) as f64, 0.0))
        }
    };
    let wrong = compare.is_up() == release.is_up()
        || (if compare.is_up() { release.limit > compare.limit } else { release.limit < compare.limit });
    if wrong {
        s.file().error_at(
            on.at,
            "`off` is on the wrong side of `on`",
            "a rise that raises ends at a smaller one",
        );
        return None;
    }
    Some((compare, release, per))
}

impl Spec for RateSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let slots = points
            .iter()
            .map(|&ix| {
                let scale = b.conversion(ix).map(|(scale, _)| scale);
                let point = b.catalog.point(ix);
                let (low, high) = range(point);
                let gap = self.gap.unwrap_or(3 * point.period.unwrap_or(PERIOD));
                Slot { scale: scale.unwrap_or(f64::NAN), low, high, gap, unit: point.unit.clone() }
            })
            .collect();
        Box::new(RateBound { spec: self.clone(), slots })
    }
}

#[derive(Debug, PartialEq)]
struct Slot {
    /// Of a limit to the point's unit; NaN where they do not fit: then nothing ever holds.
    scale: f64,
    low: f64,
    high: f64,
    gap: Micros,
    unit: String,
}

#[derive(Debug)]
struct RateBound {
    spec: RateSpec,
    slots: Shapes<Slot>,
}

impl Bound for RateBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        let buckets = vec![Bucket::EMPTY; slots * self.spec.buckets];
        let lasts =
            if self.spec.method == Method::LeastSquares { vec![(0, 0.0); buckets.len()] } else { Vec::new() };
        let state = vec![State { last: Micros::MIN, blank_until: Micros::MIN }; slots];
        Box::new(RateMachine { bound: self, buckets, lasts, state })
    }

    fn is_up(&self, _: usize, level: usize) -> bool {
        self.spec.levels[level].0.is_up()
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let scale = self.slots[slot].scale;
        let shown = |(on, ..): &(Compare, Compare, Micros)| on.converted((scale, 0.0)).show();
        self.spec.levels.iter().map(|l| ("rate".to_owned(), shown(l), "rule")).collect()
    }
}

/// Readings of one part of the window. Parts are numbered by event time divided by their width; a place of the ring is taken by every
/// number that leaves the same rest, so which one it holds is known from its first reading.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    first: (Micros, f64),
    n: u32,
}

impl Bucket {
    const EMPTY: Self = Self { first: (Micros::MIN, 0.0), n: 0 };

    /// Whether it holds readings of the part that begins at `start`, not of an older one.
    fn is_of(&self, start: Micros) -> bool {
        self.first.0 >= start
    }
}

#[derive(Clone, Copy)]
struct State {
    last: Micros,
    blank_until: Micros,
}

struct RateMachine {
    bound: Arc<RateBound>,
    /// `buckets` a slot.
    buckets: Vec<Bucket>,
    /// The last reading of each bucket, for least squares only.
    lasts: Vec<(Micros, f64)>,
    state: Vec<State>,
}

/// What is known of one point.
struct Window<'a> {
    spec: &'a RateSpec,
    buckets: &'a mut [Bucket],
    lasts: &'a mut [(Micros, f64)],
}

impl Machine for RateMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        // A slope needs the order of time; what came late says nothing of it.
        if !r.newer || r.late {
            return f64::NAN;
        }
        let (spec, s) = (&self.bound.spec, &self.bound.slots[slot]);
        let value = match r.grade(s.low, s.high) {
            Grade::Good(v) => v,
            // The first good reading after one that is not sees a blank.
            _ => {
                self.state[slot].last = Micros::MIN;
                return f64::NAN;
            }
        };
        let state = &mut self.state[slot];
        let gap = state.last == Micros::MIN || r.time - state.last > s.gap;
        state.last = r.time;
        let here = slot * spec.buckets..(slot + 1) * spec.buckets;
        let buckets = &mut self.buckets[here.clone()];
        let lasts = if self.lasts.is_empty() { &mut [][..] } else { &mut self.lasts[here] };
        if gap {
            // Power that returns makes a sensor jump for about 20 s; the very first reading has nothing before it either.
            state.blank_until = r.time + spec.blank;
            buckets.fill(Bucket::EMPTY);
        }
        if r.time < state.blank_until {
            return f64::NAN;
        }
        let Some(slope) = (Window { spec, buckets, lasts }).slope(r.time, value) else { return f64::NAN };
        for (verdict, (on, off, per)) in verdicts.iter_mut().zip(&spec.levels) {
            let per_unit = slope * *per as f64 / s.scale;
            *verdict = if on.holds(per_unit) {
                Verdict::Over
            } else if off.holds(per_unit) {
                Verdict::Below
            } else {
                Verdict::Band
            };
        }
        let per = spec.levels.first().map_or(MINUTE, |l| l.2);
        slope * per as f64
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let (spec, s) = (&self.bound.spec, &self.bound.slots[slot]);
        let (compare, release, per) = &spec.levels[level];
        let compare = if on { compare } else { release }.converted((s.scale, 0.0));
        let per = if *per == MINUTE {
            "min".to_owned()
        } else {
            model::time::show_duration(*per).trim_start_matches('1').to_owned()
        };
        format!("{value:.6} {} {}/{per}", compare.show(), s.unit)
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let spec = &self.bound.spec;
        for n in [self.state[slot].last, self.state[slot].blank_until, spec.width] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.push(spec.buckets as u8);
        out.push(spec.method as u8);
        for i in slot * spec.buckets..(slot + 1) * spec.buckets {
            let bucket = &self.buckets[i];
            out.extend_from_slice(&bucket.n.to_le_bytes());
            if bucket.n > 0 {
                for (t, v) in [Some(&bucket.first), self.lasts.get(i)].into_iter().flatten() {
                    out.extend_from_slice(&t.to_le_bytes());
                    out.extend_from_slice(&v.to_bits().to_le_bytes());
                }
            }
        }
    }

    fn load(&mut self, slot: usize, mut bytes: &[u8]) -> bool {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (head, tail) = bytes.split_first_chunk::<N>()?;
            *bytes = tail;
            Some(*head)
        }
        let spec = self.bound.spec.clone();
        let mut read = || {
            let number = |b: &mut &[u8]| take(b).map(i64::from_le_bytes);
            let pair = |b: &mut &[u8]| Some((number(b)?, f64::from_bits(number(b)? as u64)));
            let b = &mut bytes;
            let state = State { last: number(b)?, blank_until: number(b)? };
            // A window that was changed cannot use buckets of another shape: it begins anew.
            if number(b)? != spec.width || take(b)? != [spec.buckets as u8, spec.method as u8] {
                return None;
            }
            self.state[slot] = state;
            for i in slot * spec.buckets..(slot + 1) * spec.buckets {
                let n = u32::from_le_bytes(take(b)?);
                if n > 0 {
                    self.buckets[i] = Bucket { first: pair(b)?, n };
                    if let Some(last) = self.lasts.get_mut(i) {
                        *last = pair(b)?;
                    }
                }
            }
            b.is_empty().then_some(())
        };
        read().is_some()
    }
}

impl Window<'_> {
    /// Takes a reading; the change of value a microsecond over the window it ends, `None` while too little is known.
    fn slope(&mut self, now: Micros, value: f64) -> Option<f64> {
        let (spec, n) = (self.spec, self.buckets.len());
        let number = now.div_euclid(spec.width);
        let (place, start) = (number.rem_euclid(n as i64) as usize, number * spec.width);
        let bucket = &mut self.buckets[place];
        if !bucket.is_of(start) {
            *bucket = Bucket { first: (now, value), n: 0 };
        }
        bucket.n += 1;
        if let Some(last) = self.lasts.get_mut(place) {
            *last = (now, value);
        }
        // Places of the window's parts, the newest first.
        let inside = (0..n).filter_map(|back| {
            let i = if back <= place { place - back } else { place + n - back };
            self.buckets[i].is_of(start - back as i64 * spec.width).then_some(i)
        });
        let (mut first, mut readings) = ((now, value), 0u32);
        for i in inside.clone() {
            (first, readings) = (self.buckets[i].first, readings + self.buckets[i].n);
        }
        // Two readings at least, each newer than the one before: some time is covered.
        if readings < spec.min_readings || now - first.0 < spec.min_covered {
            return None;
        }
        if spec.method == Method::Ends {
            return Some((value - first.1) / (now - first.0) as f64);
        }
        let mut oldest_first: Vec<usize> = inside.collect();
        oldest_first.reverse();
        // A bucket with one reading counts it once.
        let both =
            |i: &usize| [Some(self.buckets[*i].first), (self.buckets[*i].n > 1).then_some(self.lasts[*i])];
        least_squares(first.0, || oldest_first.iter().flat_map(both).flatten())
    }
}

/// The slope of the straight line through points with the least squared distances; `None` where it stands upright.
fn least_squares<I: Iterator<Item = (Micros, f64)>>(start: Micros, points: impl Fn() -> I) -> Option<f64> {
    let (mut count, mut sum_t, mut sum_v) = (0.0, 0.0, 0.0);
    for (t, v) in points() {
        count += 1.0;
        sum_t += (t - start) as f64;
        sum_v += v;
    }
    let (mean_t, mean_v) = (sum_t / count, sum_v / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (t, v) in points() {
        let dt = (t - start) as f64 - mean_t;
        above += dt * (v - mean_v);
        below += dt * dt;
    }
    (below > 0.0).then(|| above / below)
}
