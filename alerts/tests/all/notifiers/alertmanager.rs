//! Alertmanager of Debian's package: which alerts it shows as firing after each message.

use super::{Counterpart, Hopeless, episode, suite};
use crate::bureau::PATIENCE;
use alerts::notifiers::alertmanager::AlertmanagerSettings;
use alerts::{AlarmStore, MemoryStore, Message, OutboxRow, Receiver, Settings, TransitionBatch, conformance};
use async_trait::async_trait;
use model::{To, Transition};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tests::alertmanager::Alertmanager;

fn settings(url: &str, timeout: Duration) -> AlertmanagerSettings {
    let labels = vec![("team".to_owned(), "gas".to_owned())];
    let link = Some("https://firedamp.example.org/api/v1/alarms/{id}".to_owned());
    let (name, url) = ("duty".to_owned(), url.to_owned());
    AlertmanagerSettings { name, url, labels, link, login: None, ca: None, timeout }
}

/// Alerts by their labels, and when each ends.
type Firing = BTreeMap<String, Value>;

struct Manager {
    alertmanager: Alertmanager,
    /// What the messages so far say.
    firing: Firing,
    refused: Option<Message>,
    mendable: Option<Message>,
}

/// What the alerts of a message make of those that fire.
fn follow(firing: &mut Firing, message: &Message) {
    let alerts: Vec<Value> = serde_json::from_slice(&message.body).unwrap();
    for alert in alerts {
        let ends = alert["endsAt"].as_str().unwrap();
        if ends > "2099" {
            firing.insert(alert["labels"].to_string(), alert["annotations"].clone());
        } else {
            firing.remove(&alert["labels"].to_string());
        }
    }
}

async fn shown(alertmanager: &Alertmanager) -> Firing {
    let alerts = alertmanager.alerts().await.unwrap().into_iter();
    alerts.map(|a| (a["labels"].to_string(), a["annotations"].clone())).collect()
}

#[async_trait]
impl Counterpart for Manager {
    fn at(&self, port: u16, timeout: Duration) -> Arc<dyn Settings> {
        Arc::new(settings(&format!("http://127.0.0.1:{port}"), timeout))
    }

    fn settings(&self) -> Arc<dyn Settings> {
        self.at(self.alertmanager.port(), Duration::from_secs(5))
    }

    async fn took(&mut self, messages: &[Message]) {
        messages.iter().for_each(|m| follow(&mut self.firing, m));
        assert_eq!(shown(&self.alertmanager).await, self.firing);
    }

    async fn stop(&mut self) {
        self.alertmanager.kill9();
        self.firing.clear();
    }

    async fn start_again(&mut self) {
        self.alertmanager.start_again();
    }

    fn refused(&mut self) -> Vec<Hopeless> {
        vec![Hopeless { settings: self.settings(), message: self.refused.clone().unwrap() }]
    }

