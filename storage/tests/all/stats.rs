//! `stats_5min` against a model of a few lines over the stored readings, whatever was flushed, maintained, failed and
//! restarted when; and its retention.

use crate::rig::*;
use ::model::status::{BAD, CALIBRATION, SENSOR_FAULT, SIMULATED};
use ::model::{Entry, Record};
use ::rand::Rng;
use ::rand::rngs::StdRng;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use std::collections::BTreeMap;
use storage::Storage;

const FIVE_MINUTES: i64 = 300 * SECOND;

/// Time, value and status of a reading.
type Reading = (i64, Option<f64>, i32);

/// The readings of each point and five minutes, as they are stored.
async fn stored(storage: &Storage) -> BTreeMap<(String, String, i64), Vec<Reading>> {
    let rows = "SELECT site, point, arrow_cast(time, 'Int64') AS t, value, status FROM readings";
    let mut groups: BTreeMap<_, Vec<Reading>> = BTreeMap::new();
    for batch in try_sql(storage, rows).await.unwrap() {
        let (site, point) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let time = batch.column(2).as_primitive::<Int64Type>();
        let value = batch.column(3).as_primitive::<Float64Type>();
        let status = batch.column(4).as_primitive::<Int32Type>();
        for row in 0..batch.num_rows() {
            let known = value.is_valid(row).then(|| value.value(row));
            let start = time.value(row).div_euclid(FIVE_MINUTES) * FIVE_MINUTES;
            let key = (site.value(row).to_owned(), point.value(row).to_owned(), start);
            groups.entry(key).or_default().push((time.value(row), known, status.value(row)));
        }
    }
    groups
}

/// What the table must say, by the words of its header.
async fn expected(storage: &Storage) -> Vec<String> {
    let mut out = Vec::new();
    for ((site, point, start), readings) in stored(storage).await {
        let status = readings.iter().fold(0, |all, r| all | r.2);
        let counts = |r: &&Reading| r.1.is_some() && r.2 & (BAD | SIMULATED) == 0;
        let mut values: Vec<(i64, f64)> =
            readings.iter().filter(counts).map(|r| (r.0, r.1.unwrap())).collect();
        values.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let all = format!("{site} {point} {start} {} {}", readings.len(), values.len());
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            let nothing = " ".repeat(9); // as many columns
            out.push(format!("{all}{nothing} {status}"));
            continue;
        };
        // Of equal values the earliest: the values are in the order of time.
        let min = values.iter().fold(*first, |m, v| if v.1 < m.1 { *v } else { m });
        let max = values.iter().fold(*first, |m, v| if v.1 > m.1 { *v } else { m });
        let mean = values.iter().map(|v| v.1).sum::<f64>() / values.len() as f64;
        out.push(format!(
            "{all} {:?} {} {:?} {} {mean:?} {:?} {} {:?} {} {status}",
            min.1, min.0, max.1, max.0, first.1, first.0, last.1, last.0
        ));
    }
    out
}

async fn found(storage: &Storage) -> Vec<String> {
    let t = |column: &str| format!("arrow_cast({column}, 'Int64')");
    let rows = format!(
        "SELECT site, point, {} AS start, readings, count, min, {}, max, {}, mean, first, {}, last, {}, status \
         FROM stats_5min ORDER BY site, point, start",
        t("time"),
        t("min_time"),
        t("max_time"),
        t("first_time"),
        t("last_time")
    );
    sql(storage, &rows).await
}

fn some_record(rng: &mut StdRng) -> Record {
    let statuses = [0, 0, 0, 0, CALIBRATION, SENSOR_FAULT, SIMULATED];
    let points = ["T1", "T2", "T3"];
    let row = |rng: &mut StdRng| {
        let value = if rng.random_bool(0.1) { f64::NAN } else { f64::from(rng.random_range(-8..8)) / 4.0 };
        let second = f64::from(rng.random_range(0..2000));
        let site = ["M1", "M2"][rng.random_range(0..2)];
        ((site, points[rng.random_range(0..3)], second, value), statuses[rng.random_range(0..statuses.len())])
    };
    let rows: Vec<_> = (0..rng.random_range(1..40)).map(|_| row(rng)).collect();
    with_status("east", &rows)
}

