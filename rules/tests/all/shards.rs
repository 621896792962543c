//! A snapshot of several shards whose parts stand at different offsets: what is restored goes on at the lowest, and each shard skips
//! what it has seen.

use crate::stand::START;
use model::catalog::{Place, Point, Site};
use model::people::{Position, Positions, Presence, Snapshot};
use model::record::run_flags::{DRILL, REPLAY};
use model::status::{HISTORICAL, SIMULATED};
use model::time::SECOND;
use model::{Catalog, Offset, Origin, Problems, ReadingsBuilder, Run, Transition};
use rules::{At, Evaluator, Program, RuleFile};
use std::sync::Arc;

/// Two whole shards of 4,096 and a short one.
const POINTS: usize = 8_200;
/// Records; every fifth is a tick.
const RECORDS: u64 = 60;

const RULES: &str = r#"
[[rule]]
name = "face"
kind = "limit"
select = { quantity = "ch4" }
level = [
  { name = "alarm", on = ">= 1.0", off = "< 1.0", off_delay = "3s" },
  { name = "cut", on = ">= 1.5", off = "< 1.0", on_delay = "4s" },
]

[[rule]]
name = "rise"
kind = "rate"
select = { quantity = "ch4" }
window = "8s"
buckets = 4
blank = "2s"
level = [{ name = "warning", on = ">= 6 /min", off = "< 1 /min" }]

[[rule]]
name = "quiet"
kind = "silent"
select = { quantity = ["ch4", "people_area"] }
after = "7s"

[[rule]]
name = "quiet-together"
kind = "silent"
select = { quantity = "ch4" }
by = "label:group"
after = "5s"

[[rule]]
name = "two"
kind = "vote"
select = { quantity = "ch4" }
by = "label:group"
within = "2s"
when = { kind = "limit", level = [{ name = "alarm", on = ">= 1.0", off = "< 0.8" }] }
level = [{ need = 2, on_delay = "2s" }]

[[rule]]
name = "both"
kind = "relation"
select = { quantity = "ch4", label = { group = "1*" } }
when = { kind = "limit", level = [{ name = "alarm", on = ">= 0.8", off = "< 0.6" }] }
with = [{ by = "label:group", select = { quantity = "ch4" }, kind = "rate", window = "8s", buckets = 4, blank = "1s", level = [{ name = "rise", on = ">= 3 /min", off = "< 1 /min" }] }]

[[rule]]
name = "after"
kind = "sequence"
select = { quantity = "ch4", label = { group = "2*" } }
within = "6s"
tells = "missing"
first = { kind = "limit", level = [{ name = "alarm", on = ">= 0.5", off = "< 0.3" }] }
then = { by = "label:group", select = { quantity = "ch4" }, kind = "limit", level = [{ name = "high", on = ">= 1.9", off = "< 1.8" }] }

[[rule]]
name = "many"
kind = "people"
select = { quantity = "people_area" }
what = "capacity"
max = 1
on_delay = "3s"

[[rule]]
name = "long"
kind = "people"
select = { quantity = "people_area" }
what = "overtime"
after = "5s"

[[rule]]
name = "still"
kind = "people"
select = { quantity = "people_area" }
what = "evacuation"
rules = ["face"]
"#;

/// Anchors, in every shard, and their areas.
const ANCHORS: [(usize, &str); 4] = [(77, "A0"), (4100, "A1"), (8198, "A1"), (8199, "A2")];

/// The points of M1 are in every shard; of M2 only an anchor is not in the first one.
fn site_of(i: usize) -> &'static str {
    if i < 1000 || i == 8198 { "M2" } else { "M1" }
}

fn catalog() -> Arc<Catalog> {
    let site = |code: &str| Site { code: code.into(), kind: "mine".into(), ..Site::default() };
    let area = |i: usize| {
        let anchor = ANCHORS.iter().find(|(anchor, _)| *anchor == i);
        anchor.map_or(format!("A{}", i / 400 % 3), |(_, area)| (*area).to_owned())
    };
    let point = |i: usize| Point {
        site: site_of(i).into(),
        code: format!("P{i}"),
        quantity: if ANCHORS.iter().any(|(anchor, _)| *anchor == i) { "people_area" } else { "ch4" }.into(),
        unit: "%".into(),
        low: Some(0.0),
        high: Some(4.0),
        period: Some(SECOND),
        // Members of one group stand in different shards, and of M1 points of every shard in each area.
        labels: vec![("group".into(), (i % 2000).to_string()), ("area".into(), area(i))],
        ..Point::default()
    };
    let points = (0..POINTS).map(|i| (point(i), Place::default())).collect();
    let sites = ["M1", "M2"].map(|code| (site(code), Place::default())).into();
    let mut problems = Problems::default();
    let catalog = Catalog::build(sites, points, 1, &mut problems);
    assert!(problems.0.is_empty(), "{problems}");
    Arc::new(catalog)
}

