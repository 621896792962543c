//! The balance, quarantine and release, refusals, positions and transitions.

use crate::rig::*;
use ::model::people::Positions;
use ::model::record::{Quarantined, Refused};
use ::model::{Position, Presence, Record};
use std::sync::Arc;
use storage::{Limits, SourceBalance, Storage};

fn unknown(point: &str, seconds: f64, value: Option<f64>) -> Quarantined {
    Quarantined {
        site: "M1".into(),
        point: point.into(),
        time: at(seconds),
        value,
        status: 0,
        reason: "unknown point".into(),
    }
}

/// name received accepted refused stored duplicate quarantined pending
async fn balance(storage: &Storage) -> Vec<String> {
    let all = storage.balance().await.unwrap();
    assert!(all.iter().all(SourceBalance::is_balanced), "{all:?}");
    all.iter()
        .map(|b| {
            let numbers =
                [b.received, b.accepted, b.refused, b.stored, b.duplicate, b.quarantined, b.pending];
            format!("{} {}", b.name, numbers.map(|n| n.to_string()).join(" "))
        })
        .collect()
}

#[tokio::test]
async fn sums_hold_before_and_after_the_commit_and_after_a_restart() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let twice = [("M1", "T1", 1.0, 0.5), ("M1", "T1", 1.0, 0.5)];
    storage.push(&entry(0), readings("east", &twice)).await.unwrap();
    let rows = vec![unknown("N1", 1.0, Some(2.0)), unknown("N1", 2.0, None)];
    storage.push(&entry(1), Record::Quarantine { run: run("east", 2), rows }).await.unwrap();
    let refused =
        |reason: &str, count| Refused { source: "west".into(), reason: reason.into(), count, received: T0 };
    storage.push(&entry(2), Record::Refused(vec![refused("json", 3), refused("size", 1)])).await.unwrap();
    assert_eq!(balance(&storage).await, ["east 4 4 0 0 0 0 4", "west 4 0 4 0 0 0 0"]);
    let rest = ["east 4 4 0 1 1 2 0", "west 4 0 4 0 0 0 0"];
    storage.flush().await.unwrap();
    assert_eq!(balance(&storage).await, rest);
    assert_eq!(balance(&rig.open().await).await, rest);
    let reasons = "SELECT source, reason, rows FROM arrivals WHERE kind = 'refused' ORDER BY reason";
    assert_eq!(sql(&storage, reasons).await, ["west json 3", "west size 1"]);
}

