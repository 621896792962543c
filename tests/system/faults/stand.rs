//! firedamp under steady load of four healthy sources, and what must be true of them whatever happens to the fifth.
//!
//! Each neighbour counts what it has sent; a value is the number of its reading, so that the table shows a hole or a repeat.

use super::told::Told;
use crate::stand::BINARY;
use model::Clock;
use model::time::SECOND;
use serde_json::json;
use simulator::modbus::{Image, ModbusServer, Table, Unit};
use simulator::mqtt::{Message, Publisher, PublisherOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tests::firedamp::Firedamp;
use tests::mosquitto::Mosquitto;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(60);
pub const MINE: &str = "620000000001";
pub const SENSOR: &str = "62000000000101MN004300001A01";
/// A sensor of the mine that no neighbour sends.
pub const OTHER_SENSOR: &str = "62000000000101MN004300001A02";
/// Readings a message or a request.
const BATCH: i64 = 10;
/// The neighbours, by the names of their sources.
const NEIGHBOURS: [&str; 4] = ["calm", "meter", "push", "inbox"];
/// A neighbour sends as soon as its last was taken, but not more often than this: load, not a flood.
const PACE: Duration = Duration::from_millis(10);

const SITES: &str =
    "site,name,kind,region\nN1,Neighbour,plant,140100\nE1,East,mine,140100\n620000000001,Mine,mine,620000\n";
const POINTS: &str = "site,point,name,quantity,unit,low,high,place\nN1,MQ,,wind,m/s,0,,\nN1,MB,,wind,m/s,0,,\nN1,PU,,wind,m/s,0,,\n\
                      N1,GAS,,ch4,%,0,30,T1\n620000000001,62000000000101MN004300001A01,,wind,m/s,0,,\n\
                      620000000001,62000000000101MN004300001A02,,wind,m/s,0,,\n\
                      E1,A,,wind,m/s,0,,\nE1,B,,wind,m/s,0,,\nE1,C,,wind,m/s,0,,\nE1,LT-1,,level,m,0,,\n\
                      E1,LT-2,,level,m,0,,\nE1,LT-3,,level,m,0,,\nE1,LT-9,,level,m,0,,\n";

const RULES: &str = r#"
[[rule]]
name = "gas"
kind = "limit"
select = { site = "N1", quantity = "ch4" }
level = [{ name = "alarm", on = ">= 1.0", off = "< 1.0", severity = "yellow" }]
"#;

/// What the neighbours have sent and know to be taken.
#[derive(Default)]
struct Sent {
    calm: AtomicI64,
    push: AtomicI64,
    inbox: AtomicI64,
    /// Requests that were answered with 503 and sent again.
    again: AtomicI64,
}

/// A meter that counts its reads: each one shows the next number.
struct Counting(AtomicI64);

impl Unit for Counting {
    fn read(&self, _: Table, _: u16, _: u16) -> Result<Arc<Image>, u8> {
        let n = self.0.fetch_add(1, Ordering::SeqCst) as u32;
        let mut image = Image::default();
        image.put(Table::Holding, 0, &[(n >> 16) as u16, n as u16]);
        Ok(Arc::new(image))
    }
}

pub struct Stand {
    pub firedamp: Firedamp,
    pub broker: Mosquitto,
    sent: Arc<Sent>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    gas: AtomicBool,
    gas_readings: AtomicI64,
    /// Pushed by the test itself, not by the neighbour.
    pub pushed_beside: i64,
    told: std::sync::Mutex<Told>,
    _meter: ModbusServer,
}

pub fn now() -> i64 {
    model::SystemClock.now()
}

impl Stand {
    /// firedamp with the neighbours and further `sources`; `head` is the start of the configuration, before them. Files
    /// besides the configuration may be there already.
    pub async fn start(head: &str, sources: impl FnOnce(&Mosquitto) -> String) -> Self {
        let (broker, stop) = (tests::mosquitto::start(), CancellationToken::new());
        let units: BTreeMap<u8, Arc<dyn Unit>> =
            [(1, Arc::new(Counting(AtomicI64::new(0))) as Arc<dyn Unit>)].into();
        let meter =
            ModbusServer::start(([127, 0, 0, 1], 0).into(), units, CancellationToken::new()).await.unwrap();
        let config = format!(
            "{head}\n[catalog]\nsites = \"sites.csv\"\npoints = [\"points.csv\"]\n\n[rules]\npaths = [\"rules.toml\"]\n\n\
             [[source]]\nname = \"calm\"\nkind = \"mqtt\"\nurl = \"{}\"\ntopics = [\"calm\"]\neach = \"\"\n\
             map = {{ site = \"N1\", point = \"MQ\", value = \"/v\", time = \"/t\" }}\n\n\
             [[source]]\nname = \"meter\"\nkind = \"modbus\"\nurl = \"tcp://{}\"\nsite = \"N1\"\nevery = \"10ms\"\n\
             register = [{{ point = \"MB\", address = 0, type = \"u32\" }}]\n\n\
             [[source]]\nname = \"inbox\"\nkind = \"national\"\ndir = \"inbox\"\nevery = \"20ms\"\n\n{}",
            broker.url,
            meter.addr,
            sources(&broker),
        );
        let files = [
            ("firedamp.toml", config.as_str()),
            ("sites.csv", SITES),
            ("points.csv", POINTS),
            ("rules.toml", RULES),
        ];
        let mut firedamp = Firedamp::prepare(BINARY, &files);
        firedamp.start().await;
        let mut stand = Self {
            firedamp,
            broker,
            sent: Arc::default(),
            stop,
            tasks: JoinSet::new(),
            gas: AtomicBool::new(false),
            gas_readings: AtomicI64::new(0),
            pushed_beside: 0,
            told: std::sync::Mutex::new(Told::default()),
            _meter: meter,
        };
        stand.neighbours();
        stand.pass("no fault").await;
        stand
    }

    fn neighbours(&mut self) {
        let stop = &self.stop;
        self.tasks.spawn(calm(self.broker.url.clone(), self.sent.clone(), stop.clone()));
        self.tasks.spawn(push(self.firedamp.url("/api/v1/readings"), self.sent.clone(), stop.clone()));
        self.tasks.spawn(inbox(self.firedamp.folder().join("inbox"), self.sent.clone(), stop.clone()));
    }

    /// Readings of known points made durable so far, by source, as the binary counts them.
    pub async fn durable(&self) -> BTreeMap<String, i64> {
        Told::metrics(&self.firedamp).await.by_source("firedamp_ingest_readings_total")
    }

    /// Requests of the push neighbour that were refused for a time.
    pub fn pushed_again(&self) -> i64 {
        self.sent.again.load(Ordering::SeqCst)
    }

    /// Every neighbour sends more and all that it sends becomes durable, and an alarm rises and falls, now; `fault` is what
    /// is wrong meanwhile.
    pub async fn pass(&self, fault: &str) {
        let before = self.durable().await;
        for name in NEIGHBOURS {
            tests::wait_for_async(&format!("{name} goes on during: {fault}"), PATIENCE, || async {
                let more = self.durable().await.get(name).copied().unwrap_or(0)
                    - before.get(name).copied().unwrap_or(0);
                (more >= 2 * BATCH).then_some(())
            })
            .await;
        }
        self.turn_gas(fault).await;
        self.turn_gas(fault).await;
        let metrics = Told::metrics(&self.firedamp).await;
        self.told.lock().unwrap().latencies(fault, metrics, &NEIGHBOURS);
    }

    /// Gas goes over its limit, or back, and the alarm shows it.
    async fn turn_gas(&self, fault: &str) {
        let on = !self.gas.fetch_xor(true, Ordering::SeqCst);
        let value = if on { 1.2 } else { 0.3 };
        let body =
            json!([{ "site": "N1", "point": "GAS", "time": now() / 1000, "value": value }]).to_string();
        let answer = self.firedamp.post("/api/v1/readings", "application/json", body).await.unwrap();
        assert_eq!(answer["accepted"], 1, "during {fault}: {answer}");
        self.gas_readings.fetch_add(1, Ordering::SeqCst);
        tests::wait_for_async(&format!("the gas alarm turns {on} during: {fault}"), PATIENCE, || async {
            (self.alarm("gas", "GAS").await.is_some() == on).then_some(())
        })
        .await;
    }

    /// The active alarm of a rule and point.
    pub async fn alarm(&self, rule: &str, point: &str) -> Option<serde_json::Value> {
        active(&self.firedamp, rule, point).await
    }

    /// Waits for an own alarm to rise.
    pub async fn alarmed(&self, what: &str, key: &str) -> serde_json::Value {
        let rule = format!("firedamp/{what}");
        tests::wait_for_async(&format!("{rule} of {key}"), PATIENCE, || self.alarm(&rule, key)).await
    }

    /// Waits for an own alarm to end.
    pub async fn ended(&self, what: &str, key: &str) {
        let rule = format!("firedamp/{what}");
        tests::wait_for_async(&format!("the end of {rule} of {key}"), PATIENCE, || async {
            self.alarm(&rule, key).await.is_none().then_some(())
        })
        .await;
    }

    /// What operators see of a source.
    pub async fn source(&self, name: &str) -> serde_json::Value {
        let sources = self.firedamp.get("/api/v1/sources").await.unwrap();
        sources
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["name"] == name)
            .unwrap_or_else(|| panic!("no {name}"))
            .clone()
    }

    /// Waits until the health of a source says something.
    pub async fn says(&self, name: &str, words: &str) -> serde_json::Value {
        or_last(&format!("{name} says `{words}`"), || async {
            let source = self.source(name).await;
            let says = source["message"].as_str().is_some_and(|m| m.contains(words));
            (says.then(|| source.clone()), source)
        })
        .await
    }

    /// The neighbours end; what they sent is all there, once, with its values, and the balance of every source is exact.
    /// Returns the balance by source.
    pub async fn settle(&mut self) -> BTreeMap<String, Balance> {
        self.stop_neighbours().await;
        let (calm, push, files) = (
            self.sent.calm.load(Ordering::SeqCst),
            self.sent.push.load(Ordering::SeqCst),
            self.sent.inbox.load(Ordering::SeqCst),
        );
        // Gas and what the test pushed beside come by the same source.
        let all_pushed = push + self.gas_readings.load(Ordering::SeqCst) + self.pushed_beside;
        let wanted = BTreeMap::from([("calm", calm), ("push", all_pushed), ("inbox", files)]);
        let balance = balanced(&self.firedamp, &wanted).await;
        for (site, point, sent) in [("N1", "MQ", calm), ("N1", "PU", push), (MINE, SENSOR, files)] {
            let sql = format!("FROM readings WHERE site = '{site}' AND point = '{point}'");
            assert_eq!(self.numbers(&sql).await, (sent, sent, 0, sent - 1), "{point}: each number once");
        }
        // The meter is still read: what it showed is there without a hole from the first to the last.
        let (count, distinct, first, last) =
            self.numbers("FROM readings WHERE site = 'N1' AND point = 'MB'").await;
        assert_eq!((count, distinct, first), (last + 1, last + 1, 0), "the meter: each number once");
        balance
    }

    /// The neighbours end; what they sent is acknowledged.
    pub async fn stop_neighbours(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Count, distinct values, lowest and highest value, of one moment.
    async fn numbers(&self, from: &str) -> (i64, i64, i64, i64) {
        let sql = format!(
            "SELECT count(*) AS c, count(DISTINCT value) AS d, min(value) AS l, max(value) AS h {from}"
        );
        let rows = self.firedamp.post("/api/v1/sql", "text/plain", sql).await.unwrap();
        let n = |key: &str| rows[0][key].as_f64().unwrap_or_else(|| panic!("{key} of {rows}")) as i64;
        (n("c"), n("d"), n("l"), n("h"))
    }
}

/// Counts of a source that add up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Balance {
    pub received: i64,
    pub refused: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub quarantined: i64,
}

