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
    /// Between its limits a member is unknown, or below.
    BandIsUnknown,
    BandIsBelow,
    OnDelayIsStrict,
    OffDelayIsStrict,
    UnknownBreaksDelay,
    TickServesStale,
    TicksServeNothing,
    /// What is unknown is below, or over.
    UnknownIsBelow,
    UnknownIsOver,
    /// Each reading decides by itself, whatever else comes at its time.
    RowsDecide,
    /// A jump of the clock counts at once.
    JumpCounts,
    /// Beyond a jump that is not confirmed a member was heard when the clock stood still.
    HeardBeforeJump,
    /// Of a kind's own comparison, by its number there.
    Own(u8),
}

/// Mistakes that every kind across points could make.
pub const COMMON: [Mistake; 17] = [
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
    Mistake::UnknownIsBelow,
    Mistake::UnknownIsOver,
    Mistake::JumpCounts,
    Mistake::HeardBeforeJump,
    Mistake::Own(0),
    Mistake::Own(1),
];

/// Those of conditions, which have a state between their limits.
pub const OF_CONDITIONS: [Mistake; 3] =
    [Mistake::OffIsInclusive, Mistake::BandIsUnknown, Mistake::BandIsBelow];

/// Those of levels with delays.
pub const OF_DELAYS: [Mistake; 5] = [
    Mistake::OnDelayIsStrict,
    Mistake::OffDelayIsStrict,
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

/// A series; each value is one of these, in hundredths. A tick ends it, so that its last time is decided.
pub fn series(values: &'static [i64]) -> impl Strategy<Value = Vec<Row>> {
    let step = prop_oneof![
        12 => Just(0i64), 16 => Just(1i64), 6 => Just(2), 4 => 3i64..6, 2 => 6i64..12, 1 => 61i64..70
    ];
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
        rows.push(Row { appended: now, of: None });
        rows
    })
}

fn is_late(row: &Row, r: &Reading) -> bool {
    r.status & HISTORICAL != 0 || row.appended - r.time > 120
}

/// What the clock shows at each row: a jump of more than a minute counts only where a tick confirms it.
fn clocks(rows: &[Row], m: Mistake) -> Vec<i64> {
    let mut clock = rows[0].appended;
    let counts =
        |row: &Row, clock| row.of.is_none() || row.appended - clock <= 60 || m == Mistake::JumpCounts;
    let shown = |row: &Row| {
        clock = if counts(row, clock) { row.appended } else { clock };
        clock
    };
    rows.iter().map(shown).collect()
}

/// A time of the clock, when all that came at it has been heard: up to the row `last`, of which those from `first` came at it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: i64,
    pub first: usize,
    pub last: usize,
}

/// The times of the clock; a tick ends one too.
pub fn moments(rows: &[Row], m: Mistake) -> Vec<Moment> {
    let clocks = clocks(rows, m);
    let ends =
        |i: usize| m == Mistake::RowsDecide || rows[i].of.is_none() || clocks.get(i + 1) != Some(&clocks[i]);
    let (mut first, mut all) = (0, Vec::new());
    for last in (0..rows.len()).filter(|i| ends(*i)) {
        all.push(Moment { now: clocks[last], first, last });
        first = last + 1;
    }
    all
}

/// A reading that is looked at: not late, and newer than all before it of its point.
#[derive(Clone, Copy, Debug)]
pub struct Looked {
    /// Its row.
    pub row: usize,
    /// What the clock shows then, and when it is heard: beyond a jump that is not confirmed it is heard then.
    pub clock: i64,
    pub heard: i64,
    pub r: Reading,
}

