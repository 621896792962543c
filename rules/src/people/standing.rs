//! Levels about people where something else than positions and time changes them: a new version of rules or catalog, and a start without
//! a snapshot.

use super::level::{Asked, Level};
use super::look::Look;
use super::{Key, Lane, People};
use crate::adopt::OpenLevels;
use crate::compile::Program;
use crate::emit::{Context, Who, said};
use crate::latch::Latch;
use model::{Catalog, Micros, Transition};

/// A version: its rules and its catalog.
type Version<'a> = (&'a Program, &'a Catalog);

impl People {
    fn lanes(&mut self) -> [(&mut Lane, bool); 2] {
        [(&mut self.live, false), (&mut self.drill, true)]
    }

    /// Ends levels that are on and whose rule, level or point is not in the next version.
    pub fn withdraw_gone(
        &mut self,
        c: &Context<'_>,
        program: &Program,
        next: Version<'_>,
        out: &mut Vec<Transition>,
    ) {
        for (lane, simulated) in self.lanes() {
            let c = Context { simulated, ..*c };
            for (key, level) in &mut lane.levels {
                if moved(*key, (program, c.catalog), next).is_some() {
                    continue;
                }
                let rule = &program.bound_rules()[key.0 as usize];
                let ix = rule.points[key.1 as usize];
                if let Some(change) = level.latch.withdraw() {
                    let who = Who { rule, slot: key.1, level: 0, ix, time: c.clock, value: f64::NAN };
                    out.push(said(&c, &who, change, |_| String::new()));
                }
            }
        }
    }

    /// Takes over what another version knows: the cards of mines that have anchors still, and the levels by names and points.
    pub fn take_over(&mut self, next: Version<'_>, mut old: People, before: Version<'_>) {
        for ((lane, _), (old, _)) in self.lanes().into_iter().zip(old.lanes()) {
            lane.mines = std::mem::take(&mut old.mines);
            lane.alarms = std::mem::take(&mut old.alarms);
            let levels = std::mem::take(&mut old.levels).into_iter();
            lane.levels =
                levels.filter_map(|(key, level)| Some((moved(key, before, next)?, level))).collect();
        }
        let Self { sites, live, drill } = self;
        for lane in [live, drill] {
            lane.mines.retain(|site, _| sites.contains_key(site));
            lane.alarms.0.retain(|site, _| sites.contains_key(site));
            lane.levels.retain(|_, level| !level.latch.is_idle());
        }
    }

    /// Goes on with a level that was told as on, with this number. Who meets its condition now was told.
    pub fn adopt(
        &mut self,
        version: Version<'_>,
        key: Key,
        simulated: bool,
        (latch, number): (Latch, f64),
        now: Micros,
    ) {
        let lane = if simulated { &mut self.drill } else { &mut self.live };
        let rule = &version.0.bound_rules()[key.0 as usize];
        let anchor = rule.bound.people().and_then(|watch| watch.slots[key.1 as usize].as_ref());
        let mine = anchor.and_then(|anchor| lane.mines.get(&anchor.site));
        let asked = mine.and_then(|mine| Asked::of(version, key, mine, &lane.alarms, now));
        let look = asked.map(|asked| Look::at(&asked, true));
        let met = look.iter().flat_map(|look| &look.met).map(|(code, _)| (*code).to_owned()).collect();
        let level = lane.levels.entry(key).or_default();
        if !level.latch.is_on() {
            *level = Level { latch, met, began: number, told: (number, now), ..Level::default() };
        }
    }

    /// Ends in silence what is on here and not by the log.
    pub fn end_what_is_not(&mut self, open: &OpenLevels, program: &Program, catalog: &Catalog) {
        for (lane, simulated) in self.lanes() {
            lane.levels.retain(|(rule, slot), level| {
                let rule = &program.bound_rules()[*rule as usize];
                let point = catalog.ids()[rule.points[*slot as usize] as usize];
                !level.latch.is_on() || open.has(simulated, point, &rule.name, &rule.levels[0].name)
            });
        }
    }
}

/// Where a level of one version is in another; `None` where that does not judge it.
fn moved((rule, slot): Key, before: Version<'_>, next: Version<'_>) -> Option<Key> {
    let rule = &before.0.bound_rules()[rule as usize];
    let id = before.1.ids()[rule.points[slot as usize] as usize];
    let found = next.0.bound_rules().iter().position(|r| r.kind == rule.kind && r.name == rule.name)?;
    let (slot, _) = next.0.bound_rules()[found].judges(next.1.ix(id)?, &rule.levels[0].name)?;
    Some((found as u32, slot as u32))
}
