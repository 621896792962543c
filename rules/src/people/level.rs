//! One level of a rule about people: asked at a record and as time passes, told where it changes. It is the one level of all cards at its
//! anchor, on while any of them meets the condition, so while it is on there are steps of three kinds:
//!
//! - **further**: a card meets the condition that did not before, where the rule says `each`: told like a rise;
//! - **update**: how many there are is not what was told last, a minute ago or longer: recorded and shown, told to nobody;
//! - the end.

use super::Key;
use super::alarms::Alarms;
use super::look::Look;
use super::mine::Mine;
use crate::compile::{Program, Rule};
use crate::emit::{Context, Who, said};
use crate::kinds::people::{Anchor, Watch, What};
use crate::latch::{Cause, Change, Latch};
use crate::reading::{Reading, Verdict};
use ahash::AHashMap;
use model::time::{MINUTE, Micros};
use model::{Catalog, Transition};
use std::collections::{BTreeMap, BTreeSet};

/// From one word on how many there are to the next.
const UPDATE_EVERY: Micros = MINUTE;

/// A level.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Level {
    pub latch: Latch,
    /// The cards that met the condition when it was asked last.
    pub met: BTreeSet<String>,
    /// The cards that met it since it is on, and do no more; the event time when the last of them ceased to.
    pub left: BTreeSet<String>,
    pub last_left: Micros,
    /// The number when it went on.
    pub began: f64,
    /// The number that was told last, and the clock then.
    pub told: (f64, Micros),
}

impl Default for Level {
    fn default() -> Self {
        let (met, left) = (BTreeSet::new(), BTreeSet::new());
        Self { latch: Latch::IDLE, met, left, last_left: Micros::MIN, began: 0.0, told: (0.0, Micros::MIN) }
    }
}

/// What a level is asked of, and by what.
pub(super) struct Asked<'a> {
    pub rule: &'a Rule,
    pub watch: &'a Watch,
    pub anchor: &'a Anchor,
    key: Key,
    ix: u32,
    pub mine: &'a Mine,
    pub now: Micros,
    /// The alarms of the area, for rules that ask for them.
    pub alarms: Vec<String>,
}

