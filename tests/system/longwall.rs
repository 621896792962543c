//! The longwall readings through every path: the same readings, the same alarms.

use crate::stand::*;
use simulator::{AtEnd, ModbusReplay, ReplayOptions, ReplayProtocol, Speed};
use std::time::Duration;
use tests::webhook::Webhook;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn through_mosquitto_into_the_embedded_log() {
    let Some(file) = longwall() else { return };
    let (broker, webhook) = (tests::mosquitto::start(), Webhook::start().await);
    let options = over_mqtt(&broker.url, start());
    let source = options.source_toml("longwall", &file, ([127, 0, 0, 1], 0).into(), Duration::ZERO).unwrap();
    let mut firedamp = prepare(&config("partitions = 2", &source, &webhook));
    firedamp.start().await;
    let report = simulator::replay(&file, &options, CancellationToken::new()).await.unwrap();
    assert!(report.complete && report.rows == ROWS as u64, "{report:?}");
    settled(&firedamp, ROWS * 4).await;
    assert_longwall(&firedamp).await;
    assert_told(&webhook).await;
    let log = firedamp.stop();
    assert!(log.contains("stopped clean"), "{log}");
    // With the server gone, commands open the folders themselves and say the same.
    let balance: serde_json::Value =
        serde_json::from_str(&firedamp.run(&["balance", "--format", "json"]).unwrap()).unwrap();
    assert_eq!((balance["stored"].as_i64(), balance["pending"].as_i64()), (Some(ROWS * 4), Some(0)));
    let count = firedamp
        .run(&["query", "SELECT count(*) AS n FROM readings WHERE point = 'MM116'", "--format", "csv"])
        .unwrap();
    assert_eq!(count.trim(), format!("n\n{ROWS}"));
    analysts_example_works(&firedamp);
    let alarms = firedamp.run(&["alarms", "list", "--all", "--format", "json"]).unwrap();
    assert_eq!(of_rule(&serde_json::from_str(&alarms).unwrap(), "ch4").len(), 140);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_modbus_a_row_a_poll() {
    let Some(file) = longwall() else { return };
    let webhook = Webhook::start().await;
    let protocol = ReplayProtocol::Modbus { listen: ([127, 0, 0, 1], 0).into(), at_end: AtEnd::Refuse };
    let options = ReplayOptions { columns: columns(start()), speed: Speed::AsAcknowledged, protocol };
    let device = ModbusReplay::start(&file, &options).await.unwrap();
    let source = options.source_toml("longwall", &file, device.addr, Duration::from_millis(2)).unwrap();
    let mut firedamp = prepare(&config("partitions = 2", &source, &webhook));
    firedamp.start().await;
    settled(&firedamp, ROWS * 4).await;
    assert_longwall(&firedamp).await;
    assert_told(&webhook).await;
    firedamp.stop();
    device.stop().await;
}

/// The README's example for analysts, as it is printed there, on the table as it lies on disk.
fn analysts_example_works(firedamp: &tests::firedamp::Firedamp) {
    let readme = include_str!("../../README.md");
    let example = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    let example = example.expect("the README has an example in Python");
    let program = format!("import os, sys\nos.chdir(sys.argv[1])\n{example}");
    let folder = firedamp.folder().display().to_string();
    let said = tests::python::run(tests::python::PANDAS, &program, &[&folder]);
    assert!(said.contains("MM116") && said.contains("BA13"), "{said}");
}
