//! The one configuration that all rows run on: sites and points of [`simulator::FloodPlan`], four rules a point.

use anyhow::Context;
use firedamp::config::{Config, Loaded};
use simulator::FloodPlan;
use std::path::Path;

/// Points of one site.
pub const SITE_POINTS: usize = 1_000;
/// Partitions of the log.
pub const PARTITIONS: u32 = 8;

/// Four rules, each for every point.
pub const RULES: &str = r#"
[[rule]]
name = "limit"
kind = "limit"
select = { quantity = "ch4" }
level = [{ name = "alarm", on = ">= 1.0", off = "< 1.0" }, { name = "cut", on = ">= 1.5", off = "< 1.0" }]

[[rule]]
name = "rate"
kind = "rate"
select = { quantity = "ch4" }
window = "60s"
buckets = 4
level = [{ name = "warning", on = ">= 5.0 /min", off = "< 1.0 /min" }]

[[rule]]
name = "silent"
kind = "silent"
select = { quantity = "ch4" }
after = "10min"

[[rule]]
name = "status"
kind = "status"
select = { quantity = "ch4" }
any = ["sensor_fault"]
"#;

/// A plan of so many points, a thousand a site, a hundred readings a message.
#[must_use]
pub fn plan(points: usize) -> FloodPlan {
    FloodPlan { points, points_per_site: SITE_POINTS, ..FloodPlan::default() }
}

/// What `firedamp.toml` says beside `[server]`: `log` are further lines of `[log]`, `more` further sections.
#[must_use]
pub fn config(log: &str, more: &str) -> String {
    format!(
        "[log]\npartitions = {PARTITIONS}\nretain = {{ size = \"40GiB\" }}\n{log}\n[catalog]\nsites = \"sites.csv\"\n\
         points = [\"points.csv\"]\n[rules]\npaths = [\"rules.toml\"]\n[storage]\nflush = \"20s\"\n{more}\n"
    )
}

/// A webhook receiver of everything but firedamp's own alarms.
#[must_use]
pub fn receiver(url: &str) -> String {
    format!("[[receiver]]\nname = \"bench\"\nkind = \"webhook\"\nurl = \"{url}\"\nown = false\n")
}

/// The files beside `firedamp.toml`, by name.
///
/// # Errors
/// None that could be met: they are written to memory.
pub fn files(plan: &FloodPlan) -> anyhow::Result<[(&'static str, String); 3]> {
    let (mut sites, mut points) = (Vec::new(), Vec::new());
    plan.write_sites(&mut sites)?;
    plan.write_points(&mut points)?;
    Ok([
        ("sites.csv", String::from_utf8(sites)?),
        ("points.csv", String::from_utf8(points)?),
        ("rules.toml", RULES.to_owned()),
    ])
}

/// Writes all files into a folder and reads them as `firedamp run` does; the API is on a free port.
///
/// # Errors
/// What is wrong with them.
pub fn load(dir: &Path, plan: &FloodPlan, log: &str, more: &str) -> anyhow::Result<(Config, Loaded)> {
    for (name, text) in files(plan)? {
        std::fs::write(dir.join(name), text)?;
    }
    let server = "[server]\nlisten = \"127.0.0.1:0\"\n";
    let file = dir.join("firedamp.toml");
    std::fs::write(&file, config(log, more) + server)?;
    let (config, problems) = Config::read(&file);
    let config = config.with_context(|| problems.to_string())?;
    let (loaded, problems) = Loaded::read(&config);
    Ok((config, loaded.with_context(|| problems.to_string())?))
}

/// Mosquitto as deployed rather than as tests want it: no line a message in its log, and its store written once a minute.
pub const QUIET_BROKER: &str = "log_type none\nlog_type error\nlog_type warning\nautosave_interval 60";

/// The MQTT source that reads a flood of a plan. With one client the topics are one filter; with more each topic is named, so that
/// they can be shared out.
#[must_use]
pub fn mqtt_source(plan: &FloodPlan, url: &str, clients: usize) -> String {
    let topics: Vec<String> = match clients {
        1 => vec!["\"mine/+/batch\"".to_owned()],
        _ => (0..plan.sites()).map(|s| format!("\"mine/{}/batch\"", plan.site(s))).collect(),
    };
    format!(
        "[[source]]\nname = \"flood\"\nkind = \"mqtt\"\nurl = \"{url}\"\nclients = {clients}\ntopics = [{}]\neach = \"/readings\"\n\
         map = {{ site = \"{{1}}\", point = \"/p\", value = \"/v\", time = \"/t\", status = \"/q\" }}\n",
        topics.join(", ")
    )
}
