//! What every alarm store promises, a function a promise. Each is given a fresh store with the receivers of [`receivers`].

use crate::notifiers::{Options, webhook::WebhookOptions};
use crate::receiver::Receiver;
use crate::{AlarmFilter, AlarmStore, EventKind, OwnAlarm, TransitionBatch};
use model::transition::Marks;
use model::{AlarmState, Micros, Offset, Origin, PointId, Severity, To, Transition, TransitionId};
use std::time::Duration;

/// A county, a second office, and a drill receiver.
pub fn receivers() -> Vec<Receiver> {
    ["county", "office", "drill"].map(receiver).to_vec()
}

fn receiver(name: &str) -> Receiver {
    let options = WebhookOptions {
        url: "http://127.0.0.1:1/".to_owned(),
        secret: None,
        timeout: Duration::from_secs(1),
    };
    Receiver {
        name: name.to_owned(),
        drill: name == "drill",
        severity: Severity::Blue,
        sites: Vec::new(),
        deadline: Duration::from_secs(60),
        options: Options::Webhook(options),
    }
}

/// A transition of rule `ch4` at point `T1`; `n` makes its id.
pub fn transition(n: u64, level: &str, to: To, value: f64) -> Transition {
    let point_id = PointId::of("M1", "T1");
    let rank = u32::from(level == "cut");
    Transition {
        id: TransitionId::of("ch4", point_id, level, Origin { collector: 1, sequence: n }, 0, 0),
        time: n as Micros * 1_000_000,
        decided: n as Micros * 1_000_000,
        offset: Offset { partition: 0, number: n },
        site: "M1".to_owned(),
        point: "T1".to_owned(),
        point_id,
        rule: "ch4".to_owned(),
        version: "v".to_owned(),
        level: level.to_owned(),
        rank,
        to,
        value: Some(value),
        peak: None,
        severity: if rank == 1 { Severity::Orange } else { Severity::Yellow },
        reason: format!("{value} %"),
        marks: Marks::default(),
    }
}

fn batch(next: u64, transitions: Vec<Transition>) -> TransitionBatch {
    TransitionBatch { partition: 0, next, transitions, now: next as Micros * 1_000_000, hold: false }
}

const LATER: Micros = 1_000_000_000_000;

/// All promises, each on a store of its own.
pub async fn suite<S: AlarmStore, F: Future<Output = S>>(mut make: impl FnMut() -> F) {
    an_alarm_opens_steps_and_closes(&make().await).await;
    a_transition_is_taken_once(&make().await).await;
    an_action_says_what_it_did(&make().await).await;
    what_is_held_is_told_as_it_stands(&make().await).await;
    calibration_drill_and_late_are_told_apart(&make().await).await;
    a_dead_letter_is_an_alarm_for_others(&make().await).await;
    own_alarms_are_cleared_by_hand(&make().await).await;
}

async fn an_alarm_opens_steps_and_closes(store: &impl AlarmStore) {
    let steps = [
        transition(1, "alarm", To::On, 1.1),
        transition(2, "cut", To::On, 1.6),
        transition(3, "cut", To::Off, 0.9),
        transition(4, "alarm", To::Off, 0.9),
    ];
    let events = store.apply(batch(3, steps[..2].to_vec())).await.unwrap();
    assert_eq!(events.iter().map(|e| e.event).collect::<Vec<_>>(), [EventKind::Raised, EventKind::Changed]);
    let active = store.list(&AlarmFilter::default()).await.unwrap();
    assert_eq!(active.len(), 1);
    let alarm = &active[0];
    assert_eq!((alarm.level.as_str(), alarm.severity, alarm.peak), ("cut", Severity::Orange, Some(1.6)));
    assert_eq!(alarm.id, steps[0].id.to_string());
    let events = store.apply(batch(5, steps[2..].to_vec())).await.unwrap();
    assert_eq!(events.iter().map(|e| e.event).collect::<Vec<_>>(), [EventKind::Changed, EventKind::Cleared]);
    assert!(store.list(&AlarmFilter::default()).await.unwrap().is_empty());
    let all = store.list(&AlarmFilter { all: true, ..AlarmFilter::default() }).await.unwrap();
    assert_eq!((all[0].state, all[0].closed), (AlarmState::Closed, Some(4_000_000)));
    assert_eq!(all[0].level, "cut", "after closing the highest level it reached is shown");
    assert_eq!(store.position(0).await.unwrap(), 5);
    assert_eq!(store.outbox_due("county", LATER, 100).await.unwrap().len(), 4);
    assert!(store.outbox_due("drill", LATER, 100).await.unwrap().is_empty());
    let events = store.events_after(1, 2).await.unwrap();
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 3]);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.raised, counts.cleared, counts.sent, counts.pending), (1, 1, 8, 8));
}

