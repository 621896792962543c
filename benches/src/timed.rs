//! Other programs run to their end, with the time by the clock and by the processor.

use crate::proc::children_cpu_s;
use ::tests::Process;
use anyhow::{bail, ensure};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest time that one may take.
const WITHIN: Duration = Duration::from_secs(400);

/// What a program used and said.
pub struct Timed {
    /// Seconds from its start to its end.
    pub wall_s: f64,
    /// Processor seconds, user and system, of all its threads.
    pub cpu_s: f64,
    /// Both its outputs.
    pub text: String,
}

/// Runs one to its end. One at a time: processor time is that of all children that end meanwhile.
///
/// # Errors
/// When it cannot be started, fails, or takes too long.
pub fn run(name: &str, command: &Command) -> anyhow::Result<Timed> {
    let log = tempfile::NamedTempFile::new()?;
    let (began, cpu) = (Instant::now(), children_cpu_s());
    let process = Process::spawn(name, command, log.path())?;
    let status = loop {
        if let Some(status) = process.exited() {
            break status;
        }
        if began.elapsed() > WITHIN {
            bail!("{name} is not done after {WITHIN:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (wall_s, cpu_s) = (began.elapsed().as_secs_f64(), children_cpu_s() - cpu);
    ensure!(status.success(), "{name}: {status}\n{}", process.log_tail());
    Ok(Timed { wall_s, cpu_s, text: process.log_text() })
}

/// Median by rank.
#[must_use]
pub fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = all.collect();
    all.sort_by(f64::total_cmp);
    crate::stats::percentile(&all, 50.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_used_and_said_is_known_and_a_failure_is_told() {
        let shell = |text: &str| {
            let mut command = Command::new("bash");
            command.args(["-c", text]);
            run("shell", &command)
        };
        let busy = shell("end=$((SECONDS + 2)); while [ $SECONDS -lt $end ]; do :; done; echo done").unwrap();
        assert!(
            busy.text == "done\n" && busy.wall_s > 0.9 && busy.cpu_s > 0.1,
            "{} {}",
            busy.wall_s,
            busy.cpu_s
        );
        assert!(shell("echo why; exit 3").is_err_and(|e| e.to_string().contains("why")));
    }
}
