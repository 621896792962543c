//! Two processes that write one table folder from logs of their own: the one that comes second stops with an alarm, does not start
//! again there, and its readings are all in the table of its own that it is then given.

use super::stand::*;
use crate::stand::BINARY;
use serde_json::json;
use std::collections::BTreeMap;
use tests::firedamp::Firedamp;

const SITES: &str = "site,name,kind,region\nP2,Second,plant,140100\n";
const POINTS: &str = "site,point,name,quantity,unit,low,high,place\nP2,LT,,level,m,0,,\n";

fn config(url: &str) -> String {
    format!(
        "[log]\npartitions = 1\n[catalog]\nsites = \"sites.csv\"\npoints = [\"points.csv\"]\n\n[storage]\nflush = \"500ms\"\n\
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

async fn ended(firedamp: &Firedamp) -> i32 {
    let code = tests::wait_for_async("the second process stops", PATIENCE, || async {
        firedamp.process().unwrap().exited()
    });
    code.await.code().unwrap_or(-1)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_table_never_mix() {
    // One partition: of several, each process could be first in another, and both would stop.
    // The second opens the table while it is empty: nobody can know yet that another will write it.
    let lake = tempfile::tempdir().unwrap();
    let url = lake.path().display().to_string();
    let config = |url: &str| config(url);
    let files = |text: &str| {
        Firedamp::prepare(BINARY, &[("firedamp.toml", text), ("sites.csv", SITES), ("points.csv", POINTS)])
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
    assert_eq!(ended(&second).await, 3, "it could not go on");
    stand.pass("another process wrote the same table").await;
    let alarms: serde_json::Value =
        serde_json::from_str(&second.run(&["alarms", "list", "--format", "json"]).unwrap()).unwrap();
    let alarm = alarms.as_array().unwrap().iter().find(|a| a["rule"] == "firedamp/table-stopped");
    assert!(alarm.is_some(), "{alarms}");
    let log = second.process().unwrap().log_text();
    assert!(log.contains("another writer moved partition"), "{log}");

    second.launch(&[]);
    assert_eq!(ended(&second).await, 3, "it does not go on in a table that is not its own");
    let log = second.process().unwrap().log_text();
    assert!(log.contains("another process writes this table from its own log"), "{log}");
    stand.pass("another process tries again").await;

    let path = second.folder().join("firedamp.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace(&url, "lake");
    std::fs::write(&path, text).unwrap();
    second.start().await;
    push(&second, 10).await;
    balanced(&second, &BTreeMap::from([("push", 20)])).await;
    assert_eq!(second.number("SELECT count(DISTINCT value) FROM readings").await.unwrap(), 20);
    let other = "SELECT count(*) FROM readings WHERE site = 'P2'";
    assert_eq!(stand.firedamp.number(other).await.unwrap(), 0, "nothing of it is in the table of the first");
    second.stop();
    let balance = stand.settle().await;
    assert!(balance.values().all(|b| b.duplicate == 0), "{balance:?}");
    stand.firedamp.stop();
}
