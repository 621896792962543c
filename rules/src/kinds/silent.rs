//! `silent`: a point that should speak and does not. Armed from the catalog, so a point that never spoke is silent too, counting from
//! the activation; disarmed where the site is idle or in maintenance: what is on then is withdrawn. Any reading that is newer breaks the
//! silence and its on-delay, a bad one too; what is on ends at a good reading only, as every level does: a row that says `not inspected`
//! or carries no value is no sign of the sensor.
//!
//! With `by` it is about the points together, a site or what has a label in common: no reading of any of them came that is newer than the
//! last of its point, but late ones. It is armed by the first tick that finds it, and again by the last one before its site is no more idle.

use super::group::{By, alike};
use super::shared::{ANY, may_clear, read_span, save, words};
use super::{Binding, Bound, Heard, Machine, Read, Spec};
use crate::level::{Name, read_level};
use crate::reading::{PERIOD, Reading, Verdict};
use ahash::AHashMap;
use model::time::{Micros, show_duration};
use model::toml_file::Section;
use std::sync::Arc;

/// Periods without a reading, unless said otherwise.
const PERIODS: i64 = 3;

#[derive(Clone, Debug, PartialEq)]
enum After {
    Time(Micros),
    Periods(i64),
}

#[derive(Clone, Debug, PartialEq)]
struct SilentSpec {
    /// `None`: each point for itself.
    by: Option<By>,
    after: Vec<After>,
}

/// Reads `by`, and `after` or `periods` at the rule or at each level.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let by = if s.has("by") { Some(By::read(s, false)?) } else { None };
    let sections = s.tables("level");
    let (mut levels, mut after) = (Vec::new(), Vec::new());
    if sections.is_empty() {
        after.push(read_after(s));
        levels.push(read_level(s, Name::Is("silent"), 0)?);
    }
    for (rank, level) in sections.iter().enumerate() {
        after.push(read_after(level));
        levels.push(read_level(
            level,
            if sections.len() == 1 { Name::Default("silent") } else { Name::Needed },
            rank,
        )?);
        level.finish_ref();
    }
    Some((levels, Arc::new(SilentSpec { by, after })))
}

fn read_after(s: &Section<'_>) -> After {
    let periods = s.int("periods", 1, 1_000_000).map_or(PERIODS, |p| p.value);
    read_span(s, "after").ok().flatten().map_or(After::Periods(periods), After::Time)
}

impl Spec for SilentSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        let groups = self.by.as_ref().map(|by| alike(by, points, b.catalog));
        // Of points together the one that is read most seldom says how long they may be silent.
        let slots: Vec<(u32, &[u32])> = match &groups {
            Some(groups) => groups.iter().map(|g| (g[0], &g[..])).collect(),
            None => points.iter().map(|ix| (*ix, std::slice::from_ref(ix))).collect(),
        };
        let mut after = Vec::new();
        for (ix, members) in slots {
            let armed = !matches!(b.catalog.site_of(ix).state.as_str(), "idle" | "maintenance");
            let periods = members.iter().map(|ix| b.catalog.point(*ix).period.unwrap_or(PERIOD));
            let period = periods.max().unwrap_or(PERIOD);
            after.extend(self.after.iter().map(|a| match a {
                _ if !armed => Micros::MAX,
                After::Time(time) => *time,
                After::Periods(n) => period.saturating_mul(*n),
            }));
        }
        let ids = |group: &Vec<u32>| group.iter().map(|ix| b.catalog.ids()[*ix as usize].0).collect();
        let together = groups.iter().flatten().map(ids).collect();
        Box::new(SilentBound { after, width: self.after.len(), groups, together })
    }
}

#[derive(Debug)]
struct SilentBound {
    /// `width` a slot; never where disarmed.
    after: Vec<Micros>,
    width: usize,
    groups: Option<Vec<Vec<u32>>>,
    /// The ids of each group, which name its members in a snapshot.
    together: Vec<Vec<i64>>,
}

impl Bound for SilentBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        match &self.groups {
            Some(_) => {
                let all = self.together.iter().map(|ids| Together::new(ids.len())).collect();
                debug_assert_eq!(slots, self.together.len());
                Box::new(TogetherMachine { all, bound: self })
            }
            None => Box::new(SilentMachine(self)),
        }
    }

    fn groups(&self) -> Option<Vec<Vec<u32>>> {
        self.groups.clone()
    }

    fn is_about_silence(&self) -> bool {
        true
    }

    fn calm(&self, _: usize) -> Option<(f64, f64)> {
        Some(ANY)
    }

    fn judges(&self, slot: usize, level: usize) -> bool {
        self.after[slot * self.width + level] != Micros::MAX
    }

    fn describe(&self, slot: usize) -> Vec<(String, String, &'static str)> {
        let after = &self.after[slot * self.width..(slot + 1) * self.width];
        let shown = |a: &Micros| {
            if *a == Micros::MAX { "disarmed".to_owned() } else { format!("after {}", show_duration(*a)) }
        };
        after.iter().map(|a| ("silent".to_owned(), shown(a), "catalog")).collect()
    }
}

