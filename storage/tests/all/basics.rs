//! Rows in, SQL out: before a flush, after it, after a restart.

use crate::rig::*;
use model::status::NO_DEVICE_TIME;
use model::{Origin, Record};
use std::sync::Arc;

#[tokio::test]
async fn table_and_tail_are_one() {
    let rig = Rig::new();
    let storage = rig.open().await;
    storage
        .push(&entry(0), readings("east", &[("M1", "T1", 0.0, 0.5), ("M2", "T3", 0.0, f64::NAN)]))
        .await
        .unwrap();
    let first = vec![
        "M1 T1 2026-11-24T00:00:00Z 0.5 0 0 east".to_owned(),
        "M2 T3 2026-11-24T00:00:00Z  4096 0 east".to_owned(),
    ];
    assert_eq!(all_readings(&storage).await, first);
    let flushed = storage.flush().await.unwrap();
    assert_eq!((flushed.readings, flushed.next.get(&0)), (2, Some(&1)));
    assert_eq!(all_readings(&storage).await, first);
    storage.push(&entry(1), readings("east", &[("M1", "T1", 1.0, 0.75)])).await.unwrap();
    assert_eq!(count(&storage, "readings").await, 3);
    drop(storage);

    let storage = rig.open().await;
    assert_eq!(storage.next_offset(0), 1);
    assert_eq!(all_readings(&storage).await, first);
    let fixed = "SELECT site, point, time, value, status, offset FROM readings WHERE value > 0.1";
    assert_eq!(sql(&storage, fixed).await, ["M1 T1 2026-11-24T00:00:00Z 0.5 0 0"]);
    for text in [
        "SELECT max(offset) FROM readings WHERE offset >= 0",
        "SELECT offset FROM readings GROUP BY site, offset ORDER BY site, offset LIMIT 1 OFFSET 0",
        "SELECT r.offset FROM readings r ORDER BY offset LIMIT 1",
    ] {
        assert_eq!(sql(&storage, text).await, ["0"], "{text}");
    }
    let day = "SELECT DISTINCT CAST(day AS VARCHAR) FROM readings";
    assert_eq!(sql(&storage, day).await, ["2026-11-24"]);
}

#[tokio::test]
async fn a_duplicate_is_not_stored_and_a_correction_is() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let first = [("M1", "T1", 5.0, 0.5), ("M1", "T2", 5.0, f64::NAN)];
    storage.push(&entry(0), readings("east", &first)).await.unwrap();
    // In the tail: the same again, from another source, with another value.
    storage.push(&entry(1), readings("east", &first)).await.unwrap();
    storage.push(&entry(2), readings("west", &first[..1])).await.unwrap();
    storage
        .push(&entry(3), readings("east", &[("M1", "T1", 5.0, 0.6), ("M1", "T1", 5.0, 0.6)]))
        .await
        .unwrap();
    assert_eq!(count(&storage, "readings").await, 4);
    storage.flush().await.unwrap();
    // In the table.
    storage.push(&entry(4), readings("east", &first)).await.unwrap();
    storage.push(&entry(5), readings("east", &[("M1", "T1", 4.0, 0.5)])).await.unwrap();
    assert_eq!(count(&storage, "readings").await, 5);
    drop(storage);
    // After a restart nothing is known of the points.
    let storage = rig.open().await;
    assert_eq!(storage.next_offset(0), 4);
    storage.push(&entry(4), readings("east", &first)).await.unwrap();
    storage.push(&entry(5), readings("east", &[("M1", "T1", 4.0, 0.5)])).await.unwrap();
    storage.flush().await.unwrap();
    assert_eq!(count(&storage, "readings").await, 5);
    let sums = "SELECT sum(rows), sum(stored), sum(duplicate) FROM arrivals";
    assert_eq!(sql(&storage, sums).await, ["10 5 5"]);
}

#[tokio::test]
async fn a_reading_without_a_device_time_is_never_a_duplicate() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let row = (("M1", "T1", 5.0, 0.5), NO_DEVICE_TIME);
    storage.push(&entry(0), with_status("east", &[row, row])).await.unwrap();
    storage.push(&entry(1), readings("east", &[("M1", "T1", 5.0, 0.5)])).await.unwrap();
    assert_eq!(count(&storage, "readings").await, 3);
}

#[tokio::test]
async fn a_record_sent_twice_by_its_origin_counts_once() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let record = || readings("east", &[("M1", "T1", 1.0, 0.5)]);
    let origin = |collector, sequence| Origin { collector, sequence };
    storage.push(&entry_of(0, 0, origin(1, 5)), record()).await.unwrap();
    storage.push(&entry_of(0, 1, origin(1, 5)), record()).await.unwrap();
    storage.push(&entry_of(1, 0, origin(1, 5)), readings("east", &[("M2", "T1", 1.0, 0.5)])).await.unwrap();
    storage.flush().await.unwrap();
    let storage = rig.open().await;
    assert_eq!((storage.next_offset(0), storage.next_offset(1)), (2, 1));
    storage.push(&entry_of(0, 2, origin(1, 4)), record()).await.unwrap();
    storage.push(&entry_of(0, 3, origin(2, 1)), readings("west", &[("M1", "T1", 1.0, 0.5)])).await.unwrap();
    assert_eq!(count(&storage, "readings").await, 3);
    assert_eq!(sql(&storage, "SELECT sum(rows) FROM arrivals").await, ["3"]);
}

#[tokio::test]
async fn ticks_move_the_offset_and_make_no_commits() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let before = rig.store.puts.load(std::sync::atomic::Ordering::SeqCst);
    storage.push(&entry(0), Record::Tick).await.unwrap();
    assert_eq!(storage.flush().await.unwrap().next.len(), 0);
    assert_eq!(rig.store.puts.load(std::sync::atomic::Ordering::SeqCst), before);
    rig.clock.advance(601 * SECOND);
    assert_eq!(storage.flush().await.unwrap().next.get(&0), Some(&1));
    assert_eq!(rig.open().await.next_offset(0), 1);
}

#[tokio::test]
async fn a_new_catalog_takes_effect_and_an_old_point_is_not_forgotten() {
    let rig = Rig::new();
    let storage = rig.open().await;
    storage
        .push(&entry(0), readings("east", &[("M3", "T4", 0.0, 1.0), ("M1", "T1", 0.0, 1.0)]))
        .await
        .unwrap();
    *rig.catalog.write().unwrap() = Arc::new(catalog(2, 5));
    storage
        .push(&entry(1), readings("east", &[("M3", "T4", 1.0, 2.0), ("M2", "T5", 1.0, 2.0)]))
        .await
        .unwrap();
    storage
        .push(&entry(2), readings("east", &[("M3", "T4", 1.0, 2.0), ("M9", "T9", 1.0, 2.0)]))
        .await
        .unwrap();
    let expected = ["M1 T1 1.0", "M2 T5 2.0", "M3 T4 1.0", "M3 T4 2.0"];
    let rows = "SELECT site, point, value FROM readings ORDER BY site, point, time";
    assert_eq!(sql(&storage, rows).await, expected);
    storage.flush().await.unwrap();
    assert_eq!(sql(&storage, rows).await, expected);
    let sums = "SELECT sum(rows), sum(stored), sum(duplicate), sum(quarantined) FROM arrivals";
    assert_eq!(sql(&storage, sums).await, ["6 4 1 1"]);
    assert_eq!(
        sql(&storage, "SELECT count(*), min(reason) FROM quarantine").await,
        ["1 point id not in the catalog"]
    );
}
