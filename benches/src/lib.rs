//! What benchmarks share: the machine's description, arguments, figures, kept results; the configuration that all rows run on
//! ([`setup`]), the load at the sink ([`feed`]), the whole path in this process ([`whole`]) and as a process of its own ([`outside`]).

#![warn(missing_docs)]

use serde_json::{Value, json};
use std::path::PathBuf;

pub mod columns;
pub mod feed;
pub mod outside;
pub mod proc;
pub mod setup;
pub mod stats;
pub mod timed;
pub mod victoria;
pub mod whole;
pub mod workloads;
pub mod yardstick;

/// The numbers on the command line, each with its default; prints what they are and which were taken.
#[must_use]
pub fn arguments<const N: usize>(names: [(&str, f64); N]) -> [f64; N] {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let taken = std::array::from_fn(|i| {
        given.get(i).map_or(names[i].1, |text| match text.parse() {
            Ok(number) => number,
            Err(_) => {
                eprintln!("`{text}` is no number for {}", names[i].0);
                std::process::exit(2)
            }
        })
    });
    let shown: Vec<String> = names.iter().zip(&taken).map(|((name, _), n)| format!("{name} {n}")).collect();
    eprintln!("{}", shown.join(", "));
    taken
}

/// Processor, cores, memory, load, kernel, commit, profile.
#[must_use]
pub fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find(|l| l.starts_with("model name"))
        .and_then(|l| l.split(": ").nth(1))
        .unwrap_or("")
        .to_owned();
    let memory = read("/proc/meminfo").lines().next().unwrap_or("").to_owned();
    let git = std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
        .output();
    let commit = git.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) { "dev (opt-level 1, hot crates 3)" } else { "release" };
    json!({
        "cpu": cpu, "cores": cores, "memory": memory, "kernel": read("/proc/version").trim(), "commit": commit,
        "profile": profile, "load_before": LOAD_BEFORE.get_or_init(load),
    })
}

static LOAD_BEFORE: std::sync::OnceLock<String> = std::sync::OnceLock::new();

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

/// Runs a benchmark on a runtime with a thread a core. Call it first: it notes the machine's load before the benchmark adds its own.
///
/// # Errors
/// What the benchmark says.
pub fn run(benchmark: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    LOAD_BEFORE.get_or_init(load);
    firedamp::logging::start(firedamp::logging::LogFormat::Text);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(benchmark)
}

/// Writes a result into `benches/results/NAME.json`, with the machine, and prints it without its raw samples.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(name: &str, result: &Value) -> std::io::Result<()> {
    let mut whole = json!({ "machine": machine() });
    if let (Some(whole), Some(result)) = (whole.as_object_mut(), result.as_object()) {
        whole.extend(result.clone());
    }
    let folder = std::env::var_os("FIREDAMP_BENCH_RESULTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results"), PathBuf::from);
    let file = folder.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n")?;
    if let Some(shown) = whole.as_object_mut() {
        shown.retain(|key, _| key != "samples");
    }
    println!("{}\nkept in {}", serde_json::to_string_pretty(&whole).unwrap_or_default(), file.display());
    Ok(())
}
