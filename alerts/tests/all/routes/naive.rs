//! The tree against a naive model on random trees and alarms: the model walks the tree with a stack, and knows times by the calendar.
//! Mistakes planted into the model must be found.

use super::{alarm, receivers, told};
use alerts::Routes;
use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveTime, TimeZone};
use model::{Alarm, Micros, Problems, Severity};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

const NAMES: [&str; 5] = ["a", "b", "c", "drill-d", "drill-e"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const TREES: usize = 10_000;
const ALARMS: usize = 4;

#[derive(Clone, Default, Debug)]
struct Node {
    regions: Vec<&'static str>,
    sites: Vec<&'static str>,
    quantities: Vec<&'static str>,
    rules: Vec<&'static str>,
    severities: Vec<Severity>,
    at_least: Option<Severity>,
    window: Option<(u32, u32)>,
    days: Vec<usize>,
    kind: Option<&'static str>,
    goes_on: bool,
    to: Vec<usize>,
    below: Vec<Node>,
}

/// The mistakes and the list of all of them, so that none is forgotten.
macro_rules! mistakes {
    ($($name:ident)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        enum Mistake { $($name),* }
        const MISTAKES: &[Mistake] = &[$(Mistake::$name),*];
    };
}

mistakes! {
    EndInclusive BeginExclusive OnlyToday ContinueIgnored ContinueAlways AboveToldToo DefaultAlways AtLeastIsExactly PrefixIsWhole
    DrillToAll KindNotInherited ToNotInherited
}

fn some<T: Copy>(random: &mut StdRng, of: &[T], chance: f64) -> Vec<T> {
    if !random.random_bool(chance) {
        return Vec::new();
    }
    let n = random.random_range(1..=2);
    (0..n).map(|_| of[random.random_range(0..of.len())]).collect()
}

fn node(random: &mut StdRng, depth: usize, above: Option<&'static str>) -> Node {
    // Below a route for alarms of sites none is for others.
    let top_kind = if depth == 0 { some(random, &["own", "drill"], 0.4).first().copied() } else { None };
    let mut this = Node {
        regions: some(random, &["14", "1405", "140581", "62", "620100"], 0.3),
        sites: some(random, &["M1", "M*", "M2", "P1"], 0.2),
        quantities: some(random, &["ch4", "co", "c*", "wind"], 0.2),
        rules: some(random, &["ch4-face", "ch4*", "silent"], 0.15),
        days: some(random, &[0, 1, 2, 3, 4, 5, 6], 0.15),
        goes_on: random.random_bool(0.3),
        kind: above.or(top_kind),
        to: some(random, &[0, 1, 2, 3, 4], if depth == 0 { 1.0 } else { 0.7 }),
        ..Node::default()
    };
    match random.random_range(0..6) {
        0 => this.at_least = Some(Severity::ALL[random.random_range(0..4)]),
        1 => this.severities = some(random, &Severity::ALL, 1.0),
        _ => {}
    }
    if random.random_bool(0.3) {
        let hour = |random: &mut StdRng| random.random_range(0..24) * 60;
        this.window = Some((hour(random), hour(random))).filter(|(from, to)| from != to);
    }
    if depth < 3 {
        let n = random.random_range(0..=[4, 3, 2][depth]);
        this.below = (0..n).map(|_| node(random, depth + 1, this.kind)).collect();
    }
    this
}

fn write(out: &mut String, node: &Node, header: &str, above: Option<&'static str>) {
    for (i, n) in node.below.iter().enumerate() {
        let header = if header.is_empty() { "route".to_owned() } else { format!("{header}.route") };
        let _ = writeln!(out, "[[{header}]]\nname = \"r{i}\"");
        for (key, all) in
            [("region", &n.regions), ("site", &n.sites), ("quantity", &n.quantities), ("rule", &n.rules)]
        {
            if !all.is_empty() {
                let _ = writeln!(out, "{key} = {all:?}");
            }
        }
        if let Some(mildest) = n.at_least {
            let _ = writeln!(out, "severity = \"at least {mildest}\"");
        } else if !n.severities.is_empty() {
            let words: Vec<&str> = n.severities.iter().map(|s| s.as_str()).collect();
            let _ = writeln!(out, "severity = {words:?}");
        }
        if let Some((from, to)) = n.window {
            let _ = writeln!(out, "time = \"{:02}:00-{:02}:00\"", from / 60, to / 60);
        }
        if !n.days.is_empty() {
            let _ = writeln!(out, "weekdays = {:?}", n.days.iter().map(|d| DAYS[*d]).collect::<Vec<_>>());
        }
        if let Some(kind) = n.kind.filter(|k| Some(*k) != above) {
            let _ = writeln!(out, "{kind} = true");
        }
        if n.goes_on {
            out.push_str("continue = true\n");
        }
        if !n.to.is_empty() {
            let _ = writeln!(out, "to = {:?}", n.to.iter().map(|i| NAMES[*i]).collect::<Vec<_>>());
        }
        write(out, n, &header, n.kind);
    }
}

fn random_alarm(random: &mut StdRng) -> (Alarm, Micros) {
    let mut alarm = alarm();
    let mut of = |all: &[&str]| all[random.random_range(0..all.len())].to_owned();
    alarm.place.region = of(&["140581", "140500", "140100", "620100"]);
    alarm.site = of(&["M1", "M2", "P1", "M1", "firedamp"]);
    alarm.place.quantity = of(&["ch4", "co", "wind", ""]);
    alarm.rule = of(&["ch4-face", "ch4", "silent"]);
    alarm.severity = Severity::ALL[random.random_range(0..4)];
    alarm.marks.simulated = random.random_bool(0.2);
    // Borders of hours are where mistakes are.
    let hour = 3_600_000_000 * random.random_range(490_000..490_200);
    (alarm, hour + [-1, 0, 0, 1, 1_800_000_000][random.random_range(0..5)])
}

/// What the model knows of the alarm.
struct Case<'a> {
    alarm: &'a Alarm,
    at: DateTime<FixedOffset>,
    mistake: Option<Mistake>,
}

