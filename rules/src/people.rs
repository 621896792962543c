//! Rules about people: records of positions and the time in, transitions out. What is known of the cards is in `mine`, what a rule
//! asks of them in `look`; here is when it is asked and what its latch makes of it.
//!
//! - A record is judged once all its rows are taken. Only what counts now (see `mine`) is judged, raises and clears.
//! - Time raises what lasts long enough, and clears nothing. It is asked only when something can be due.
//! - What a level says is in `level`, what alarms of an area mean for the people in it in `alarms`.
//! - The mine was heard of: rules that wait for its anchors to speak are told so.
//! - Cards of a drill are apart from the real ones.
//!
//! A mine stands whole in one shard of a snapshot: the last one that points of it are in which can be in alarm. No other shard of them is
//! newer in a pass, so whatever these decide again is told to it.

use crate::compile::Program;
use crate::emit::Context;
use crate::evaluator::{Evaluator, ReplayClock, shard_of};
use crate::kinds::people::{Anchor, What, is_anchor};
use crate::lane::PointState;
use crate::reading::{At, Reading};
use ahash::AHashMap;
use alarms::Alarms;
use level::{Asked, Level};
use mine::{Came, Mine};
use model::people::Positions;
use model::record::run_flags;
use model::time::Micros;
use model::{Catalog, Run, Transition, status};
use std::collections::{BTreeMap, BTreeSet};

mod alarms;
mod level;
mod look;
mod mine;
mod saved;
mod standing;

/// What is known of people, and the levels of the rules about them.
#[derive(Default)]
pub(crate) struct People {
    sites: AHashMap<String, Site>,
    live: Lane,
    drill: Lane,
}

/// What is bound to a site.
#[derive(Default)]
struct Site {
    /// Its anchors, by index in the catalog.
    anchors: Vec<u32>,
    /// Rule and slot, ascending.
    instances: Vec<Key>,
    /// The shard of a snapshot that it stands in.
    shard: usize,
}

/// Cards and levels of one kind: real, or of a drill.
#[derive(Default)]
struct Lane {
    mines: BTreeMap<String, Mine>,
    /// By rule and slot; only what is not idle.
    levels: BTreeMap<Key, Level>,
    /// When time can decide something of a level, by the clock of its mine; where it is not known it is asked. It follows from the rest.
    due: AHashMap<Key, Micros>,
    /// Alarms at the points of sites that have anchors.
    alarms: Alarms,
}

/// Rule and slot.
type Key = (u32, u32);

impl People {
    /// Nothing known yet.
    pub fn new(program: &Program, catalog: &Catalog) -> Self {
        let mut sites: AHashMap<String, Site> = AHashMap::new();
        for ix in 0..catalog.points().len() as u32 {
            if let Some(anchor) = Anchor::of(catalog.point(ix)) {
                sites.entry(anchor.site).or_default().anchors.push(ix);
            }
        }
        for ix in 0..catalog.points().len() as u32 {
            let point = catalog.point(ix);
            if let Some(site) = sites.get_mut(&point.site).filter(|_| !is_anchor(point)) {
                site.shard = site.shard.max(shard_of(ix));
            }
        }
        for (rule_ix, rule) in program.bound_rules().iter().enumerate() {
            let Some(watch) = rule.bound.people() else { continue };
            for (slot, anchor) in watch.slots.iter().enumerate() {
                if let Some(site) = anchor.as_ref().and_then(|a| sites.get_mut(&a.site)) {
                    site.instances.push((rule_ix as u32, slot as u32));
                }
            }
        }
        Self { sites, live: Lane::default(), drill: Lane::default() }
    }

    /// Takes a record for one mine.
    fn record(
        &mut self,
        c: &Context<'_>,
        program: &Program,
        (site, positions): (&str, &Positions),
        came: Came,
        out: &mut Vec<Transition>,
    ) {
        let Some(bound) = self.sites.get(site) else { return };
        let lane = if c.simulated { &mut self.drill } else { &mut self.live };
        let mine = lane.mines.entry(site.to_owned()).or_default();
        let took = mine.take(site, positions, came);
        if !took.counted {
            // A work state that came late is looked at as time passes.
            return bound.instances.iter().for_each(|key| {
                lane.due.remove(key);
            });
        }
        let reading = Reading::moment((c.at.origin, 0), mine.as_of, came.now, came.clock);
        for &key in &bound.instances {
            let Some(asked) = Asked::of((program, c.catalog), key, mine, &lane.alarms, came.now) else {
                continue;
            };
            // What was heard of the mine makes a card of any area one that was not.
            let is_due = lane.due.get(&key).is_none_or(|due| *due <= came.now)
                || matches!(asked.watch.what, What::Vanished(_));
            if is_due || lane.levels.contains_key(&key) || took.touches(asked.anchor.area.as_deref()) {
                level::at_record(c, &asked, &reading, (&mut lane.levels, &mut lane.due), out);
            }
        }
    }

    /// What time decides, the partition clock at `now`; `shard_next`: where each shard goes on.
    fn pass(
        &mut self,
        c: &Context<'_>,
        program: &Program,
        (now, replay): (Micros, &[ReplayClock]),
        shard_next: &[u64],
        out: &mut Vec<Transition>,
    ) {
        for (lane, simulated) in [(&mut self.live, false), (&mut self.drill, true)] {
            for (site, mine) in &lane.mines {
                let ahead = |site: &&Site| c.at.offset.number >= shard_next[site.shard];
                let Some(bound) = self.sites.get(site).filter(ahead) else { continue };
                let now = mine.now(now, replay);
                let c = Context { simulated, replay: mine.clock > 0, ..*c };
                for key in &bound.instances {
                    if lane.due.get(key).is_some_and(|due| *due > now) {
                        continue;
                    }
                    if let Some(asked) = Asked::of((program, c.catalog), *key, mine, &lane.alarms, now) {
                        level::as_time_passes(&c, &asked, (&mut lane.levels, &mut lane.due), out);
                    }
                }
            }
        }
    }
}

impl Evaluator {
    /// Judges a record of positions.
    pub fn positions(&mut self, at: At, run: &Run, positions: &Positions, out: &mut Vec<Transition>) {
        let from = out.len();
        if self.begin(at, false, out) {
            self.take_positions(at, run, positions, out);
        }
        self.notice(at, from, out);
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
                *state = PointState { last: time, heard: came.now, clock: came.clock };
            }
            let status = if simulated { status::SIMULATED } else { 0 };
            let clock = self.now(came.clock);
            let came_now = Reading::moment((at.origin, 0), time, came.now, came.clock);
            let reading = Reading { newer, status, clock, ..came_now };
            self.one(at, came.clock, ix, reading, out);
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
}
