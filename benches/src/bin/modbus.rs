//! Modbus TCP: many simulated slaves in this process, each on a port of its own, read by the built binary as fast as they answer.
//! `modbus [DEVICES REGISTERS SECONDS]`. Keeps `modbus.json`.

use benches::outside::{self, Watched};
use benches::stats;
use serde_json::json;
use simulator::FloodPlan;
use simulator::modbus::{Image, ModbusServer, Table, Unit};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SAMPLE: Duration = Duration::from_secs(5);
/// Images that a slave shows in turn.
const IMAGES: usize = 16;

/// A slave with registers from address 0 that hold other values at each read: hundredths of per cent methane.
struct Slave {
    images: Vec<Arc<Image>>,
    turn: AtomicUsize,
}

impl Slave {
    fn new(registers: usize) -> Self {
        let image = |turn: usize| {
            let words: Vec<u16> = (0..registers).map(|r| 20 + ((r * 7 + turn * 3) % 50) as u16).collect();
            let mut image = Image::default();
            image.put(Table::Holding, 0, &words);
            Arc::new(image)
        };
        Self { images: (0..IMAGES).map(image).collect(), turn: AtomicUsize::new(0) }
    }
}

impl Unit for Slave {
    fn read(&self, _: Table, _: u16, _: u16) -> Result<Arc<Image>, u8> {
        Ok(self.images[self.turn.fetch_add(1, Ordering::Relaxed) % IMAGES].clone())
    }
}

fn main() -> anyhow::Result<()> {
    let [devices, registers, seconds] =
        benches::arguments([("devices", 200.0), ("registers", 100.0), ("seconds", 300.0)]);
    benches::run(run(devices as usize, registers as usize, seconds))
}

async fn run(devices: usize, registers: usize, seconds: f64) -> anyhow::Result<()> {
    let plan = FloodPlan { points: devices * registers, points_per_site: registers, ..FloodPlan::default() };
    let (mut servers, mut sources) = (Vec::new(), String::new());
    for device in 0..devices {
        let slave: Arc<dyn Unit> = Arc::new(Slave::new(registers));
        let units = BTreeMap::from([(1, slave)]);
        let server = ModbusServer::start(([127, 0, 0, 1], 0).into(), units, CancellationToken::new()).await?;
        source(&mut sources, &plan, device, &server)?;
        servers.push(server);
    }
    let mut firedamp = outside::prepare(&plan, "", &sources)?;
    firedamp.start().await;
    outside::until_up(&firedamp.url("")).await?;
    let mut watched = Watched::default();
    watched.add("devices", std::process::id());
    watched.add("firedamp", firedamp.process().map_or(0, tests::Process::pid));
    let samples = outside::sample(&firedamp.url(""), &watched, SAMPLE, seconds).await?;
    let metrics = outside::Metrics::of(&firedamp.url("")).await?;
    let events = |what: &str| metrics.sum("firedamp_ingest_events_total", &format!("\"{what}\""));
    let (timeouts, broken) = (events("timeout"), events("link_broken"));
    // Stopping ends the sources first, and what they took is drained; then the folder is asked.
    let (firedamp, stopped) = tokio::task::spawn_blocking(move || {
        let log = firedamp.stop();
        (firedamp, log.contains("stopped clean"))
    })
    .await?;
    let answered: u64 = servers.iter().map(ModbusServer::requests).sum::<u64>() * registers as u64;
    let balance: serde_json::Value = serde_json::from_str(&firedamp.run(&["balance", "--format", "json"])?)?;
    let received = balance["received"].as_u64().unwrap_or(0);
    let steady = stats::later(&samples);
    let cores = |name: &str| stats::rate(&steady, &format!("{name}_cpu_s"));
    let result = json!({
        "devices": devices, "registers_a_device": registers, "rules_a_point": 4, "seconds": seconds, "every": "1ms",
        "readings_per_s_durable": stats::rate(&steady, "durable"), "readings_per_s_judged": stats::rate(&steady, "judged"),
        "readings_per_s_stored": stats::rate(&steady, "stored"),
        "polls_per_s_a_device": stats::rate(&steady, "durable") / (devices * registers) as f64,
        "cores_used": { "firedamp": cores("firedamp"), "devices": cores("devices"),
            "strangers": outside::strangers(&["firedamp_cpu_s", "devices_cpu_s"], &steady) },
        "memory": outside::memory(&steady),
        "cpu_ns_a_reading": outside::cpu_ns_a_reading(&watched, &steady), "timeouts": timeouts, "links_broken": broken,
        "registers_answered": answered, "answers_under_way_at_the_stop": answered.saturating_sub(received) / registers as u64,
        "stopped_clean": stopped, "balance": outside::without_sources(balance.clone()),
        "balance_exact": outside::is_exact(&balance, received), "samples": samples,
    });
    benches::keep("modbus", &result)?;
    for server in servers {
        server.stop().await;
    }
    Ok(())
}

/// A device is a site; it is asked again as soon as it has answered.
fn source(out: &mut String, plan: &FloodPlan, device: usize, server: &ModbusServer) -> std::fmt::Result {
    let (site, addr) = (plan.site(device), server.addr);
    write!(
        out,
        "[[source]]\nname = \"d{device}\"\nkind = \"modbus\"\nurl = \"tcp://{addr}\"\nsite = \"{site}\"\nevery = \"1ms\"\nregister = ["
    )?;
    for register in 0..plan.points_per_site {
        let point = plan.point(device * plan.points_per_site + register);
        write!(out, "\n  {{ point = \"{point}\", address = {register}, type = \"u16\", scale = 0.01 }},")?;
    }
    writeln!(out, "\n]\n")
}
