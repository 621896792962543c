//! The rules of one partition at work: entries in, transitions out.
//!
//! Clocks: the **partition clock** is the running maximum of append times and ticks; a jump of more than [`JUMP`] ahead counts only when
//! a tick confirms it, and no other record does. A source marked replay brings its own: the newest event time of its readings; its
//! points are judged by it.
//!
//! Time passes with ticks, and where other records come all the time with them (module `elapse`).
//!
//! Order of transitions: what time decides, rules across points first, by rule, then point, then level, then of people by mine, rule,
//! point; then by row of the record, rule, level; then what is told of people because of any of these.
//!
//! Simulated readings run in a lane of their own with its own state: a drill can neither raise nor clear anything real.

use crate::clocks::{JUMP, LATE_AFTER, ReplayClock};
use crate::compile::Program;
use crate::emit::Context;
use crate::lane::{Lane, PointState};
use crate::level::LEVELS_MAX;
use crate::people::People;
use crate::reading::{At, Reading, Verdict};
use crate::shards::{shard_of, shards_of};
use model::record::run_flags;
use model::time::{Micros, SECOND};
use model::{Catalog, Follow, PointId, Readings, Run, Transition, status};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The evaluator of one partition.
pub struct Evaluator {
    pub(crate) program: Arc<Program>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Micros,
    pub(crate) replay: Vec<ReplayClock>,
    pub(crate) origins: BTreeMap<u64, u64>,
    pub(crate) next: u64,
    /// The offset each shard goes on at; all the same unless just restored.
    pub(crate) shard_next: Vec<u64>,
    pub(crate) live: Lane,
    pub(crate) drill: Option<Box<Lane>>,
    pub(crate) people: People,
    follow: Follow,
}

impl Evaluator {
    /// An evaluator that has seen nothing. Silent rules are armed by the first entry.
    pub fn new(program: Arc<Program>, catalog: Arc<Catalog>) -> Self {
        let points = catalog.points().len();
        let live = Lane::new(&program, points, Micros::MIN);
        let shards = shards_of(points);
        let people = People::new(&program, &catalog);
        Self {
            program,
            catalog,
            clock: Micros::MIN,
            replay: Vec::new(),
            origins: BTreeMap::new(),
            next: 0,
            shard_next: vec![0; shards],
            live,
            drill: None,
            people,
            follow: Follow::new(points),
        }
    }

    /// The partition clock.
    pub fn clock(&self) -> Micros {
        self.clock
    }

    /// The offset to go on at.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// Number of shards of a snapshot.
    pub fn shards(&self) -> usize {
        self.shard_next.len()
    }

    /// Judges a record of readings.
    pub fn readings(&mut self, at: At, runs: &[Run], readings: &Readings, out: &mut Vec<Transition>) {
        let decided = out.len();
        if !self.begin(at, false, out) {
            return self.end(at);
        }
        let mut from = 0;
        for run in runs {
            let rows = (run.rows as usize).min(readings.len() - from);
            let clock = self.replay_clock(run);
            for i in 0..rows {
                let Some(ix) = self.follow.ix(&self.catalog, PointId(readings.point[from + i])) else {
                    continue;
                };
                if clock > 0 {
                    // Every reading moves its source's clock, whichever shard its point is in.
                    self.replay_to(at, clock, readings.time[from + i], out);
                }
                let reading = self.place(at, run, clock, ix, from + i, readings);
                self.one(at, ix, reading, false, out);
            }
            from += rows;
        }
        self.notice(at, decided, out);
        self.end(at);
    }

    /// Judges the passing of time. For tick records only: they confirm a jump of the clock.
    pub fn tick(&mut self, at: At, out: &mut Vec<Transition>) {
        let from = out.len();
        if self.begin(at, true, out) {
            self.settle(at, 0, out);
            self.pass(at, self.clock, out);
        }
        self.notice(at, from, out);
        self.end(at);
    }

    /// Takes notice of a record that is neither readings nor a tick nor an activation: time passes up to it.
    pub fn other(&mut self, at: At, out: &mut Vec<Transition>) {
        let from = out.len();
        self.begin(at, false, out);
        self.notice(at, from, out);
        self.end(at);
    }

    /// Whether the clock stands still until a tick comes, the newest record being appended at `newest`. Traffic that resumes after an
    /// outage leaves no second without records, so that nobody would write one: then the owner of the partition must.
    pub fn needs_tick(&self, newest: Micros) -> bool {
        self.clock != Micros::MIN && newest - self.clock > JUMP
    }

    /// Moves the clock and decides what the time before it decides; false when the whole record was seen before.
    pub(crate) fn begin(&mut self, at: At, is_tick: bool, out: &mut Vec<Transition>) -> bool {
        if at.offset.number < self.next {
            return false;
        }
        if at.origin.collector != 0 {
            if self.origins.get(&at.origin.collector).is_some_and(|seen| *seen >= at.origin.sequence) {
                return false;
            }
            self.origins.insert(at.origin.collector, at.origin.sequence);
        }
        let before = self.clock;
        let first = before == Micros::MIN;
        if first || is_tick || at.appended - before <= JUMP {
            self.clock = before.max(at.appended);
        }
        if first {
            // Silent rules are armed now: what spoke never counts from here.
            let clock = self.clock;
            self.live.points.iter_mut().filter(|p| p.heard == Micros::MIN).for_each(|p| p.heard = clock);
        } else if before < self.clock {
            self.settle(at, 0, out);
            if before.div_euclid(SECOND) < self.clock.div_euclid(SECOND) {
                self.pass(at, before, out);
            }
        }
        true
    }