impl<'a> Asked<'a> {
    /// `None` where nothing is judged.
    pub fn of(
        (program, catalog): (&'a Program, &Catalog),
        key: Key,
        mine: &'a Mine,
        alarms: &Alarms,
        now: Micros,
    ) -> Option<Self> {
        let rule = &program.bound_rules()[key.0 as usize];
        let watch = rule.bound.people()?;
        let anchor = watch.slots[key.1 as usize].as_ref()?;
        let alarms = match &watch.what {
            What::Evacuation(which) => alarms.of(anchor, which, catalog),
            _ => Vec::new(),
        };
        Some(Self { rule, watch, anchor, key, ix: rule.points[key.1 as usize], mine, now, alarms })
    }
}

/// The levels, and when time can decide something of each.
type Levels<'a> = (&'a mut BTreeMap<Key, Level>, &'a mut AHashMap<Key, Micros>);

/// Asks at a record that counts; `reading` is that record as a latch sees it.
pub(super) fn at_record(
    c: &Context<'_>,
    asked: &Asked<'_>,
    reading: &Reading,
    (levels, due): Levels<'_>,
    out: &mut Vec<Transition>,
) {
    let look = Look::at(asked, true);
    let mut next = look.due;
    if look.verdict == Verdict::Over || levels.contains_key(&asked.key) {
        let level = levels.entry(asked.key).or_default();
        let was_on = level.latch.is_on();
        let change = level.latch.reading(&asked.rule.levels[0], look.verdict, reading, look.count(), true);
        let new = if look.verdict == Verdict::Hold {
            Vec::new()
        } else {
            level.meets(&look, reading.time, (was_on, false))
        };
        level.tell(c, asked, &look, (change, was_on, new), reading.time, out);
        next = next.min(level.due(&look));
        if level.latch.is_idle() {
            levels.remove(&asked.key);
        }
    }
    due.insert(asked.key, next);
}

/// Asks as time passes.
pub(super) fn as_time_passes(
    c: &Context<'_>,
    asked: &Asked<'_>,
    (levels, due): Levels<'_>,
    out: &mut Vec<Transition>,
) {
    let look = Look::at(asked, false);
    let def = &asked.rule.levels[0];
    let mut next = look.due;
    if asked.watch.what.counts() {
        if let Some(level) = levels.get_mut(&asked.key) {
            let change = level.latch.tick(def, asked.now, asked.anchor.period);
            level.tell(c, asked, &look, (change, true, Vec::new()), asked.now, out);
            next = next.min(level.due(&look));
        }
    } else if look.verdict == Verdict::Over || levels.contains_key(&asked.key) {
        let level = levels.entry(asked.key).or_default();
        let was_on = level.latch.is_on();
        let new = level.meets(&look, asked.now, (was_on, true));
        let change = if new.is_empty() {
            None
        } else {
            level.latch.tick_verdict(def, Verdict::Over, asked.now, row_of(c))
        };
        let number = level.count(&look);
        let change = change.map(|change| Change { peak: level.latch.reach(number), ..change });
        level.tell(c, asked, &look, (change, was_on, new), asked.now, out);
        next = next.min(level.due(&look));
    }
    due.insert(asked.key, next);
}

/// The row that stands for records and ticks in ids: a drill's and the real one of the same record are two.
pub(super) fn row_of(c: &Context<'_>) -> u32 {
    u32::from(c.simulated)
}

impl Level {
    /// Takes the cards that meet the condition now; which of them did not before. `more`: those that did before do still.
    fn meets(&mut self, look: &Look<'_>, time: Micros, (was_on, more): (bool, bool)) -> Vec<String> {
        let now: BTreeSet<String> = look.met.iter().map(|(code, _)| (*code).to_owned()).collect();
        let new: Vec<String> = now.difference(&self.met).cloned().collect();
        if more {
            self.met.extend(now);
        } else {
            // Where the alarm of the area is over nobody has left by that.
            let leave = was_on && !look.is_alarm_over;
            if leave && self.met.difference(&now).next().is_some() {
                self.left.extend(self.met.difference(&now).cloned());
                self.last_left = time;
            }
            self.met = now;
        }
        new.iter().for_each(|card| {
            self.left.remove(card);
        });
        new
    }

    /// How many there are now. Time knows of more only.
    fn count(&self, look: &Look<'_>) -> f64 {
        if look.of_cards { self.met.len() as f64 } else { look.count() }
    }

    /// When time can say something of it, but for what the cards themselves will.
    fn due(&self, look: &Look<'_>) -> Micros {
        match (self.latch.is_pending(), self.latch.is_on()) {
            (true, _) => Micros::MIN,
            (_, true) if self.told.0 != self.count(look) => self.told.1.saturating_add(UPDATE_EVERY),
            _ => Micros::MAX,
        }
    }

    /// The transition of a change; else, where it was on before, of further cards or of another number.
    fn tell(
        &mut self,
        c: &Context<'_>,
        asked: &Asked<'_>,
        look: &Look<'_>,
        (change, was_on, new): (Option<Change>, bool, Vec<String>),
        time: Micros,
        out: &mut Vec<Transition>,
    ) {
        let value = self.count(look);
        let goes_on = change.is_none() && was_on && self.latch.is_on();
        let is_old = asked.now.saturating_sub(self.told.1) >= UPDATE_EVERY;
        let change = if goes_on && asked.watch.each && !new.is_empty() {
            Some(self.latch.step(Cause::Further, value))
        } else if goes_on && value != self.told.0 && is_old {
            Some(self.latch.step(Cause::Update, value))
        } else {
            change
        };
        let Some(change) = change else { return };
        self.told = (value, asked.now);
        if !was_on {
            self.began = value;
        }
        let who = Who { rule: asked.rule, slot: asked.key.1, level: 0, ix: asked.ix, time, value };
        let first = new.first().filter(|_| change.cause == Cause::Further).map(String::as_str);
        out.push(said(c, &who, change, |on| look.reason(asked, on, first, self)));
        if !self.latch.is_on() {
            self.left.clear();
        }
    }
}
