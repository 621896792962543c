//! `window`: smallest, greatest, mean, 95th percentile, range or number of the good readings of a window against limits, or how far a
//! reading stands from the mean of those before it or from the smallest of the window.
//!
//! A sliding window moves on by a bucket at a time and ends with the newest; a tumbling one lies between two multiples of its length
//! (UTC) and is judged once, by the first good reading after it. Enough must be known: readings, and time between neighbours.
//!
//! The percentile is by nearest rank and exact though no reading is kept: it is at or above a limit if more than one in twenty readings
//! is, so each bucket counts those that hold.

use super::ring::{BUCKETS_MAX, Cell, Ring, split, width_of};
use super::shared::{
    Rung, decimal, gap_of, next_good, read_levels, read_rung, read_span, refuse_unit, save, shape,
};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::compare::Compare;
use crate::reading::{Reading, Verdict};
use model::time::{Micros, SECOND, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stat {
    Min,
    Max,
    Mean,
    P95,
    Count,
    /// The greatest less the smallest.
    Range,
    /// The reading less the mean of the window before it.
    Deviation,
    /// The reading less the smallest of the window.
    Rise,
}

const STATS: [(&str, Stat); 8] = [
    ("min", Stat::Min),
    ("max", Stat::Max),
    ("mean", Stat::Mean),
    ("p95", Stat::P95),
    ("count", Stat::Count),
    ("range", Stat::Range),
    ("deviation", Stat::Deviation),
    ("rise", Stat::Rise),
];

/// Levels whose readings a bucket has room to count, with on and off each.
const P95_LEVELS_MAX: usize = 2;

#[derive(Clone, Debug, PartialEq)]
struct WindowSpec {
    stat: Stat,
    tumbling: bool,
    window: Micros,
    width: Micros,
    buckets: usize,
    min_readings: u32,
    min_covered: Micros,
    gap: Option<Micros>,
    rungs: Vec<Rung>,
}

/// Reads `stat`, `window`, `tumbling`, `buckets`, `min_readings`, `min_covered`, `gap` and levels with `on` and `off`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    if !s.has("stat") {
        s.missing("stat", "\"mean\"");
    }
    let words = STATS.map(|(word, _)| word);
    let stat = s.one_of("stat", &words).and_then(|w| STATS.iter().find(|(word, _)| *word == w.value));
    if !s.has("window") {
        s.missing("window", "\"5min\"");
    }
    let window = read_span(s, "window");
    let said_tumbling = s.has("tumbling");
    let tumbling = s.bool("tumbling").map(|t| t.value);
    let gap = read_span(s, "gap");
    let levels = read_levels(s, "window", |level| read_rung(level, "\">= 1.0\""));
    let (stat, window, tumbling) = (stat?.1, window.ok()??, tumbling.or((!said_tumbling).then_some(false))?);
    let (buckets, min_readings, min_covered) = read_guards(s, stat, window, tumbling)?;
    let (levels, rungs) = levels?;
    if stat == Stat::P95 && levels.len() > P95_LEVELS_MAX {
        s.error(format!("`p95` has at most {P95_LEVELS_MAX} levels"), "write two rules");
        return None;
    }
    let width = width_of(window, buckets);
    let buckets = buckets as usize;
    let spec = WindowSpec {
        stat,
        tumbling,
        window,
        width,
        buckets,
        min_readings,
        min_covered,
        gap: gap.ok()?,
        rungs,
    };
    Some((levels, Arc::new(spec)))
}