#[tokio::test]
async fn quarantined_readings_are_listed_and_released_into_history() {
    let mut rig = Rig::new();
    let storage = rig.open().await;
    let rows = vec![
        unknown("N'1", 1.0, Some(2.0)),
        unknown("N'1", 1.0, Some(2.0)),
        unknown("N'1", 3.0, None),
        unknown("N2", 2.0, Some(7.0)),
    ];
    storage.push(&entry(0), Record::Quarantine { run: run("east", 4), rows }).await.unwrap();
    let known = |points: &[&str]| points.iter().map(|p| ("M1".to_owned(), (*p).to_owned())).collect();
    assert_eq!(storage.new_strangers(), (known(&["N'1", "N2"]), true));
    assert_eq!(storage.new_strangers(), (known(&[]), true), "told once");
    storage.flush().await.unwrap();
    storage
        .push(
            &entry(1),
            Record::Quarantine { run: run("west", 1), rows: vec![unknown("N'1", 4.0, Some(9.0))] },
        )
        .await
        .unwrap();
    let listed = storage.quarantined(Limits::default()).await.unwrap();
    let shown: Vec<_> =
        listed.iter().map(|q| (q.point.as_str(), q.count, q.last_value, q.last_time, &*q.source)).collect();
    assert_eq!(shown, [("N'1", 4, Some(9.0), at(4.0), "west"), ("N2", 1, Some(7.0), at(2.0), "east")]);
    let one = [("M1".to_owned(), "N'1".to_owned())];
    let held = storage.quarantined_rows(&one, 100, Limits::default()).await.unwrap();
    let both = [one.to_vec(), vec![("M1".into(), "N2".into())]].concat();
    let all = storage.quarantined_rows(&both, 100, Limits::default());
    assert_eq!(all.await.unwrap().len(), 5);
    let crossed = [("M1".to_owned(), "N9".to_owned()), ("M9".to_owned(), "N2".to_owned())];
    assert_eq!(storage.quarantined_rows(&crossed, 100, Limits::default()).await.unwrap(), []);
    assert_eq!(storage.strangers(9, |_| true).await.unwrap(), known(&["N'1", "N2"]));
    assert_eq!(storage.strangers(1, |_| true).await.unwrap().len(), 1);
    assert_eq!(held.iter().map(|h| h.row.time).collect::<Vec<_>>(), [at(1.0), at(1.0), at(3.0), at(4.0)]);

    // The point is registered, and what the list gave is released.
    let mut points = catalog(3, 4);
    let mut problems = ::model::problem::Problems::default();
    let place = ::model::catalog::Place::default;
    let new = ::model::Point { site: "M1".into(), code: "N'1".into(), ..::model::Point::default() };
    let sites = points.sites().iter().map(|s| (s.clone(), place())).collect();
    let all = points.points().iter().map(AsRef::as_ref).chain([&new]).map(|p| (p.clone(), place())).collect();
    points = ::model::Catalog::build(sites, all, 4, &mut problems);
    rig.catalog = Arc::new(std::sync::RwLock::new(Arc::new(points)));
    storage.flush().await.unwrap();
    let storage = rig.open().await;
    let east = [("M1", "N'1", 1.0, 2.0), ("M1", "N'1", 1.0, 2.0), ("M1", "N'1", 3.0, f64::NAN)];
    storage.push(&entry(2), released("east", &east)).await.unwrap();
    assert_eq!(balance(&storage).await, ["east 4 4 0 0 0 1 3", "west 1 1 0 0 0 1 0"]);
    storage.push(&entry(3), released("west", &[("M1", "N'1", 4.0, 9.0)])).await.unwrap();
    storage.flush().await.unwrap();
    assert_eq!(balance(&storage).await, ["east 4 4 0 2 1 1 0", "west 1 1 0 1 0 0 0"]);
    let left = storage.quarantined(Limits::default()).await.unwrap();
    assert_eq!(left.iter().map(|q| (q.point.as_str(), q.count)).collect::<Vec<_>>(), [("N2", 1)]);
    assert_eq!(storage.quarantined_rows(&one, 100, Limits::default()).await.unwrap(), []);
    assert_eq!((storage.released(), storage.strangers(9, |_| true).await.unwrap()), (4, known(&["N2"])));
    assert_eq!(count(&storage, "readings WHERE point = 'N''1'").await, 3);
}

#[tokio::test]
async fn positions_are_stored_and_counted() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let position = Position {
        site: "M1".into(),
        card: "C1".into(),
        name: "Li".into(),
        area: "A1".into(),
        station: "S1".into(),
        time: at(3.0),
        presence: Presence::Below,
        entered: Some(at(1.0)),
        state: String::new(),
    };
    let positions = Positions { rows: vec![position], snapshot: None };
    storage.push(&entry(0), Record::Positions { run: run("gate", 1), positions }).await.unwrap();
    let fixed = "SELECT site, card, area, station, time, name, presence, entered FROM person_positions";
    let expected = ["M1 C1 A1 S1 2026-11-24T00:00:03Z Li below 2026-11-24T00:00:01Z"];
    assert_eq!(sql(&storage, fixed).await, expected);
    storage.flush().await.unwrap();
    assert_eq!(sql(&storage, fixed).await, expected);
    assert_eq!(balance(&storage).await, ["gate 1 1 0 1 0 0 0"]);
}

#[tokio::test]
async fn a_transition_decided_again_is_stored_once() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let ids = "SELECT count(*), count(DISTINCT id), max(\"to\") FROM events";
    storage.push_events(&entry(0), vec![transition(0, 1.0)]).await.unwrap();
    // The rules were restarted and decide again; then go on.
    storage.push_events(&entry(1), vec![transition(0, 1.0), transition(1, 2.0)]).await.unwrap();
    assert_eq!(sql(&storage, ids).await, ["2 2 on"]);
    assert_eq!(storage.flush().await.unwrap().next_event.get(&0), Some(&2));
    let storage = rig.open().await;
    assert_eq!((storage.next_event_offset(0), storage.next_offset(0)), (2, 0));
    let again = vec![transition(1, 2.0), transition(2, 2.0), transition(2, 2.0), transition(3, 4.0)];
    storage.push_events(&entry(2), again).await.unwrap();
    assert_eq!(sql(&storage, ids).await, ["4 4 on"]);
    storage.flush().await.unwrap();
    assert_eq!(sql(&storage, ids).await, ["4 4 on"]);
    assert_eq!(
        sql(&storage, "SELECT partition, offset, decided_offset FROM events ORDER BY time DESC LIMIT 1")
            .await,
        ["0 2 9"]
    );
}
