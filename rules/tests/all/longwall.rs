//! Real readings of a longwall, where the shared folder is: the counts its README gives.

use crate::stand::*;
use model::To;
use model::record::run_flags::REPLAY;
use model::time::SECOND;
use std::path::PathBuf;

fn file() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("FIREDAMP_SHARED").map_or(beside, PathBuf::from);
    Some(shared.join("data/methane-longwall.csv")).filter(|f| f.exists())
}

#[test]
fn mm116_opens_140_alarms_and_10_cuts() {
    let Some(file) = file() else {
        eprintln!("SKIPPED: the longwall data are not here (set FIREDAMP_SHARED)");
        return;
    };
    let rules = "[[rule]]\nname = \"ch4\"\nkind = \"limit\"\nselect = { quantity = \"ch4\" }\nlevel = [\n\
                 { name = \"alarm\", on = \">= 1.0\", off = \"< 1.0\" },\n{ name = \"cut\", on = \">= 1.5\", off = \"< 1.0\" },\n]\n";
    let text = std::fs::read_to_string(file).unwrap();
    let number = |line: &str, column: usize| line.split(',').nth(column).unwrap().parse::<f64>().unwrap();
    let row = |(n, line): (usize, &str)| {
        let t = START + n as i64 * 30 * SECOND;
        // T1 is MM116, T2 is MM31.
        Event::Rows(t, REPLAY, vec![("T1", t, number(line, 1), 0), ("T2", t, number(line, 0), 0)])
    };
    let events: Vec<Event> = text.lines().skip(1).enumerate().map(row).collect();
    assert_eq!(events.len(), 13_368);
    let out = judge(rules, &events);
    assert!(out.iter().all(|t| t.point == "T1"), "MM31 never reaches 1.0");
    let counts = [("alarm", To::On, 140), ("alarm", To::Off, 139), ("cut", To::On, 10), ("cut", To::Off, 10)];
    for (level, to, expected) in counts {
        assert_eq!(count(&out, level, to), expected, "{level} {to:?}");
    }
}

#[test]
fn the_rules_of_the_report_fit_its_points() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/longwall");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut problems = model::Problems::default();
    let sites = model::catalog::sites_from_csv("sites.csv", &read("sites.csv"), &mut problems);
    let points = model::catalog::points_from_csv("points.csv", &read("points.csv"), &mut problems);
    let catalog = model::Catalog::build(sites, points, 1, &mut problems);
    assert_eq!(problems.to_string(), "");
    for name in ["rates.toml", "forecasts.toml", "simple.toml"] {
        let (program, problems) = program_for(&read(name), &catalog);
        assert_eq!(problems.errors(), 0, "{name}: {problems}");
        assert!(!program.rules().is_empty() && program.rules().iter().all(|r| r.points > 0), "{name}");
    }
}
