//! What benchmarks share: the machine's description, the process's own CPU and memory, and kept results.

use serde_json::{Value, json};
use std::path::PathBuf;

/// CPU seconds (user and system) and resident bytes of this process.
pub fn usage() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages.split_whitespace().nth(1).and_then(|p| p.parse::<u64>().ok()).unwrap_or(0) * 4096;
    // Fields 14 and 15 of the whole line, in hundredths of a second.
    ((ticks(11) + ticks(12)) / 100.0, resident)
}

/// Processor, cores, memory, kernel, commit.
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
    json!({ "cpu": cpu, "cores": cores, "memory": memory, "kernel": read("/proc/version").trim(), "commit": commit })
}

/// Writes a result into `benches/results/NAME.json` and prints it.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(name: &str, result: &Value) -> std::io::Result<()> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results").join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(result).unwrap_or_default();
    println!("{text}\nkept in {}", file.display());
    std::fs::write(file, text + "\n")
}
