//! The binary with its table on a real S3-compatible store, its secret from the environment: pushed readings, kills of both,
//! a store that is away for a while, and queries.

use crate::stand::FILES;
use std::time::Duration;
use tests::firedamp::Firedamp;
use tests::minio::{ACCESS_KEY, BUCKET, Minio, SECRET_KEY};

const POINTS_EACH: i64 = 3;

fn prepare(minio: &Minio) -> Firedamp {
    let config = format!(
        "[log]\npartitions = 2\n\n{FILES}[storage]\nurl = \"s3://{BUCKET}/mine\"\nflush = \"200ms\"\n\n\
         [storage.s3]\nendpoint = \"{}\"\naccess_key = \"{ACCESS_KEY}\"\nsecret_key = {{ env = \"TABLE_SECRET\" }}\n",
        minio.endpoint
    );
    let mut firedamp = crate::stand::prepare(&config);
    firedamp.set("TABLE_SECRET", SECRET_KEY);
    firedamp
}

/// Pushes a reading of each of three points, `second` seconds after `start`, until it is acknowledged.
async fn push(firedamp: &Firedamp, start: i64, second: i64) {
    let row = |point| serde_json::json!({ "site": "LW", "point": point, "time": start + second * 1000, "value": second as f64 / 1000.0 });
    let body = serde_json::json!([row("MM31"), row("MM116"), row("AS038")]).to_string();
    tests::wait_for_async("readings are acknowledged", Duration::from_secs(60), || async {
        firedamp.post("/api/v1/readings", "application/json", body.clone()).await.ok()
    })
    .await;
}

async fn settled(firedamp: &Firedamp, stored: i64) {
    tests::wait_for_async("all readings are stored", Duration::from_secs(60), || async {
        let b = firedamp.get("/api/v1/balance").await.ok()?;
        (b["stored"] == stored && b["pending"] == 0).then_some(())
    })
    .await;
    let once = "SELECT count(*) FROM (SELECT DISTINCT site, point, time, value FROM readings)";
    for sql in ["SELECT count(*) FROM readings", once] {
        assert_eq!(firedamp.number(sql).await.unwrap(), stored, "{sql}");
    }
}

/// Waits until the own alarm about the table is active, or no longer.
async fn until_told(firedamp: &Firedamp, away: bool) {
    tests::wait_for_async("the operator is told how the table is", Duration::from_secs(90), || async {
        let alarms = firedamp.get("/api/v1/alarms").await.ok()?;
        let told = alarms.as_array()?.iter().any(|a| a["rule"] == "firedamp/table-unavailable");
        (told == away).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_on_s3_survives_kills_of_the_binary_and_of_the_store() {
    let mut minio = tests::minio::start();
    let mut firedamp = prepare(&minio);
    firedamp.start().await;
    let start = crate::stand::start() / 1000;
    let mut second = 0;
    for round in 0..6 {
        for _ in 0..40 {
            push(&firedamp, start, second).await;
            second += 1;
        }
        if round % 2 == 0 {
            firedamp.kill9();
            firedamp.start().await;
        } else {
            minio.kill9();
            push(&firedamp, start, second).await; // taken while the store is away: the log has it
            second += 1;
            minio.start_again();
        }
    }
    settled(&firedamp, second * POINTS_EACH).await;

    minio.kill9();
    push(&firedamp, start, second).await;
    until_told(&firedamp, true).await;
    minio.start_again();
    until_told(&firedamp, false).await;
    settled(&firedamp, (second + 1) * POINTS_EACH).await;
    let log = firedamp.stop();
    assert!(!log.contains(SECRET_KEY), "the secret is in the log");

    // None runs: the command opens the table itself, and a restart goes on from it.
    let told = firedamp.run(&["query", "SELECT max(value) AS top FROM readings", "--format", "csv"]).unwrap();
    assert_eq!(told.trim(), format!("top\n{}", second as f64 / 1000.0));
    firedamp.start().await;
    settled(&firedamp, (second + 1) * POINTS_EACH).await;
    firedamp.stop();
}
