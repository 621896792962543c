//! The Modbus source against a device of another make: pymodbus encodes, we decode; nothing is shared.

use ingest::modbus::plan::Table;
use ingest::modbus::value::{Order, Type};
use ingest::probe::probe;
use ingest::sources_from_section;
use ingest::testing::Fixture;
use model::toml_file::TomlFile;
use model::{PointId, status};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::python::{PYMODBUS, venv};
use tokio_util::sync::CancellationToken;

/// Registers from one value to the next; the ones between do not exist.
const STRIDE: usize = 6;
/// The same list stands in `device.py`.
const VALUES: [(&str, f64); 8] = [
    ("u16", 54_321.0),
    ("i16", -12_345.0),
    ("u32", 4_000_000_001.0),
    ("i32", -2_000_000_001.0),
    ("u64", 9_007_199_254_740_991.0),
    ("i64", -9_007_199_254_740_991.0),
    ("f32", 1.02),
    ("f64", -273.15),
];

struct Device {
    child: Child,
    port: u16,
}

impl Device {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all/pymodbus/device.py");
        let mut child =
            Command::new(venv(PYMODBUS)).arg(script).stdout(Stdio::piped()).spawn().expect("python starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it prints");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("the device printed `{line}`"));
        Self { child, port }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Name, value and register of every point of the test.
fn points() -> Vec<(String, f64, String)> {
    let mut out = Vec::new();
    for unit in [1, 7] {
        for (table, base) in [("holding", 0), ("input", 1000)] {
            for (i, (ty, value)) in VALUES.iter().enumerate() {
                for (j, order) in Order::WORDS.iter().enumerate() {
                    let name = format!("{unit}-{table}-{ty}-{order}");
                    let address = base + (i * 4 + j) * STRIDE;
                    let register = format!(
                        "{{ point = \"{name}\", unit = {unit}, table = \"{table}\", address = {address}, type = \"{ty}\", order = \
                         \"{order}\" }}"
                    );
                    out.push((name, *value, register));
                }
            }
        }
        for (table, first, bits) in
            [("coil", 16, [1.0, 0.0, 1.0, 1.0].as_slice()), ("discrete", 0, &[0.0, 1.0])]
        {
            for (i, bit) in bits.iter().enumerate() {
                let (name, address) = (format!("{unit}-{table}-{i}"), first + i);
                let register = format!(
                    "{{ point = \"{name}\", unit = {unit}, table = \"{table}\", address = {address} }}"
                );
                out.push((name, *bit, register));
            }
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_and_order_of_every_table_on_two_units_and_a_third_that_is_not_there() {
    let device = Device::start();
    let points = points();
    let mut names: Vec<&str> = points.iter().map(|p| p.0.as_str()).collect();
    names.push("nobody");
    let registers: Vec<&str> = points.iter().map(|p| p.2.as_str()).collect();
    let text = format!(
        "name = \"plc\"\nkind = \"modbus\"\nurl = \"tcp://127.0.0.1:{}\"\nsite = \"M1\"\nevery = \"50ms\"\ntimeout = \
         \"5s\"\nregister = [\n{},\n{{ point = \"nobody\", unit = 3, address = 0 }} ]",
        device.port,
        registers.join(",\n")
    );
    let file = TomlFile::parse("f.toml", &text);
    let root = file.root();
    let configured = sources_from_section(&root).expect("a good section");
    root.finish();
    let fixture = Fixture::new(0);
    fixture.set_catalog(&names);
    let stop = CancellationToken::new();
    let task = tokio::spawn(configured.source.run(fixture.context.clone(), stop.clone()));
    let wanted = names.len() as u64;
    tokio::time::timeout(Duration::from_secs(60), fixture.sink.wait_rows(wanted * 3))
        .await
        .expect("three polls in time");
    stop.cancel();
    task.await.unwrap();

    let mut seen: HashMap<i64, (f64, i32)> = HashMap::new();
    for delivery in fixture.sink.taken() {
        assert!(delivery.unknown.is_empty() && delivery.refused.is_empty());
        for i in 0..delivery.readings.len() {
            let (point, _, value, bits) = delivery.readings.row(i);
            if let Some(before) = seen.insert(point.0, (value, bits)) {
                assert!(
                    before.1 == bits && (before.0 == value || value.is_nan()),
                    "a poll read otherwise than the one before"
                );
            }
        }
    }
    for (name, value, _) in &points {
        assert_eq!(seen[&PointId::of("M1", name).0], (*value, status::NO_DEVICE_TIME), "{name}");
    }
    // This make answers with exception 4 for a unit that is not there.
    let nobody = seen[&PointId::of("M1", "nobody").0].1;
    assert_eq!(nobody, status::MISSING | status::SENSOR_FAULT | status::NO_DEVICE_TIME);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_shows_the_value_in_its_type_and_order() {
    let device = Device::start();
    for (i, (ty, value)) in VALUES.iter().enumerate() {
        let ty = Type::from_word(ty).unwrap();
        for (j, order) in Order::ALL.into_iter().enumerate() {
            let address = ((i * 4 + j) * STRIDE) as u16;
            let report =
                probe(&format!("127.0.0.1:{}", device.port), 7, Table::Holding, address, ty.registers())
                    .await
                    .unwrap();
            // One register has no order of words.
            let shown = match (ty.registers(), order) {
                (1, Order::Cdab) => Order::Abcd,
                (1, Order::Dcba) => Order::Badc,
                _ => order,
            };
            let found = report
                .values
                .iter()
                .find(|v| v.ty == ty && v.order == shown && v.address == address)
                .unwrap();
            assert_eq!(found.value, Some(*value), "{ty} {order}");
        }
    }
    let error = probe(&format!("127.0.0.1:{}", device.port), 7, Table::Holding, 4, 1).await.unwrap_err();
    assert!(error.to_string().contains("exception 2, illegal data address"), "{error}");
}
