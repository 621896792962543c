//! State of all rules for one kind of reading: live, or simulated.

use crate::bytes::{In, Out};
use crate::compile::{Program, Rule};
use crate::emit::{Context, Who, transition};
use crate::kinds::{Heard, Machine};
use crate::latches::Latches;
use crate::past::Past;
use crate::reading::{Reading, Verdict};
use model::time::Micros;
use model::{Catalog, Origin, To, Transition};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PointState {
    /// Event time of the newest reading.
    pub last: Micros,
    /// The clock when it came; where armed before anything came.
    pub heard: Micros,
    /// Number of the replay clock that judges it; 0 the partition's.
    pub clock: u32,
}

/// A group that heard something, and is decided once that time is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Due {
    /// The clock when it did, and its number.
    pub time: Micros,
    pub clock: u32,
    /// Record and row of the last that it heard.
    pub origin: Origin,
    pub row: u32,
}

impl Due {
    /// As of a reading that came.
    pub fn at(r: &Reading) -> Self {
        Self { time: r.clock, clock: r.source, origin: r.origin, row: r.row }
    }

    /// What latches see: no two devices' clocks can be compared, so all times are those of the clock.
    pub fn reading(&self) -> Reading {
        Reading::moment((self.origin, self.row), self.time, self.time, self.clock)
    }

    /// Bytes of a snapshot.
    pub fn save(&self, out: &mut Out) {
        out.u64(self.time as u64);
        out.u32(self.clock);
        out.u64(self.origin.collector);
        out.u64(self.origin.sequence);
        out.u32(self.row);
    }

    /// What [`Due::save`] wrote, from the front.
    pub fn load(all: &mut In<'_>) -> Option<Self> {
        let (time, clock) = (all.u64()? as Micros, all.u32()?);
        let origin = Origin { collector: all.u64()?, sequence: all.u64()? };
        Some(Self { time, clock, origin, row: all.u32()? })
    }
}

/// State of all rules for one kind of reading: live, or simulated.
pub(crate) struct Lane {
    pub points: Vec<PointState>,
    pub machines: Vec<Box<dyn Machine>>,
    /// For each rule.
    pub latches: Vec<Latches>,
    /// For each point whether its rules that remember nothing must be asked whatever comes: a level of one may be busy, or its newest
    /// reading had a status bit.
    pub awake: Vec<bool>,
    /// Latches with an on-delay running, as (rule, slot): what ticks must look at.
    pub pending: BTreeSet<(u32, u32)>,
    /// Groups that are decided when the time at which they heard something is over, as (clock, rule, slot).
    pub due: BTreeMap<(u32, u32, u32), Due>,
    /// What is known of the past, by (rule, slot, level); only where something was over.
    pub past: BTreeMap<(u32, u32, u32), Past>,
}

impl Lane {
    pub(crate) fn new(program: &Program, points: usize, armed: Micros) -> Self {
        let state = PointState { last: Micros::MIN, heard: armed, clock: 0 };
        let rules = program.bound_rules();
        Self {
            points: vec![state; points],
            awake: vec![true; points],
            machines: rules.iter().map(|r| r.bound.clone().machine(r.points.len())).collect(),
            latches: rules.iter().map(|r| Latches::new(r.points.len(), r.levels.len())).collect(),
            pending: Default::default(),
            due: Default::default(),
            past: Default::default(),
        }
    }
}

impl Lane {
    /// Number of the clock that a slot is judged by, whose own point is `ix`.
    pub(crate) fn clock(&self, rule: u32, slot: u32, ix: u32) -> u32 {
        self.machines[rule as usize].clock(slot as usize).unwrap_or(self.points[ix as usize].clock)
    }

    /// A reading of a member of a group.
    pub(crate) fn hear(&mut self, (rule, slot): (u32, u32), r: &Reading) {
        let machine = &mut self.machines[rule as usize];
        let before = machine.clock(slot as usize);
        let heard = machine.hear(slot as usize, r);
        if heard == Heard::Anew {
            before.and_then(|clock| self.due.remove(&(clock, rule, slot)));
            let latches = &mut self.latches[rule as usize];
            for level in latches.busy(slot) {
                let mut latch = latches.get(slot, level);
                latch.begin_anew();
                latches.set(slot, level, latch);
            }
        }
        if heard != Heard::Nothing {
            self.due.insert((r.source, rule, slot), Due::at(r));
        }
    }

