//! `vmalert -replay` over data in VictoriaMetrics: one rule, `value >= 1.0`, a step a second. The server is a process of its own on
//! loopback; its processor time counts, since it is the one that reads what is stored.

use crate::proc::usage;
use crate::workloads::{POINTS, SECONDS, START};
use ::tests::{Process, free_port, peers, wait_for};
use anyhow::{Context, ensure};
use model::time::{SECOND, rfc3339};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const RULE: &str = "groups:\n  - name: ch4\n    interval: 1s\n    rules:\n      - alert: alarm\n        expr: ch4_value >= 1.0\n";

/// A running server with all readings in it.
pub struct Victoria {
    bin: PathBuf,
    base: String,
    server: Process,
    dir: PathBuf,
}

impl Victoria {
    /// Starts a server in an empty folder and stores the readings in it, a series a line.
    ///
    /// # Errors
    /// When it cannot be had, or does not take them.
    pub async fn start(dir: &Path, data: &[u16]) -> anyhow::Result<Self> {
        let fetch = || Ok::<_, anyhow::Error>(peers::fetch("victoriametrics")?.join("victoriametrics"));
        let bin = tokio::task::block_in_place(fetch)?;
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(bin.join("victoria-metrics"));
        command.arg(format!("-storageDataPath={}", dir.join("victoria").display()));
        command.arg(format!("-httpListenAddr={address}"));
        command.args(["-retentionPeriod=100y", "-loggerLevel=WARN"]);
        let server = Process::spawn("victoria-metrics", &command, &dir.join("victoria.log"))?;
        let this = Self { bin, base: format!("http://{address}"), server, dir: dir.to_owned() };
        tokio::task::block_in_place(|| {
            let up = || std::net::TcpStream::connect(&address).ok();
            wait_for("VictoriaMetrics answers", ::tests::START_TIMEOUT, up)
        });
        std::fs::write(dir.join("rule.yml"), RULE)?;
        let times: Vec<i64> = (0..SECONDS as i64).map(|s| START / 1000 + s * 1000).collect();
        let client = reqwest::Client::new();
        for points in (0..POINTS).collect::<Vec<_>>().chunks(500) {
            let mut body = String::new();
            for point in points {
                let values: Vec<f64> =
                    (0..SECONDS).map(|s| f64::from(data[s * POINTS + point]) / 100.0).collect();
                let metric = json!({ "__name__": "ch4_value", "point": format!("P{point:05}") });
                let _ =
                    writeln!(body, "{}", json!({ "metric": metric, "values": values, "timestamps": times }));
            }
            let url = format!("{}/api/v1/import", this.base);
            client.post(url).body(body).send().await?.error_for_status()?;
        }
        let count = this.count_until_all().await?;
        ensure!(count == POINTS * SECONDS, "VictoriaMetrics has {count} readings");
        Ok(this)
    }

    /// What is stored becomes visible some time later.
    async fn count_until_all(&self) -> anyhow::Result<usize> {
        let mut count = 0;
        for _ in 0..50 {
            self.flush().await?;
            let query = format!("sum(count_over_time(ch4_value[{SECONDS}s]))");
            let time = (START / SECOND + SECONDS as i64 - 1).to_string();
            let url = format!("{}/api/v1/query?query={query}&time={time}&nocache=1", self.base);
            let said: Value = reqwest::get(url).await?.error_for_status()?.json().await?;
            let value = said["data"]["result"][0]["value"][1].as_str().and_then(|n| n.parse().ok());
            count = value.unwrap_or(0);
            if count == POINTS * SECONDS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(count)
    }

    async fn flush(&self) -> anyhow::Result<()> {
        reqwest::get(format!("{}/internal/force_flush", self.base)).await?.error_for_status()?;
        Ok(())
    }

    /// Processor seconds of the server so far.
    #[must_use]
    pub fn cpu_s(&self) -> f64 {
        usage(self.server.pid()).cpu_s
    }

    /// The replay.
    #[must_use]
    pub fn replay(&self) -> Command {
        let mut command = Command::new(self.bin.join("vmalert"));
        let (from, to) = (rfc3339(START), rfc3339(START + (SECONDS as i64 - 1) * SECOND));
        command.arg(format!("-rule={}", self.dir.join("rule.yml").display()));
        command.args([format!("-datasource.url={}", self.base), format!("-remoteWrite.url={}", self.base)]);
        command.args([format!("-replay.timeFrom={from}"), format!("-replay.timeTo={to}")]);
        command.arg(format!("-replay.maxDatapointsPerQuery={SECONDS}"));
        command.args([
            "-replay.rulesDelay=0s",
            "-remoteWrite.maxQueueSize=10000000",
            "-replay.disableProgressBar",
        ]);
        command.arg(format!("-httpListenAddr=127.0.0.1:{}", free_port()));
        command
    }

    /// What it decided: at which seconds each point goes on or off.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn edges(&self) -> anyhow::Result<BTreeSet<(String, i64, bool)>> {
        self.flush().await?;
        let url = format!("{}/api/v1/export?match[]=ALERTS", self.base);
        let text = reqwest::get(url).await?.error_for_status()?.text().await?;
        let mut edges = BTreeSet::new();
        for line in text.lines() {
            let series: Value = serde_json::from_str(line)?;
            let point = series["metric"]["point"].as_str().context("an alert without a point")?.to_owned();
            let times = series["timestamps"].as_array().context("an alert without times")?;
            let seconds: BTreeSet<i64> = times.iter().filter_map(|t| Some(t.as_i64()? / 1000)).collect();
            let end = START / SECOND + SECONDS as i64;
            for second in &seconds {
                if !seconds.contains(&(second - 1)) {
                    edges.insert((point.clone(), second * SECOND, true));
                }
                if !seconds.contains(&(second + 1)) && second + 1 < end {
                    edges.insert((point.clone(), (second + 1) * SECOND, false));
                }
            }
        }
        Ok(edges)
    }
}
