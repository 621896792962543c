//! A log of random records, pushed, flushed, crashed at random puts, maintained and restarted, against a model of a few
//! lines: a reading is stored unless one with its source, point, time and value stands before it in its partition.

use crate::rig::*;
use ::model::people::{Position, Positions, Presence};
use ::model::record::{Quarantined, Refused};
use ::model::status::NO_DEVICE_TIME;
use ::model::{Entry, Origin, PointId, Record};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::task::Poll;
use storage::{Planted, SourceBalance, Storage};

/// By source: rows, stored, duplicate.
type Sums = BTreeMap<String, (i64, i64, i64)>;

/// A log of two partitions, kept whole; what storage forgets in a crash is pushed again from here.
#[derive(Default)]
pub struct Log {
    pub entries: [Vec<(Entry, Record)>; 2],
    sequence: [u64; 2],
}

#[derive(Clone, Debug)]
pub enum Step {
    /// Partition; readings as (point of 3, second, value, source of 2, without device time); whether the origin repeats.
    Append(usize, Vec<(u8, u8, u8, u8, bool)>, bool),
    Tick(usize),
    Flush,
    /// Flush while the put after so many fails, before or after it took effect; with `true` nothing works any more.
    FlushFails(u8, bool, bool),
    Restart,
    Query,
    Maintain,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0u8..3, 0u8..12, 0u8..2, 0u8..2, prop::bool::weighted(0.05));
    let step = prop_oneof![
        6 => (0usize..2, prop::collection::vec(row, 0..8), prop::bool::weighted(0.1)).prop_map(|(p, r, again)| Step::Append(p, r, again)),
        1 => (0usize..2).prop_map(Step::Tick),
        2 => Just(Step::Flush),
        3 => (0u8..12, any::<bool>(), any::<bool>()).prop_map(|(n, before, dies)| Step::FlushFails(n, before, dies)),
        1 => Just(Step::Restart),
        2 => Just(Step::Query),
        1 => Just(Step::Maintain),
    ];
    prop::collection::vec(step, 1..40)
}

impl Log {
    pub fn append(&mut self, partition: usize, rows: &[(u8, u8, u8, u8, bool)], again: bool) {
        let number = self.entries[partition].len() as u64;
        if !again || self.sequence[partition] == 0 {
            self.sequence[partition] += 1;
        }
        let origin = Origin { collector: 7, sequence: self.sequence[partition] };
        let site = ["M1", "M2"][partition];
        let mut b = ::model::ReadingsBuilder::default();
        let mut runs = Vec::new();
        for (point, second, value, source, timeless) in rows {
            let value = if *value == 1 { f64::NAN } else { 0.25 };
            let status = if *timeless { NO_DEVICE_TIME } else { 0 };
            b.push(PointId::of(site, &format!("T{}", 1 + point)), at(f64::from(*second)), value, status);
            runs.push(run(["east", "west"][usize::from(*source)], 1));
        }
        let record = Record::Readings { runs, readings: b.finish() };
        self.entries[partition].push((entry_of(partition as u32, number, origin), record));
    }

    pub fn tick(&mut self, partition: usize) {
        let number = self.entries[partition].len() as u64;
        let origin = Origin { collector: 0, sequence: 0 };
        self.entries[partition].push((entry_of(partition as u32, number, origin), Record::Tick));
    }

    /// Pushes what storage has not got.
    pub async fn push_rest(&self, storage: &Storage) {
        for (partition, entries) in self.entries.iter().enumerate() {
            let next = storage.next_offset(partition as u32) as usize;
            for (entry, record) in &entries[next..] {
                storage.push(entry, record.clone()).await.unwrap();
            }
        }
    }

    /// Rows expected, as `all_readings` shows them, and the sums expected by source: rows, stored, duplicate.
    pub fn expected(&self) -> (Vec<String>, Sums) {
        let mut rows = Vec::new();
        let mut sums = Sums::new();
        for (partition, entries) in self.entries.iter().enumerate() {
            let mut last = 0;
            let mut seen = HashSet::new();
            for (entry, record) in entries {
                let Record::Readings { runs, readings } = record else { continue };
                if entry.origin.sequence <= last {
                    continue;
                }
                last = entry.origin.sequence;
                for (i, run) in runs.iter().enumerate() {
                    let (point, time, value, status) = readings.row(i);
                    let sum = sums.entry(run.source.to_string()).or_default();
                    sum.0 += 1;
                    let timeless = status & NO_DEVICE_TIME != 0;
                    let key = (run.source.clone(), point, time, value.to_bits());
                    if !timeless && !seen.insert(key) {
                        sum.2 += 1;
                        continue;
                    }
                    sum.1 += 1;
                    let site = ["M1", "M2"][partition];
                    let code =
                        (1..=3).map(|i| format!("T{i}")).find(|c| PointId::of(site, c) == point).unwrap();
                    let value = if value.is_nan() { String::new() } else { value.to_string() };
                    let time = ::model::time::rfc3339(time).replace(".000Z", "Z");
                    rows.push(format!(
                        "{site} {code} {time} {value} {status} {} {}",
                        entry.offset.number, run.source
                    ));
                }
            }
        }
        rows.sort();
        (rows, sums)
    }
}