impl SilentBound {
    fn judge(&self, slot: usize, silent_for: Micros, verdicts: &mut [Verdict]) {
        let after = &self.after[slot * self.width..(slot + 1) * self.width];
        for (verdict, after) in verdicts.iter_mut().zip(after) {
            *verdict = if silent_for > *after { Verdict::Over } else { Verdict::Band };
        }
    }

    fn reason(&self, slot: usize, level: usize, on: bool) -> String {
        let after = show_duration(self.after[slot * self.width + level]);
        let of =
            self.groups.as_ref().map_or(String::new(), |g| format!(" of any of {} points", g[slot].len()));
        match on {
            true => format!("no reading{of} for more than {after}"),
            false => "a good reading came".to_owned(),
        }
    }
}

struct SilentMachine(Arc<SilentBound>);

impl Machine for SilentMachine {
    fn reading(&mut self, _: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        verdicts.fill(if may_clear(r) { Verdict::Below } else { Verdict::Hold });
        f64::NAN
    }

    fn ticks(&self) -> bool {
        true
    }

    fn tick(&mut self, slot: usize, now: Micros, heard: Micros, verdicts: &mut [Verdict]) {
        self.0.judge(slot, now.saturating_sub(heard), verdicts);
    }

    fn reason(&self, slot: usize, level: usize, _: f64, on: bool) -> String {
        self.0.reason(slot, level, on)
    }
}

/// What is known of points together.
#[derive(Clone, Debug)]
struct Together {
    /// Event time of the newest reading of each; `MIN` where it never spoke.
    last: Vec<Micros>,
    /// Number of the clock by which they are judged, and whether the own point spoke by it.
    clock: u32,
    own_spoke: bool,
    /// When one of them spoke last, when a good reading came last, and the last tick that found them not armed, or first.
    heard: Micros,
    good: Micros,
    armed: Micros,
}

impl Together {
    fn new(members: usize) -> Self {
        let (heard, good, armed) = (Micros::MIN, Micros::MIN, Micros::MIN);
        Self { last: vec![Micros::MIN; members], clock: 0, own_spoke: false, heard, good, armed }
    }
}

struct TogetherMachine {
    bound: Arc<SilentBound>,
    all: Vec<Together>,
}

impl Machine for TogetherMachine {
    fn hear(&mut self, slot: usize, r: &Reading) -> Heard {
        let is = &mut self.all[slot];
        // Armed by ticks of the partition it knows a time of that clock before anybody spoke.
        let other = is.clock != r.source && is.heard.max(is.armed) != Micros::MIN;
        if r.time <= is.last[r.member as usize] || (other && is.own_spoke && r.member != 0) {
            return Heard::Nothing;
        }
        if other {
            *is = Together { last: std::mem::take(&mut is.last), ..Together::new(0) };
        }
        is.last[r.member as usize] = r.time;
        is.clock = r.source;
        is.own_spoke |= r.member == 0;
        is.heard = is.heard.max(r.heard);
        if may_clear(r) {
            is.good = r.clock;
        }
        if other { Heard::Anew } else { Heard::Something }
    }

    fn decide(&mut self, slot: usize, now: Micros, verdicts: &mut [Verdict]) -> f64 {
        if self.all[slot].good == now {
            verdicts.fill(Verdict::Below);
        }
        f64::NAN
    }

    fn clock(&self, slot: usize) -> Option<u32> {
        (self.all[slot].heard != Micros::MIN).then(|| self.all[slot].clock)
    }

    fn ticks(&self) -> bool {
        true
    }

    fn tick(&mut self, slot: usize, now: Micros, _: Micros, verdicts: &mut [Verdict]) {
        let is = &mut self.all[slot];
        if is.heard.max(is.armed) == Micros::MIN || !self.bound.judges(slot, 0) {
            is.armed = now;
        }
        self.bound.judge(slot, now.saturating_sub(is.heard.max(is.armed)), verdicts);
    }

    fn reason(&self, slot: usize, level: usize, _: f64, on: bool) -> String {
        self.bound.reason(slot, level, on)
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        let is = &self.all[slot];
        if is.heard.max(is.armed) == Micros::MIN {
            return;
        }
        let clock = u64::from(is.clock) << 1 | u64::from(is.own_spoke);
        save([clock, is.heard as u64, is.good as u64, is.armed as u64], out);
        let spoke = self.bound.together[slot].iter().zip(&is.last).filter(|(_, last)| **last != Micros::MIN);
        spoke.for_each(|(id, last)| save([*id as u64, *last as u64], out));
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let ids = &self.bound.together[slot];
        self.all[slot] = Together::new(ids.len());
        match words(bytes).as_deref() {
            Some([]) => true,
            Some([clock, heard, good, armed, spoke @ ..]) if spoke.len().is_multiple_of(2) => {
                let [heard, good, armed] = [heard, good, armed].map(|t| *t as Micros);
                let by_id: AHashMap<i64, Micros> =
                    spoke.chunks(2).map(|pair| (pair[0] as i64, pair[1] as Micros)).collect();
                let last = ids.iter().map(|id| by_id.get(id).copied().unwrap_or(Micros::MIN)).collect();
                let (clock, own_spoke) = ((clock >> 1) as u32, clock & 1 != 0);
                self.all[slot] = Together { last, clock, own_spoke, heard, good, armed };
                true
            }
            _ => false,
        }
    }
}
