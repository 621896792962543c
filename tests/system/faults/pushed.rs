//! Bodies of HTTP that are truncated, too large, of the wrong form or encoding: refused with a status and a sentence, counted, and
//! a body that never ends holds nobody up.

use super::stand::*;
use super::told::Told;
use reqwest::StatusCode;
use std::io::Write;

struct Case {
    what: &'static str,
    path: &'static str,
    body: Vec<u8>,
    status: u16,
    refused: &'static [(&'static str, i64)],
    stored: i64,
}

fn cases() -> Vec<Case> {
    let json = "/api/v1/readings";
    let case = |what, path, body: &[u8], status, refused, stored| Case {
        what,
        path,
        body: body.to_vec(),
        status,
        refused,
        stored,
    };
    let t = now() / 1000;
    let row = |time: &str, value: &str| {
        format!("{{\"site\":\"E1\",\"point\":\"A\",\"time\":{time},\"value\":{value}}}")
    };
    let good = row(&t.to_string(), "1.5");
    let mixed = format!(
        "[{good},{},{},{},{}]",
        row("0", "1"),
        row("\"2026-09-23 10:13:19\"", "1"),
        row(&(t + 1).to_string(), "\"x\""),
        row(&(t + 1).to_string(), "NaN")
    );
    let lines =
        format!("A,site=E1 value=1 {}\nA,site=E1 value= {t}\n\u{ff}no line\nA,site=E1 value=2 1\n", t + 2);
    let huge = vec![b' '; (16 << 20) + 1];
    vec![
        case("truncated", json, &good.as_bytes()[..20], 400, &[("json", 1)], 0),
        case("a list cut off", json, format!("[{good}").as_bytes(), 400, &[("json", 1)], 0),
        case("an object", json, b"{}", 400, &[("json", 1)], 0),
        case("not UTF-8", json, b"[\"\xb2\xe2\"]", 400, &[("encoding", 1)], 0),
        case("too large", json, &huge, 413, &[("oversize", 1)], 0),
        case("lines too large", "/api/v1/write", &huge, 413, &[("oversize", 1)], 0),
        case("some wrong", json, mixed.as_bytes(), 200, &[("time", 2), ("value", 1)], 2),
        case("lines", "/api/v1/write?precision=ms", lines.as_bytes(), 400, &[("line", 2), ("time", 1)], 1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_are_refused_counted_and_hold_nobody_up() {
    let mut stand =
        Stand::start("[log]\npartitions = 2\n[storage]\nflush = \"500ms\"\n", |_| String::new()).await;
    let client = reqwest::Client::new();
    let series =
        |reason: &str| format!("firedamp_ingest_refused_total{{reason=\"{reason}\",source=\"push\"}}");
    // A body that announces more than it sends, on a connection that stays open.
    let mut hanging = std::net::TcpStream::connect(("127.0.0.1", stand.firedamp.port)).unwrap();
    let head = "POST /api/v1/readings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n[{\"site\"";
    hanging.write_all(head.as_bytes()).unwrap();
    let mut refused = 0;
    for Case { what, path, body, status, refused: reasons, stored } in cases() {
        let before = Told::metrics(&stand.firedamp).await;
        let request =
            client.post(stand.firedamp.url(path)).header("content-type", "application/json").body(body);
        // A server that has heard enough may close before the whole body was sent.
        if let Ok(answer) = request.send().await {
            assert_eq!(answer.status(), StatusCode::from_u16(status).unwrap(), "{what}");
            let said: serde_json::Value = answer.json().await.unwrap();
            assert!(said["error"].is_string() || said["refused"].is_array(), "{what}: {said}");
        }
        for (reason, count) in reasons {
            let wanted = before.get(&series(reason)) + count;
            tests::wait_for_async(&format!("{what}: {wanted} of {reason}"), PATIENCE, || async {
                (Told::metrics(&stand.firedamp).await.get(&series(reason)) == wanted).then_some(())
            })
            .await;
            let shown = stand.source("push").await["refused"].clone();
            let shown = shown.as_array().unwrap().iter().find(|r| r["reason"] == *reason).unwrap().clone();
            assert_eq!(shown["count"], wanted, "{what}: {shown}");
            refused += count;
        }
        stand.pushed_beside += stored;
    }
    stand.pass("hostile bodies, and one that never ends").await;
    drop(hanging);
    let balance = stand.settle().await["push"];
    assert_eq!((balance.refused, balance.duplicate, balance.quarantined), (refused, 0, 0));
    assert_eq!(balance.received, balance.stored + refused);
    stand.firedamp.stop();
}
