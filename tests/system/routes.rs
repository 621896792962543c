//! Routes with the binary: who is told is what `alarms route --test` said, holes are found, and a reload takes routes and rosters as a whole.

use crate::handled::{alarm, ran};
use crate::stand::*;
use serde_json::{Value, json};
use std::time::Duration;
use tests::firedamp::Firedamp;
use tests::webhook::Webhook;

const ROUTES: &str = r#"
to = "province"

[[roster]]
name = "duty"
file = "duty.csv"
fallback = "county"

[[route]]
name = "own"
own = true
to = ["county", "province"]

[[route]]
name = "county"
region = "1401"

  [[route.route]]
  name = "mild"
  severity = ["yellow", "blue"]
  to = "duty"
"#;
const DUTY: &str = "from,to,person,receiver\n2020-01-01 00:00,2090-01-01 00:00,Wang,county\n";
const WAIT: Duration = Duration::from_secs(60);

fn stand(county: &Webhook, province: &Webhook) -> Firedamp {
    let receiver = |name: &str, webhook: &Webhook| {
        format!("[[receiver]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{}\"\n\n", webhook.url)
    };
    let config = format!(
        "{}\n[alerts]\nroutes = \"routes.toml\"\n\n{}{}",
        pushed(),
        receiver("county", county),
        receiver("province", province)
    );
    let files = [
        ("firedamp.toml", config.as_str()),
        ("sites.csv", SITES),
        ("points.csv", POINTS),
        ("rules.toml", RULES),
        ("routes.toml", ROUTES),
        ("duty.csv", DUTY),
    ];
    Firedamp::prepare(BINARY, &files)
}

async fn push(firedamp: &Firedamp, value: f64) {
    use model::Clock;
    let time = model::time::rfc3339(model::SystemClock.now());
    let reading = json!([{ "site": "LW", "point": "MM31", "time": time, "value": value, "status": 0 }]);
    firedamp.post("/api/v1/readings", "application/json", reading.to_string()).await.unwrap();
}

/// Alarms of the rule of methane that a receiver was told, as event and level.
fn told(webhook: &Webhook) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let bodies = webhook.received().into_iter().map(|m| m.json()).filter(|b| b["alarm"]["rule"] == "ch4");
    bodies.map(|b| (text(&b["event"]), text(&b["alarm"]["level"]))).collect()
}

async fn until(webhook: &Webhook, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(e, l)| ((*e).to_owned(), (*l).to_owned())).collect();
    tests::wait_for_async(&format!("{expected:?}"), WAIT, || async {
        (told(webhook) == expected).then_some(())
    })
    .await;
}

