//! A load generator: MQTT messages of many readings, built once and then only given new times and values, so that what is
//! measured is the receiver. For benches; the values are those of quiet methane sensors, with an over-limit one now and then
//! where asked.
//!
//! Sites are `F00000` on, points `P0000000` on, numbered through; a message carries the next `readings_per_message` points of
//! one site on `mine/<site>/batch` ([`crate::mqtt::payload`] shows the form).

use crate::mqtt::{Message, Publisher, PublisherOptions};
use crate::world::noise::mix;
use anyhow::{Context, bail};
use model::Clock;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const CONNECTIONS_MAX: usize = 64;
/// Unacknowledged messages under way on a connection.
const WINDOW: usize = 1000;
/// Pause when nothing is due.
const PAUSE: Duration = Duration::from_millis(1);
/// At the end, acknowledgements get this long.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// Width of a time in milliseconds, and of a value.
const TIME_WIDTH: usize = 13;
const VALUE_WIDTH: usize = 4;

/// How much, how fast, how long.
#[derive(Clone, PartialEq, Debug)]
pub struct FloodPlan {
    /// Points in all.
    pub points: usize,
    /// Points of a site.
    pub points_per_site: usize,
    /// Readings in a message.
    pub readings_per_message: usize,
    /// Readings a second in all; 0: as fast as the broker acknowledges.
    pub rate: f64,
    /// How long.
    pub duration: Duration,
    /// Connections; the sites are spread over them.
    pub connections: usize,
    /// One of so many readings, spread at random, is 1.20 %, which the next of its point takes back; `None`: never.
    pub over_every: Option<u64>,
}

impl Default for FloodPlan {
    fn default() -> Self {
        Self {
            points: 10_000,
            points_per_site: 200,
            readings_per_message: 100,
            rate: 10_000.0,
            duration: Duration::from_secs(10),
            connections: 1,
            over_every: None,
        }
    }
}

/// What was published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FloodReport {
    /// Messages published.
    pub messages: u64,
    /// Readings in them.
    pub readings: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Messages sent again after a lost link.
    pub repeated: u64,
    /// Readings that were due in the time and not published: the receiver held the generator back.
    pub behind: u64,
    /// From the first message to the last acknowledgement.
    pub took: Duration,
}

impl FloodPlan {
    fn check(&self) -> anyhow::Result<()> {
        if self.points == 0
            || self.points > 9_999_999
            || self.points_per_site == 0
            || self.readings_per_message == 0
        {
            bail!("a flood needs 1 to 9,999,999 points, and at least one a site and a message");
        }
        if !(self.rate >= 0.0 && self.rate.is_finite()) {
            bail!("rate {}: write readings a second, 0 for as fast as acknowledged", self.rate);
        }
        if self.connections == 0 || self.connections > CONNECTIONS_MAX {
            bail!("{} connections: write 1 to {CONNECTIONS_MAX}", self.connections);
        }
        Ok(())
    }

    /// Name of a site.
    pub fn site(&self, number: usize) -> String {
        format!("F{number:05}")
    }

    /// Code of a point.
    pub fn point(&self, number: usize) -> String {
        format!("P{number:07}")
    }

    /// How many sites there are.
    pub fn sites(&self) -> usize {
        self.points.div_ceil(self.points_per_site)
    }