/// How many buckets, and what must be known before something is said.
fn read_guards(s: &Section<'_>, stat: Stat, window: Micros, tumbling: bool) -> Option<(i64, u32, Micros)> {
    let refuse = |key: &'static str, why: &str| {
        if s.has(key) {
            s.error(format!("`{key}` has no meaning here: {why}"), "leave it out");
        }
    };
    let mut buckets = BUCKETS_MAX;
    if tumbling {
        refuse("buckets", "a tumbling window is one");
        buckets = 1;
    } else if let Some(said) = s.int("buckets", 2, BUCKETS_MAX) {
        buckets = said.value;
    }
    if tumbling && matches!(stat, Stat::Deviation | Stat::Rise) {
        s.error("such a `stat` needs a window that moves with its readings", "leave `tumbling` out");
        return None;
    }
    if window < buckets * SECOND {
        s.error(
            format!("`window` is shorter than {buckets}s, a second a bucket"),
            "make it longer, or use fewer `buckets`",
        );
        return None;
    }
    if stat == Stat::Count {
        refuse_unit(s, "a number of readings has none");
        refuse("min_readings", "the number is what is judged");
        refuse("min_covered", "a window counts once all of it is known");
        return Some((buckets, 0, 0));
    }
    let min_readings = s.int("min_readings", 1, 1_000_000).map_or(3, |n| n.value) as u32;
    let min_covered = read_span(s, "min_covered").ok()?.unwrap_or(window / 2);
    // The newest bucket of a sliding window has only begun.
    let most = if tumbling { window } else { width_of(window, buckets) * (buckets - 1) };
    if min_covered > most {
        let message = format!(
            "`min_covered` is longer than {}, the part of the window that is over",
            show_duration(most)
        );
        s.error(message, "the rule could hardly ever say anything");
        return None;
    }
    Some((buckets, min_readings, min_covered))
}

impl Spec for WindowSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let (mut slots, mut rungs) = (Vec::with_capacity(points.len()), Vec::new());
        for &ix in points {
            let convert = match self.stat {
                Stat::Count => Some((1.0, 0.0)),
                // A distance has no zero of its own: of a conversion only the scale counts.
                Stat::Deviation | Stat::Range | Stat::Rise => b.conversion(ix).map(|(scale, _)| (scale, 0.0)),
                _ => b.conversion(ix),
            };
            rungs.extend(self.rungs.iter().map(|rung| Some(rung.converted(convert?))));
            let point = b.catalog.point(ix);
            let unit = if self.stat == Stat::Count { String::new() } else { point.unit.clone() };
            // What a percentile counted was for its limits; everything else knows no limits.
            let limits = if self.stat == Stat::P95 { &self.rungs[..] } else { &[] };
            let said = format!("{:?} {} {} {limits:?}", self.stat, self.width, self.buckets);
            slots.push(Slot { gap: gap_of(self.gap, point), shape: shape(&said, &unit), unit });
        }
        let names = b.levels.iter().map(|l| l.name.clone()).collect();
        Box::new(WindowBound { spec: self.clone(), slots, rungs, names })
    }
}

#[derive(Debug)]
struct Slot {
    gap: Micros,
    shape: u64,
    unit: String,
}

#[derive(Debug)]
struct WindowBound {
    spec: WindowSpec,
    slots: Vec<Slot>,
    /// For each slot its levels; `None` where the units do not fit: then nothing is said.
    rungs: Vec<Option<Rung>>,
    names: Vec<String>,
}

impl WindowBound {
    fn of(&self, slot: usize) -> &[Option<Rung>] {
        &self.rungs[slot * self.names.len()..(slot + 1) * self.names.len()]
    }

    fn what(&self) -> String {
        let word = STATS.iter().find(|(_, stat)| *stat == self.spec.stat).map_or("", |(word, _)| word);
        format!("{word} of {}", show_duration(self.spec.window))
    }
}

impl Bound for WindowBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        let ring = Ring::new(slots, self.spec.buckets, self.spec.width);
        Box::new(WindowMachine { ring, seen: vec![Seen::NOTHING; slots], bound: self })
    }

    fn is_up(&self, _: usize, level: usize) -> bool {
        self.spec.rungs[level].on.is_up()
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        self.of(slot)[level].is_some()
    }

    fn remembers(&self) -> Micros {
        self.spec.window * 2
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let unit = &self.slots[slot].unit;
        let shown = self.names.iter().zip(self.of(slot)).filter_map(|(name, rung)| {
            let rung = (*rung)?;
            let limits =
                format!("{} on {} off {}", self.what(), rung.show(true, unit), rung.show(false, unit));
            Some((name.clone(), limits, "rule"))
        });
        shown.collect()
    }
}

