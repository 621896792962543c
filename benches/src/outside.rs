//! firedamp as others see it: the built binary as a process of its own, its metrics, its balance.

use crate::proc::Usage;
use crate::stats::{number, percent_a_minute};
use crate::{proc, setup};
use ::tests::firedamp::Firedamp;
use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use simulator::FloodPlan;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often a generator learns how far the receiver has come.
const LOOK: Duration = Duration::from_millis(50);
/// How long a source may take until it is up, with the start before it.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// How long the end of a run may take until everything is in the table.
const SETTLE_WITHIN: Duration = Duration::from_secs(90);

/// The binary `firedamp`: the one that `FIREDAMP_BIN` names, else that built beside this one.
///
/// # Errors
/// When it is not there.
pub fn binary() -> anyhow::Result<String> {
    let named = std::env::var_os("FIREDAMP_BIN").map(std::path::PathBuf::from);
    let beside =
        named.map_or_else(|| Ok(std::env::current_exe()?.with_file_name("firedamp")), std::io::Result::Ok)?;
    if !beside.is_file() {
        bail!("{} is not there: build both with `cargo build --workspace --bins`", beside.display());
    }
    Ok(beside.display().to_string())
}

/// The binary with a folder of its own, not started yet; see [`setup::config`].
///
/// # Errors
/// When the binary is not there.
pub fn prepare(plan: &FloodPlan, log: &str, more: &str) -> anyhow::Result<Firedamp> {
    let config = setup::config(log, more);
    let files = setup::files(plan)?;
    let mut all: Vec<(&str, &str)> = vec![("firedamp.toml", &config)];
    all.extend(files.iter().map(|(name, text)| (*name, text.as_str())));
    Ok(Firedamp::prepare(&binary()?, &all))
}

/// What `/metrics` said at a moment.
pub struct Metrics(String);

impl Metrics {
    /// Asks for them.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn of(base: &str) -> reqwest::Result<Self> {
        reqwest::get(format!("{base}/metrics")).await?.error_for_status()?.text().await.map(Self)
    }

    /// Sum over all lines of a metric that name `label` (`consumer="rules"`; empty: all); 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let lines = self.0.lines().filter_map(|l| l.strip_prefix(name));
        let lines = lines.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
        lines.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Readings that are durable in the log of the edge.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.sum("firedamp_edge_rows_total", "") as u64
    }

    /// Readings that the rules have read.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.sum("firedamp_consumer_rows_total", "consumer=\"rules\"") as u64
    }

    /// Readings that storage has read: they are in the table or its tail.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.sum("firedamp_consumer_rows_total", "consumer=\"storage\"") as u64
    }

    /// Readings that are done with: judged and stored.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.judged().min(self.stored())
    }

    /// The tail of the table: bytes and readings not yet committed.
    #[must_use]
    pub fn tail(&self) -> (u64, u64) {
        let n = |name| self.sum(name, "") as u64;
        (n("firedamp_storage_tail_bytes"), n("firedamp_storage_tail_readings"))
    }
}