/// Sixteen cards of two mines go round between the areas; each third record is a snapshot of one of them, complete or not.
fn people(e: &mut Evaluator, at: At, n: u64, out: &mut Vec<Transition>) {
    let site = |n: u64| ["M1", "M2"][n as usize % 2];
    let row = |i: u64| Position {
        site: site(i).into(),
        card: format!("C{i}"),
        name: String::new(),
        area: format!("A{}", (i * 7 + n / 10) % 4),
        station: String::new(),
        time: at.appended,
        presence: Presence::Below,
        entered: None,
        state: String::new(),
    };
    let is_snapshot = n % 15 == 2;
    let is_there = |i: &u64| !(i + n).is_multiple_of(3) && (!is_snapshot || site(*i) == site(n));
    let rows: Vec<Position> = (0..16).filter(is_there).map(row).collect();
    let snapshot = Snapshot { site: site(n).into(), time: at.appended, complete: n % 4 < 2, stale: false };
    let run = Run { source: "rydw".into(), received: at.appended, rows: rows.len() as u32, flags: 0 };
    e.positions(at, &run, &Positions { rows, snapshot: is_snapshot.then_some(snapshot) }, out);
}

/// Record `n`: a tick, positions of people, or a reading of most points; some points of each shard are a replay's, some a drill's, some late.
fn apply(e: &mut Evaluator, catalog: &Catalog, n: u64, out: &mut Vec<Transition>) {
    let appended = START + n as i64 * SECOND;
    let at = At {
        offset: Offset { partition: 0, number: n },
        appended,
        origin: Origin { collector: 7, sequence: n },
    };
    if n % 5 == 4 {
        return e.tick(at, out);
    }
    if n % 5 == 2 {
        return people(e, at, n, out);
    }
    let (mut rows, mut runs) = (ReadingsBuilder::default(), Vec::new());
    for (source, flags) in [("live", 0), ("again", REPLAY), ("drill", DRILL)] {
        let before = rows.len();
        for i in 0..POINTS {
            let of = match i % 11 {
                0 => "again",
                1 => "drill",
                _ => "live",
            };
            // Each point is over, rising or silent at times of its own.
            let (at, kind) = (n as i64 + (i as i64 * 7) % 40, i % 3);
            if of != source || (kind == 2 && at % 40 > 25) {
                continue;
            }
            let value = 0.2 + if at % 40 > 20 { 0.1 * (at % 40 - 20) as f64 } else { 0.0 };
            let simulated = if source == "drill" { SIMULATED } else { 0 };
            let (time, status) = if i % 13 == 0 && n % 10 == 3 {
                (appended - 500 * SECOND, HISTORICAL | simulated)
            } else {
                (appended, simulated)
            };
            rows.push(catalog.ids()[i], time, value, status);
        }
        let count = (rows.len() - before) as u32;
        runs.push(Run { source: source.into(), received: appended, rows: count, flags });
    }
    e.readings(at, &runs, &rows.finish(), out);
}

#[test]
fn shards_of_different_offsets_go_on_as_one() {
    let catalog = catalog();
    let file = RuleFile { name: "rules.toml".into(), text: RULES.into() };
    let (program, problems) = Program::compile(&[file], &catalog);
    assert_eq!(problems.errors(), 0, "{problems}");
    // A pass that begins and ends anywhere, also in the order in which no pass is taken.
    for taken in [[12, 23, 37], [12, 13, 14], [30, 18, 24], [20, 20, 41]] {
        let (mut e, mut whole) = (Evaluator::new(program.clone(), catalog.clone()), Vec::new());
        assert_eq!(e.shards(), 3);
        let mut shards = vec![Vec::new(); 3];
        for n in 0..RECORDS {
            apply(&mut e, &catalog, n, &mut whole);
            for (i, _) in taken.iter().enumerate().filter(|(_, at)| **at == n) {
                shards[i] = e.snapshot(i);
            }
        }
        let (mut restored, next) = Evaluator::restore(program.clone(), catalog.clone(), &shards).unwrap();
        assert_eq!(next, taken.iter().min().unwrap() + 1);
        let mut again = Vec::new();
        (next..RECORDS).for_each(|n| apply(&mut restored, &catalog, n, &mut again));
        let of_shard = |t: &Transition| catalog.ix(t.point_id).unwrap() as usize / 4096;
        let of_people = |t: &Transition| matches!(&*t.rule, "many" | "long" | "still");
        let of_mine = |t: &Transition| if t.site == "M1" { 2 } else { 0 };
        whole.retain(|t| t.offset.number > taken[if of_people(t) { of_mine(t) } else { of_shard(t) }]);
        // What people of M1 know of alarms is exact where their shard, the last one, is the newest: as in every pass.
        let is_pass = taken.is_sorted();
        let is_exact = |t: &Transition| is_pass || t.rule != "still" || t.site == "M2";
        whole.retain(is_exact);
        again.retain(is_exact);
        let least = [("two", 10), ("both", 10), ("after", 10), ("many", 2), ("long", 2), ("still", 2)];
        for (rule, least) in least {
            let decided = whole.iter().filter(|t| t.rule == rule).count();
            assert!(decided > least, "{rule}: {decided} transitions");
        }
        for (i, at) in taken.iter().enumerate() {
            let decided = whole.iter().filter(|t| of_shard(t) == i).count();
            assert!(decided > 10, "shard {i}, taken at {at}: {decided} transitions");
        }
        assert_eq!(again.len(), whole.len(), "{taken:?}");
        for (again, whole) in again.iter().zip(&whole) {
            assert_eq!(again, whole, "{taken:?}");
        }
    }
}
