//! Against Mosquitto, MQTT 5 and 3.1.1.

use super::*;
use ingest::testing::Mood;
use std::collections::BTreeSet;
use tests::mosquitto;
use tests::mqtt::Subscriber;

const TOPIC: &str = "mine/M1/gas/T1";
const VERSIONS: [&str; 2] = ["5", "3.1.1"];

async fn publish_readings(port: u16, range: std::ops::Range<usize>) {
    publish(port, range.map(|n| (TOPIC.to_owned(), reading(n)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_messages_come_once_and_in_order() {
    for version in VERSIONS {
        let broker = mosquitto::start_with("max_queued_messages 0");
        let fixture = Fixture::new(0);
        let running = Running::start(&fixture, source(broker.port, version, GAS));
        up(&fixture).await;
        publish_readings(broker.port, 0..5000).await;
        patiently("all readings", fixture.sink.wait_rows(5000)).await;
        running.stop().await;
        assert_eq!(values(&fixture), (0..5000).collect::<Vec<_>>(), "MQTT {version}");
        assert!(fixture.health().last.is_some() && !fixture.health().up);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_did_not_take_is_sent_again_after_a_restart() {
    for version in VERSIONS {
        let broker = mosquitto::start();
        let fixture = Fixture::new(0);
        let running = Running::start(&fixture, source(broker.port, version, GAS));
        up(&fixture).await;
        fixture.sink.set(Mood::Retry);
        publish_readings(broker.port, 0..50).await;
        health(&fixture, "held", |h| h.up && h.message.contains("log does not take readings: told so")).await;
        running.stop().await;
        assert_eq!(fixture.sink.rows(), 0);

        fixture.sink.set(Mood::Take);
        let running = Running::start(&fixture, source(broker.port, version, GAS));
        patiently("the messages again", fixture.sink.wait_rows(50)).await;
        health(&fixture, "well again", |h| h.up && h.message.is_empty()).await;
        running.stop().await;
        assert_eq!(values(&fixture), (0..50).collect::<Vec<_>>(), "MQTT {version}");

        // All was acknowledged before the goodbye: nothing comes a second time, only what is new.
        let running = Running::start(&fixture, source(broker.port, version, GAS));
        up(&fixture).await;
        publish_readings(broker.port, 50..51).await;
        patiently("the new reading", fixture.sink.wait_rows(51)).await;
        running.stop().await;
        assert_eq!(fixture.sink.rows(), 51, "MQTT {version}: something came twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_frees_up_gets_everything_once() {
    let broker = mosquitto::start();
    let fixture = Fixture::new(0);
    fixture.sink.set(Mood::Retry);
    let running = Running::start(&fixture, source(broker.port, "5", GAS));
    up(&fixture).await;
    publish_readings(broker.port, 0..200).await;
    patiently("a second attempt", fixture.sink.wait_calls(3)).await;
    fixture.sink.set(Mood::Take);
    patiently("all readings", fixture.sink.wait_rows(200)).await;
    running.stop().await;
    let mut first = values(&fixture);
    first.sort_unstable();
    assert_eq!(first, (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_loses_nothing_through_us() {
    for version in VERSIONS {
        let mut broker = mosquitto::start();
        let fixture = Fixture::new(0);
        let running = Running::start(&fixture, source(broker.port, version, GAS));
        up(&fixture).await;
        publish_readings(broker.port, 0..100).await;
        patiently("the first readings", fixture.sink.wait_rows(100)).await;
        fixture.sink.set(Mood::Stall);
        publish_readings(broker.port, 100..150).await;
        patiently("a delivery under way", fixture.sink.wait_calls(1)).await;
        broker.stop();
        health(&fixture, "down", |h| !h.up && h.message.contains("lost")).await;
        fixture.sink.set(Mood::Take);
        broker.start_again();
        up(&fixture).await;
        publish_readings(broker.port, 150..200).await;
        let all = async {
            while values(&fixture).into_iter().collect::<BTreeSet<_>>().len() < 200 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        patiently("every reading at least once", all).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_reading_is_counted_and_costs_its_neighbours_nothing() {
    let broker = mosquitto::start();
    let fixture = Fixture::new(0);
    let map = r#"
topics = ["gw/#"]
each = "/readings"
max_message = "4KiB"
map = { site = "M1", point = "/p", value = "/v", time = "/t", status = "/q" }
"#;
    let running = Running::start(&fixture, source(broker.port, "5", map));
    up(&fixture).await;
    let good = |n: usize| format!(r#"{{"readings":[{{"p":"T1","v":{n}}}]}}"#);
    let messages = [
        good(1),
        "{\"readings\":[{\"p\":\"T1\",\"v\":".to_owned(),
        good(2),
        "not json".to_owned(),
        format!(r#"{{"readings":[{{"p":"T1","v":9}}],"x":"{}"}}"#, "x".repeat(5000)),
        r#"{"readings":[{"p":"T1","v":3},{"p":"T1","v":NaN},{"p":"T7","v":1},{"p":"T1","v":1,"q":999}]}"#
            .to_owned(),
        r#"{"readings":[]}"#.to_owned(),
        good(4),
    ];
    publish(broker.port, messages.into_iter().map(|m| ("gw/1".to_owned(), m))).await;
    // good 1 2 3 4, NaN, unknown T7, refused: 2 json, 1 oversize, 1 status
    patiently("all rows", fixture.sink.wait_rows(10)).await;
    running.stop().await;
    let taken = fixture.sink.taken();
    let mut refused: Vec<(&str, u64)> = Vec::new();
    for r in taken.iter().flat_map(|d| &d.refused) {
        match refused.iter_mut().find(|(reason, _)| *reason == r.reason) {
            Some((_, count)) => *count += r.count,
            None => refused.push((r.reason, r.count)),
        }
    }
    refused.sort_unstable();
    assert_eq!(refused, [("json", 2), ("oversize", 1), ("status", 1)]);
    assert_eq!(taken.iter().map(|d| d.unknown.len()).sum::<usize>(), 1);
    let good: Vec<f64> =
        taken.iter().flat_map(|d| d.readings.value.to_vec()).filter(|v| !v.is_nan()).collect();
    assert_eq!(good, [1.0, 2.0, 3.0, 4.0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_shared_out_among_clients() {
    let broker = mosquitto::start();
    let fixture = Fixture::new(0);
    let more = r#"
topics = ["a/+/T1", "a/+/T2", "a/+/T3"]
clients = 2
qos = 1
map = { site = "{1}", point = "{2}", value = "" }
"#;
    let running = Running::start(&fixture, source(broker.port, "3.1.1", more));
    up(&fixture).await;
    let messages = (0..300).map(|n| (format!("a/M1/T{}", n % 3 + 1), n.to_string()));
    publish(broker.port, messages).await;
    patiently("all readings", fixture.sink.wait_rows(300)).await;
    running.stop().await;
    let mut all = values(&fixture);
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_is_named_in_the_health() {
    let broker = mosquitto::start_with("allow_anonymous false");
    for version in VERSIONS {
        let fixture = Fixture::new(0);
        let running = Running::start(&fixture, source(broker.port, version, GAS));
        health(&fixture, "refused", |h| {
            !h.up && h.message.contains("cannot connect") && h.message.contains("NotAuthorized")
        })
        .await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_the_broker_drops_are_told() {
    let broker = mosquitto::start_with("sys_interval 1\nmax_queued_messages 5\nmax_inflight_messages 5");
    // A client that is away and whose queue runs over.
    drop(Subscriber::start(broker.port, "over").await);

    let fixture = Fixture::new(0);
    let running = Running::start(&fixture, source(broker.port, "5", GAS));
    up(&fixture).await;
    let metrics = fixture.context.metrics.source("test");
    let told = async {
        while metrics.broker_dropped.get() == 0 || !fixture.health().message.contains("dropped") {
            publish(broker.port, (0..20).map(|n| ("over/x".to_owned(), n.to_string()))).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    patiently("the broker's losses", told).await;
    assert!(fixture.health().up);
    running.stop().await;
    assert_eq!(fixture.sink.rows(), 0, "the broker's counter is no reading");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_trusts_only_the_named_authority() {
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let secure = tests::free_port();
    let more = format!("listener {secure} 127.0.0.1\ncertfile {tls}/broker.pem\nkeyfile {tls}/broker.key");
    let broker = mosquitto::start_with(&more);
    for version in VERSIONS {
        let text = |ca: &str| {
            format!(
                "[[source]]\nname = \"test\"\nkind = \"mqtt\"\nurl = \"mqtts://localhost:{secure}\"\n\
                 protocol = \"{version}\"\nca = \"{tls}/{ca}\"\n{GAS}"
            )
        };
        let fixture = Fixture::new(0);
        let running = Running::start(&fixture, configured(&text("ca.pem")));
        up(&fixture).await;
        publish_readings(broker.port, 0..3).await;
        patiently("readings over TLS", fixture.sink.wait_rows(3)).await;
        running.stop().await;

        let fixture = Fixture::new(0);
        let running = Running::start(&fixture, configured(&text("other.pem")));
        health(&fixture, "distrustful", |h| !h.up && h.message.contains("cannot connect")).await;
        running.stop().await;
    }
}
