//! The binary tells an MQTT broker and an Alertmanager: an alarm that was raised and cleared arrives at both.

use crate::stand::*;
use serde_json::{Value, json};
use std::time::Duration;
use tests::firedamp::Firedamp;
use tests::mqtt::Subscriber;

const PATIENCE: Duration = Duration::from_secs(60);

async fn push(firedamp: &Firedamp, value: f64) {
    let now = model::Clock::now(&model::SystemClock) / 1000;
    let body = json!([{ "site": "LW", "point": "MM31", "time": now, "value": value }]).to_string();
    firedamp.post("/api/v1/readings", "application/json", body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_goes_out_by_mqtt_and_to_an_alertmanager() {
    let (broker, alertmanager) = (tests::mosquitto::start(), tests::alertmanager::start());
    let receivers = format!(
        "\n[[receiver]]\nname = \"bureau\"\nkind = \"mqtt\"\nurl = \"{}\"\ntopic = \"firedamp/{{region}}/{{site}}/{{severity}}\"\n\
         own = false\n\n[[receiver]]\nname = \"duty\"\nkind = \"alertmanager\"\nurl = \"{}\"\nlabels = [\"team=gas\"]\nown = false\n",
        broker.url, alertmanager.url
    );
    let mut firedamp = prepare(&(pushed() + &receivers));
    let subscriber = Subscriber::start(broker.port, "firedamp").await;
    firedamp.start().await;

    push(&firedamp, 1.2).await;
    let alert = tests::wait_for_async("the alert fires", PATIENCE, || async {
        alertmanager.alerts().await.ok()?.into_iter().next()
    })
    .await;
    let alarms = firedamp.get("/api/v1/alarms").await.unwrap();
    let id = of_rule(&alarms, "ch4")[0]["id"].clone();
    let labels = json!({
        "alertname": "ch4", "site": "LW", "point": "MM31", "region": "140100", "quantity": "ch4", "level": "alarm",
        "severity": "yellow", "alarm": id, "receiver": "duty", "team": "gas",
    });
    assert_eq!(alert["labels"], labels);
    assert_eq!(alert["annotations"]["value"], "1.2 %");

    push(&firedamp, 0.5).await;
    tests::wait_for_async("the alert is resolved", PATIENCE, || async {
        alertmanager.alerts().await.ok()?.is_empty().then_some(())
    })
    .await;
    tests::wait_for_async("all is said delivered", PATIENCE, || async {
        let metrics = reqwest::get(firedamp.url("/metrics")).await.ok()?.text().await.ok()?;
        let delivered = |name: &str| {
            metrics.contains(&format!(
                "firedamp_alerts_tries_total{{outcome=\"delivered\",receiver=\"{name}\"}} 2"
            ))
        };
        (delivered("bureau") && delivered("duty")).then_some(())
    })
    .await;
    let told = subscriber.take().await;
    let said: Vec<Value> = told.iter().map(|got| serde_json::from_slice(&got.payload).unwrap()).collect();
    let shown: Vec<_> = told
        .iter()
        .zip(&said)
        .map(|(got, m)| (got.topic.as_str(), m["event"].as_str(), &m["alarm"]["id"]))
        .collect();
    let topic = "firedamp/140100/LW/yellow";
    assert_eq!(shown, [(topic, Some("raised"), &id), (topic, Some("cleared"), &id)]);
    assert!(told[0].key.is_some() && told[1].key.is_some() && told[0].key != told[1].key, "{told:?}");
    firedamp.stop();
}
