//! `spike`: one reading far from both its neighbours, on the same side of both. It is known for one when the next good reading is
//! there; so the level goes on at that next one, and off at the next that closes no spike. The number told is the distance to the
//! nearer neighbour.
//!
//! Neighbours are good readings that follow each other within the gap; what lies farther apart says nothing.

use super::shared::{decimal, gap_of, next_good, read_compare, read_levels, read_span, save, words};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::compare::Compare;
use crate::reading::{Reading, Verdict};
use model::time::Micros;
use model::toml_file::Section;
use std::sync::Arc;

/// Which spikes count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Up,
    Down,
    Both,
}

#[derive(Clone, Debug, PartialEq)]
struct SpikeSpec {
    side: Side,
    gap: Option<Micros>,
    on: Vec<Compare>,
}

/// Reads `on` (at the rule or at each level), `side` and `gap`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let said = s.has("side");
    let side = s.one_of("side", &["up", "down", "both"]).map(|w| w.value);
    let gap = read_span(s, "gap");
    let (levels, on) = read_levels(s, "spike", |level| {
        let on = read_compare(level, "on", "\">= 0.5\"")?;
        if on.is_up() && on.limit > 0.0 {
            return Some(on);
        }
        let message = format!("`on = \"{}\"` is no distance", on.show());
        level.file().error_at(level.str("on")?.at, message, "write for example `on = \">= 0.5\"`");
        None
    })?;
    if levels.iter().any(|l| l.on_delay > 0) {
        s.error(
            "a spike has no `on_delay`",
            "one reading is over before any delay; an `off_delay` makes one of many",
        );
        return None;
    }
    let side = match side {
        Some("up") => Side::Up,
        Some("down") => Side::Down,
        None if said => return None,
        _ => Side::Both,
    };
    Some((levels, Arc::new(SpikeSpec { side, gap: gap.ok()?, on })))
}

impl Spec for SpikeSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let (mut slots, mut on) = (Vec::with_capacity(points.len()), Vec::new());
        for &ix in points {
            let scale = b.conversion(ix).map(|(scale, _)| scale);
            on.extend(self.on.iter().map(|on| Some(on.converted((scale?, 0.0)))));
            let point = b.catalog.point(ix);
            slots.push(Slot { gap: gap_of(self.gap, point), unit: point.unit.clone() });
        }
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(SpikeBound { side: self.side, on, slots, names })
    }
}

#[derive(Debug)]
struct Slot {
    gap: Micros,
    unit: String,
}

#[derive(Debug)]
struct SpikeBound {
    side: Side,
    /// For each slot its levels; `None` where the units do not fit: then nothing is said.
    on: Vec<Option<Compare>>,
    slots: Vec<Slot>,
    names: Vec<String>,
}

impl SpikeBound {
    fn of(&self, slot: usize) -> &[Option<Compare>] {
        &self.on[slot * self.names.len()..(slot + 1) * self.names.len()]
    }
}

impl Bound for SpikeBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        Box::new(SpikeMachine { bound: self, last: vec![[None; 2]; slots] })
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        self.of(slot)[level].is_some()
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let unit = &self.slots[slot].unit;
        let shown = self.names.iter().zip(self.of(slot)).filter_map(|(name, on)| {
            Some((name.clone(), format!("{} {unit} from both neighbours", (*on)?.show()), "rule"))
        });
        shown.collect()
    }
}

/// A good reading.
type Seen = Option<(Micros, f64)>;

struct SpikeMachine {
    bound: Arc<SpikeBound>,
    /// The last two good readings, older first.
    last: Vec<[Seen; 2]>,
}

/// How far the middle of three stands out from the nearer of the others; 0 where it lies between them or on the other side.
fn distance(side: Side, before: f64, middle: f64, after: f64) -> f64 {
    let up = decimal(middle - before.max(after));
    let down = decimal(before.min(after) - middle);
    match side {
        Side::Up => up.max(0.0),
        Side::Down => down.max(0.0),
        Side::Both => up.max(down).max(0.0),
    }
}

impl Machine for SpikeMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        let Some(value) = next_good(r) else { return f64::NAN };
        let bound = &*self.bound;
        let s = &bound.slots[slot];
        let [before, middle] = self.last[slot];
        self.last[slot] = [middle, Some((r.time, value))];
        let (Some(before), Some(middle)) = (before, middle) else { return f64::NAN };
        if middle.0 - before.0 > s.gap || r.time - middle.0 > s.gap {
            return f64::NAN;
        }
        let distance = distance(bound.side, before.1, middle.1, value);
        for (verdict, on) in verdicts.iter_mut().zip(bound.of(slot)) {
            *verdict = match on {
                Some(on) if on.holds(distance) => Verdict::Over,
                Some(_) => Verdict::Below,
                None => Verdict::Hold,
            };
        }
        distance
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let unit = &self.bound.slots[slot].unit;
        match self.bound.of(slot)[level] {
            Some(limit) if on => {
                format!(
                    "the reading before stands {value} {unit} from both neighbours, {} {unit}",
                    limit.show()
                )
            }
            _ => "the reading before stands out no more".to_owned(),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let seen = self.last[slot].iter().flatten();
        save(seen.flat_map(|(time, value)| [*time as u64, value.to_bits()]), out);
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let seen = |time: &u64, value: &u64| Some((*time as Micros, f64::from_bits(*value)));
        self.last[slot] = match words(bytes).as_deref() {
            Some([]) => [None; 2],
            Some([time, value]) => [None, seen(time, value)],
            Some([t0, v0, t1, v1]) => [seen(t0, v0), seen(t1, v1)],
            _ => return false,
        };
        true
    }
}
