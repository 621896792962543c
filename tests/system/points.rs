//! Unknown points: kept aside, listed, registered by one command, released into history; pushed readings and their forms.

use crate::stand::*;
use std::time::Duration;
use tests::firedamp::Firedamp;

async fn started() -> Firedamp {
    let mut firedamp = prepare(&pushed());
    firedamp.start().await;
    firedamp
}

pub fn now_ms() -> i64 {
    use model::Clock;
    model::SystemClock.now() / 1000
}

pub async fn balanced(firedamp: &Firedamp, stored: i64, quarantined: i64) {
    tests::wait_for_async("the balance", Duration::from_secs(30), || async {
        let b = firedamp.get("/api/v1/balance").await.ok()?;
        (b["stored"] == stored && b["quarantined"] == quarantined && b["pending"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_unknown_point_registers_itself_where_that_is_the_policy() {
    let mut firedamp = prepare(&pushed().replace("[catalog]\n", "[catalog]\nunknown = \"register\"\n"));
    firedamp.start().await;
    let t = now_ms();
    let body = serde_json::json!([
        { "site": "LW", "point": "NEW-1", "time": t, "value": 0.4 },
        { "site": "LW", "point": "NEW-2", "time": t, "value": 0.5 },
        { "site": "NOWHERE", "point": "X", "time": t, "value": 0.6 },
    ]);
    firedamp.post("/api/v1/readings", "application/json", body.to_string()).await.unwrap();
    balanced(&firedamp, 2, 1).await;
    let points = firedamp.get("/api/v1/points?site=LW").await.unwrap();
    let new = points.as_array().unwrap().iter().filter(|p| p["quantity"] == "unknown").count();
    assert_eq!(new, 2, "{points}");
    let waiting = firedamp.get("/api/v1/unknown").await.unwrap();
    assert_eq!((waiting.as_array().unwrap().len(), &waiting[0]["site"]), (1, &"NOWHERE".into()), "{waiting}");
    firedamp.stop();
}

#[tokio::test]
async fn an_unknown_point_waits_and_is_released() {
    let mut firedamp = started().await;
    let t = now_ms();
    let body = serde_json::json!([
        { "site": "LW", "point": "NEW", "time": t, "value": 0.4 },
        { "site": "LW", "point": "NEW", "time": t + 1000, "value": 0.5 },
        { "site": "LW", "point": "MM31", "time": t, "value": 0.3, "status": 0 },
    ]);
    let answer = firedamp.post("/api/v1/readings", "application/json", body.to_string()).await.unwrap();
    assert_eq!((&answer["accepted"], &answer["unknown"]), (&1.into(), &2.into()), "{answer}");
    balanced(&firedamp, 1, 2).await;
    let listed = firedamp.run(&["points", "unknown", "--format", "json"]).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed[0]["point"], &listed[0]["count"], &listed[0]["last_value"]),
        (&"NEW".into(), &2.into(), &0.5.into())
    );
    let said = firedamp
        .run(&["points", "register", "LW", "NEW", "--quantity", "ch4", "--unit", "%", "--place", "T1"])
        .unwrap();
    assert!(said.contains("2 readings released"), "{said}");
    balanced(&firedamp, 3, 0).await;
    let n = firedamp.number("SELECT count(*) FROM readings WHERE point = 'NEW'").await.unwrap();
    assert_eq!(n, 2);
    let received = firedamp.get("/api/v1/balance").await.unwrap()["received"].as_i64();
    assert_eq!(received, Some(3), "released readings are not received again");
    assert!(firedamp.run(&["points", "register", "LW", "NEW", "--quantity", "ch4"]).is_err());
    firedamp.stop();
}

#[tokio::test]
async fn pushed_readings_in_both_forms_raise_and_are_stored_once() {
    let mut firedamp = started().await;
    let t = now_ms();
    let lines = format!("MM116,site=LW value=1.6 {t}\nMM31,site=LW value=0.2 {t}\nthis is no line\n");
    for _ in 0..2 {
        let answer = reqwest::Client::new()
            .post(firedamp.url("/api/v1/write?precision=ms"))
            .body(lines.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "a partial write says so");
    }
    balanced(&firedamp, 2, 0).await;
    let balance = firedamp.get("/api/v1/balance").await.unwrap();
    assert_eq!((&balance["duplicate"], &balance["refused"]), (&2.into(), &2.into()), "{balance}");
    let alarms = firedamp.get("/api/v1/alarms").await.unwrap();
    assert_eq!((&alarms[0]["level"], &alarms[0]["peak"]), (&"cut".into(), &1.6.into()));
    let id = alarms[0]["id"].as_str().unwrap();
    let done = firedamp.run(&["alarms", "ack", id, "--note", "seen"]).unwrap();
    assert!(done.contains("\"acked\""), "{done}");
    assert_eq!(firedamp.get("/api/v1/alarms").await.unwrap()[0]["acked"], true);
    for (sql, word) in [
        ("DROP TABLE readings", "only"),
        ("COPY readings TO 'x.csv'", "only"),
        ("SELECT nonsense FROM readings", "nonsense"),
    ] {
        let answer = firedamp.post("/api/v1/sql", "text/plain", sql.to_owned()).await.unwrap();
        assert!(answer["error"].as_str().unwrap().contains(word), "{sql}: {answer}");
    }
    firedamp.stop();
}

#[tokio::test]
async fn rules_and_points_change_while_running_as_a_whole_or_not_at_all() {
    let mut firedamp = started().await;
    let push = |point: &'static str, value: f64| {
        let body = serde_json::json!([{ "site": "LW", "point": point, "time": now_ms(), "value": value }])
            .to_string();
        let firedamp = &firedamp;
        async move { firedamp.post("/api/v1/readings", "application/json", body).await.unwrap() }
    };
    push("MM31", 0.7).await;
    let rules = firedamp.folder().join("rules.toml");
    std::fs::write(&rules, RULES.replace("level = [", "level = [ nonsense")).unwrap();
    let refused = firedamp.post("/api/v1/reload", "application/json", "{}".to_owned()).await.unwrap();
    assert!(refused["error"].as_str().unwrap().contains("nothing has changed"), "{refused}");
    std::fs::write(
        &rules,
        RULES
            .replace(">= 1.0", ">= 0.6")
            .replace("off = \"< 1.0\", severity = \"yellow\"", "off = \"< 0.6\", severity = \"yellow\""),
    )
    .unwrap();
    let taken = firedamp.post("/api/v1/reload", "application/json", "{}".to_owned()).await.unwrap();
    assert_eq!(taken["reloaded"], true, "{taken}");
    tests::wait_for_async("the new rule alarms", Duration::from_secs(20), || async {
        push("MM31", 0.8).await;
        let alarms = firedamp.get("/api/v1/alarms").await.ok()?;
        (!of_rule(&alarms, "ch4").is_empty()).then_some(())
    })
    .await;
    std::fs::write(&rules, RULES.replace("name = \"ch4\"", "name = \"other\"")).unwrap();
    firedamp.process().unwrap().signal("HUP");
    tests::wait_for_async(
        "an alarm of a rule that is gone is withdrawn",
        Duration::from_secs(20),
        || async {
            let alarms = firedamp.get("/api/v1/alarms?all=true").await.ok()?;
            of_rule(&alarms, "ch4")
                .iter()
                .any(|a| a["withdrawn"] == true && a["state"] == "closed")
                .then_some(())
        },
    )
    .await;
    firedamp.stop();
}
