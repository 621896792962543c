//! The table read back in the order of the log: records, runs, rows, times, through many windows, files and merges.

use crate::rig::*;
use ::model::people::{Position, Positions, Presence, Snapshot};
use ::model::record::run_flags;
use ::model::{Micros, Origin, PointId, Readings, ReadingsBuilder, Record, Run, ids::partition_of};
use storage::{HistoryRecord, Storage};

const ALL: std::ops::Range<Micros> = Micros::MIN..Micros::MAX;
/// More than one window holds.
const RECORDS: u64 = 10_000;

/// Records of M1 with one to four rows in two runs, points in no order; some offsets hold nothing that the table keeps.
fn record(number: u64) -> Option<Record> {
    let point = |i: u64| PointId::of("M1", &format!("T{}", 1 + (number * 7 + i * 3) % 4));
    let mut readings = ReadingsBuilder::default();
    let rows = 1 + number % 4;
    for i in 0..rows {
        readings.push(
            point(i),
            at(number as f64 + i as f64 / 10.0),
            (number * 10 + i) as f64,
            (i % 3) as i32,
        );
    }
    let second = rows / 2;
    let runs = [("east", rows - second), ("west", second)];
    let runs: Vec<Run> = runs.iter().filter(|(_, n)| *n > 0).map(|(s, n)| run(s, *n as usize)).collect();
    (number % 13 != 5).then(|| Record::Readings { runs, readings: readings.finish() })
}

fn partition() -> u32 {
    partition_of("M1", 4)
}

async fn push(storage: &Storage, number: u64, record: Record) {
    let origin = Origin { collector: 7, sequence: number + 1 };
    storage.push(&entry_of(partition(), number, origin), record).await.unwrap();
}

async fn read(storage: &Storage, times: std::ops::Range<Micros>) -> (Vec<HistoryRecord>, usize, PointId) {
    let (mut all, mut windows, mut nobody) = (Vec::new(), 0, PointId(0));
    for mut history in storage.histories(times).await.unwrap() {
        assert_eq!(history.partition(), partition());
        nobody = history.nobody;
        loop {
            let records = history.next().await.unwrap();
            if records.is_empty() {
                break;
            }
            windows += 1;
            all.extend(records);
        }
        assert_eq!((history.unknown, history.unnumbered), (0, 0));
    }
    (all, windows, nobody)
}

/// Positions of M1: messages, snapshots, an empty one; cards in no order, a card twice in a message.
fn people(number: u64) -> Positions {
    let position = |i: u64| Position {
        site: "M1".into(),
        card: format!("C{}", (number * 5 + i * 3) % 4),
        name: "n".into(),
        area: format!("A{i}"),
        station: String::new(),
        time: at(number as f64 - i as f64),
        presence: [Presence::Below, Presence::Out, Presence::Uncertain][(i % 3) as usize],
        entered: (i == 1).then(|| at(0.)),
        state: if i == 2 { "SOS".into() } else { String::new() },
    };
    let snapshot = Snapshot {
        site: "M1".into(),
        time: at(number as f64),
        complete: number.is_multiple_of(2),
        stale: number.is_multiple_of(5),
    };
    let count = if number.is_multiple_of(4) { 0 } else { 6 };
    Positions { rows: (0..count).map(position).collect(), snapshot: (number % 4 != 1).then_some(snapshot) }
}

#[tokio::test]
async fn positions_come_back_as_the_log_held_them() {
    let mut rig = Rig::new();
    rig.options.compact_files = 3;
    let storage = rig.open().await;
    for number in 0..200 {
        let positions = people(number);
        let record = Record::Positions { run: run("rydw", positions.rows.len()), positions };
        push(&storage, number, if number % 3 == 2 { Record::Tick } else { record }).await;
        if number % 40 == 0 {
            storage.flush().await.unwrap();
        }
    }
    storage.flush().await.unwrap();
    for merged in [false, true] {
        if merged {
            assert!(storage.maintain().await.unwrap().merged > 0);
        }
        let (all, ..) = read(&storage, ALL).await;
        let kept: Vec<u64> = all.iter().map(|r| r.offset.number).collect();
        assert_eq!(kept, (0..200).filter(|n| n % 3 != 2).collect::<Vec<_>>());
        for record in &all {
            let expected = people(record.offset.number);
            assert_eq!(record.runs, [run("rydw", expected.rows.len())]);
            assert_eq!(record.positions.as_ref(), Some(&expected), "{}", record.offset.number);
        }
    }
    // By the times of positions alone.
    let (some, ..) = read(&storage, at(50.)..at(60.)).await;
    assert!(some.len() >= 6 && some.len() < 20, "{}", some.len());
}

