//! Our evaluator beside the rule engines of others, on the same readings in the same run: Siddhi, Esper and Flink as the scripts in
//! `shared/peers` start them, ours in a process of its own as well, each with one thread that judges, one after another, several
//! times around. Keeps counts, wall and processor time, medians and ratios in `peers.json`. `peers [ROUNDS REPS]`: how often all are
//! started, and how often each then judges all readings; the last of these counts, when a virtual machine has warmed up.

use ::tests::peers;
use anyhow::Context;
use benches::proc::{children_cpu_s, machine_cpu_s};
use benches::timed;
use benches::workloads::{self, Counts, Workload};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The engines of others.
const PEERS: [&str; 3] = ["siddhi", "esper", "flink"];
/// What a peer's program has no workload for.
const NOT_THERE: [(&str, &str); 1] = [("flink", "win")];
/// The word that makes this program judge, as a peer's program does, instead of starting all.
const JUDGE: &str = "judge";

fn main() -> anyhow::Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [word, file, workload, reps] = &given[..]
        && word == JUDGE
    {
        return judge(Path::new(file), workload, reps.parse()?);
    }
    let [rounds, reps] = benches::arguments([("rounds", 3.0), ("reps", 2.0)]);
    benches::run(async move { measure(rounds as usize, reps as usize) })
}

/// Judges all readings so many times and prints a line of the peers' form for each.
fn judge(file: &Path, name: &str, reps: usize) -> anyhow::Result<()> {
    let data = workloads::data(file)?;
    let workload = workloads::all().into_iter().find(|w| w.name == name).context("no such workload")?;
    for rep in 0..reps {
        let judged = workloads::judge(&workload, &data)?;
        let rate = data.len() as f64 / judged.wall_s;
        println!(
            "firedamp {name} threads=1 rep={rep} events/s={rate:.0} wall={:.3} cpu={:.3} hits={:?}",
            judged.wall_s, judged.cpu_s, judged.counts
        );
    }
    Ok(())
}

/// One engine at one workload.
struct Contender {
    engine: &'static str,
    workload: &'static str,
    mode: &'static str,
    command: Command,
    samples: Vec<Sample>,
    failed: Option<String>,
}

/// One process: what it said of its last judgement, and what it used in all.
#[derive(Clone)]
struct Sample {
    wall_s: f64,
    cpu_s: f64,
    process_wall_s: f64,
    process_cpu_s: f64,
    counts: Counts,
    lines: Vec<String>,
}

fn measure(rounds: usize, reps: usize) -> anyhow::Result<()> {
    let file = peers::data()?.join("ch4_u16_time_major.bin");
    let data = workloads::data(&file)?;
    let mut skipped = Map::new();
    let mut contenders = contenders(&file, reps, &mut skipped)?;
    let (began, machine, own) = (Instant::now(), machine_cpu_s(), children_cpu_s());
    for round in 1..=rounds {
        for contender in contenders.iter_mut().filter(|c| c.failed.is_none()) {
            let said = match run(contender) {
                Ok(sample) => {
                    contender.samples.push(sample.clone());
                    format!("{:.2} s, {:.2} s CPU, {:?}", sample.wall_s, sample.cpu_s, sample.counts)
                }
                Err(e) => contender.failed.insert(format!("{e:#}")).clone(),
            };
            eprintln!("round {round} {} {}: {said}", contender.engine, contender.workload);
        }
    }
    let others = machine_cpu_s() - machine - (children_cpu_s() - own);
    let strangers = others / began.elapsed().as_secs_f64();
    for c in &contenders {
        if let Some(why) = &c.failed {
            skipped.insert(format!("{} {}", c.engine, c.workload), json!(why));
        }
    }
    let rows = workloads::all();
    let rows = rows.iter().map(|w| (w.name.to_owned(), row(w, &contenders, workloads::expected(w, &data))));
    let result = json!({
        "points": workloads::POINTS, "seconds": workloads::SECONDS, "readings": data.len(), "rounds": rounds, "reps": reps,
        "workloads": rows.collect::<Map<_, _>>(), "skipped": skipped, "strangers": strangers,
        "samples": contenders.iter().map(raw).collect::<Vec<_>>(),
    });
    benches::keep("peers", &result)?;
    Ok(())
}

