//! Whether somebody is told of everything: each kind of alarm that a catalog can bring is taken through the tree, at every time of the week
//! that makes a difference.
//!
//! Values that no key of any route tells apart are tried once. Of rules and levels, whose names the catalog does not hold, those that
//! the routes name are tried, and one that they do not. A roster counts as its fallback; its own holes are looked for in the days to come.

use super::conditions::{Kind, Subject, TEXTS};
use super::when::{DAY_MINUTES, Moment, When, moments, show_days, span};
use super::{Route, Routes, Seen};
use cells::{Cell, Cells};
use model::time::{DAY, show_local};
use model::{Catalog, Micros, Problem, Problems, Severity};
use std::collections::{BTreeMap, BTreeSet, HashSet};

mod cells;

/// Holes of rosters are looked for this far ahead.
const AHEAD: Micros = 14 * DAY;
/// Most groups of alarms that nobody is told of, and most holes of one roster, that are named.
const NAMED_MAX: usize = 20;
/// Most sites that a group names.
const SITES_NAMED: usize = 3;
/// Most alarms tried; with more, names of rules and levels are left out.
const TRIES_MAX: usize = 1_000_000;

/// What a check found, each as a warning.
#[derive(Clone, Default, Debug)]
pub struct Found {
    /// Alarms that nobody is told of, and times at which a roster has nobody on duty.
    pub holes: Problems,
    /// What is no hole and yet hardly meant.
    pub hints: Problems,
}

/// Looks for holes.
pub fn check(routes: &Routes, catalog: &Catalog, now: Micros) -> Found {
    let mut found = Found::default();
    let week = Week::of(routes);
    let mut cells = Cells::of(routes, catalog);
    if cells.tries() * Severity::ALL.len() * week.groups.len() > TRIES_MAX {
        cells.forget_names();
        let message =
            "there are too many kinds of alarms to try them all: rules and levels are not told apart";
        found.hints.push(routes.warning((1, 1), message.to_owned()));
    }
    let kinds = cells.all().len();
    let tried =
        kinds.min(TRIES_MAX * kinds / (cells.tries() * Severity::ALL.len() * week.groups.len()).max(1));
    if tried < kinds {
        let message = format!("there are too many kinds of alarms: {tried} of {kinds} were tried");
        found.hints.push(routes.warning((1, 1), message));
    }
    let mut holes = Holes::default();
    let mut met = HashSet::new();
    for cell in &cells.all()[..tried] {
        holes.know(cell);
        for severity in Severity::ALL {
            let gap = week.gap(routes, cell, severity, &mut met);
            if let Some(gap) = gap.filter(|_| cell.is_reported()) {
                holes.add(cell, severity, gap);
            }
        }
    }
    holes.say(routes, catalog, &week, &mut found.holes);
    routes.about_receivers(&week, &mut found.holes);
    routes.roster_holes(now, &mut found.holes);
    routes.never_met(&routes.top, &met, &mut found.hints);
    found
}

/// The times of a week that the routes tell apart.
struct Week {
    /// Pieces of the week: begin, and minute of the day at which it ends.
    pieces: Vec<(Moment, u16)>,
    /// Numbers of pieces at which the same routes hold.
    groups: Vec<Vec<usize>>,
}

/// When nobody is told of one kind of alarm: numbers of groups, and whether whatever its rule and level are.
struct Gap {
    groups: Vec<usize>,
    example: Option<(String, String)>,
}

impl Week {
    fn of(routes: &Routes) -> Self {
        let mut whens: Vec<&When> = Vec::new();
        routes.each(&mut |route| whens.push(route.conditions.when()));
        let pieces = moments(whens.iter().flat_map(|w| w.edges()).collect());
        let mut groups: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
        for (i, (at, _)) in pieces.iter().enumerate() {
            groups.entry(whens.iter().map(|w| w.holds(*at)).collect()).or_default().push(i);
        }
        Self { pieces, groups: groups.into_values().collect() }
    }

    /// When nobody is told of a kind of alarm, if ever.
    fn gap(&self, routes: &Routes, cell: &Cell, severity: Severity, met: &mut HashSet<usize>) -> Option<Gap> {
        let (mut groups, mut example, mut whatever) = (Vec::new(), None, true);
        for (number, group) in self.groups.iter().enumerate() {
            let moment = self.pieces[group[0]].0;
            let (mut untold, mut told) = (None, false);
            for (rule, level) in cell.names() {
                let alarm = cell.alarm(severity, rule, level);
                match routes.tells(&Subject { alarm: &alarm, kind: cell.kind, moment }, met) {
                    true => told = true,
                    false => untold = untold.or(Some((rule, level))),
                }
            }
            if let Some((rule, level)) = untold {
                groups.push(number);
                example.get_or_insert_with(|| (rule.to_owned(), level.to_owned()));
                whatever &= !told;
            }
        }
        let example = example.filter(|_| !whatever);
        (!groups.is_empty()).then_some(Gap { groups, example })
    }

