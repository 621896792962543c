//! Rule files against a catalog: every rule bound to the points it selects, with its limits in their units.

use crate::def::{self, RuleDef};
use crate::kinds::{Binding, Bound, both_calm};
use crate::level::LevelDef;
use ahash::{AHashMap, AHashSet};
use model::{Catalog, Micros, Problems};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A rule file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleFile {
    /// Name as problems say it.
    pub name: String,
    /// TOML.
    pub text: String,
}

/// A rule bound to its points.
#[derive(Debug)]
pub struct Rule {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// Where it comes from.
    pub source: String,
    /// Short hash of what it says.
    pub version: String,
    /// Levels, mildest first.
    pub levels: Vec<LevelDef>,
    /// The point of each slot, by index in the catalog, ascending: what it selects, or of each group the point its levels stand at.
    pub points: Vec<u32>,
    /// Of a rule across points the members of all slots, the first of each the slot's own point; empty where each point is judged
    /// for itself.
    pub seats: Vec<Seat>,
    /// Its limits for each slot.
    pub bound: Arc<dyn Bound>,
    /// See [`Bound::minds_calibration`].
    pub minds_calibration: bool,
}

/// A member of a group.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// Whose readings it hears, by index in the catalog.
    pub point: u32,
    /// Where it is judged.
    pub slot: u32,
    /// Its number there.
    pub member: u32,
}

/// What lists show of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleInfo {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// Where it comes from.
    pub source: String,
    /// Short hash of what it says.
    pub version: String,
    /// Number of points it selects.
    pub points: usize,
    /// Level, limit, and where the limit comes from; for a point only.
    pub levels: Vec<(String, String, &'static str)>,
}

/// Rules compiled against a catalog.
#[derive(Debug, Default)]
pub struct Program {
    rules: Vec<Rule>,
    /// Rules by point: `by_point[ix]..by_point[ix + 1]` of `instances`.
    by_point: Vec<u32>,
    /// (rule, slot), of rules across points (rule, seat).
    instances: Vec<(u32, u32)>,
    /// The same of those that must be asked at each reading, and for each point between which values all others need not be.
    asked_by_point: Vec<u32>,
    asked: Vec<(u32, u32)>,
    calm: Vec<(f64, f64)>,
    version: String,
    defs: Vec<RuleDef>,
}

impl Program {
    /// Compiles; rules with errors are left out, and every mistake is told at its place.
    pub fn compile(files: &[RuleFile], catalog: &Catalog) -> (Arc<Program>, Problems) {
        let mut problems = Problems::default();
        let mut hasher = blake3::Hasher::new();
        let mut defs: Vec<RuleDef> = Vec::new();
        let mut named: BTreeMap<String, (String, usize, usize)> = BTreeMap::new();
        for file in files {
            hasher.update(file.text.as_bytes());
            for rule in def::read(&file.name, &file.text, &mut problems) {
                if let Some((first_file, first_line, _)) = named.get(&rule.name) {
                    let (file, line, column) = &rule.place;
                    let message =
                        format!("rule `{}` stands twice, first at {first_file}:{first_line}", rule.name);
                    problems.push(
                        model::Problem::error(file, *line, *column, message).help("rename one of the two"),
                    );
                    continue;
                }
                named.insert(rule.name.clone(), rule.place.clone());
                defs.push(rule);
            }
        }
        let rules: Vec<Rule> = defs.iter().map(|d| bind(d, catalog, &mut problems)).collect();
        let points = catalog.points().len();
        let (by_point, instances) = index(&rules, points, |_, _| true);
        let mut calm = vec![(f64::NEG_INFINITY, f64::INFINITY); points];
        for rule in rules.iter().filter(|r| !r.is_group()) {
            for (slot, ix) in rule.points.iter().enumerate() {
                let between = &mut calm[*ix as usize];
                *between = rule.bound.calm(slot).map_or(*between, |b| both_calm(*between, b));
            }
        }
        let is_asked = |rule: &Rule, seat: u32| rule.is_group() || rule.bound.calm(seat as usize).is_none();
        let (asked_by_point, asked) = index(&rules, points, is_asked);
        let version = hasher.finalize().to_hex()[..12].to_owned();
        let this = Self { rules, by_point, instances, asked_by_point, asked, calm, version, defs };
        (Arc::new(this), problems)
    }

