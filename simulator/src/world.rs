//! The world as a function of time: sites, their points and people, and what each shows at a moment. Pure: no clock, no
//! I/O, no history; the same plan and the same time give the same values.
//!
//! Times going in are since the start, by the clock; the world runs [`Plan::rate`] times as fast. A value is what the
//! sensor shows, with its resolution; the status word is what the mine's own system says of it (national bits).

use crate::plan::{Plan, Scenario};
use std::time::Duration;

mod catalog;
mod mine;
pub(crate) mod noise;
mod people;
mod plant;
mod story;

pub use people::{Area, Person, Seen};
pub(crate) use plant::TANKS;

/// Micros from the start of the world by the clock; negative for what began before it.
pub type SinceStart = i64;

/// A mine or a plant.
#[derive(Clone, PartialEq, Debug)]
pub struct SimSite {
    /// Code: 12 digits for a mine.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// `mine` or `plant`.
    pub kind: &'static str,
    /// GB/T 2260 code.
    pub region: &'static str,
    /// Longitude, degrees.
    pub lon: f64,
    /// Latitude, degrees.
    pub lat: f64,
    /// `high` for a mine, empty for a plant.
    pub gas_class: &'static str,
    /// Whether it reports by national files.
    pub files: bool,
    /// How often its points are sent.
    pub period: Duration,
    /// What it measures.
    pub points: Vec<SimPoint>,
    /// Areas of a mine.
    pub areas: Vec<Area>,
    /// People of a mine.
    pub people: Vec<Person>,
    pub(crate) seed: u64,
    /// Whether the plan's scenario plays here.
    pub(crate) staged: bool,
}

/// Limits as the catalog has them; on at or above (below for `low`), off on the other side of the same number unless said.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct SimLimits {
    /// Upper alarm.
    pub alarm: Option<f64>,
    /// Upper cut; restored below `alarm`.
    pub cut: Option<f64>,
    /// Lower alarm.
    pub low: Option<f64>,
}

/// One point.
#[derive(Clone, PartialEq, Debug)]
pub struct SimPoint {
    /// Code: 28 characters in a mine.
    pub code: String,
    /// Where it is.
    pub name: String,
    /// `ch4`, `co`, `level` ...
    pub quantity: &'static str,
    /// Unit; empty for a switch.
    pub unit: &'static str,
    /// Unit as national files write it.
    pub national_unit: &'static str,
    /// Range; `None` for a switch.
    pub range: Option<(f64, f64)>,
    /// `T0` ... or empty.
    pub place: &'static str,
    /// National type code.
    pub type_code: &'static str,
    /// Its national name.
    pub type_name: &'static str,
    /// Texts for 1 and 0 of a switch.
    pub states: Option<(&'static str, &'static str)>,
    /// Limits in the catalog.
    pub limits: SimLimits,
    /// `key=value;...` that rules select by.
    pub labels: &'static str,
    /// Digits after the point.
    pub decimals: u8,
    pub(crate) signal: Signal,
    pub(crate) seed: u64,
}

impl SimPoint {
    /// A switch: 0 or 1.
    pub fn is_switch(&self) -> bool {
        self.states.is_some()
    }
}

/// What makes the value of a point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Signal {
    Methane { base: f64, swing: f64 },
    Plain { base: f64, swing: f64 },
    FaceWind,
    FaceFeed,
    Shearer,
    Door,
    Constant(f64),
    Level(usize),
    TankTemperature,
    TankPressure(usize),
    TankGas(usize),
    Pump(usize),
    LevelSwitch(usize),
}

/// What a point shows.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sample {
    /// The value; `None` where the sensor gives none.
    pub value: Option<f64>,
    /// National status bits ([`model::status`]).
    pub status: i32,
}

/// What a site shows, in the order of its points and people.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SiteMoment {
    /// One per point.
    pub samples: Vec<Sample>,
    /// One per person.
    pub people: Vec<Seen>,
}

/// What all sites show, in their order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Moment {
    /// One per site.
    pub sites: Vec<SiteMoment>,
}

/// All sites of a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct World {
    plan: Plan,
    sites: Vec<SimSite>,
}

impl World {
    /// The world of a plan.
    pub fn new(plan: &Plan) -> Self {
        let mut sites = Vec::with_capacity(plan.mines + plan.plants);
        for i in 0..plan.mines {
            let mut site = mine::site(plan, i);
            site.staged = i == 0;
            sites.push(site);
        }
        for i in 0..plan.plants {
            let mut site = plant::site(plan, i);
            site.staged = i == 0;
            sites.push(site);
        }
        Self { plan: plan.clone(), sites }
    }

    /// The plan it was made of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Mines first, then plants.
    pub fn sites(&self) -> &[SimSite] {
        &self.sites
    }

    /// The position of a point: site index and point index.
    pub fn find(&self, site: &str, point: &str) -> Option<(usize, usize)> {
        let s = self.sites.iter().position(|x| x.code == site)?;
        let p = self.sites[s].points.iter().position(|x| x.code == point)?;
        Some((s, p))
    }

    /// Everything at a time since the start.
    pub fn at(&self, t: Duration) -> Moment {
        Moment { sites: (0..self.sites.len()).map(|i| self.site_at(i, t)).collect() }
    }

    /// One site at a time since the start.
    ///
    /// # Panics
    /// When there is no such site.
    pub fn site_at(&self, site: usize, t: Duration) -> SiteMoment {
        let world = t.as_secs_f64() * self.plan.rate;
        let site = &self.sites[site];
        let scenario = if site.staged { self.plan.scenario } else { Scenario::Quiet };
        let now = story::Now { site, scenario, t: world };
        SiteMoment {
            samples: site.points.iter().map(|p| now.sample(p)).collect(),
            people: people::seen(&now, self.plan.rate),
        }
    }

    /// How far the clock of a site's devices is ahead.
    pub fn clock_offset(&self, site: usize) -> SinceStart {
        if self.sites[site].staged
            && self.sites[site].kind == "mine"
            && self.plan.scenario == Scenario::WrongClock
        {
            story::CLOCK_AHEAD
        } else {
            0
        }
    }

    /// Whether the link of a site is there at a time since the start.
    pub fn link_up(&self, site: usize, t: Duration) -> bool {
        let world = t.as_secs_f64() * self.plan.rate;
        !(self.sites[site].staged
            && self.sites[site].kind == "mine"
            && self.plan.scenario == Scenario::LinkBreak
            && story::LINK_DOWN.contains(&world))
    }
}

#[cfg(test)]
mod tests;
