//! `firedamp explain`, asked while the server runs and when none does; the history is that of `same`, and one of a rule across points.

use crate::rule_tools::firedamp as command;
use crate::stand::{BINARY, pushed};
use model::Clock;
use serde_json::{Value, json};
use std::time::Duration;
use tests::firedamp::Firedamp;

/// Through the running server.
pub async fn running(firedamp: &Firedamp) {
    let ask = async |sql: &str| {
        let rows = firedamp.post("/api/v1/sql", "text/plain", sql.to_owned()).await.unwrap();
        rows[0]["id"].as_str().unwrap().to_owned()
    };
    let held =
        ask("SELECT id FROM events WHERE rule = 'slow' AND level = 'held' AND \"to\" = 'on' AND site = 'M1'")
            .await;
    let (code, out, err) = command(firedamp.folder(), &["explain", &held]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "M1 B: slow held on at ",
        "because 0.9 >= 0.8 %",
        "by the passing of time",
        "rules.toml:11:1:",
        "  name = \"slow\"",
        "on >= 0.8 off < 0.8, on after 2s   [",
        "->",
    ] {
        assert!(out.contains(part), "missing `{part}` in\n{out}");
    }
    assert!(!out.contains("the files have changed"), "{out}");
    // The first digits are enough, too few are not.
    let cut =
        ask("SELECT id FROM events WHERE rule = 'limit' AND point = 'A' AND level = 'cut' AND \"to\" = 'on'")
            .await;
    let (code, out, _) = command(firedamp.folder(), &["explain", &cut[..12], "--format", "json"]);
    let why: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, why["transition"]["id"].as_str()), (0, Some(cut.as_str())));
    assert_eq!(
        (why["decided_by"].as_str(), why["rule"]["same_version"].as_bool()),
        (Some("reading"), Some(true))
    );
    assert_eq!(why["rule"]["limit"], "on >= 1.5 off < 1");
    let last = why["readings"].as_array().unwrap().iter().rfind(|r| r["time"] == why["transition"]["time"]);
    assert_eq!(last.unwrap()["value"], 1.6, "{out}");
    let levels: Vec<&str> =
        why["steps"].as_array().unwrap().iter().map(|s| s["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["alarm", "cut", "alarm", "cut"], "the whole alarm, and no other");
    assert_eq!(command(firedamp.folder(), &["explain", "ab"]).0, 2);
    let (code, _, err) = command(firedamp.folder(), &["explain", "000000000000"]);
    assert!(code == 2 && err.contains("no alarm or transition"), "{err}");
}

/// From the folders, by rules that have changed since.
pub fn stopped(firedamp: &Firedamp) {
    let alarms = firedamp.run(&["alarms", "list", "--all", "--format", "json"]).unwrap();
    let alarms: Value = serde_json::from_str(&alarms).unwrap();
    let slow = alarms.as_array().unwrap().iter().find(|a| a["rule"] == "slow").unwrap();
    let rules = firedamp.folder().join("rules.toml");
    let before = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, before.replace(">= 0.8", ">= 0.7").replace("< 0.8", "< 0.7")).unwrap();
    let (code, out, err) = command(firedamp.folder(), &["explain", slow["id"].as_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("the files have changed since it was decided") && out.contains("slow held on"),
        "{out}"
    );
    std::fs::write(&rules, before).unwrap();
}

const VOTE: &str = r#"
[[rule]]
name = "two"
kind = "vote"
select = { quantity = "wind" }
by = "site"
when = { kind = "limit", level = [{ name = "over", on = ">= 1.0", off = "< 1.0" }] }
level = [{ name = "two", need = 2 }]
"#;

/// Of a rule across points readings are those that it heard, in the order of the log: one of two devices has its clock an hour ahead.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_across_points_is_explained_by_the_log_and_not_by_two_clocks() {
    let mut points = "site,point,name,quantity,unit,low,high,place,period\n".to_owned();
    (0..20).for_each(|i| points += &format!("M1,P{i:02},,wind,m/s,0,15,,30s\n"));
    let config = pushed();
    let sites = "site,name,kind,region\nM1,a,mine,140100\n";
    let files =
        [("firedamp.toml", &*config), ("sites.csv", sites), ("points.csv", &*points), ("rules.toml", VOTE)];
    let mut firedamp = Firedamp::prepare(BINARY, &files);
    firedamp.start().await;
    let now = model::SystemClock.now() / 1000;
    for record in [&[("P00", 0, 0.4), ("P19", 3_600_000, 0.4)][..], &[("P19", 3_601_000, 0.5)]] {
        push(&firedamp, now, record).await;
    }
    push(&firedamp, now, &[("P00", 1, 1.2), ("P19", 3_602_000, 1.3)]).await;
    push(&firedamp, now, &[("P19", 3_603_000, 1.4)]).await;
    push(&firedamp, now, &[("P19", 3_604_000, 1.5)]).await;
    let event = tests::wait_for_async("the vote", Duration::from_secs(60), || async {
        let sql = "SELECT id FROM events WHERE rule = 'two' AND \"to\" = 'on'";
        let rows = firedamp.post("/api/v1/sql", "text/plain", sql.to_owned()).await.ok()?;
        rows.get(0).cloned()
    })
    .await;
    let sql = "SELECT count(*) FROM readings WHERE point = 'P19'";
    tests::wait_for_async("the readings", Duration::from_secs(60), || async {
        firedamp.number(sql).await.ok().filter(|n| *n == 5).map(|_| ())
    })
    .await;
    let id = event["id"].as_str().unwrap();
    let (code, out, err) = command(firedamp.folder(), &["explain", id, "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let why: Value = serde_json::from_str(&out).unwrap();
    let values = |rows: &Value| -> Vec<f64> {
        rows.as_array().unwrap().iter().map(|row| row["value"].as_f64().unwrap()).collect()
    };
    // By event time the readings of P19 would all come after the decision.
    assert_eq!(values(&why["related"]["P19"]), [0.4, 0.5, 1.3, 1.4], "{out}");
    assert_eq!(values(&why["readings"]), [0.4, 1.2]);
    assert_eq!((&why["decided_by"], &why["in_record"]), (&json!("record"), &json!(["P00", "P19"])));
    assert_eq!((why["related"].as_object().unwrap().len(), &why["related_more"]), (16, &json!(3)));
    let (_, out, _) = command(firedamp.folder(), &["explain", id]);
    for part in [
        "when the clock left ",
        "which holds readings of P00, P19",
        "\nand 3 more\n",
        "-> ",
        "readings of P19:",
    ] {
        assert!(out.contains(part), "missing `{part}` in\n{out}");
    }
    firedamp.stop();
}

/// Rows of (point, milliseconds after now, value), one delivery.
async fn push(firedamp: &Firedamp, now: i64, rows: &[(&str, i64, f64)]) {
    let row = |(point, after, value): &(&str, i64, f64)| json!({ "site": "M1", "point": point, "time": now + after, "value": value });
    let body = Value::from(rows.iter().map(row).collect::<Vec<_>>()).to_string();
    firedamp.post("/api/v1/readings", "application/json", body).await.unwrap();
}