    /// Short hash of all texts.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All rules.
    pub fn rules(&self) -> Vec<RuleInfo> {
        self.rules.iter().map(|r| r.info(None)).collect()
    }

    /// The rules that apply to a point, with their limits and where these come from.
    pub fn rules_of_point(&self, ix: u32) -> Vec<RuleInfo> {
        let info = |&(rule, seat): &(u32, u32)| {
            let rule = &self.rules[rule as usize];
            rule.info(Some(rule.seat(seat).0 as usize))
        };
        self.of_point(ix).iter().map(info).collect()
    }

    /// How far back readings may lie that a decision depends on: the longest window, or delay.
    pub fn remembers(&self) -> Micros {
        let delays = |r: &Rule| r.levels.iter().map(|l| l.on_delay).max().unwrap_or_default();
        self.rules.iter().map(|r| r.bound.remembers().saturating_add(delays(r))).max().unwrap_or_default()
    }

    pub(crate) fn bound_rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Where each rule is, by kind and name.
    pub(crate) fn by_name(&self) -> AHashMap<(&str, &str), usize> {
        self.rules.iter().enumerate().map(|(i, r)| ((r.kind, r.name.as_str()), i)).collect()
    }

    pub(crate) fn defs(&self) -> &[RuleDef] {
        &self.defs
    }

    /// What hears a point, as (rule, slot); of rules across points (rule, seat), see [`Rule::seat`].
    pub(crate) fn of_point(&self, ix: u32) -> &[(u32, u32)] {
        match self.by_point.get(ix as usize..ix as usize + 2) {
            Some(&[from, to]) => &self.instances[from as usize..to as usize],
            _ => &[],
        }
    }

    /// The same without those that remember nothing of a reading.
    pub(crate) fn asked(&self, ix: u32) -> &[(u32, u32)] {
        match self.asked_by_point.get(ix as usize..ix as usize + 2) {
            Some(&[from, to]) => &self.asked[from as usize..to as usize],
            _ => &[],
        }
    }

    /// Whether a value without any status bit is nothing to those of a point that remember nothing, their levels being idle.
    pub(crate) fn is_calm(&self, ix: u32, value: f64) -> bool {
        let (above, below) = self.calm[ix as usize];
        value > above && value < below
    }

    /// The slots whose own point this is, as (rule, slot).
    pub(crate) fn slots_at(&self, ix: u32) -> impl Iterator<Item = (u32, u32)> {
        self.of_point(ix).iter().filter_map(|&(rule, seat)| {
            let (slot, member) = self.rules[rule as usize].seat(seat);
            (member == 0).then_some((rule, slot))
        })
    }
}

impl Rule {
    /// Whether it judges several points together.
    pub(crate) fn is_group(&self) -> bool {
        !self.seats.is_empty()
    }

    /// The points it hears, in the order of slots or seats.
    fn hears(&self) -> impl Iterator<Item = u32> {
        let own = if self.is_group() { &[][..] } else { &self.points[..] };
        own.iter().copied().chain(self.seats.iter().map(|s| s.point))
    }

    /// Of a rule across points all that a slot hears, its own point first; else none.
    pub(crate) fn members(&self, slot: u32) -> Vec<u32> {
        let from = self.seats.partition_point(|s| s.slot < slot);
        self.seats[from..].iter().take_while(|s| s.slot == slot).map(|s| s.point).collect()
    }

    /// Slot and member of an instance.
    pub(crate) fn seat(&self, seat: u32) -> (u32, u32) {
        self.seats.get(seat as usize).map_or((seat, 0), |s| (s.slot, s.member))
    }