    /// Writes `sites.csv`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_sites(&self, mut out: impl Write) -> std::io::Result<()> {
        writeln!(out, "site,name,kind,region")?;
        for i in 0..self.sites() {
            writeln!(out, "{},flood {i},mine,140581", self.site(i))?;
        }
        Ok(())
    }

    /// Writes `points.csv`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_points(&self, mut out: impl Write) -> std::io::Result<()> {
        writeln!(out, "site,point,name,quantity,unit,low,high,place")?;
        for p in 0..self.points {
            let (site, point) = (self.site(p / self.points_per_site), self.point(p));
            writeln!(out, "{site},{point},,ch4,%,0,10,T1")?;
        }
        Ok(())
    }

    /// The messages of the sites of one connection.
    fn templates(&self, connection: usize) -> Vec<Template> {
        let mut out = Vec::new();
        for site in (connection..self.sites()).step_by(self.connections) {
            let end = ((site + 1) * self.points_per_site).min(self.points);
            for first in (site * self.points_per_site..end).step_by(self.readings_per_message) {
                let points = first..(first + self.readings_per_message).min(end);
                out.push(Template::new(&self.site(site), points));
            }
        }
        out
    }
}

/// A message whose times and values are filled in anew each time.
struct Template {
    message: Message,
    /// Where the times stand; the value of the same reading follows at a fixed distance.
    times: Vec<usize>,
}

/// From the start of a time to the start of the value: the time and `,"v":`.
const TO_VALUE: usize = TIME_WIDTH + 5;

impl Template {
    fn new(site: &str, points: std::ops::Range<usize>) -> Self {
        let mut text = String::from("{\"readings\":[");
        let mut times = Vec::with_capacity(points.len());
        for p in points {
            if !times.is_empty() {
                text.push(',');
            }
            let _ = write!(text, "{{\"p\":\"P{p:07}\",\"t\":");
            times.push(text.len());
            let _ = write!(text, "{:0TIME_WIDTH$},\"v\":0.00,\"q\":0}}", 0);
        }
        text.push_str("]}");
        Self { message: Message { topic: format!("mine/{site}/batch"), payload: text.into_bytes() }, times }
    }

