//! Two processes that are given one table: the one that it is not of stops storing, or does not begin to, with an alarm, and goes on
//! judging and alarming. Its readings are all in the table of its own that it is then given.

use super::stand::*;
use super::told::Told;
use crate::stand::BINARY;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
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

fn files(text: &str) -> Firedamp {
    let csv = [("sites.csv", SITES), ("points.csv", POINTS), ("rules.toml", RULES)];
    Firedamp::prepare(BINARY, &[&[("firedamp.toml", text)], &csv[..]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_given_the_table_of_another_judges_and_stores_nothing_there() {
    let lake = tempfile::tempdir().unwrap();
    let url = lake.path().display().to_string();
    let head = format!("[log]\npartitions = 1\n[storage]\nflush = \"500ms\"\nurl = \"{url}\"\n");
    let mut stand = Stand::start(&head, |_| String::new()).await;
    let mut second = files(&config(&url));
    let later = now() / 1000 - 50_000;
    for (n, start) in ["at its start", "and when it is started again"].iter().enumerate() {
        second.launch(&[]);
        tests::wait_for_async("it answers", PATIENCE, || async { second.get("/health/ready").await.ok() })
            .await;
        let why = stores_nothing(&second).await;
        assert!(why.contains("another process writes this table from its own log"), "{start}: {why}");
        push(&second, 10 * n as i64).await;
        alarms(&second, later + 10 * n as i64, start).await;
        stand.pass(&format!("another process was given the same table, {start}")).await;
        second.stop();
    }

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

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// No start can see it: both have the same log, up to the copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_data_folder_stops_storing_when_the_original_goes_on() {
    let lake = tempfile::tempdir().unwrap();
    let text = config(&lake.path().display().to_string());
    let (mut first, mut twin) = (files(&text), files(&text));
    first.start().await;
    push(&first, 0).await;
    balanced(&first, &BTreeMap::from([("push", 10)])).await;
    first.stop();
    copy(&first.folder().join("data"), &twin.folder().join("data"));
    first.start().await;
    twin.start().await;
    push(&first, 10).await;
    balanced(&first, &BTreeMap::from([("push", 20)])).await;
    push(&twin, 100).await;
    let why = stores_nothing(&twin).await;
    assert!(
        why.contains("another writer moved partition") && why.contains("start this process again"),
        "{why}"
    );
    let later = now() / 1000 - 50_000;
    alarms(&twin, later, "while nothing is stored").await;
    let points = twin.get("/api/v1/points?site=P2").await.unwrap();
    assert_eq!(points[0]["value"], 99.0, "the page shows what comes: {points}");
    push(&first, 20).await;
    balanced(&first, &BTreeMap::from([("push", 30)])).await;
    assert_eq!(first.number("SELECT count(*) FROM readings").await.unwrap(), 30, "nothing of the copy");
    twin.stop();
    first.stop();
}