/// Good readings of one part of the window, or of all of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    n: u32,
    /// Time between neighbours, each where the later one stands.
    covered: Micros,
    /// Smallest, greatest or sum, as the statistic needs.
    number: f64,
    /// For the percentile: of each level how many hold its on and its off. For the range: see [`Bucket::least`].
    held: [u32; 2 * P95_LEVELS_MAX],
}

impl Bucket {
    /// The smallest, beside the greatest as `number`: its bits lie where a percentile counts, so that a window of any statistic takes
    /// the same room.
    fn least(&self) -> f64 {
        f64::from_bits(u64::from(self.held[0]) | u64::from(self.held[1]) << 32)
    }

    fn set_least(&mut self, value: f64) {
        let bits = value.to_bits();
        self.held = [bits as u32, (bits >> 32) as u32, 0, 0];
    }

    fn join(&mut self, other: &Self, stat: Stat) {
        if stat == Stat::Range {
            let least = if self.n == 0 { other.least() } else { self.least().min(other.least()) };
            self.set_least(least);
        } else {
            self.held.iter_mut().zip(other.held).for_each(|(held, more)| *held += more);
        }
        self.number = match stat {
            _ if self.n == 0 => other.number,
            Stat::Min | Stat::Rise => self.number.min(other.number),
            Stat::Max | Stat::Range => self.number.max(other.number),
            Stat::Mean | Stat::Deviation => self.number + other.number,
            Stat::P95 | Stat::Count => 0.0,
        };
        self.n += other.n;
        self.covered += other.covered;
    }
}

impl Cell<5> for Bucket {
    const EMPTY: Self = Self { n: 0, covered: 0, number: 0.0, held: [0; 4] };

    fn words(&self) -> [u64; 5] {
        let pair = |i: usize| u64::from(self.held[i]) | u64::from(self.held[i + 1]) << 32;
        [u64::from(self.n), self.covered as u64, self.number.to_bits(), pair(0), pair(2)]
    }

    fn of(words: &[u64; 5]) -> Self {
        let [n, covered, number, a, b] = *words;
        let held = [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32];
        Self { n: n as u32, covered: covered as Micros, number: f64::from_bits(number), held }
    }
}

/// When good readings were seen.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    first: Micros,
    last: Micros,
}

impl Seen {
    const NOTHING: Self = Self { first: Micros::MAX, last: Micros::MIN };
}

struct WindowMachine {
    bound: Arc<WindowBound>,
    ring: Ring<Bucket, 5>,
    seen: Vec<Seen>,
}

/// Whether the 95th percentile by nearest rank holds, where `held` of `n` readings do.
fn p95_holds(compare: Compare, held: u32, n: u32) -> bool {
    if compare.is_up() { held > n / 20 } else { held >= n - n / 20 }
}

impl WindowMachine {
    /// The window that ends with the bucket of `time`, if enough of it is known.
    fn known(&self, slot: usize, time: Micros) -> Option<Bucket> {
        let spec = &self.bound.spec;
        let mut all = Bucket::EMPTY;
        self.ring.inside(slot, time).for_each(|(_, bucket)| all.join(bucket, spec.stat));
        let enough = if spec.stat == Stat::Count {
            let oldest = time.div_euclid(spec.width) - (spec.buckets as i64 - 1);
            self.seen[slot].first <= oldest * spec.width
        } else {
            all.n >= spec.min_readings && all.covered >= spec.min_covered
        };
        enough.then_some(all)
    }