async fn a_transition_is_taken_once(store: &impl AlarmStore) {
    let on = transition(1, "alarm", To::On, 1.1);
    store.apply(batch(1, vec![on.clone(), on.clone()])).await.unwrap();
    assert!(store.apply(batch(1, vec![on.clone()])).await.unwrap().is_empty(), "an offset that was taken");
    assert!(store.apply(batch(2, vec![on])).await.unwrap().is_empty(), "an id that was taken");
    assert_eq!(store.last_seq().await.unwrap(), 1);
    assert_eq!(store.outbox_due("county", LATER, 100).await.unwrap().len(), 1);
}

async fn an_action_says_what_it_did(store: &impl AlarmStore) {
    let first = transition(1, "alarm", To::On, 1.1);
    let id = first.id.to_string();
    store.apply(batch(1, vec![first])).await.unwrap();
    let ids = vec![id.clone(), "no such".to_owned()];
    let seen = store.last_seq().await.unwrap();
    store.apply(batch(2, vec![transition(2, "cut", To::On, 1.6)])).await.unwrap();
    let words = |done: Vec<crate::AckOutcome>| done.into_iter().map(|d| d.outcome).collect::<Vec<_>>();
    let done = store.acknowledge(&ids, "wang", "", Some(seen), 9).await.unwrap();
    assert_eq!(words(done), ["changed", "gone"], "it rose after what the caller had seen");
    let seen = store.last_seq().await.unwrap();
    assert_eq!(words(store.acknowledge(&ids[..1], "wang", "", Some(seen), 9).await.unwrap()), ["acked"]);
    assert_eq!(words(store.acknowledge(&ids[..1], "li", "", None, 9).await.unwrap()), ["already"]);
    let alarm = store.get(&id).await.unwrap().unwrap();
    assert_eq!(
        (alarm.acked, alarm.acked_by.as_deref(), alarm.state),
        (true, Some("wang"), AlarmState::Active)
    );
    assert_eq!(words(store.clear(&ids, "wang", "", 9).await.unwrap()), ["active", "gone"]);
}

async fn what_is_held_is_told_as_it_stands(store: &impl AlarmStore) {
    let mut other = transition(3, "alarm", To::On, 1.2);
    other.rule = "other".to_owned();
    let mut other_off = transition(4, "alarm", To::Off, 0.9);
    other_off.rule = "other".to_owned();
    let held = vec![transition(1, "alarm", To::On, 1.1), transition(2, "cut", To::On, 1.6), other, other_off];
    store.apply(TransitionBatch { hold: true, ..batch(5, held) }).await.unwrap();
    assert!(store.outbox_due("county", LATER, 100).await.unwrap().is_empty());
    assert_eq!(store.list(&AlarmFilter::default()).await.unwrap().len(), 1, "recorded at once");
    store.apply(batch(5, Vec::new())).await.unwrap();
    let told: Vec<serde_json::Value> = store
        .outbox_due("county", LATER, 100)
        .await
        .unwrap()
        .iter()
        .map(|r| serde_json::from_slice(&r.body).unwrap())
        .collect();
    let mut events: Vec<&str> = told.iter().map(|m| m["event"].as_str().unwrap()).collect();
    events.sort_unstable();
    assert_eq!(events, ["digest", "raised"]);
    let raised = told.iter().find(|m| m["event"] == "raised").unwrap();
    assert_eq!(raised["alarm"]["level"], "cut", "as it stands, not as it was");
    store.apply(batch(5, Vec::new())).await.unwrap();
    assert_eq!(store.outbox_due("county", LATER, 100).await.unwrap().len(), 2, "released once");
}

