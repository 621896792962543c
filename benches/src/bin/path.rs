//! The whole path on one machine, generator included: batches handed over at the sink, embedded log with fsync, four rules a point,
//! Delta table, alarms; then the disk and the wire format alone, for what the machine would give. `path [POINTS SECONDS RATE AHEAD]`;
//! rate 0: as fast as it goes, but never so many readings beyond what rules and table have read: the log alone takes more. Keeps `path.json`.

use benches::outside::Watched;
use benches::whole::{self, Whole};
use benches::yardstick;
use serde_json::{Value, json};
use std::time::Duration;

/// How long each yardstick is held on.
const YARDSTICK: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let [points, seconds, rate, ahead] = benches::arguments([
        ("points", 1_040_000.0),
        ("seconds", 300.0),
        ("rate", 0.0),
        ("ahead", 2_000_000.0),
    ]);
    benches::run(async move {
        let dir = tempfile::tempdir()?;
        let whole = Whole {
            points: points as usize,
            seconds,
            rate,
            log: String::new(),
            ahead: Some(ahead as u64),
            others: Watched::default(),
        };
        let mut result = whole::run(dir.path(), whole).await?;
        result["machine_limits"] = limits(dir.path(), &result)?;
        benches::keep("path", &result)?;
        Ok(())
    })
}

/// The same bytes to the same disk in commits of the same size, and the same readings through the wire format alone.
fn limits(dir: &std::path::Path, result: &Value) -> anyhow::Result<Value> {
    eprintln!("the disk and the wire format alone, {YARDSTICK:?} each");
    let n = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
    let disk = yardstick::disk(dir, (n("log_bytes_a_commit") as usize).max(1), YARDSTICK)?;
    let (disk_readings, wire) = (disk / n("log_bytes_a_reading"), yardstick::wire(YARDSTICK));
    let reached = n("readings_per_s_accepted");
    Ok(json!({
        "disk_bytes_per_s": disk, "disk_readings_per_s": disk_readings, "reached_of_disk": reached / disk_readings,
        "wire_readings_per_s": wire, "reached_of_wire": reached / wire,
    }))
}
