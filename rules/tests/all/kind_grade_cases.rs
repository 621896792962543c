//! `grade` case by case: the rows of table 1.7, what its levels are called, where its rows count, what a new version does.

use crate::agree::*;
use crate::stand::*;
use model::status::*;
use model::time::SECOND;
use model::{Severity, To, Transition};
use rules::{Evaluator, Program, RuleFile};
use std::collections::BTreeMap;

pub fn rule(keys: &str) -> String {
    format!("[[rule]]\nname = \"g\"\nkind = \"grade\"\nselect = {{ quantity = \"ch4\" }}\n{keys}\n")
}

/// The worst colour of the levels that are on.
#[derive(Default)]
pub struct Shown(BTreeMap<String, Severity>);

impl Shown {
    pub fn take(&mut self, out: &[Transition]) -> Option<Severity> {
        for t in out {
            match t.to {
                To::On => self.0.insert(t.level.clone(), t.severity),
                _ => self.0.remove(&t.level),
            };
        }
        self.0.values().min().copied()
    }
}

/// Table 1.7, row by row: quantity, unit and place class of the point, its name; a value; for how long; the colour then.
const TABLE_1_7: &str = "\
# CO: 100 to 300 ppm for less than 20 min yellow, from 300 for less than 20 min orange, from 500 red.
co,ppm,; belt way | 99.9 | 2h | -
co,ppm,; belt way | 100 | 0s | yellow
co,ppm,; belt way | 299.9 | 1190s | yellow
co,ppm,; belt way | 300 | 0s | orange
co,ppm,; belt way | 499.9 | 1190s | orange
co,ppm,; belt way | 500 | 0s | red
# What lasts longer is no milder.
co,ppm,; belt way | 100 | 20min | yellow
co,ppm,; belt way | 300 | 20min | orange
co,ppm,; belt way | 500 | 2h | red
# A sensor in %.
co,%,; belt way | 0.00999 | 0s | -
co,%,; belt way | 0.01 | 0s | yellow
co,%,; belt way | 0.05 | 0s | red
# Methane: 1.0 to 1.5 % for less than 5 min blue, for 5 to 10 min yellow.
ch4,%,T1; 1301 face | 0.99 | 2h | -
ch4,%,T1; 1301 face | 1.0 | 0s | blue
ch4,%,T1; 1301 face | 1.49 | 290s | blue
ch4,%,T1; 1301 face | 1.0 | 5min | yellow
ch4,%,T1; 1301 face | 1.49 | 590s | yellow
# Beyond the last row: longer, and higher.
ch4,%,T1; 1301 face | 1.0 | 2h | yellow
ch4,%,T1; 1301 face | 1.5 | 0s | blue
ch4,%,T1; 1301 face | 1.5 | 5min | yellow
# A keyword of the place: red at any over-limit.
ch4,%,; 1301 回风巷 | 0.99 | 2h | -
ch4,%,; 1301 回风巷 | 1.0 | 0s | red
ch4,%,; 1301 进风巷 | 0.49 | 2h | -
ch4,%,; 1301 进风巷 | 0.5 | 0s | red
ch4,%,T2; 1301 | 0.99 | 2h | -
ch4,%,T2; 1301 | 1.0 | 0s | red
ch4,%,T5; 1301 | 1.0 | 0s | red
ch4,%,T6; 1301 | 1.0 | 0s | red
ch4,%,T8; 1301 | 1.0 | 0s | red
ch4,%,return-middle; 1301 | 1.0 | 0s | red
ch4,%,T3; 1301 | 0.49 | 2h | -
ch4,%,T3; 1301 | 0.5 | 0s | red
ch4,%,T4; 1301 | 0.5 | 0s | red
ch4,%,T0; 1301 回风隅角 | 1.0 | 0s | blue
# No data, for longer than.
ch4,%,T1; 1301 face | silent | 60min | -
ch4,%,T1; 1301 face | silent | 3601s | blue
ch4,%,T1; 1301 face | silent | 120min | blue
ch4,%,T1; 1301 face | silent | 7201s | yellow
co,ppm,; belt way | silent | 180min | yellow
co,ppm,; belt way | silent | 10801s | orange
";

