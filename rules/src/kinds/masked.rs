//! `masked`: calibration or pause that begins as the value rises: the bit is set within a time after the value went over a limit. It
//! hides an alarm from a system that trusts the bit, and bureaus fine for it.
//!
//! The value went over at the first reading over after one that was not; a value that the bit covers says nothing. On with the first
//! reading that has the bit, off at the first good one without. A bit that lasts too long is the business of `status` with an on-delay.

use super::shared::{Limit, may_clear, read_span, rung_of_bit, save, words};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::compare::Compare;
use crate::level::{Name, read_level};
use crate::reading::{Grade, Reading, Verdict, range};
use model::status;
use model::time::{MINUTE, Micros, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
struct MaskedSpec {
    bits: i32,
    over: Limit,
    within: Micros,
}

/// Reads `over`, `within` and `bits`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let over = Limit::read(s, "over", "\">= 0.8\"");
    let within = read_span(s, "within");
    let said = s.has("bits");
    let bits = s.one_of("bits", &["calibration", "paused", "both"]).map(|w| w.value);
    let level = read_level(s, Name::Is("masked"), 0)?;
    let bits = match bits {
        Some("calibration") => status::CALIBRATION,
        Some("paused") => status::PAUSED,
        None if said => return None,
        _ => status::CALIBRATION | status::PAUSED,
    };
    let spec = MaskedSpec { bits, over: over?, within: within.ok()?.unwrap_or(2 * MINUTE) };
    Some((vec![level], Arc::new(spec)))
}

impl Spec for MaskedSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let slots = points.iter().map(|&ix| {
            let point = b.catalog.point(ix);
            let (low, high) = range(point);
            // As the limit rule has it: the stricter of the rule's limit and the point's own. A column that is named is that one.
            let stricter = |(over, from): (Compare, &'static str)| {
                let own = rung_of_bit(point, false, over.is_up())
                    .filter(|own| from == "rule" && !over.covers(own.on));
                own.map_or((over, from), |own| (own.on, "catalog"))
            };
            Slot { over: self.over.of(ix, b).map(stricter), low, high, unit: point.unit.clone() }
        });
        let slots = slots.collect();
        Box::new(MaskedBound { bits: self.bits, within: self.within, slots })
    }
}

#[derive(Debug)]
struct Slot {
    /// In the point's unit, and where it comes from; `None` where there is none: then nothing is said.
    over: Option<(Compare, &'static str)>,
    low: f64,
    high: f64,
    unit: String,
}

#[derive(Debug)]
struct MaskedBound {
    bits: i32,
    within: Micros,
    slots: Vec<Slot>,
}

impl Bound for MaskedBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        Box::new(MaskedMachine { bound: self, state: vec![State::NONE; slots] })
    }

    /// What it finds is misuse of the bit, and is told.
    fn minds_calibration(&self) -> bool {
        false
    }

    fn judges(&self, slot: usize, _: usize) -> bool {
        self.slots[slot].over.is_some()
    }

    fn remembers(&self) -> Micros {
        self.within
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let s = &self.slots[slot];
        let Some((over, from)) = s.over else { return Vec::new() };
        let (bits, within) = (status::names(self.bits).join(" or "), show_duration(self.within));
        let limit = format!("{bits} within {within} after {} {}", over.show(), s.unit);
        vec![("masked".to_owned(), limit, from)]
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct State {
    /// When the value last went over; `MIN` where it has not.
    went_over: Micros,
    is_over: bool,
    has_bit: bool,
    masked: bool,
}

impl State {
    const NONE: Self = Self { went_over: Micros::MIN, is_over: false, has_bit: false, masked: false };

    fn value(&mut self, time: Micros, over: bool) {
        if over && !self.is_over {
            self.went_over = time;
        }
        self.is_over = over;
    }
}

struct MaskedMachine {
    bound: Arc<MaskedBound>,
    state: Vec<State>,
}

impl Machine for MaskedMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        let (bound, state) = (&*self.bound, &mut self.state[slot]);
        let s = &bound.slots[slot];
        let (Some((over, _)), true) = (s.over, r.newer) else { return f64::NAN };
        if r.status & bound.bits != 0 {
            if !state.has_bit {
                let known = state.went_over != Micros::MIN;
                state.masked = known && r.time - state.went_over <= bound.within;
                state.has_bit = true;
            }
            if state.masked {
                verdicts[0] = Verdict::Over;
            }
            return f64::NAN;
        }
        match r.grade(s.low, s.high) {
            Grade::Good(value) if may_clear(r) && value.is_finite() => {
                state.value(r.time, over.holds(value));
                (state.has_bit, state.masked) = (false, false);
                verdicts[0] = Verdict::Below;
            }
            // Over range can only say that it is over.
            Grade::OverRange(value) if over.holds(value) => state.value(r.time, true),
            _ => {}
        }
        f64::NAN
    }

    fn reason(&self, slot: usize, _: usize, _: f64, on: bool) -> String {
        let bound = &*self.bound;
        let bits = status::names(bound.bits).join(" or ");
        match bound.slots[slot].over {
            Some((over, _)) if on => {
                let (limit, unit, within) =
                    (over.show(), &bound.slots[slot].unit, show_duration(bound.within));
                format!("{bits} began within {within} after the value went {limit} {unit}")
            }
            _ => format!("a good reading without {bits} came"),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let s = self.state[slot];
        if s != State::NONE {
            let flags = u64::from(s.is_over) | u64::from(s.has_bit) << 1 | u64::from(s.masked) << 2;
            save([s.went_over as u64, flags], out);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.state[slot] = match words(bytes).as_deref() {
            Some([]) => State::NONE,
            Some([went_over, flags]) => State {
                went_over: *went_over as Micros,
                is_over: flags & 1 != 0,
                has_bit: flags & 2 != 0,
                masked: flags & 4 != 0,
            },
            _ => return false,
        };
        true
    }
}
