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

use crate::clocks::ReplayClock;
use crate::compile::Program;
use crate::emit::Context;
use crate::kinds::people::{Anchor, What, is_anchor};
use crate::reading::Reading;
use crate::shards::shard_of;
use ahash::AHashMap;
use alarms::Alarms;
use level::{Asked, Level, row_of};
use mine::{Came, Mine};
use model::people::Positions;
use model::time::Micros;
use model::{Catalog, Transition};
use std::collections::BTreeMap;

mod alarms;
mod level;
mod look;
mod mine;
mod saved;
mod standing;
mod told;

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
        let reading = Reading::moment((c.at.origin, row_of(c)), mine.as_of, came.now, came.clock);
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
