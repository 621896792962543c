//! Points that register themselves, or are registered while their device sends: nothing of them stays in quarantine, whatever stood in
//! the way at first; and how many may.

use crate::points::{balanced, now_ms};
use crate::stand::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::firedamp::Firedamp;

const PATIENCE: Duration = Duration::from_secs(60);

async fn started(policy: &str) -> Firedamp {
    let config = pushed().replace("[catalog]\n", &format!("[catalog]\nunknown = \"{policy}\"\n"));
    let mut firedamp = prepare(&config);
    firedamp.start().await;
    firedamp
}

async fn push(firedamp: &Firedamp, rows: &[Value]) {
    let body = serde_json::to_string(rows).unwrap();
    let answer = firedamp.post("/api/v1/readings", "application/json", body).await.unwrap();
    let taken = answer["accepted"].as_i64().unwrap() + answer["unknown"].as_i64().unwrap_or(0);
    assert_eq!(taken, rows.len() as i64, "{answer}");
}

fn reading(site: &str, point: &str, n: i64) -> Value {
    json!({ "site": site, "point": point, "time": now_ms() - 100_000 + n, "value": n })
}

async fn alarmed(firedamp: &Firedamp, rule: &str) -> Value {
    tests::wait_for_async(rule, PATIENCE, || async {
        let alarms = firedamp.get("/api/v1/alarms").await.ok()?;
        of_rule(&alarms, rule).first().map(|a| (*a).clone())
    })
    .await
}

/// Waits until the log of the process says so.
async fn says(firedamp: &Firedamp, words: &str) {
    tests::wait_for_async(words, PATIENCE, || async {
        firedamp.process().unwrap().log_text().contains(words).then_some(())
    })
    .await;
}