/// The readings that are looked at.
pub fn looked_at(rows: &[Row], m: Mistake) -> Vec<Looked> {
    let (mut newest, clocks) = ([i64::MIN; 3], clocks(rows, m));
    let looked = |(i, row): (usize, &Row)| {
        let is_newer = |r: &Reading| match m {
            Mistake::OrderIsIgnored => true,
            Mistake::SameTimeIsNewer => r.time >= newest[r.point],
            _ => r.time > newest[r.point],
        };
        let r = row.of.filter(|r| (!is_late(row, r) || m == Mistake::LateIsLive) && is_newer(r))?;
        newest[r.point] = r.time;
        let heard = if m == Mistake::HeardBeforeJump { clocks[i] } else { row.appended };
        Some(Looked { row: i, clock: clocks[i], heard, r })
    };
    rows.iter().enumerate().filter_map(looked).collect()
}

/// A series as a straight look over the whole of it sees it.
pub struct Series {
    pub looked: Vec<Looked>,
    pub moments: Vec<Moment>,
    pub m: Mistake,
}

impl Series {
    pub fn of(rows: &[Row], m: Mistake) -> Self {
        Self { looked: looked_at(rows, m), moments: moments(rows, m), m }
    }

    /// What is looked at of a point up to the end of a time.
    pub fn of_point(&self, point: usize, at: &Moment) -> impl DoubleEndedIterator<Item = &Looked> {
        self.looked.iter().filter(move |l| l.r.point == point && l.row <= at.last)
    }

    /// A point's last reading, if it was heard no more than three periods ago.
    pub fn fresh(&self, point: usize, at: &Moment) -> Option<Reading> {
        let more = i64::from(self.m == Mistake::FreshIsLonger) - i64::from(self.m == Mistake::FreshIsShorter);
        let last = self.of_point(point, at).next_back();
        last.filter(|l| at.now - l.heard <= 3 * POINTS[point].1 + more).map(|l| l.r)
    }

    /// Whether a condition is known to hold at a reading, or not to hold: one that says neither is as the last that did.
    pub fn at_reading(&self, of: &Looked, says: impl Fn(Reading) -> Say) -> Say {
        match says(of.r) {
            Say::Band if self.m == Mistake::BandIsUnknown => Say::Hold,
            Say::Band if self.m == Mistake::BandIsBelow => Say::Below,
            Say::Band => {
                let before = self.looked.iter().filter(|l| l.r.point == of.r.point && l.row < of.row);
                let decided = |say: &Say| matches!(say, Say::Over | Say::Below);
                before.rev().map(|l| says(l.r)).find(decided).unwrap_or(Say::Hold)
            }
            said => said,
        }
    }

    /// Whether a condition is known to hold at a point, or not to hold, at a time.
    pub fn member(&self, point: usize, at: &Moment, says: impl Fn(Reading) -> Say) -> Say {
        match self.fresh(point, at) {
            Some(_) => self.at_reading(self.of_point(point, at).next_back().unwrap(), says),
            None => unknown(self.m),
        }
    }

    /// The readings at which a condition begins to hold: it does, and did not when it was judged last.
    pub fn begins(&self, point: usize, at: &Moment, says: impl Fn(Reading) -> Say) -> Vec<&Looked> {
        let judged = self.of_point(point, at).map(|l| (l, says(l.r)));
        let judged: Vec<_> = judged.filter(|(_, s)| matches!(s, Say::Over | Say::Below)).collect();
        let begins = |i: &usize| judged[*i].1 == Say::Over && (*i == 0 || judged[i - 1].1 == Say::Below);
        (0..judged.len()).filter(begins).map(|i| judged[i].0).collect()
    }

