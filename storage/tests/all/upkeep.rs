//! Compaction, retention, checkpoints, deletion; other writers; a folder on disk.

use crate::rig::*;
use ::model::{Clock, Origin, Record};
use std::sync::Arc;
use storage::{Options, Storage, StorageError};

/// `n` flushes of two readings each, beginning with offset `from`.
async fn flushes(storage: &Storage, from: u64, n: u64) {
    for number in from..from + n {
        let rows = [("M1", "T1", number as f64, number as f64), ("M2", "T1", number as f64, 0.5)];
        storage.push(&entry(number), readings("east", &rows)).await.unwrap();
        storage.flush().await.unwrap();
    }
}

async fn parquet_files(rig: &Rig, table: &str) -> usize {
    rig.store.names().await.iter().filter(|n| n.starts_with(&format!("{table}/day="))).count()
}

#[tokio::test]
async fn small_files_become_one_and_every_row_stays() {
    let mut rig = Rig::new();
    rig.options.compact_files = 4;
    let storage = rig.open().await;
    flushes(&storage, 0, 10).await;
    let before = all_readings(&storage).await;
    let done = storage.maintain().await.unwrap();
    // One merge in each of readings and arrivals.
    assert_eq!((done.merged, done.into, done.deleted), (20, 2, 0));
    assert_eq!(all_readings(&storage).await, before);
    assert_eq!(parquet_files(&rig, "readings").await, 11);
    // For readers of the version before, the merged files lie there for an hour.
    rig.clock.advance(3601 * SECOND);
    assert_eq!(storage.maintain().await.unwrap().deleted, 20);
    assert_eq!(parquet_files(&rig, "readings").await, 1);
    assert_eq!(all_readings(&storage).await, before);
    assert_eq!(all_readings(&rig.open().await).await, before);
    // Rows that come again are still known, and the log goes on.
    storage
        .push(&entry(10), readings("east", &[("M1", "T1", 3.0, 3.0), ("M1", "T2", 3.0, 3.0)]))
        .await
        .unwrap();
    storage.flush().await.unwrap();
    let before = all_readings(&storage).await;
    assert_eq!((before.len(), parquet_files(&rig, "readings").await), (21, 2));
    // The day after next it is over, and becomes one file.
    rig.clock.advance(3 * 86_400 * SECOND);
    storage.maintain().await.unwrap();
    rig.clock.advance(3601 * SECOND);
    storage.maintain().await.unwrap();
    assert_eq!(parquet_files(&rig, "readings").await, 1);
    assert_eq!(all_readings(&storage).await, before);
}

#[tokio::test]
async fn merging_streams_and_does_not_sort() {
    let mut rig = Rig::new();
    rig.options.compact_files = 2;
    let storage = rig.open().await;
    for number in 0..2u64 {
        for part in 0..30 {
            let rows: Vec<_> = (0..2000)
                .map(|i| ("M1", "T1", (number * 60_000 + part * 2000 + i) as f64 / 10.0, i as f64))
                .collect();
            storage.push(&entry(number * 30 + part), readings("east", &rows)).await.unwrap();
        }
        storage.flush().await.unwrap();
    }
    assert_eq!(storage.maintain().await.unwrap().merged, 4);
    assert_eq!(count(&storage, "readings").await, 120_000);
    let sorted =
        "SELECT count(*) FROM (SELECT time, lag(time) OVER () AS before FROM readings) WHERE before > time";
    assert_eq!(sql(&storage, sorted).await, ["0"]);
}

#[tokio::test]
async fn old_days_go_but_not_because_a_clock_ran_ahead() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let day = 86_400.0;
    storage
        .push(&entry(0), readings("east", &[("M1", "T1", 0.0, 1.0), ("M1", "T1", day, 2.0)]))
        .await
        .unwrap();
    storage.flush().await.unwrap();
    rig.clock.set(T0 + 400 * 86_400 * SECOND);
    assert_eq!(storage.maintain().await.unwrap().expired, 0);
    // The log's time follows.
    let mut late = entry(1);
    late.appended = T0 + 91 * 86_400 * SECOND;
    storage.push(&late, readings("east", &[("M1", "T1", 91.0 * day, 3.0)])).await.unwrap();
    storage.flush().await.unwrap();
    // A day of readings, a day of arrivals.
    assert_eq!(storage.maintain().await.unwrap().expired, 2);
    assert_eq!(sql(&storage, "SELECT value FROM readings ORDER BY time").await, ["2.0", "3.0"]);
}

