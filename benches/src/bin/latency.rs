//! From device read to delivered webhook: probe points go over the limit at known times while batches are handed over at the sink at
//! 10, 50 and 80 % of the capacity that is measured first; the receiver is in this process. Then 50 % again with other lingers.
//! `latency [POINTS SECONDS PROBES]`: seconds of each step, probes a second. Keeps `latency.json`.

use ::tests::webhook::Webhook;
use benches::feed::{self, Feed, Pace};
use benches::outside::{self, Metrics};
use benches::whole::{self, Started};
use benches::{proc, setup, stats};
use firedamp::runners::Lag;
use ingest::{Sink, SourceInfo};
use model::{Clock, PointId, ReadingsBuilder, SystemClock};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use simulator::FloodPlan;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Lingers in the order measured, the default first: the capacity is measured with it.
const LINGERS: [&str; 3] = ["5ms", "0ms", "10ms"];
/// Shares of the capacity with the default linger.
const SHARES: [f64; 3] = [0.1, 0.5, 0.8];
/// Share for the other lingers.
const OTHER_SHARE: f64 = 0.5;
/// How long the capacity is measured, after so long to warm up: over whole cycles of commits to the table, which take their share.
const CAPACITY: (f64, f64) = (60.0, 20.0);
/// Readings that may be accepted meanwhile and not yet judged and stored.
const AHEAD: u64 = 2_000_000;
/// How long the load runs before the first probe.
const WARM: Duration = Duration::from_secs(5);
/// How long the last probes may take.
const ARRIVE_WITHIN: Duration = Duration::from_secs(10);

/// What a run is made of.
struct Bench {
    plan: FloodPlan,
    /// Sites of the load; those behind are the probes'.
    load_sites: usize,
    seconds: f64,
    probes_per_s: f64,
}

fn main() -> anyhow::Result<()> {
    let [points, seconds, probes_per_s] =
        benches::arguments([("points", 1_040_000.0), ("seconds", 40.0), ("probes", 100.0)]);
    let load_sites = (points as usize).div_ceil(setup::SITE_POINTS);
    // A probe point goes over once.
    let probes = (seconds * probes_per_s * 1.3) as usize;
    let plan = setup::plan((load_sites + probes.div_ceil(setup::SITE_POINTS)) * setup::SITE_POINTS);
    benches::run(run(Bench { plan, load_sites, seconds, probes_per_s }))
}

async fn run(bench: Bench) -> anyhow::Result<()> {
    let fresh = Fresh::start(&bench, LINGERS[0]).await?;
    let (capacity, capacity_cores) = measure_capacity(&fresh.started, &fresh.feed).await?;
    fresh.stop().await?;
    let steps_asked = SHARES.map(|share| (LINGERS[0], share)).into_iter();
    let steps_asked = steps_asked.chain(LINGERS[1..].iter().map(|linger| (*linger, OTHER_SHARE)));
    let (mut steps, mut samples) = (Vec::new(), Vec::new());
    for (linger, share) in steps_asked {
        let fresh = Fresh::start(&bench, linger).await?;
        let mut step = step(&bench, &fresh, share * capacity).await?;
        (step["linger"], step["share_of_capacity"]) = (json!(linger), json!(share));
        samples.extend(step.as_object_mut().and_then(|s| s.remove("samples")));
        eprintln!("linger {linger}, {:.0} %: {}", share * 100.0, step["delivered_ms"]);
        steps.push(step);
        fresh.stop().await?;
    }
    let result = json!({
        "points": bench.load_sites * setup::SITE_POINTS, "rules_a_point": 4, "seconds_a_step": bench.seconds,
        "probes_per_s": bench.probes_per_s, "capacity_readings_per_s": capacity, "capacity_cores_used": capacity_cores,
        "steps": steps, "samples": samples,
    });
    benches::keep("latency", &result)?;
    Ok(())
}

/// An app of its own for each step, in a folder of its own: no step inherits the table, the tail or the memory of the one before.
struct Fresh {
    started: Started,
    feed: Arc<Feed>,
    webhook: Webhook,
    _dir: tempfile::TempDir,
}