    fn add(&mut self, slot: usize, time: Micros, value: f64) {
        let bound = &*self.bound;
        let seen = &mut self.seen[slot];
        let mut one = Bucket { n: 1, number: value, ..Bucket::EMPTY };
        if seen.last == Micros::MIN {
            seen.first = time;
        } else if time - seen.last <= bound.slots[slot].gap {
            one.covered = time - seen.last;
        }
        seen.last = time;
        if bound.spec.stat == Stat::Range {
            one.set_least(value);
        } else if bound.spec.stat == Stat::P95 {
            for (held, rung) in one.held.chunks_exact_mut(2).zip(bound.of(slot).iter().flatten()) {
                held.copy_from_slice(&[rung.on.holds(value).into(), rung.off.holds(value).into()]);
            }
        }
        self.ring.bucket(slot, time).join(&one, bound.spec.stat);
    }

    /// What is judged at a reading: the window before it, with it, or one that is over.
    fn take(&mut self, slot: usize, time: Micros, value: f64) -> Option<Bucket> {
        let spec = &self.bound.spec;
        if spec.tumbling {
            let last = self.seen[slot].last;
            let is_first = last == Micros::MIN || last.div_euclid(spec.width) < time.div_euclid(spec.width);
            let over = if is_first { self.known(slot, time - spec.width) } else { None };
            self.add(slot, time, value);
            return over;
        }
        if spec.stat == Stat::Deviation {
            let before = self.known(slot, time);
            self.add(slot, time, value);
            return before;
        }
        self.add(slot, time, value);
        self.known(slot, time)
    }
}

impl Machine for WindowMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(Verdict::Hold);
        let Some(value) = next_good(r) else { return f64::NAN };
        let Some(all) = self.take(slot, r.time, value) else { return f64::NAN };
        let stat = self.bound.spec.stat;
        let number = match stat {
            Stat::Min | Stat::Max => all.number,
            Stat::Range => decimal(all.number - all.least()),
            Stat::Mean => decimal(all.number / f64::from(all.n)),
            Stat::Deviation => decimal(value - all.number / f64::from(all.n)),
            Stat::Rise => decimal(value - all.number),
            Stat::Count => f64::from(all.n),
            Stat::P95 => value,
        };
        let held = all.held.chunks_exact(2).chain(std::iter::repeat(&[0, 0][..]));
        for ((verdict, rung), held) in verdicts.iter_mut().zip(self.bound.of(slot)).zip(held) {
            *verdict = match rung {
                None => Verdict::Hold,
                Some(rung) if stat != Stat::P95 => rung.verdict(number),
                Some(rung) if p95_holds(rung.on, held[0], all.n) => Verdict::Over,
                Some(rung) if p95_holds(rung.off, held[1], all.n) => Verdict::Below,
                Some(_) => Verdict::Band,
            };
        }
        number
    }

    fn reason(&self, slot: usize, level: usize, value: f64, on: bool) -> String {
        let bound = &*self.bound;
        let Some(rung) = bound.of(slot)[level] else { return String::new() };
        let limit = rung.show(on, &bound.slots[slot].unit);
        match bound.spec.stat {
            Stat::P95 => format!("{} {limit}, at a reading of {value}", bound.what()),
            _ => format!("{} is {value}, {limit}", bound.what()),
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let seen = self.seen[slot];
        if seen.last != Micros::MIN {
            save([self.bound.slots[slot].shape, seen.first as u64, seen.last as u64], out);
            self.ring.save(slot, out);
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        (self.seen[slot], _) = (Seen::NOTHING, self.ring.clear(slot));
        if bytes.is_empty() {
            return true;
        }
        let Some((shape, [first, last], cells)) = split(bytes) else { return false };
        if shape != self.bound.slots[slot].shape {
            return true; // a window that was changed begins anew
        }
        self.seen[slot] = Seen { first: first as Micros, last: last as Micros };
        self.ring.load(slot, &cells)
    }
}
