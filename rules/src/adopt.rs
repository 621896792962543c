//! Levels that are on by what the log says of them, adopted where no snapshot can be used: nothing that is open is raised anew, and a
//! good reading ends it as it ends any other. What became of an episode's first reading is not known any more: its further steps have
//! ids made from the step that was told last.

use crate::evaluator::Evaluator;
use crate::latch::Latch;
use crate::reading::At;
use model::{PointId, To, Transition};
use std::collections::BTreeMap;

/// A level: of a drill or not, its point, rule and name.
type Key = (bool, PointId, String, String);

/// What is on, from transitions in the order of the log.
#[derive(Debug, Default)]
pub struct OpenLevels(BTreeMap<Key, (Transition, bool)>);

impl OpenLevels {
    /// Takes the next transition. Late-found episodes stand beside the live state and are never open.
    pub fn note(&mut self, t: &Transition) {
        if t.marks.late {
            return;
        }
        let key = (t.marks.simulated, t.point_id, t.rule.clone(), t.level.clone());
        if t.to != To::On {
            self.0.remove(&key);
            return;
        }
        let is_real = !t.marks.calibrating || self.0.get(&key).is_some_and(|(_, real)| *real);
        self.0.insert(key, (t.clone(), is_real));
    }

    /// Whether a level is on.
    pub(crate) fn has(&self, simulated: bool, point: PointId, rule: &str, level: &str) -> bool {
        self.0.contains_key(&(simulated, point, rule.to_owned(), level.to_owned()))
    }

    /// How many levels are on.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is on.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Evaluator {
    /// Goes on after readings that were judged for what windows remember only, their decisions thrown away: what is on is exactly what
    /// `open` says. What nothing judges any more is withdrawn.
    pub fn adopt(&mut self, at: At, open: &OpenLevels, out: &mut Vec<Transition>) {
        self.next = self.next.max(at.offset.number);
        self.shard_next.fill(self.next);
        self.end_what_is_not(open);
        let mut of_people = Vec::new();
        for ((simulated, point, rule, level), (told, is_real)) in &open.0 {
            let rules = self.program.bound_rules();
            let found = rules.iter().position(|r| r.name == *rule).zip(self.catalog.ix(*point));
            let place = found.and_then(|(rule, ix)| Some((rule, ix, rules[rule].judges(ix, level)?)));
            let Some((rule, ix, (slot, level))) = place else {
                out.push(Transition {
                    id: model::TransitionId::of(rule, *point, level, told_by(told), 0, 0),
                    time: at.appended,
                    decided: at.appended,
                    offset: at.offset,
                    to: To::Withdrawn,
                    value: None,
                    reason: crate::emit::GONE.to_owned(),
                    ..told.clone()
                });
                continue;
            };
            if rules[rule].bound.people().is_some() {
                let latch = Latch::adopted(told, *is_real, told_by(told));
                of_people.push(((rule as u32, slot as u32), *simulated, latch, told.value));
                continue;
            }
            let lane = self.lane(*simulated);
            lane.awake[ix as usize] = true;
            let latches = &mut lane.latches[rule];
            if !latches.get(slot as u32, level).is_on() {
                let late = latches.get(slot as u32, level).is_late();
                let mut latch = Latch::adopted(told, *is_real, told_by(told));
                latch.set_late(late);
                latches.set(slot as u32, level, latch);
            }
        }
        // Who is still in an area in alarm is known once its alarms are.
        self.know_alarms();
        for (key, simulated, latch, number) in of_people {
            let version = (&*self.program, &*self.catalog);
            self.people.adopt(version, key, simulated, (latch, number.unwrap_or_default()), self.clock);
        }
    }

    /// What was found on the way and the log knows nothing of: decided by another version, or told and ended since.
    fn end_what_is_not(&mut self, open: &OpenLevels) {
        let (program, catalog) = (self.program.clone(), self.catalog.clone());
        self.people.end_what_is_not(open, &program, &catalog);
        for (lane, simulated) in [(Some(&mut self.live), false), (self.drill.as_deref_mut(), true)] {
            let Some(lane) = lane else { continue };
            for (rule, latches) in program.bound_rules().iter().zip(&mut lane.latches) {
                for (slot, ix) in rule.points.iter().enumerate() {
                    for level in latches.busy(slot as u32) {
                        let mut latch = latches.get(slot as u32, level);
                        let point = catalog.ids()[*ix as usize];
                        if latch.is_on() && !open.has(simulated, point, &rule.name, &rule.levels[level].name)
                        {
                            latch.withdraw();
                            latches.set(slot as u32, level, latch);
                        }
                    }
                }
            }
        }
    }
}

/// An origin that is as much one of a kind as the transition that was told last.
fn told_by(told: &Transition) -> model::Origin {
    let (collector, sequence) = told.id.0.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half of sixteen bytes"));
    model::Origin { collector: number(collector), sequence: number(sequence) }
}
