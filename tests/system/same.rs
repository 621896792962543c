//! Live, again from the log, and again from the table: the same readings, the same decisions. In the middle the process is killed,
//! and the rules change.

use crate::once::{entries, judged, log_of, version};
use crate::rule_tools::firedamp as command;
use crate::stand::*;
use model::{Clock, Micros, Record, Stream, Transition};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use stream::Log;
use tests::firedamp::Firedamp;

const PARTITIONS: u32 = 2;
/// Between two ticks, as a backtest puts them.
const TICK: Micros = 1_002_000;
const SITES: &str = "site,name,kind,region\nM1,a,mine,140100\nM2,b,mine,140100\nM3,c,mine,140100\n";
const BEFORE: &str = r#"
[[rule]]
name = "limit"
kind = "limit"
select = { quantity = "ch4" }
level = [
  { name = "alarm", on = ">= 1.0", off = "< 1.0" },
  { name = "cut", on = ">= 1.5", off = "< 1.0" },
]

[[rule]]
name = "slow"
kind = "limit"
select = { point = "B" }
level = [{ name = "held", on = ">= 0.8", off = "< 0.8", on_delay = "2s" }]

[[rule]]
name = "rise"
kind = "rate"
select = { point = "A" }
window = "20s"
min_readings = 3
blank = "1s"
level = [{ name = "warning", on = ">= 1 /min", off = "< 0.5 /min" }]

[[rule]]
name = "quiet"
kind = "silent"
select = { point = "C" }
periods = 3
"#;
const AFTER: &str = "\n[[rule]]\nname = \"second\"\nkind = \"limit\"\nselect = { point = \"A\" }\nlevel = [{ name = \"low\", on = \">= 0.5\" }]\n";

/// Rows of (site, point, milliseconds before now, value, status).
type Row = (&'static str, &'static str, i64, Option<f64>, i32);

async fn push(firedamp: &Firedamp, rows: &[Row]) {
    let now = model::SystemClock.now() / 1000;
    let row = |(site, point, ago, value, status): &Row| json!({ "site": site, "point": point, "time": now - ago, "value": value, "status": status });
    let body = Value::from(rows.iter().map(row).collect::<Vec<_>>()).to_string();
    firedamp.post("/api/v1/readings", "application/json", body).await.unwrap();
}

/// Waits until so many transitions of a rule are in the table or its tail.
async fn decided(firedamp: &Firedamp, rule: &str, to: &str, n: i64) {
    let sql = format!("SELECT count(*) FROM events WHERE rule = '{rule}' AND \"to\" = '{to}'");
    tests::wait_for_async(&format!("{rule} {to} {n} times"), Duration::from_secs(60), || async {
        firedamp.number(&sql).await.ok().filter(|count| *count >= n).map(|_| ())
    })
    .await;
}

/// Half a minute of a value that goes up and down at A, a record a second.
async fn swing(firedamp: &Firedamp) {
    for ago in (0..30).rev() {
        let value = [0.4, 0.6, 0.9, 1.0, 1.3, 1.6, 1.4, 0.9, 0.5, 0.4][ago as usize % 10];
        let all = ["M1", "M2", "M3"].map(|site| (site, "A", ago * 1000, Some(value), 0));
        push(firedamp, &all).await;
    }
}

/// Everything that live judging meets: delays that run out in silence, a silent point, missing, bad, late and repeated readings, a
/// kill in the middle of an on-delay's life, a rule that comes.
async fn live(firedamp: &mut Firedamp) {
    firedamp.start().await;
    push(firedamp, &[("M1", "C", 0, Some(0.4), 0), ("M2", "C", 0, Some(0.4), 0)]).await;
    swing(firedamp).await;
    push(
        firedamp,
        &[("M1", "B", 0, Some(0.9), 0), ("M2", "B", 0, Some(1.2), 0), ("M1", "Z", 0, Some(9.0), 0)],
    )
    .await;
    decided(firedamp, "slow", "on", 2).await;
    // M3 never spoke at C, the others fell silent.
    decided(firedamp, "quiet", "on", 3).await;
    push(firedamp, &[("M3", "B", 0, Some(0.9), 0)]).await;
    firedamp.kill9();
    firedamp.start().await;
    // Its delay was under way when the process died.
    decided(firedamp, "slow", "on", 3).await;
    push(firedamp, &[("M1", "B", 0, Some(0.9), 17), ("M2", "B", 0, None, 0), ("M2", "B", 0, None, 0)]).await;
    push(firedamp, &[("M3", "B", 300_000, Some(1.7), 0), ("M3", "B", 200_000, Some(0.3), 0)]).await;
    push(
        firedamp,
        &[("M1", "B", 0, Some(0.1), 0), ("M2", "B", 0, Some(0.1), 0), ("M1", "C", 0, Some(0.4), 0)],
    )
    .await;
    decided(firedamp, "slow", "off", 2).await;
    std::fs::write(firedamp.folder().join("rules.toml"), format!("{BEFORE}{AFTER}")).unwrap();
    tests::wait_for_async("the new rule is in force", Duration::from_secs(60), || async {
        push(
            firedamp,
            &[("M1", "A", 0, Some(0.65), 0), ("M2", "A", 0, Some(0.65), 0), ("M3", "A", 0, Some(0.65), 0)],
        )
        .await;
        let count = firedamp.number("SELECT count(*) FROM events WHERE rule = 'second'").await.ok()?;
        (count >= 3).then_some(())
    })
    .await;
    swing(firedamp).await;
    // M1 spoke again at C, and falls silent again.
    decided(firedamp, "quiet", "on", 4).await;
}

