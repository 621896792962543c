//! The file of routes, read whole with the rosters it names: every mistake at file:line:column, and nothing of a file that holds one.

use super::conditions::{Conditions, Kind};
use super::names::Names;
use super::press::{self, presses};
use super::roster::{Roster, Text};
use super::{Route, Routes, Target, ZONE_DEFAULT_S};
use crate::receiver::Receiver;
use model::keys::{KeyDoc, key};
use model::time::parse_zone;
use model::toml_file::{Section, TomlFile};
use model::{Problem, Problems};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const REPEAT: KeyDoc = key(
    "repeat",
    "duration",
    "",
    "those whom the route told are told again after so long, and so long again, while nobody acknowledges; when absent that of the route above",
);
const ESCALATE: KeyDoc = key(
    "escalate",
    "list of tables",
    "",
    "who is told next while nobody acknowledges; when absent those of the route above",
);

const TOP: &[KeyDoc] = &[
    key(
        "zone",
        "text",
        "\"+08:00\"",
        "zone of `time`, `weekdays` and local times of rosters, as an offset from UTC",
    ),
    key("to", "list of texts", "", "receivers and rosters told of what no route takes"),
    REPEAT,
    ESCALATE,
];

const ROUTE: &[KeyDoc] = &[
    key("name", "text", "-", "its name in answers; routes beside each other differ"),
    key(
        "to",
        "list of texts",
        "",
        "receivers and rosters told where no route below takes it; when absent those of the route above",
    ),
    key("continue", "true or false", "false", "the routes behind it are asked too"),
    key("region", "list of texts", "", "regions, six digits of GB/T 2260 or the first two or four"),
    key("site", "list of texts", "", "site codes, or beginnings as `14*`"),
    key("level", "list of texts", "", "names of levels, or beginnings"),
    key("severity", "list of texts", "", "`red`, `orange`, `yellow`, `blue`, or `at least orange`"),
    key("quantity", "list of texts", "", "quantities of the point, or beginnings"),
    key("place", "list of texts", "", "place classes of the point, `T0` to `T8`, or beginnings"),
    key("rule", "list of texts", "", "names of rules, or beginnings"),
    key("state", "list of texts", "", "states of the site: `operating`, `idle`, `maintenance`, `starting`"),
    key(
        "time",
        "list of texts",
        "",
        "windows of the local day, `08:00-20:00` or over midnight `20:00-08:00`; the end is not in it",
    ),
    key(
        "weekdays",
        "list of texts",
        "",
        "`mon` to `sun` or `mon-fri`; a window over midnight belongs to the day it begins on",
    ),
    REPEAT,
    ESCALATE,
    key("own", "true or false", "", "true: for firedamp's own alarms instead of those of sites"),
    key("drill", "true or false", "", "true: for drills instead of alarms of sites"),
    key("route", "list of tables", "", "routes below it, asked once it has taken an alarm"),
];

const STEP: &[KeyDoc] = &[
    key("after", "duration", "-", "how long nobody has acknowledged since the first delivery"),
    key("to", "list of texts", "-", "receivers and rosters told then"),
];

const ROSTER: &[KeyDoc] = &[
    key("name", "text", "-", "name that `to` gives; no receiver has it"),
    key("file", "path", "-", "CSV of shifts: `from,to,person,receiver,stand_in`"),
    key("away", "path", "", "CSV of absences: `person,from,to`"),
    key("fallback", "text", "-", "receiver told while nobody is on duty"),
];

const NAME_IT: &str = "name it in a `to`, or take it out";

/// Keys of the file of routes.
pub fn route_keys() -> Vec<(String, &'static [KeyDoc])> {
    let title = |s: &str| format!("{s}` in the file of `alerts.routes");
    vec![
        (title("top level"), TOP),
        (title("[[route]]"), ROUTE),
        (title("[[escalate]]"), STEP),
        (title("[[roster]]"), ROSTER),
    ]
}

/// The files that routes stand in: that of the tree, and the rosters it names. What cannot be read names none.
pub fn route_files(path: &Path) -> Vec<PathBuf> {
    let mut out = vec![path.to_owned()];
    let Ok(text) = std::fs::read_to_string(path) else { return out };
    let file = TomlFile::parse("", &text);
    for roster in file.root().tables("roster") {
        let named = [roster.str("file"), roster.str("away")];
        out.extend(named.into_iter().flatten().map(|name| beside(path, name.value)));
    }
    out
}