    pub(crate) fn end(&mut self, at: At) {
        self.next = self.next.max(at.offset.number + 1);
        if self.shard_next.iter().any(|n| *n < self.next) {
            let next = self.next;
            self.shard_next.iter_mut().for_each(|n| *n = next.max(*n));
        }
    }

    pub(crate) fn replay_clock(&mut self, run: &Run) -> u32 {
        if run.flags & run_flags::REPLAY == 0 {
            return 0;
        }
        if let Some(i) = self.replay.iter().position(|c| c.source == run.source) {
            return i as u32 + 1;
        }
        self.replay.push(ReplayClock { source: run.source.clone(), now: Micros::MIN });
        self.replay.len() as u32
    }

    /// Whether what is known of a point was saved after this record.
    pub(crate) fn is_seen(&self, at: At, ix: u32) -> bool {
        at.offset.number < self.shard_next[shard_of(ix)]
    }

    /// A row as rules see it; what is known of its point moves with it.
    fn place(&mut self, at: At, run: &Run, clock: u32, ix: u32, row: usize, all: &Readings) -> Reading {
        let (_, event, value, status) = all.row(row);
        let future = status & status::FUTURE != 0 && clock == 0;
        let time = if future { run.received } else { event };
        let clock_now = self.now(clock);
        // Ahead of the clock where a jump is not confirmed yet: it spoke then, not before.
        let heard = if clock == 0 { clock_now.max(at.appended) } else { clock_now };
        // What a replay brings is as late as it is behind the newest time of its own source.
        let now = if clock == 0 { at.appended } else { heard };
        let late = status & status::HISTORICAL != 0 || now.saturating_sub(time) > LATE_AFTER;
        let (origin, row) = (at.origin, row as u32);
        let seen = self.is_seen(at, ix);
        let state = &mut self.lane(status & status::SIMULATED != 0).points[ix as usize];
        let newer = !late && !seen && time > state.last;
        if newer {
            *state = PointState { last: time, heard, clock };
        }
        let calibrating = status & status::CALIBRATION != 0;
        Reading {
            time,
            heard,
            clock: clock_now,
            source: clock,
            value,
            status,
            newer,
            late,
            calibrating,
            origin,
            row,
            member: 0,
        }
    }

    /// What a clock shows, by its number.
    pub(crate) fn now(&self, clock: u32) -> Micros {
        match clock {
            0 => self.clock,
            n => self.replay[n as usize - 1].now,
        }
    }

    pub(crate) fn lane(&mut self, simulated: bool) -> &mut Lane {
        if !simulated {
            return &mut self.live;
        }
        let (program, clock, points) = (&self.program, self.clock, self.catalog.points().len());
        self.drill.get_or_insert_with(|| Box::new(Lane::new(program, points, clock)))
    }

    /// A reading at the rules of its point; `silence_only`: it says nothing but that somebody was heard of.
    pub(crate) fn one(
        &mut self,
        at: At,
        ix: u32,
        mut r: Reading,
        silence_only: bool,
        out: &mut Vec<Transition>,
    ) {
        let (simulated, has_bit, seen) =
            (r.status & status::SIMULATED != 0, r.calibrating, self.is_seen(at, ix));
        let lane = if simulated { self.drill.as_deref_mut() } else { Some(&mut self.live) };
        let Some(lane) = lane else { return };
        let replay = r.source > 0;
        let context = Context { at, clock: self.clock, catalog: &self.catalog, simulated, replay };
        let is_calm = r.status == 0 && !lane.awake[ix as usize] && self.program.is_calm(ix, r.value);
        let asked = if is_calm { self.program.asked(ix) } else { self.program.of_point(ix) };
        let mut is_busy = r.status != 0;
        for &(rule_ix, seat) in asked {
            let rule = &self.program.bound_rules()[rule_ix as usize];
            if silence_only && !rule.bound.is_about_silence() {
                continue;
            }
            let (slot, member) = rule.seat(seat);
            r.calibrating = has_bit && rule.minds_calibration;
            if rule.is_group() {
                let own = rule.points[slot as usize];
                if !r.late && at.offset.number >= self.shard_next[shard_of(own)] {
                    lane.hear((rule_ix, slot), &Reading { member, ..r });
                }
                continue;
            }
            if !seen {
                let mut verdicts = [Verdict::Hold; LEVELS_MAX];
                let verdicts = &mut verdicts[..rule.levels.len()];
                let number = lane.machines[rule_ix as usize].reading(slot as usize, &r, verdicts);
                if !lane.latches[rule_ix as usize].is_idle(slot) || verdicts.contains(&Verdict::Over) {
                    lane.take(&context, (rule_ix, rule), slot, verdicts, &r, number, out);
                }
            }
            is_busy |= !lane.latches[rule_ix as usize].is_idle(slot);
        }
        if !is_calm && !silence_only {
            lane.awake[ix as usize] = is_busy;
        }
    }
}