    /// What a level with delays does with what is said at each time at which something is looked at.
    pub fn changes(
        &self,
        (on_delay, off_delay): (i64, i64),
        say: impl Fn(&Moment) -> Say,
    ) -> Vec<(i64, bool)> {
        let m = self.m;
        let on_delay = on_delay + i64::from(m == Mistake::OnDelayIsStrict);
        let off_delay = off_delay + i64::from(m == Mistake::OffDelayIsStrict);
        let periods = if m == Mistake::TickServesStale { 4 } else { 3 };
        let (mut out, mut on, mut over, mut below) = (Vec::new(), false, None::<(i64, i64)>, None::<i64>);
        for at in &self.moments {
            let now = at.now;
            let is_heard = self.looked.iter().any(|l| (at.first..=at.last).contains(&l.row));
            match if is_heard { say(at) } else { Say::Hold } {
                Say::Over if on => below = None,
                Say::Over => over = Some((over.map_or(now, |(first, _)| first), now)),
                Say::Below if on && now - *below.get_or_insert(now) >= off_delay => {
                    (on, below) = (false, None);
                    out.push((now, false));
                }
                Say::Below => over = None,
                Say::Band => (over, below) = (None, None),
                Say::Hold => over = over.filter(|_| !is_heard || m != Mistake::UnknownBreaksDelay),
            }
            // Over for as long as it must; as time passes only while the last that was over is fresh.
            let is_due = |(first, last): (i64, i64)| {
                let is_told = last == now || m != Mistake::TicksServeNothing;
                is_told && now - first >= on_delay && now - last <= periods * POINTS[0].1
            };
            if !on && over.is_some_and(is_due) {
                (on, over, below) = (true, None, None);
                out.push((now, true));
            }
        }
        out
    }
}

/// What holds whatever those are of whom nothing is known.
pub fn decided(said: &[Say], is: impl Fn(&[bool]) -> bool) -> Say {
    let ways = (0..1u32 << said.len()).map(|way| {
        let one = |(i, s): (usize, &Say)| *s == Say::Over || (*s == Say::Hold && way & (1 << i) != 0);
        is(&said.iter().enumerate().map(one).collect::<Vec<_>>())
    });
    let ways: Vec<bool> = ways.collect();
    match (ways.contains(&true), ways.contains(&false)) {
        (true, false) => Say::Over,
        (false, true) => Say::Below,
        _ => Say::Hold,
    }
}

fn unknown(m: Mistake) -> Say {
    match m {
        Mistake::UnknownIsBelow => Say::Below,
        Mistake::UnknownIsOver => Say::Over,
        _ => Say::Hold,
    }
}

/// On at or above `on`, off below `off`, as a limit rule says of one reading.
pub fn limit(r: Reading, on: i64, off: i64, m: Mistake) -> Say {
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
        // Known to be old when it was sent it clears nothing.
        _ if has(STALE, Mistake::StaleClears) => Say::Hold,
        v if v < off || (v == off && m == Mistake::OffIsInclusive) => Say::Below,
        _ => Say::Band,
    }
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
    let drill = judged(&program, &drill, restored);
    // Nothing real is decided by a drill but that nothing real speaks.
    prop_assert!(drill.iter().all(|t| t.marks.simulated || t.level == "silent"));
    if !rules.contains("silent") && !rules.contains("missing") {
        // What no tick tells is the same in a drill.
        for (level, changes) in expected {
            prop_assert_eq!(&of_level(&drill, level), changes, "level {} of a drill", level);
        }
    }
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
    // The order of points within a time does not matter.
    let mut turned: Vec<Row> = Vec::new();
    for of_time in rows.chunk_by(|a, b| a.appended == b.appended && a.of.is_some() && b.of.is_some()) {
        let mut of_time = of_time.to_vec();
        of_time.sort_by_key(|row| std::cmp::Reverse(row.of.map(|r| r.point)));
        turned.extend(of_time);
    }
    let turned: Vec<Event> = turned.iter().map(|r| record(&[*r])).collect();
    prop_assert_eq!(without_ids(&judged(&program, &turned, restored)), without_ids(&whole));
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

/// What these rules decide of the three points once the last time is over, as [`shown`] says it.
#[track_caller]
pub fn check(rules: &str, events: &[Event], expected: &[&str]) {
    let (program, problems) = program_for(rules, &three());
    assert_eq!(problems.to_string(), "");
    let (Event::Tick(last) | Event::Rows(last, ..)) = events.last().unwrap() else { unreachable!() };
    let out = judge_by(Evaluator::new(program, three()), &[events, &[Event::Tick(*last)]].concat());
    assert_eq!(shown(&out), expected, "{out:#?}");
}
