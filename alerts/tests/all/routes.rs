//! Routes: against a naive model, each key at its border, every mistake at its place, rosters, and what is told along the life of an alarm.

use crate::bureau::receiver;
use alerts::life::{Step, step};
use alerts::route::check;
use alerts::{Receiver, Routes, conformance};
use model::time::{parse, parse_local};
use model::{Alarm, Catalog, Micros, Place, Problems, Severity, To};
use std::path::Path;

mod flood;
mod life;
mod naive;
mod press;
mod rosters;

const EAST: i32 = 8 * 3600;

/// Receivers of these names, those that begin with `drill` for drills.
fn receivers(names: &[&str]) -> Vec<Receiver> {
    let of = |name: &&str| Receiver {
        drill: name.starts_with("drill"),
        checkpoints: *name == "keeper",
        flood: if *name == "person" { 10 } else { 0 },
        ..receiver(name, "http://127.0.0.1:1/")
    };
    names.iter().map(of).collect()
}

/// Routes of a text, and everything that is said of it.
fn read(text: &str, names: &[&str]) -> (Option<Routes>, String) {
    let mut problems = Problems::default();
    let routes = Routes::parse(Path::new("routes.toml"), text, &receivers(names), &mut problems);
    (routes, problems.to_string())
}

fn routes(text: &str, names: &[&str]) -> Routes {
    let (routes, problems) = read(text, names);
    routes.unwrap_or_else(|| panic!("{problems}"))
}

/// A methane alarm of a point of site 140581000001 at its face.
fn alarm() -> Alarm {
    let Step::Event(changed) = step(None, &conformance::transition(1, "alarm", To::On, 1.1)) else {
        unreachable!()
    };
    let place = Place {
        region: "140581".to_owned(),
        quantity: "ch4".to_owned(),
        class: "T1".to_owned(),
        site_state: "operating".to_owned(),
        ..Place::default()
    };
    Alarm { site: "140581000001".to_owned(), place, rule: "ch4-face".to_owned(), ..changed.row.alarm }
}

fn local(text: &str) -> Micros {
    parse_local(text, EAST).unwrap()
}

/// A Tuesday.
fn noon() -> Micros {
    local("2026-12-01 12:00")
}

/// Names of those who are told.
fn told(routes: &Routes, alarm: &Alarm, at: Micros) -> Vec<String> {
    let choice = routes.choose(alarm, at);
    let chosen: Vec<String> = choice.receivers.iter().map(|r| routes.receivers()[*r].name.clone()).collect();
    let explained: Vec<String> = routes.explain(alarm, at).told.into_iter().map(|t| t.receiver).collect();
    assert_eq!(chosen, explained, "what is explained is what is done");
    chosen
}

