//! `noise`: a sensor whose noise grows, before it fails. Noise is how far the middle of three good neighbours lies from the straight
//! line between the others, so that a rise is none; its mean over the newest quarter of the window is compared with its mean over
//! the rest, as a ratio. Below the floor there is no noise to speak of: a rest that is quieter counts as the floor.

use super::ring::{BUCKETS_MAX, Cell, Ring, split, width_of};
use super::shared::{
    Rung, decimal, gap_of, next_good, read_levels, read_positive, read_rung, read_span, save, shape,
};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::reading::{Reading, Verdict};
use model::time::{Micros, SECOND, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

/// Buckets that are new; the others are what they are compared with.
const NEW: i64 = BUCKETS_MAX / 4;

#[derive(Clone, Debug, PartialEq)]
struct NoiseSpec {
    window: Micros,
    width: Micros,
    floor: f64,
    min_readings: u32,
    gap: Option<Micros>,
    rungs: Vec<Rung>,
}

/// Reads `window`, `floor`, `min_readings`, `gap` and levels with `on` and `off`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    for (key, example) in [("window", "\"4h\""), ("floor", "0.01")] {
        if !s.has(key) {
            s.missing(key, example);
        }
    }
    let (window, floor, gap) = (read_span(s, "window"), read_positive(s, "floor"), read_span(s, "gap"));
    let min_readings = s.int("min_readings", 1, 1_000_000).map_or(30, |n| n.value) as u32;
    let levels = read_levels(s, "noise", |level| {
        let rung = read_rung(level, "\">= 3\"")?;
        if rung.on.is_up() && rung.on.limit > 0.0 {
            return Some(rung);
        }
        let message = format!("`on = \"{}\"` is no growth", rung.on.show());
        level.file().error_at(
            level.str("on")?.at,
            message,
            "write for example `on = \">= 3\"`, three times as much",
        );
        None
    });
    let (window, floor) = (window.ok()??, floor.ok()??);
    if floor == 0.0 {
        s.error("`floor` is zero", "noise is compared with something: take the sensor's resolution");
        return None;
    }
    if window < BUCKETS_MAX * SECOND {
        s.error(format!("`window` is shorter than {BUCKETS_MAX}s, a second a bucket"), "make it longer");
        return None;
    }
    let (levels, rungs) = levels?;
    let width = width_of(window, BUCKETS_MAX);
    Some((levels, Arc::new(NoiseSpec { window, width, floor, min_readings, gap: gap.ok()?, rungs })))
}

impl Spec for NoiseSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let said = self.width.to_string();
        let slots = points.iter().map(|&ix| {
            let floor = b.conversion(ix).map(|(scale, _)| self.floor * scale);
            let point = b.catalog.point(ix);
            let unit = point.unit.clone();
            Slot { floor, gap: gap_of(self.gap, point), shape: shape(&said, &unit) }
        });
        let slots = slots.collect();
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(NoiseBound { spec: self.clone(), slots, names })
    }
}

#[derive(Debug)]
struct Slot {
    /// In the point's unit; `None` where it does not fit: then nothing is said.
    floor: Option<f64>,
    gap: Micros,
    shape: u64,
}

#[derive(Debug)]
struct NoiseBound {
    spec: NoiseSpec,
    slots: Vec<Slot>,
    names: Vec<String>,
}

impl Bound for NoiseBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        let ring = Ring::new(slots, BUCKETS_MAX as usize, self.spec.width);
        Box::new(NoiseMachine { ring, last: vec![[None; 2]; slots], bound: self })
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.slots[slot].floor.is_some()
    }

    fn remembers(&self) -> Micros {
        self.spec.window
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        if self.slots[slot].floor.is_none() {
            return Vec::new();
        }
        let window = show_duration(self.spec.window);
        let shown = |(name, rung): (&String, &Rung)| {
            (name.clone(), format!("noise of {window} {} times", rung.on.show()), "rule")
        };
        self.names.iter().zip(&self.spec.rungs).map(shown).collect()
    }
}

/// Noise of one part of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    n: u32,
    sum: f64,
}

impl Cell<2> for Bucket {
    const EMPTY: Self = Self { n: 0, sum: 0.0 };

    fn words(&self) -> [u64; 2] {
        [u64::from(self.n), self.sum.to_bits()]
    }

    fn of([n, sum]: &[u64; 2]) -> Self {
        Self { n: *n as u32, sum: f64::from_bits(*sum) }
    }
}

struct NoiseMachine {
    bound: Arc<NoiseBound>,
    ring: Ring<Bucket, 2>,
    /// The last two good readings that are neighbours, older first.
    last: Vec<[Option<(Micros, f64)>; 2]>,
}

impl NoiseMachine {
    /// How many times as much noise there is in the newest quarter; `None` while too little is known.
    fn ratio(&self, slot: usize, floor: f64, now: Micros) -> Option<f64> {
        let (mut new, mut rest) = (Bucket::EMPTY, Bucket::EMPTY);
        for (age, bucket) in self.ring.inside(slot, now) {
            let part = if age < NEW { &mut new } else { &mut rest };
            part.n += bucket.n;
            part.sum += bucket.sum;
        }
        let enough = self.bound.spec.min_readings;
        if new.n < enough || rest.n < enough {
            return None;
        }
        let mean = |part: Bucket| part.sum / f64::from(part.n);
        Some(decimal(mean(new) / mean(rest).max(floor)))
    }
}

impl Machine for NoiseMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        let s = &self.bound.slots[slot];
        let (Some(floor), Some(value)) = (s.floor, next_good(r)) else { return f64::NAN };
        let last = &mut self.last[slot];
        if last[1].is_some_and(|(time, _)| r.time - time > s.gap) {
            *last = [None; 2];
        }
        let [first, middle] = *last;
        *last = [middle, Some((r.time, value))];
        if let (Some((_, first)), Some((_, middle))) = (first, middle) {
            let bucket = self.ring.bucket(slot, r.time);
            bucket.n += 1;
            bucket.sum += (middle - (first + value) / 2.0).abs();
        }
        let Some(ratio) = self.ratio(slot, floor, r.time) else { return f64::NAN };
        for (verdict, rung) in verdicts.iter_mut().zip(&self.bound.spec.rungs) {
            *verdict = rung.verdict(ratio);
        }
        ratio
    }

    fn reason(&self, _: usize, level: usize, value: f64, on: bool) -> String {
        let limit = self.bound.spec.rungs[level].show(on, "times");
        format!("noise is {value} times what it was, {limit}")
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let last = self.last[slot].iter().flatten();
        let last: Vec<u64> = last.flat_map(|(time, value)| [*time as u64, value.to_bits()]).collect();
        if !last.is_empty() {
            save([self.bound.slots[slot].shape, last.len() as u64], out);
            save(last, out);
            self.ring.save(slot, out);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        (self.last[slot], _) = ([None; 2], self.ring.clear(slot));
        if bytes.is_empty() {
            return true;
        }
        let Some((shape, [len], rest)) = split(bytes) else { return false };
        let Some((last, cells)) = rest.split_at_checked(len as usize) else { return false };
        if shape != self.bound.slots[slot].shape {
            return true; // a window that was changed begins anew
        }
        let seen = |pair: &[u64]| Some((pair[0] as Micros, f64::from_bits(pair[1])));
        self.last[slot] = match last.len() {
            2 => [None, seen(last)],
            4 => [seen(&last[..2]), seen(&last[2..])],
            _ => return false,
        };
        self.ring.load(slot, cells)
    }
}
