//! The whole path in this process, generator included: batches handed over at the sink, log with fsync, four rules a point, table,
//! alarms. The embedded log and Kafka are measured by the same code.

use crate::feed::{Feed, Pace};
use crate::outside::{Metrics, Watched};
use crate::stats::{later, number, percent_a_minute, rate};
use crate::{columns, outside, proc, setup};
use anyhow::Context;
use firedamp::app::{App, ProcessRole};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a sample is taken.
const SAMPLE: Duration = Duration::from_secs(5);
/// How long what was accepted may take to be judged and stored at the end.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// One run.
pub struct Whole {
    /// Points, a thousand a site.
    pub points: usize,
    /// How long readings are handed over.
    pub seconds: f64,
    /// Readings a second; 0: as fast as they are taken.
    pub rate: f64,
    /// Further lines of `[log]`.
    pub log: String,
    /// Readings that may be accepted and not yet judged and stored; `None`: as many as the log takes.
    pub ahead: Option<u64>,
    /// Other processes on the same cores.
    pub others: Watched,
}

/// An app with its folder, and what starting it took.
pub struct Started {
    /// The app.
    pub app: App,
    /// Seconds from the files to a running pipeline, reading and compiling them included.
    pub seconds: f64,
    /// The address of its API.
    pub base: String,
}

/// Starts everything in this process.
///
/// # Errors
/// What cannot be started.
pub async fn start(
    dir: &Path,
    plan: &simulator::FloodPlan,
    log: &str,
    more: &str,
) -> anyhow::Result<Started> {
    let began = Instant::now();
    let (config, loaded) = setup::load(dir, plan, log, more)?;
    let app = App::start(config, loaded, &ProcessRole::all()).await?;
    let base = format!("http://{}", app.address.context("the API is not served")?);
    Ok(Started { app, seconds: began.elapsed().as_secs_f64(), base })
}

/// Runs it; the result without the machine.
///
/// # Errors
/// When a part cannot be started, or the end is not reached.
pub async fn run(dir: &Path, whole: Whole) -> anyhow::Result<Value> {
    let plan = setup::plan(whole.points);
    let feed = Feed::new(&plan, plan.sites());
    let before = proc::own();
    let started = start(dir, &plan, &whole.log, "").await?;
    let (app, base) = (&started.app, &started.base);
    let idle = proc::own();
    eprintln!("started after {:.1} s, {} MB resident", started.seconds, idle.resident >> 20);

    let mut pace = Pace::free(whole.rate, whole.seconds);
    let following = whole.ahead.map(|ahead| outside::follow(base.clone(), Metrics::done, ahead));
    if let Some((limit, _)) = &following {
        pace.limit = limit.clone();
    }
    let mut hands = feed.pour(&app.pipeline.edge, &pace);
    let began = Instant::now();
    let samples = sample(base, &feed, &whole.others, &idle, pace.stop_at).await?;
    while hands.join_next().await.is_some() {}
    let fed_s = began.elapsed().as_secs_f64();
    drop(following);
    let behind_us = (0..setup::PARTITIONS).map(|p| app.pipeline.lag.of(p)).max().unwrap_or(0);
    until_done(base, &feed).await?;
    app.settle().await?;
    let settled_s = began.elapsed().as_secs_f64();
    let (n, end) = (feed.accepted(), proc::own());
    let metrics = Metrics::of(base).await?;
    let balance = app.balance().await?.counts;
    let folder_bytes = |p: &str| proc::folder_bytes(&dir.join(p)) as f64 / n as f64;
    let appended = metrics.sum("firedamp_stream_appended_bytes_total", "");
    let steady = later(&samples);
    let result = json!({
        "points": whole.points, "rules_a_point": 4, "rate_asked": whole.rate, "seconds": whole.seconds,
        "start_s": started.seconds, "readings": n, "readings_per_s_accepted": n as f64 / fed_s,
        "readings_per_s_settled": n as f64 / settled_s, "readings_per_s_steady": outside::rate_done(&steady),
        "readings_per_s_judged": rate(&steady, "judged"), "readings_per_s_stored": rate(&steady, "stored"),
        "rules_behind_at_end_ms": behind_us as f64 / 1e3, "cpu_s": end.cpu_s - idle.cpu_s,
        "cpu_ns_a_reading": (end.cpu_s - idle.cpu_s) * 1e9 / n as f64, "others": whole.others.now(),
        "others_cpu_ns_a_reading": outside::cpu_ns_a_reading(&whole.others, &steady),
        "cores_used": { "own": rate(&steady, "cpu_s"),
            "strangers": outside::strangers(&["cpu_s", "broker_cpu_s"], &steady) },
        "memory": memory(&samples, whole.points, before.resident, &idle, &end),
        "log_bytes_a_reading": appended / n as f64, "log_folder_bytes_a_reading": folder_bytes("data/log"),
        "table_bytes_a_reading": folder_bytes("data/lake"),
        "log_bytes_by_column": columns::of_log(), "table_bytes_by_column": columns::of_table(&dir.join("data/lake/readings"))?,
        "log_bytes_a_commit": appended / metrics.sum("firedamp_stream_commit_seconds_count", ""),
        "alarms": app.alarms.counts().await?, "balance": balance,
        "balance_exact": outside::is_exact(&json!(balance), n), "samples": samples,
    });
    started.app.stop().await;
    Ok(result)
}

