//! What `deploy/` promises: a backup that can be restored, and alert rules on metrics that exist.

use crate::stand::*;
use std::path::Path;
use std::process::Command;
use tests::firedamp::Firedamp;

const CONFIG: &str = "[log]\npartitions = 2\n\n[catalog]\nsites = \"sites.csv\"\npoints = [\"points.csv\"]\n\n[rules]\npaths = [\"rules.toml\"]\n\n\
                      [storage]\nflush = \"200ms\"\n\n[[receiver]]\nname = \"nobody\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n";

fn files() -> [(&'static str, &'static str); 4] {
    [("firedamp.toml", CONFIG), ("sites.csv", SITES), ("points.csv", POINTS), ("rules.toml", RULES)]
}

fn script(name: &str, arguments: [&Path; 2]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    let output = Command::new(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_backup_is_restored_as_it_was() {
    let mut before = Firedamp::prepare(BINARY, &files());
    before.start().await;
    let now = {
        use model::Clock;
        model::SystemClock.now() / 1000
    };
    let body = serde_json::json!([
        { "site": "LW", "point": "MM116", "time": now, "value": 1.2 },
        { "site": "LW", "point": "NEW", "time": now, "value": 3.0 },
    ]);
    before.post("/api/v1/readings", "application/json", body.to_string()).await.unwrap();
    tests::wait_for_async("the alarm", tests::START_TIMEOUT, || async {
        let alarms = before.get("/api/v1/alarms").await.ok()?;
        (!of_rule(&alarms, "ch4").is_empty()).then_some(())
    })
    .await;
    before.stop();
    let balance = before.run(&["balance", "--format", "json"]).unwrap();
    let alarms = before.run(&["alarms", "list", "--format", "json"]).unwrap();
    let copy = before.folder().join("copy");
    script("backup.sh", [&before.folder().join("data"), &copy]);
    let mut after = Firedamp::prepare(BINARY, &files());
    script("restore.sh", [&copy, &after.folder().join("data")]);
    assert_eq!(after.run(&["balance", "--format", "json"]).unwrap(), balance);
    assert_eq!(after.run(&["alarms", "list", "--format", "json"]).unwrap(), alarms);
    after.start().await;
    assert_eq!(after.number("SELECT count(*) FROM readings").await.unwrap(), 1);
    assert_eq!(
        of_rule(&after.get("/api/v1/alarms").await.unwrap(), "ch4").len(),
        1,
        "the same alarm, not a second one"
    );
    let metrics = reqwest::get(after.url("/metrics")).await.unwrap().text().await.unwrap();
    let rules =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alerts.rules.yml"))
            .unwrap();
    let named: std::collections::BTreeSet<&str> = rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("firedamp_"))
        .collect();
    assert!(named.len() >= 4);
    // A counter with labels has no line before its first count; its HELP is there only then, so its name must be in the source.
    for name in named {
        assert!(metrics.contains(name) || registered(name), "{name} is not a metric");
    }
    after.stop();
}

fn registered(name: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    ["server/src/runners.rs", "server/src/edge/metrics.rs", "alerts/src/metrics.rs"].iter().any(|f| {
        std::fs::read_to_string(root.join(f)).is_ok_and(|text| text.contains(&format!("\"{name}\"")))
    })
}

#[test]
fn the_example_configuration_is_understood() {
    let text = include_str!("../../deploy/firedamp.example.toml").replace("county.secret", "sites.csv");
    // The harness writes a [server] section of its own.
    let text = text.replace("[server]\nlisten = \"127.0.0.1:8460\"\n", "");
    let firedamp =
        Firedamp::prepare(BINARY, &[("firedamp.toml", &text), ("sites.csv", SITES), ("points.csv", POINTS)]);
    let said = firedamp.run(&["check", "firedamp.toml"]).unwrap();
    assert!(said.contains("good: 1 sites, 4 points"), "{said}");
}

#[test]
fn the_reference_of_keys_is_the_codes() {
    let firedamp = Firedamp::prepare(BINARY, &[]);
    let made = firedamp.run(&["check", "--reference"]).unwrap();
    let kept = include_str!("../../docs/configuration.md");
    assert!(
        made == kept,
        "docs/configuration.md is stale: firedamp check --reference > docs/configuration.md"
    );
}
