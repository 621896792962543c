//! What the models of kinds share: random series of one point with plateaus, gaps, bad status, late and repeated readings, and the
//! comparison of a model with the code. Values are whole hundredths and times whole seconds, so that a model counts without floats.

use crate::stand::*;
use model::status::*;
use model::time::SECOND;
use model::{Catalog, Offset, Origin, Transition};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use rules::{At, Evaluator, Program};
use std::sync::Arc;

/// A reading of T1, which is read every second and ranges from 0 to 4.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Seconds after the start.
    pub appended: i64,
    /// Seconds after the start.
    pub time: i64,
    /// Hundredths.
    pub value: i64,
    pub status: i32,
}

/// What a model says of a reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Say {
    Over,
    Band,
    Below,
    Hold,
}

pub const STATUS_ODD: [i32; 10] = [
    SENSOR_FAULT,
    SENSOR_FAULT | ALARM,
    NOT_INSPECTED,
    PAUSED,
    MISSING,
    CALIBRATION,
    CALIBRATION | ALARM,
    OVER_RANGE,
    ALARM,
    STALE,
];

/// A series; each value is one of these, in hundredths.
pub fn series(values: &'static [i64]) -> impl Strategy<Value = Vec<Row>> {
    // Steps in seconds: forward mostly, sometimes the same time again, back, or a gap.
    let step =
        prop_oneof![12 => Just(1i64), 3 => Just(2), 2 => Just(3), 2 => 4i64..9, 1 => Just(0), 1 => -4i64..0];
    let status =
        prop_oneof![10 => Just(0), 3 => prop::sample::select(&STATUS_ODD[..]), 1 => Just(HISTORICAL)];
    let part = (step, prop::sample::select(values), status, 1usize..5, prop::bool::weighted(0.05));
    prop::collection::vec(part, 1..40).prop_map(|parts| {
        let (mut time, mut appended, mut rows) = (0, 0, Vec::new());
        for (step, value, status, times, late) in parts {
            for _ in 0..times {
                // Late ones are so old that no other reading has their time.
                let is_late = late || status & HISTORICAL != 0;
                time += if is_late { 0 } else { step };
                appended = appended.max(time);
                let time = if is_late { time - 1000 } else { time };
                rows.push(Row { appended, time, value, status });
            }
        }
        rows
    })
}

pub fn is_late(row: &Row) -> bool {
    row.status & HISTORICAL != 0 || row.appended - row.time > 120
}

pub fn has(row: &Row, bits: i32) -> bool {
    row.status & bits != 0
}

/// Good, and not old when it was sent.
pub fn may_clear(row: &Row) -> bool {
    !has(row, BAD | MISSING | OVER_RANGE | CALIBRATION | STALE)
}

/// For each reading whether it is not late, and newer than all before it.
pub fn newer(rows: &[Row]) -> Vec<bool> {
    let mut newest = i64::MIN;
    let is = |r: &Row| {
        let newer = !is_late(r) && r.time > newest;
        newest = if newer { r.time } else { newest };
        newer
    };
    rows.iter().map(is).collect()
}

/// What a level without delays does with what is said of each reading; late-found episodes are left out.
pub fn changes(rows: &[Row], say: impl Fn(&Row) -> Say) -> Vec<(i64, bool)> {
    changes_at(rows, |i| say(&rows[i]))
}

/// The same, by the place in the series.
pub fn changes_at(rows: &[Row], say: impl Fn(usize) -> Say) -> Vec<(i64, bool)> {
    let mut out: Vec<(i64, bool)> = Vec::new();
    for (i, newer) in newer(rows).into_iter().enumerate().filter(|(i, _)| !is_late(&rows[*i])) {
        let row = &rows[i];
        let on = out.last().is_some_and(|c| c.1);
        let known = || out.chunks_exact(2).any(|e| (e[0].0..=e[1].0).contains(&row.time));
        match say(i) {
            Say::Over if !on && (newer || !known()) => out.push((row.time, true)),
            Say::Below if on && newer => out.push((row.time, false)),
            _ => {}
        }
    }
    out
}

/// The same for kinds with a memory: they look at good readings only, each with all before it.
pub fn changes_of_good(rows: &[Row], say: impl Fn(&[Row]) -> Say) -> Vec<(i64, bool)> {
    let good = |(r, newer): (&Row, bool)| (newer && may_clear(r)).then_some(*r);
    let good: Vec<Row> = rows.iter().zip(newer(rows)).filter_map(good).collect();
    // Of these every one is newer than all before it: its time names it.
    let until = |time: i64| &good[..=good.partition_point(|r| r.time < time)];
    changes(&good, |row| say(until(row.time)))
}

fn record(rows: &[Row]) -> Event {
    let appended = rows.iter().map(|r| r.appended).max().unwrap_or_default();
    let row = |r: &Row| {
        let value = if has(r, MISSING) { f64::NAN } else { r.value as f64 / 100.0 };
        ("T1", START + r.time * SECOND, value, r.status)
    };
    Event::Rows(START + appended * SECOND, 0, rows.iter().map(row).collect())
}

pub fn judged(rules: &Rules, events: &[Event], restored: &[bool]) -> Vec<Transition> {
    let (program, catalog) = rules;
    let (mut e, mut out) = (Evaluator::new(program.clone(), catalog.clone()), Vec::new());
    for (i, event) in events.iter().enumerate() {
        if restored.get(i % restored.len().max(1)).is_some_and(|r| *r) {
            let shards: Vec<Vec<u8>> = (0..e.shards()).map(|s| e.snapshot(s)).collect();
            e = Evaluator::restore(program.clone(), catalog.clone(), &shards).unwrap().0;
            let again: Vec<Vec<u8>> = (0..e.shards()).map(|s| e.snapshot(s)).collect();
            assert_eq!(shards, again, "what is restored is what was saved, to the bit");
        }
        apply(&mut e, i as u64, event, &mut out);
    }
    out
}

