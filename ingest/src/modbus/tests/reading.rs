//! What is read of a well-behaved device.

use super::device::Device;
use super::setup::{rows, start, values};
use crate::modbus::plan::Table;
use crate::probe::{ProbeError, probe};
use crate::testing::{Mood as SinkMood, NOW};
use model::{PointId, status};

const TABLES: &str = r#"
site = "M1"
every = "20ms"
register = [
  { point = "LEVEL", address = 0, type = "f32", order = "CDAB" },
  { point = "TEMP", address = 2, type = "i16", scale = 0.1, missing = 0x8000, status = { address = 10, map = [
    { bit = 0, set = "sensor_fault" }, { mask = 0x30, equals = 0x20, set = ["alarm", "calibration"] } ] } },
  { point = "RUN", address = 10, type = "bit", bit = 3 },
  { point = "FLOW", table = "input", address = 100, type = "u32" },
  { point = "PUMP", table = "coil", address = 7, scale = -1, offset = 1 },
  { point = "DOOR", table = "discrete", address = 65535 },
]
"#;

#[tokio::test]
async fn all_tables_with_scale_bits_and_status_words() {
    let device = Device::start(9).await;
    device.set(1, 3, 0, &[0x8f5c, 0x3f82, 0xff9c]); // 1.02 in CDAB, -100
    device.set(1, 3, 3, &[0, 0, 0, 0, 0, 0, 0, 0b0010_1000]);
    device.set(1, 4, 100, &[1, 2]);
    device.set(1, 1, 7, &[1]);
    device.set(1, 2, 65535, &[1]);
    let running = start(&device, &["LEVEL", "TEMP", "RUN", "FLOW", "PUMP", "DOOR"], TABLES);
    let first = running.wait(|taken| taken.first().cloned()).await;
    let own = status::NO_DEVICE_TIME;
    let expected = [
        ("LEVEL", 1.02, own),
        ("TEMP", -10.0, own | status::ALARM | status::CALIBRATION),
        ("RUN", 1.0, own),
        ("FLOW", 65_538.0, own),
        ("PUMP", 0.0, own),
        ("DOOR", 1.0, own),
    ];
    let expected: Vec<_> = expected.iter().map(|(p, v, s)| (PointId::of("M1", p), NOW, *v, *s)).collect();
    assert_eq!(rows(&[first]), expected);
    let asked: Vec<_> = device.requests().iter().take(4).map(|r| (r.function, r.address, r.count)).collect();
    assert_eq!(asked, [(3, 0, 11), (4, 100, 2), (1, 7, 1), (2, 65535, 1)]);

    device.set(1, 3, 2, &[0x8000]);
    device.set(1, 3, 10, &[1]);
    running
        .wait_reading("TEMP", |value, bits| {
            value.is_nan() && bits == own | status::MISSING | status::SENSOR_FAULT
        })
        .await;
    let health = running.fixture.health();
    assert!(health.up && health.message.is_empty() && health.last == Some(NOW), "{health:?}");
    running.stop().await;
    device.stop().await;
}

#[tokio::test]
async fn many_units_on_one_link() {
    let device = Device::start(1).await;
    for unit in 1..=20 {
        device.set(unit, 3, 5, &[u16::from(unit) * 10]);
    }
    let points: Vec<String> = (1..=20).map(|u| format!("T-{u}")).collect();
    let points: Vec<&str> = points.iter().map(String::as_str).collect();
    let keys = "site = \"M1\"\nunits = \"1-19, 20\"\nevery = \"10ms\"\nregister = [{ point = \"T-{unit}\", address = 5 }]";
    let running = start(&device, &points, keys);
    for (i, point) in points.iter().enumerate() {
        running.wait_reading(point, |value, _| value == (i + 1) as f64 * 10.0).await;
    }
    assert_eq!(device.links(), 1);
    running.stop().await;
    device.stop().await;
}