/// Refuses the keys of a receiver that would be a second filter beside the routes.
pub fn refuse_filters(s: &Section<'_>) {
    for key in ["severity", "sites", "regions", "own"] {
        if let Some(at) = s.at_value(key) {
            let message = format!("`receiver.{key}` and `alerts.routes` both decide who is told");
            s.file().error_at(at, message, "leave it out here and write it as a key of a route");
        }
    }
}

fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(name)
}

impl Routes {
    /// Reads the file at `path` over the receivers of the configuration. `None` when there is an error in it or in a roster.
    pub fn read(path: &Path, receivers: &[Receiver], problems: &mut Problems) -> Option<Self> {
        let text = read_text(path, problems)?;
        Self::parse(path, &text.text, receivers, problems)
    }

    /// [`Routes::read`] of a text, with `path` for the rosters beside it.
    pub fn parse(path: &Path, text: &str, receivers: &[Receiver], problems: &mut Problems) -> Option<Self> {
        let file = TomlFile::parse(&path.display().to_string(), text);
        let root = file.root();
        let zone_offset_s = zone(&root);
        let sections = root.tables("roster");
        let mut names = Names { receivers, rosters: Vec::new(), zone_offset_s };
        names.rosters = sections.iter().filter_map(|s| s.str("name")).map(|n| n.value.to_owned()).collect();
        let mut beside_it = Problems::default();
        let rosters: Vec<Roster> =
            sections.iter().filter_map(|s| roster(s, path, &names, &mut beside_it)).collect();
        let mut top = Route::top();
        top.place = place(&root, root.at()).0;
        top.to = names.targets(&root).unwrap_or_default();
        top.presses = presses(&root, &[], &names);
        top.below = routes_below(&root, &top, &names);
        root.finish();
        let good = file.error_count() == 0 && beside_it.errors() == 0;
        problems.extend(file.into_problems());
        problems.extend(beside_it);
        if !good {
            return None;
        }
        let this = Self::new(receivers.to_vec(), rosters, top, zone_offset_s, path.display().to_string());
        this.warn(problems);
        Some(this)
    }
}

fn read_text(path: &Path, problems: &mut Problems) -> Option<Text> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Some(Text { file, text }),
        Err(e) => {
            let help = "it is named relative to the folder of the file that names it, and is UTF-8";
            problems.push(Problem::error(&file, 0, 0, format!("cannot be read: {e}")).help(help));
            None
        }
    }
}

/// `file:line`, and line and column.
fn place(s: &Section<'_>, at: usize) -> (String, (usize, usize)) {
    let (file, line, column) = s.file().place(at);
    (format!("{file}:{line}"), (line, column))
}

fn zone(root: &Section<'_>) -> i32 {
    let Some(zone) = root.str("zone") else { return ZONE_DEFAULT_S };
    parse_zone(zone.value).unwrap_or_else(|| {
        let message = format!("`zone` is `{}`, which is no offset from UTC", zone.value);
        root.file().error_at(zone.at, message, "write for example \"+08:00\"");
        ZONE_DEFAULT_S
    })
}

fn roster(s: &Section<'_>, path: &Path, names: &Names<'_>, problems: &mut Problems) -> Option<Roster> {
    let name = s.need_str("name", "\"duty\"");
    if let Some(name) = &name {
        let same = names.rosters.iter().filter(|r| *r == name.value).count() > 1;
        if same || names.receivers.iter().any(|r| r.name == name.value) {
            let message = format!("another roster or a receiver is named `{}` too", name.value);
            s.file().error_at(name.at, message, "`to` must know which is meant");
        }
    }
    let file = s.need_str("file", "\"duty.csv\"");
    let away = s.str("away");
    let fallback = s.need_str("fallback", "\"county\"").and_then(|f| {
        let (number, help) = names.receiver(f.value);
        if number.is_none() {
            s.file().error_at(f.at, format!("there is no receiver `{}`", f.value), help);
        }
        number
    });
    s.finish_ref();
    let (at_place, at) = place(s, s.at());
    let mut roster = Roster::new(name?.value, at_place, at, fallback?);
    roster.read_shifts(&read_text(&beside(path, file?.value), problems)?, names, problems);
    if let Some(away) = away {
        roster.read_away(&read_text(&beside(path, away.value), problems)?, names.zone_offset_s, problems);
    }
    Some(roster)
}

fn routes_below(s: &Section<'_>, above: &Route, names: &Names<'_>) -> Vec<Route> {
    let mut out: Vec<Route> = Vec::new();
    for section in s.tables("route") {
        let route = route(&section, above, names);
        if out.iter().any(|r| r.path == route.path) {
            let at = section.at_value("name").unwrap_or_else(|| section.at());
            let message = format!("two routes beside each other are named `{}`", route.path);
            section.file().error_at(at, message, "give each its own name");
        }
        out.push(route);
    }
    out
}

