//! What the models of kinds across points share: random series of three points of one group, what a straight look over the whole series
//! knows of each point at a time, delays by the one clock there is, and the comparison of a model with the code.

use crate::agree::{STATUS_ODD, Say};
use crate::stand::*;
use model::status::*;
use model::time::SECOND;
use model::{Catalog, Transition};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use rules::{Evaluator, Program};
use std::sync::Arc;

/// The points, each with its period in seconds. The first is the own one.
pub const POINTS: [(&str, i64); 3] = [("A", 2), ("B", 1), ("C", 3)];

/// What comes: a reading of a point, or a tick where there is none. Times in seconds after the start, values in hundredths.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub appended: i64,
    pub of: Option<Reading>,
}

#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub point: usize,
    pub time: i64,
    pub value: i64,
    pub status: i32,
}

/// A mistake planted in the models: the series must be such that each is noticed, so that the code cannot make it either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    None,
    /// A member is known for a second longer, or less long.
    FreshIsLonger,
    FreshIsShorter,
    SameTimeIsNewer,
    OrderIsIgnored,
    LateIsLive,
    BadIsGood,
    CalibrationIsGood,
    MissingIsLow,
    OverRangeIsUnknown,
    OverRangeClears,
    StaleClears,
    OnIsStrict,
    OffIsInclusive,
    OnDelayIsStrict,
    OffDelayIsStrict,
    BandKeepsDelay,
    UnknownBreaksDelay,
    TickServesStale,
    TicksServeNothing,
    /// What is unknown is below, or over.
    UnknownIsBelow,
    UnknownIsOver,
    /// Of a kind's own comparison, by its number there.
    Own(u8),
}

/// Mistakes that every kind across points could make.
pub const COMMON: [Mistake; 16] = [
    Mistake::FreshIsLonger,
    Mistake::FreshIsShorter,
    Mistake::SameTimeIsNewer,
    Mistake::OrderIsIgnored,
    Mistake::LateIsLive,
    Mistake::BadIsGood,
    Mistake::CalibrationIsGood,
    Mistake::MissingIsLow,
    Mistake::OverRangeClears,
    Mistake::StaleClears,
    Mistake::OnIsStrict,
    Mistake::OffIsInclusive,
    Mistake::UnknownIsBelow,
    Mistake::UnknownIsOver,
    Mistake::Own(0),
    Mistake::Own(1),
];

/// Those of levels with delays.
pub const OF_DELAYS: [Mistake; 6] = [
    Mistake::OnDelayIsStrict,
    Mistake::OffDelayIsStrict,
    Mistake::BandKeepsDelay,
    Mistake::UnknownBreaksDelay,
    Mistake::TickServesStale,
    Mistake::TicksServeNothing,
];

/// Each mistake changes what the model says of some of these series.
pub fn noticed<S: std::fmt::Debug>(
    series: impl Strategy<Value = S>,
    model: impl Fn(&S, Mistake) -> Vec<(i64, bool)>,
    mistakes: &[Mistake],
) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    for mistake in mistakes {
        let mut runner = TestRunner::deterministic();
        let differs = (0..10_000).any(|_| {
            let one = series.new_tree(&mut runner).unwrap().current();
            model(&one, *mistake) != model(&one, Mistake::None)
        });
        assert!(differs, "{mistake:?} changes nothing");
    }
}

pub fn three() -> Arc<Catalog> {
    let rows = POINTS.map(|(code, period)| format!("M1,{code},{code},ch4,%,0,4,T1,{period}s\n"));
    catalog_of("operating", &rows.concat())
}

/// A series; each value is one of these, in hundredths.
pub fn series(values: &'static [i64]) -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![6 => Just(0i64), 8 => Just(1i64), 3 => Just(2), 2 => 3i64..6, 1 => 6i64..12];
    let status =
        prop_oneof![12 => Just(0), 2 => prop::sample::select(&STATUS_ODD[..]), 1 => Just(HISTORICAL)];
    // Mostly of the time it comes at; behind, the same again, late.
    let lag = prop_oneof![12 => Just(0i64), 2 => 1i64..4, 1 => Just(500)];
    let part = (step, 0usize..4, prop::sample::select(values), status, lag, 1usize..4);
    prop::collection::vec(part, 1..30).prop_map(|parts| {
        let (mut now, mut rows) = (0, Vec::new());
        for (step, point, value, status, lag, times) in parts {
            for _ in 0..times {
                now += step;
                let of = (point < 3).then_some(Reading { point, time: now - lag, value, status });
                rows.push(Row { appended: now, of });
            }
        }
        rows
    })
}

fn is_late(row: &Row, r: &Reading) -> bool {
    r.status & HISTORICAL != 0 || row.appended - r.time > 120
}

