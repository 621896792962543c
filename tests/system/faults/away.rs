//! A broker that hangs, that stops and comes back, that is killed: the operator is told, the others go on, and what the broker had
//! acknowledged and kept is in the table once. What a broker dropped is told too.

use super::stand::*;
use super::told::Told;
use simulator::mqtt::{Message, Publisher};
use tests::mosquitto::Mosquitto;
use tokio_util::sync::CancellationToken;

fn source(broker: &Mosquitto, more: &str) -> String {
    format!(
        "[[source]]\nname = \"away\"\nkind = \"mqtt\"\nurl = \"{}\"\ntopics = [\"away\"]\neach = \"\"\nprotocol = \"3.1.1\"\n\
         keep_alive = \"1s\"\nmap = {{ site = \"E1\", point = \"A\", value = \"/v\", time = \"/t\" }}\n{more}\n",
        broker.url
    )
}

/// A device at the broker that goes away.
struct Device {
    publisher: Publisher,
    start: i64,
    sent: i64,
}

impl Device {
    fn at(broker: &Mosquitto) -> Self {
        let publisher = publisher(&broker.url, "away-device", &CancellationToken::new());
        Self { publisher, start: now() / 1000, sent: 0 }
    }

    /// Sends so many messages of ten readings each; they wait where the broker is away.
    async fn send(&mut self, messages: i64) {
        for _ in 0..messages {
            let payload = numbered(self.start, self.sent);
            self.publisher.send(&Message { topic: "away".to_owned(), payload }).await.unwrap();
            self.sent += 10;
        }
    }

    /// Waits until all of it is durable in firedamp.
    async fn arrived(&self, stand: &Stand) {
        tests::wait_for_async("what the device sent", PATIENCE, || async {
            (stand.durable().await.get("away").copied() >= Some(self.sent)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_is_told_and_loses_nothing_it_kept() {
    let mut broker = tests::mosquitto::start();
    let sources = source(&broker, "");
    let mut stand = Stand::start("[log]\npartitions = 2\n[storage]\nflush = \"500ms\"\n", |_| sources).await;
    let mut device = Device::at(&broker);
    device.send(20).await;
    device.arrived(&stand).await;

    broker.process().unwrap().signal("STOP");
    device.send(20).await;
    let source = stand.says("away", &format!("127.0.0.1:{}", broker.port)).await;
    assert_eq!(source["up"], false, "{source}");
    stand.alarmed("source-down", "away").await;
    stand.pass("a broker that hangs").await;
    broker.process().unwrap().signal("CONT");
    device.arrived(&stand).await;
    stand.ended("source-down", "away").await;
    assert_eq!(stand.source("away").await["message"], "");

    broker.stop();
    device.send(20).await;
    stand.alarmed("source-down", "away").await;
    stand.pass("a broker that is stopped").await;
    broker.start_again();
    device.arrived(&stand).await;
    stand.ended("source-down", "away").await;

    // Nothing is under way now: what Mosquitto acknowledges and has not saved is gone with a kill, and that is no fault of ours.
    broker.kill9();
    device.send(20).await;
    stand.alarmed("source-down", "away").await;
    stand.pass("a broker that is killed").await;
    broker.start_again();
    device.arrived(&stand).await;
    stand.ended("source-down", "away").await;

    let balance = stand.settle().await["away"];
    assert_eq!((balance.refused, balance.quarantined, balance.stored), (0, 0, device.sent), "{balance:?}");
    assert_eq!(balance.received, balance.stored + balance.duplicate, "{balance:?}");
    let distinct =
        stand.firedamp.number("SELECT count(DISTINCT value) FROM readings WHERE site = 'E1' AND point = 'A'");
    assert_eq!(distinct.await.unwrap(), device.sent, "each number once");
    let log = stand.firedamp.stop();
    assert!(log.contains("cannot connect to") && log.contains("connection to"), "the log tells of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_dropped_is_an_alarm() {
    let broker =
        tests::mosquitto::start_with("max_queued_messages 5\nmax_inflight_messages 1\nsys_interval 1");
    let sources = source(&broker, "client_id = \"slow\"");
    let mut stand = Stand::start("[log]\npartitions = 2\n[storage]\nflush = \"500ms\"\n", |_| sources).await;
    let mut device = Device::at(&broker);
    device.send(1).await;
    device.arrived(&stand).await;
    // The broker's counter is known before it grows: it publishes at once what it retains, else within its second.
    stand.pass("no loss").await;
    assert!(stand.alarm("firedamp/source-lost", "away").await.is_none());
    // A firedamp that does not read is a slow client: the broker queues five messages for it and drops the others.
    stand.firedamp.process().unwrap().signal("STOP");
    device.send(200).await;
    device.publisher.settled().await.unwrap();
    stand.firedamp.process().unwrap().signal("CONT");
    stand.alarmed("source-lost", "away").await;
    let source = stand.says("away", "the broker dropped").await;
    assert!(source["lost"].as_str().unwrap().contains("max_queued_messages"), "{source}");
    let dropped =
        Told::metrics(&stand.firedamp).await.get("firedamp_ingest_broker_dropped_total{source=\"away\"}");
    assert!(dropped > 0, "{dropped}");
    stand.stop_neighbours().await;
    stand.firedamp.stop();
}