#[test]
fn each_key_at_its_border() {
    let by = |edit: fn(&mut Alarm)| {
        let mut alarm = alarm();
        edit(&mut alarm);
        alarm
    };
    let same = || by(|_| {});
    let at = noon();
    let cases = [
        ("region = \"14\"", same(), at, true),
        ("region = \"1405\"", same(), at, true),
        ("region = \"140581\"", same(), at, true),
        ("region = [\"62\", \"1406\"]", same(), at, false),
        ("region = \"14\"", by(|a| a.place.region = String::new()), at, false),
        ("site = \"140581000001\"", same(), at, true),
        ("site = \"140581\"", same(), at, false),
        ("site = \"140581*\"", same(), at, true),
        ("level = \"alarm\"", same(), at, true),
        ("level = \"alar\"", same(), at, false),
        ("severity = \"yellow\"", same(), at, true),
        ("severity = [\"red\", \"orange\"]", same(), at, false),
        ("severity = \"at least yellow\"", same(), at, true),
        ("severity = \"at least orange\"", same(), at, false),
        ("severity = \"at least yellow\"", by(|a| a.severity = Severity::Blue), at, false),
        ("severity = \"at least yellow\"", by(|a| a.severity = Severity::Red), at, true),
        ("quantity = [\"co\", \"ch*\"]", same(), at, true),
        ("quantity = \"co\"", same(), at, false),
        ("place = \"T1\"", same(), at, true),
        ("place = \"T0\"", same(), at, false),
        ("rule = \"ch4*\"", same(), at, true),
        ("rule = \"ch4\"", same(), at, false),
        ("state = \"operating\"", same(), at, true),
        ("state = [\"idle\", \"maintenance\"]", same(), at, false),
        ("time = \"12:00-13:00\"", same(), at, true),
        ("time = \"11:00-12:00\"", same(), at, false),
        ("time = \"11:00-12:00\"", same(), at - 1, true),
        ("time = \"20:00-08:00\"", same(), local("2026-12-01 20:00") - 1, false),
        ("time = \"20:00-08:00\"", same(), local("2026-12-01 20:00"), true),
        ("time = \"20:00-08:00\"", same(), local("2026-12-02 00:00"), true),
        ("time = \"20:00-08:00\"", same(), local("2026-12-02 08:00"), false),
        ("time = \"20:00-24:00\"", same(), local("2026-12-02 00:00"), false),
        ("time = [\"06:00-07:00\", \"12:00-12:01\"]", same(), at, true),
        ("weekdays = \"tue\"", same(), at, true),
        ("weekdays = \"tue\"", same(), local("2026-12-01 00:00") - 1, false),
        ("weekdays = \"tue\"", same(), local("2026-12-02 00:00") - 1, true),
        ("weekdays = \"wed-mon\"", same(), at, false),
        ("weekdays = \"tue\"\ntime = \"20:00-08:00\"", same(), local("2026-12-02 03:00"), true),
        ("weekdays = \"wed\"\ntime = \"20:00-08:00\"", same(), local("2026-12-02 03:00"), false),
        ("own = true", same(), at, false),
        ("own = true", by(|a| a.site = "firedamp".to_owned()), at, true),
        ("", by(|a| a.site = "firedamp".to_owned()), at, false),
        ("drill = true", same(), at, false),
        ("", by(|a| a.marks.simulated = true), at, false),
        // All keys must hold.
        ("region = \"14\"\nquantity = \"co\"", same(), at, false),
        ("", same(), at, true),
    ];
    for (keys, alarm, at, expected) in cases {
        let routes = routes(
            &format!("to = [\"rest\"]\n[[route]]\nname = \"r\"\nto = \"a\"\n{keys}\n"),
            &["a", "rest"],
        );
        let a = told(&routes, &alarm, at).contains(&"a".to_owned());
        assert_eq!(a, expected, "{keys} at {at}: {:#?}", routes.explain(&alarm, at));
    }
}

#[test]
fn another_zone_has_other_days() {
    let text = "zone = \"-03:30\"\nto = \"rest\"\n[[route]]\nname = \"r\"\nto = \"a\"\ntime = \"08:00-20:00\"\nweekdays = \"tue\"\n";
    let routes = routes(text, &["a", "rest"]);
    let at = |text| told(&routes, &alarm(), parse(text).unwrap());
    assert_eq!(at("2026-12-01T11:29:59.999Z"), ["rest"]);
    assert_eq!(at("2026-12-01T11:30:00Z"), ["a"]);
    assert_eq!(at("2026-12-01T23:30:00Z"), ["rest"]);
}

const TREE: &str = r#"
to = ["province"]

[[route]]
name = "exercise"
drill = true
to = "drill"

[[route]]
name = "own"
own = true
to = ["it", "county"]

[[route]]
name = "log"
region = "14"
continue = true
to = "archive"

[[route]]
name = "county"
region = "1405"
to = "county"

  [[route.route]]
  name = "worst"
  severity = "red"
  to = ["county", "province"]

  [[route.route]]
  name = "night"
  time = "20:00-08:00"

    [[route.route.route]]
    name = "co"
    quantity = "co"
    to = "it"
"#;
const NAMES: [&str; 5] = ["county", "province", "it", "archive", "drill"];

