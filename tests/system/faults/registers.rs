//! Modbus devices that answer late, with another's transaction id, not at all or with nonsense, and a register that does not exist:
//! what is read is right or missing, never another's; the operator sees which unit or register it is; the others go on.

use super::stand::*;
use simulator::modbus::server::Shown;
use simulator::modbus::{Faults, Image, ModbusServer, Table, Unit};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

/// Units 1, 2 and 3 show 1111, 2222 and 3333; there is nothing behind register 1.
async fn device() -> ModbusServer {
    let unit = |n: u16| {
        let (shown, mut image) = (Shown::default(), Image::default());
        image.put(Table::Holding, 0, &[n * 1111, 0]);
        shown.show(image);
        (n as u8, Arc::new(shown) as Arc<dyn Unit>)
    };
    let units: BTreeMap<u8, Arc<dyn Unit>> = (1..=3).map(unit).collect();
    ModbusServer::start(([127, 0, 0, 1], 0).into(), units, CancellationToken::new()).await.unwrap()
}

fn source(name: &str, url: &str, register: &str) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\nkind = \"modbus\"\nurl = \"tcp://{url}\"\nsite = \"E1\"\nevery = \"50ms\"\ntimeout = \"300ms\"\n\
         register = [{register}]\n\n"
    )
}

const UNITS: &str = "{ point = \"LT-1\", unit = 1, address = 0 }, { point = \"LT-2\", unit = 2, address = 0 }, \
                     { point = \"LT-3\", unit = 3, address = 0 }, { point = \"LT-9\", unit = 1, address = 999 }";

/// Waits until the newest value of a point is this one, or missing.
async fn shows(stand: &Stand, point: &str, value: Option<f64>) {
    tests::wait_for_async(&format!("{point} shows {value:?}"), PATIENCE, || async {
        let points = stand.firedamp.get("/api/v1/points?site=E1").await.ok()?;
        let found = points.as_array()?.iter().find(|p| p["point"] == point)?.clone();
        (!found["time"].is_null() && found["value"].as_f64() == value).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_errs_is_named_and_never_believed() {
    let device = device().await;
    // One that answers with bytes that are no Modbus.
    let nonsense = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nonsense_at = nonsense.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = nonsense.accept().await {
            let _ = stream.write_all(&[0xab; 64]).await;
        }
    });
    let sources = source("plc", &device.addr.to_string(), UNITS)
        + &source("noise", &nonsense_at, "{ point = \"A\", address = 0 }");
    let mut stand = Stand::start("[log]\npartitions = 2\n[storage]\nflush = \"500ms\"\n", |_| sources).await;
    stand.says("plc", "LT-9: holding 999 of unit 1: exception 2, illegal data address").await;
    shows(&stand, "LT-1", Some(1111.0)).await;
    shows(&stand, "LT-9", None).await;
    stand.pass("a register that does not exist").await;

    device.set_faults(Faults { mute: vec![2], ..Faults::default() });
    let source = stand.says("plc", "unit 2: no reply within 300ms").await;
    assert_eq!(source["up"], true, "the others answer");
    shows(&stand, "LT-2", None).await;
    shows(&stand, "LT-3", Some(3333.0)).await;
    stand.pass("a dead slave on a link").await;

    for (what, faults, words) in [
        (
            "late answers",
            Faults { delay: Duration::from_millis(600), ..Faults::default() },
            "no reply within 300ms",
        ),
        (
            "answers to other requests",
            Faults { other_transaction: true, ..Faults::default() },
            "not to this request",
        ),
        ("a link that is down", Faults { down: true, ..Faults::default() }, "tcp://"),
    ] {
        device.set_faults(faults);
        for point in ["LT-1", "LT-2", "LT-3"] {
            shows(&stand, point, None).await;
        }
        if what != "a link that is down" {
            stand.says("plc", words).await;
        }
        let alarm = stand.alarmed("source-down", "plc").await;
        assert_eq!(alarm["severity"], "orange", "{alarm}");
        stand.pass(what).await;
        device.set_faults(Faults::default());
        for (point, value) in [("LT-1", 1111.0), ("LT-2", 2222.0), ("LT-3", 3333.0)] {
            shows(&stand, point, Some(value)).await;
        }
        stand.ended("source-down", "plc").await;
    }
    stand.alarmed("source-down", "noise").await;
    let balance = stand.settle().await;
    for name in ["plc", "noise"] {
        assert_eq!(
            (balance[name].refused, balance[name].duplicate, balance[name].quarantined),
            (0, 0, 0),
            "{name}"
        );
    }
    let wrong = "SELECT count(*) FROM readings WHERE site = 'E1' AND value IS NOT NULL AND NOT \
                 ((point = 'LT-1' AND value = 1111) OR (point = 'LT-2' AND value = 2222) OR (point = 'LT-3' AND value = 3333))";
    assert_eq!(stand.firedamp.number(wrong).await.unwrap(), 0, "no value is another's");
    stand.firedamp.stop();
}
