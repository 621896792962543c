//! What a reading costs in the evaluator alone, one thread: by kind and number of points, by rules a point, by rules in all; bytes of
//! state a point, how long copying a shard stops it, and how long restoring takes. `evaluator [POINTS ROUNDS]`: the most points, and how
//! often each of them speaks. Keeps `evaluator.json`.

use anyhow::ensure;
use benches::proc::{own, thread_cpu_s};
use model::catalog::{Place, Point, Site};
use model::record::Run;
use model::time::{Micros, SECOND};
use model::{Catalog, Offset, Origin, Problems, Readings, ReadingsBuilder};
use rules::{At, Evaluator, Program, RuleFile};
use serde_json::{Value, json};
use std::sync::Arc;

/// Points of a site, and so rows of a record.
const SITE_POINTS: usize = 1_000;
const START: Micros = 1_700_000_000 * SECOND;
/// Rounds at the beginning that are not counted: windows are empty, and rules that remember nothing must be asked once.
const WARM: usize = 2;

/// A rule of each kind that judges one point, and what all points need for it.
const KINDS: [(&str, &str); 14] = [
    ("none", ""),
    (
        "limit",
        "level = [{ name = \"alarm\", on = \">= 1.0\", off = \"< 1.0\" }, { name = \"cut\", on = \">= 1.5\", off = \"< 1.0\" }]",
    ),
    (
        "rate",
        "window = \"60s\"\nbuckets = 4\nblank = \"2s\"\nlevel = [{ name = \"warning\", on = \">= 5.0 /min\", off = \"< 1.0 /min\" }]",
    ),
    ("silent", "after = \"10min\""),
    ("status", "any = [\"sensor_fault\"]"),
    ("stuck", "after = \"2h\"\nfloor = 0.2"),
    ("state", "danger = 1"),
    ("spike", "on = \">= 0.5\""),
    ("out_of_range", ""),
    ("window", "stat = \"mean\"\nwindow = \"160s\"\non = \">= 1.0\""),
    ("forecast", "window = \"160s\"\nlimit = \">= 1.0\"\nwithin = \"10min\""),
    ("noise", "window = \"4h\"\nfloor = 0.02\non = \">= 5\""),
    ("mismatch", "on = \">= 1.0\""),
    ("clock", "measure = \"offset\"\nwindow = \"1h\"\non = \">= 60\""),
];

/// The four that are measured together.
const FOUR: [&str; 4] = ["limit", "rate", "silent", "status"];

fn main() -> anyhow::Result<()> {
    let [points, rounds] = benches::arguments([("points", 1_000_000.0), ("rounds", 12.0)]);
    benches::run(async move { measure(points as usize, rounds as usize) })
}

fn measure(most: usize, rounds: usize) -> anyhow::Result<()> {
    let mut sizes = vec![most / 100, most / 10, most];
    sizes.retain(|points| *points >= SITE_POINTS);
    let (mut by_kind, mut by_rules_a_point, mut by_rules) = (Vec::new(), Vec::new(), Vec::new());
    for points in sizes {
        let catalog = catalog(points);
        let run = |name: &str, rules: String| row(name, &rules, &catalog, rounds);
        for (kind, keys) in KINDS {
            by_kind.push(run(kind, if kind == "none" { String::new() } else { rule(kind, kind, keys, "") })?);
        }
        // Where least is gained: every point is over its alarm, all the time.
        by_kind
            .push(run("limit, all on", rule("limit", "limit", &keys_of("limit").replace("1.0", "0.1"), ""))?);
        by_kind.push(run("four", FOUR.map(|kind| rule(kind, kind, keys_of(kind), "")).concat())?);
        for times in [1, 4, 16] {
            // One of the four after the other; the names differ.
            let one = |i: usize| rule(&format!("{}-{i}", FOUR[i % 4]), FOUR[i % 4], keys_of(FOUR[i % 4]), "");
            by_rules_a_point.push(run(&format!("{times} a point"), (0..times).map(one).collect())?);
        }
        for all in [10, 1_000, 100_000] {
            if all > points {
                continue;
            }
            // Each for as many points of its own: a rule costs nothing to points that it does not select.
            let each = points / all;
            let one = |i: usize| {
                rule(
                    &format!("limit-{i}"),
                    "limit",
                    keys_of("limit"),
                    &format!(", label = {{ part = \"{i}\" }}"),
                )
            };
            let parted = parted(points, each);
            let text: String = (0..all).map(one).collect();
            by_rules.push(row(&format!("{all} in all, one a point"), &text, &parted, rounds)?);
        }
    }
    let result = json!({
        "rounds": rounds, "by_kind": by_kind, "by_rules_a_point": by_rules_a_point, "by_rules_in_all": by_rules,
    });
    benches::keep("evaluator", &result)?;
    Ok(())
}