pub async fn check(storage: &Storage, log: &Log) {
    let (rows, sums) = log.expected();
    let mut found = all_readings(storage).await;
    found.sort();
    assert_eq!(found, rows);
    let balance = storage.balance().await.unwrap();
    assert_eq!(balance.len(), sums.len());
    for SourceBalance { name, received, accepted, stored, duplicate, pending, .. } in &balance {
        let sum = sums[name];
        assert_eq!((*received, *accepted), (sum.0, sum.0), "{name}");
        assert!(*stored <= sum.1 && *duplicate <= sum.2, "{name}: {balance:?} {sums:?}");
        assert_eq!(stored + duplicate + pending, sum.0, "{name}");
    }
    assert!(balance.iter().all(SourceBalance::is_balanced));
}

/// After a flush nothing is pending, and the sums are those of the model to the row.
pub async fn check_at_rest(storage: &Storage, log: &Log) {
    check(storage, log).await;
    let (_, sums) = log.expected();
    for b in storage.balance().await.unwrap() {
        assert_eq!((b.received, b.stored, b.duplicate, b.pending), {
            let s = sums[&b.name];
            (s.0, s.1, s.2, 0)
        });
    }
}

pub async fn play(mut rig: Rig, steps: &[Step]) {
    rig.options.compact_files = 2;
    rig.options.checkpoint_every = 3;
    let mut log = Log::default();
    let mut storage = rig.open().await;
    for step in steps {
        match step {
            Step::Append(partition, rows, again) => {
                log.append(*partition, rows, *again);
                log.push_rest(&storage).await;
            }
            Step::Tick(partition) => {
                log.tick(*partition);
                log.push_rest(&storage).await;
            }
            Step::Flush => {
                storage.flush().await.unwrap();
            }
            Step::FlushFails(n, before, dies) => {
                rig.store.fail_at(i64::from(*n), if *before { Fault::Before } else { Fault::After }, *dies);
                let result = storage.flush().await;
                assert!(*dies || !rig.store.failed() || result.is_err() || !*before);
                let died = *dies && rig.store.failed();
                rig.store.heal();
                if died {
                    storage = rig.open().await;
                    log.push_rest(&storage).await;
                }
            }
            Step::Restart => {
                storage = rig.open().await;
                log.push_rest(&storage).await;
            }
            Step::Query => check(&storage, &log).await,
            Step::Maintain => {
                rig.clock.advance(7200 * SECOND);
                storage.maintain().await.unwrap();
            }
        }
    }
    check(&storage, &log).await;
    storage.flush().await.unwrap();
    check_at_rest(&storage, &log).await;
    let reader = rig.read_only().await;
    check_at_rest(&reader, &log).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn every_reading_once_whatever_happens(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(Rig::new(), &steps));
    }
}

/// Every put of a flush fails once, before and after it took effect, with the process dead from then on; the restart comes
/// to the same rows and sums as if nothing had been.
#[tokio::test]
async fn killed_at_every_put() {
    let mut hit = 0;
    for fault in [Fault::Before, Fault::After] {
        for n in 0.. {
            let rig = Rig::new();
            let storage = rig.open().await;
            let mut log = Log::default();
            log.append(0, &[(0, 1, 0, 0, false), (1, 1, 0, 0, false)], false);
            log.push_rest(&storage).await;
            storage.flush().await.unwrap();
            log.append(0, &[(0, 2, 0, 0, false), (0, 1, 0, 0, false), (2, 5, 1, 1, true)], false);
            log.append(1, &[(0, 1, 0, 0, false), (0, 1, 0, 0, false)], false);
            log.append(1, &[(0, 1, 1, 0, false)], true);
            log.push_rest(&storage).await;
            rig.store.fail_at(n, fault, true);
            let flushed = storage.flush().await;
            let failed = rig.store.failed();
            rig.store.heal();
            drop(storage);
            if !failed {
                flushed.unwrap();
                break;
            }
            hit += 1;
            let storage = rig.open().await;
            log.push_rest(&storage).await;
            check(&storage, &log).await;
            log.append(0, &[(0, 2, 0, 0, false), (0, 3, 0, 0, false)], false);
            log.push_rest(&storage).await;
            storage.flush().await.unwrap();
            check_at_rest(&storage, &log).await;
        }
    }
    // Two tables have rows: a file and a commit each.
    assert_eq!(hit, 8);
}

/// All tables, as text.
async fn dump(storage: &Storage) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (table, order) in [
        ("readings", "site, point, time, offset"),
        ("person_positions", "card, offset"),
        ("quarantine", "point, time, offset, released"),
        ("arrivals", "partition, offset, run"),
        ("events", "id"),
    ] {
        all.push(sql(storage, &format!("SELECT * FROM {table} ORDER BY {order}")).await);
    }
    all
}

