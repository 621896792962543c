//! kill -9 under load and start again: the built binary with a million points and four rules, readings through Mosquitto all the
//! while. For the first start and each restart: seconds from exec to readiness, to the first decision and to the first message at the
//! receiver, and the memory it holds. `restart [POINTS RATE SECONDS KILLS]`: readings a second, seconds of load before each kill.
//! Keeps `restart.json`.

use ::tests::firedamp::Firedamp;
use ::tests::webhook::Webhook;
use benches::outside::{self, Metrics};
use benches::{proc, setup};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often a starting firedamp is asked; what is told is right to within this.
const ASK: Duration = Duration::from_millis(5);
/// How long a start may take.
const START_WITHIN: Duration = Duration::from_secs(120);
/// One of so many readings is over the limit.
const OVER_EVERY: u64 = 10_000;

fn main() -> anyhow::Result<()> {
    let [points, rate, seconds, kills] =
        benches::arguments([("points", 1_040_000.0), ("rate", 200_000.0), ("seconds", 60.0), ("kills", 2.0)]);
    benches::run(run(points as usize, rate, seconds, kills as usize))
}

async fn run(points: usize, rate: f64, seconds: f64, kills: usize) -> anyhow::Result<()> {
    let mut plan = setup::plan(points);
    (plan.rate, plan.over_every, plan.duration) = (rate, Some(OVER_EVERY), Duration::from_secs(3600));
    let webhook = Webhook::start().await;
    let broker = tokio::task::spawn_blocking(|| ::tests::mosquitto::start_with(setup::QUIET_BROKER)).await?;
    let more = setup::mqtt_source(&plan, &broker.url, 1) + &setup::receiver(&webhook.url);
    let mut firedamp = outside::prepare(&plan, "", &more)?;
    let stop = CancellationToken::new();
    let flooding = {
        let (url, plan, stop, base) = (broker.url.clone(), plan.clone(), stop.clone(), firedamp.url(""));
        tokio::spawn(async move {
            outside::until_up(&base).await?;
            simulator::flood(&url, &plan, Arc::new(model::SystemClock), stop).await
        })
    };
    let mut starts = Vec::new();
    for start in 0..=kills {
        if start > 0 {
            firedamp.kill9();
            eprintln!("killed");
        }
        starts.push(launch(&mut firedamp, &webhook).await?);
        eprintln!("start {start}: {}", starts[start]);
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        let usage = proc::usage(firedamp.process().map_or(0, tests::Process::pid));
        starts[start]["resident_loaded"] = json!(usage.resident);
        starts[start]["resident_peak"] = json!(usage.peak);
    }
    stop.cancel();
    let report = flooding.await??;
    eprintln!("published {report:?}");
    let balance = outside::settled(&firedamp, report.readings).await?;
    let stored = balance["stored"].as_u64().unwrap_or(0);
    let result = json!({
        "points": points, "rules_a_point": 4, "rate": rate, "seconds_before_each_kill": seconds, "asked_every_ms": ASK.as_millis() as u64,
        "page_cache": "warm", "starts": starts, "published": report.readings, "behind_generator": report.behind,
        "balance": balance, "every_reading_stored_once": stored == report.readings,
    });
    benches::keep("restart", &result)?;
    tokio::task::spawn_blocking(move || firedamp.stop()).await?;
    Ok(())
}

/// Starts the process and watches it until it is ready, has decided something and has told of something.
async fn launch(firedamp: &mut Firedamp, webhook: &Webhook) -> anyhow::Result<Value> {
    let (log_bytes, heard) =
        (proc::folder_bytes(&firedamp.folder().join("data/log")), webhook.received().len());
    let began = Instant::now();
    firedamp.launch(&[]);
    let pid = firedamp.process().map_or(0, tests::Process::pid);
    let (mut ready, mut decided) = (None, None);
    let mut resident = 0;
    while ready.is_none() || decided.is_none() || webhook.received().len() == heard {
        let Some(process) = firedamp.process() else { anyhow::bail!("firedamp is not running") };
        anyhow::ensure!(
            process.exited().is_none() && began.elapsed() < START_WITHIN,
            "firedamp does not start: ended {:?}, ready {ready:?}, decided {decided:?}, messages {}\n{}",
            process.exited(),
            webhook.received().len() - heard,
            process.log_tail()
        );
        if decided.is_none()
            && let Ok(metrics) = Metrics::of(&firedamp.url("")).await
            && metrics.sum("firedamp_transitions_total", "") > 0.0
        {
            decided = Some(began.elapsed());
        }
        if ready.is_none()
            && reqwest::get(firedamp.url("/health/ready")).await.is_ok_and(|r| r.status().is_success())
        {
            ready = Some(began.elapsed());
            resident = proc::usage(pid).resident;
        }
        tokio::time::sleep(ASK).await;
    }
    let told = webhook.received().get(heard).map(|m| m.at.saturating_duration_since(began));
    let s = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
    Ok(json!({
        "log_bytes": log_bytes, "ready_s": s(ready), "first_decision_at_most_s": s(decided),
        "first_message_s": s(told), "resident_ready": resident, "cpu_s": proc::usage(pid).cpu_s,
    }))
}