fn keys_of(kind: &str) -> &'static str {
    KINDS.iter().find(|(name, _)| *name == kind).map_or("", |(_, keys)| keys)
}

fn rule(name: &str, kind: &str, keys: &str, selects: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\nkind = \"{kind}\"\nselect = {{ quantity = \"ch4\"{selects} }}\n{keys}\n"
    )
}

fn catalog(points: usize) -> Arc<Catalog> {
    parted(points, points)
}

/// Points of sites, so many behind each other with one value of the label `part`.
fn parted(points: usize, each: usize) -> Arc<Catalog> {
    let sites = points.div_ceil(SITE_POINTS);
    let site = |s: usize| Site { code: format!("S{s}"), kind: "mine".to_owned(), ..Site::default() };
    let point = |i: usize| Point {
        site: format!("S{}", i / SITE_POINTS),
        code: format!("P{i}"),
        quantity: "ch4".to_owned(),
        unit: "%".to_owned(),
        low: Some(0.0),
        high: Some(10.0),
        period: Some(SECOND),
        labels: vec![("part".to_owned(), (i / each.max(1)).to_string())],
        ..Point::default()
    };
    let sites = (0..sites).map(|s| (site(s), Place::default())).collect();
    let points = (0..points).map(|i| (point(i), Place::default())).collect();
    Arc::new(Catalog::build(sites, points, 1, &mut Problems::default()))
}

/// A record of each site.
fn round(catalog: &Catalog, round: usize) -> Vec<(Arc<str>, Readings)> {
    let points = catalog.points().len();
    let of_site = |site: usize| {
        let mut rows = ReadingsBuilder::with_capacity(SITE_POINTS);
        for ix in site * SITE_POINTS..((site + 1) * SITE_POINTS).min(points) {
            let value = 0.3 + ((ix * 7 + round * 13) % 100) as f64 * 0.001;
            rows.push(catalog.ids()[ix], START + round as Micros * SECOND, value, 0);
        }
        (format!("S{site}").into(), rows.finish())
    };
    (0..points.div_ceil(SITE_POINTS)).map(of_site).collect()
}

/// Nanoseconds a reading, state, and snapshots of some rules at these points.
fn row(name: &str, rules: &str, catalog: &Arc<Catalog>, rounds: usize) -> anyhow::Result<Value> {
    let points = catalog.points().len();
    let file = RuleFile { name: "rules.toml".to_owned(), text: rules.to_owned() };
    let began = thread_cpu_s();
    let (program, problems) = Program::compile(&[file], catalog);
    let compile = thread_cpu_s() - began;
    ensure!(problems.errors() == 0, "{problems}");
    let before = own().resident;
    let mut evaluator = Evaluator::new(program.clone(), catalog.clone());
    let (mut spent, mut readings, mut out, mut number) = (0.0, 0usize, Vec::new(), 0);
    for n in 0..rounds {
        let records = round(catalog, n);
        let appended = START + n as Micros * SECOND;
        let began = thread_cpu_s();
        for (site, rows) in &records {
            let run = Run { source: site.clone(), received: appended, rows: rows.len() as u32, flags: 0 };
            let offset = Offset { partition: 0, number };
            evaluator.readings(
                At { offset, appended, origin: Origin { collector: 1, sequence: number } },
                &[run],
                rows,
                &mut out,
            );
            number += 1;
        }
        if n >= WARM {
            spent += thread_cpu_s() - began;
            readings += points;
        }
    }
    let state = own().resident.saturating_sub(before) as f64 / points as f64;
    let began = thread_cpu_s();
    let shards: Vec<Vec<u8>> = (0..evaluator.shards()).map(|shard| evaluator.snapshot(shard)).collect();
    let snapshot = thread_cpu_s() - began;
    let began = thread_cpu_s();
    ensure!(Evaluator::restore(program, catalog.clone(), &shards).is_ok(), "{name}: not restored");
    let restore = thread_cpu_s() - began;
    let rounded = |v: f64| (v * 100.0).round() / 100.0;
    let result = json!({
        "rules": name, "points": points, "ns_a_reading": rounded(spent * 1e9 / readings as f64),
        "readings_per_s": (readings as f64 / spent).round(), "state_bytes_a_point": state.round(),
        "snapshot_bytes_a_point": (shards.iter().map(Vec::len).sum::<usize>() as f64 / points as f64).round(),
        "compile_ms": rounded(compile * 1e3), "snapshot_ms": rounded(snapshot * 1e3),
        "shard_ms": rounded(snapshot * 1e3 / shards.len() as f64), "restore_ms": rounded(restore * 1e3),
    });
    eprintln!("{result}");
    Ok(result)
}