/// The active alarm of a rule and point.
pub async fn active(firedamp: &Firedamp, rule: &str, point: &str) -> Option<serde_json::Value> {
    let alarms = firedamp.get("/api/v1/alarms?limit=10000").await.ok()?;
    alarms.as_array()?.iter().find(|a| a["rule"] == rule && a["point"] == point).cloned()
}

/// Waits for the first of what `probe` gives; fails with the second of the last time.
pub async fn or_last<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = (Option<T>, serde_json::Value)>,
{
    let until = std::time::Instant::now() + PATIENCE;
    tests::wait_for_async(what, 2 * PATIENCE, || {
        let asked = probe();
        async move {
            let (found, last) = asked.await;
            assert!(
                found.is_some() || std::time::Instant::now() < until,
                "in vain: {what}; the last was {last}"
            );
            found
        }
    })
    .await
}

/// Waits until the named sources have stored so many and nothing of theirs is pending; every source adds up.
pub async fn balanced(firedamp: &Firedamp, wanted: &BTreeMap<&str, i64>) -> BTreeMap<String, Balance> {
    let found = or_last(&format!("the balance {wanted:?}"), || async {
        let said = firedamp.get("/api/v1/balance").await.unwrap_or_default();
        let sources = said["sources"].as_array().cloned().unwrap_or_default();
        let of = |name: &str| sources.iter().find(|s| s["name"] == name);
        let settled = wanted.iter().all(|(name, stored)| {
            of(name).is_some_and(|s| s["pending"] == 0 && s["stored"].as_i64() >= Some(*stored))
        });
        (settled.then(|| sources.iter().map(add_up).collect::<BTreeMap<_, _>>()), said)
    })
    .await;
    for (name, stored) in wanted {
        assert_eq!(found[*name].stored, *stored, "{name}: {:?}", found[*name]);
    }
    found
}

