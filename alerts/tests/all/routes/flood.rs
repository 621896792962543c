//! A receiver that is told more than it can read is told the rest as lists, on every store; one that is a system is told everything.

use super::press::on_each_of;
use alerts::{Act, AlarmStore, TransitionBatch, What, conformance};
use model::time::{MINUTE, SECOND};
use model::{Micros, Origin, PointId, Severity, To, Transition, TransitionId};
use serde_json::Value;

const NAMES: [&str; 2] = ["person", "system"];
const BOTH: &str = "to = [\"person\", \"system\"]\n";
const BEGIN: Micros = 1_800_000_000 * SECOND;

/// A transition of point `n`; every third is worse than the others.
fn of(n: u64, to: To) -> Transition {
    let (point, sequence) = (format!("T{n}"), 2 * n + u64::from(to == To::Off));
    let point_id = PointId::of("M1", &point);
    let id = TransitionId::of("ch4", point_id, "alarm", Origin { collector: 1, sequence }, 0, 0);
    let severity = if n.is_multiple_of(3) { Severity::Red } else { Severity::Yellow };
    Transition { id, point, point_id, severity, ..conformance::transition(n + 1, "alarm", to, 1.1) }
}

async fn apply(store: &dyn AlarmStore, transitions: Vec<Transition>, now: Micros) {
    let next = store.position(0).await.unwrap() + 1;
    store.apply(TransitionBatch { partition: 0, next, transitions, now, hold: false }).await.unwrap();
}