/// Waits until all sources are up, which for MQTT means subscribed: before, a broker keeps nothing for them.
///
/// # Errors
/// When that takes too long.
pub async fn until_up(base: &str) -> anyhow::Result<()> {
    let end = Instant::now() + UP_WITHIN;
    loop {
        let sources = match reqwest::get(format!("{base}/api/v1/sources")).await {
            Ok(answer) => answer.json::<Value>().await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        let mut list = sources.as_array().into_iter().flatten().peekable();
        if list.peek().is_some() && list.all(|s| s["up"] == true) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < end, "the sources are not up after {UP_WITHIN:?}: {sources}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Closes the loop: the limit of a generator is `ahead` readings beyond what firedamp has done, looked at every 50 ms, so that
/// no queue between the two grows and what is reached is what firedamp does. Dropping the set ends it.
#[must_use]
pub fn follow(base: String, done: fn(&Metrics) -> u64, ahead: u64) -> (watch::Receiver<u64>, JoinSet<()>) {
    let (raise, limit) = watch::channel(ahead);
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            if let Ok(metrics) = Metrics::of(&base).await {
                raise.send_replace(done(&metrics) + ahead);
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    (limit, task)
}

/// Processes that are measured apart, each by its name in the results.
#[derive(Default)]
pub struct Watched(Vec<(&'static str, u32, Usage)>);

impl Watched {
    /// Counts CPU from now on.
    pub fn add(&mut self, name: &'static str, pid: u32) {
        self.0.push((name, pid, proc::usage(pid)));
    }

    /// `NAME_cpu_s` since it was added, and `NAME_resident`, of each.
    #[must_use]
    pub fn now(&self) -> Map<String, Value> {
        let mut out = Map::new();
        for (name, pid, before) in &self.0 {
            let now = proc::usage(*pid);
            out.insert(format!("{name}_cpu_s"), json!(now.cpu_s - before.cpu_s));
            out.insert(format!("{name}_resident"), json!(now.resident));
        }
        out
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, ..)| *name)
    }
}

/// A sample of a running firedamp every `every`, for so long: time, readings durable, judged and stored, tail, CPU and memory of all.
///
/// # Errors
/// When firedamp does not answer.
pub async fn sample(
    base: &str,
    watched: &Watched,
    every: Duration,
    seconds: f64,
) -> anyhow::Result<Vec<Value>> {
    let (began, mut samples) = (Instant::now(), Vec::new());
    let machine = proc::machine_cpu_s();
    while began.elapsed().as_secs_f64() < seconds {
        tokio::time::sleep(every).await;
        let metrics = Metrics::of(base).await.context("firedamp does not answer")?;
        let (tail_bytes, tail_readings) = metrics.tail();
        let mut row = watched.now();
        row.insert("s".to_owned(), json!(began.elapsed().as_secs_f64()));
        row.insert("machine_cpu_s".to_owned(), json!(proc::machine_cpu_s() - machine));
        row.insert("durable".to_owned(), json!(metrics.durable()));
        row.insert("judged".to_owned(), json!(metrics.judged()));
        row.insert("stored".to_owned(), json!(metrics.stored()));
        row.insert("tail_bytes".to_owned(), json!(tail_bytes));
        row.insert("tail_readings".to_owned(), json!(tail_readings));
        eprintln!("{}", Value::Object(row.clone()));
        samples.push(Value::Object(row));
    }
    Ok(samples)
}

/// Readings a second over the later samples that are both judged and stored: what goes through.
#[must_use]
pub fn rate_done(later: &[&Value]) -> f64 {
    crate::stats::rate(later, "judged").min(crate::stats::rate(later, "stored"))
}

/// CPU nanoseconds a reading of each process, over the later samples.
#[must_use]
pub fn cpu_ns_a_reading(watched: &Watched, later: &[&Value]) -> Value {
    let readings = rate_done(later);
    let of = |name| json!(crate::stats::rate(later, &format!("{name}_cpu_s")) * 1e9 / readings);
    Value::Object(watched.names().map(|name| (name.to_owned(), of(name))).collect())
}

/// Resident memory of firedamp in the steady part: its mean and its slope in % a minute, with the table's tail and without.
#[must_use]
pub fn memory(later: &[&Value]) -> Value {
    let without_tail = |s: &Value| number(s, "firedamp_resident") - number(s, "tail_bytes");
    let slope = |f: &dyn Fn(&Value) -> f64| {
        percent_a_minute(&later.iter().map(|s| (number(s, "s"), f(s))).collect::<Vec<_>>())
    };
    let mean = |f: &dyn Fn(&Value) -> f64| later.iter().map(|s| f(s)).sum::<f64>() / later.len() as f64;
    let resident = |s: &Value| number(s, "firedamp_resident");
    json!({
        "resident_mean": mean(&resident), "slope_percent_a_minute": slope(&resident),
        "without_tail_mean": mean(&without_tail), "slope_without_tail_percent_a_minute": slope(&without_tail),
    })
}

/// Cores that processes which are none of ours used meanwhile: above a few hundredths the machine was not quiet.
#[must_use]
pub fn strangers(ours: &[&str], later: &[&Value]) -> Value {
    let ours: f64 = ours.iter().map(|name| crate::stats::rate(later, name)).sum();
    json!(crate::stats::rate(later, "machine_cpu_s") - ours)
}

/// Waits until firedamp has stored all it took and says so in its balance; the balance.
///
/// # Errors
/// When that takes too long, with the last balance.
pub async fn settled(firedamp: &Firedamp, readings: u64) -> anyhow::Result<Value> {
    let end = Instant::now() + SETTLE_WITHIN;
    loop {
        let balance = firedamp.get("/api/v1/balance").await?;
        let n = |key: &str| balance[key].as_u64().unwrap_or(0);
        if n("received") >= readings && n("pending") == 0 {
            return Ok(without_sources(balance));
        }
        if Instant::now() > end {
            bail!(
                "{readings} readings are not all stored after {SETTLE_WITHIN:?}: {}",
                without_sources(balance)
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The sums alone: a thousand sources are no result.
#[must_use]
pub fn without_sources(mut balance: Value) -> Value {
    if let Some(all) = balance.as_object_mut() {
        all.remove("sources");
    }
    balance
}

/// Whether the two sums of a balance are exact and so many readings came.
#[must_use]
pub fn is_exact(balance: &Value, received: u64) -> bool {
    let n = |key: &str| balance[key].as_u64().unwrap_or(u64::MAX / 8);
    n("received") == received
        && n("received") == n("accepted") + n("refused")
        && n("accepted") == n("stored") + n("duplicate") + n("quarantined") + n("pending")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_by_name_and_label() {
        let text = "# TYPE a counter\na{consumer=\"rules\",x=\"1\"} 3\na{consumer=\"rules\",x=\"2\"} 4\na{consumer=\"storage\"} 5\nab 9\nb 2.5\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!(metrics.sum("a", "consumer=\"rules\""), 7.0);
        assert_eq!((metrics.sum("a", ""), metrics.sum("b", ""), metrics.sum("c", "")), (12.0, 2.5, 0.0));
    }

    #[test]
    fn what_is_judged_and_what_is_stored_are_two_and_done_is_both() {
        let of = |consumer, n| format!("firedamp_consumer_rows_total{{consumer=\"{consumer}\"}} {n}\n");
        let metrics = Metrics(of("rules", 7) + &of("storage", 4));
        assert_eq!((metrics.judged(), metrics.stored(), metrics.done()), (7, 4, 4));
        let samples = [(0, 0, 0), (1, 7, 4)]
            .map(|(s, judged, stored)| json!({ "s": s, "judged": judged, "stored": stored }));
        assert_eq!(rate_done(&samples.iter().collect::<Vec<_>>()), 4.0);
    }

    #[test]
    fn a_balance_that_misses_one_is_not_exact() {
        let balance = |stored: u64| json!({ "received": 10, "accepted": 9, "refused": 1, "stored": stored, "duplicate": 1, "quarantined": 0, "pending": 0 });
        assert!(is_exact(&balance(8), 10) && !is_exact(&balance(7), 10) && !is_exact(&balance(8), 11));
        assert!(!is_exact(&json!({}), 0));
    }
}