    fn mendable(&mut self) -> Vec<Hopeless> {
        let url = format!("{}/not/here", self.alertmanager.url);
        let settings: Arc<dyn Settings> = Arc::new(settings(&url, Duration::from_secs(5)));
        vec![Hopeless { settings, message: self.mendable.clone().unwrap() }]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanager_keeps_all_promises() {
    let alertmanager = tests::alertmanager::start();
    let mut manager = Manager { alertmanager, firing: Firing::new(), refused: None, mendable: None };
    let message = episode(&manager.settings()).await.remove(0);
    // An alert without labels is none.
    manager.refused = Some(OutboxRow { body: b"[{\"labels\":{}}]".to_vec(), ..message.clone() });
    manager.mendable = Some(message);
    suite(&mut manager).await;
}

/// What lies in the outbox after these transitions, message after message.
async fn told(settings: &AlertmanagerSettings, transitions: Vec<Transition>) -> Vec<Message> {
    let store = MemoryStore::new(vec![Receiver::new("good", Arc::new(settings.clone()))]);
    let store = store.with_places(conformance::places());
    let mut out = Vec::new();
    for (next, transition) in (1..).zip(transitions) {
        let batch =
            TransitionBatch { partition: 0, next, transitions: vec![transition], now: 1, hold: false };
        store.apply(batch).await.unwrap();
        for message in store.outbox_due("good", i64::MAX, 9).await.unwrap() {
            store.delivered(&message.key, 1).await.unwrap();
            out.push(message);
        }
    }
    out
}

/// What the levels do, a second each.
fn steps(levels: &[(&str, To)]) -> Vec<Transition> {
    let step = |(n, (level, to)): (u64, &(&str, To))| conformance::transition(n, level, *to, 1.62);
    (1_764_000_000..).zip(levels).map(step).collect()
}

fn labels(alert: &Value) -> [&str; 2] {
    ["level", "severity"].map(|name| alert["labels"][name].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_that_rises_is_a_new_alert_and_its_end_leaves_none() {
    let alertmanager = tests::alertmanager::start();
    let settings = settings(&alertmanager.url, Duration::from_secs(5));
    let notifier = settings.connect().unwrap();
    let messages = told(
        &settings,
        steps(&[
            ("alarm", To::On),
            ("cut", To::On),
            ("cut", To::Off),
            ("cut", To::On),
            ("alarm", To::Off),
            ("cut", To::Off),
            ("alarm", To::On),
        ]),
    )
    .await;
    let [alarm, cut] = [["alarm", "yellow"], ["cut", "orange"]];
    // While `cut` is on, the end of `alarm` below it is told to nobody.
    let expected = [vec![alarm], vec![cut], vec![alarm], vec![cut], vec![], vec![alarm]];
    assert_eq!(messages.len(), expected.len());
    for (message, expected) in messages.iter().zip(expected) {
        notifier.send(message).await.unwrap();
        let alerts = alertmanager.alerts().await.unwrap();
        assert_eq!(alerts.iter().map(labels).collect::<Vec<_>>(), expected);
    }
    let alerts = alertmanager.alerts().await.unwrap();
    let id = messages[5].alarm.clone();
    let labels = json!({
        "alertname": "ch4", "site": "M1", "point": "T1", "region": "140100", "level": "alarm", "severity": "yellow",
        "alarm": id, "receiver": "duty", "team": "gas",
    });
    assert_eq!(alerts[0]["labels"], labels);
    assert_eq!(alerts[0]["startsAt"], "2025-11-24T16:00:06.000Z");
    assert_eq!(alerts[0]["generatorURL"], format!("https://firedamp.example.org/api/v1/alarms/{id}"));
    assert_eq!(alerts[0]["annotations"]["reason"], "1.62 %");
    assert_eq!(alerts[0]["annotations"]["value"], "1.62");
    let summary = "报警 黄色预警 mine M1 place T1 / alarm, yellow warning (level 3)";
    assert_eq!(alerts[0]["annotations"]["summary"], summary);
}

/// Messages of two alarms have no order: the end of the first, tried again for a while, comes after the second began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_late_end_of_an_alarm_resolves_no_other() {
    let alertmanager = tests::alertmanager::start();
    let settings = settings(&alertmanager.url, Duration::from_secs(5));
    let notifier = settings.connect().unwrap();
    let messages = told(&settings, steps(&[("alarm", To::On), ("alarm", To::Off), ("alarm", To::On)])).await;
    for message in [&messages[0], &messages[2], &messages[1]] {
        notifier.send(message).await.unwrap();
    }
    let alerts = alertmanager.alerts().await.unwrap();
    let firing: Vec<_> = alerts.iter().map(|a| a["labels"]["alarm"].as_str().unwrap()).collect();
    assert_eq!(firing, [&messages[2].alarm]);
}

/// A message that would have resolved an alert is a dead letter, or the labels were others when it was fired: the next one that arrives
/// leaves nothing behind. What another receiver fired there stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_message_resolved_is_resolved_by_the_next_that_arrives() {
    let alertmanager = tests::alertmanager::start();
    let duty = settings(&alertmanager.url, Duration::from_secs(5));
    let relabelled = AlertmanagerSettings { labels: Vec::new(), ..duty.clone() };
    let bureau = AlertmanagerSettings { name: "bureau".to_owned(), ..duty.clone() };
    let cut = [("cut", To::On), ("cut", To::Off)];
    let steps = steps(&[&[("alarm", To::On)][..], &cut, &cut, &[("alarm", To::Off)]].concat());
    let said = async |settings: &AlertmanagerSettings| told(settings, steps.clone()).await;
    let (as_duty, as_relabelled, as_bureau) =
        (said(&duty).await, said(&relabelled).await, said(&bureau).await);
    let send = async |settings: &AlertmanagerSettings, message: &Message| {
        settings.connect().unwrap().send(message).await.unwrap();
        let mut firing: Vec<String> = shown(&alertmanager).await.into_keys().collect();
        firing.retain(|labels| !labels.contains("bureau"));
        firing
            .into_iter()
            .map(|labels| (labels.contains("orange"), labels.contains("gas")))
            .collect::<Vec<_>>()
    };
    send(&bureau, &as_bureau[0]).await;
    let (yellow, orange) = ((false, true), (true, true));
    assert_eq!(send(&duty, &as_duty[0]).await, [yellow]);
    // The first rise and the fall after it are given up.
    assert_eq!(send(&duty, &as_duty[3]).await, [orange]);
    // So is the second fall: its end does not know what fires.
    assert_eq!(send(&duty, &as_duty[5]).await, []);
    assert_eq!(send(&duty, &as_duty[3]).await, [orange]);
    assert_eq!(send(&relabelled, &as_relabelled[4]).await, [(false, false)], "without the label of before");
    assert_eq!(send(&duty, &as_duty[5]).await, []);
    assert_eq!(alertmanager.alerts().await.unwrap().len(), 1, "the other receiver's is left alone");
    send(&bureau, &as_bureau[5]).await;
    assert!(alertmanager.alerts().await.unwrap().is_empty());
}

/// A device clock an hour ahead: the alert ends when the end was decided, and no alert ends before it begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_clock_that_is_ahead_keeps_no_alert_firing() {
    let alertmanager = tests::alertmanager::start();
    let settings = settings(&alertmanager.url, Duration::from_secs(5));
    let notifier = settings.connect().unwrap();
    let now = model::Clock::now(&model::SystemClock);
    let step = |n: u64, to| Transition {
        time: now + 3_600_000_000,
        decided: now,
        ..conformance::transition(n, "alarm", to, 1.1)
    };
    let messages = told(&settings, vec![step(1, To::On), step(2, To::Off)]).await;
    notifier.send(&messages[0]).await.unwrap();
    assert_eq!(alertmanager.alerts().await.unwrap().len(), 1);
    notifier.send(&messages[1]).await.unwrap();
    let resolved = async || alertmanager.alerts().await.unwrap().is_empty().then_some(());
    tests::wait_for_async("it is resolved", PATIENCE, resolved).await;
}

/// What rose and fell while nobody was told: an alert each, all over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_becomes_an_alert_for_each_alarm() {
    let alertmanager = tests::alertmanager::start();
    let settings = settings(&alertmanager.url, Duration::from_secs(5));
    let store = MemoryStore::new(vec![Receiver::new("good", Arc::new(settings.clone()))]);
    let transitions = (0..6u64).map(|n| {
        let to = if n % 2 == 0 { To::On } else { To::Off };
        conformance::transition(1_764_000_000 + n, "alarm", to, 1.1)
    });
    let hold = |hold, transitions| TransitionBatch { partition: 0, next: 2, transitions, now: 1, hold };
    store.apply(hold(true, transitions.collect())).await.unwrap();
    store.apply(TransitionBatch { next: 3, ..hold(false, Vec::new()) }).await.unwrap();
    store.flush(i64::MAX / 2).await.unwrap();
    let messages = store.outbox_due("good", i64::MAX, 9).await.unwrap();
    assert_eq!(messages.len(), 1);
    let alerts: Vec<Value> = serde_json::from_slice(&messages[0].body).unwrap();
    let times: Vec<_> =
        alerts.iter().map(|a| [&a["startsAt"], &a["endsAt"]].map(|t| t.as_str().unwrap())).collect();
    let second = |n| format!("2025-11-24T16:00:0{n}.000Z");
    assert_eq!(times, [[second(0), second(1)], [second(2), second(3)], [second(4), second(5)]]);
    settings.connect().unwrap().send(&messages[0]).await.unwrap();
    assert!(alertmanager.alerts().await.unwrap().is_empty());
}