/// Names of those who would be told, and by which routes.
fn would_tell(firedamp: &Firedamp, alarm: &Value) -> Vec<(String, String)> {
    std::fs::write(firedamp.folder().join("alarm.json"), alarm.to_string()).unwrap();
    let said = firedamp.run(&["alarms", "route", "--test", "alarm.json", "--format", "json"]).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let told = said[0]["told"].as_array().unwrap();
    told.iter().map(|t| (text(&t["receiver"]), text(&t["route"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_goes_to_the_one_its_route_names_and_the_test_says_the_same() {
    let (county, province) = (Webhook::start().await, Webhook::start().await);
    let mut firedamp = stand(&county, &province);
    let checked = firedamp.run(&["routes", "check", "firedamp.toml"]).unwrap();
    assert!(
        checked.contains("3 routes to 2 receivers for 1 sites: somebody is told of everything"),
        "{checked}"
    );
    firedamp.start().await;
    push(&firedamp, 1.1).await;
    until(&county, &[("raised", "alarm")]).await;
    let listed = firedamp.get("/api/v1/alarms").await.unwrap();
    let alarm = of_rule(&listed, "ch4")[0].clone();
    assert_eq!((&alarm["place"], &alarm["site_state"]), (&json!("T1"), &json!("operating")));
    assert_eq!(would_tell(&firedamp, &alarm), [("county".to_owned(), "county > mild".to_owned())]);
    assert_eq!(
        would_tell(&firedamp, &county.received()[0].json()),
        would_tell(&firedamp, &alarm),
        "a webhook's body too"
    );
    let shown = firedamp.run(&["alarms", "route", "--test", "alarm.json"]).unwrap();
    assert!(shown.contains("roster duty: Wang is on duty"), "{shown}");
    assert!(
        shown.contains("not:  route own (") && shown.contains("it is for firedamp's own alarms"),
        "{shown}"
    );
    assert!(told(&province).is_empty());
    // What rises goes by the county's route to the province, and who knows of it hears that too.
    push(&firedamp, 1.6).await;
    until(&province, &[("raised", "cut")]).await;
    until(&county, &[("raised", "alarm"), ("changed", "cut")]).await;
    let listed = firedamp.get("/api/v1/alarms").await.unwrap();
    let alarm = of_rule(&listed, "ch4")[0].clone();
    assert_eq!(would_tell(&firedamp, &alarm), [("province".to_owned(), "county".to_owned())]);
    push(&firedamp, 0.2).await;
    until(&county, &[("raised", "alarm"), ("changed", "cut"), ("cleared", "cut")]).await;
    until(&province, &[("raised", "cut"), ("cleared", "cut")]).await;
    firedamp.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_routes_and_rosters_as_a_whole_or_not_at_all() {
    let (county, province) = (Webhook::start().await, Webhook::start().await);
    let mut firedamp = stand(&county, &province);
    firedamp.start().await;
    let refused = |on: bool| {
        let firedamp = &firedamp;
        tests::wait_for_async("the alarm about the reload", WAIT, move || async move {
            let alarms = firedamp.get("/api/v1/alarms?all=true").await.ok()?;
            let state = of_rule(&alarms, "firedamp/reload-refused").first().map(|a| a["state"] == "active");
            (state == Some(on)).then_some(())
        })
    };
    // A roster that names nobody who is there stops the whole.
    std::fs::write(firedamp.folder().join("duty.csv"), DUTY.replace(",county", ",nobody-there")).unwrap();
    refused(true).await;
    push(&firedamp, 1.1).await;
    until(&county, &[("raised", "alarm")]).await;
    std::fs::write(firedamp.folder().join("duty.csv"), DUTY.replace(",county", ",province")).unwrap();
    refused(false).await;
    push(&firedamp, 0.2).await;
    until(&county, &[("raised", "alarm"), ("cleared", "alarm")]).await;
    push(&firedamp, 1.1).await;
    until(&province, &[("raised", "alarm")]).await;
    firedamp.stop();
}

#[tokio::test]
async fn holes_and_two_filters_are_found_before_anything_starts() {
    let (county, province) = (Webhook::start().await, Webhook::start().await);
    let firedamp = stand(&county, &province);
    let write = |name: &str, text: &str| std::fs::write(firedamp.folder().join(name), text).unwrap();
    write(
        "routes.toml",
        &ROUTES.replace("to = \"province\"\n\n[[roster]]", "[[roster]]").replace(
            "region = \"1401\"\n",
            "region = \"1401\"\nto = \"county\"\nseverity = \"at least yellow\"\n",
        ),
    );
    let said = format!("{:#}", firedamp.run(&["routes", "check", "firedamp.toml"]).unwrap_err());
    assert!(said.contains("nobody is told of blue alarms of site LW, at any time"), "{said}");
    assert!(said.contains("exit status: 1"), "{said}");
    firedamp.run(&["check", "firedamp.toml"]).unwrap();
    write("routes.toml", &ROUTES.replace("to = \"duty\"", "to = \"dutty\""));
    let said = format!("{:#}", firedamp.run(&["routes", "check", "firedamp.toml"]).unwrap_err());
    assert!(said.contains("routes.toml:21:8: error: there is no receiver or roster `dutty`"), "{said}");
    assert!(said.contains("did you mean `duty`?") && said.contains("exit status: 2"), "{said}");
    write("routes.toml", ROUTES);
    let config = std::fs::read_to_string(firedamp.folder().join("firedamp.toml")).unwrap();
    write("firedamp.toml", &config.replace("name = \"county\"\n", "name = \"county\"\nregions = [\"14\"]\n"));
    let said = format!("{:#}", firedamp.run(&["check", "firedamp.toml"]).unwrap_err());
    assert!(said.contains("`receiver.regions` and `alerts.routes` both decide who is told"), "{said}");
}

/// Without a running server, too, what comes back from the shelf is told to whom the routes say.
#[tokio::test]
async fn what_is_taken_back_without_a_server_is_told_by_the_routes() {
    let (county, province) = (Webhook::start().await, Webhook::start().await);
    let mut firedamp = stand(&county, &province);
    firedamp.start().await;
    push(&firedamp, 1.2).await;
    let id = alarm(&firedamp, "state", "active").await["id"].as_str().unwrap().to_owned();
    until(&county, &[("raised", "alarm")]).await;
    firedamp.run(&["alarms", "shelve", &id, "--for", "30min", "--note", "fan is changed"]).unwrap();
    firedamp.stop();
    let (code, said) = ran(firedamp.folder(), &["alarms", "unshelve", &id, "--by", "li"]);
    assert!(code == Some(0) && said.contains("unshelved"), "{said}");
    firedamp.start().await;
    push(&firedamp, 0.2).await;
    until(&county, &[("raised", "alarm"), ("cleared", "alarm")]).await;
    let events: Vec<Value> = province.received().iter().map(|r| r.json()["event"].clone()).collect();
    assert!(events.is_empty(), "no route names it: {events:?}");
}