/// The readings that are looked at, each with where it stands: not late, and newer than all before it of their point.
pub fn looked_at(rows: &[Row], m: Mistake) -> Vec<(usize, Reading)> {
    let mut newest = [i64::MIN; 3];
    let looked = |(i, row): (usize, &Row)| {
        let is_newer = |r: &Reading| match m {
            Mistake::OrderIsIgnored => true,
            Mistake::SameTimeIsNewer => r.time >= newest[r.point],
            _ => r.time > newest[r.point],
        };
        let r = row.of.filter(|r| (!is_late(row, r) || m == Mistake::LateIsLive) && is_newer(r))?;
        newest[r.point] = r.time;
        Some((i, r))
    };
    rows.iter().enumerate().filter_map(looked).collect()
}

/// A point's last reading that is looked at, up to the row `i` and including it, if it came no more than three periods before `now`.
pub fn fresh(rows: &[Row], i: usize, point: usize, now: i64, m: Mistake) -> Option<Reading> {
    let last = looked_at(&rows[..=i], m).into_iter().rfind(|(_, r)| r.point == point);
    let more = i64::from(m == Mistake::FreshIsLonger) - i64::from(m == Mistake::FreshIsShorter);
    last.filter(|(j, _)| now - rows[*j].appended <= 3 * POINTS[point].1 + more).map(|(_, r)| r)
}

fn unknown(m: Mistake) -> Say {
    match m {
        Mistake::UnknownIsBelow => Say::Below,
        Mistake::UnknownIsOver => Say::Over,
        _ => Say::Hold,
    }
}

/// On at or above `on`, off below `off`, as a limit rule says of one reading.
pub fn limit(r: Option<Reading>, on: i64, off: i64, m: Mistake) -> Say {
    let Some(r) = r else { return unknown(m) };
    let has = |bits: i32, ignored| r.status & bits != 0 && m != ignored;
    if has(BAD, Mistake::BadIsGood) || has(CALIBRATION, Mistake::CalibrationIsGood) {
        return unknown(m);
    }
    if has(OVER_RANGE, Mistake::OverRangeClears) {
        // At least the high end of the range, or at most the low end, which is 0.
        return if r.value > 0 && m != Mistake::OverRangeIsUnknown { Say::Over } else { Say::Hold };
    }
    if r.status & MISSING != 0 {
        return if m == Mistake::MissingIsLow { Say::Below } else { unknown(m) };
    }
    match r.value {
        v if v > on || (v == on && m != Mistake::OnIsStrict) => Say::Over,
        _ if has(STALE, Mistake::StaleClears) => Say::Hold,
        v if v < off || (v == off && m == Mistake::OffIsInclusive) => Say::Below,
        _ => Say::Band,
    }
}

/// What a level with delays does with what is said at each row that is looked at; delays count by the times at which rows come.
pub fn changes(
    rows: &[Row],
    (on_delay, off_delay): (i64, i64),
    m: Mistake,
    say: impl Fn(usize) -> Say,
) -> Vec<(i64, bool)> {
    let looked: Vec<usize> = looked_at(rows, m).into_iter().map(|(i, _)| i).collect();
    let (on_delay, off_delay) = (
        on_delay + i64::from(m == Mistake::OnDelayIsStrict),
        off_delay + i64::from(m == Mistake::OffDelayIsStrict),
    );
    let periods = if m == Mistake::TickServesStale { 4 } else { 3 };
    // An on-delay runs out at any second until then that something came in, while the last row over is fresh.
    let runs_out = |at: i64, over: Option<(i64, i64)>| {
        m != Mistake::TicksServeNothing
            && over.is_some_and(|(first, last)| at - first >= on_delay && at - last <= periods * POINTS[0].1)
    };
    let (mut out, mut on, mut over, mut below) = (Vec::new(), false, None::<(i64, i64)>, None::<i64>);
    for (i, row) in rows.iter().enumerate() {
        let now = row.appended;
        let before = i.checked_sub(1).map(|b| rows[b].appended).filter(|b| *b < now);
        if let Some(at) = before.filter(|at| !on && runs_out(*at, over)) {
            (on, over) = (true, None);
            out.push((at, true));
        }
        if looked.contains(&i) {
            match say(i) {
                Say::Over if on => below = None,
                Say::Over => {
                    over = Some((over.map_or(now, |(first, _)| first), now));
                    if now - over.unwrap().0 >= on_delay {
                        (on, over, below) = (true, None, None);
                        out.push((now, true));
                    }
                }
                Say::Band => {
                    over = over.filter(|_| m == Mistake::BandKeepsDelay);
                    below = None;
                }
                Say::Below if on => {
                    if now - *below.get_or_insert(now) >= off_delay {
                        (on, below) = (false, None);
                        out.push((now, false));
                    }
                }
                Say::Below => over = None,
                Say::Hold => over = over.filter(|_| m != Mistake::UnknownBreaksDelay),
            }
        } else if row.of.is_none() && !on && runs_out(now, over) {
            (on, over) = (true, None);
            out.push((now, true));
        }
    }
    out
}