#[tokio::test]
async fn offsets_and_origins_survive_checkpoints_and_log_clean_up() {
    let mut rig = Rig::new();
    rig.options.checkpoint_every = 5;
    let storage = rig.open().await;
    let first = Origin { collector: 99, sequence: 41 };
    storage.push(&entry_of(3, 0, first), readings("far", &[("M3", "T1", 0.0, 1.0)])).await.unwrap();
    flushes(&storage, 0, 7).await;
    let done = storage.maintain().await.unwrap();
    assert_eq!(done.checkpoints, 2);
    let names = rig.store.names().await;
    assert!(
        names.iter().any(|n| n.starts_with("readings/_delta_log/") && n.contains(".checkpoint.")),
        "{names:?}"
    );
    flushes(&storage, 7, 2).await;
    let before = all_readings(&storage).await;
    let storage = rig.open().await;
    assert_eq!((storage.next_offset(0), storage.next_offset(3)), (9, 1));
    assert_eq!(all_readings(&storage).await, before);
    storage.push(&entry_of(3, 1, first), readings("far", &[("M3", "T1", 1.0, 1.0)])).await.unwrap();
    storage
        .push(&entry_of(3, 2, Origin { sequence: 42, ..first }), readings("far", &[("M3", "T1", 2.0, 1.0)]))
        .await
        .unwrap();
    assert_eq!(count(&storage, "readings WHERE source = 'far'").await, 2);
}

#[tokio::test]
async fn a_writer_whose_partition_was_taken_stops() {
    let rig = Rig::new();
    let first = rig.open().await;
    flushes(&first, 0, 1).await;
    let second = rig.open().await;
    first.push(&entry(1), readings("east", &[("M1", "T1", 1.0, 1.0)])).await.unwrap();
    second.push(&entry(1), readings("east", &[("M1", "T1", 1.0, 1.0)])).await.unwrap();
    second.push(&entry(2), readings("east", &[("M1", "T1", 2.0, 2.0)])).await.unwrap();
    second.flush().await.unwrap();
    let error = first.flush().await.unwrap_err();
    let StorageError::OtherWriter { partition: 0, expected: 1, found: 3, .. } = error else {
        panic!("{error}")
    };
    assert!(first.stopped().is_some());
    let after = first.push(&entry(2), Record::Tick).await.unwrap_err();
    assert!(matches!(after, StorageError::Stopped(_)) && !after.is_transient());
    assert!(matches!(first.flush().await.unwrap_err(), StorageError::Stopped(_)));
    assert_eq!(count(&second, "readings").await, 4);
    assert_eq!(count(&rig.open().await, "readings").await, 4);
}

#[tokio::test]
async fn writers_of_different_partitions_do_no_harm_to_each_other() {
    let mut rig = Rig::new();
    rig.options.compact_files = 2;
    let (first, second) = (rig.open().await, rig.open().await);
    let own =
        |p: u32, number| entry_of(p, number, Origin { collector: u64::from(p) + 1, sequence: number + 1 });
    for number in 0..6u64 {
        let seconds = number as f64;
        first.push(&own(0, number), readings("east", &[("M1", "T1", seconds, 1.0)])).await.unwrap();
        second.push(&own(1, number), readings("west", &[("M2", "T1", seconds, 1.0)])).await.unwrap();
        first.flush().await.unwrap();
        second.flush().await.unwrap();
        first.maintain().await.unwrap();
        second.maintain().await.unwrap();
    }
    assert_eq!((count(&first, "readings").await, count(&second, "readings").await), (12, 12));
    let third = rig.open().await;
    assert_eq!((third.next_offset(0), third.next_offset(1), count(&third, "readings").await), (6, 6, 12));
}