    /// Fills in; `salt` decides the values, `count` counts readings for the over-limit ones.
    fn fill(&mut self, t_ms: i64, salt: u64, count: &mut u64, over_every: Option<u64>) -> &Message {
        let mut digits = [b'0'; TIME_WIDTH];
        let mut rest = t_ms.unsigned_abs();
        for d in digits.iter_mut().rev() {
            *d = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let mut bits = salt;
        for at in &self.times {
            let payload = &mut self.message.payload;
            payload[*at..at + TIME_WIDTH].copy_from_slice(&digits);
            *count += 1;
            bits = bits.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let cents = 20 + (bits >> 56) as u8 % 50;
            let value = if over_every.is_some_and(|n| mix(*count, 0x6f76).is_multiple_of(n)) {
                *b"1.20"
            } else {
                [b'0', b'.', b'0' + cents / 10, b'0' + cents % 10]
            };
            payload[at + TO_VALUE..at + TO_VALUE + VALUE_WIDTH].copy_from_slice(&value);
        }
        &self.message
    }
}

/// Floods a broker.
///
/// # Errors
/// A plan that makes no sense, an address that is none.
pub async fn flood(
    url: &str,
    plan: &FloodPlan,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<FloodReport> {
    let (_unlimited, limit) = watch::channel(u64::MAX);
    flood_up_to(url, plan, clock, stop, limit).await
}

/// As [`flood`], but never beyond `limit` readings in all: a broker acknowledges what it queues, so only who knows how far the
/// receiver has come can keep the queue short.
///
/// # Errors
/// As [`flood`].
pub async fn flood_up_to(
    url: &str,
    plan: &FloodPlan,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    limit: watch::Receiver<u64>,
) -> anyhow::Result<FloodReport> {
    plan.check()?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in 0..plan.connections.min(plan.sites()) {
        let client = format!("firedamp-flood-{}-{connection}", std::process::id());
        let options = PublisherOptions { url: url.to_owned(), client, window: WINDOW };
        let publisher = Publisher::start(options, CancellationToken::new())?;
        tasks.spawn(pour(publisher, plan.clone(), connection, clock.clone(), stop.clone(), limit.clone()));
    }
    let mut report = FloodReport::default();
    while let Some(one) = tasks.join_next().await {
        let one = one.context("a connection of the flood ended badly")??;
        report.messages += one.messages;
        report.readings += one.readings;
        report.acknowledged += one.acknowledged;
        report.repeated += one.repeated;
    }
    report.took = began.elapsed();
    let due = (plan.rate * plan.duration.min(report.took).as_secs_f64()) as u64;
    report.behind = due.saturating_sub(report.readings);
    Ok(report)
}

async fn pour(
    mut publisher: Publisher,
    plan: FloodPlan,
    connection: usize,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    limit: watch::Receiver<u64>,
) -> anyhow::Result<FloodReport> {
    let mut templates = plan.templates(connection);
    let points: usize = templates.iter().map(|t| t.times.len()).sum();
    let share = points as f64 / plan.points as f64;
    let rate = plan.rate * share;
    let mut report = FloodReport::default();
    let (began, mut next, mut count) = (Instant::now(), 0, 0);
    while began.elapsed() < plan.duration && !stop.is_cancelled() {
        let due = if rate > 0.0 { rate * began.elapsed().as_secs_f64() } else { f64::INFINITY };
        if report.readings as f64 >= due.min(*limit.borrow() as f64 * share) {
            sleep(PAUSE).await;
            continue;
        }
        let template = &mut templates[next];
        let salt = mix(report.messages, connection as u64);
        let message = template.fill(clock.now() / 1000, salt, &mut count, plan.over_every);
        tokio::select! {
            () = stop.cancelled() => break,
            sent = publisher.send(message) => sent?,
        }
        report.messages += 1;
        report.readings += template.times.len() as u64;
        next = (next + 1) % templates.len();
    }
    let _ = tokio::time::timeout(SETTLE_WITHIN, publisher.settled()).await;
    let last = publisher.stop().await;
    Ok(FloodReport { acknowledged: last.acknowledged, repeated: last.repeated, ..report })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_json_with_fresh_times_and_values() {
        let plan =
            FloodPlan { points: 250, points_per_site: 120, readings_per_message: 50, ..FloodPlan::default() };
        let mut all = plan.templates(0);
        assert_eq!(all.iter().map(|t| t.times.len()).collect::<Vec<_>>(), [50, 50, 20, 50, 50, 20, 10]);
        let mut count = 0;
        let mut over = 0;
        for (salt, template) in all.iter_mut().enumerate() {
            let t = 1_790_000_000_123 + salt as i64;
            let message = template.fill(t, salt as u64, &mut count, Some(10));
            let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            for reading in body["readings"].as_array().unwrap() {
                assert_eq!(reading["t"], t);
                let v = reading["v"].as_f64().unwrap();
                over += usize::from(v == 1.2);
                assert!(v == 1.2 || (0.2..0.7).contains(&v), "{v}");
            }
        }
        assert!(count == 250 && (10..45).contains(&over), "{over} of {count}");
        assert_eq!(all[3].message.topic, "mine/F00001/batch");
        assert!(all[3].message.payload.starts_with(br#"{"readings":[{"p":"P0000120","#));
    }

    #[test]
    fn its_catalog_names_the_points_of_its_messages() {
        let plan = FloodPlan { points: 250, points_per_site: 120, ..FloodPlan::default() };
        let (mut sites, mut points) = (Vec::new(), Vec::new());
        plan.write_sites(&mut sites).unwrap();
        plan.write_points(&mut points).unwrap();
        let mut problems = model::Problems::default();
        let text = |v| String::from_utf8(v).unwrap();
        let sites = model::catalog::sites_from_csv("s", &text(sites), &mut problems);
        let points = model::catalog::points_from_csv("p", &text(points), &mut problems);
        let catalog = model::Catalog::build(sites, points, 4, &mut problems);
        assert_eq!(problems.errors(), 0, "{problems}");
        assert!(catalog.find("F00002", "P0000249").is_some() && catalog.find("F00000", "P0000120").is_none());
    }
}
