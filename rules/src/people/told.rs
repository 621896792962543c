//! What the evaluator tells the rules about people: records of positions, time, and what was decided of alarms. And what these tell it:
//! that a mine was heard of, for rules that wait for its anchors to speak.

use super::mine::Came;
use crate::emit::Context;
use crate::evaluator::Evaluator;
use crate::kinds::people::is_anchor;
use crate::lane::PointState;
use crate::reading::{At, Reading};
use model::people::Positions;
use model::record::run_flags;
use model::time::Micros;
use model::{Run, Transition, status};
use std::collections::BTreeSet;

impl Evaluator {
    /// Judges a record of positions.
    pub fn positions(&mut self, at: At, run: &Run, positions: &Positions, out: &mut Vec<Transition>) {
        let from = out.len();
        let is_new = self.begin(at, false, out);
        // What the time before decided of an area is so before anybody in it is heard of.
        self.notice(at, from, out);
        if is_new {
            let from = out.len();
            self.take_positions(at, run, positions, out);
            self.notice(at, from, out);
        }
        self.end(at);
    }

    fn take_positions(&mut self, at: At, run: &Run, positions: &Positions, out: &mut Vec<Transition>) {
        let clock = self.replay_clock(run);
        if clock > 0 {
            let times =
                positions.rows.iter().map(|r| r.time).chain(positions.snapshot.iter().map(|s| s.time));
            self.replay_to(at, clock, times.max().unwrap_or(Micros::MIN), out);
        }
        let now = match clock {
            0 => self.clock.max(at.appended),
            n => self.replay[n as usize - 1].now,
        };
        let appended = if clock == 0 { at.appended } else { now };
        let came = Came { appended, now, received: run.received, clock };
        let simulated = run.flags & run_flags::DRILL != 0;
        let sites: BTreeSet<&str> = match &positions.snapshot {
            Some(snapshot) => BTreeSet::from([snapshot.site.as_str()]),
            None => positions.rows.iter().map(|r| r.site.as_str()).collect(),
        };
        for site in sites {
            if self.is_ahead_of(at, site) {
                let c =
                    Context { at, clock: self.clock, catalog: &self.catalog, simulated, replay: clock > 0 };
                self.people.record(&c, &self.program, (site, positions), came, out);
            }
            self.hear(at, (site, positions), simulated, came, out);
        }
    }

    /// Rules that wait for the anchors of a mine to speak are told that it did, where the record counts now.
    fn hear(
        &mut self,
        at: At,
        (site, positions): (&str, &Positions),
        simulated: bool,
        came: Came,
        out: &mut Vec<Transition>,
    ) {
        let Some(time) = came.newest(site, positions) else { return };
        let anchors = self.people.sites.get(site).map(|s| s.anchors.clone()).unwrap_or_default();
        for ix in anchors {
            let seen = self.is_seen(at, ix);
            let state = &mut self.lane(simulated).points[ix as usize];
            let newer = !seen && time > state.last;
            if newer {
                // Its own readings, if it has any, are in an order of their own.
                *state = PointState { heard: came.now, clock: came.clock, ..*state };
            }
            let status = if simulated { status::SIMULATED } else { 0 };
            let clock = self.now(came.clock);
            let came_now = Reading::moment((at.origin, 0), time, came.now, came.clock);
            let reading = Reading { newer, status, clock, ..came_now };
            self.one(at, ix, reading, true, out);
        }
    }

    /// What time decides of people, the partition clock at `now`.
    pub(crate) fn people_pass(&mut self, at: At, now: Micros, out: &mut Vec<Transition>) {
        let c = Context { at, clock: self.clock, catalog: &self.catalog, simulated: false, replay: false };
        self.people.pass(&c, &self.program, (now, &self.replay), &self.shard_next, out);
    }

    /// Whether the people of a mine are known, and not from after this record.
    fn is_ahead_of(&self, at: At, site: &str) -> bool {
        self.people.sites.get(site).is_some_and(|site| at.offset.number >= self.shard_next[site.shard])
    }

    /// Tells the rules about people what was decided since `from`.
    pub(crate) fn notice(&mut self, at: At, from: usize, out: &mut Vec<Transition>) {
        if out.len() == from {
            return;
        }
        let about = |t: &&Transition| self.is_ahead_of(at, &t.site);
        let decided: Vec<Transition> = out[from..].iter().filter(about).cloned().collect();
        let c = Context { at, clock: self.clock, catalog: &self.catalog, simulated: false, replay: false };
        self.people.notice(&c, &self.program, (self.clock, &self.replay), &decided, out);
    }

    /// Where nobody took note of the alarms as they were decided, the latches say which there are: without a snapshot, and of mines that
    /// had no anchors until now.
    pub(crate) fn know_alarms(&mut self) {
        let (program, catalog) = (self.program.clone(), self.catalog.clone());
        self.people.live.alarms.0.clear();
        self.people.drill.alarms.0.clear();
        for (lane, simulated) in [(Some(&self.live), false), (self.drill.as_deref(), true)] {
            let Some(lane) = lane else { continue };
            for (rule, latches) in program.bound_rules().iter().zip(&lane.latches) {
                for (slot, ix) in rule.points.iter().enumerate() {
                    for level in latches.busy(slot as u32) {
                        let (point, id) = (catalog.point(*ix), catalog.ids()[*ix as usize]);
                        if latches.get(slot as u32, level).is_real() && !is_anchor(point) {
                            let level = &rule.levels[level].name;
                            self.people.know(simulated, (&point.site, id, &rule.name, level));
                        }
                    }
                }
            }
        }
    }
}