async fn push_rest(storage: &Storage, log: &[(Entry, Record)]) {
    for (entry, record) in &log[storage.next_offset(0) as usize..] {
        storage.push(entry, record.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn five_minutes_are_counted_once_whatever_happens() {
    let mut failed = 0;
    for seed in 0..8 {
        let mut rng = <StdRng as ::rand::SeedableRng>::seed_from_u64(seed);
        let mut rig = Rig::new();
        rig.options.compact_files = 2;
        let mut storage = rig.open().await;
        let mut log: Vec<(Entry, Record)> = Vec::new();
        for _ in 0..40 {
            match rng.random_range(0..10) {
                0..4 => {
                    log.push((entry(log.len() as u64), some_record(&mut rng)));
                    push_rest(&storage, &log).await;
                }
                4..6 => drop(storage.flush().await.unwrap()),
                6 => drop(storage.maintain().await.unwrap()),
                step => {
                    let fault = if rng.random_bool(0.5) { Fault::Before } else { Fault::After };
                    rig.store.fail_at(rng.random_range(0..6), fault, step == 9);
                    // Either may fail, or not be reached.
                    let _ = storage.flush().await;
                    let _ = storage.maintain().await;
                    failed += usize::from(rig.store.failed());
                    rig.store.heal();
                    if step > 7 {
                        storage = rig.open().await;
                        push_rest(&storage, &log).await;
                    }
                }
            }
        }
        storage.flush().await.unwrap();
        storage.maintain().await.unwrap();
        let expected = expected(&storage).await;
        assert_eq!(found(&storage).await, expected, "seed {seed}");
        assert_eq!(found(&rig.read_only().await).await, expected, "seed {seed}");
        // A filter on what was added up holds for the sum, not for its parts.
        let one = "SELECT sum(readings) FROM stats_5min WHERE site = 'M1' AND point = 'T2' AND max > 1";
        let of_one = |words: &Vec<&str>| {
            words[..2] == ["M1", "T2"] && words[7].parse().is_ok_and(|max: f64| max > 1.0)
        };
        let rows = expected.iter().map(|row| row.split(' ').collect::<Vec<_>>()).filter(of_one);
        let sum = rows.map(|words| words[3].parse::<i64>().unwrap()).reduce(|a, b| a + b);
        assert_eq!(
            sql(&storage, one).await,
            [sum.map_or(String::new(), |sum| sum.to_string())],
            "seed {seed}"
        );
        // A day that is over: files of parts become one, in which each stands once.
        rig.clock.advance(3 * 86_400 * SECOND);
        storage.maintain().await.unwrap();
        rig.clock.advance(7200 * SECOND);
        storage.maintain().await.unwrap();
        assert_eq!(found(&storage).await, expected, "seed {seed}");
        let files = rig.store.names().await.iter().filter(|n| n.starts_with("stats_5min/day=")).count();
        assert_eq!(files, 1, "seed {seed}");
    }
    assert!(failed > 8, "{failed} faults were hit");
}

/// What has piled up is counted in portions, and one that fails leaves those before it counted.
#[tokio::test]
async fn a_long_backlog_is_counted_portion_by_portion() {
    let mut rig = Rig::new();
    rig.options.compact_files = 1000;
    let storage = rig.open().await;
    for number in 0..200 {
        let row = [("M1", "T1", f64::from(number), 1.0)];
        storage.push(&entry(number as u64), readings("east", &row)).await.unwrap();
        storage.flush().await.unwrap();
    }
    let commits = async || {
        let names = rig.store.names().await;
        names.iter().filter(|n| n.starts_with("stats_5min/_delta_log/") && n.ends_with(".json")).count()
    };
    let before = commits().await;
    // The first portion is a file and a commit; the second fails at its file.
    rig.store.fail_at(2, Fault::Before, false);
    storage.maintain().await.unwrap_err();
    assert!(rig.store.failed());
    rig.store.heal();
    assert_eq!(commits().await, before + 1);
    let counted = count(&storage, "stats_5min WHERE readings BETWEEN 40 AND 70").await;
    assert_eq!(counted, 1, "{:?}", sql(&storage, "SELECT readings FROM stats_5min").await);
    storage.maintain().await.unwrap();
    assert!((3..=5).contains(&(commits().await - before)), "{} commits", commits().await - before);
    assert_eq!(sql(&storage, "SELECT readings FROM stats_5min").await, ["200"]);
    assert_eq!(found(&rig.open().await).await, expected(&storage).await);
}

#[tokio::test]
async fn they_outlive_the_readings_and_go_after_two_years() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let day = 86_400.0;
    for (number, days) in [(0, 0.0), (1, 91.0), (2, 732.0)] {
        let mut entry = entry(number);
        entry.appended = at(days * day);
        rig.clock.set(entry.appended);
        let row = [("M1", "T1", days * day, days)];
        storage.push(&entry, readings("east", &row)).await.unwrap();
        storage.flush().await.unwrap();
        storage.maintain().await.unwrap();
        let left = sql(&storage, "SELECT count(*), max(mean) FROM stats_5min").await;
        assert_eq!(left, [format!("{} {days:?}", if number == 1 { 2 } else { number.max(1) })]);
        assert_eq!(sql(&storage, "SELECT value FROM readings").await, [format!("{days:?}")]);
    }
}