#[test]
fn a_tree_is_asked_from_the_top_and_says_why() {
    let routes = routes(TREE, &NAMES);
    let alarm = alarm();
    assert_eq!(told(&routes, &alarm, noon()), ["county", "archive"]);
    let red = Alarm { severity: Severity::Red, ..alarm.clone() };
    assert_eq!(told(&routes, &red, noon()), ["county", "province", "archive"]);
    let mut co = alarm.clone();
    co.place.quantity = "co".to_owned();
    assert_eq!(told(&routes, &co, noon()), ["county", "archive"]);
    let night = local("2026-12-02 03:00");
    assert_eq!(told(&routes, &co, night), ["it", "archive"]);
    assert_eq!(told(&routes, &alarm, night), ["county", "archive"], "without `to` that of the route above");
    let mut far = alarm.clone();
    far.place.region = "620100".to_owned();
    assert_eq!(told(&routes, &far, noon()), ["province"], "what no route takes");
    let mut drill = far.clone();
    drill.marks.simulated = true;
    assert_eq!(told(&routes, &drill, noon()), ["drill"]);
    let why = routes.explain(&red, night);
    let by = |name: &str| why.told.iter().find(|t| t.receiver == name).unwrap();
    assert_eq!(
        (by("county").route.as_str(), by("county").place.as_str()),
        ("county > worst", "routes.toml:25")
    );
    assert_eq!(by("county").why, "severity red");
    let passed: Vec<String> = why.passed.iter().map(|p| format!("{}: {}", p.route, p.why)).collect();
    assert_eq!(
        passed,
        [
            "exercise: it is for drills",
            "own: it is for firedamp's own alarms",
            "county > night: not asked: `county > worst` (routes.toml:25) took it before",
        ]
    );
    let late = routes.explain(&alarm, noon());
    assert!(late.passed.iter().any(|p| p.why == "it is tue 12:00, wanted time 20:00-08:00"), "{late:#?}");
    assert!(late.passed.iter().any(|p| p.why == "severity is yellow, wanted red"), "{late:#?}");
}

#[test]
fn an_alarm_about_a_receiver_goes_to_others_and_a_drill_to_nobody_else() {
    let routes = routes(TREE, &NAMES);
    let mut own = Alarm { site: "firedamp".to_owned(), rule: "firedamp/receiver-down".to_owned(), ..alarm() };
    own.point = "it".to_owned();
    assert_eq!(told(&routes, &own, noon()), ["county"]);
    assert!(routes.explain(&own, noon()).passed.iter().any(|p| p.receiver.as_deref() == Some("it")));
    own.point = "other".to_owned();
    assert_eq!(told(&routes, &own, noon()), ["county", "it"]);
    let routes = self::routes("to = [\"county\", \"drill\"]\n", &["county", "drill"]);
    let mut drill = alarm();
    assert_eq!(told(&routes, &drill, noon()), ["county"]);
    drill.marks.simulated = true;
    assert_eq!(told(&routes, &drill, noon()), ["drill"]);
}