fn points() -> String {
    let mut text = "site,point,name,quantity,unit,low,high,place,period\n".to_owned();
    for site in ["M1", "M2", "M3"] {
        for point in ["A", "B", "C"] {
            text += &format!("{site},{point},{point},ch4,%,0,4,T1,1s\n");
        }
    }
    text
}

/// What the clock of live ticks strays from that of a backtest, which puts them a tick apart after the entry before, at most.
fn stray(entries: &[model::Entry]) -> Micros {
    let (mut since, mut ticks, mut most) = (Micros::MAX, 0, 0);
    for entry in entries {
        if !matches!(entry.decode().unwrap(), Record::Tick) {
            (since, ticks) = (entry.appended, 0);
        } else if since != Micros::MAX {
            ticks += 1;
            most = most.max((entry.appended - since - ticks * TICK).abs());
        }
    }
    most
}

/// One judgement of the whole log, what was decided live, each once, and how far its ticks stray.
async fn from_log(firedamp: &Firedamp) -> (Vec<Transition>, Vec<Transition>, Micros) {
    let log = log_of(firedamp, PARTITIONS);
    let (mut again, mut live, mut strays) = (Vec::new(), BTreeMap::new(), 0);
    for p in 0..PARTITIONS {
        let readings = entries(&log, Stream::Readings, p).await;
        again.extend(
            judged(&readings, version(SITES, &points(), BEFORE, PARTITIONS).of_partition(p)).unwrap(),
        );
        strays = strays.max(stray(&readings));
        for (i, entry) in entries(&log, Stream::Transitions, p).await.into_iter().enumerate() {
            let Record::Transitions(all) = entry.decode().unwrap() else { panic!("not transitions") };
            for (n, t) in all.into_iter().enumerate() {
                let before = live.values().find(|(b, _): &&(Transition, usize)| b.id == t.id);
                match before {
                    Some((before, _)) => assert_eq!(*before, t, "decided again after the kill"),
                    None => drop(live.insert((p, i, n), (t, n))),
                }
            }
        }
    }
    log.close().await.unwrap();
    (again, live.into_values().map(|(t, _)| t).collect(), strays)
}

/// A transition with the keys of `backtest --format jsonl`.
fn keys(t: &Transition) -> Value {
    json!({ "time": model::time::rfc3339(t.time), "site": t.site, "point": t.point, "rule": t.rule, "level": t.level,
            "to": t.to.as_str(), "value": t.value, "reason": t.reason, "id": t.id })
}

fn of_rules<'a>(lines: &'a [Value], rules: &[&str]) -> Vec<&'a Value> {
    lines.iter().filter(|l| rules.contains(&l["rule"].as_str().unwrap())).collect()
}

/// Lines without keys.
fn without(lines: Vec<&Value>, keys: &[&str]) -> Vec<Value> {
    let strip = |line: &Value| {
        let mut line = line.as_object().unwrap().clone();
        line.retain(|key, _| !keys.contains(&key.as_str()));
        Value::from(line)
    };
    lines.into_iter().map(strip).collect()
}

fn millis(line: &Value) -> i64 {
    model::time::parse(line["time"].as_str().unwrap()).unwrap() / 1000
}

#[tokio::test(flavor = "multi_thread")]
async fn live_log_and_table_decide_the_same_through_a_kill_and_a_change_of_rules() {
    let (config, points) = (pushed(), points());
    let files =
        [("firedamp.toml", &*config), ("sites.csv", SITES), ("points.csv", &points), ("rules.toml", BEFORE)];
    let mut firedamp = Firedamp::prepare(BINARY, &files);
    live(&mut firedamp).await;
    crate::explained::running(&firedamp).await;
    firedamp.stop();
    crate::explained::stopped(&firedamp);
    let (again, live, strays) = from_log(&firedamp).await;
    assert!(live.len() > 60 && live.iter().any(|t| t.marks.late) && live.iter().any(|t| t.marks.unconfirmed));
    let bytes =
        |all: &[Transition]| all.iter().map(|t| serde_json::to_string(t).unwrap()).collect::<Vec<_>>();
    assert_eq!(bytes(&again), bytes(&live), "the log judged again, to the byte");

    let (code, out, err) = command(firedamp.folder(), &["backtest", "--format", "jsonl"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("judged as the log held them"), "{err}");
    let table: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let live: Vec<Value> = live.iter().map(keys).collect();
    let more = ["severity", "marks"];
    // What readings decide: every key, in the same order.
    let by_readings = ["limit", "rise"];
    assert_eq!(without(of_rules(&table, &by_readings), &more), without(of_rules(&live, &by_readings), &[]));
    // An on-delay that ran out at a tick: the same decision with the same id; the table knows the time of a tick to about a second.
    let held = without(of_rules(&live, &["slow"]), &["time"]);
    assert_eq!(without(of_rules(&table, &["slow"]), &[&more[..], &["time"]].concat()), held);
    // Silence has no reading to be named by: the same points, on and off.
    let what = ["time", "id", "reason", "severity", "marks"];
    assert_eq!(without(of_rules(&table, &["quiet"]), &what), without(of_rules(&live, &["quiet"]), &what));
    for (a, b) in of_rules(&table, &["slow", "quiet"]).iter().zip(of_rules(&live, &["slow", "quiet"])) {
        assert!((millis(a) - millis(b)).abs() <= (TICK + strays) / 1000, "{a} {b}");
    }
    // The rule that came is judged from the beginning here: more than live.
    assert!(of_rules(&table, &["second"]).len() > of_rules(&live, &["second"]).len());
}