async fn calibration_drill_and_late_are_told_apart(store: &impl AlarmStore) {
    let mut calibrating = transition(1, "alarm", To::On, 1.1);
    calibrating.marks.calibrating = true;
    store.apply(batch(1, vec![calibrating])).await.unwrap();
    assert!(store.outbox_due("county", LATER, 9).await.unwrap().is_empty());
    assert!(store.list(&AlarmFilter::default()).await.unwrap()[0].marks.calibrating);
    store.apply(batch(2, vec![transition(2, "alarm", To::On, 1.1)])).await.unwrap();
    let told = store.outbox_due("county", LATER, 9).await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!(told["event"], "raised", "the first message about an alarm that turned real");
    let mut drill = transition(3, "alarm", To::On, 1.1);
    drill.marks.simulated = true;
    let mut late = transition(4, "alarm", To::On, 1.1);
    late.marks.late = true;
    store.apply(batch(4, vec![drill, late])).await.unwrap();
    assert_eq!(store.outbox_due("drill", LATER, 9).await.unwrap().len(), 1);
    let told = store.outbox_due("office", LATER, 9).await.unwrap();
    let last: serde_json::Value = serde_json::from_slice(&told.last().unwrap().body).unwrap();
    assert_eq!((told.len(), &last["event"]), (2, &serde_json::json!("digest")));
    assert_eq!(store.counts().await.unwrap().raised, 1, "drill and late do not count");
}

async fn a_dead_letter_is_an_alarm_for_others(store: &impl AlarmStore) {
    store.apply(batch(1, vec![transition(1, "alarm", To::On, 1.1)])).await.unwrap();
    let message = store.outbox_due("county", LATER, 9).await.unwrap().remove(0);
    store.failed(&message.key, "500", Some(LATER), 2_000_000).await.unwrap();
    assert!(store.outbox_due("county", LATER - 1, 9).await.unwrap().is_empty(), "not before its time");
    let again = store.outbox_due("county", LATER, 9).await.unwrap().remove(0);
    assert_eq!((again.attempts, &again.body), (1, &message.body), "one content a key");
    store.failed(&message.key, "gone", None, 3_000_000).await.unwrap();
    assert!(
        store.outbox_due("county", LATER, 9).await.unwrap().is_empty(),
        "its own channel is not used to tell it"
    );
    let office = store.outbox_due("office", LATER, 9).await.unwrap();
    assert!(String::from_utf8_lossy(&office.last().unwrap().body).contains("firedamp/dead-letter"));
    store.delivered(&office[0].key, 4_000_000).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.dead, counts.delivered, counts.pending), (1, 1, 1));
}

async fn own_alarms_are_cleared_by_hand(store: &impl AlarmStore) {
    let own = OwnAlarm {
        what: "log-silent".to_owned(),
        key: "3".to_owned(),
        severity: Severity::Orange,
        reason: "no tick".to_owned(),
        on: true,
    };
    store.raise_own(own.clone(), 1).await.unwrap();
    store.raise_own(own, 2).await.unwrap();
    let active = store.list(&AlarmFilter::default()).await.unwrap();
    assert_eq!(active.len(), 1, "raised twice is one alarm");
    let done = store.clear(&[active[0].id.clone()], "wang", "seen to", 3).await.unwrap();
    assert_eq!(done[0].outcome, "cleared");
    assert!(store.list(&AlarmFilter::default()).await.unwrap().is_empty());
    assert_eq!(store.counts().await.unwrap().raised, 0, "own alarms are not the mines'");
}