    /// The times of groups in words; empty for always.
    fn text(&self, groups: &[usize]) -> String {
        if groups.len() == self.groups.len() {
            return String::new();
        }
        let mut days: [Vec<(u16, u16)>; 7] = Default::default();
        let mut pieces: Vec<usize> = groups.iter().flat_map(|g| self.groups[*g].iter().copied()).collect();
        pieces.sort_unstable();
        for piece in pieces {
            let (Moment { day, minute }, end) = self.pieces[piece];
            match days[day].last_mut() {
                Some(last) if last.1 == minute => last.1 = end,
                _ => days[day].push((minute, end)),
            }
        }
        let mut by_spans: BTreeMap<&[(u16, u16)], u8> = BTreeMap::new();
        for (day, spans) in days.iter().enumerate().filter(|(_, spans)| !spans.is_empty()) {
            *by_spans.entry(spans).or_default() |= 1 << day;
        }
        let show = |(spans, days): (&[(u16, u16)], u8)| match spans {
            [(0, DAY_MINUTES)] => show_days(days),
            spans => {
                let spans: Vec<String> = spans.iter().map(|s| span(*s)).collect();
                format!("{} {}", show_days(days), spans.join(" and "))
            }
        };
        by_spans.into_iter().map(show).collect::<Vec<_>>().join("; ")
    }
}

/// What tells kinds of alarms of a site apart.
type Whats = BTreeSet<String>;

/// What is missing of a site at a severity.
type Missing = BTreeMap<(u32, Severity), Whats>;

/// Alarms that nobody is told of, by kind, times and an example.
#[derive(Default)]
struct Holes {
    found: BTreeMap<(Kind, Vec<usize>, String), Missing>,
    /// All there are of a site.
    whats: BTreeMap<u32, Whats>,
}

impl Holes {
    /// Knows of a kind of alarm.
    fn know(&mut self, cell: &Cell) {
        for site in cell.sites.iter().filter(|_| cell.kind != Kind::Own) {
            self.whats.entry(*site).or_default().insert(cell.what.clone());
        }
    }

    fn add(&mut self, cell: &Cell, severity: Severity, gap: Gap) {
        let name = |key: &str, name: &str| match name.strip_suffix(cells::OTHER) {
            Some("") => format!("a {key} that no route names"),
            Some(begin) => format!("{key} `{begin}...`"),
            None => format!("{key} `{name}`"),
        };
        let example = gap.example.map_or(String::new(), |(rule, level)| {
            format!(", for example of {} and {}", name("rule", &rule), name("level", &level))
        });
        let found = self.found.entry((cell.kind, gap.groups, example)).or_default();
        for site in &cell.sites {
            found.entry((*site, severity)).or_default().insert(cell.what.clone());
        }
    }

    /// A line for all sites of which the same is true.
    fn say(self, routes: &Routes, catalog: &Catalog, week: &Week, problems: &mut Problems) {
        let mut lines = Vec::new();
        for ((kind, groups, example), found) in self.found {
            let mut by_what: BTreeMap<(u32, Whats), BTreeSet<Severity>> = BTreeMap::new();
            for ((site, severity), whats) in found {
                // Where nobody is told of anything of a site, that needs no list.
                let all = kind == Kind::Own || self.whats.get(&site) == Some(&whats);
                let whats = if all { Whats::new() } else { whats };
                by_what.entry((site, whats)).or_default().insert(severity);
            }
            let mut groups_of_sites: BTreeMap<(BTreeSet<Severity>, Whats), Vec<u32>> = BTreeMap::new();
            for ((site, whats), severities) in by_what {
                groups_of_sites.entry((severities, whats)).or_default().push(site);
            }
            let times = match week.text(&groups) {
                always if always.is_empty() => "at any time".to_owned(),
                times => times,
            };
            for ((severities, whats), sites) in groups_of_sites {
                let colours: Vec<&str> = severities.iter().map(|s| s.as_str()).collect();
                let colours = if colours.len() == 4 { String::new() } else { colours.join(" and ") + " " };
                let at = if kind == Kind::Own { String::new() } else { show_sites(catalog, &sites) };
                let of = if kind == Kind::Site { "alarms" } else { kind.as_str() };
                let whats: Vec<String> = whats.into_iter().collect();
                let what =
                    if whats.is_empty() { String::new() } else { format!(", of {}", whats.join(" or ")) };
                lines.push(format!("nobody is told of {colours}{of}{at}, {times}{what}{example}"));
            }
        }
        let more = lines.len().saturating_sub(NAMED_MAX);
        for line in lines.into_iter().take(NAMED_MAX) {
            problems.push(routes.warning((1, 1), line));
        }
        if more > 0 {
            let message = format!("{more} more groups of alarms that nobody is told of");
            problems.push(routes.warning((1, 1), message));
        }
    }
}