/// Pushes what storage has not got of a log with a record of every kind.
async fn push_every_kind(storage: &Storage) {
    let held = |seconds| Quarantined {
        site: "M1".into(),
        point: "N1".into(),
        time: at(seconds),
        value: Some(1.0),
        status: 0,
        reason: "unknown point".into(),
    };
    let position = |card: &str| Position {
        site: "M1".into(),
        card: card.into(),
        name: String::new(),
        area: String::new(),
        station: "S".into(),
        time: at(1.0),
        presence: Presence::Below,
        entered: None,
        state: String::new(),
    };
    let positions = |card| Positions { rows: vec![position(card)], snapshot: None };
    let refused = Refused { source: "east".into(), reason: "json".into(), count: 2, received: T0 };
    let records = [
        readings("east", &[("M1", "T1", 1.0, 0.5), ("M1", "T1", 1.0, 0.5)]),
        Record::Positions { run: run("gate", 1), positions: positions("C1") },
        Record::Quarantine { run: run("east", 1), rows: vec![held(1.0)] },
        Record::Refused(vec![refused]),
        released("east", &[("M1", "T2", 1.0, 1.0)]),
        Record::Positions { run: run("gate", 1), positions: positions("C2") },
        readings("east", &[("M1", "T1", 1.0, 0.5), ("M9", "T9", 2.0, 1.0)]),
        Record::Quarantine { run: run("east", 2), rows: vec![held(2.0), held(2.0)] },
    ];
    let next = storage.next_offset(0) as usize;
    for (number, record) in records.into_iter().enumerate().skip(next) {
        storage.push(&entry(number as u64), record).await.unwrap();
    }
    for number in storage.next_event_offset(0)..3 {
        let steps = [number as u32, number as u32 + 1].map(|s| transition(s, f64::from(s)));
        storage.push_events(&entry(number), steps.to_vec()).await.unwrap();
    }
}

#[tokio::test]
async fn killed_at_every_put_of_every_table() {
    let undisturbed = Rig::new().open().await;
    push_every_kind(&undisturbed).await;
    undisturbed.flush().await.unwrap();
    let expected = dump(&undisturbed).await;
    assert!(expected.iter().all(|rows| rows.len() >= 2), "{expected:?}");
    let mut hit = 0;
    for fault in [Fault::Before, Fault::After] {
        for n in 0.. {
            let rig = Rig::new();
            let storage = rig.open().await;
            push_every_kind(&storage).await;
            rig.store.fail_at(n, fault, true);
            let flushed = storage.flush().await;
            let failed = rig.store.failed();
            rig.store.heal();
            if !failed {
                flushed.unwrap();
                break;
            }
            hit += 1;
            let storage = rig.open().await;
            push_every_kind(&storage).await;
            assert_eq!(dump(&storage).await, expected, "{fault:?} {n}");
            storage.flush().await.unwrap();
            assert_eq!(dump(&storage).await, expected, "{fault:?} {n}");
            assert_eq!(dump(&rig.open().await).await, expected, "{fault:?} {n}");
        }
    }
    // Five tables: a file and a commit each.
    assert_eq!(hit, 20);
}

/// Polls so often, then gives up.
async fn poll_times<T>(work: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_flush_may_be_given_up_at_any_point() {
    let undisturbed = Rig::new().open().await;
    push_every_kind(&undisturbed).await;
    undisturbed.flush().await.unwrap();
    let expected = dump(&undisturbed).await;
    for polls in 1.. {
        let rig = Rig::new();
        let storage = rig.open().await;
        push_every_kind(&storage).await;
        let ended = poll_times(storage.flush(), polls).await;
        assert_eq!(dump(&storage).await, expected, "{polls}");
        storage.maintain().await.unwrap();
        assert_eq!(dump(&storage).await, expected, "{polls}");
        storage.flush().await.unwrap();
        assert_eq!(dump(&storage).await, expected, "{polls}");
        assert_eq!(dump(&rig.open().await).await, expected, "{polls}");
        if ended.is_some() {
            assert!(polls > 20, "{polls}");
            break;
        }
    }
}

/// A test of the test: with a mistake planted the checks above must not hold.
#[tokio::test]
async fn planted_mistakes_are_found() {
    let mut rig = Rig::new();
    rig.options.planted = Some(Planted::SkipDedup);
    let storage = rig.open().await;
    let mut log = Log::default();
    log.append(0, &[(0, 1, 0, 0, false), (0, 1, 0, 0, false)], false);
    log.push_rest(&storage).await;
    assert_ne!(all_readings(&storage).await, log.expected().0);

    let mut rig = Rig::new();
    rig.options.planted = Some(Planted::CommitWithoutComparing);
    let (first, second) = (rig.open().await, rig.open().await);
    for writer in [&first, &second] {
        log.push_rest(writer).await;
        writer.flush().await.unwrap();
    }
    let mut found = all_readings(&rig.open().await).await;
    found.sort();
    assert_ne!(found, log.expected().0);
}
