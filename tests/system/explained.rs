//! `firedamp explain`, asked while the server runs and when none does; the history is that of `same`.

use crate::rule_tools::firedamp as command;
use serde_json::Value;
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