    /// What the levels of a slot make of verdicts at a reading.
    #[allow(clippy::too_many_arguments)] // a reading, what was said of it, and where
    pub(crate) fn take(
        &mut self,
        context: &Context<'_>,
        (rule_ix, rule): (u32, &Rule),
        slot: u32,
        verdicts: &[Verdict],
        r: &Reading,
        number: f64,
        out: &mut Vec<Transition>,
    ) {
        let latches = &mut self.latches[rule_ix as usize];
        for (level, verdict) in verdicts.iter().enumerate() {
            let mut latch = latches.get(slot, level);
            if latch.is_idle() && *verdict != Verdict::Over {
                continue;
            }
            let key = (rule_ix, slot, level as u32);
            if *verdict == Verdict::Over && !r.newer && self.past.get(&key).is_some_and(|p| p.covers(r.time))
            {
                continue;
            }
            let (def, up) = (&rule.levels[level], rule.bound.is_up(slot as usize, level));
            let change = if r.late {
                let past = self.past.entry(key).or_default();
                let change = past.late(def, *verdict, r, number, up, &latch);
                latch.set_late(past.has_late());
                change
            } else {
                if latch.is_late() && r.newer && *verdict != Verdict::Hold {
                    self.past.entry(key).or_default().judged_live(r.time);
                }
                latch.reading(def, *verdict, r, number, up)
            };
            latches.set(slot, level, latch);
            if latch.is_pending() {
                self.pending.insert((rule_ix, slot));
            }
            if let Some(change) = change {
                // Nothing that is late or sent again reaches a group.
                if change.to == To::Off && !rule.is_group() {
                    self.past.entry(key).or_default().add(change.since, r.time);
                }
                let ix = rule.points[slot as usize];
                let who = Who { rule, slot, level, ix, time: r.time, value: number };
                out.push(transition(context, &who, &*self.machines[rule_ix as usize], change));
            }
        }
    }

    /// Takes state over from another version, by id of the point, name of the rule and name of the level. A point that no rule has
    /// waited for until now is armed now, whenever it spoke last.
    pub(crate) fn take_over(
        &mut self,
        program: &Program,
        catalog: &Catalog,
        old: &Lane,
        old_program: &Program,
        old_catalog: &Catalog,
    ) {
        for (old_ix, id) in old_catalog.ids().iter().enumerate() {
            if let Some(ix) = catalog.ix(*id) {
                let point = &mut self.points[ix as usize];
                let armed = point.heard;
                *point = old.points[old_ix];
                if !waited_for(old_program, &old.machines, old_ix as u32)
                    && waited_for(program, &self.machines, ix)
                {
                    point.heard = point.heard.max(armed);
                }
            }
        }
        let before = old_program.by_name();
        for (rule_ix, rule) in program.bound_rules().iter().enumerate() {
            let Some(&old_ix) = before.get(&(rule.kind, rule.name.as_str())) else { continue };
            let old_rule = &old_program.bound_rules()[old_ix];
            for (slot, ix) in rule.points.iter().enumerate() {
                let id = catalog.ids()[*ix as usize];
                let old_point = old_catalog.ix(id);
                let Some(old_slot) = old_point.and_then(|ix| old_rule.points.binary_search(&ix).ok()) else {
                    continue;
                };
                let mut state = Vec::new();
                old.machines[old_ix].save(old_slot, &mut state);
                // State of another shape (a window that was changed) begins anew.
                self.machines[rule_ix].load(slot, &state);
                for (level, def) in
                    rule.levels.iter().enumerate().filter(|(l, _)| rule.bound.judges(slot, *l))
                {
                    let Some(old_level) = old_rule.levels.iter().position(|l| l.name == def.name) else {
                        continue;
                    };
                    let latch = old.latches[old_ix].get(old_slot as u32, old_level);
                    self.latches[rule_ix].set(slot as u32, level, latch);
                    if let Some(past) = old.past.get(&(old_ix as u32, old_slot as u32, old_level as u32)) {
                        self.past.insert((rule_ix as u32, slot as u32, level as u32), past.clone());
                    }
                    if latch.is_pending() {
                        self.pending.insert((rule_ix as u32, slot as u32));
                    }
                }
            }
        }
    }
}

/// Whether a rule waits for a point to speak.
fn waited_for(program: &Program, machines: &[Box<dyn Machine>], ix: u32) -> bool {
    program.slots_at(ix).any(|(rule, slot)| {
        let is = &program.bound_rules()[rule as usize];
        machines[rule as usize].ticks() && !is.is_group() && is.bound.judges(slot as usize, 0)
    })
}
