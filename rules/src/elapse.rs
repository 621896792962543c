//! What time decides at one partition: rules across points once all of a time has been heard, on-delays that run out, rules that wait
//! for what does not come, people. Each of a shard counts from where that shard goes on: what it has seen was decided before it was saved.
//!
//! When the clock leaves a second, what that second decides is decided once everything that came at it has been judged, by the version in
//! force then; so no cut into records matters. A tick decides at its own time too. Rules across points decide whenever the clock leaves
//! a time, so that the order of points within it does not matter either.
//!
//! A replay source's clock decides at each of its times, but for what waits: silence, what is missing of a sequence and people are looked
//! at when time passes at the partition, by the time of that source.

use crate::emit::{Context, Who, transition};
use crate::evaluator::Evaluator;
use crate::lane::Due;
use crate::level::LEVELS_MAX;
use crate::reading::{At, PERIOD, Verdict};
use crate::shards::shard_of;
use model::Transition;
use model::time::Micros;

impl Evaluator {
    /// What the partition clock decides when it stands at `now`.
    pub(crate) fn pass(&mut self, at: At, now: Micros, out: &mut Vec<Transition>) {
        self.run_out(at, now, 0, out);
        self.wait_out(at, now, out);
        self.people_pass(at, now, out);
    }

    /// Moves the clock of a replay on, once what the time before it decides is decided.
    pub(crate) fn replay_to(&mut self, at: At, clock: u32, time: Micros, out: &mut Vec<Transition>) {
        let now = self.replay[clock as usize - 1].now;
        if time > now {
            if now != Micros::MIN {
                self.settle(at, clock, out);
                self.run_out(at, now, clock, out);
            }
            self.replay[clock as usize - 1].now = time;
        }
    }

    /// The clock of number `clock` leaves its time: groups that heard something then decide.
    pub(crate) fn settle(&mut self, at: At, clock: u32, out: &mut Vec<Transition>) {
        let lanes = [(Some(&mut self.live), false), (self.drill.as_deref_mut(), true)];
        for (lane, simulated) in lanes {
            let Some(lane) = lane else { continue };
            let is_seen = |rule: u32, slot: u32| {
                let own = self.program.bound_rules()[rule as usize].points[slot as usize];
                at.offset.number < self.shard_next[shard_of(own)]
            };
            let of_clock = lane.due.range((clock, 0, 0)..=(clock, u32::MAX, u32::MAX));
            let is_due = |((_, rule, slot), _): &(&(u32, u32, u32), &Due)| !is_seen(*rule, *slot);
            let all: Vec<_> = of_clock.filter(is_due).map(|(key, due)| (*key, *due)).collect();
            for ((_, rule_ix, slot), due) in all {
                lane.due.remove(&(clock, rule_ix, slot));
                let rule = &self.program.bound_rules()[rule_ix as usize];
                let mut verdicts = [Verdict::Hold; LEVELS_MAX];
                let verdicts = &mut verdicts[..rule.levels.len()];
                let number = lane.machines[rule_ix as usize].decide(slot as usize, due.time, verdicts);
                let (clock, catalog, replay) = (self.clock, &*self.catalog, clock > 0);
                let context = Context { at, clock, catalog, simulated, replay };
                lane.take(&context, (rule_ix, rule), slot, verdicts, &due.reading(), number, out);
            }
        }
    }

    /// On-delays that run out by the clock of number `clock`.
    pub(crate) fn run_out(&mut self, at: At, now: Micros, clock: u32, out: &mut Vec<Transition>) {
        let lanes = [(Some(&mut self.live), false), (self.drill.as_deref_mut(), true)];
        for (lane, simulated) in lanes {
            let Some(lane) = lane else { continue };
            if lane.pending.is_empty() {
                continue;
            }
            let pending: Vec<(u32, u32)> = lane.pending.iter().copied().collect();
            for (rule_ix, slot) in pending {
                let rule = &self.program.bound_rules()[rule_ix as usize];
                let ix = rule.points[slot as usize];
                let point_clock = lane.clock(rule_ix, slot, ix);
                let mut still = false;
                let latches = &mut lane.latches[rule_ix as usize];
                for level in latches.busy(slot) {
                    let mut latch = latches.get(slot, level);
                    let period = self.catalog.point(ix).period.unwrap_or(PERIOD);
                    let due = point_clock == clock && at.offset.number >= self.shard_next[shard_of(ix)];
                    if due && let Some(change) = latch.tick(&rule.levels[level], now, period) {
                        let value = change.peak;
                        let who = Who { rule, slot, level, ix, time: now, value };
                        let context = Context {
                            at,
                            clock: self.clock,
                            catalog: &self.catalog,
                            simulated,
                            replay: clock > 0,
                        };
                        out.push(transition(&context, &who, &*lane.machines[rule_ix as usize], change));
                    }
                    latches.set(slot, level, latch);
                    still |= latch.is_pending();
                }
                if !still {
                    lane.pending.remove(&(rule_ix, slot));
                }
            }
        }
    }

    /// Kinds that wait for what does not come; live points only: a drill is not silent.
    fn wait_out(&mut self, at: At, clock: Micros, out: &mut Vec<Transition>) {
        let lane = &mut self.live;
        for (rule_ix, rule) in self.program.bound_rules().iter().enumerate() {
            if !lane.machines[rule_ix].ticks() {
                continue;
            }
            let width = rule.levels.len();
            for (slot, &ix) in rule.points.iter().enumerate() {
                let point = lane.points[ix as usize];
                if at.offset.number < self.shard_next[shard_of(ix)] {
                    continue;
                }
                let number = lane.clock(rule_ix as u32, slot as u32, ix);
                let now = if number == 0 { clock } else { self.replay[number as usize - 1].now };
                // Of a time of a replay that is not over yet only a part has been heard.
                if lane.due.contains_key(&(number, rule_ix as u32, slot as u32)) {
                    continue;
                }
                let mut verdicts = [Verdict::Hold; LEVELS_MAX];
                lane.machines[rule_ix].tick(slot, now, point.heard, &mut verdicts[..width]);
                let key = (rule_ix as u32, slot as u32);
                // Most points speak, and nothing waits at them: their latches are not touched.
                let waits = !lane.pending.is_empty() && lane.pending.contains(&key);
                let worth = |v: Verdict| v == Verdict::Over || (v == Verdict::Band && waits);
                for (level, verdict) in verdicts[..width].iter().enumerate().filter(|(_, v)| worth(**v)) {
                    let mut latch = lane.latches[rule_ix].get(slot as u32, level);
                    let change = latch.tick_verdict(&rule.levels[level], *verdict, now, 0);
                    lane.latches[rule_ix].set(slot as u32, level, latch);
                    lane.awake[ix as usize] = true;
                    if latch.is_pending() {
                        lane.pending.insert(key);
                    }
                    if let Some(change) = change {
                        let who = Who { rule, slot: slot as u32, level, ix, time: now, value: f64::NAN };
                        let context = Context {
                            at,
                            clock: self.clock,
                            catalog: &self.catalog,
                            simulated: false,
                            replay: false,
                        };
                        out.push(transition(&context, &who, &*lane.machines[rule_ix], change));
                    }
                }
            }
        }
    }
}
