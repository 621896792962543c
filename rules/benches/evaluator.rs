//! What a reading costs, by kind and by number of points: nanoseconds a reading, bytes of state a point, how long copying a shard stops
//! the evaluator, and how long restoring takes. `cargo bench -p rules -- POINTS ROUNDS`; prints a line of JSON a row, asserts nothing.

use model::catalog::{Place, Point, Site};
use model::record::Run;
use model::{Catalog, Offset, Origin, Problems, Readings, ReadingsBuilder};
use rules::{At, Evaluator, Program, RuleFile};
use std::sync::Arc;

/// Points of a site, and so rows of a record.
const SITE_POINTS: usize = 1_000;
const SECOND: i64 = 1_000_000;
const START: i64 = 1_700_000_000 * SECOND;

const LIMIT: &str = "[[rule]]\nname = \"limit\"\nkind = \"limit\"\nselect = { quantity = \"ch4\" }\nlevel = [\
    { name = \"alarm\", on = \">= 1.0\", off = \"< 1.0\" }, { name = \"cut\", on = \">= 1.5\", off = \"< 1.0\" }]\n";
const RATE: &str = "[[rule]]\nname = \"rate\"\nkind = \"rate\"\nselect = { quantity = \"ch4\" }\nwindow = \"60s\"\nbuckets = 4\n\
    blank = \"2s\"\nlevel = [{ name = \"warning\", on = \">= 5.0 /min\", off = \"< 1.0 /min\" }]\n";
const SILENT: &str =
    "[[rule]]\nname = \"silent\"\nkind = \"silent\"\nselect = { quantity = \"ch4\" }\nafter = \"10min\"\n";
const STATUS: &str = "[[rule]]\nname = \"status\"\nkind = \"status\"\nselect = { quantity = \"ch4\" }\nany = [\"sensor_fault\"]\n";

fn catalog(points: usize) -> Arc<Catalog> {
    let mut problems = Problems::default();
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
        ..Point::default()
    };
    let sites = (0..sites).map(|s| (site(s), Place::default())).collect();
    let points = (0..points).map(|i| (point(i), Place::default())).collect();
    Arc::new(Catalog::build(sites, points, 1, &mut problems))
}

/// A record of each site.
fn round(catalog: &Catalog, round: i64) -> Vec<(String, Readings)> {
    let points = catalog.points().len();
    (0..points.div_ceil(SITE_POINTS))
        .map(|site| {
            let mut b = ReadingsBuilder::default();
            for ix in site * SITE_POINTS..((site + 1) * SITE_POINTS).min(points) {
                let value = 0.3 + ((ix as i64 * 7 + round * 13) % 100) as f64 * 0.001;
                b.push(catalog.ids()[ix], START + round * SECOND, value, 0);
            }
            (format!("S{site}"), b.finish())
        })
        .collect()
}

struct Bench {
    catalog: Arc<Catalog>,
    evaluator: Evaluator,
    number: u64,
}

impl Bench {
    /// Nanoseconds a reading over rounds after the first two.
    fn run(&mut self, rounds: i64) -> f64 {
        let (mut spent, mut readings, mut out) = (0u64, 0usize, Vec::new());
        for n in 0..rounds {
            let records = round(&self.catalog, n);
            let appended = START + n * SECOND;
            let began = cpu_ns();
            for (site, rows) in &records {
                let run = Run {
                    source: site.as_str().into(),
                    received: appended,
                    rows: rows.len() as u32,
                    flags: 0,
                };
                let offset = Offset { partition: 0, number: self.number };
                let at = At { offset, appended, origin: Origin { collector: 1, sequence: self.number } };
                self.evaluator.readings(at, &[run], rows, &mut out);
                self.number += 1;
            }
            if n >= 2 {
                spent += cpu_ns() - began;
                readings += self.catalog.points().len();
            }
        }
        spent as f64 / readings as f64
    }

    /// Milliseconds to copy a shard in the mean (the clock is too coarse for one), to copy all, and to restore; and the bytes.
    fn snapshot(&self, program: &Arc<Program>) -> (f64, f64, f64, usize) {
        let began = cpu_ns();
        let shards: Vec<Vec<u8>> =
            (0..self.evaluator.shards()).map(|shard| self.evaluator.snapshot(shard)).collect();
        let all = ms_since(began);
        let bytes = shards.iter().map(Vec::len).sum();
        let began = cpu_ns();
        let restored = Evaluator::restore(program.clone(), self.catalog.clone(), &shards);
        assert!(restored.is_ok());
        (all / shards.len() as f64, all, ms_since(began), bytes)
    }
}

/// Processor time of this thread, so that neighbours on the machine do not count; wall time is no smaller.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn ms_since(began: u64) -> f64 {
    (cpu_ns() - began) as f64 / 1e6
}

/// Resident memory of this process, bytes; 0 where the system does not say.
fn resident() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok()).unwrap_or_default() * 4096
}

fn main() {
    let arguments: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let points = arguments.first().copied().unwrap_or(100_000);
    let rounds = arguments.get(1).copied().unwrap_or(12) as i64;
    let catalog = catalog(points);
    let all = [LIMIT, RATE, SILENT, STATUS].concat();
    // Where it gains least: every point is over its alarm, all the time.
    let on = LIMIT.replace("1.0", "0.1");
    let rows = [
        ("none", ""),
        ("limit", LIMIT),
        ("limit, all on", &on),
        ("rate", RATE),
        ("silent", SILENT),
        ("status", STATUS),
        ("four", &all),
    ];
    for (name, text) in rows {
        let file = RuleFile { name: "rules.toml".to_owned(), text: text.to_owned() };
        let (program, problems) = Program::compile(&[file], &catalog);
        assert_eq!(problems.errors(), 0, "{problems}");
        let before = resident();
        let evaluator = Evaluator::new(program.clone(), catalog.clone());
        let mut bench = Bench { catalog: catalog.clone(), evaluator, number: 0 };
        let ns = bench.run(rounds);
        let state = (resident() - before) as f64 / points as f64;
        let (shard, snapshot, restore, bytes) = bench.snapshot(&program);
        println!(
            "{{\"rules\":\"{name}\",\"points\":{points},\"ns_a_reading\":{ns:.1},\"state_bytes_a_point\":{state:.0},\
             \"shard_ms\":{shard:.2},\"snapshot_ms\":{snapshot:.0},\"restore_ms\":{restore:.0},\
             \"snapshot_bytes_a_point\":{:.0}}}",
            bytes as f64 / points as f64
        );
    }
}