#[test]
fn every_mistake_is_named_where_it_stands() {
    let text = r#"zone = "Asia/Shanghai"
to = ["provincee"]

[[route]]
name = "a"
region = "140"
time = "8-20"
weekdays = "monday"
severity = ["oragne", "at least bleu"]
state = "idel"
site = []
to = "count"

[[route]]
name = "a"
qantity = "ch4"
to = []

[[route]]
to = ["county", "duty"]
own = true
drill = true

  [[route.route]]
  name = "below"
  own = "yes"

[[roster]]
name = "county"
file = "none.csv"
fallback = "nobody"

[[rout]]
"#;
    let (routes, problems) = read(text, &["county", "province"]);
    assert!(routes.is_none());
    for expected in [
        "routes.toml:1:8: error: `zone` is `Asia/Shanghai`, which is no offset from UTC",
        "routes.toml:2:7: error: there is no receiver or roster `provincee`",
        "did you mean `province`?",
        "routes.toml:6:10: error: `140` is no region",
        "routes.toml:7:8: error: `8-20` is no window of the day",
        "routes.toml:8:12: error: `monday` is no weekday",
        "routes.toml:9:13: error: `oragne` is no severity",
        "did you mean `orange`? Or as",
        "routes.toml:9:23: error: `at least bleu` is no severity",
        "routes.toml:10:9: error: `idel` is no state of a site",
        "did you mean `idle`?",
        "routes.toml:11:8: error: `site` is an empty list",
        "routes.toml:12:6: error: there is no receiver or roster `count`",
        "routes.toml:15:8: error: two routes beside each other are named `a`",
        "routes.toml:16:1: error: unknown key `route.qantity`",
        "did you mean `quantity`?",
        "routes.toml:17:6: error: `to` names nobody",
        "routes.toml:19:1: error: `route.name` is missing",
        "routes.toml:20:17: error: there is no receiver or roster `duty`",
        "routes.toml:21:7: error: no alarm is one of firedamp's own alarms and of others too",
        "routes.toml:26:9: error: `route.route.own` is a string",
        "routes.toml:29:8: error: another roster or a receiver is named `county` too",
        "routes.toml:31:12: error: there is no receiver `nobody`",
        "routes.toml:33:3: error: unknown key `rout`",
    ] {
        assert!(problems.contains(expected), "missing: {expected}\nin:\n{problems}");
    }
    let (routes, problems) = read("[[route]]\nname = \"a\"\nregion = \"14\"\n", &["county"]);
    assert!(
        routes.is_none() && problems.contains("routes.toml:1:1: error: `route.to` is missing"),
        "{problems}"
    );
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let text = r#"to = "county"
[[route]]
name = "night"
time = "20:00-08:00"
to = "county"
[[route]]
name = "late night"
time = "22:00-06:00"
weekdays = "sat"
region = "14"
to = "it"
[[route]]
name = "all"
to = "county"
[[route]]
name = "behind"
severity = "red"
to = "it"
[[route]]
name = "own"
own = true
to = "it"
"#;
    let (routes, problems) = read(text, &["county", "it", "lost", "drill", "keeper"]);
    assert!(routes.is_some(), "{problems}");
    for expected in [
        "routes.toml:6:1: warning: route `late night` is never reached",
        "`night` (routes.toml:2) takes all that it would",
        "routes.toml:15:1: warning: route `behind` is never reached",
        "no route names receiver `lost`: it is never told",
        "no route with `drill = true` names receiver `drill`: it is never told",
    ] {
        assert!(problems.contains(expected), "missing: {expected}\nin:\n{problems}");
    }
    assert_eq!(problems.matches(": warning: ").count(), 4, "{problems}");
}

/// Two counties with two mines each, and points of two quantities.
fn catalog() -> Catalog {
    let mut problems = Problems::default();
    let sites = "site,name,kind,region,state\nA1,A1,mine,140581,operating\nA2,A2,mine,140581,idle\nB1,B1,mine,620100,operating\nB2,B2,mine,620100,\n";
    let points = "site,point,name,quantity,unit,low,high,place\nA1,T1,f,ch4,%,0,4,T1\nA2,T1,f,ch4,%,0,4,T1\nB1,T1,f,ch4,%,0,4,T1\nB1,C1,f,co,ppm,0,500,\n";
    let sites = model::catalog::sites_from_csv("sites.csv", sites, &mut problems);
    let points = model::catalog::points_from_csv("points.csv", points, &mut problems);
    let catalog = Catalog::build(sites, points, 1, &mut problems);
    assert!(problems.0.is_empty(), "{problems}");
    catalog
}

fn found(text: &str, names: &[&str]) -> (Vec<String>, Vec<String>) {
    let found = check(&routes(text, names), &catalog(), noon());
    let lines = |p: Problems| p.0.into_iter().map(|p| p.message).collect();
    (lines(found.holes), lines(found.hints))
}

