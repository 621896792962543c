//! Two processes that write one table folder from logs of their own: the one that comes second stops storing with an alarm, and goes
//! on judging and alarming, also when it is started again. Its readings are all in the table of its own that it is then given.

use super::stand::*;
use super::told::Told;
use crate::stand::BINARY;
use serde_json::json;
use std::collections::BTreeMap;
use tests::firedamp::Firedamp;

const SITES: &str = "site,name,kind,region\nP2,Second,plant,140100\n";
const RULES: &str = "[[rule]]\nname = \"full\"\nkind = \"limit\"\nselect = { quantity = \"level\" }\n\
                     level = [{ name = \"alarm\", on = \">= 5000\", off = \"< 100\", severity = \"yellow\" }]\n";
const POINTS: &str = "site,point,name,quantity,unit,low,high,place\nP2,LT,,level,m,0,,\n";

fn config(url: &str) -> String {
    format!(
        "[log]\npartitions = 1\n[catalog]\nsites = \"sites.csv\"\npoints = [\"points.csv\"]\n\n[rules]\n\
         paths = [\"rules.toml\"]\n\n[storage]\nflush = \"500ms\"\n\
         url = \"{url}\"\n"
    )
}

async fn push(firedamp: &Firedamp, from: i64) {
    let start = now() / 1000 - 100_000;
    let rows: Vec<_> = (from..from + 10)
        .map(|n| json!({ "site": "P2", "point": "LT", "time": start + n, "value": n }))
        .collect();
    let body = serde_json::to_string(&rows).unwrap();
    let answer = firedamp.post("/api/v1/readings", "application/json", body).await.unwrap();
    assert_eq!(answer["accepted"], 10, "{answer}");
}

/// A level goes over its limit and back, and the alarm shows it; two readings.
async fn alarms(firedamp: &Firedamp, time: i64, during: &str) {
    for (n, value) in [9000, 99].into_iter().enumerate() {
        let row = json!([{ "site": "P2", "point": "LT", "time": time + n as i64, "value": value }]);
        firedamp.post("/api/v1/readings", "application/json", row.to_string()).await.unwrap();
        let what = format!("the alarm follows {value}, {during}");
        tests::wait_for_async(&what, PATIENCE, || async {
            (active(firedamp, "full", "LT").await.is_some() == (value > 100)).then_some(())
        })
        .await;
    }
}

/// It stores nothing and says so everywhere; returns the reason of the alarm.
async fn stores_nothing(firedamp: &Firedamp) -> String {
    let alarm = tests::wait_for_async("the alarm that nothing is stored", PATIENCE, || {
        active(firedamp, "firedamp/table-stopped", "table")
    });
    let alarm = alarm.await;
    assert_eq!(firedamp.get("/health/ready").await.unwrap()["parts"]["storage"], false);
    assert_eq!(Told::metrics(firedamp).await.get("firedamp_storage_stopped"), 1);
    alarm["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_table_never_mix() {
    // One partition: of several, each process could be first in another, and both would stop.
    // The second opens the table while it is empty: nobody can know yet that another will write it.
    let lake = tempfile::tempdir().unwrap();
    let url = lake.path().display().to_string();
    let config = |url: &str| config(url);
    let files = |text: &str| {
        let csv = [("sites.csv", SITES), ("points.csv", POINTS), ("rules.toml", RULES)];
        Firedamp::prepare(BINARY, &[&[("firedamp.toml", text)], &csv[..]].concat())
    };
    let mut second = files(&config(&url));
    second.start().await;
    let head = format!("[log]\npartitions = 1\n[storage]\nflush = \"500ms\"\nurl = \"{url}\"\n");
    let mut stand = Stand::start(&head, |_| String::new()).await;
    tests::wait_for_async("the first has committed", PATIENCE, || async {
        (stand.firedamp.get("/api/v1/balance").await.ok()?["stored"].as_i64()? > 0).then_some(())
    })
    .await;

    push(&second, 0).await;
    let why = stores_nothing(&second).await;
    assert!(
        why.contains("another writer moved partition") && why.contains("start this process again"),
        "{why}"
    );
    let later = now() / 1000 - 50_000;
    alarms(&second, later, "while nothing is stored").await;
    push(&second, 10).await;
    stand.pass("another process wrote the same table").await;
    second.stop();

    second.launch(&[]);
    tests::wait_for_async("it answers", PATIENCE, || async { second.get("/health/ready").await.ok() }).await;
    let why = stores_nothing(&second).await;
    assert!(why.contains("another process writes this table from its own log"), "{why}");
    alarms(&second, later + 10, "after a start that cannot store").await;
    stand.pass("another process tries again").await;
    second.stop();

    let path = second.folder().join("firedamp.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace(&url, "lake");
    std::fs::write(&path, text).unwrap();
    second.start().await;
    tests::wait_for_async("the alarm ends", PATIENCE, || async {
        active(&second, "firedamp/table-stopped", "table").await.is_none().then_some(())
    })
    .await;
    push(&second, 20).await;
    balanced(&second, &BTreeMap::from([("push", 34)])).await;
    let numbers = "SELECT count(DISTINCT value) FROM readings";
    assert_eq!(second.number(numbers).await.unwrap(), 30 + 2, "nothing is lost");
    let other = "SELECT count(*) FROM readings WHERE site = 'P2'";
    assert_eq!(stand.firedamp.number(other).await.unwrap(), 0, "nothing of it is in the table of the first");
    second.stop();
    let balance = stand.settle().await;
    assert!(balance.values().all(|b| b.duplicate == 0), "{balance:?}");
    stand.firedamp.stop();
}
