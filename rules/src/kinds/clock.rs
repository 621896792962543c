//! `clock`: a device whose clock is wrong or drifts. What a reading tells of it is its lag, the clock of the log when it came less its own
//! time: the error of the device's clock and the delay of the link together. The least lag of many readings is the error and the
//! shortest delay, which stays the same. So `offset` is the least lag of the window, and `drift` that of its newest quarter less that
//! of its oldest: above 0 the device is or falls behind.
//!
//! A clock more than 5 min ahead is the business of `status` and the bit future; one more than 2 min behind makes every reading late,
//! and its point silent.

use super::ring::{BUCKETS_MAX, Cell, Ring, split, width_of};
use super::shared::{Rung, may_clear, read_levels, read_rung, read_span, refuse_unit, save, shape};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::reading::{Reading, Verdict};
use model::status;
use model::time::{Micros, SECOND, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

/// Buckets of a quarter.
const QUARTER: i64 = BUCKETS_MAX / 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Measure {
    Offset,
    Drift,
}

#[derive(Clone, Debug, PartialEq)]
struct ClockSpec {
    measure: Measure,
    window: Micros,
    width: Micros,
    min_readings: u32,
    rungs: Vec<Rung>,
}

/// Reads `measure`, `window`, `min_readings` and levels with `on` and `off` in seconds.
pub fn read(s: &Section<'_>) -> Option<Read> {
    refuse_unit(s, "limits are seconds");
    if !s.has("measure") {
        s.missing("measure", "\"drift\"");
    }
    let measure = s.one_of("measure", &["offset", "drift"]).map(|w| match w.value {
        "offset" => Measure::Offset,
        _ => Measure::Drift,
    });
    if !s.has("window") {
        s.missing("window", "\"24h\"");
    }
    let window = read_span(s, "window");
    let min_readings = s.int("min_readings", 1, 1_000_000).map_or(10, |n| n.value) as u32;
    let levels = read_levels(s, "clock", |level| read_rung(level, "\">= 30\""));
    let window = window.ok()??;
    if window < BUCKETS_MAX * SECOND {
        s.error(format!("`window` is shorter than {BUCKETS_MAX}s, a second a bucket"), "make it longer");
        return None;
    }
    let (levels, rungs) = levels?;
    let width = width_of(window, BUCKETS_MAX);
    Some((levels, Arc::new(ClockSpec { measure: measure?, window, width, min_readings, rungs })))
}

impl Spec for ClockSpec {
    fn bind(&self, b: &mut Binding<'_>, _: &[u32]) -> Box<dyn Bound> {
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(ClockBound { spec: self.clone(), names, shape: shape(&self.width.to_string(), "") })
    }
}

#[derive(Debug)]
struct ClockBound {
    spec: ClockSpec,
    names: Vec<String>,
    shape: u64,
}

impl ClockBound {
    fn word(&self) -> &'static str {
        if self.spec.measure == Measure::Offset { "offset" } else { "drift" }
    }
}

impl Bound for ClockBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        Box::new(ClockMachine { ring: Ring::new(slots, BUCKETS_MAX as usize, self.spec.width), bound: self })
    }

    fn is_up(&self, _: usize, level: usize) -> bool {
        self.spec.rungs[level].on.is_up()
    }

    fn remembers(&self) -> Micros {
        self.spec.window
    }

    fn describe(&self, _: usize) -> Vec<(String, String, &'static str)> {
        let what = format!("{} of {}", self.word(), show_duration(self.spec.window));
        let shown = |(name, rung): (&String, &Rung)| {
            (name.clone(), format!("{what} {}", rung.show(true, "s")), "rule")
        };
        self.names.iter().zip(&self.spec.rungs).map(shown).collect()
    }
}

/// Readings of one part of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    n: u32,
    least: Micros,
}

impl Bucket {
    fn join(&mut self, other: &Self) {
        self.n += other.n;
        self.least = self.least.min(other.least);
    }
}

impl Cell<2> for Bucket {
    const EMPTY: Self = Self { n: 0, least: Micros::MAX };

    fn words(&self) -> [u64; 2] {
        [u64::from(self.n), self.least as u64]
    }

    fn of([n, least]: &[u64; 2]) -> Self {
        Self { n: *n as u32, least: *least as Micros }
    }
}

struct ClockMachine {
    bound: Arc<ClockBound>,
    ring: Ring<Bucket, 2>,
}

impl ClockMachine {
    /// Microseconds; `None` while too little is known.
    fn measured(&self, slot: usize, now: Micros) -> Option<Micros> {
        let spec = &self.bound.spec;
        let (mut all, mut new, mut old) = (Bucket::EMPTY, Bucket::EMPTY, Bucket::EMPTY);
        for (age, bucket) in self.ring.inside(slot, now) {
            all.join(bucket);
            if age < QUARTER {
                new.join(bucket);
            } else if age >= BUCKETS_MAX - QUARTER {
                old.join(bucket);
            }
        }
        match spec.measure {
            Measure::Offset => (all.n >= spec.min_readings).then_some(all.least),
            Measure::Drift => (new.n.min(old.n) >= spec.min_readings).then(|| new.least - old.least),
        }
    }
}

impl Machine for ClockMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        // A replay brings its own clock, and where the device told no time there is none to judge.
        let foreign = r.status & (status::FUTURE | status::NO_DEVICE_TIME) != 0 || r.source != 0;
        if foreign || !r.newer || !may_clear(r) {
            return f64::NAN;
        }
        self.ring.bucket(slot, r.time).join(&Bucket { n: 1, least: r.heard - r.time });
        let Some(measured) = self.measured(slot, r.time) else { return f64::NAN };
        let seconds = measured as f64 / SECOND as f64;
        for (verdict, rung) in verdicts.iter_mut().zip(&self.bound.spec.rungs) {
            *verdict = rung.verdict(seconds);
        }
        seconds
    }

    fn reason(&self, _: usize, level: usize, value: f64, on: bool) -> String {
        let window = show_duration(self.bound.spec.window);
        format!(
            "{} of {window} is {value} s, {}",
            self.bound.word(),
            self.bound.spec.rungs[level].show(on, "s")
        )
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let mut cells = Vec::new();
        self.ring.save(slot, &mut cells);
        if !cells.is_empty() {
            save([self.bound.shape], out);
            out.extend_from_slice(&cells);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.ring.clear(slot);
        if bytes.is_empty() {
            return true;
        }
        let Some((shape, [], cells)) = split(bytes) else { return false };
        // A window that was changed begins anew.
        shape != self.bound.shape || self.ring.load(slot, &cells)
    }
}
