//! The demo as a person meets it: the page in a real browser shows the surge and can be worked with, and the last object balances.

use crate::stand::BINARY;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tests::Process;
use tests::browser::Page;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_an_alarm_on_its_page_until_it_is_stopped() {
    let listen = format!("127.0.0.1:{}", tests::free_port());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["demo", "--format", "json", "--listen", &listen]);
    let demo = Process::spawn("demo", &command, &folder.path().join("demo.log")).unwrap();
    let url = format!("http://{listen}/");
    tests::wait_for_async("an alarm of the surge", Duration::from_secs(60), || async {
        let alarms: Value = reqwest::get(format!("{url}api/v1/alarms")).await.ok()?.json().await.ok()?;
        alarms.as_array()?.iter().any(|a| a["rule"] == "ch4-face").then_some(())
    })
    .await;
    tokio::task::spawn_blocking(move || look(&url)).await.unwrap();
    let ended = demo.terminate(Duration::from_secs(60)).expect("it ends when it is told to");
    let text = demo.log_text();
    assert!(ended.success(), "{text}");
    let end: Value = serde_json::from_str(text.lines().rfind(|line| line.starts_with('{')).unwrap()).unwrap();
    balances(&end);
    assert!(
        end["alarms_raised"].as_i64() > Some(0) && end["notifications_delivered"].as_i64() > Some(0),
        "{end}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_by_itself_and_its_object_balances() {
    let listen = format!("127.0.0.1:{}", tests::free_port());
    let mut command = Command::new(BINARY);
    command.args(["demo", "--for", "15s", "--format", "json", "--listen", &listen]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let end: Value = serde_json::from_str(text.trim()).unwrap();
    balances(&end);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("file set aside"), "the demo's own files are all known: {said}");
    assert!(end["latency_ms"]["p50"].as_f64().is_some(), "{end}");
}

fn balances(end: &Value) {
    let n = |key: &str| end[key].as_i64().unwrap_or_else(|| panic!("{key} in {end}"));
    assert!(n("received") > 0 && n("pending") == 0, "{end}");
    assert_eq!(n("received"), n("accepted") + n("refused"), "{end}");
    assert_eq!(n("accepted"), n("stored") + n("duplicate") + n("quarantined"), "{end}");
}

/// The page of a running surge, as an operator uses it: alarms first, values that move, a trend, an acknowledgement, two languages.
fn look(url: &str) {
    let mut page = Page::open(url, (1280, 1600)).unwrap();
    page.wait_until("document.querySelector('#alarms').innerText.includes('ch4-face')");
    page.wait_until("/[1-9]/.test(document.querySelector('#people-total').innerText)");
    page.wait_until("document.querySelectorAll('#sites tbody tr').length == 4");
    let values =
        "[...document.querySelectorAll('#points tbody td:nth-child(5)')].map(e => e.innerText).join()";
    let before = page.eval(values).unwrap();
    page.wait_until(&format!("({values}) !== {before}"));
    page.click("#points tbody button").unwrap();
    page.wait_until("document.querySelectorAll('#trend path, #trend circle').length > 0");
    page.wait_until("document.querySelector('#trend').getBoundingClientRect().bottom <= innerHeight");
    let row = page.eval("document.querySelector('#alarms tbody tr.unacked').dataset.key").unwrap();
    let of_row = format!("#alarms tr[data-key='{}'] button", row.as_str().unwrap());
    page.click(&of_row).unwrap();
    page.wait_until(&format!("!document.querySelector({})", serde_json::Value::from(of_row)));
    let text = page.text().unwrap();
    assert!(text.contains("Active alarms") && !text.contains("undefined") && !text.contains("NaN"), "{text}");
    page.click("#language").unwrap();
    page.wait_until("document.documentElement.lang == 'zh' && document.body.innerText.includes('确认')");
    if let Some(file) = std::env::var_os("FIREDAMP_PAGE_PNG") {
        page.click("#language").unwrap();
        page.wait_until("document.documentElement.lang == 'en'");
        page.wait_until("document.querySelector('#trend path:not(.band)').getAttribute('d').length > 150");
        page.screenshot(file.as_ref()).unwrap();
    }
}
