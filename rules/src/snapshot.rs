//! Snapshots by shard: each shard stands for the offset it was taken at and carries what restoring needs to know of the whole. Bytes,
//! little-endian, format [`VERSION`]; texts and byte strings are preceded by their length as u32.
//!
//! The shards of one pass may stand for different offsets: restored, the evaluator goes on at the lowest, and each shard skips what it
//! has seen. Rules and levels are written by name, so that another order of the same rules reads them.

use crate::bytes::{In, Out};
use crate::clocks::ReplayClock;
use crate::compile::Program;
use crate::evaluator::Evaluator;
use crate::lane::{Due, Lane, PointState};
use crate::latch::Latch;
use crate::past::Past;
use crate::shards::{shard_range, shards_of};
use model::{Catalog, PointId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Format of the bytes.
const VERSION: u32 = 5;
/// Oldest format that is read: what its kinds remembered in another way begins anew, as where a window is changed.
const OLDEST: u32 = 3;
/// Format from which on it holds what is due of rules across points, and a shard has a part about people.
const ACROSS_AND_PEOPLE: u32 = 5;

impl Evaluator {
    /// The bytes of one shard, as of the entries applied so far.
    pub fn snapshot(&self, shard: usize) -> Vec<u8> {
        let mut out = Out(Vec::with_capacity(1 << 16));
        out.u32(VERSION);
        out.u64(self.next);
        out.u64(self.catalog.points().len() as u64);
        out.u64(self.clock as u64);
        out.u32(self.replay.len() as u32);
        for clock in &self.replay {
            out.bytes(clock.source.as_bytes());
            out.u64(clock.now as u64);
        }
        out.u32(self.origins.len() as u32);
        for (collector, sequence) in &self.origins {
            out.u64(*collector);
            out.u64(*sequence);
        }
        let rules = self.program.bound_rules();
        out.u32(rules.len() as u32);
        for rule in rules {
            out.bytes(rule.kind.as_bytes());
            out.bytes(rule.name.as_bytes());
            out.u32(rule.levels.len() as u32);
            rule.levels.iter().for_each(|l| out.bytes(l.name.as_bytes()));
        }
        let range = shard_range(shard, self.catalog.points().len());
        out.u32(1 + u32::from(self.drill.is_some()));
        self.save_lane(&self.live, range.clone(), &mut out);
        if let Some(drill) = &self.drill {
            self.save_lane(drill, range, &mut out);
        }
        out.bytes(&self.people.save(&self.program, &self.catalog, shard));
        out.0
    }

    fn save_lane(&self, lane: &Lane, range: std::ops::Range<usize>, out: &mut Out) {
        out.u32(range.len() as u32);
        for ix in range {
            let p = lane.points[ix];
            out.u64(self.catalog.ids()[ix].0 as u64);
            out.u64(p.last as u64);
            out.u64(p.heard as u64);
            out.u32(p.clock);
            let mut slots = Out(Vec::new());
            let mut count = 0;
            for (rule, slot) in self.program.slots_at(ix as u32) {
                let width = self.program.bound_rules()[rule as usize].levels.len();
                let latches = &lane.latches[rule as usize];
                let mut state = Vec::new();
                lane.machines[rule as usize].save(slot as usize, &mut state);
                let past = |level: usize| lane.past.get(&(rule, slot, level as u32));
                let clock = lane.clock(rule, slot, ix as u32);
                let due = lane.due.get(&(clock, rule, slot));
                let nothing_known = due.is_none() && (0..width).all(|level| past(level).is_none());
                if state.is_empty() && latches.is_idle(slot) && nothing_known {
                    continue;
                }
                count += 1;
                slots.u32(rule);
                slots.bytes(&state);
                slots.0.push(u8::from(due.is_some()));
                due.inspect(|due| due.save(&mut slots));
                for level in 0..width {
                    let latch = latches.get(slot, level);
                    slots.0.push(u8::from(!latch.is_idle()) | (u8::from(past(level).is_some()) << 1));
                    if !latch.is_idle() {
                        latch.save(&mut slots.0);
                    }
                    if let Some(past) = past(level) {
                        past.save(&mut slots);
                    }
                }
            }
            out.u32(count);
            out.0.extend_from_slice(&slots.0);
        }
    }

    /// The evaluator the shards of one pass stand for, and the offset to go on at.
    ///
    /// # Errors
    /// A sentence, when the shards are damaged, of another format, or of another catalog.
    pub fn restore(
        program: Arc<Program>,
        catalog: Arc<Catalog>,
        shards: &[Vec<u8>],
    ) -> Result<(Self, u64), String> {
        let points = catalog.points().len();
        if shards.len() != shards_of(points) {
            return Err(format!(
                "the snapshot has {} shards, {points} points need {}",
                shards.len(),
                shards_of(points)
            ));
        }
        let mut this = Self::new(program, catalog);
        let mut lowest = u64::MAX;
        for (i, bytes) in shards.iter().enumerate() {
            let next =
                this.load_shard(i, bytes, &mut lowest).ok_or_else(|| format!("shard {i} is damaged"))??;
            this.shard_next[i] = next;
        }
        this.next = lowest;
        if shards.iter().any(|bytes| In(bytes).u32().is_some_and(|version| version < ACROSS_AND_PEOPLE)) {
            this.know_alarms();
        }
        Ok((this, lowest))
    }

    /// `None` where the bytes end early.
    fn load_shard(&mut self, shard: usize, bytes: &[u8], lowest: &mut u64) -> Option<Result<u64, String>> {
        let mut all = In(bytes);
        let version = all.u32()?;
        if !(OLDEST..=VERSION).contains(&version) {
            let reads = format!("this firedamp reads {OLDEST} to {VERSION}");
            return Some(Err(format!("the snapshot has format {version}, {reads}")));
        }
        let next = all.u64()?;
        if all.u64()? != self.catalog.points().len() as u64 {
            return Some(Err("the snapshot is of another catalog".to_owned()));
        }
        let clock = all.u64()? as i64;
        let mut replay = Vec::new();
        for _ in 0..all.u32()? {
            let source = std::str::from_utf8(all.bytes()?).ok()?.into();
            replay.push(ReplayClock { source, now: all.u64()? as i64 });
        }
        let mut origins = BTreeMap::new();
        for _ in 0..all.u32()? {
            origins.insert(all.u64()?, all.u64()?);
        }
        // What stands for the whole is taken from the shard that goes on first.
        if next < *lowest {
            *lowest = next;
            (self.clock, self.replay, self.origins) = (clock, replay, origins);
        }
        let layout = self.layout(&mut all)?;
        let lanes = all.u32()?;
        let points = self.catalog.points().len();
        for i in 0..lanes {
            if i == 1 && self.drill.is_none() {
                self.drill = Some(Box::new(Lane::new(&self.program, points, clock)));
            }
            let lane = if i == 0 { &mut self.live } else { self.drill.as_deref_mut()? };
            load_lane(
                lane,
                &self.program,
                &self.catalog,
                &layout,
                shard_range(shard, points).len(),
                version,
                &mut all,
            )?;
        }
        if version >= ACROSS_AND_PEOPLE {
            self.people.load(all.bytes()?, &self.program, &self.catalog)?;
        }
        all.0.is_empty().then_some(Ok(next))
    }

    /// For each rule of the snapshot: its number of levels, and where it and its levels are now.
    fn layout(&self, all: &mut In<'_>) -> Option<Vec<Saved>> {
        let mut layout = Vec::new();
        let now = self.program.by_name();
        for _ in 0..all.u32()? {
            let kind = std::str::from_utf8(all.bytes()?).ok()?;
            let name = std::str::from_utf8(all.bytes()?).ok()?;
            let rule = now.get(&(kind, name)).copied();
            let mut levels = Vec::new();
            for _ in 0..all.u32()? {
                let level = std::str::from_utf8(all.bytes()?).ok()?;
                let levels_now = rule.map(|r| &self.program.bound_rules()[r].levels);
                levels.push(levels_now.and_then(|now| now.iter().position(|l| l.name == level)));
            }
            layout.push(Saved { rule, levels });
        }
        Some(layout)
    }
}

struct Saved {
    rule: Option<usize>,
    levels: Vec<Option<usize>>,
}

fn load_lane(
    lane: &mut Lane,
    program: &Program,
    catalog: &Catalog,
    layout: &[Saved],
    points: usize,
    version: u32,
    all: &mut In<'_>,
) -> Option<()> {
    if all.u32()? as usize != points {
        return None;
    }
    for _ in 0..points {
        let ix = catalog.ix(PointId(all.u64()? as i64))?;
        let (last, heard) = (all.u64()? as i64, all.u64()? as i64);
        lane.points[ix as usize] = PointState { last, heard, clock: all.u32()? };
        for _ in 0..all.u32()? {
            let saved = layout.get(all.u32()? as usize)?;
            let state = all.bytes()?;
            let due = if version >= ACROSS_AND_PEOPLE && all.take(1)?[0] != 0 {
                Some(Due::load(all)?)
            } else {
                None
            };
            let of_rule = |rule: usize| {
                program.slots_at(ix).find(|(r, _)| *r as usize == rule).map(|(_, s)| s as usize)
            };
            let slot = saved.rule.and_then(|rule| of_rule(rule).map(|slot| (rule, slot)));
            if let Some((rule, slot)) = slot
                && !lane.machines[rule].load(slot, state)
                && version == VERSION
            {
                return None;
            }
            if let Some((due, (rule, slot))) = due.zip(slot) {
                lane.due.insert((due.clock, rule as u32, slot as u32), due);
            }
            for level in &saved.levels {
                let there = all.take(1)?[0];
                let latch = match there & 1 {
                    0 => Latch::IDLE,
                    _ => Latch::load(all.take(Latch::SAVED_LEN)?.try_into().ok()?),
                };
                let past = if there & 2 == 0 { None } else { Some(Past::load(all)?) };
                let (Some((rule, slot)), Some(level)) = (slot, level) else { continue };
                lane.latches[rule].set(slot as u32, *level, latch);
                if let Some(past) = past {
                    lane.past.insert((rule as u32, slot as u32, *level as u32), past);
                }
                if latch.is_pending() {
                    lane.pending.insert((rule as u32, slot as u32));
                }
            }
        }
    }
    Some(())
}
