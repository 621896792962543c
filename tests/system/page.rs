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
    let page = tokio::task::spawn_blocking(move || look(&url)).await.unwrap();
    let ended = demo.terminate(Duration::from_secs(60)).expect("it ends when it is told to, page or no page");
    tokio::task::spawn_blocking(move || link_lost(page)).await.unwrap();
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
fn look(url: &str) -> Page {
    let mut page = Page::open(url, (1280, 500)).unwrap();
    page.wait_until("document.querySelector('#alarms').innerText.includes('ch4-face')");
    page.wait_until("/[1-9]/.test(document.querySelector('#people-total').innerText)");
    page.wait_until("document.querySelectorAll('#sites tbody tr').length == 4");
    let values =
        "[...document.querySelectorAll('#points tbody td:nth-child(5)')].map(e => e.innerText).join()";
    let before = page.eval(values).unwrap();
    page.wait_until(&format!("({values}) !== {before}"));
    trends(&mut page);
    let row = page.eval("document.querySelector('#alarms tbody tr.unacked').dataset.key").unwrap();
    let of_row = format!("#alarms tr[data-key='{}'] button", row.as_str().unwrap());
    page.click(&of_row).unwrap();
    page.wait_until(&format!("!document.querySelector({})", serde_json::Value::from(of_row)));
    let text = page.text().unwrap();
    assert!(text.contains("Active alarms") && !text.contains("undefined") && !text.contains("NaN"), "{text}");
    if let Some(file) = std::env::var_os("FIREDAMP_PAGE_PNG") {
        page.resize((1280, 1600)).unwrap();
        page.wait_until("document.querySelector('#trend path:not(.band)').getAttribute('d').length > 150");
        page.screenshot(file.as_ref()).unwrap();
    }
    page.click("#language").unwrap();
    page.wait_until("document.documentElement.lang == 'zh' && document.body.innerText.includes('确认')");
    page.click("#language").unwrap();
    page.wait_until("document.documentElement.lang == 'en'");
    page
}

/// Who opens a trend from far down sees it; a reading without neighbours is seen in it.
fn trends(page: &mut Page) {
    let height = "document.querySelector('#points').getBoundingClientRect().height > 2 * innerHeight";
    assert_eq!(page.eval(height).unwrap(), true, "the last row is far below where trends are shown");
    // Answered here, so that it is certain that the last reading is alone.
    page.eval(
        "window.real = fetch; window.fetch = (path, options) => !path.startsWith('/api/v1/trend') ? real(path, options) : \
         Promise.resolve(Response.json([0, 1, 2, 600].map(s => \
           ({t: new Date(1.7e12 + s * 1000).toISOString(), n: 1, min: 1, avg: 1, max: 1})))); 0",
    )
    .unwrap();
    page.click("#points tbody tr:first-child button").unwrap();
    page.wait_until("document.querySelectorAll('#trend circle').length == 1");
    page.wait_until("+document.querySelector('#trend circle').getAttribute('cx') == 880");
    page.eval("window.fetch = real; 0").unwrap();
    page.click("#points tbody tr:last-child button").unwrap();
    page.wait_until(
        "document.querySelector('#trend path:not(.band)')?.getAttribute('d').split('L').length > 1",
    );
    page.wait_until(
        "document.querySelector('#h-trend').getBoundingClientRect().top >= \
         document.querySelector('header').getBoundingClientRect().bottom",
    );
    page.wait_until("document.querySelector('#trend').getBoundingClientRect().bottom <= innerHeight");
}

/// What an open page says of a firedamp that is gone: that the link is lost, however many of its requests fail.
fn link_lost(mut page: Page) {
    let lost = "document.querySelector('#lost')";
    page.wait_until(&format!("!{lost}.hidden && {lost}.innerText.startsWith('Link lost since ')"));
    page.eval(&format!(
        "window.failed = 0; window.told = []; window.real = fetch; \
         window.fetch = (...all) => real(...all).catch(error => {{ failed++; throw error; }}); \
         new MutationObserver(() => told.push({lost}.textContent)).observe({lost}, {{childList: true}}); 0"
    ))
    .unwrap();
    // The trend is asked for again every ten seconds.
    page.wait_until("failed >= 2 && told.length >= 10");
    let told = page.eval("told").unwrap();
    let told = told.as_array().unwrap();
    assert!(told.iter().all(|text| text.as_str().unwrap().starts_with("Link lost since ")), "{told:?}");
    assert_eq!(page.eval(&format!("{lost}.hidden")).unwrap(), false);
}
