//! MQTT messages that are truncated, too large, of the wrong type, encoding, time, point or topic: each is counted with its reason
//! and shown with a sample, the good message behind it on the same connection is taken, and a clock that is ahead is an alarm.

use super::stand::*;
use super::told::Told;
use serde_json::json;
use simulator::mqtt::{Message, Publisher};
use tests::mosquitto::Mosquitto;
use tokio_util::sync::CancellationToken;

fn east(broker: &Mosquitto) -> String {
    format!(
        "[[source]]\nname = \"east\"\nkind = \"mqtt\"\nurl = \"{}\"\ntopics = [\"mine/#\"]\nmax_message = \"4KiB\"\nunder_way_max = \"16KiB\"\n\
         map = {{ site = \"{{1}}\", point = \"{{3}}\", value = \"/v\", time = \"/t\", status = \"/q\" }}\n",
        broker.url
    )
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Refused(&'static str),
    Stored,
    Quarantined,
}
use Fate::{Quarantined, Refused, Stored};

const TOPIC: &str = "mine/E1/gas/A";

fn cases() -> Vec<(&'static str, &'static str, Vec<u8>, Fate)> {
    let text = |t: &str| t.as_bytes().to_vec();
    let at = |ahead_s: i64, value: &str| {
        format!("{{\"v\":{value},\"t\":{}}}", now() / 1000 + ahead_s * 1000).into_bytes()
    };
    let gbk = b"{\"v\":1,\"n\":\"\xb2\xe2\xca\xd4\"}".to_vec();
    vec![
        ("truncated", TOPIC, text("{\"v\":1.0,\"t\":"), Refused("json")),
        ("empty", TOPIC, Vec::new(), Refused("json")),
        ("nested too deep", TOPIC, text(&"[".repeat(2000)), Refused("json")),
        ("larger than all the room", TOPIC, vec![b'x'; 20_000], Refused("oversize")),
        (
            "oversized",
            TOPIC,
            text(&format!("{{\"v\":1,\"x\":\"{}\"}}", "x".repeat(5000))),
            Refused("oversize"),
        ),
        ("value of the wrong type", TOPIC, text("{\"v\":{}}"), Refused("value")),
        ("value a word", TOPIC, text("{\"v\":\"high\"}"), Refused("value")),
        ("status of the wrong type", TOPIC, text("{\"v\":1,\"q\":\"bad\"}"), Refused("status")),
        ("status out of range", TOPIC, text("{\"v\":1,\"q\":256}"), Refused("status")),
        ("time of the wrong type", TOPIC, text("{\"v\":1,\"t\":true}"), Refused("time")),
        ("NaN", TOPIC, at(-4, "NaN"), Stored),
        ("infinite", TOPIC, at(-3, "-Infinity"), Stored),
        ("GBK", TOPIC, gbk, Refused("encoding")),
        ("no text", TOPIC, vec![0xff, 0xfe, 0x00], Refused("encoding")),
        ("year 1970", TOPIC, text("{\"v\":1,\"t\":0}"), Refused("time")),
        ("year 9999", TOPIC, text("{\"v\":1,\"t\":253402300799000}"), Refused("time")),
        ("local without zone", TOPIC, text("{\"v\":1,\"t\":\"2026-09-23 10:13:19\"}"), Refused("time")),
        ("four minutes ahead", "mine/E1/gas/C", at(240, "1"), Stored),
        ("unknown point", "mine/E1/gas/ZZ", at(0, "1"), Quarantined),
        ("unknown site", "mine/XX/gas/A", at(0, "1"), Quarantined),
        ("unknown topic", "mine/E1", at(0, "1"), Refused("topic")),
    ]
}

struct East {
    publisher: Publisher,
    good: i64,
}

impl East {
    async fn send(&mut self, topic: &str, payload: Vec<u8>) {
        let message = Message { topic: topic.to_owned(), payload };
        self.publisher.send(&message).await.unwrap();
    }

    /// A good message behind what was sent, and the wait until it is durable.
    async fn good(&mut self, stand: &Stand, stored_besides: i64) {
        let payload = json!({ "v": self.good, "t": now() / 1000 }).to_string().into_bytes();
        self.send("mine/E1/gas/B", payload).await;
        self.good += 1;
        let wanted = self.good + stored_besides;
        tests::wait_for_async("the good message behind", PATIENCE, || async {
            (stand.durable().await.get("east").copied() >= Some(wanted)).then_some(())
        })
        .await;
    }
}

/// Refusals of the source by reason: as operators see them, and as the metrics say.
async fn refused(stand: &Stand, reason: &str) -> (i64, i64, String) {
    let source = stand.source("east").await;
    let shown = source["refused"].as_array().unwrap().iter().find(|r| r["reason"] == reason).cloned();
    let series = format!("firedamp_ingest_refused_total{{reason=\"{reason}\",source=\"east\"}}");
    let counted = Told::metrics(&stand.firedamp).await.get(&series);
    let (count, sample) = shown.map_or((0, String::new()), |r| {
        (r["count"].as_i64().unwrap(), r["sample"].as_str().unwrap().to_owned())
    });
    (count, counted, sample)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_are_counted_shown_and_cost_nobody_anything() {
    let mut stand = Stand::start("[log]\npartitions = 2\n[storage]\nflush = \"500ms\"\n", east).await;
    let publisher = publisher(&stand.broker.url, "east-device", &CancellationToken::new());
    let mut east = East { publisher, good: 0 };
    let (mut stored, mut aside, mut refusals) = (0, 0, 0);
    for (what, topic, payload, fate) in cases() {
        let before = match fate {
            Refused(reason) => refused(&stand, reason).await,
            _ => Default::default(),
        };
        east.send(topic, payload).await;
        match fate {
            Refused(_) => refusals += 1,
            Stored => stored += 1,
            Quarantined => aside += 1,
        }
        east.good(&stand, stored).await;
        if let Refused(reason) = fate {
            // It may lie in another partition than the good one, and be durable a moment later.
            let after = or_last(&format!("{what}: one more of {reason}"), || async {
                let now = refused(&stand, reason).await;
                ((now.0 == before.0 + 1 && now.1 == before.1 + 1).then(|| now.clone()), json!(now))
            })
            .await;
            assert!(!after.2.is_empty(), "{what}: an operator sees the last of them");
        }
    }
    assert!(
        stand.alarm("firedamp/source-clock", "east").await.is_none(),
        "no clock was ahead by five minutes"
    );
    stand.pass("hostile messages").await;
    stored += clock_ahead(&mut east, &stand, stored).await;
    let listed = stand.firedamp.run(&["points", "unknown", "--format", "json"]).unwrap();
    assert!(listed.contains("\"ZZ\"") && listed.contains("\"XX\""), "{listed}");
    let balance = stand.settle().await["east"];
    let wanted = Balance {
        received: stored + east.good + aside + refusals,
        refused: refusals,
        stored: stored + east.good,
        duplicate: 0,
        quarantined: aside,
    };
    assert_eq!(balance, wanted);
    let missing =
        stand.firedamp.number("SELECT count(*) FROM readings WHERE site = 'E1' AND value IS NULL").await;
    assert_eq!(missing.unwrap(), 2, "NaN and infinite are missing values, not numbers");
    let log = stand.firedamp.stop();
    for reason in ["json", "oversize", "value", "status", "time", "encoding", "topic"] {
        assert!(log.contains(&format!("source=\"east\" reason=\"{reason}\"")), "the log tells of {reason}");
    }
}

/// Readings of a clock more than five minutes ahead, and of the year 2099: kept, and told until each of the points is right
/// again. How many were stored.
async fn clock_ahead(east: &mut East, stand: &Stand, stored: i64) -> i64 {
    let ahead =
        |minutes: i64| json!({ "v": 0.5, "t": now() / 1000 + minutes * 60_000 }).to_string().into_bytes();
    let right = || json!({ "v": 0.5, "t": now() / 1000 }).to_string().into_bytes();
    east.send("mine/E1/gas/A", ahead(6)).await;
    let in_2099 = json!({ "v": 0.5, "t": "2099-01-01T00:00:00Z" }).to_string().into_bytes();
    east.send("mine/E1/gas/C", in_2099).await;
    east.good(stand, stored + 2).await;
    let alarm = stand.alarmed("source-clock", "east").await;
    let source = stand.says("east", "the clock of E1 / C is").await;
    assert_eq!(source["up"], true, "{source}");
    assert_eq!(alarm["state"], "active");
    stand.pass("a clock that is ahead").await;
    east.send("mine/E1/gas/C", right()).await;
    east.good(stand, stored + 3).await;
    stand.says("east", "the clock of E1 / A is 5min ahead").await;
    assert!(stand.alarm("firedamp/source-clock", "east").await.is_some(), "one point is still ahead");
    east.send("mine/E1/gas/A", right()).await;
    east.good(stand, stored + 4).await;
    stand.ended("source-clock", "east").await;
    assert_eq!(stand.source("east").await["message"], "");
    4
}
