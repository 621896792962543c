//! A new version of rules and catalog comes into force: what came before it is decided by the one before, what it does not judge any more
//! is withdrawn, and what stays keeps its state, by rule, point and level.

use crate::compile::Program;
use crate::emit::{Context, Who, transition};
use crate::evaluator::Evaluator;
use crate::lane::Lane;
use crate::reading::At;
use model::{Catalog, Transition};
use std::sync::Arc;

impl Evaluator {
    /// Puts a new version in force. What is gone is withdrawn; state of what stays is kept, by rule name and level name.
    pub fn activate(
        &mut self,
        at: At,
        program: Arc<Program>,
        catalog: Arc<Catalog>,
        out: &mut Vec<Transition>,
    ) {
        let from = out.len();
        self.begin(at, false, out);
        // What came before is decided by the version before.
        (0..=self.replay.len() as u32).for_each(|clock| self.settle(at, clock, out));
        // Where a jump is not confirmed yet, what is armed is armed at its far side.
        let armed = self.clock.max(at.appended);
        let mut next = Self::new(program, catalog);
        (next.clock, next.next) = (self.clock, self.next);
        next.replay = std::mem::take(&mut self.replay);
        next.origins = std::mem::take(&mut self.origins);
        next.shard_next.fill(self.next);
        next.live.points.iter_mut().for_each(|p| p.heard = armed);
        self.withdraw_gone(at, &next, out);
        next.live.take_over(&next.program, &next.catalog, &self.live, &self.program, &self.catalog);
        if let Some(old) = &self.drill {
            let mut lane = Lane::new(&next.program, next.catalog.points().len(), self.clock);
            lane.take_over(&next.program, &next.catalog, old, &self.program, &self.catalog);
            next.drill = Some(Box::new(lane));
        }
        let people = std::mem::take(&mut self.people);
        next.people.take_over((&next.program, &next.catalog), people, (&self.program, &self.catalog));
        *self = next;
        self.know_alarms();
        self.notice(at, from, out);
        self.end(at);
    }

    /// Levels that are on and whose rule, level or point is not in the next version.
    fn withdraw_gone(&mut self, at: At, next: &Self, out: &mut Vec<Transition>) {
        let c = Context { at, clock: self.clock, catalog: &self.catalog, simulated: false, replay: false };
        self.people.withdraw_gone(&c, &self.program, (&next.program, &next.catalog), out);
        let kept = next.program.by_name();
        let lanes = [(Some(&mut self.live), false), (self.drill.as_deref_mut(), true)];
        for (lane, simulated) in lanes {
            let Some(lane) = lane else { continue };
            for (rule_ix, rule) in self.program.bound_rules().iter().enumerate() {
                let latches = &mut lane.latches[rule_ix];
                let busy = |slot| latches.busy(slot).into_iter().map(move |level| (slot, level));
                let busy: Vec<(u32, usize)> = (0..rule.points.len() as u32).flat_map(busy).collect();
                for (slot, level) in busy {
                    let ix = rule.points[slot as usize];
                    let is = kept.get(&(rule.kind, rule.name.as_str()));
                    let same = next.catalog.ix(self.catalog.ids()[ix as usize]);
                    let rules = next.program.bound_rules();
                    let place =
                        is.zip(same).and_then(|(r, ix)| rules[*r].judges(ix, &rule.levels[level].name));
                    if place.is_some() {
                        continue;
                    }
                    let mut latch = latches.get(slot, level);
                    let change = latch.withdraw();
                    latches.set(slot, level, latch);
                    if let Some(change) = change {
                        let who = Who { rule, slot, level, ix, time: self.clock, value: f64::NAN };
                        out.push(transition(
                            &Context { simulated, ..c },
                            &who,
                            &*lane.machines[rule_ix],
                            change,
                        ));
                    }
                }
            }
        }
    }
}
