//! The whole path on one machine, generator included: batches handed over at the sink, embedded log with fsync, four rules a point,
//! Delta table, alarms. `path POINTS SECONDS [RATE]`; without a rate as fast as it goes. Keeps raw numbers in `benches/results/path.json`.

use anyhow::Context;
use firedamp::app::{App, ProcessRole};
use firedamp::config::{Config, Loaded};
use ingest::{Delivery, Sink, SourceInfo};
use model::{Clock, ReadingsBuilder, SystemClock};
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Points of one site, and so of one delivery.
const SITE_POINTS: usize = 1_000;
/// Deliveries a generator has under way.
const WINDOW: usize = 16;

const RULES: &str = r#"
[[rule]]
name = "limit"
kind = "limit"
select = { quantity = "ch4" }
level = [{ name = "alarm", on = ">= 1.0", off = "< 1.0" }, { name = "cut", on = ">= 1.5", off = "< 1.0" }]

[[rule]]
name = "rate"
kind = "rate"
select = { quantity = "ch4" }
window = "60s"
buckets = 4
level = [{ name = "warning", on = ">= 5.0 /min", off = "< 1.0 /min" }]

[[rule]]
name = "silent"
kind = "silent"
select = { quantity = "ch4" }
after = "10min"

[[rule]]
name = "status"
kind = "status"
select = { quantity = "ch4" }
any = ["sensor_fault"]
"#;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number =
        |i: usize, default: f64| arguments.get(i).and_then(|a| a.parse::<f64>().ok()).unwrap_or(default);
    let (points, seconds, rate) = (number(1, 100_000.0) as usize, number(2, 30.0), number(3, 0.0));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(points.div_ceil(SITE_POINTS), seconds, rate))
}

async fn run(sites: usize, seconds: f64, rate: f64) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (config, loaded) = prepare(dir.path(), sites)?;
    let began = Instant::now();
    let app = App::start(config, loaded, &ProcessRole::all()).await?;
    let start_s = began.elapsed().as_secs_f64();
    let (cpu_before, idle_bytes) = benches::usage();
    let (accepted, stop_at) =
        (Arc::new(AtomicU64::new(0)), Instant::now() + Duration::from_secs_f64(seconds));
    let mut generators = tokio::task::JoinSet::new();
    for g in 0..2 {
        let mine: Vec<usize> = (0..sites).filter(|s| s % 2 == g).collect();
        generators.spawn(generate(app.pipeline.edge.clone(), mine, accepted.clone(), stop_at, rate / 2.0));
    }
    let mut samples = Vec::new();
    let began = Instant::now();
    while Instant::now() < stop_at {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (cpu, bytes) = benches::usage();
        let row = json!({ "s": began.elapsed().as_secs_f64(), "readings": accepted.load(Ordering::Relaxed), "cpu_s": cpu - cpu_before, "resident": bytes });
        eprintln!("{row}");
        samples.push(row);
    }
    while generators.join_next().await.is_some() {}
    let fed_s = began.elapsed().as_secs_f64();
    let lag_us = (0..8).map(|p| app.pipeline.lag.of(p)).max().unwrap_or(0);
    app.settle().await?;
    let settled_s = began.elapsed().as_secs_f64();
    let (cpu, resident) = benches::usage();
    let n = accepted.load(Ordering::Relaxed);
    let counts = app.alarms.counts().await?;
    let balance = app.balance().await?.counts;
    let size = |p: &str| du(&dir.path().join(p)) as f64;
    let (log_bytes, table_bytes) = (size("data/log"), size("data/lake"));
    let result = json!({
        "machine": benches::machine(), "points": sites * SITE_POINTS, "rules_a_point": 4, "rate_asked": rate, "seconds": seconds,
        "start_s": start_s, "idle_resident": idle_bytes, "readings": n, "readings_per_s_accepted": n as f64 / fed_s,
        "readings_per_s_settled": n as f64 / settled_s, "rules_behind_at_end_ms": lag_us as f64 / 1e3,
        "cpu_s": cpu - cpu_before, "cpu_ns_a_reading": (cpu - cpu_before) * 1e9 / n as f64, "resident_end": resident,
        "log_bytes_a_reading": log_bytes / n as f64, "table_bytes_a_reading": table_bytes / n as f64,
        "alarms": counts, "balance": balance, "balanced": balance.is_balanced(), "samples": samples,
    });
    benches::keep("path", &result)?;
    app.stop().await;
    Ok(())
}