/// What is told by then: of each message its event and the points it is about.
async fn said(store: &dyn AlarmStore, name: &str, now: Micros) -> Vec<(String, Vec<String>)> {
    store.flush(now).await.unwrap();
    let mut out = Vec::new();
    loop {
        let due = store.outbox_due(name, Micros::MAX, 10_000).await.unwrap();
        if due.is_empty() {
            return out;
        }
        for message in due {
            let body: Value = serde_json::from_slice(&message.body).unwrap();
            let one = std::slice::from_ref(&body["alarm"]);
            let alarms = body["alarms"].as_array().map_or(one, Vec::as_slice);
            let points = alarms.iter().map(|a| a["point"].as_str().unwrap().to_owned()).collect();
            out.push((body["event"].as_str().unwrap().to_owned(), points));
            store.delivered(&message.key, now).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_eleventh_within_ten_minutes_begins_a_list() {
    on_each_of(&NAMES, BOTH, async |store, _| {
        for n in 0..10 {
            apply(store, vec![of(n, To::On)], BEGIN + n as i64 * SECOND).await;
        }
        assert_eq!(said(store, "person", BEGIN + 10 * SECOND).await.len(), 10, "ten are ten messages");
        let eleventh = BEGIN + 10 * MINUTE - 1;
        apply(store, [10, 11, 12].map(|n| of(n, To::On)).to_vec(), eleventh).await;
        // One that is listed ends, and so does one that was told.
        apply(store, vec![of(11, To::Off), of(1, To::Off)], eleventh + 30 * SECOND).await;
        assert_eq!(said(store, "person", eleventh + MINUTE - 1).await, []);
        let list = said(store, "person", eleventh + MINUTE).await;
        let worst_first = ["T12", "T10", "T1", "T11"].map(str::to_owned).to_vec();
        assert_eq!(list, [("list".to_owned(), worst_first)], "the worst first, what is over last");
        assert_eq!(said(store, "person", eleventh + 5 * MINUTE).await, [], "told once");
        let of_system = said(store, "system", eleventh + 5 * MINUTE).await;
        assert_eq!(of_system.len(), 15, "a system is told everything");
        assert!(of_system.iter().all(|(event, _)| event != "list"));
        // Few came for ten minutes: it is over, and the end of what was on the list is a message.
        let after = eleventh + 11 * MINUTE;
        apply(store, vec![of(12, To::Off)], after).await;
        assert_eq!(said(store, "person", after).await, [("cleared".to_owned(), vec!["T12".to_owned()])]);
    })
    .await;
}

/// What a receiver is told next, of one that takes nothing.
async fn next(store: &dyn AlarmStore) -> Vec<String> {
    let due = store.outbox_due("person", Micros::MAX, 100).await.unwrap();
    due.iter()
        .map(|m| serde_json::from_slice::<Value>(&m.body).unwrap()["event"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_overtakes_nothing_and_nothing_overtakes_it() {
    on_each_of(&NAMES, BOTH, async |store, _| {
        apply(store, (0..12).map(|n| of(n, To::On)).collect(), BEGIN).await;
        store.flush(BEGIN + MINUTE).await.unwrap();
        assert_eq!(next(store).await, ["raised"; 10], "the list waits for what came before it");
        for message in store.outbox_due("person", Micros::MAX, 100).await.unwrap() {
            store.delivered(&message.key, BEGIN).await.unwrap();
        }
        // The flood is over, and the list is still on its way.
        apply(store, vec![of(11, To::Off), of(0, To::Off)], BEGIN + 20 * MINUTE).await;
        assert_eq!(next(store).await, ["list"]);
        let list = store.outbox_due("person", Micros::MAX, 100).await.unwrap();
        store.failed(&list[0].key, "later", Some(BEGIN), BEGIN).await.unwrap();
        assert_eq!(next(store).await, ["list"]);
        // One that nobody ever takes holds the others up no longer.
        for _ in 0..2 {
            store.failed(&list[0].key, "later", Some(BEGIN), BEGIN).await.unwrap();
        }
        assert_eq!(next(store).await, ["list", "cleared", "cleared"]);
        store.delivered(&list[0].key, BEGIN).await.unwrap();
        assert_eq!(next(store).await, ["cleared"; 2]);
    })
    .await;
}

#[tokio::test]
async fn a_wall_clock_that_goes_back_keeps_no_list() {
    on_each_of(&NAMES, BOTH, async |store, _| {
        apply(store, (0..12).map(|n| of(n, To::On)).collect(), BEGIN).await;
        assert_eq!(said(store, "person", BEGIN - 60 * MINUTE).await.last().unwrap().0, "list");
    })
    .await;
}

#[tokio::test]
async fn what_is_listed_again_is_told_again_and_a_list_outlives_its_flood() {
    let text = format!("{BOTH}repeat = \"10min\"\n");
    on_each_of(&NAMES, &text, async |store, in_force| {
        apply(store, (0..12).map(|n| of(n, To::On)).collect(), BEGIN).await;
        let list = |told: Vec<(String, Vec<String>)>| {
            told.into_iter().filter(|(event, _)| event == "list").collect::<Vec<_>>()
        };
        let first = list(said(store, "person", BEGIN + MINUTE).await);
        assert_eq!(first.len(), 1);
        let reminded = BEGIN + 12 * MINUTE;
        assert_eq!(said(store, "person", reminded).await.len(), 10, "ten are ten messages again");
        assert_eq!(
            list(said(store, "person", reminded + MINUTE).await),
            first,
            "the same alarms, told once more"
        );
        // Somebody takes `flood` away while two are listed.
        said(store, "person", reminded + 11 * MINUTE).await;
        let without: Vec<_> =
            super::receivers(&NAMES).into_iter().map(|r| alerts::Receiver { flood: 0, ..r }).collect();
        let routes =
            alerts::Routes::parse(std::path::Path::new("r"), BOTH, &without, &mut model::Problems::default());
        in_force.replace(std::sync::Arc::new(routes.unwrap()));
        assert_eq!(list(said(store, "person", reminded + 12 * MINUTE).await), first);
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_at_once_are_ten_messages_and_a_list_in_parts() {
    on_each_of(&NAMES, BOTH, async |store, _| {
        apply(store, (0..10_000).map(|n| of(n, To::On)).collect(), BEGIN).await;
        assert_eq!(said(store, "person", BEGIN).await.len(), 10);
        let mut listed = 0;
        for _ in 0..2 {
            let parts = said(store, "person", BEGIN + MINUTE).await;
            assert_eq!(parts.len(), 10);
            listed += parts.iter().map(|(_, points)| points.len()).sum::<usize>();
        }
        assert_eq!(listed, 9_990);
        let ids: Vec<String> =
            store.list(&Default::default()).await.unwrap().into_iter().map(|a| a.id).collect();
        let seen = store.act(&ids, &Act::new(What::Acknowledge, "wang"), BEGIN + 2 * MINUTE).await.unwrap();
        assert!(seen.len() == 10_000 && seen.iter().all(|o| o.outcome == "acked"));
    })
    .await;
}