fn add_up(source: &serde_json::Value) -> (String, Balance) {
    let n = |key: &str| source[key].as_i64().unwrap();
    assert_eq!(n("received"), n("accepted") + n("refused"), "{source}");
    assert_eq!(n("accepted"), n("stored") + n("duplicate") + n("quarantined") + n("pending"), "{source}");
    let balance = Balance {
        received: n("received"),
        refused: n("refused"),
        stored: n("stored"),
        duplicate: n("duplicate"),
        quarantined: n("quarantined"),
    };
    (source["name"].as_str().unwrap().to_owned(), balance)
}

/// A publisher of its own.
pub fn publisher(url: &str, client: &str, stop: &CancellationToken) -> Publisher {
    let options = PublisherOptions { url: url.to_owned(), client: client.to_owned(), window: 4 };
    Publisher::start(options, stop.clone()).unwrap()
}

/// A list of readings with the numbers from `from` on, each a millisecond later than the one before.
pub fn numbered(start: i64, from: i64) -> Vec<u8> {
    let rows: Vec<_> = (from..from + BATCH).map(|n| json!({ "v": n, "t": start + n })).collect();
    serde_json::to_vec(&rows).unwrap()
}

async fn calm(url: String, sent: Arc<Sent>, stop: CancellationToken) {
    // It ends by itself: a message cut short by the token would be counted and not sent.
    let mut publisher = publisher(&url, "calm-device", &CancellationToken::new());
    let (start, mut pace) = (now() / 1000, tokio::time::interval(PACE));
    while !stop.is_cancelled() {
        pace.tick().await;
        let from = sent.calm.load(Ordering::SeqCst);
        let message = Message { topic: "calm".to_owned(), payload: numbered(start, from) };
        publisher.send(&message).await.unwrap();
        publisher.settled().await.unwrap();
        sent.calm.store(from + BATCH, Ordering::SeqCst);
    }
}

