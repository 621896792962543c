//! The heartbeat: a watcher outside hears firedamp while it works, and firedamp says so when the watcher does not answer.

use crate::stand::*;
use std::time::Duration;
use tests::webhook::Webhook;

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_hears_it_while_it_works() {
    let watcher = Webhook::start().await;
    let heartbeat = format!("[server.heartbeat]\nurl = \"{}\"\nevery = \"1s\"\n\n", watcher.url);
    let mut firedamp = prepare(&(heartbeat + &pushed()));
    firedamp.start().await;
    let beats = || watcher.received().iter().filter(|m| m.json()["from"] == "firedamp").count();
    tests::wait_for_async("two beats", Duration::from_secs(30), || async { (beats() >= 2).then_some(()) })
        .await;
    watcher.refuse(5);
    let about = |on: bool| {
        let firedamp = &firedamp;
        tests::wait_for_async("the alarm about the watcher", Duration::from_secs(30), move || async move {
            let alarms = firedamp.get("/api/v1/alarms?all=true").await.ok()?;
            let mine = of_rule(&alarms, "firedamp/heartbeat").first().map(|a| a["state"] == "active");
            (mine == Some(on)).then_some(())
        })
    };
    about(true).await;
    about(false).await;
    firedamp.stop();
}
