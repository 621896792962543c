//! Which rules apply to a point, with their limits and where each of these comes from, and marks in words: for people.

use crate::compile::Program;
use crate::legal;
use model::time::Micros;
use model::{Catalog, Severity, Transition};

/// A rule at a point.
#[derive(Clone, PartialEq, Debug)]
pub struct RuleAtPoint {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// What it was made from, in its own words.
    pub source: String,
    /// Short hash of what it says.
    pub version: String,
    /// File, line and column.
    pub place: (String, usize, usize),
    /// Levels, mildest first.
    pub levels: Vec<Condition>,
    /// Of a rule across points all that it hears here, by index in the catalog, first the one its levels stand at; else empty.
    pub members: Vec<u32>,
}

/// A level of a rule at a point.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    /// Name.
    pub level: String,
    /// Severity when it is on.
    pub severity: Severity,
    /// When it is on and off, in the point's unit; empty where the kind has nothing to say.
    pub limit: String,
    /// `rule` or `catalog`; empty where there is no limit.
    pub from: &'static str,
    /// Whether it can go on at this point at all.
    pub judged: bool,
    /// How long the condition must hold.
    pub on_delay: Micros,
    /// How long the release must hold.
    pub off_delay: Micros,
}

/// The marks of a transition, in words.
pub fn marks(t: &Transition) -> Vec<&'static str> {
    let m = &t.marks;
    let all = [
        (m.calibrating, "calibrating"),
        (m.simulated, "simulated"),
        (m.late, "late"),
        (m.unconfirmed, "unconfirmed"),
        (m.replay, "replay"),
        (m.further, "further"),
        (m.update, "update"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect()
}

impl Program {
    /// The rules that apply to a point, in the order of the rules; one across points once for each group that hears it.
    pub fn at_point(&self, ix: u32) -> Vec<RuleAtPoint> {
        let shown = self.of_point(ix).iter().map(|&(rule, seat)| {
            let def = &self.defs()[rule as usize];
            let rule = &self.bound_rules()[rule as usize];
            let slot = rule.seat(seat).0 as usize;
            let said = rule.bound.describe(slot);
            let level = |(i, level): (usize, &crate::level::LevelDef)| {
                // Some kinds say one limit a level under a name of their own.
                let named = |name: &str| rule.levels.iter().any(|l| l.name == name);
                let found = said.iter().find(|(name, ..)| *name == level.name);
                let found = found.or_else(|| said.get(i).filter(|(name, ..)| !named(name)));
                Condition {
                    level: level.name.clone(),
                    severity: level.severity,
                    limit: found.map(|(_, limit, _)| limit.clone()).unwrap_or_default(),
                    from: found.map_or("", |(.., from)| from),
                    judged: rule.bound.judges(slot, i),
                    on_delay: level.on_delay,
                    off_delay: level.off_delay,
                }
            };
            RuleAtPoint {
                name: rule.name.clone(),
                kind: rule.kind,
                source: rule.source.clone(),
                version: rule.version.clone(),
                place: def.place.clone(),
                levels: rule.levels.iter().enumerate().map(level).collect(),
                members: rule.members(slot as u32),
            }
        });
        shown.collect()
    }

    /// What the law says of a point, in the quantity's usual unit; `None` where it says nothing.
    pub fn legal_limit(catalog: &Catalog, ix: u32) -> Option<String> {
        legal::of_point(catalog, ix)
    }
}
