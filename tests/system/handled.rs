//! An alarm from the reading to the closed case, by the commands of those who handle it; and its journal, with what was signed, what was
//! told, and what is found when somebody changes the database.

use crate::stand::*;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tests::firedamp::Firedamp;
use tests::wait_for_async;
use tests::webhook::Webhook;

const SECRET: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// A reading of the return now.
pub async fn read(firedamp: &Firedamp, value: f64) {
    let time = model::time::rfc3339(model::Clock::now(&model::SystemClock));
    let rows = json!([{ "site": "LW", "point": "MM116", "time": time, "value": value, "status": 0 }]);
    firedamp.post("/api/v1/readings", "application/json", rows.to_string()).await.unwrap();
}

/// Waits for the newest alarm that is so.
pub async fn alarm(firedamp: &Firedamp, key: &str, value: &str) -> Value {
    wait_for_async(&format!("an alarm with {key} {value}"), std::time::Duration::from_secs(30), || async {
        let alarms = firedamp.get("/api/v1/alarms?all=true").await.ok()?;
        alarms.as_array()?.iter().find(|a| a["rule"] == "ch4" && a[key] == value).cloned()
    })
    .await
}

pub async fn told(webhook: &Webhook, event: &str, n: usize) -> Vec<Value> {
    wait_for_async(&format!("{n} messages {event}"), std::time::Duration::from_secs(30), || async {
        let came: Vec<Value> =
            webhook.received().iter().map(|r| r.json()).filter(|m| m["event"] == event).collect();
        (came.len() >= n).then_some(came)
    })
    .await
}

/// Exit code and standard output of a command on the folder of a firedamp that may not run.
pub fn ran(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.current_dir(folder).args(arguments).env("KEY", SECRET).env("COUNTY_SECRET", "s");
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.code(), said)
}

#[tokio::test]
async fn an_alarm_is_handled_to_its_end_and_its_journal_proves_it() {
    let webhook = Webhook::start().await;
    let alerts = "[alerts]\nsigning_key = { env = \"KEY\" }\ncheckpoint = \"1s\"\nshelve_max = \"1h\"\n";
    let receiver = format!(
        "[[receiver]]\nname = \"county\"\nkind = \"webhook\"\nurl = \"{}\"\ncheckpoints = true\n",
        webhook.url
    );
    let mut firedamp = prepare(&format!("{}{alerts}{receiver}", pushed()));
    firedamp.set("KEY", SECRET);
    firedamp.start().await;
    read(&firedamp, 1.2).await;
    let id = alarm(&firedamp, "state", "active").await["id"].as_str().unwrap().to_owned();
    let short = &id[..8];
    told(&webhook, "raised", 1).await;
    let act = |arguments: &[&str]| {
        let said = firedamp.run(&[&["alarms"], arguments].concat());
        said.map(|said| serde_json::from_str::<Value>(&said).unwrap()["results"][0]["outcome"].clone())
    };
    for long in ["2h", "0s"] {
        let error = act(&["shelve", short, "--for", long, "--note", "fan"]).unwrap_err().to_string();
        assert!(error.contains("at most 60 min"), "{error}");
    }
    assert!(act(&["shelve", short, "--for", "5min"]).unwrap_err().to_string().contains("needs `note`"));
    assert_eq!(act(&["shelve", short, "--for", "30min", "--note", "fan is changed"]).unwrap(), "shelved");
    assert!(firedamp.run(&["alarms", "list"]).unwrap().contains("shelved"));
    // What is worse was not put aside.
    read(&firedamp, 1.6).await;
    assert_eq!(told(&webhook, "changed", 1).await[0]["alarm"]["level"], "cut");
    assert_eq!(act(&["ack", short]).unwrap(), "acked");
    assert_eq!(act(&["urge", short, "--way", "phone", "--called", "dispatcher Li"]).unwrap(), "urged");
    assert_eq!(act(&["close", short]).unwrap(), "not_disposed");
    let dispose = ["dispose", short, "--cause", "blasting", "--measure", "more air"];
    assert_eq!(act(&dispose).unwrap(), "disposed");
    read(&firedamp, 0.4).await;
    told(&webhook, "cleared", 1).await;
    assert_eq!(act(&["close", short]).unwrap(), "same_person");
    let shown = firedamp.run(&["alarms", "show", short]).unwrap();
    for line in [
        "case disposed, urged 1 times",
        "by phone to dispatcher Li",
        "cause blasting; measure more air",
        "fan is changed",
        "try 1",
    ] {
        assert!(shown.contains(line), "no `{line}` in\n{shown}");
    }
    // A checkpoint that covers all of it.
    let now = webhook.received().len();
    let signed = told(&webhook, "checkpoint", 2).await.len();
    told(&webhook, "checkpoint", signed + 2).await;
    assert!(webhook.received().len() > now);
    firedamp.stop();
    proven(firedamp.folder(), short, &webhook);
}

/// What is closed without a server, and what is found in the journal as it is and as somebody changed it.
fn proven(folder: &Path, short: &str, webhook: &Webhook) {
    let (code, said) =
        ran(folder, &["alarms", "close", short, "--by", "zhao", "--note", "looked at on site"]);
    assert!(code == Some(0) && said.contains("closed_out"), "without a server: {said}");
    let kept: Vec<String> = webhook
        .received()
        .iter()
        .map(|r| r.json())
        .filter(|m| m["event"] == "checkpoint")
        .map(|m| m.to_string())
        .collect();
    std::fs::write(folder.join("kept.jsonl"), kept.join("\n")).unwrap();
    let verify = ["alarms", "verify", "--checkpoints", "kept.jsonl"];
    let (code, said) = ran(folder, &verify);
    assert!(code == Some(0) && said.contains(&format!("{} checkpoints hold", kept.len())), "{said}");
    let (code, said) = ran(folder, &[&verify[..], &["--key", &"00".repeat(32)]].concat());
    assert!(code == Some(2) && said.contains("kept.jsonl:1:") && said.contains("another key"), "{said}");
    let change = |sql: &str| {
        let script =
            "import sqlite3,sys; d = sqlite3.connect('data/alarms.db'); d.execute(sys.argv[1]); d.commit()";
        let mut python = Command::new("python3");
        assert!(python.current_dir(folder).args(["-c", script, sql]).status().unwrap().success());
    };
    change("UPDATE journal SET note = 'it was nobody' WHERE event = 'shelved'");
    let (code, said) = ran(folder, &verify);
    assert!(
        code == Some(1) && said.contains("(shelved,") && said.contains("does not agree with its hash"),
        "{said}"
    );
    change("UPDATE journal SET note = 'fan is changed' WHERE event = 'shelved'");
    assert_eq!(ran(folder, &verify).0, Some(0));
    change("DELETE FROM journal WHERE seq > 3");
    let (code, said) = ran(folder, &verify);
    assert!(code == Some(1) && said.contains("were cut off"), "{said}");
}