fn record(rows: &[Row]) -> Event {
    let appended = START + rows[0].appended * SECOND;
    let row = |r: &Row| {
        let r = r.of?;
        let value = if r.status & MISSING != 0 { f64::NAN } else { r.value as f64 / 100.0 };
        Some((POINTS[r.point].0, START + r.time * SECOND, value, r.status))
    };
    let rows: Vec<_> = rows.iter().filter_map(row).collect();
    if rows.is_empty() { Event::Tick(appended) } else { Event::Rows(appended, 0, rows) }
}

fn judged(program: &Arc<Program>, events: &[Event], restored: &[bool]) -> Vec<Transition> {
    let (mut e, mut out) = (Evaluator::new(program.clone(), three()), Vec::new());
    for (i, event) in events.iter().enumerate() {
        if restored.get(i % restored.len().max(1)).is_some_and(|r| *r) {
            let shards: Vec<Vec<u8>> = (0..e.shards()).map(|s| e.snapshot(s)).collect();
            e = Evaluator::restore(program.clone(), three(), &shards).unwrap().0;
            let again: Vec<Vec<u8>> = (0..e.shards()).map(|s| e.snapshot(s)).collect();
            assert_eq!(shards, again, "what is restored is what was saved, to the bit");
        }
        apply(&mut e, i as u64, event, &mut out);
    }
    out
}

/// On and off of a level, in seconds.
pub fn of_level(out: &[Transition], level: &str) -> Vec<(i64, bool)> {
    let own = out.iter().filter(|t| t.level == level);
    own.map(|t| {
        assert_eq!(t.point, "A", "levels stand at the own point");
        ((t.time - START) / SECOND, t.to == model::To::On)
    })
    .collect()
}

/// The code says of each level what the model says, wherever it is restored, and however rows of one time are cut into records.
pub fn agree(
    rules: &str,
    rows: &[Row],
    (restored, joins): &(Vec<bool>, Vec<bool>),
    expected: &[(&str, Vec<(i64, bool)>)],
) -> TestCaseResult {
    let (program, problems) = program_for(rules, &three());
    prop_assert_eq!(problems.errors(), 0, "{}", problems);
    let single: Vec<Event> = rows.iter().map(|r| record(&[*r])).collect();
    let whole = judged(&program, &single, &[]);
    for (level, changes) in expected {
        prop_assert_eq!(&of_level(&whole, level), changes, "level {}", level);
    }
    prop_assert_eq!(&judged(&program, &single, restored), &whole);
    let drill = |r: &Row| Row { of: r.of.map(|r| Reading { status: r.status | SIMULATED, ..r }), ..*r };
    let drill: Vec<Event> = rows.iter().map(|r| record(&[drill(r)])).collect();
    // Nothing real is decided by a drill but that nothing real speaks.
    prop_assert!(judged(&program, &drill, restored).iter().all(|t| t.marks.simulated || t.level == "silent"));
    let mut joined: Vec<Vec<Row>> = Vec::new();
    for (row, join) in rows.iter().zip(joins.iter().cycle()) {
        match joined.last_mut() {
            Some(last)
                if *join && row.of.is_some() && last[0].of.is_some() && last[0].appended == row.appended =>
            {
                last.push(*row)
            }
            _ => joined.push(vec![*row]),
        }
    }
    let joined: Vec<Event> = joined.iter().map(|rows| record(rows)).collect();
    let without_ids = |out: &[Transition]| -> Vec<String> {
        out.iter().map(|t| format!("{} {:?} {} {:?} {}", t.level, t.to, t.time, t.value, t.reason)).collect()
    };
    prop_assert_eq!(without_ids(&judged(&program, &joined, restored)), without_ids(&whole));
    Ok(())
}

/// Before which records it goes on from a snapshot, and which rows join the record before them.
pub fn cuts() -> impl Strategy<Value = (Vec<bool>, Vec<bool>)> {
    let some = || prop::collection::vec(any::<bool>(), 1..9);
    (some(), some())
}

/// A record of readings that were measured when it was appended, `s` seconds after the start.
pub fn rows(s: f64, rows: &[(&'static str, f64, i32)]) -> Event {
    let t = START + (s * 1e6) as i64;
    Event::Rows(t, 0, rows.iter().map(|(point, value, status)| (*point, t, *value, *status)).collect())
}

/// What these rules decide of the three points, as [`shown`] says it.
#[track_caller]
pub fn check(rules: &str, events: &[Event], expected: &[&str]) {
    let (program, problems) = program_for(rules, &three());
    assert_eq!(problems.to_string(), "");
    let out = judge_by(Evaluator::new(program, three()), events);
    assert_eq!(shown(&out), expected, "{out:#?}");
}
