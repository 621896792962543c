//! A log that lost its end after it was read: a damaged disk took what was durable, stored and judged. It goes on where its
//! furthest reader stands, says so, and stores and judges what comes.

use crate::stand::{of_rule, prepare, pushed};
use std::path::Path;
use std::time::Duration;
use tests::firedamp::Firedamp;

async fn push(firedamp: &Firedamp, point: &str, time: i64, value: f64) {
    let body =
        serde_json::json!([{ "site": "LW", "point": point, "time": time, "value": value }]).to_string();
    let answer = firedamp.post("/api/v1/readings", "application/json", body).await.unwrap();
    assert_eq!(answer["accepted"], 1, "{answer}");
}

async fn stored(firedamp: &Firedamp, readings: i64) {
    tests::wait_for_async("all readings are stored", Duration::from_secs(30), || async {
        let b = firedamp.get("/api/v1/balance").await.ok()?;
        (b["stored"] == readings && b["pending"] == 0).then_some(())
    })
    .await;
    assert_eq!(firedamp.number("SELECT count(*) FROM readings").await.unwrap(), readings);
}

/// Waits for an active alarm of a point whose name begins so: an own alarm about the log names stream and partition.
async fn until_active(firedamp: &Firedamp, rule: &str, point: &str) {
    tests::wait_for_async("the alarm is active", Duration::from_secs(30), || async {
        let alarms = firedamp.get("/api/v1/alarms").await.ok()?;
        let of_point = |a: &&serde_json::Value| a["point"].as_str().is_some_and(|p| p.starts_with(point));
        of_rule(&alarms, rule).iter().find(|a| of_point(a)).map(|_| ())
    })
    .await;
}

/// Cuts the newest file of the log in the middle of what was written.
fn lose_the_end(log: &Path) {
    let files = std::fs::read_dir(log).unwrap().map(|f| f.unwrap().path());
    let newest = files.filter(|p| p.extension().is_some_and(|e| e == "raftlog")).max().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    let written = bytes.iter().rposition(|b| *b != 0).unwrap();
    std::fs::File::options().write(true).open(&newest).unwrap().set_len(written as u64 / 2).unwrap();
}

#[tokio::test]
async fn a_log_that_lost_its_end_goes_on_and_says_so() {
    let mut firedamp = prepare(&pushed());
    firedamp.start().await;
    let start = {
        use model::Clock;
        model::SystemClock.now() / 1000
    };
    for i in 0..60 {
        push(&firedamp, "MM31", start + i, 0.25).await;
    }
    push(&firedamp, "MM116", start, 1.2).await;
    until_active(&firedamp, "ch4", "MM116").await;
    stored(&firedamp, 61).await;
    firedamp.stop();
    lose_the_end(&firedamp.folder().join("data/log/log"));
    firedamp.start().await;
    until_active(&firedamp, "firedamp/log-behind", "readings/").await;
    until_active(&firedamp, "firedamp/log-behind", "transitions/").await;
    for i in 0..20 {
        push(&firedamp, "MM31", start + 1000 + i, 1.25).await;
    }
    stored(&firedamp, 81).await;
    until_active(&firedamp, "ch4", "MM31").await;
    // No offset stands for two records.
    let runs = "SELECT count(*) FROM (SELECT DISTINCT \"partition\", \"offset\", run FROM arrivals WHERE kind = 'readings')";
    let rows = firedamp.number("SELECT count(*) FROM arrivals WHERE kind = 'readings'").await.unwrap();
    assert_eq!(firedamp.number(runs).await.unwrap(), rows);
    let log = firedamp.stop();
    assert!(log.contains("ends at offset") && log.contains("the log goes on at"), "{log}");
    firedamp.start().await;
    stored(&firedamp, 81).await;
    firedamp.stop();
}
