//! Episodes of a limit over history: `firedamp backtest` and a window query of DuckDB over the same Parquet file, one after another,
//! several times around; and `vmalert -replay` over the same readings in its own store, for the first level. All give every moment at
//! which a level goes on or off, and they must be the same. Keeps `backtest.json`. `backtest [ROUNDS]`.

use ::tests::{peers, python};
use anyhow::{Context, ensure};
use benches::timed::{self, Timed, median};
use benches::victoria::Victoria;
use benches::{outside, workloads};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const READINGS: f64 = (workloads::POINTS * workloads::SECONDS) as f64;

/// On and off apart, so that a level has a memory.
const RULES: &str = r#"
[[rule]]
name = "limit"
kind = "limit"
select = { quantity = "ch4" }
level = [{ name = "alarm", on = ">= 1.0", off = "< 1.0" }, { name = "cut", on = ">= 1.5", off = "< 1.0" }]
"#;

/// The peers' data with the columns that `backtest` reads.
const MAKE: &str = r"
import duckdb, sys
duckdb.sql(f'''copy (select 'M' as site, point_id as point, make_timestamp(time_ms * 1000) as time, value, 0::int as status
    from '{sys.argv[1]}') to '{sys.argv[2]}' (format parquet, compression zstd)''')
";

/// What the rules say, as a query: the state of a level is what the last reading said that said anything.
const QUERY: &str = r"
import duckdb, json, sys, time
duckdb.sql(f'set threads = {sys.argv[2]}')
began = time.perf_counter()
rows = duckdb.sql(f'''
    with readings as (select point, time, value from '{sys.argv[1]}'),
    states as (select point, time,
        value >= 1.0 as alarm,
        coalesce(last_value(case when value >= 1.5 then true when value < 1.0 then false end ignore nulls) over of_point, false) as cut
        from readings window of_point as (partition by point order by time)),
    edges as materialized (select *, lag(alarm, 1, false) over of_point as alarm_before, lag(cut, 1, false) over of_point as cut_before
        from states window of_point as (partition by point order by time)
        qualify alarm <> alarm_before or cut <> cut_before)
    select 'alarm', point, epoch_us(time), alarm from edges where alarm <> alarm_before
    union all select 'cut', point, epoch_us(time), cut from edges where cut <> cut_before''').fetchall()
print(json.dumps({'version': duckdb.__version__, 'query_s': time.perf_counter() - began, 'rows': rows}))
";

/// A level goes on or off: level, point, time, on.
type Edge = (String, String, i64, bool);

fn main() -> anyhow::Result<()> {
    let [rounds] = benches::arguments([("rounds", 3.0)]);
    benches::run(measure(rounds as usize))
}

async fn measure(rounds: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    let (sites, points) = workloads::catalog_files();
    for (name, text) in
        [("sites.csv", sites.as_str()), ("points.csv", points.as_str()), ("rules.toml", RULES)]
    {
        std::fs::write(path(name), text)?;
    }
    let (from, readings) = (peers::data()?.join("ch4.parquet"), path("readings.parquet"));
    python::run(peers::PYTHON, MAKE, &[&from.display().to_string(), &readings.display().to_string()]);
    let cores = std::thread::available_parallelism()?.get();
    let commands = [firedamp(dir.path())?, duckdb(&readings, 1), duckdb(&readings, cores)];
    let mut samples: [Vec<(Timed, BTreeSet<Edge>)>; 3] = Default::default();
    let data = workloads::data(&peers::data()?.join("ch4_u16_time_major.bin"))?;
    let victoria = Victoria::start(dir.path(), &data).await.map_err(|e| format!("{e:#}"));
    let mut replays = Vec::new();
    for round in 1..=rounds {
        for ((name, command), samples) in commands.iter().zip(&mut samples) {
            let timed = timed::run(name, command)?;
            let edges = edges(&timed.text)?;
            eprintln!(
                "round {round} {name}: {:.2} s, {:.2} s CPU, {} edges",
                timed.wall_s,
                timed.cpu_s,
                edges.len()
            );
            samples.push((timed, edges));
        }
        if let Ok(victoria) = &victoria {
            replays.push(replay(victoria).await?);
        }
    }
    let first = &samples[0][0].1;
    ensure!(!first.is_empty(), "no episode");
    let different: usize =
        samples.iter().flatten().map(|(_, edges)| first.symmetric_difference(edges).count()).sum();
    let figures: Vec<Value> = commands.iter().zip(&samples).map(|((name, _), s)| figures(name, s)).collect();
    let times = |i: usize, of: fn(&Timed) -> f64| {
        median(samples[i].iter().map(|s| of(&s.0))) / median(samples[0].iter().map(|s| of(&s.0)))
    };
    let mut result = json!({
        "readings": workloads::POINTS * workloads::SECONDS, "parquet_bytes": std::fs::metadata(&readings)?.len(), "rounds": rounds,
        "programs": figures, "episodes": first.iter().filter(|e| e.3).count(), "edges_that_differ": different,
        "firedamp_is_times_faster_than_duckdb": {
            "one_thread_wall": times(1, |t| t.wall_s), "one_thread_cpu": times(1, |t| t.cpu_s),
            "all_cores_wall": times(2, |t| t.wall_s), "all_cores_cpu": times(2, |t| t.cpu_s),
        },
    });
    let vmalert = match &victoria {
        Err(why) => json!({ "skipped": why }),
        Ok(_) => vmalert(&replays, first, &samples[0]),
    };
    result["vmalert"] = vmalert;
    benches::keep("backtest", &result)?;
    Ok(())
}

