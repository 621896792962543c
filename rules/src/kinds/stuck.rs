//! `stuck`: a sensor that does not change. Good readings that differ from the first of them by no more than the dead band are a
//! plateau; a level is on once the plateau has lasted for `after`. Below the floor a sensor may well be flat: there is no plateau.
//!
//! Only time between good readings that are neighbours counts: a gap, a fault or a calibration makes no plateau longer, and a value
//! that is the same behind it does not end one. Off at the first reading that moved, or at one below the floor.

use super::shared::{decimal, gap_of, next_good, read_levels, read_positive, read_span, save, words};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::reading::{Reading, Verdict};
use model::time::{Micros, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
struct StuckSpec {
    dead_band: f64,
    floor: Option<f64>,
    gap: Option<Micros>,
    after: Vec<Micros>,
}

/// Reads `after` (at the rule or at each level), `dead_band`, `floor` and `gap`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let dead_band = read_positive(s, "dead_band");
    let floor = if s.has("floor") { s.f64("floor").map(|f| Some(f.value)).ok_or(()) } else { Ok(None) };
    let gap = read_span(s, "gap");
    let (levels, after) = read_levels(s, "stuck", |level| {
        if !level.has("after") {
            level.missing("after", "\"30min\"");
        }
        read_span(level, "after").ok().flatten()
    })?;
    let spec =
        StuckSpec { dead_band: dead_band.ok()?.unwrap_or(0.0), floor: floor.ok()?, gap: gap.ok()?, after };
    Some((levels, Arc::new(spec)))
}

impl Spec for StuckSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let slots = points.iter().map(|&ix| {
            let convert = b.conversion(ix);
            let point = b.catalog.point(ix);
            let (scale, offset) = convert.unwrap_or((1.0, 0.0));
            Slot {
                fits: convert.is_some(),
                dead_band: decimal(self.dead_band * scale),
                floor: self.floor.map_or(f64::NEG_INFINITY, |f| decimal(f * scale + offset)),
                gap: gap_of(self.gap, point),
                unit: point.unit.clone(),
            }
        });
        let slots = slots.collect();
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(StuckBound { after: self.after.clone(), slots, names })
    }
}

#[derive(Debug)]
struct Slot {
    /// Whether dead band and floor have the point's unit; else nothing is said.
    fits: bool,
    dead_band: f64,
    floor: f64,
    gap: Micros,
    unit: String,
}

#[derive(Debug)]
struct StuckBound {
    after: Vec<Micros>,
    slots: Vec<Slot>,
    names: Vec<String>,
}

impl Bound for StuckBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        Box::new(StuckMachine { bound: self, state: vec![State::NONE; slots] })
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.slots[slot].fits
    }

    fn remembers(&self) -> Micros {
        self.after.iter().copied().max().unwrap_or_default()
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let s = &self.slots[slot];
        let floor = if s.floor.is_finite() { format!(" at or above {}", s.floor) } else { String::new() };
        let shown = |after: &Micros| {
            format!("within {} {}{floor} for {}", s.dead_band, s.unit, show_duration(*after))
        };
        self.names.iter().zip(&self.after).map(|(name, after)| (name.clone(), shown(after), "rule")).collect()
    }
}

/// The plateau of a point.
#[derive(Clone, Copy, PartialEq, Debug)]
struct State {
    /// Its first value; NaN while the sensor is below the floor.
    anchor: f64,
    /// When it began, later by all time that no neighbours cover.
    since: Micros,
    /// Its last good reading; `MIN` where there was none.
    last: Micros,
    /// Whether it began with a change that was seen: until `after` the sensor is then known not to be stuck.
    moved: bool,
}

impl State {
    const NONE: Self = Self { anchor: f64::NAN, since: 0, last: Micros::MIN, moved: false };

    /// Takes a good reading.
    fn take(&mut self, s: &Slot, time: Micros, value: f64) {
        let known = self.last != Micros::MIN;
        if value < s.floor {
            *self = Self { anchor: f64::NAN, since: time, last: time, moved: true };
        } else if known && decimal((value - self.anchor).abs()) <= s.dead_band {
            let step = time.saturating_sub(self.last);
            if step > s.gap {
                self.since += step;
            }
            self.last = time;
        } else {
            *self = Self { anchor: value, since: time, last: time, moved: known };
        }
    }
}

struct StuckMachine {
    bound: Arc<StuckBound>,
    state: Vec<State>,
}

impl Machine for StuckMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        let s = &self.bound.slots[slot];
        let Some(value) = next_good(r).filter(|_| s.fits) else { return f64::NAN };
        let state = &mut self.state[slot];
        state.take(s, r.time, value);
        let flat = r.time - state.since;
        for (verdict, after) in verdicts.iter_mut().zip(&self.bound.after) {
            *verdict = if flat >= *after {
                Verdict::Over
            } else if state.moved {
                Verdict::Below
            } else {
                Verdict::Hold
            };
        }
        value
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let (s, state) = (&self.bound.slots[slot], &self.state[slot]);
        if on {
            let after = show_duration(self.bound.after[level]);
            format!("within {} {} of {} for {after}", s.dead_band, s.unit, state.anchor)
        } else if state.anchor.is_nan() {
            format!("{value} is below the floor {} {}", s.floor, s.unit)
        } else {
            format!("it moves again: {value} {}", s.unit)
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let s = &self.state[slot];
        if s.last != Micros::MIN {
            save([s.anchor.to_bits(), s.since as u64, s.last as u64, u64::from(s.moved)], out);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.state[slot] = match words(bytes).as_deref() {
            Some([]) => State::NONE,
            Some([anchor, since, last, moved]) => State {
                anchor: f64::from_bits(*anchor),
                since: *since as Micros,
                last: *last as Micros,
                moved: *moved != 0,
            },
            _ => return false,
        };
        true
    }
}