#[test]
fn holes_are_found_and_grouped() {
    let (holes, hints) = found("to = [\"county\", \"it\"]\n", &["county", "it"]);
    assert_eq!((holes.len(), hints.len()), (0, 0), "{holes:?} {hints:?}");
    let text = r#"
[[route]]
name = "a"
region = "14"
time = "08:00-20:00"
weekdays = "mon-fri"
to = "county"
[[route]]
name = "a worst"
region = "14"
severity = "at least orange"
to = "county"
[[route]]
name = "b"
region = "62"
quantity = "ch4"
to = "county"
[[route]]
name = "far"
region = "11"
to = "it"
[[route]]
name = "own"
own = true
rule = "firedamp/*"
to = "county"
"#;
    let (holes, hints) = found(text, &["county", "it"]);
    assert_eq!(
        holes,
        [
            "nobody is told of yellow and blue alarms of sites A1, A2, mon-fri 00:00-08:00 and 20:00-24:00; sat-sun",
            "nobody is told of alarms of site B2, at any time",
            "nobody is told of alarms of site B1, at any time, of quantity none, co",
            "nobody else is told when receiver `county` takes no message or not all of them",
        ]
    );
    assert_eq!(hints, ["no alarm goes through route `far`"]);
}

#[test]
fn holes_of_rules_drills_own_alarms_and_of_the_receivers_own_keys() {
    let rules = "[[route]]\nname = \"r\"\nrule = [\"ch4*\", \"co\"]\nto = \"county\"\n[[route]]\nname = \"o\"\nown = true\nto = \"county\"\n";
    let (holes, _) = found(rules, &["county"]);
    assert_eq!(
        holes,
        [
            "nobody is told of alarms of any of the 4 sites, at any time, for example of a rule that no route names and a level that no route names"
        ]
    );
    let (holes, _) = found("[[route]]\nname = \"r\"\nto = \"county\"\n", &["county", "drill"]);
    assert_eq!(
        holes,
        [
            "nobody is told of firedamp's own alarms, at any time",
            "nobody is told of drills of any of the 4 sites, at any time"
        ]
    );
    let mut flat = receivers(&["county", "office"]);
    (flat[0].regions, flat[0].own) = (vec!["14".to_owned()], false);
    flat[1].severity = Severity::Orange;
    let found = check(&Routes::of_receivers(flat), &catalog(), noon());
    let lines: Vec<String> = found.holes.0.into_iter().map(|p| p.message).collect();
    assert_eq!(
        lines,
        [
            "nobody is told of yellow and blue alarms of sites B1, B2, at any time",
            "nobody is told of yellow and blue firedamp's own alarms, at any time",
            "nobody else is told when receiver `office` takes no message or not all of them",
        ]
    );
    assert!(found.hints.0.is_empty());
}

/// Each of the alarms about a receiver must reach another one, a dead letter too.
#[test]
fn a_receiver_whose_dead_letters_nobody_else_hears_of_is_found() {
    let own = |letters: &str| {
        let text = format!(
            "to = \"county\"\n[[route]]\nname = \"letters\"\nown = true\nrule = \"firedamp/dead-letter\"\nto = {letters}\n\
             [[route]]\nname = \"own\"\nown = true\nto = [\"it\", \"county\"]\n"
        );
        found(&text, &["county", "it"]).0
    };
    assert_eq!(own("[\"it\", \"county\"]"), [] as [&str; 0]);
    assert_eq!(own("\"it\""), ["nobody else is told when receiver `it` takes no message or not all of them"]);
}

#[test]
fn every_key_that_is_read_is_in_the_reference() {
    let wrong = [
        "zzzzzzzz = 1\nto = \"county\"\n",
        "[[route]]\nname = \"a\"\nto = \"county\"\nzzzzzzzz = 1\n",
        "to = \"county\"\n[[escalate]]\nafter = \"5min\"\nto = \"county\"\nzzzzzzzz = 1\n",
        "[[roster]]\nname = \"a\"\nfile = \"none.csv\"\nfallback = \"county\"\nzzzzzzzz = 1\n",
    ];
    for (text, (title, keys)) in wrong.into_iter().zip(alerts::route::route_keys()) {
        let problems = read(text, &["county"]).1;
        let known = problems.split("known here: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        let mut documented: Vec<&str> = keys.iter().map(|k| k.key).collect();
        if title.starts_with("top") {
            documented.extend(["route", "roster"]);
        }
        documented.sort_unstable();
        assert_eq!(known, documented.join(", "), "{title}");
    }
}