#[test]
fn table_1_7() {
    let (_, text) = rules::packs().iter().find(|(name, _)| *name == "regulator").unwrap();
    let pack = RuleFile { name: "pack:regulator".into(), text: (*text).into() };
    for row in TABLE_1_7.lines().filter(|row| !row.starts_with('#')) {
        let [point, value, long, colour] = row.split(" | ").collect::<Vec<_>>()[..] else { panic!("{row}") };
        let (quantity, name) = point.split_once("; ").unwrap();
        let [quantity, unit, place] = quantity.split(',').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let catalog =
            catalog_of("operating", &format!("M1,T1,{name},{quantity},{unit},0,1000,{place},10s\n"));
        let (program, problems) = Program::compile(std::slice::from_ref(&pack), &catalog);
        assert_eq!(problems.to_string(), "");
        let long = model::time::parse_duration(long).unwrap() / SECOND;
        let mut events = vec![at(-10., 0., 0)];
        match value.parse() {
            Ok(value) => events.extend((0..=long / 10).map(|i| at(i as f64 * 10., value, 0))),
            Err(_) => events.push(tick((long - 10) as f64)),
        }
        let out = judge_by(Evaluator::new(program, catalog), &events);
        let shown = Shown::default().take(&out).map_or("-", Severity::as_str);
        assert_eq!(shown, colour, "{row}: {out:?}");
    }
}

const MATRIX: &str = "row = [\n\
    { on = \">= 1.0\", severity = \"blue\" },\n\
    { on = \">= 1.0\", after = \"5s\", severity = \"yellow\" },\n\
    { on = \">= 1.0\", after = \"10s\", severity = \"orange\" },\n\
    { on = \">= 1.5\", severity = \"yellow\" },\n\
    { on = \">= 1.5\", after = \"5s\", severity = \"orange\" },\n\
    { on = \">= 2.0\", severity = \"orange\" },\n\
    { on = \">= 2.0\", after = \"5s\", severity = \"red\" },\n]";

#[track_caller]
fn check(keys: &str, events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(&rule(keys), events)), expected);
}

fn steady(from: i64, to: i64, value: f64) -> impl Iterator<Item = Event> {
    (from..to).map(move |s| at(s as f64, value, 0))
}

/// Up and down within one episode: at any time some level is on, and the next one up or down follows the value.
#[test]
fn the_colour_goes_up_and_down_within_one_episode() {
    let events: Vec<Event> = steady(0, 7, 1.2)
        .chain(steady(7, 9, 2.0))
        .chain(steady(9, 14, 1.2))
        .chain([at(14., 0.9, 0)])
        .collect();
    check(
        MATRIX,
        &events,
        &[
            "blue on 0",
            "yellow-2 on 5",
            // 2.0: over 1.5 at once, over 2.0 at once.
            "yellow on 7",
            "orange on 7",
            // Back in the lowest band, where it has been since the start: five seconds yellow, after ten orange.
            "yellow off 9",
            "orange off 9",
            "orange-3 on 10",
            "blue off 14",
            "yellow-2 off 14",
            "orange-3 off 14",
        ],
    );
    // Ranks rise with the colour: what is shown of an alarm is its worst.
    let out = judge(&rule(MATRIX), &events);
    let mut ranks: Vec<(u32, Severity)> = out.iter().map(|t| (t.rank, t.severity)).collect();
    ranks.sort_unstable();
    assert!(ranks.windows(2).all(|w| w[0].1 >= w[1].1), "{ranks:?}");
    assert_eq!(out[1].reason, "1.2 >= 1 % for 5s");
    assert_eq!(out[4].reason, "1.2 < 1.5 %");
}

#[test]
fn a_colour_has_a_level_for_each_of_its_durations() {
    let (program, problems) = program(&rule(MATRIX));
    assert_eq!(problems.to_string(), "");
    let rules = program.at_point(catalog().find("M1", "T1").unwrap());
    let levels: Vec<String> = rules[0]
        .levels
        .iter()
        .map(|l| format!("{} {} {} after {}s", l.level, l.severity, l.limit, l.on_delay / SECOND))
        .collect();
    assert_eq!(
        levels,
        [
            "blue blue on >= 1 off < 1 after 0s",
            "yellow-2 yellow on >= 1 off < 1 after 5s",
            "yellow yellow on >= 1.5 off < 1.5 after 0s",
            "orange-3 orange on >= 1 off < 1 after 10s",
            "orange-2 orange on >= 1.5 off < 1.5 after 5s",
            "orange orange on >= 2 off < 2 after 0s",
            "red red on >= 2 off < 2 after 5s",
            "reported blue  after 0s",
        ]
    );
}

/// A slow or fast device clock shortens no duration, and a tick serves it while the last reading is fresh.
#[test]
fn durations_are_counted_as_delays() {
    let keys = "row = [{ on = \">= 1.0\", after = \"3s\", severity = \"yellow\" }]";
    check(keys, &[at(0., 1.0, 0), at(2.9, 1.0, 0)], &[]);
    check(keys, &[at(0., 1.0, 0), at(1., 9.0, SENSOR_FAULT), at(3., 1.0, 0)], &["yellow on 3"]);
    check(keys, &[at(0., 1.0, 0), tick(3.0)], &["yellow on 3"]);
    check(keys, &[at(0., 1.0, 0), tick(3.1)], &[]);
    let skewed = |appended: f64, event: f64| {
        let t = |s: f64| START + (s * 1e6) as i64;
        Event::Rows(t(appended), 0, vec![("T1", t(event), 1.2, 0)])
    };
    let mut slow: Vec<Event> = (0..6).map(|i| skewed(f64::from(i), f64::from(i) / 2.0)).collect();
    check(keys, &slow, &[]);
    slow.push(skewed(6., 3.));
    check(keys, &slow, &["yellow on 3"]);
}