impl Fresh {
    async fn start(bench: &Bench, linger: &str) -> anyhow::Result<Self> {
        let (webhook, dir) = (Webhook::start().await, tempfile::tempdir()?);
        let log = format!("linger = \"{linger}\"");
        let started = whole::start(dir.path(), &bench.plan, &log, &setup::receiver(&webhook.url)).await?;
        eprintln!("linger {linger}: started after {:.1} s", started.seconds);
        Ok(Self { started, feed: Feed::new(&bench.plan, bench.load_sites), webhook, _dir: dir })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.started.app.settle().await?;
        self.started.app.stop().await;
        Ok(())
    }
}

/// Readings a second that are judged and stored when handed over as fast as that goes, and the cores it takes.
async fn measure_capacity(started: &Started, feed: &Arc<Feed>) -> anyhow::Result<(f64, f64)> {
    // The log alone takes more, and the table would fall behind.
    let (limit, _following) = outside::follow(started.base.clone(), Metrics::done, AHEAD);
    let pace = Pace { limit, ..Pace::free(0.0, CAPACITY.0 + CAPACITY.1) };
    let mut hands = feed.pour(&started.app.pipeline.edge, &pace);
    tokio::time::sleep(Duration::from_secs_f64(CAPACITY.1)).await;
    let done = async || anyhow::Ok(Metrics::of(&started.base).await?.done());
    let (began, before, cpu) = (Instant::now(), done().await?, proc::own().cpu_s);
    let machine = proc::machine_cpu_s();
    while hands.join_next().await.is_some() {}
    let took = began.elapsed().as_secs_f64();
    let (capacity, cores) = ((done().await? - before) as f64 / took, (proc::own().cpu_s - cpu) / took);
    let strangers = (proc::machine_cpu_s() - machine) / took - cores;
    eprintln!("capacity: {capacity:.0} readings/s on {cores:.2} cores, strangers use {strangers:.2}");
    started.app.settle().await?;
    Ok((capacity, cores))
}

/// Where a stall is, second by second: how far the rules were behind the log at most, and how much longer than asked a task slept, which
/// is how long no thread was free for it. One that neither shows is behind the rules.
async fn watch(lag: Lag, seconds: f64) -> Value {
    const ASKED: Duration = Duration::from_millis(10);
    let (mut rules, mut threads) = (vec![0; seconds.ceil() as usize], vec![0; seconds.ceil() as usize]);
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        tokio::time::sleep(ASKED).await;
        let second = began.elapsed().as_secs() as usize;
        let Some(behind) = rules.get_mut(second) else { break };
        let now_behind = (0..setup::PARTITIONS).map(|p| lag.of(p)).max().unwrap_or_default() / 1000;
        *behind = now_behind.max(*behind);
        let late = &mut threads[second];
        *late = (*late).max(asked.elapsed().saturating_sub(ASKED).as_millis() as u64);
    }
    json!({ "rules": rules, "threads": threads })
}

/// One load, probed.
async fn step(bench: &Bench, fresh: &Fresh, rate: f64) -> anyhow::Result<Value> {
    let Fresh { started, feed, webhook, .. } = fresh;
    let edge = &started.app.pipeline.edge;
    let (before, cpu) = (feed.accepted(), proc::own().cpu_s);
    let machine = proc::machine_cpu_s();
    let pace = Pace::free(rate.max(1.0), bench.seconds + WARM.as_secs_f64());
    let (mut hands, began) = (feed.pour(edge, &pace), Instant::now());
    tokio::time::sleep(WARM).await;
    let watch = tokio::spawn(watch(started.app.pipeline.lag.clone(), bench.seconds));
    let sent = Probes::new(bench).send(edge, bench.probes_per_s, pace.stop_at).await;
    while hands.join_next().await.is_some() {}
    let (accepted, took) = (feed.accepted() - before, began.elapsed().as_secs_f64());
    let cores = (proc::own().cpu_s - cpu) / took;
    let strangers = (proc::machine_cpu_s() - machine) / took - cores;
    let ((sent, durable), stalls) = (sent.await?, watch.await?);
    let arrived = arrivals(webhook, &sent).await;
    let delivered: Vec<Duration> = sent
        .iter()
        .filter_map(|(point, at)| Some(arrived.get(point)?.saturating_duration_since(*at)))
        .collect();
    Ok(json!({
        "load_asked_per_s": rate, "load_reached_per_s": accepted as f64 / took, "cores_used": cores, "strangers_cores": strangers,
        "stalls_ms_by_second": stalls, "probes": sent.len(), "probes_not_delivered": sent.len() - delivered.len(),
        "durable_ms": stats::latencies(&durable), "delivered_ms": stats::latencies(&delivered),
        "samples": { "durable_us": stats::raw_us(&durable), "delivered_us": stats::raw_us(&delivered) },
    }))
}