async fn sample(
    base: &str,
    feed: &Arc<Feed>,
    others: &Watched,
    idle: &proc::Usage,
    stop_at: Instant,
) -> anyhow::Result<Vec<Value>> {
    let (began, mut samples) = (Instant::now(), Vec::new());
    let machine = proc::machine_cpu_s();
    while Instant::now() < stop_at {
        tokio::time::sleep(SAMPLE.min(stop_at.saturating_duration_since(Instant::now()))).await;
        let (metrics, now) = (Metrics::of(base).await?, proc::own());
        let (tail_bytes, tail_readings) = metrics.tail();
        let mut row = json!({
            "s": began.elapsed().as_secs_f64(), "readings": feed.accepted(), "judged": metrics.judged(), "stored": metrics.stored(),
            "cpu_s": now.cpu_s - idle.cpu_s, "machine_cpu_s": proc::machine_cpu_s() - machine, "resident": now.resident, "anonymous": now.anonymous, "mapped": now.mapped,
            "tail_bytes": tail_bytes, "tail_readings": tail_readings, "page_cache": proc::page_cache(),
        });
        if let Some(row) = row.as_object_mut() {
            row.extend(others.now());
        }
        eprintln!("{row}");
        samples.push(row);
    }
    Ok(samples)
}

/// What was accepted must pass everything before it can be settled: behind a forwarder the log that is read knows nothing of it.
async fn until_done(base: &str, feed: &Feed) -> anyhow::Result<()> {
    let end = Instant::now() + DONE_WITHIN;
    while Metrics::of(base).await?.done() < feed.accepted() {
        anyhow::ensure!(
            Instant::now() < end,
            "not everything is judged and stored {DONE_WITHIN:?} after the end"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Resident memory: its slope after the second minute, whole and without the tail, and what a point takes of it.
fn memory(samples: &[Value], points: usize, before: u64, idle: &proc::Usage, end: &proc::Usage) -> Value {
    let later = later(samples);
    let slope = |f: &dyn Fn(&Value) -> f64| {
        percent_a_minute(&later.iter().map(|s| (number(s, "s"), f(s))).collect::<Vec<_>>())
    };
    let without_tail = |s: &Value| number(s, "resident") - number(s, "tail_bytes");
    let mean = |f: &dyn Fn(&Value) -> f64| later.iter().map(|s| f(s)).sum::<f64>() / later.len() as f64;
    let a_point = |bytes: f64| (bytes - before as f64) / points as f64;
    json!({
        "resident_before_start": before, "resident_idle": idle.resident, "resident_end": end.resident, "resident_peak": end.peak,
        "bytes_a_point_idle": a_point(idle.resident as f64),
        "bytes_a_point_loaded_without_tail": a_point(mean(&without_tail)),
        "slope_from_s": later.first().map_or(0.0, |s| number(s, "s")),
        "slope_percent_a_minute": slope(&|s| number(s, "resident")),
        "slope_without_tail_percent_a_minute": slope(&without_tail),
        "tail_bytes_mean": mean(&|s| number(s, "tail_bytes")),
        "page_cache_mean": mean(&|s| number(&s["page_cache"], "cached")),
    })
}