#[test]
fn a_colour_ends_by_its_release_at_what_may_clear() {
    let keys = "dead_band = 0.1\noff_delay = \"2s\"\nrow = [\n{ on = \">= 1.0\", severity = \"yellow\" },\n{ on = \">= 1.5\", severity = \"red\" }]";
    let on = [at(0., 1.5, 0)];
    let then = |more: &[Event]| turns(&judge(&rule(keys), &[&on[..], more].concat()));
    let both = ["yellow on 0", "red on 0"];
    // At 1.4 the red one is between off and on.
    assert_eq!(then(&[at(1., 1.4, 0), at(9., 1.4, 0)]), both);
    assert_eq!(then(&[at(1., 1.39, 0), at(2.9, 1.39, 0), tick(9.)]), both);
    assert_eq!(then(&[at(1., 1.39, 0), at(3., 1.39, 0)]), [both[0], both[1], "red off 3"]);
    for status in [SENSOR_FAULT, NOT_INSPECTED, MISSING, CALIBRATION, OVER_RANGE, STALE] {
        assert_eq!(then(&[at(1., 0.1, status), at(4., 0.1, status)]), both, "{status}");
    }
    let all = ["yellow on 0", "red on 0", "yellow off 5", "red off 5"];
    assert_eq!(then(&[at(1., 0.1, SENSOR_FAULT), at(3., 0.1, 0), at(5., 0.1, 0)]), all);
    let falls = "dead_band = 0.1\nrow = [{ on = \"<= 1.0\", severity = \"red\" }]";
    check(falls, &[at(0., 1.0, 0), at(1., 1.1, 0), at(2., 1.11, 0)], &["red on 0", "red off 2"]);
}

#[test]
fn every_quality_is_what_it_is_for_a_limit() {
    let keys = "row = [{ on = \">= 1.0\", severity = \"blue\" }, { on = \">= 1.0\", after = \"2s\", severity = \"red\" }]";
    check(keys, &[at(0., f64::NAN, OVER_RANGE | MISSING)], &["blue on 0"]);
    check(
        keys,
        &[at(0., 1.2, CALIBRATION), at(2., 1.2, 0)],
        &["blue on 0 calibrating", "blue on 2", "red on 2"],
    );
    check(keys, &[at(0., 1.2, SIMULATED), at(2., 1.2, 0)], &["blue on 0 simulated", "blue on 2"]);
    check(keys, &[at(0., 1.2, SENSOR_FAULT), at(1., 1.2, MISSING)], &[]);
    check(
        keys,
        &[at(0., 0., PAUSED | CUT), at(1., 0., 0)],
        &["reported on 0 unconfirmed", "reported off 1 unconfirmed"],
    );
    let future = Event::Rows(START, 0, vec![("T1", START + 86_400 * SECOND, 1.2, FUTURE)]);
    check(keys, &[future], &["blue on 0"]);
    // Late readings serve a duration by their event times alone, in an episode of its own.
    let late = |s: i64| Event::Rows(START + 500 * SECOND, 0, vec![("T1", START + s * SECOND, 1.2, 0)]);
    check(keys, &[late(0), late(1), late(2)], &["blue on 0 late", "red on 2 late"]);
    // Out of order: at once where nothing must last.
    let old = Event::Rows(START + 5 * SECOND, 0, vec![("T1", START, 1.2, 0)]);
    check(keys, &[at(5., 0.3, 0), old], &["blue on 0"]);
}