/// A device sends without a pause while its point is registered: by itself, or by a request. Sources that looked at the catalog of
/// before go on sending to quarantine for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_point_is_registered_is_released_too() {
    for policy in ["register", "quarantine"] {
        let mut firedamp = started(policy).await;
        let url = firedamp.url("/api/v1/readings");
        let (stop, start) = (Arc::new(AtomicBool::new(false)), now_ms() - 100_000);
        let devices: Vec<_> = (0..4)
            .map(|device: i64| {
                let (url, stop) = (url.clone(), stop.clone());
                tokio::spawn(async move {
                    let (client, mut sent) = (reqwest::Client::new(), 0);
                    while !stop.load(Ordering::Relaxed) {
                        let n = 4 * sent + device;
                        let row = json!([{ "site": "LW", "point": "NEW", "time": start + n, "value": n }]);
                        assert_eq!(client.post(&url).json(&row).send().await.unwrap().status(), 200);
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        tests::wait_for_async("some wait", PATIENCE, || async {
            let balance = firedamp.get("/api/v1/balance").await.ok()?;
            (balance["received"].as_i64()? > 100).then_some(())
        })
        .await;
        if policy == "quarantine" {
            let said = firedamp.run(&["points", "register", "LW", "NEW", "--quantity", "ch4"]).unwrap();
            assert!(said.contains("readings released"), "{said}");
        }
        tests::wait_for_async("the point is known", PATIENCE, || async {
            let balance = firedamp.get("/api/v1/balance").await.ok()?;
            (balance["stored"].as_i64()? > 100).then_some(())
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        let mut sent = 0;
        for device in devices {
            sent += device.await.unwrap();
        }
        balanced(&firedamp, sent, 0).await;
        let stored = firedamp.number("SELECT count(DISTINCT value) FROM readings WHERE point = 'NEW'").await;
        assert_eq!(stored.unwrap(), sent, "{policy}: each once");
        let balance = firedamp.get("/api/v1/balance").await.unwrap();
        assert_eq!(balance["duplicate"], 0, "{policy}: nothing is released twice: {balance}");
        firedamp.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_added_later_and_a_mistake_mended_bring_their_points() {
    let mut firedamp = started("register").await;
    push(&firedamp, &[reading("LATER", "X", 0), reading("LATER", "X", 1)]).await;
    says(&firedamp, "site `LATER` is not in the catalog").await;
    let sites = firedamp.folder().join("sites.csv");
    std::fs::write(&sites, format!("{SITES}LATER,Later,mine,140100\n")).unwrap();
    balanced(&firedamp, 2, 0).await;

    let rules = firedamp.folder().join("rules.toml");
    std::fs::write(&rules, RULES.replace("level = [", "level = [ nonsense")).unwrap();
    alarmed(&firedamp, "firedamp/reload-refused").await;
    push(&firedamp, &[reading("LW", "NEW-1", 0), reading("LW", "NEW-2", 0)]).await;
    says(&firedamp, "unknown points wait until the files of catalog and rules are right").await;
    std::fs::write(&rules, RULES).unwrap();
    balanced(&firedamp, 4, 0).await;

    // One that can never be registered (the catalog takes no such code) keeps no other from it, and is told once.
    push(&firedamp, &[reading("LW", "MM31 ", 0), reading("LW", "NEW-3", 0)]).await;
    tests::wait_for_async("the good one is registered", PATIENCE, || async {
        let points = firedamp.get("/api/v1/points?site=LW").await.ok()?;
        points.as_array()?.iter().any(|p| p["point"] == "NEW-3").then_some(())
    })
    .await;
    let log = firedamp.stop();
    assert_eq!(log.matches("site `LATER` is not in the catalog").count(), 1, "{log}");
    assert_eq!(log.matches("wait until the files of catalog").count(), 1, "{log}");
    assert_eq!(log.matches("stays in quarantine").count(), 2, "{log}");
}

/// A device that makes up names does not fill the catalog, and the operator hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_ten_thousand_register_themselves() {
    let mut firedamp = started("register").await;
    let rows: Vec<Value> = (0..10_050).map(|n| reading("LW", &format!("random-{n}"), n)).collect();
    for some in rows.chunks(2000) {
        push(&firedamp, some).await;
    }
    balanced(&firedamp, 10_000, 50).await;
    let alarm = alarmed(&firedamp, "firedamp/register-full").await;
    assert!(alarm["reason"].as_str().unwrap().contains("`registered.csv`"), "{alarm}");
    // One that is in a points file is none of them: it is released although it is the last.
    let waiting = firedamp.get("/api/v1/unknown").await.unwrap();
    let point = waiting[0]["point"].as_str().unwrap();
    std::fs::write(
        firedamp.folder().join("points.csv"),
        format!("{POINTS}LW,{point},real,ch4,%,0,30,T1,30s\n"),
    )
    .unwrap();
    balanced(&firedamp, 10_001, 49).await;
    firedamp.stop();
}

/// The first registration of all is refused: no file is left behind that would keep firedamp from starting, or others from registering.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_registration_that_is_refused_leaves_nothing_behind() {
    let mut firedamp = started("register").await;
    push(&firedamp, &[reading("LW", "MM31 ", 0)]).await;
    says(&firedamp, "stays in quarantine").await;
    assert!(!firedamp.folder().join("data/registered.csv").exists());
    push(&firedamp, &[reading("LW", "NEW", 0)]).await;
    balanced(&firedamp, 1, 1).await;
    firedamp.stop();

    let mut firedamp = started("quarantine").await;
    let refused =
        firedamp.run(&["points", "register", "LW", "X", "--quantity", "ch4", "--low", "4", "--high", "0"]);
    assert!(refused.unwrap_err().to_string().contains("low 4 is not below high 0"));
    firedamp.stop();
    firedamp.start().await;
    firedamp.stop();
}

/// A point that comes into the catalog by a points file, under any policy: what waited of it is released.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_of_a_point_is_released_when_a_file_brings_the_point() {
    let mut firedamp = started("quarantine").await;
    push(&firedamp, &[reading("LW", "NEW", 0), reading("LW", "NEW", 1), reading("LW", "OTHER", 0)]).await;
    balanced(&firedamp, 0, 3).await;
    std::fs::write(firedamp.folder().join("points.csv"), format!("{POINTS}LW,NEW,real,ch4,%,0,30,T1,30s\n"))
        .unwrap();
    balanced(&firedamp, 2, 1).await;
    firedamp.stop();
}