fn prepare(dir: &std::path::Path, sites: usize) -> anyhow::Result<(Config, Loaded)> {
    let mut site_rows = String::from("site,name,kind,region\n");
    let mut point_rows = String::from("site,point,name,quantity,unit,low,high,place,period\n");
    for s in 0..sites {
        writeln!(site_rows, "S{s:05},site,plant,140100")?;
        for p in 0..SITE_POINTS {
            writeln!(point_rows, "S{s:05},P{p:04},,ch4,%,0,4,T1,1s")?;
        }
    }
    let config = "[log]\npartitions = 8\nretain = { size = \"40GiB\" }\n[catalog]\nsites = \"sites.csv\"\npoints = [\"points.csv\"]\n\
                  [rules]\npaths = [\"rules.toml\"]\n[storage]\nflush = \"20s\"\n[server]\nlisten = \"127.0.0.1:0\"\n";
    for (name, text) in [
        ("sites.csv", site_rows.as_str()),
        ("points.csv", &point_rows),
        ("rules.toml", RULES),
        ("firedamp.toml", config),
    ] {
        std::fs::write(dir.join(name), text)?;
    }
    let (config, problems) = Config::read(&dir.join("firedamp.toml"));
    let config = config.with_context(|| problems.to_string())?;
    let (loaded, problems) = Loaded::read(&config);
    Ok((config, loaded.with_context(|| problems.to_string())?))
}

/// Hands over whole sites, one reading a point, in the same order again and again.
async fn generate(
    edge: Arc<firedamp::edge::Edge>,
    sites: Vec<usize>,
    accepted: Arc<AtomicU64>,
    stop_at: Instant,
    rate: f64,
) {
    let info: Vec<SourceInfo> =
        sites.iter().map(|s| SourceInfo { name: format!("s{s}").into(), flags: 0 }).collect();
    let ids: Vec<Vec<model::PointId>> = sites
        .iter()
        .map(|s| {
            (0..SITE_POINTS).map(|p| model::PointId::of(&format!("S{s:05}"), &format!("P{p:04}"))).collect()
        })
        .collect();
    let began = Instant::now();
    let (mut sent, mut round) = (0u64, 0u64);
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        for (i, info) in info.iter().enumerate() {
            if Instant::now() >= stop_at {
                while under_way.join_next().await.is_some() {}
                return;
            }
            if rate > 0.0 {
                let due = began + Duration::from_secs_f64(sent as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
            }
            let now = SystemClock.now();
            let mut b = ReadingsBuilder::with_capacity(SITE_POINTS);
            for (p, id) in ids[i].iter().enumerate() {
                // Methane-like: a base of its own, slow waves; one point in ten thousand goes over now and then.
                let value = 0.3 + ((p as u64 * 7 + round * 3) % 41) as f64 / 100.0;
                let over = (p + i * SITE_POINTS).is_multiple_of(10_000) && round % 20 == 7;
                b.push(*id, now, if over { 1.2 } else { value }, 0);
            }
            let delivery = Delivery { received: now, readings: b.finish(), ..Delivery::default() };
            let (edge, info, accepted) = (edge.clone(), info.clone(), accepted.clone());
            under_way.spawn(async move {
                let n = delivery.readings.len() as u64;
                while edge.accept(&info, delivery.clone()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                accepted.fetch_add(n, Ordering::Relaxed);
            });
            sent += SITE_POINTS as u64;
            if under_way.len() >= WINDOW {
                under_way.join_next().await;
            }
        }
        round += 1;
    }
}

fn du(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|e| match e.metadata() {
            Ok(m) if m.is_dir() => du(&e.path()),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}