#[tokio::test]
async fn polling_is_held_while_the_log_does_not_take_readings_and_nothing_is_lost() {
    let device = Device::start(1).await;
    device.rows(1, 3, 0, &(0..2000).collect::<Vec<_>>());
    let keys = "site = \"M1\"\nevery = \"1ms\"\nregister = [{ point = \"T1\", address = 0 }]";
    let running = start(&device, &["T1"], keys);
    running.wait(|taken| (taken.len() >= 3).then_some(())).await;
    running.fixture.sink.set(SinkMood::Retry);
    let calls = running.fixture.sink.calls();
    running.fixture.sink.wait_calls(calls + 5).await;
    let held = device.requests().len();
    running.fixture.sink.set(SinkMood::Take);
    device.wait_requests(held + 60).await;
    let fixture = running.stop().await;
    let seen = values(&fixture.sink.taken(), "T1");
    let all: Vec<f64> = (0..seen.len()).map(|n| n as f64).collect();
    assert_eq!(seen, all, "each poll once and in order");
    assert!(seen.len() > 40, "only {} readings", seen.len());
    device.stop().await;
}

#[tokio::test]
async fn a_replay_gives_each_row_of_the_device_its_time() {
    let device = Device::start(1).await;
    // The device shows each row twice: the number tells.
    device.rows(1, 3, 0, &[0, 0, 1, 1, 2, 2, 3, 6]);
    device.rows(1, 3, 1, &[50, 50, 51, 51, 52, 52, 53, 56]);
    let keys = "site = \"M1\"\nevery = \"1ms\"\ntime = \"replay\"\nstart = \"2026-11-19T00:00:00Z\"\nstep = \"30s\"\n\
                row = { address = 0 }\nregister = [{ point = \"T1\", address = 1 }]";
    let running = start(&device, &["T1"], keys);
    running.wait_reading("T1", |value, _| value == 56.0).await;
    device.wait_requests(12).await;
    let fixture = running.stop().await;
    let event = |name| fixture.context.metrics.source("plc").event(name).get();
    assert_eq!(event("replay_row_lost"), 2, "rows 4 and 5 were never shown to us");
    assert!(event("replay_row_same") >= 3);
    let taken = fixture.sink.taken();
    let start = model::time::parse("2026-11-19T00:00:00Z").unwrap();
    let expected: Vec<_> =
        [0, 1, 2, 3, 6].map(|n| (PointId::of("M1", "T1"), start + n * 30_000_000, 50.0 + n as f64, 0)).into();
    assert_eq!(rows(&taken), expected);
    device.stop().await;
}

#[tokio::test]
async fn a_replay_without_row_numbers_counts_its_whole_polls() {
    let device = Device::start(1).await;
    device.rows(1, 3, 1, &[50, 51, 52, 53]);
    let keys = "site = \"M1\"\nevery = \"1ms\"\ntime = \"replay\"\nstart = \"2026-11-19T00:00:00Z\"\nstep = \"30s\"\n\
                register = [{ point = \"T1\", address = 1 }]";
    let running = start(&device, &["T1"], keys);
    running.wait(|taken| (taken.len() >= 4).then_some(())).await;
    let taken = running.stop().await.sink.taken();
    let start = model::time::parse("2026-11-19T00:00:00Z").unwrap();
    for (n, row) in rows(&taken).iter().enumerate() {
        assert_eq!(row.1, start + n as i64 * 30_000_000);
    }
    assert_eq!(values(&taken, "T1")[..4], [50.0, 51.0, 52.0, 53.0]);
    device.stop().await;
}

#[tokio::test]
async fn a_probe_reads_registers_bits_and_more_than_one_request_holds() {
    let device = Device::start(1).await;
    device.set(3, 3, 0, &(0..130).collect::<Vec<_>>());
    device.set(3, 2, 0, &[1, 0, 1]);
    let addr = device.addr.to_string();
    let report = probe(&addr, 3, Table::Holding, 0, 130).await.unwrap();
    assert_eq!(report.places.iter().map(|p| p.raw).collect::<Vec<_>>(), (0..130).collect::<Vec<_>>());
    let report = probe(&format!("tcp://{addr}"), 3, Table::Discrete, 0, 3).await.unwrap();
    assert_eq!(report.places.iter().map(|p| p.raw).collect::<Vec<_>>(), [1, 0, 1]);
    assert!(report.values.is_empty() && report.to_string().contains("bit"));
    let error = probe(&addr, 3, Table::Holding, 126, 5).await.unwrap_err();
    assert!(matches!(error, ProbeError::Device { .. }), "{error}");
    assert!(error.to_string().ends_with("unit 3, holding 126: exception 2, illegal data address"), "{error}");
    device.stop().await;
}