    /// Slot and place of a level where this version judges it at a point.
    pub(crate) fn judges(&self, ix: u32, level: &str) -> Option<(usize, usize)> {
        let slot = self.points.binary_search(&ix).ok()?;
        let level = self.levels.iter().position(|l| l.name == level)?;
        self.bound.judges(slot, level).then_some((slot, level))
    }

    fn info(&self, slot: Option<usize>) -> RuleInfo {
        RuleInfo {
            name: self.name.clone(),
            kind: self.kind,
            source: self.source.clone(),
            version: self.version.clone(),
            points: self.points.len(),
            levels: slot.map(|s| self.bound.describe(s)).unwrap_or_default(),
        }
    }
}

fn bind(d: &RuleDef, catalog: &Catalog, problems: &mut Problems) -> Rule {
    let points: Vec<u32> =
        (0..catalog.points().len() as u32).filter(|ix| d.select.selects(catalog, *ix)).collect();
    // An empty catalog is a rule check without one.
    if !catalog.points().is_empty() {
        d.select.check(&d.name, points.len(), &d.place, problems);
    }
    let mut found = Problems::default();
    let mut binding = Binding {
        rule: &d.name,
        unit: &d.unit,
        levels: &d.levels,
        place: &d.place,
        catalog,
        problems: &mut found,
    };
    let bound: Arc<dyn Bound> = d.spec.bind(&mut binding, &points).into();
    let (points, seats) = match bound.groups() {
        Some(groups) => (groups.iter().map(|g| g[0]).collect(), seats(&groups)),
        None => (points, Vec::new()),
    };
    let said = format!("{}{:?}{:?}{:?}{}", d.kind, d.select, d.levels, d.spec, d.unit);
    let version = blake3::hash(said.as_bytes()).to_hex()[..12].to_owned();
    // One mistake in units would be told for each of a thousand points: the first ones say it.
    const TOLD_MAX: usize = 5;
    let more = found.0.len().saturating_sub(TOLD_MAX);
    found.0.truncate(TOLD_MAX);
    if more > 0 {
        let (file, line, column) = &d.place;
        let message = format!("rule `{}`: the same for {more} more points", d.name);
        found.push(model::Problem::warning(file, *line, *column, message));
    }
    problems.extend(found);
    Rule {
        name: d.name.clone(),
        kind: d.kind,
        source: d.source.clone(),
        version,
        levels: d.levels.clone(),
        points,
        seats,
        minds_calibration: bound.minds_calibration(),
        bound,
    }
}

/// A point that stands in a group more than once hears once: as the first.
fn seats(groups: &[Vec<u32>]) -> Vec<Seat> {
    let (mut seats, mut there) = (Vec::new(), AHashSet::new());
    for (slot, group) in (0..).zip(groups) {
        there.clear();
        for (member, &point) in (0..).zip(group) {
            if there.insert(point) {
                seats.push(Seat { point, slot, member });
            }
        }
    }
    seats
}

/// What hears each point, by slot or seat, of what counts.
fn index(
    rules: &[Rule],
    points: usize,
    counts_in: impl Fn(&Rule, u32) -> bool,
) -> (Vec<u32>, Vec<(u32, u32)>) {
    let hears =
        |rule: &Rule| (0..).zip(rule.hears()).filter(|(seat, _)| counts_in(rule, *seat)).collect::<Vec<_>>();
    let heard: Vec<Vec<(u32, u32)>> = rules.iter().map(hears).collect();
    let mut counts = vec![0u32; points + 1];
    for (_, ix) in heard.iter().flatten() {
        counts[*ix as usize + 1] += 1;
    }
    for i in 1..counts.len() {
        counts[i] += counts[i - 1];
    }
    let by_point = counts.clone();
    let mut instances = vec![(0, 0); *by_point.last().unwrap_or(&0) as usize];
    for (r, heard) in (0..).zip(&heard) {
        for (seat, ix) in heard {
            let at = &mut counts[*ix as usize];
            instances[*at as usize] = (r, *seat);
            *at += 1;
        }
    }
    (by_point, instances)
}