fn route(s: &Section<'_>, above: &Route, names: &Names<'_>) -> Route {
    let name = s.need_str("name", "\"county\"").map_or("?", |n| n.value);
    let path = if above.path.is_empty() { name.to_owned() } else { format!("{} > {name}", above.path) };
    let (at_place, at) = place(s, s.at());
    let mut route = Route {
        path,
        place: at_place,
        at,
        kind: Some(kind(s, above)),
        conditions: Conditions::read(s),
        to: names.targets(s).unwrap_or_else(|| above.to.clone()),
        presses: presses(s, &above.presses, names),
        goes_on: s.bool("continue").is_some_and(|b| b.value),
        below: Vec::new(),
    };
    if !s.has("to") && above.to.is_empty() {
        s.missing("to", "[\"county\"]");
    }
    route.below = routes_below(s, &route, names);
    s.finish_ref();
    route
}

/// What a route is for: what it says, else what the one above is for.
fn kind(s: &Section<'_>, above: &Route) -> Kind {
    let said = |key| s.bool(key).is_some_and(|b| b.value);
    let (own, drill) = (said("own"), said("drill"));
    let kind = match (own, drill) {
        (true, _) => Kind::Own,
        (false, true) => Kind::Drill,
        (false, false) => above.kind.unwrap_or(Kind::Site),
    };
    let other_above = above.kind.is_some_and(|k| k != kind);
    if own && drill || other_above {
        let at = s.at_value("own").or_else(|| s.at_value("drill")).unwrap_or_else(|| s.at());
        let above = if other_above { format!("; it stands below `{}`", above.path) } else { String::new() };
        let message = format!("no alarm is one of {} and of others too{above}", kind.as_str());
        s.file().error_at(at, message, "write a route of its own at the top");
    }
    kind
}

impl Routes {
    /// What is no mistake in the file and yet hardly meant.
    fn warn(&self, problems: &mut Problems) {
        let (mut told, mut named) = (BTreeSet::new(), BTreeSet::new());
        self.collect(&self.top, &mut told, &mut named);
        let mut warn = |at: (usize, usize), message: String, help: &str| {
            problems.push(Problem::warning(&self.file, at.0, at.1, message).help(help));
        };
        for (_, roster) in self.rosters.iter().enumerate().filter(|(i, _)| !named.contains(i)) {
            warn(roster.at, format!("no route names roster `{}`", roster.name), NAME_IT);
        }
        // One that keeps checkpoints has its work without any route.
        let is_idle = |(i, r): &(usize, &Receiver)| !told.contains(i) && !r.checkpoints;
        for (_, r) in self.receivers.iter().enumerate().filter(is_idle) {
            let of = if r.drill { " with `drill = true`" } else { "" };
            let at = if r.place.is_empty() { String::new() } else { format!(" ({})", r.place) };
            let message = format!("no route{of} names receiver `{}`{at}: it is never told", r.name);
            warn(self.top.at, message, NAME_IT);
        }
        self.unreachable(&self.top, problems);
    }

    /// Receivers that may be told, and rosters that are named.
    fn collect(&self, route: &Route, told: &mut BTreeSet<usize>, named: &mut BTreeSet<usize>) {
        for target in route.to.iter().chain(press::named(route)) {
            if let Target::Roster(roster) = target {
                named.insert(*roster);
            }
            let all = self.may_stand_for(*target);
            // What no route takes may be a drill too.
            let may = |r: &usize| route.kind.is_none_or(|k| (k == Kind::Drill) == self.receivers[*r].drill);
            told.extend(all.into_iter().filter(may));
        }
        route.below.iter().for_each(|below| self.collect(below, told, named));
    }

    /// Routes behind one that takes all that they would.
    fn unreachable(&self, above: &Route, problems: &mut Problems) {
        for (i, route) in above.below.iter().enumerate() {
            if let Some(before) = above.below[..i].iter().find(|before| before.takes_all_of(route)) {
                let message = format!("route `{}` is never reached", route.path);
                let help = format!(
                    "`{}` ({}) takes all that it would; put that behind it, or say `continue = true` there",
                    before.path, before.place
                );
                problems.push(Problem::warning(&self.file, route.at.0, route.at.1, message).help(help));
            }
            self.unreachable(route, problems);
        }
    }
}

impl Route {
    /// Whether one that stands behind it is not asked for anything it would take, as far as it shows from what is written.
    pub(super) fn takes_all_of(&self, behind: &Self) -> bool {
        !self.goes_on && self.kind == behind.kind && self.conditions.cover(&behind.conditions)
    }
}
