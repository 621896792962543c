//! What is known of people as bytes of a snapshot: for the real cards and for those of a drill the mines with their cards, and the levels
//! by rule and point, so that another order of the same rules reads them.

use super::alarms::{Alarms, OfSite};
use super::level::Level;
use super::mine::{Card, Mine};
use super::{Key, Lane, People};
use crate::bytes::{In, Out};
use crate::compile::Program;
use crate::latch::Latch;
use model::people::Presence;
use model::{Catalog, Micros, PointId};
use std::collections::BTreeSet;

const PRESENCES: [Presence; 3] = [Presence::Below, Presence::Out, Presence::Uncertain];

impl People {
    /// The bytes of a shard.
    pub fn save(&self, program: &Program, catalog: &Catalog, shard: usize) -> Vec<u8> {
        let mut out = Out(Vec::new());
        let is_here = |site: &str| self.sites.get(site).is_some_and(|s| s.shard == shard);
        let point_of = |(rule, slot): &Key| program.bound_rules()[*rule as usize].points[*slot as usize];
        for lane in [&self.live, &self.drill] {
            let mines: Vec<_> = lane.mines.iter().filter(|(site, _)| is_here(site)).collect();
            out.u32(mines.len() as u32);
            for (site, mine) in mines {
                out.bytes(site.as_bytes());
                save_mine(mine, &mut out);
            }
            let is_level_here = |(key, _): &(&Key, &Level)| is_here(&catalog.point(point_of(key)).site);
            let levels: Vec<_> = lane.levels.iter().filter(is_level_here).collect();
            out.u32(levels.len() as u32);
            for (key, level) in levels {
                out.bytes(program.bound_rules()[key.0 as usize].name.as_bytes());
                out.u64(catalog.ids()[point_of(key) as usize].0 as u64);
                level.latch.save(&mut out.0);
                for cards in [&level.met, &level.left] {
                    out.u32(cards.len() as u32);
                    cards.iter().for_each(|card| out.bytes(card.as_bytes()));
                }
                out.u64(level.last_left as u64);
                out.u64(level.began.to_bits());
                out.u64(level.told.0.to_bits());
                out.u64(level.told.1 as u64);
            }
            let alarms: Vec<_> = lane.alarms.0.iter().filter(|(site, _)| is_here(site)).collect();
            save_alarms(&alarms, &mut out);
        }
        out.0
    }

    /// Takes back what [`People::save`] wrote of a shard; `None` where it is not that.
    pub fn load(&mut self, bytes: &[u8], program: &Program, catalog: &Catalog) -> Option<()> {
        let mut all = In(bytes);
        for lane in [&mut self.live, &mut self.drill] {
            for _ in 0..all.u32()? {
                let site = text(&mut all)?;
                lane.mines.insert(site, load_mine(&mut all)?);
            }
            load_levels(lane, &mut all, program, catalog)?;
            load_alarms(&mut lane.alarms, &mut all)?;
        }
        all.0.is_empty().then_some(())
    }
}

fn load_levels(lane: &mut Lane, all: &mut In<'_>, program: &Program, catalog: &Catalog) -> Option<()> {
    let rules = program.bound_rules();
    for _ in 0..all.u32()? {
        let name = text(all)?;
        let point = PointId(all.u64()? as i64);
        let latch = Latch::load(all.take(Latch::SAVED_LEN)?.try_into().ok()?);
        let [met, left] = [cards(all)?, cards(all)?];
        let last_left = all.u64()? as Micros;
        let began = f64::from_bits(all.u64()?);
        let told = (f64::from_bits(all.u64()?), all.u64()? as Micros);
        let rule = rules.iter().position(|r| r.name == name && r.bound.people().is_some());
        let place = rule.zip(catalog.ix(point)).and_then(|(rule, ix)| {
            let (slot, _) = rules[rule].judges(ix, &rules[rule].levels[0].name)?;
            Some((rule as u32, slot as u32))
        });
        if let Some(place) = place {
            lane.levels.insert(place, Level { latch, met, left, last_left, began, told });
        }
    }
    Some(())
}

fn cards(all: &mut In<'_>) -> Option<BTreeSet<String>> {
    (0..all.u32()?).map(|_| text(all)).collect()
}

fn save_alarms(alarms: &[(&String, &OfSite)], out: &mut Out) {
    out.u32(alarms.len() as u32);
    for (site, alarms) in alarms {
        out.bytes(site.as_bytes());
        out.u32(alarms.len() as u32);
        for ((point, rule, level), is_real) in *alarms {
            out.u64(point.0 as u64);
            out.bytes(rule.as_bytes());
            out.bytes(level.as_bytes());
            out.0.push(u8::from(*is_real));
        }
    }
}

fn load_alarms(alarms: &mut Alarms, all: &mut In<'_>) -> Option<()> {
    for _ in 0..all.u32()? {
        let site = alarms.0.entry(text(all)?).or_default();
        for _ in 0..all.u32()? {
            let key = (PointId(all.u64()? as i64), text(all)?, text(all)?);
            site.insert(key, all.take(1)?[0] != 0);
        }
    }
    Some(())
}

fn text(all: &mut In<'_>) -> Option<String> {
    std::str::from_utf8(all.bytes()?).ok().map(str::to_owned)
}

fn save_mine(mine: &Mine, out: &mut Out) {
    [mine.as_of, mine.snapshot, mine.heard].iter().for_each(|t| out.u64(*t as u64));
    out.u32(mine.clock);
    out.u32(mine.cards.len() as u32);
    for (code, card) in &mine.cards {
        [code, &card.name, &card.area, &card.station, &card.state]
            .iter()
            .for_each(|t| out.bytes(t.as_bytes()));
        let presence = PRESENCES.iter().position(|p| *p == card.presence).unwrap_or_default();
        out.0.extend([presence as u8, u8::from(card.is_astray), u8::from(card.late_state.is_some())]);
        let late_since = card.late_state.as_ref().map_or(0, |(_, since)| *since);
        let times = [
            card.time,
            card.heard,
            card.seen,
            card.seen_heard,
            card.below_since,
            card.area_since,
            card.state_since,
            late_since,
        ];
        times.iter().for_each(|t| out.u64(*t as u64));
        if let Some((state, _)) = &card.late_state {
            out.bytes(state.as_bytes());
        }
    }
}

fn load_mine(all: &mut In<'_>) -> Option<Mine> {
    let mut time = || all.u64().map(|t| t as Micros);
    let mut mine = Mine { as_of: time()?, snapshot: time()?, heard: time()?, ..Mine::default() };
    mine.clock = all.u32()?;
    for _ in 0..all.u32()? {
        let (code, card) = load_card(all)?;
        mine.cards.insert(code, card);
    }
    Some(mine)
}

fn load_card(all: &mut In<'_>) -> Option<(String, Card)> {
    let (code, name, area) = (text(all)?, text(all)?, text(all)?);
    let (station, state) = (text(all)?, text(all)?);
    let [presence, is_astray, is_late] = all.take(3)?.try_into().ok()?;
    let mut times = [0; 8];
    for time in &mut times {
        *time = all.u64()? as Micros;
    }
    let [time, heard, seen, seen_heard, below_since, area_since, state_since, late_since] = times;
    let late_state = if is_late != 0 { Some((text(all)?, late_since)) } else { None };
    let presence = *PRESENCES.get(usize::from(presence))?;
    let is_astray = is_astray != 0;
    let card = Card {
        name,
        area,
        station,
        state,
        presence,
        is_astray,
        time,
        heard,
        seen,
        seen_heard,
        below_since,
        area_since,
        state_since,
        late_state,
    };
    Some((code, card))
}