async fn push(url: String, sent: Arc<Sent>, stop: CancellationToken) {
    let (client, start) = (reqwest::Client::new(), now() / 1000);
    let mut pace = tokio::time::interval(PACE);
    while !stop.is_cancelled() {
        pace.tick().await;
        let from = sent.push.load(Ordering::SeqCst);
        let row = |n| json!({ "site": "N1", "point": "PU", "time": start + n, "value": n });
        let body = serde_json::to_vec(&(from..from + BATCH).map(row).collect::<Vec<_>>()).unwrap();
        let request = client.post(&url).header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        match answer.status().as_u16() {
            200 => drop(sent.push.fetch_add(BATCH, Ordering::SeqCst)),
            503 => drop(sent.again.fetch_add(1, Ordering::SeqCst)),
            other => panic!("push: {other} {:?}", answer.text().await),
        }
    }
}

/// `yyyy-MM-dd HH:mm:ss` of a national file.
pub fn national(time: i64) -> String {
    let zone = chrono::FixedOffset::east_opt(8 * 3600).unwrap();
    chrono::DateTime::from_timestamp_micros(time)
        .unwrap()
        .with_timezone(&zone)
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// A complete file of one reading; its name and its text.
pub fn national_file(time: i64, value: i64) -> (String, String) {
    let at = national(time);
    let name = format!("{MINE}_CDSS_{}.txt", at.replace(['-', ' ', ':'], ""));
    (name, format!("{MINE};测试煤矿;{at}~{SENSOR};风速;T1;{value};m/s;0;{at}~||"))
}

/// Drops a file in as a careful writer does.
pub fn put(inbox: &Path, name: &str, content: impl AsRef<[u8]>) {
    let hidden = inbox.join(format!(".{name}"));
    std::fs::write(&hidden, content).unwrap();
    std::fs::rename(hidden, inbox.join(name)).unwrap();
}

async fn inbox(inbox: PathBuf, sent: Arc<Sent>, stop: CancellationToken) {
    // The format counts in seconds: each file is a second later than the one before, beginning an hour ago.
    let start = now() - 3600 * SECOND;
    let mut pace = tokio::time::interval(PACE);
    while !stop.is_cancelled() {
        let n = sent.inbox.load(Ordering::SeqCst);
        let (name, text) = national_file(start + n * SECOND, n);
        put(&inbox, &name, text);
        let done = inbox.join("done").join(&name);
        while !done.exists() {
            pace.tick().await;
        }
        sent.inbox.store(n + 1, Ordering::SeqCst);
    }
}