impl Case<'_> {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn kind(&self) -> Option<&'static str> {
        let own = (self.alarm.site == "firedamp").then_some("own");
        if self.alarm.marks.simulated { Some("drill") } else { own }
    }

    fn one_of(&self, is: &str, wanted: &[&str]) -> bool {
        let whole = self.is(Mistake::PrefixIsWhole);
        wanted.is_empty()
            || wanted.iter().any(|w| match w.split_once('*') {
                Some((begin, _)) if !whole => is.len() >= begin.len() && &is[..begin.len()] == begin,
                _ => is == *w,
            })
    }

    /// A window by the calendar: those that began today and yesterday.
    fn in_time(&self, n: &Node) -> bool {
        let on = |day: chrono::NaiveDate| {
            n.days.is_empty() || n.days.contains(&(day.weekday().num_days_from_monday() as usize))
        };
        let today = self.at.date_naive();
        let Some((from, to)) = n.window else { return on(today) };
        let yesterday = today.checked_sub_days(Days::new(1)).unwrap();
        let days = if self.is(Mistake::OnlyToday) { vec![today] } else { vec![yesterday, today] };
        days.into_iter().filter(|d| on(*d)).any(|day| {
            let clock = |m: u32| NaiveTime::from_hms_opt(m / 60, 0, 0).unwrap();
            let begin = day.and_time(clock(from));
            let end =
                if to > from { day } else { day.checked_add_days(Days::new(1)).unwrap() }.and_time(clock(to));
            let now = self.at.naive_local();
            let after = if self.is(Mistake::BeginExclusive) { now > begin } else { now >= begin };
            after && if self.is(Mistake::EndInclusive) { now <= end } else { now < end }
        })
    }

    fn meets(&self, n: &Node, above: Option<&'static str>) -> bool {
        let kind =
            if self.is(Mistake::KindNotInherited) { n.kind.filter(|k| Some(*k) != above) } else { n.kind };
        let severity = match n.at_least {
            Some(mildest) if self.is(Mistake::AtLeastIsExactly) => self.alarm.severity == mildest,
            Some(mildest) => self.alarm.severity as u8 <= mildest as u8,
            None => n.severities.is_empty() || n.severities.contains(&self.alarm.severity),
        };
        let region = n.regions.is_empty() || n.regions.iter().any(|r| self.alarm.place.region.starts_with(r));
        kind == self.kind()
            && severity
            && region
            && self.one_of(&self.alarm.site, &n.sites)
            && self.one_of(&self.alarm.place.quantity, &n.quantities)
            && self.one_of(&self.alarm.rule, &n.rules)
            && self.in_time(n)
    }

    /// Whom the flattened tree tells: each node with all that must hold and all that must not for it to be the one.
    fn told(&self, root: &Node) -> BTreeSet<usize> {
        let mut out = BTreeSet::new();
        let mut open = vec![(root, root.to.clone(), true)];
        while let Some((node, to, is_root)) = open.pop() {
            let kind = if is_root { None } else { node.kind };
            let met: Vec<bool> = node.below.iter().map(|b| self.meets(b, kind)).collect();
            let stops = |i: usize| {
                met[i]
                    && (self.is(Mistake::ContinueIgnored) || !node.below[i].goes_on)
                    && !self.is(Mistake::ContinueAlways)
            };
            for (i, below) in node.below.iter().enumerate() {
                if met[i] && !(0..i).any(stops) {
                    let inherits = below.to.is_empty() && !self.is(Mistake::ToNotInherited);
                    open.push((below, if inherits { to.clone() } else { below.to.clone() }, false));
                }
            }
            let also = if is_root { self.is(Mistake::DefaultAlways) } else { self.is(Mistake::AboveToldToo) };
            if !met.contains(&true) || also {
                out.extend(to);
            }
        }
        let drill = self.kind() == Some("drill");
        out.retain(|r| self.is(Mistake::DrillToAll) || NAMES[*r].starts_with("drill") == drill);
        out
    }
}