/// Everyone who takes part, in the order of a round; who cannot, and why, goes to `skipped`.
fn contenders(file: &Path, reps: usize, skipped: &mut Map<String, Value>) -> anyhow::Result<Vec<Contender>> {
    let mut homes: Vec<(&'static str, PathBuf)> = Vec::new();
    for engine in PEERS {
        match peers::fetch(engine) {
            Ok(home) => homes.push((engine, home)),
            Err(e) => drop(skipped.insert(engine.to_owned(), json!(format!("{e:#}")))),
        }
    }
    let mut all = Vec::new();
    for workload in workloads::all() {
        all.push(ours(&workload, file, reps)?);
        if workload.name != workload.mode() {
            continue;
        }
        for (engine, home) in &homes {
            if NOT_THERE.contains(&(engine, workload.name)) {
                let why = "its program in shared/peers has no such workload";
                skipped.insert(format!("{engine} {}", workload.name), json!(why));
            } else {
                all.push(theirs(engine, workload.name, home, reps)?);
            }
        }
    }
    Ok(all)
}

/// This program as the peers' are: a process below `nice`, whose last line counts.
fn ours(workload: &Workload, file: &Path, reps: usize) -> anyhow::Result<Contender> {
    let mut command = Command::new("nice");
    command.arg(std::env::current_exe()?).arg(JUDGE).arg(file).args([workload.name, &reps.to_string()]);
    Ok(Contender::new("firedamp", workload.name, workload.mode(), command))
}

fn theirs(engine: &'static str, mode: &'static str, home: &Path, reps: usize) -> anyhow::Result<Contender> {
    let mut command = Command::new("bash");
    command.arg(peers::scripts()?.join(engine).join("run.sh")).args([mode, "1", &reps.to_string()]);
    command.env("PEERS_HOME", home);
    Ok(Contender::new(engine, mode, mode, command))
}

impl Contender {
    fn new(engine: &'static str, workload: &'static str, mode: &'static str, command: Command) -> Self {
        Self { engine, workload, mode, command, samples: Vec::new(), failed: None }
    }

    /// Median over the rounds.
    fn median(&self, of: fn(&Sample) -> f64) -> f64 {
        timed::median(self.samples.iter().map(of))
    }
}

/// Starts it and waits for its end.
fn run(contender: &Contender) -> anyhow::Result<Sample> {
    let timed = timed::run(contender.engine, &contender.command)?;
    let own = |l: &&str| l.starts_with(&format!("{} ", contender.engine));
    let lines: Vec<String> = timed.text.lines().filter(own).map(str::to_owned).collect();
    let last = lines.last().with_context(|| timed.text.clone())?;
    let (wall_s, cpu_s, counts) = parse(last).with_context(|| last.clone())?;
    Ok(Sample { wall_s, cpu_s, process_wall_s: timed.wall_s, process_cpu_s: timed.cpu_s, counts, lines })
}

/// Seconds, processor seconds and counts of a line `... wall=1.01 cpu=1.08 hits=[12861, 10005, 7140, 2953, 0] ...`. Where the job
/// is told apart from the start of its cluster, `(job 0.85)`, its seconds are taken.
fn parse(line: &str) -> Option<(f64, f64, Counts)> {
    let behind = |word: &str| Some(line.split_once(word)?.1);
    let number = |word: &str| behind(word)?.split([' ', ')']).next()?.parse::<f64>().ok();
    let hits = behind("hits=[")?.split_once(']')?.0;
    let counts: Vec<u64> = hits.split(", ").filter_map(|n| n.parse().ok()).collect();
    Some((number("(job ").or_else(|| number("wall="))?, number("cpu=")?, counts.try_into().ok()?))
}

/// A workload: each engine, and how many times faster ours is than the fastest of the others.
fn row(workload: &Workload, all: &[Contender], expected: Counts) -> Value {
    let mut engines = Map::new();
    let mut peers: Vec<&Contender> = Vec::new();
    let own = all.iter().find(|c| c.workload == workload.name && c.engine == "firedamp");
    for c in all.iter().filter(|c| c.mode == workload.mode() && !c.samples.is_empty()) {
        if c.engine != "firedamp" {
            peers.push(c);
        }
        if c.workload == workload.name {
            engines.insert(c.engine.to_owned(), figures(c, expected));
        }
    }
    let mut result = json!({ "fifth_question": workload.asks, "must_count": expected, "engines": engines });
    let by = |of: fn(&Sample) -> f64| {
        let fastest = peers.iter().min_by(|a, b| a.median(of).total_cmp(&b.median(of)))?;
        Some((fastest.engine, fastest.median(of) / own?.median(of)))
    };
    for (name, of) in [("by_wall", (|s| s.wall_s) as fn(&Sample) -> f64), ("by_cpu", |s| s.cpu_s)] {
        if let Some((fastest, times)) = by(of) {
            result[name] = json!({ "fastest_peer": fastest, "firedamp_is_times_faster": (times * 100.0).round() / 100.0 });
        }
    }
    result
}

fn figures(c: &Contender, expected: Counts) -> Value {
    let readings = (workloads::POINTS * workloads::SECONDS) as f64;
    let (wall, cpu) = (c.median(|s| s.wall_s), c.median(|s| s.cpu_s));
    json!({
        "readings_per_s": (readings / wall).round(), "readings_per_cpu_s": (readings / cpu).round(), "wall_s": wall, "cpu_s": cpu,
        "process_wall_s": c.median(|s| s.process_wall_s), "process_cpu_s": c.median(|s| s.process_cpu_s),
        "counts": c.samples.last().map(|s| s.counts), "counts_right": c.samples.iter().all(|s| s.counts == expected),
    })
}

fn raw(c: &Contender) -> Value {
    let samples: Vec<Value> = c
        .samples
        .iter()
        .map(|s| json!({ "process_wall_s": s.process_wall_s, "process_cpu_s": s.process_cpu_s, "said": s.lines }))
        .collect();
    json!({ "engine": c.engine, "workload": c.workload, "processes": samples })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_peers_are_read() {
        let line = "esper win threads=1 rep=1 events/s=980267 wall=10.20 cpu=10.79 hits=[12861, 10005, 7140, 2953, 5093] load=1.4 heap=1017M";
        assert_eq!(parse(line), Some((10.2, 10.79, [12861, 10005, 7140, 2953, 5093])));
        let line = "flink rate parallelism=1 rep=0 events/s=3500000 wall=2.86 (job 2.51) cpu=4.20 hits=[1, 2, 3, 4, 5] load=1.0";
        assert_eq!(parse(line), Some((2.51, 4.2, [1, 2, 3, 4, 5])));
        assert_eq!(parse("esper win: no such thing"), None);
    }
}
