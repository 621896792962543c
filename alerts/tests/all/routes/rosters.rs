//! Rosters: who is on duty, who stands in, what is told in a hole, and that it is found before.

use super::{alarm, catalog, local, noon, receivers, told};
use alerts::Routes;
use alerts::route::{check, route_files};
use model::Problems;
use std::path::PathBuf;
use tempfile::TempDir;

const ROUTES: &str = r#"
to = "duty"

[[roster]]
name = "duty"
file = "duty.csv"
away = "away.csv"
fallback = "county"
"#;
const DUTY: &str = "from,to,person,receiver,stand_in
2026-12-01 08:00,2026-12-01 20:00,Wang,wang,li
2026-12-01T20:00:00+08:00,2026-12-02T00:00:00Z,Li,li,
2026-12-02 10:00,2026-12-15 12:00,Wang,wang,li
2026-12-02 18:00,2026-12-02 20:00,Zhao,zhao,chief
";
const AWAY: &str =
    "person,from,to\nWang,2026-12-03 00:00,2026-12-05 00:00\nLi,2026-12-04 00:00,2026-12-05 00:00\n";

fn write(duty: &str, away: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("routes.toml");
    for (name, text) in [("routes.toml", ROUTES), ("duty.csv", duty), ("away.csv", away)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    (dir, file)
}

fn read(duty: &str, away: &str) -> (Option<Routes>, String) {
    let (_dir, file) = write(duty, away);
    let mut problems = Problems::default();
    let routes = Routes::read(&file, &receivers(&["county", "wang", "li", "zhao", "chief"]), &mut problems);
    (routes, problems.to_string())
}

#[test]
fn who_is_on_duty_is_told_and_in_a_hole_the_fallback() {
    let (routes, problems) = read(DUTY, AWAY);
    let routes = routes.unwrap_or_else(|| panic!("{problems}"));
    assert_eq!(problems, "");
    let at = |text: &str| told(&routes, &alarm(), local(text));
    for (time, expected) in [
        ("2026-12-01 07:59", vec!["county"]),
        ("2026-12-01 08:00", vec!["wang"]),
        ("2026-12-01 20:00", vec!["li"]),
        ("2026-12-02 07:59", vec!["li"]),
        ("2026-12-02 08:00", vec!["county"]),
        ("2026-12-02 10:00", vec!["wang"]),
        ("2026-12-02 18:00", vec!["wang", "zhao"]),
        ("2026-12-02 20:00", vec!["wang"]),
        ("2026-12-02 23:59", vec!["wang"]),
        ("2026-12-03 00:00", vec!["li"]),
        // The stand-in is away too.
        ("2026-12-04 00:00", vec!["county"]),
        ("2026-12-05 00:00", vec!["wang"]),
        ("2026-12-15 12:00", vec!["county"]),
    ] {
        assert_eq!(at(time), expected, "{time}");
    }
    let holes = |text: &str| routes.choose(&alarm(), local(text)).holes.len();
    assert_eq!((holes("2026-12-02 09:00"), holes("2026-12-03 12:00")), (1, 0));
    let why = |text: &str| routes.explain(&alarm(), local(text)).told[0].why.clone();
    let (duty, standing_in, hole) =
        (why("2026-12-01 09:00"), why("2026-12-03 09:00"), why("2026-12-02 09:00"));
    assert!(duty.contains("roster duty: Wang is on duty (") && duty.contains("duty.csv:2)"), "{duty}");
    assert!(standing_in.contains("roster duty: the stand-in of Wang is on duty ("), "{standing_in}");
    assert!(hole.contains("roster duty: nobody is on duty, its fallback"), "{hole}");
}

#[test]
fn a_hole_is_found_before_it_comes() {
    let (routes, _) = read(DUTY, AWAY);
    let found = check(&routes.unwrap(), &catalog(), local("2026-12-02 12:00"));
    let holes = found.holes.to_string();
    let expected = "roster `duty` has nobody on duty from 2026-12-04 00:00 to 2026-12-05 00:00, 2026-12-15 12:00 to 2026-12-16 12:00";
    assert!(holes.contains(expected), "{holes}");
    assert!(
        holes.contains("routes.toml:4:1: warning: ") && holes.contains("`county` is told then"),
        "{holes}"
    );
    assert_eq!(found.holes.0.len(), 1, "a roster counts as its fallback: {holes}");
    let whole = "from,to,person,receiver\n2026-12-01 08:00,2027-01-01 20:00,Wang,wang\n";
    let (routes, _) = read(whole, "person,from,to\n");
    let found = check(&routes.unwrap(), &catalog(), local("2026-12-02 12:00"));
    assert!(found.holes.0.is_empty(), "{}", found.holes);
}

/// Of the fallback's own trouble those on duty are told, and of theirs the fallback: unless they are one receiver.
#[test]
fn the_trouble_of_a_fallback_is_told_to_who_is_on_duty() {
    let found = |receiver: &str| {
        let duty = format!("from,to,person,receiver\n2026-12-01 08:00,2027-01-01 20:00,Wang,{receiver}\n");
        let (routes, problems) = read(&duty, "person,from,to\n");
        let found = check(&routes.unwrap_or_else(|| panic!("{problems}")), &catalog(), noon());
        found.holes.0.into_iter().map(|p| p.message).collect::<Vec<_>>()
    };
    assert_eq!(found("wang"), [] as [&str; 0]);
    let alone = "nobody else is told when receiver `county` takes no message or not all of them";
    assert_eq!(found("county"), [alone]);
}

#[test]
fn mistakes_in_a_roster_are_named_at_their_line_and_column() {
    let duty = "from,to,person,receiver,stand_in
2026-12-01 08:00,2026-12-01 08:00,Wang,wang,
tomorrow,2026-12-02 08:00,Li,li,
2026-12-01 08:00,2026-12-02 08:00,,lii,
2026-12-01 08:00,2026-12-02 08:00,Wang,wang,chieff
";
    let (routes, problems) = read(duty, "person,from,until\n");
    assert!(routes.is_none());
    for expected in [
        "duty.csv:2:18: error: `2026-12-01 08:00` is not after `2026-12-01 08:00`",
        "duty.csv:3:1: error: time `tomorrow` is neither RFC 3339 nor local",
        "duty.csv:4:35: error: person is empty",
        "duty.csv:4:36: error: there is no receiver `lii`",
        "did you mean `li`?",
        "duty.csv:5:45: error: there is no receiver `chieff`",
        "away.csv:1:1: error: the header must start with `person,from,to`",
    ] {
        assert!(problems.contains(expected), "missing: {expected}\nin:\n{problems}");
    }
    let (routes, problems) = read(DUTY, "person,from,to\nWagn,2026-12-01 08:00,2026-12-02 08:00\n");
    assert!(
        routes.is_some() && problems.contains("away.csv:2:1: warning: `Wagn` has no shift"),
        "{problems}"
    );
    assert!(problems.contains("did you mean `Wang`?"), "{problems}");
}

#[test]
fn a_reload_looks_at_the_rosters_too() {
    let (dir, file) = write(DUTY, AWAY);
    let names = ["routes.toml", "duty.csv", "away.csv"].map(|name| dir.path().join(name));
    assert_eq!(route_files(&file), names);
    std::fs::write(&file, "[[").unwrap();
    assert_eq!(route_files(&file), std::slice::from_ref(&file), "of a broken file no rosters are known");
    assert!(!PathBuf::from("none.toml").exists() && route_files(&PathBuf::from("none.toml")).len() == 1);
}