/// One replay: its process and, beside its own, the processor time of the server meanwhile; what it decided.
type Replay = (Timed, f64, BTreeSet<(String, i64, bool)>);

async fn replay(victoria: &Victoria) -> anyhow::Result<Replay> {
    let before = victoria.cpu_s();
    let timed = timed::run("vmalert", &victoria.replay())?;
    let server = victoria.cpu_s() - before;
    let edges = victoria.edges().await?;
    eprintln!(
        "vmalert: {:.2} s, {:.2} + {server:.2} s CPU, {} edges",
        timed.wall_s,
        timed.cpu_s,
        edges.len()
    );
    Ok((timed, server, edges))
}

/// Figures of the replays, and how they compare; it judges the first level only.
fn vmalert(replays: &[Replay], edges: &BTreeSet<Edge>, own: &[(Timed, BTreeSet<Edge>)]) -> Value {
    let alarm: BTreeSet<(String, i64, bool)> =
        edges.iter().filter(|e| e.0 == "alarm").map(|e| (e.1.clone(), e.2, e.3)).collect();
    let (wall, cpu) =
        (median(replays.iter().map(|r| r.0.wall_s)), median(replays.iter().map(|r| r.0.cpu_s + r.1)));
    let of_own = |of: fn(&Timed) -> f64| median(own.iter().map(|s| of(&s.0)));
    json!({
        "wall_s": wall, "cpu_s_with_server": cpu, "readings_per_s": (READINGS / wall).round(),
        "edges": replays.iter().map(|r| r.2.len()).collect::<Vec<_>>(),
        "edges_that_differ": replays.iter().map(|r| alarm.symmetric_difference(&r.2).count()).sum::<usize>(),
        "all_wall_s": replays.iter().map(|r| r.0.wall_s).collect::<Vec<_>>(),
        "all_cpu_s": replays.iter().map(|r| [r.0.cpu_s, r.1]).collect::<Vec<_>>(),
        "firedamp_is_times_faster": { "wall": wall / of_own(|t| t.wall_s), "cpu": cpu / of_own(|t| t.cpu_s) },
    })
}

fn firedamp(dir: &Path) -> anyhow::Result<(String, Command)> {
    let mut command = Command::new(outside::binary()?);
    command.current_dir(dir).args(["backtest", "--format", "jsonl", "--rules", "rules.toml"]);
    command.args(["--sites", "sites.csv", "--points", "points.csv", "--readings", "readings.parquet"]);
    Ok(("firedamp".to_owned(), command))
}

fn duckdb(readings: &Path, threads: usize) -> (String, Command) {
    let mut command = Command::new(python::venv(peers::PYTHON));
    command.args(["-c", QUERY]).arg(readings).arg(threads.to_string());
    (format!("duckdb, threads {threads}"), command)
}

/// What either printed: a transition a line, or one line with all rows. Progress and remarks are not JSON.
fn edges(text: &str) -> anyhow::Result<BTreeSet<Edge>> {
    let mut all = BTreeSet::new();
    for line in text.lines().filter(|l| l.starts_with('{')) {
        let line: Value = serde_json::from_str(line)?;
        if let Some(rows) = line["rows"].as_array() {
            for row in rows {
                all.insert(serde_json::from_value(row.clone())?);
            }
            continue;
        }
        let word =
            |key: &str| line[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {line}"));
        let time = model::time::parse(&word("time")?).map_err(anyhow::Error::msg)?;
        all.insert((word("level")?, word("point")?, time, word("to")? == "on"));
    }
    Ok(all)
}

fn figures(name: &str, samples: &[(Timed, BTreeSet<Edge>)]) -> Value {
    let (wall, cpu) = (median(samples.iter().map(|s| s.0.wall_s)), median(samples.iter().map(|s| s.0.cpu_s)));
    let query = |t: &Timed| {
        let line = t.text.lines().find(|l| l.starts_with("{\"version\""))?;
        let said: Value = serde_json::from_str(line).ok()?;
        Some(json!({ "version": said["version"], "query_s": said["query_s"] }))
    };
    json!({
        "program": name, "wall_s": wall, "cpu_s": cpu, "readings_per_s": (READINGS / wall).round(),
        "readings_per_cpu_s": (READINGS / cpu).round(), "edges": samples.iter().map(|s| s.1.len()).collect::<Vec<_>>(),
        "all_wall_s": samples.iter().map(|s| s.0.wall_s).collect::<Vec<_>>(),
        "all_cpu_s": samples.iter().map(|s| s.0.cpu_s).collect::<Vec<_>>(),
        "said": samples.iter().map(|s| query(&s.0)).collect::<Vec<_>>(),
    })
}