fn rows(r: &Readings) -> Vec<(i64, Micros, u64, i32)> {
    (0..r.len()).map(|i| (r.point[i], r.time[i], r.value[i].to_bits(), r.status[i])).collect()
}

#[tokio::test]
async fn records_come_back_as_the_log_held_them_through_windows_files_and_merges() {
    let mut rig = Rig::new();
    rig.options.compact_files = 3;
    let storage = rig.open().await;
    for number in 0..RECORDS {
        push(&storage, number, record(number).unwrap_or(Record::Tick)).await;
        if number % 2500 == 0 {
            storage.flush().await.unwrap();
        }
    }
    storage.flush().await.unwrap();
    for merged in [false, true] {
        if merged {
            assert!(storage.maintain().await.unwrap().merged > 0);
        }
        let (all, windows, _) = read(&storage, ALL).await;
        assert!(windows > 1, "one window shows nothing");
        let mut expected = (0..RECORDS).filter_map(|n| record(n).map(|r| (n, r)));
        for is in &all {
            let (number, wanted) = expected.next().expect("no more records than were pushed");
            let Record::Readings { runs, readings } = wanted else { unreachable!() };
            let origin = Origin { collector: 7, sequence: number + 1 };
            assert_eq!((is.offset.number, is.origin, is.appended), (number, origin, entry(number).appended));
            assert_eq!(is.runs, runs);
            assert_eq!(rows(is.readings.as_ref().unwrap()), rows(&readings), "record {number}");
        }
        assert_eq!(expected.next(), None);
    }
    // A time in the middle: no record before or after it, no row beside it.
    let (some, _, nobody) = read(&storage, at(4000.0)..at(4010.0)).await;
    // 4009 holds nothing.
    assert_eq!((some[0].offset.number, some.last().unwrap().offset.number), (4000, 4008));
    let inside = |r: &HistoryRecord| {
        let readings = r.readings.as_ref().unwrap();
        readings
            .point
            .iter()
            .zip(&readings.time)
            .all(|(p, t)| *p == nobody.0 || (at(4000.0)..at(4010.0)).contains(t))
    };
    assert!(some.iter().all(inside));
    assert_eq!(read(&storage, at(-10.0)..at(-5.0)).await.0.len(), 0);
}

#[tokio::test]
async fn what_the_table_does_not_hold_leaves_its_place() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let first = [("M1", "T1", 1.0, 1.0), ("M1", "T9", 1.0, 9.0), ("M1", "T2", 1.0, f64::NAN)];
    push(&storage, 0, readings("east", &first)).await;
    // The same again is a duplicate: the record stands, its row does not.
    push(&storage, 1, readings("east", &first[..1])).await;
    push(&storage, 3, released("east", &[("M1", "T3", 0.5, 3.0)])).await;
    storage.flush().await.unwrap();
    let (all, _, nobody) = read(&storage, ALL).await;
    let points: Vec<Vec<i64>> = all.iter().map(|r| r.readings.as_ref().unwrap().point.to_vec()).collect();
    let id = |code| PointId::of("M1", code).0;
    assert_eq!(points, [vec![id("T1"), nobody.0, id("T2")], vec![nobody.0], vec![id("T3")]]);
    assert!(all[0].readings.as_ref().unwrap().value[2].is_nan());
    assert_eq!(all[2].runs[0].flags, run_flags::RELEASED);
    assert_eq!(rig.catalog.read().unwrap().ix(nobody), None);
}

#[tokio::test]
async fn a_table_of_a_log_with_other_partitions_is_refused() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let wrong = (partition() + 1) % 4;
    let record = readings("east", &[("M1", "T1", 1.0, 1.0)]);
    storage.push(&entry_of(wrong, 0, Origin { collector: 7, sequence: 1 }), record).await.unwrap();
    storage.flush().await.unwrap();
    let mut histories = storage.histories(ALL).await.unwrap();
    let refused = histories[0].next().await.unwrap_err().to_string();
    assert!(refused.contains("with 4 partitions it belongs into"), "{refused}");
}
