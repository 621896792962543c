//! Files of readings through protocols: each row once, with its own time.

use crate::support::{PATIENCE, Raw, Subscriber};
use proptest::prelude::*;
use serde_json::Value;
use simulator::replay::{Row, Rows};
use simulator::{
    AtEnd, Broker, Columns, ModbusReplay, ReplayOptions, ReplayProtocol, ReplayReport, Speed, replay,
};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const START: i64 = 1_790_000_000_000_000;
const STEP: i64 = 30_000_000;

fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("readings.csv");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn wide(only: &[&str]) -> Columns {
    let only = only.iter().map(|c| (*c).to_owned()).collect();
    Columns::Wide { site: "M1".to_owned(), start: START, step: Duration::from_micros(STEP as u64), only }
}

fn mqtt(url: &str, topic: &str, rows_per_message: usize) -> ReplayProtocol {
    let (url, topic, client) = (url.to_owned(), topic.to_owned(), "replay".to_owned());
    ReplayProtocol::Mqtt { url, topic, rows_per_message, window: 20, client }
}

async fn run(path: &Path, columns: Columns, protocol: ReplayProtocol) -> anyhow::Result<ReplayReport> {
    let options = ReplayOptions { columns, speed: Speed::AsAcknowledged, protocol };
    timeout(PATIENCE, replay(path, &options, CancellationToken::new())).await.expect("it ends")
}