/// When each probe's alarm first came as raised; waits for the last ones.
async fn arrivals(webhook: &Webhook, sent: &[(String, Instant)]) -> HashMap<String, Instant> {
    let end = Instant::now() + ARRIVE_WITHIN;
    loop {
        let mut at = HashMap::new();
        for message in &webhook.received() {
            let body = message.json();
            if body["event"] == "raised"
                && let Some(point) = body["alarm"]["point"].as_str()
            {
                at.entry(point.to_owned()).or_insert(message.at);
            }
        }
        if sent.iter().all(|(point, _)| at.contains_key(point)) || Instant::now() > end {
            return at;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Points that have not gone over yet.
struct Probes {
    points: Vec<(String, PointId)>,
    random: rand::rngs::StdRng,
}

/// When each probe was read, by point, and how long it took to be durable.
type Sent = (Vec<(String, Instant)>, Vec<Duration>);

impl Probes {
    fn new(bench: &Bench) -> Self {
        let plan = &bench.plan;
        let mut points: Vec<(usize, usize)> = (bench.load_sites * setup::SITE_POINTS..plan.points)
            .map(|p| (p % setup::SITE_POINTS, p))
            .collect();
        // One site after the other, so that all partitions are probed alike.
        points.sort_unstable();
        let id = |p: usize| (plan.point(p), PointId::of(&plan.site(p / setup::SITE_POINTS), &plan.point(p)));
        let points = points.into_iter().rev().map(|(_, p)| id(p)).collect();
        Self { points, random: rand::rngs::StdRng::seed_from_u64(7) }
    }

    /// Probes at random moments, so that they do not march in step with flushes and ticks; each is a delivery of its own and waits
    /// for no other.
    async fn send(
        &mut self,
        edge: &Arc<firedamp::edge::Edge>,
        per_s: f64,
        stop_at: Instant,
    ) -> tokio::task::JoinHandle<Sent> {
        let shared: Arc<Mutex<Sent>> = Arc::default();
        let mut tasks = tokio::task::JoinSet::new();
        let mut due = Instant::now();
        loop {
            let gap: f64 = -self.random.random_range(f64::MIN_POSITIVE..1.0).ln() / per_s;
            due += Duration::from_secs_f64(gap);
            if due >= stop_at {
                break;
            }
            tokio::time::sleep_until(due.into()).await;
            let Some((point, id)) = self.points.pop() else { break };
            tasks.spawn(probe(edge.clone(), point, id, shared.clone()));
        }
        tokio::spawn(async move {
            while tasks.join_next().await.is_some() {}
            std::mem::take(&mut *shared.lock().expect("no holder of this lock panics"))
        })
    }
}

/// Reads one value over the limit and hands it over.
async fn probe(edge: Arc<firedamp::edge::Edge>, point: String, id: PointId, shared: Arc<Mutex<Sent>>) {
    let (read, now) = (Instant::now(), SystemClock.now());
    let mut b = ReadingsBuilder::with_capacity(1);
    b.push(id, now, 1.2, 0);
    let delivery = feed::delivery(now, b.finish());
    let info = SourceInfo { name: "probe".into(), flags: 0 };
    while edge.accept(&info, delivery.clone()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut sent = shared.lock().expect("no holder of this lock panics");
    sent.0.push((point, read));
    sent.1.push(read.elapsed());
}
