//! The demo as a person meets it: the page in a real browser shows the alarm, and the last object of the demo balances.

use crate::stand::BINARY;
use std::process::Command;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_an_alarm_and_balances() {
    let port = tests::free_port();
    let listen = format!("127.0.0.1:{port}");
    let demo = tokio::task::spawn_blocking({
        let listen = listen.clone();
        move || {
            Command::new(BINARY)
                .args(["demo", "--for", "30s", "--format", "json", "--listen", &listen])
                .output()
                .unwrap()
        }
    });
    let url = format!("http://{listen}/");
    tests::wait_for_async("an alarm of the surge", Duration::from_secs(60), || async {
        let alarms: serde_json::Value =
            reqwest::get(format!("{url}api/v1/alarms")).await.ok()?.json().await.ok()?;
        alarms.as_array()?.iter().any(|a| a["rule"] == "ch4-face").then_some(())
    })
    .await;
    let shown = tests::browser::document(&url, 4000).unwrap();
    assert!(shown.contains("ch4-face"), "the page shows the alarm:\n{shown}");
    assert!(!shown.contains("undefined"), "{shown}");
    let output = demo.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let end: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    let n = |key: &str| end[key].as_i64().unwrap_or_else(|| panic!("{key} in {end}"));
    assert!(n("received") > 0 && n("pending") == 0, "{end}");
    assert_eq!(n("received"), n("accepted") + n("refused"), "{end}");
    assert_eq!(n("accepted"), n("stored") + n("duplicate") + n("quarantined"), "{end}");
    assert!(n("alarms_raised") > 0 && n("notifications_delivered") > 0, "{end}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("file set aside"), "the demo's own files are all known: {said}");
    assert!(end["latency_ms"]["p50"].as_f64().is_some(), "{end}");
}
