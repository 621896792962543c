//! JSON through real Mosquitto: a hundred readings a message at QoS 1, a topic a site, the generator in this process, the built
//! binary as a process of its own. `mqtt [POINTS SECONDS CLIENTS AHEAD]`: firedamp connects CLIENTS times and shares the topics out;
//! the generator is never more than AHEAD readings before what is durable, so what is reached is what firedamp takes. Keeps `mqtt.json`.

use benches::outside::{self, Metrics, Watched};
use benches::{setup, stats};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SAMPLE: Duration = Duration::from_secs(5);
/// Connections of the generator.
const CONNECTIONS: usize = 2;

fn main() -> anyhow::Result<()> {
    let [points, seconds, clients, ahead] = benches::arguments([
        ("points", 1_040_000.0),
        ("seconds", 300.0),
        ("clients", 2.0),
        ("ahead", 200_000.0),
    ]);
    benches::run(run(points as usize, seconds, clients as usize, ahead as u64))
}

async fn run(points: usize, seconds: f64, clients: usize, ahead: u64) -> anyhow::Result<()> {
    let mut plan = setup::plan(points);
    (plan.rate, plan.connections, plan.duration) = (0.0, CONNECTIONS, Duration::from_secs_f64(seconds));
    plan.over_every = Some(200_000);
    let broker = tokio::task::spawn_blocking(|| ::tests::mosquitto::start_with(setup::QUIET_BROKER)).await?;
    let mut firedamp = outside::prepare(&plan, "", &setup::mqtt_source(&plan, &broker.url, clients))?;
    firedamp.start().await;
    outside::until_up(&firedamp.url("")).await?;
    eprintln!("Mosquitto at {}, firedamp at {}", broker.url, firedamp.url(""));
    let mut watched = Watched::default();
    watched.add("generator", std::process::id());
    for (name, process) in [("broker", broker.process()), ("firedamp", firedamp.process())] {
        watched.add(name, process.map_or(0, tests::Process::pid));
    }

    let (limit, following) = outside::follow(firedamp.url(""), Metrics::durable, ahead);
    let flooding = {
        let (url, plan) = (broker.url.clone(), plan.clone());
        tokio::spawn(async move {
            let clock = Arc::new(model::SystemClock);
            simulator::flood_up_to(&url, &plan, clock, CancellationToken::new(), limit).await
        })
    };
    let samples = outside::sample(&firedamp.url(""), &watched, SAMPLE, seconds).await?;
    let report = flooding.await??;
    drop(following);
    eprintln!("published {report:?}");
    let balance = outside::settled(&firedamp, report.readings).await?;
    let steady = stats::later(&samples);
    let cores = |name: &str| stats::rate(&steady, &format!("{name}_cpu_s"));
    let result = json!({
        "points": points, "rules_a_point": 4, "topics": plan.sites(), "readings_a_message": plan.readings_per_message,
        "qos": 1, "clients": clients, "ahead": ahead, "seconds": seconds, "readings": report.readings,
        "acknowledged_messages": report.acknowledged, "repeated_messages": report.repeated,
        "readings_per_s_durable": stats::rate(&steady, "durable"), "readings_per_s_judged": stats::rate(&steady, "judged"),
        "readings_per_s_stored": stats::rate(&steady, "stored"),
        "cores_used": { "firedamp": cores("firedamp"), "broker": cores("broker"), "generator": cores("generator"),
            "strangers": outside::strangers(&["firedamp_cpu_s", "broker_cpu_s", "generator_cpu_s"], &steady) },
        "memory": outside::memory(&steady),
        "cpu_ns_a_reading": outside::cpu_ns_a_reading(&watched, &steady),
        "balance": balance, "balance_exact": outside::is_exact(&balance, report.readings), "samples": samples,
    });
    benches::keep("mqtt", &result)?;
    tokio::task::spawn_blocking(move || firedamp.stop()).await?;
    Ok(())
}