#[tokio::test]
async fn a_wide_file_over_mqtt_has_each_row_once_at_its_time() {
    let rows = 107;
    let mut text = String::from("MM31,skip,MM116\n");
    for n in 0..rows {
        text +=
            &format!("0.{:02},9,{}\n", n % 100, if n == 50 { String::new() } else { format!("1.{n:03}") });
    }
    let (_dir, path) = file(&text);
    let broker = Broker::start().await.unwrap();
    let mut subscriber = Subscriber::to(&broker.url(), "mine/+/batch").await;
    let to = mqtt(&broker.url(), "mine/{site}/batch", 10);
    let report = run(&path, wide(&["MM31", "MM116"]), to).await.unwrap();
    assert_eq!((report.rows, report.readings, report.messages, report.complete), (107, 214, 11, true));
    assert_eq!((report.acknowledged, report.repeated), (11, 0));
    let mut readings: Vec<Value> = Vec::new();
    for _ in 0..report.messages {
        let (topic, body) = subscriber.next().await;
        assert_eq!(topic, "mine/M1/batch");
        readings.extend(body["readings"].as_array().unwrap().clone());
    }
    assert_eq!(readings.len(), 214);
    for (i, r) in readings.iter().enumerate() {
        let n = i as i64 / 2;
        assert_eq!(r["t"], (START + STEP * n) / 1000, "row {n}");
        assert_eq!(r["p"], if i % 2 == 0 { "MM31" } else { "MM116" });
        let expected = if i % 2 == 0 { (n % 100) as f64 / 100.0 } else { 1.0 + n as f64 / 1000.0 };
        assert_eq!(r["v"].as_f64(), (i != 101).then_some(expected));
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_long_file_keeps_sites_points_times_and_status() {
    let text = "site,point,time,value,status\n\
                A,x,2026-11-24T00:00:00.250Z,1.5,0\nA,y,2026-11-24T00:00:00.250Z,,128\n\
                B,x,1790000000000,2,\nA,x,2026-11-24T00:00:01Z,3,4\n";
    let (_dir, path) = file(text);
    let broker = Broker::start().await.unwrap();
    let mut subscriber = Subscriber::to(&broker.url(), "#").await;
    let report = run(&path, Columns::Long, mqtt(&broker.url(), "mine/{site}/gas/{point}", 1)).await.unwrap();
    assert_eq!((report.rows, report.readings, report.messages), (3, 4, 4));
    let base = model::time::parse("2026-11-24T00:00:00Z").unwrap() / 1000;
    let expected = [
        ("mine/A/gas/x", Some(1.5), base + 250, 0),
        ("mine/A/gas/y", None, base + 250, 128),
        ("mine/B/gas/x", Some(2.0), 1_790_000_000_000, 0),
        ("mine/A/gas/x", Some(3.0), base + 1000, 4),
    ];
    for (topic, v, t, q) in expected {
        let (at, body) = subscriber.next().await;
        assert_eq!((&*at, body["v"].as_f64(), &body["t"], &body["q"]), (topic, v, &t.into(), &q.into()));
    }
    broker.stop().await;
}

#[tokio::test]
async fn speed_is_kept_and_a_stop_ends_a_replay_that_waits() {
    let (_dir, path) = file("MM31\n0.1\n0.2\n0.3\n");
    let broker = Broker::start().await.unwrap();
    let protocol = mqtt(&broker.url(), "mine/{site}/batch", 1);
    // 60 s of readings at 300 times: 200 ms.
    let options = ReplayOptions { columns: wide(&[]), speed: Speed::Times(300.0), protocol };
    let began = Instant::now();
    let report = replay(&path, &options, CancellationToken::new()).await.unwrap();
    assert!(report.complete && began.elapsed() >= Duration::from_millis(200), "{report:?}");
    let slow = ReplayOptions { speed: Speed::Times(0.001), ..options.clone() };
    let stop = CancellationToken::new();
    let played = tokio::spawn({
        let (path, stop) = (path.clone(), stop.clone());
        async move { replay(&path, &slow, stop).await }
    });
    stop.cancel();
    let report = timeout(PATIENCE, played).await.unwrap().unwrap().unwrap();
    assert!(!report.complete && report.rows < 3);
    let none = ReplayOptions { speed: Speed::Times(0.0), ..options };
    assert!(replay(&path, &none, CancellationToken::new()).await.is_err());
    broker.stop().await;
}

#[tokio::test]
async fn what_is_wrong_in_a_file_is_told_with_its_line() {
    let nowhere = || mqtt("mqtt://127.0.0.1:1", "mine/{site}/batch", 1);
    let cases: [(&str, Columns, &str); 8] = [
        ("a,b\n1,2\n1,x\n", wide(&[]), "readings.csv:3: `x` in column 2"),
        ("a,b\n1,NaN\n", wide(&[]), "readings.csv:2: `NaN`"),
        ("a,b\n1,2\n3\n", wide(&[]), "readings.csv: CSV error: record 2 (line: 3"),
        ("a,b\n1,2\n", wide(&["c"]), "no column `c`"),
        ("site,point,time\n", Columns::Long, "column `value` is missing"),
        ("site,point,time,value\nA,x,2026-11-24 00:00:00,1\n", Columns::Long, "readings.csv:2: time"),
        ("site,point,time,value\nA,x,2026-11-24T00:00:00.0001Z,1\n", Columns::Long, "milliseconds"),
        (
            "site,point,time,value\n,x,1790000000000,1\n",
            Columns::Long,
            "readings.csv:2: site or point is empty",
        ),
    ];
    for (text, columns, says) in cases {
        let (_dir, path) = file(text);
        let protocol = ReplayProtocol::Modbus { listen: "127.0.0.1:0".parse().unwrap(), at_end: AtEnd::Stay };
        let options = ReplayOptions { columns: columns.clone(), speed: Speed::AsAcknowledged, protocol };
        let said = format!("{:#}", ModbusReplay::start(&path, &options).await.unwrap_err());
        assert!(said.contains(says), "{said}");
    }
    let (_dir, path) = file("a\n1\n");
    assert!(run(&path, wide(&[]), mqtt("mqtt://127.0.0.1:1", "mine/+/batch", 1)).await.is_err());
    assert!(run(&path, wide(&[]), mqtt("mqtt://127.0.0.1:1", "mine/{site}/batch", 0)).await.is_err());
    assert!(run(Path::new("/nowhere/at/all.csv"), wide(&[]), nowhere()).await.is_err());
}

async fn film(text: &str, at_end: AtEnd) -> (TempDir, ModbusReplay) {
    let (dir, path) = file(text);
    let protocol = ReplayProtocol::Modbus { listen: "127.0.0.1:0".parse().unwrap(), at_end };
    let options = ReplayOptions { columns: wide(&[]), speed: Speed::AsAcknowledged, protocol };
    (dir, ModbusReplay::start(&path, &options).await.unwrap())
}

fn f64_of(words: &[u16]) -> f64 {
    f64::from_bits(words.iter().fold(0, |bits, w| bits << 16 | u64::from(*w)))
}

fn u64_of(words: &[u16]) -> u64 {
    words.iter().fold(0, |bits, w| bits << 16 | u64::from(*w))
}

#[tokio::test]
async fn a_device_shows_the_next_row_at_each_poll_and_stays_on_the_last() {
    let (_dir, device) = film("a,b\n0.1,1\n0.2,\n0.3,3\n", AtEnd::Stay).await;
    let mut raw = Raw::to(device.addr).await;
    // What does not begin at address 0, or does not fit, moves nothing.
    assert_eq!(f64_of(&raw.registers(1, 3, 4, 4).await.unwrap()), 1.0);
    assert_eq!(raw.registers(1, 3, 0, 20).await, Err(2));
    assert_eq!(device.shown(), 0);
    for n in 0..3u64 {
        let all = raw.registers(1, 3, 0, 19).await.unwrap();
        assert_eq!(f64_of(&all[..4]), [0.1, 0.2, 0.3][n as usize]);
        assert_eq!(f64_of(&all[4..8]).is_nan(), n == 1);
        assert_eq!((u64_of(&all[10..12]), u64_of(&all[16..18]), all[18]), (n, 3, u16::from(n == 2)));
        assert_eq!(u64_of(&all[12..16]) as i64, (START + STEP * n as i64) / 1000);
        // The rest of the same poll sees the same row.
        assert_eq!(raw.registers(1, 3, 10, 2).await, Ok(vec![0, n as u16]));
        assert_eq!(raw.ask(1, &[2, 0, 0, 0, 1]).await.unwrap().2, [2, 1, u8::from(n == 2)]);
        assert_eq!(device.shown(), n + 1);
    }
    assert!(
        timeout(Duration::from_millis(20), device.finished()).await.is_err(),
        "nobody knows yet that it arrived"
    );
    assert_eq!(raw.registers(1, 3, 0, 19).await.unwrap()[10..12], [0, 2]);
    timeout(PATIENCE, device.finished()).await.unwrap();
    let report = device.stop().await;
    assert_eq!((report.rows, report.readings, report.complete), (3, 6, true));
}

#[tokio::test]
async fn a_device_that_refuses_at_the_end_shows_no_row_twice() {
    let (_dir, device) = film("a\n5\n6\n", AtEnd::Refuse).await;
    let mut raw = Raw::to(device.addr).await;
    assert_eq!(f64_of(&raw.registers(1, 3, 0, 4).await.unwrap()), 5.0);
    assert_eq!(f64_of(&raw.registers(1, 3, 0, 4).await.unwrap()), 6.0);
    assert_eq!(raw.registers(1, 3, 0, 4).await, Err(6));
    timeout(PATIENCE, device.finished()).await.unwrap();
    assert_eq!(device.stop().await.rows, 2);
}

#[tokio::test]
async fn a_whole_replay_over_modbus_ends_by_itself() {
    let (_dir, path) = file("a\n5\n6\n");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    let played = tokio::spawn(async move {
        run(&path, wide(&[]), ReplayProtocol::Modbus { listen, at_end: AtEnd::Stay }).await
    });
    let reader = async {
        while tokio::net::TcpStream::connect(listen).await.is_err() {
            tokio::task::yield_now().await;
        }
        let mut raw = Raw::to(listen).await;
        for _ in 0..3 {
            raw.registers(1, 3, 0, 4).await.unwrap();
        }
    };
    timeout(PATIENCE, reader).await.unwrap();
    let report = played.await.unwrap().unwrap();
    assert_eq!((report.rows, report.complete), (2, true));
}

#[test]
fn the_sections_of_a_replay_are_toml_and_name_every_point() {
    let (_dir, path) = file("MM31,MM116\n0.1,0.2\n");
    let over = |protocol| ReplayOptions { columns: wide(&[]), speed: Speed::AsAcknowledged, protocol };
    let device = "127.0.0.1:1502".parse().unwrap();
    let toml = |o: ReplayOptions| o.source_toml("s", &path, device, Duration::from_millis(5)).unwrap();
    let text = toml(over(ReplayProtocol::Modbus { listen: device, at_end: AtEnd::Stay }));
    let parsed: toml::Table = text.parse().unwrap();
    let source = &parsed["source"][0];
    assert_eq!(source["url"].as_str(), Some("tcp://127.0.0.1:1502"));
    assert_eq!((source["time"].as_str(), source["step"].as_str()), (Some("replay"), Some("30s")));
    assert_eq!(source["start"].as_str(), Some("2026-09-21T14:13:20.000Z"));
    assert_eq!(
        (source["row"]["address"].as_integer(), source["register"][1]["address"].as_integer()),
        (Some(10), Some(4))
    );
    let text = toml(over(mqtt("mqtt://h", "mine/{site}/gas/{point}", 1)));
    let parsed: toml::Table = text.parse().unwrap();
    assert_eq!(parsed["source"][0]["map"]["point"].as_str(), Some("{3}"));
    assert_eq!(parsed["source"][0]["topics"][0].as_str(), Some("mine/+/gas/+"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any table of numbers read back row by row is that table, and row n is at start + step * n.
    #[test]
    fn rows_of_any_wide_file_are_the_rows_of_the_file(
        rows in prop::collection::vec(prop::collection::vec(prop::option::of(-1e9..1e9f64), 3), 0..40),
        step_ms in 1..100_000u64,
    ) {
        let shown = |v: &Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
        let lines: Vec<String> = rows.iter().map(|r| r.iter().map(shown).collect::<Vec<_>>().join(",")).collect();
        let (_dir, path) = file(&format!("a,b,c\n{}\n", lines.join("\n")));
        let step = Duration::from_millis(step_ms);
        let columns = Columns::Wide { site: "S".to_owned(), start: START, step, only: Vec::new() };
        let mut reader = Rows::open(&path, &columns).unwrap();
        for (n, expected) in rows.iter().enumerate() {
            let readings = expected.iter().enumerate().map(|(i, v)| (i, *v, 0)).collect();
            let time = START + step.as_micros() as i64 * n as i64;
            let row = Row { site: "S".to_owned(), time, readings, line: n as u64 + 2 };
            prop_assert_eq!(reader.next_row().unwrap(), Some(row));
        }
        prop_assert_eq!(reader.next_row().unwrap(), None);
    }
}
