//! Alarms at the points of areas where people are: the evaluator's own transitions, taken as they are decided. Rules that ask who is still
//! in an area in alarm are asked at once.
//!
//! A level counts while it is on and real: not what was found late, not one decided while calibrating, and none at a point that stands
//! for people: neither what rules about people say, nor that nothing is heard of them, is an alarm of the area.

use super::People;
use super::level::{self, Asked, row_of};
use crate::clocks::ReplayClock;
use crate::compile::Program;
use crate::emit::Context;
use crate::kinds::people::{Anchor, What, Which, area_of, fits, is_anchor};
use crate::reading::Reading;
use model::time::Micros;
use model::{Catalog, Origin, PointId, To, Transition};
use std::collections::{BTreeMap, BTreeSet};

/// What is on, by site.
#[derive(Default)]
pub(super) struct Alarms(pub BTreeMap<String, OfSite>);

/// What is on at a site: point, rule, level; and whether it is real.
pub(super) type OfSite = BTreeMap<(PointId, String, String), bool>;

impl Alarms {
    fn note(&mut self, t: &Transition) {
        let key = (t.point_id, t.rule.clone(), t.level.clone());
        let site = self.0.entry(t.site.clone()).or_default();
        if t.to == To::On {
            *site.entry(key).or_default() |= !t.marks.calibrating;
        } else {
            site.remove(&key);
        }
        if site.is_empty() {
            self.0.remove(&t.site);
        }
    }

    /// The alarms at an anchor that a rule asks for, as `rule level at point`.
    pub fn of(&self, anchor: &Anchor, which: &Which, catalog: &Catalog) -> Vec<String> {
        let all = self.0.get(&anchor.site).into_iter().flatten().filter(|(_, is_real)| **is_real);
        let shown = all.filter_map(|((id, rule, level), _)| {
            let point = catalog.point(catalog.ix(*id)?);
            let is_here = anchor.area.is_none() || anchor.area.as_ref() == area_of(point);
            let is_asked = fits(rule, &which.rules) && fits(level, &which.levels);
            (is_here && is_asked).then(|| format!("{rule} {level} at {}", point.code))
        });
        shown.collect()
    }
}

impl People {
    /// Takes what the evaluator decided, and asks the rules about areas in alarm.
    pub(super) fn notice(
        &mut self,
        c: &Context<'_>,
        program: &Program,
        (now, replay): (Micros, &[ReplayClock]),
        decided: &[Transition],
        out: &mut Vec<Transition>,
    ) {
        let mut touched = BTreeSet::new();
        for t in decided.iter().filter(|t| !t.marks.late && !stands_for_people(c.catalog, t.point_id)) {
            let lane = if t.marks.simulated { &mut self.drill } else { &mut self.live };
            lane.alarms.note(t);
            touched.insert((t.site.as_str(), t.marks.simulated));
        }
        for (site, simulated) in touched {
            let lane = if simulated { &mut self.drill } else { &mut self.live };
            let (Some(bound), Some(mine)) = (self.sites.get(site), lane.mines.get(site)) else { continue };
            let now = mine.now(now, replay);
            let c = Context { simulated, replay: mine.clock > 0, ..*c };
            // A tick has no origin of its own.
            let origin = match c.at.origin.collector {
                0 => Origin { collector: 0, sequence: now as u64 },
                _ => c.at.origin,
            };
            let moment = Reading::moment((origin, row_of(&c)), now, now, mine.clock);
            for key in &bound.instances {
                let asked = Asked::of((program, c.catalog), *key, mine, &lane.alarms, now);
                if let Some(asked) = asked.filter(|a| matches!(a.watch.what, What::Evacuation(_))) {
                    level::at_record(&c, &asked, &moment, (&mut lane.levels, &mut lane.due), out);
                }
            }
        }
    }

    /// Takes over what is on by the latches, where no snapshot says it.
    pub(super) fn know(&mut self, simulated: bool, t: (&str, PointId, &str, &str)) {
        let (site, point, rule, level) = t;
        if self.sites.contains_key(site) {
            let lane = if simulated { &mut self.drill } else { &mut self.live };
            let site = lane.alarms.0.entry(site.to_owned()).or_default();
            site.insert((point, rule.to_owned(), level.to_owned()), true);
        }
    }
}

/// Whether a point stands for people, so that no alarm there is one of an area.
fn stands_for_people(catalog: &Catalog, id: PointId) -> bool {
    catalog.ix(id).is_some_and(|ix| is_anchor(catalog.point(ix)))
}