#[test]
fn ten_thousand_random_trees_tell_whom_the_model_tells() {
    let mut found = vec![0; MISTAKES.len()];
    let mut nobody = 0;
    let zone = FixedOffset::east_opt(8 * 3600).unwrap();
    let receivers = receivers(&NAMES);
    for seed in 0..TREES as u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut root = Node { to: vec![random.random_range(0..3)], ..Node::default() };
        root.below = (0..random.random_range(1..=5)).map(|_| node(&mut random, 0, None)).collect();
        let mut text = format!("to = [\"{}\"]\n", NAMES[root.to[0]]);
        write(&mut text, &root, "", None);
        let mut problems = Problems::default();
        let routes = Routes::parse(Path::new("r.toml"), &text, &receivers, &mut problems);
        let routes = routes.unwrap_or_else(|| panic!("seed {seed}:\n{problems}\n{text}"));
        for _ in 0..ALARMS {
            let (alarm, at) = random_alarm(&mut random);
            let case = |mistake| {
                let at = zone.timestamp_micros(at).unwrap();
                Case { alarm: &alarm, at, mistake }
                    .told(&root)
                    .into_iter()
                    .map(|r| NAMES[r])
                    .collect::<Vec<_>>()
            };
            let is = told(&routes, &alarm, at);
            assert_eq!(is, case(None), "seed {seed} {alarm:?} at {at}\n{text}");
            nobody += usize::from(is.is_empty());
            for (found, mistake) in found.iter_mut().zip(MISTAKES.iter().copied()) {
                *found += usize::from(is != case(Some(mistake)));
            }
        }
    }
    assert!(found.iter().all(|n| *n >= 10), "each planted mistake is found: {MISTAKES:?} {found:?}");
    assert!(nobody < TREES * ALARMS / 2, "most alarms are told to somebody, {nobody} to nobody");
}
