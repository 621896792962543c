//! `rate`: how fast a value rises or falls over a window, per minute or hour.
//!
//! The window is cut into at most 16 equal buckets that keep their first reading, their last where least squares ask for it, and how
//! many came; the slope is computed from these each time, never by running sums, so that a restart at any place gives equal bits.
//! Nothing is said before there are enough readings over enough time, and after a gap, a bad or a calibrating reading the window begins
//! anew after a blank.

use super::ring::{BUCKETS_MAX, width_of};
use super::shared::{
    Rung, decimal, gap_of, may_clear, next_good, read_span, read_time, save, shape, words, wrong_side,
};
use super::{Binding, Bound, Machine, Read, Shapes, Spec};
use crate::compare::parse;
use crate::level::{Name, read_level};
use crate::reading::{Reading, Verdict};
use model::status;
use model::time::{MINUTE, Micros, SECOND, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

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
    /// Limits, and the time unit of both.
    levels: Vec<(Rung, Micros)>,
}

/// Reads window, guards and levels.
pub fn read(s: &Section<'_>) -> Option<Read> {
    // Read on after a mistake: what is not read would be told as unknown.
    if !s.has("window") {
        s.missing("window", "\"5min\"");
    }
    let said = read_span(s, "window").ok().flatten();
    if said.is_some_and(|w| w < SECOND) {
        s.error("`window` is shorter than a second", "make it longer");
    }
    let window = said.unwrap_or(MINUTE);
    let buckets = s.int("buckets", 2, BUCKETS_MAX).map_or(BUCKETS_MAX, |b| b.value);
    let min_readings = s.int("min_readings", 2, 1_000_000).map_or(3, |n| n.value) as u32;
    let min_covered = read_time(s, "min_covered", 0).ok().flatten().unwrap_or(window / 2);
    if min_covered > window {
        s.error("`min_covered` is longer than `window`", "the rule could never say anything");
    }
    let blank = read_time(s, "blank", 0).ok().flatten().unwrap_or(20 * SECOND);
    let gap = read_span(s, "gap").ok().flatten();
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
    let width = width_of(window, buckets);
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
    (said.is_some() && !defs.is_empty()).then(|| (defs, Arc::new(spec) as Arc<dyn Spec>))
}

fn read_limits(s: &Section<'_>) -> Option<(Rung, Micros)> {
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
    let rung = Rung { on: compare, off: release };
    if wrong_side(rung) {
        s.file().error_at(
            on.at,
            "`off` is on the wrong side of `on`",
            "a rise that raises ends at a smaller one",
        );
        return None;
    }
    Some((rung, per))
}

impl Spec for RateSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let said = format!("{} {} {:?}", self.width, self.buckets, self.method);
        let slots = points.iter().map(|&ix| {
            let scale = b.conversion(ix).map(|(scale, _)| scale);
            let point = b.catalog.point(ix);
            let unit = point.unit.clone();
            Slot { scale, gap: gap_of(self.gap, point), shape: shape(&said, &unit), unit }
        });
        let slots = slots.collect();
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(RateBound { spec: self.clone(), slots, names })
    }
}

#[derive(Debug, PartialEq)]
struct Slot {
    /// Of a limit to the point's unit; `None` where they do not fit: then nothing is said.
    scale: Option<f64>,
    gap: Micros,
    shape: u64,
    unit: String,
}

#[derive(Debug)]
struct RateBound {
    spec: RateSpec,
    slots: Shapes<Slot>,
    names: Vec<String>,
}

impl Bound for RateBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        let buckets = vec![Bucket::EMPTY; slots * self.spec.buckets];
        let lasts =
            if self.spec.method == Method::LeastSquares { vec![(0, 0.0); buckets.len()] } else { Vec::new() };
        let state = vec![State::NONE; slots];
        Box::new(RateMachine { bound: self, buckets, lasts, state })
    }

    fn is_up(&self, _: usize, level: usize) -> bool {
        self.spec.levels[level].0.on.is_up()
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.slots[slot].scale.is_some()
    }

    fn remembers(&self) -> Micros {
        self.spec.window
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let s = &self.slots[slot];
        let Some(scale) = s.scale else { return Vec::new() };
        let shown = |(name, (rung, per)): (&String, &(Rung, Micros))| {
            let rung = rung.converted((scale, 0.0));
            (name.clone(), format!("{}/{}", rung.show(true, &s.unit), show_per(*per)), "rule")
        };
        self.names.iter().zip(&self.spec.levels).map(shown).collect()
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

#[derive(Clone, Copy, PartialEq)]
struct State {
    /// The last good reading; `MIN` where the next one begins the window anew.
    last: Micros,
    blank_until: Micros,
}

impl State {
    const NONE: Self = Self { last: Micros::MIN, blank_until: Micros::MIN };
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
        // A slope needs the order of time; what came late, or is known to be old, says nothing of it.
        if !r.newer || r.late || r.status & status::STALE != 0 {
            return f64::NAN;
        }
        let (spec, s) = (&self.bound.spec, &self.bound.slots[slot]);
        let (Some(value), Some(scale)) = (next_good(r), s.scale) else {
            // The first good reading after one that is not sees a blank.
            if !may_clear(r) {
                self.state[slot].last = Micros::MIN;
            }
            return f64::NAN;
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
        for (verdict, (rung, per)) in verdicts.iter_mut().zip(&spec.levels) {
            *verdict = rung.verdict(decimal(slope * *per as f64 / scale));
        }
        let per = spec.levels.first().map_or(MINUTE, |l| l.1);
        decimal(slope * per as f64)
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let (spec, s) = (&self.bound.spec, &self.bound.slots[slot]);
        let (rung, per) = &spec.levels[level];
        let rung = rung.converted((s.scale.unwrap_or(1.0), 0.0));
        format!("{value:.6} {}/{}", rung.show(on, &s.unit), show_per(*per))
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let (state, buckets) = (self.state[slot], self.bound.spec.buckets);
        if state == State::NONE {
            return;
        }
        save([self.bound.slots[slot].shape, state.last as u64, state.blank_until as u64], out);
        for i in slot * buckets..(slot + 1) * buckets {
            let Bucket { first, n } = self.buckets[i];
            save([u64::from(n), first.0 as u64, first.1.to_bits()], out);
            save(self.lasts.get(i).into_iter().flat_map(|last| [last.0 as u64, last.1.to_bits()]), out);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let buckets = self.bound.spec.buckets;
        let here = slot * buckets..(slot + 1) * buckets;
        self.state[slot] = State::NONE;
        self.buckets[here.clone()].fill(Bucket::EMPTY);
        let Some(words) = words(bytes) else { return false };
        let Some((own, saved)) = words.split_first_chunk::<3>() else { return words.is_empty() };
        if own[0] != self.bound.slots[slot].shape {
            return true; // a window that was changed begins anew
        }
        let width = if self.lasts.is_empty() { 3 } else { 5 };
        if saved.len() != width * buckets {
            return false;
        }
        let reading = |w: &[u64]| (w[0] as Micros, f64::from_bits(w[1]));
        for (i, w) in here.zip(saved.chunks_exact(width)) {
            self.buckets[i] = Bucket { n: w[0] as u32, first: reading(&w[1..]) };
            if let Some(last) = self.lasts.get_mut(i) {
                *last = reading(&w[3..]);
            }
        }
        self.state[slot] = State { last: own[1] as Micros, blank_until: own[2] as Micros };
        true
    }
}

/// The time unit of a rate: `min`, `h`.
fn show_per(per: Micros) -> String {
    show_duration(per).trim_start_matches('1').to_owned()
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