/// Where a row counts: class, prefix or a part of the name; what it is written as, class and name of the point.
#[test]
fn a_row_counts_at_its_place() {
    let cases = [
        ("", "T1", "face", true),
        ("place = \"T1\", ", "T1", "face", true),
        ("place = \"T1\", ", "T2", "T1 face", false),
        ("place = \"T*\", ", "T7", "face", true),
        ("place = [\"T2\", \"T3\"], ", "T3", "face", true),
        ("place = \"\", ", "", "face", true),
        ("place = \"\", ", "T1", "face", false),
        ("keyword = \"回风\", ", "", "1301回风巷T2", true),
        ("keyword = \"回风\", ", "回风", "1301", false),
        ("keyword = [\"进风\", \"回风\"], ", "T0", "1301回风隅角", true),
        ("keyword = \"Return\", ", "", "return way", false),
        // Either will do.
        ("place = \"T2\", keyword = \"回风\", ", "T2", "1301", true),
        ("place = \"T2\", keyword = \"回风\", ", "T5", "回风", true),
        ("place = \"T2\", keyword = \"回风\", ", "T5", "1301", false),
    ];
    for (written, place, name, counts) in cases {
        let catalog = catalog_of("operating", &format!("M1,T1,{name},ch4,%,0,4,{place},1s\n"));
        let text = rule(&format!("row = [\n{{ on = \">= 0.5\", {written}severity = \"red\" }}]"));
        let (program, problems) = program_for(&text, &catalog);
        let told = problems.to_string();
        let expected = "rules.toml:1:1: warning: rule `g`: row 1 is for none of the points it selects";
        assert_eq!((problems.errors(), told.contains(expected)), (0, !counts), "{written}: {told}");
        let judged = program.at_point(0)[0].levels[0].judged;
        let out = judge_by(Evaluator::new(program, catalog), &[at(0., 0.5, 0)]);
        assert_eq!((judged, out.len()), (counts, usize::from(counts)), "{written} at {place} {name}");
    }
}

/// The widest of the rows of one colour and duration counts where several are at home.
#[test]
fn rows_of_one_colour_are_one_level() {
    let keys = "row = [\n{ on = \"> 0.5\", place = \"T1\", severity = \"red\" },\n{ on = \">= 0.5\", keyword = \"face\", severity = \"red\" },\n\
                { on = \">= 1.0\", severity = \"red\" }]";
    let (program, problems) = program(&rule(keys));
    assert_eq!(problems.to_string(), "");
    let limits = |point| program.at_point(catalog().find("M1", point).unwrap())[0].levels[0].limit.clone();
    assert_eq!(
        (limits("T1"), limits("T2")),
        ("on >= 0.5 off < 0.5".to_owned(), "on >= 1 off < 1".to_owned())
    );
    check(
        keys,
        &[at(0., 0.5, 0), at(1., 1.0, 0), at(2., 0.5, 0), at(3., 0.49, 0)],
        &["red on 0", "red off 3"],
    );
}

/// Limits and the dead band are in the rule's unit.
#[test]
fn limits_are_converted() {
    let catalog = catalog_of("operating", "M1,T1,x,temperature,K,0,1000,,1s\n");
    let keys = "unit = \"°C\"\ndead_band = 10\nrow = [{ on = \">= 100\", severity = \"red\" }]";
    let (program, _) = program_for(&rule(keys).replace("ch4", "temperature"), &catalog);
    assert_eq!(program.at_point(0)[0].levels[0].limit, "on >= 373.15 off < 363.15");
}

/// A new version: what a level is called says which episode it goes on with.
#[test]
fn an_episode_goes_on_where_its_rows_are_tuned() {
    let old = rule("row = [{ on = \">= 1.0\", after = \"5s\", severity = \"yellow\" }]");
    let on: Vec<Event> = steady(0, 6, 1.2).collect();
    let changed = |keys: &str, after: &[Event]| shown(&judge_changed(&old, &on, 6., &rule(keys), after));
    let longer = "row = [{ on = \">= 1.1\", after = \"8s\", severity = \"yellow\" }]";
    assert_eq!(changed(longer, &[at(7., 1.2, 0), at(8., 1.0, 0)]), ["yellow on 5", "yellow off 8"]);
    let worse = "row = [{ on = \">= 1.0\", after = \"5s\", severity = \"orange\" }]";
    assert_eq!(changed(worse, &[at(7., 1.2, 0)]), ["yellow on 5", "yellow withdrawn 6"]);
    // The row is not for this place any more.
    let moved = "row = [{ on = \">= 1.0\", after = \"5s\", place = \"T2\", severity = \"yellow\" }]";
    assert_eq!(changed(moved, &[]), ["yellow on 5", "yellow withdrawn 6"]);
}

/// A row that counts at once is held against the law as a limit is; one that must last stands for none.
#[test]
fn what_must_last_is_no_legal_limit() {
    let told = |keys: &str| {
        let catalog = catalog_of("operating", "M1,T1,face,ch4,%,0,4,T1,1s\n");
        program_for(&rule(keys), &catalog).0.check_coverage(&catalog).to_string()
    };
    let at_once = "{ on = \">= 1.0\", severity = \"blue\" }";
    let lasting = "{ on = \">= 1.0\", after = \"5min\", severity = \"yellow\" }";
    assert_eq!(told(&format!("row = [{at_once}, {lasting}]")), "");
    assert!(told(&format!("row = [{lasting}]")).contains("no limit rule covers it"));
    assert!(told("row = [{ on = \">= 1.2\", severity = \"blue\" }]").contains("is on >= 1.2, the law at 1"));
}
