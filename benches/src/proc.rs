//! Figures of processes and of the machine, from `/proc`.

use serde_json::{Value, json};

/// What a process has used and holds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    /// CPU seconds, user and system, of all its threads, ended ones too.
    pub cpu_s: f64,
    /// Resident bytes.
    pub resident: u64,
    /// Of those, memory of its own: heap and stacks.
    pub anonymous: u64,
    /// Of those, pages of files that it has mapped: programs and libraries.
    pub mapped: u64,
    /// Most resident bytes so far.
    pub peak: u64,
}

/// Of this process.
#[must_use]
pub fn own() -> Usage {
    usage(std::process::id())
}

/// Of any process; zeros when it is gone.
#[must_use]
pub fn usage(pid: u32) -> Usage {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything, so count from the bracket behind it: fields 14 and 15 of the line, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Usage {
        cpu_s: (ticks(11) + ticks(12)) / 100.0,
        resident: kilobytes(&status, "VmRSS"),
        anonymous: kilobytes(&status, "RssAnon"),
        mapped: kilobytes(&status, "RssFile"),
        peak: kilobytes(&status, "VmHWM"),
    }
}

/// CPU seconds, user and system, of all children of this process that have ended and been waited for.
#[must_use]
pub fn children_cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(13).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Bytes of a line `NAME:  123 kB`; 0 where there is none.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// Processor time of this thread, seconds: what its neighbours on the machine do is not in it.
#[must_use]
pub fn thread_cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

/// CPU seconds that all processes of the machine have used, and what was taken from it by others on the same host: what a benchmark
/// did not use itself says whether it had the machine to itself.
#[must_use]
pub fn machine_cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|f| f.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user.
    ticks.iter().take(8).enumerate().filter(|(i, _)| ![3, 4].contains(i)).map(|(_, t)| t).sum::<f64>() / 100.0
}

/// The machine's page cache: all of it, and what is still to be written to disk. Of all processes together.
#[must_use]
pub fn page_cache() -> Value {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    json!({ "cached": kilobytes(&text, "Cached"), "dirty": kilobytes(&text, "Dirty") + kilobytes(&text, "Writeback") })
}

/// Bytes of all files below a folder.
#[must_use]
pub fn folder_bytes(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|e| match e.metadata() {
            Ok(m) if m.is_dir() => folder_bytes(&e.path()),
            Ok(m) => m.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_and_allocates_is_seen_to() {
        let (before, all_before) = (own(), machine_cpu_s());
        let held = vec![1u8; 64 << 20];
        let mut sum = 0u64;
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 200 {
            sum = held.iter().step_by(4096).fold(sum, |s, b| s.wrapping_mul(31) + u64::from(*b));
        }
        let after = own();
        assert!(sum != 1 && after.anonymous >= before.anonymous + (50 << 20), "{before:?} {after:?}");
        assert!(
            after.cpu_s > before.cpu_s && after.resident >= after.anonymous && after.peak >= after.resident
        );
        // Whatever one process used, the machine used; both are counted in hundredths.
        assert!(machine_cpu_s() - all_before >= after.cpu_s - before.cpu_s - 0.1);
        assert_eq!(usage(u32::MAX).resident, 0);
    }
}