#[tokio::test]
async fn a_partition_changes_hands_and_back() {
    let rig = Rig::new();
    let (first, second) = (rig.open().await, rig.open().await);
    let row = |seconds| readings("east", &[("M1", "T1", seconds, 1.0)]);
    first.push(&entry(0), row(0.0)).await.unwrap();
    first.flush().await.unwrap();
    first.push(&entry(1), Record::Tick).await.unwrap();
    second.reassign().await.unwrap();
    assert_eq!(second.next_offset(0), 1);
    second.push(&entry(1), Record::Tick).await.unwrap();
    second.push(&entry(2), row(0.0)).await.unwrap();
    second.push(&entry(3), row(5.0)).await.unwrap();
    second.flush().await.unwrap();
    first.reassign().await.unwrap();
    assert_eq!(first.next_offset(0), 4);
    // What the other stored is no news to this one.
    first.push(&entry(4), row(5.0)).await.unwrap();
    first.push(&entry(5), row(3.0)).await.unwrap();
    first.flush().await.unwrap();
    assert_eq!(sql(&first, "SELECT count(*), sum(value) FROM readings").await, ["3 3.0"]);
    let sums = "SELECT sum(rows), sum(stored), sum(duplicate) FROM arrivals";
    assert_eq!(sql(&first, sums).await, ["5 3 2"]);
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_costs_nothing() {
    let rig = Rig::new();
    let storage = rig.open().await;
    for (number, fault) in [(0, Fault::Before), (1, Fault::After)] {
        for n in 0..4 {
            let seconds = (number * 10 + n) as f64;
            let offset = (number * 4 + n) as u64;
            storage.push(&entry(offset), readings("east", &[("M1", "T1", seconds, 1.0)])).await.unwrap();
            rig.store.fail_at(n, fault, false);
            let failed = storage.flush().await;
            assert!(rig.store.failed());
            // A commit that took effect although the store said no is recognised.
            let recognised = fault == Fault::After && n >= 2;
            assert_eq!(failed.is_ok(), recognised, "{fault:?} {n}");
            assert!(failed.is_ok() || failed.unwrap_err().is_transient());
            assert_eq!(count(&storage, "readings").await, offset as i64 + 1);
            storage.maintain().await.unwrap();
            assert_eq!(count(&storage, "readings").await, offset as i64 + 1);
            storage.flush().await.unwrap();
            assert_eq!(count(&storage, "readings").await, offset as i64 + 1);
        }
    }
    assert_eq!(rig.open().await.next_offset(0), 8);
}

#[tokio::test]
async fn a_reader_sees_what_the_writer_commits() {
    let rig = Rig::new();
    let reader = rig.read_only().await;
    assert_eq!(count(&reader, "readings").await, 0);
    let storage = rig.open().await;
    flushes(&storage, 0, 1).await;
    assert_eq!(count(&reader, "readings").await, 2);
    flushes(&storage, 1, 1).await;
    assert_eq!(count(&reader, "readings").await, 4);
    assert!(matches!(reader.push(&entry(9), Record::Tick).await, Err(StorageError::Stopped(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    let options = Options { url: folder.path().join("lake").display().to_string(), ..Options::default() };
    let clock: Arc<dyn Clock> = Arc::new(rig.clock.clone());
    let registry = prometheus::Registry::new();
    let storage =
        Storage::open(options.clone(), None, rig.catalog.clone(), clock.clone(), &registry).await.unwrap();
    flushes(&storage, 0, 9).await;
    storage.maintain().await.unwrap();
    drop(storage);
    let registry = prometheus::Registry::new();
    let storage =
        Storage::open(options.clone(), None, rig.catalog.clone(), clock.clone(), &registry).await.unwrap();
    assert_eq!((storage.next_offset(0), count(&storage, "readings").await), (9, 18));
    // Another reader of Delta tables finds the same rows: its own log replay, its own statistics.
    let url = url::Url::from_directory_path(folder.path().join("lake/readings")).unwrap();
    let table = deltalake_core::open_table(url).await.unwrap();
    let rows: usize = table.snapshot().unwrap().log_data().iter().map(|f| f.num_records().unwrap()).sum();
    assert_eq!(rows, 18);
    let wrong = Options { url: "ftp://x".into(), ..Options::default() };
    let error = Storage::open(wrong, None, rig.catalog.clone(), clock.clone(), &prometheus::Registry::new())
        .await
        .unwrap_err();
    assert!(matches!(error, StorageError::Settings(_)), "{error}");
}