fn show_sites(catalog: &Catalog, sites: &[u32]) -> String {
    let all = catalog.sites();
    let names =
        sites.iter().take(SITES_NAMED).map(|s| all[*s as usize].code.as_str()).collect::<Vec<_>>().join(", ");
    match sites.len() {
        1 => format!(" of site {names}"),
        n if n == all.len() => format!(" of any of the {n} sites"),
        n if n <= SITES_NAMED => format!(" of sites {names}"),
        n => format!(" of {n} of {} sites ({names}, ...)", all.len()),
    }
}

impl Routes {
    fn warning(&self, at: (usize, usize), message: String) -> Problem {
        let file = if self.file.is_empty() { "[[receiver]]" } else { &self.file };
        Problem::warning(file, at.0, at.1, message)
    }

    fn each<'a>(&'a self, see: &mut dyn FnMut(&'a Route)) {
        fn below<'a>(route: &'a Route, see: &mut dyn FnMut(&'a Route)) {
            see(route);
            route.below.iter().for_each(|r| below(r, see));
        }
        below(&self.top, see);
    }

    /// Whether somebody is told, whoever is on duty; routes that take part are added to `met`.
    fn tells(&self, s: &Subject<'_>, met: &mut HashSet<usize>) -> bool {
        let mut told = false;
        self.top.walk(s, &mut |seen| match seen {
            Seen::Met(route) => _ = met.insert(name_of(route)),
            Seen::Took(route) => told |= route.to.iter().any(|t| self.always_reaches(*t, s)),
            Seen::Unmet(..) | Seen::Behind(..) => {}
        });
        told
    }

    /// Receivers whose own trouble would be told to nobody else.
    fn about_receivers(&self, week: &Week, problems: &mut Problems) {
        let others = self.receivers.iter().filter(|r| !r.drill).count();
        let mut unheard = Vec::new();
        for receiver in self.receivers.iter().filter(|r| !r.drill && others > 1) {
            let heard = |point: &str| {
                let cell = Cell::about_receiver(point);
                week.gap(self, &cell, Severity::Orange, &mut HashSet::new()).is_none()
            };
            // Where nobody at all hears of it, that is told already.
            if heard("") && !heard(&receiver.name) {
                unheard.push(format!("`{}`", receiver.name));
            }
        }
        if !unheard.is_empty() {
            let message = format!(
                "nobody else is told when receiver {} takes no message or not all of them",
                unheard.join(" or ")
            );
            problems.push(
                self.warning((1, 1), message).help("name a second receiver in a route with `own = true`"),
            );
        }
    }

    fn roster_holes(&self, now: Micros, problems: &mut Problems) {
        for roster in &self.rosters {
            let holes = roster.holes(now, now.saturating_add(AHEAD));
            let local = |t| show_local(t, self.zone_offset_s);
            let shown: Vec<String> = holes
                .iter()
                .take(NAMED_MAX)
                .map(|(from, to)| format!("{} to {}", local(*from), local(*to)))
                .collect();
            if shown.is_empty() {
                continue;
            }
            let more = holes.len() - shown.len();
            let more = if more > 0 { format!(" and {more} more times") } else { String::new() };
            let message =
                format!("roster `{}` has nobody on duty from {}{more}", roster.name, shown.join(", "));
            let help =
                format!("`{}` is told then; add a shift or a stand-in", self.receivers[roster.fallback].name);
            problems.push(self.warning(roster.at, message).help(help));
        }
    }

    /// Routes that nothing in the catalog goes through. Those behind one that takes all are told when the file is read.
    fn never_met(&self, above: &Route, met: &HashSet<usize>, problems: &mut Problems) {
        for (i, route) in above.below.iter().enumerate().filter(|_| self.are_given()) {
            if met.contains(&name_of(route)) {
                self.never_met(route, met, problems);
            } else if !above.below[..i].iter().any(|before| before.takes_all_of(route)) {
                let message = format!("no alarm goes through route `{}`", route.path);
                let help = "look for a mistyped region, site, quantity or place, and at the routes above and before it";
                problems.push(self.warning(route.at, message).help(help));
            }
        }
    }
}

/// A name of a route within one tree that stays where it is.
fn name_of(route: &Route) -> usize {
    std::ptr::from_ref(route).addr()
}

/// The texts that any route wants of a key, by the key's place in [`TEXTS`].
fn wanted(routes: &Routes) -> [BTreeSet<&str>; TEXTS.len()] {
    let mut out: [BTreeSet<&str>; TEXTS.len()] = Default::default();
    routes.each(&mut |route| {
        for (i, all) in out.iter_mut().enumerate() {
            all.extend(route.conditions.wanted(i).iter().map(String::as_str));
        }
    });
    out
}