/// A program and its catalog.
pub type Rules = (Arc<Program>, Arc<Catalog>);

/// On and off of a level, in seconds. That a level is shown as calibrating is a step, but no change.
fn of_level(out: &[Transition], level: &str) -> Vec<(i64, bool)> {
    let mut changes: Vec<(i64, bool)> = out
        .iter()
        .filter(|t| t.level == level && !t.marks.late)
        .map(|t| ((t.time - START) / SECOND, t.to == model::To::On))
        .collect();
    changes.dedup_by_key(|c| c.1);
    changes
}

/// As [`shown`], without steps that only show a level that stays on as calibrating.
pub fn turns(out: &[Transition]) -> Vec<String> {
    let same = |i: &usize, j: usize| out[j].level == out[*i].level && out[j].marks.late == out[*i].marks.late;
    let turns = |i: &usize| (0..*i).rev().find(|j| same(i, *j)).is_none_or(|j| out[j].to != out[*i].to);
    (0..out.len()).filter(turns).flat_map(|i| shown(&out[i..=i])).collect()
}

/// What was decided, without what names the record.
pub fn decided(out: &[Transition]) -> Vec<String> {
    let bits = |v: Option<f64>| v.map(f64::to_bits);
    let line = |t: &Transition| {
        let (value, peak) = (bits(t.value), bits(t.peak));
        format!("{} {:?} {} {value:?} {peak:?} {} {:?}", t.level, t.to, t.time, t.reason, t.marks)
    };
    out.iter().map(line).collect()
}

/// Restored from its snapshot before each event.
pub fn judge_restored(rules: &str, events: &[Event]) -> Vec<Transition> {
    let (program, problems) = program(rules);
    assert_eq!(problems.errors(), 0, "{problems}");
    judged(&(program, catalog()), events, &[true])
}

/// These rules, and others from `s` seconds on.
pub fn judge_changed(
    rules: &str,
    before: &[Event],
    s: f64,
    changed: &str,
    after: &[Event],
) -> Vec<Transition> {
    let (mut e, mut out) = (evaluator(rules), Vec::new());
    before.iter().enumerate().for_each(|(i, event)| apply(&mut e, i as u64, event, &mut out));
    let at = At {
        offset: Offset { partition: 0, number: before.len() as u64 },
        appended: START + (s * 1e6) as i64,
        origin: Origin { collector: 0, sequence: 0 },
    };
    let (program, problems) = program(changed);
    assert_eq!(problems.errors(), 0, "{problems}");
    e.activate(at, program, catalog(), &mut out);
    let first = before.len() as u64 + 1;
    after.iter().zip(first..).for_each(|(event, i)| apply(&mut e, i, event, &mut out));
    out
}

/// How a series is cut into records (rows of each), and before which of them it goes on from a snapshot.
pub fn cuts() -> impl Strategy<Value = (Vec<usize>, Vec<bool>)> {
    (prop::collection::vec(1usize..7, 1..20), prop::collection::vec(any::<bool>(), 1..9))
}

/// The code says of each level what the model says; and the same however the series is cut and wherever it is restored.
pub fn agree(
    rules: &str,
    rows: &[Row],
    (cuts, restored): &(Vec<usize>, Vec<bool>),
    expected: &[(&str, Vec<(i64, bool)>)],
) -> TestCaseResult {
    let (program, problems) = program(rules);
    prop_assert_eq!(problems.errors(), 0, "{}", problems);
    let rules = &(program, catalog());
    let single: Vec<Event> = rows.iter().map(|r| record(&[*r])).collect();
    let whole = judged(rules, &single, &[]);
    for (level, changes) in expected {
        prop_assert_eq!(&of_level(&whole, level), changes, "level {}", level);
    }
    prop_assert_eq!(&judged(rules, &single, restored), &whole);
    // Ticks between the readings decide nothing where no delay runs.
    let tick = |r: &Row| Event::Tick(START + r.appended * SECOND);
    let ticked: Vec<Event> = single.iter().zip(rows).flat_map(|(e, r)| [e.clone(), tick(r)]).collect();
    prop_assert_eq!(decided(&judged(rules, &ticked, restored)), decided(&whole));
    // A drill says the same of itself, and nothing of what is real.
    let simulated = |r: &Row| record(&[Row { status: r.status | SIMULATED, ..*r }]);
    let drill = judged(rules, &rows.iter().map(simulated).collect::<Vec<_>>(), restored);
    prop_assert!(drill.iter().all(|t| t.marks.simulated));
    for (level, changes) in expected {
        prop_assert_eq!(&of_level(&drill, level), changes, "level {} of a drill", level);
    }
    let (mut joined, mut apart, mut rest) = (Vec::new(), Vec::new(), rows);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (head, tail) = rest.split_at((*cut).min(rest.len()));
        let appended = head.last().map_or(0, |r| r.appended);
        joined.push(record(head));
        apart.extend(head.iter().map(|r| record(&[Row { appended, ..*r }])));
        rest = tail;
    }
    let apart = decided(&judged(rules, &apart, &[]));
    prop_assert_eq!(&decided(&judged(rules, &joined, restored)), &apart);
    Ok(())
}

/// Ten thousand series.
pub fn many() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) }
}
