//! Each kind against a model simpler than the code, on random series with every condition at once: missing, bad, over range,
//! calibrating, simulated, late, historical, future, out of order, the same time again, sent again, seen before, gaps, jumps of the
//! clock. The same series cut into other records, and restored from a snapshot before every entry, decide the same.

mod grade;
mod kinds;
mod level;

use crate::stand::*;
use grade::{Grade, PLACES, Row as GradeRow};
use kinds::{HALF, Kind, Rate, Rule};
use level::{Level, Mistake, Record, Row, steps};
use model::status::*;
use model::time::SECOND;
use model::{Micros, Transition};
use proptest::prelude::*;
use rules::Evaluator;

/// Time, on, late, calibrating.
type Decided = Vec<(Micros, bool, bool, bool)>;

fn model(rule: &Rule, records: &[Record], drill: bool, mistake: Mistake) -> Decided {
    if drill && matches!(rule.kind, Kind::Silent { .. }) {
        return Vec::new();
    }
    let steps = steps(records, drill, mistake);
    let silent = match rule.kind {
        Kind::Silent { after } => Some((after * HALF, records[0].appended)),
        _ => None,
    };
    let level = Level {
        steps: &steps,
        says: &|i| rule.says(&steps, i, mistake),
        on_delay: rule.on_delay * HALF,
        off_delay: rule.off_delay * HALF,
        period: SECOND,
        minds_calibration: rule.minds_calibration(),
        silent,
        mistake,
    };
    level.decide().iter().map(|o| (o.time, o.on, o.late, o.calibrating)).collect()
}

fn decided(rule: &Rule, out: &[Transition], drill: bool) -> Decided {
    out.iter()
        .filter(|t| rule.is_of(&t.level) && t.marks.simulated == drill)
        .map(|t| (t.time, t.to == model::To::On, t.marks.late, t.marks.calibrating))
        .collect()
}

fn event(record: &Record) -> Event {
    let rows = record.rows.iter().map(|r| ("T1", r.time, r.value, r.status)).collect::<Vec<_>>();
    match (record.seen_before, rows.is_empty()) {
        (true, _) => Event::Seen(record.appended),
        (false, true) => Event::Tick(record.appended),
        (false, false) => Event::Rows(record.appended, 0, rows),
    }
}

/// What comes next, in half seconds.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Rows a step after each other, each appended this much after it was measured; several a record.
    Rows { step: i64, lag: i64, value: f64, slope: f64, status: i32, times: usize, a_record: usize },
    /// Ticks, each second or so.
    Ticks { step: i64, times: usize },
    /// Nothing for so long.
    Gap(i64),
    /// A row that came so many rows before, again.
    Again(usize),
    /// A record that was seen before.
    Seen,
}

fn next() -> impl Strategy<Value = Next> {
    let value = prop_oneof![
        1 => Just(-0.25),
        1 => Just(0.0),
        2 => Just(0.75),
        2 => Just(0.8),
        1 => Just(0.9),
        2 => Just(0.99),
        4 => Just(1.0),
        4 => Just(1.25)
    ];
    let slope =
        prop_oneof![6 => Just(0.0), 1 => Just(0.05), 1 => Just(-0.05), 1 => Just(0.025), 1 => Just(0.125)];
    let bits = prop_oneof![
        16 => Just(0),
        2 => Just(SENSOR_FAULT),
        1 => Just(NOT_INSPECTED),
        2 => Just(MISSING),
        2 => Just(OVER_RANGE),
        1 => Just(OVER_RANGE | MISSING),
        3 => Just(CALIBRATION),
        1 => Just(CALIBRATION | SENSOR_FAULT),
        1 => Just(ALARM),
        1 => Just(ALARM | CUT),
        1 => Just(SENSOR_FAULT | ALARM | CUT),
        1 => Just(STALE),
        1 => Just(STALE | ALARM)
    ];
    let source = prop_oneof![12 => Just(0), 2 => Just(SIMULATED), 3 => Just(HISTORICAL), 1 => Just(FUTURE)];
    let step = prop_oneof![4 => Just(1i64), 8 => Just(2), 4 => 3i64..6, 1 => Just(0), 2 => -6i64..0];
    let lag = prop_oneof![12 => Just(0i64), 2 => 1i64..8, 1 => Just(240), 1 => Just(241), 1 => 60i64..200];
    let rows = (step, lag, value, slope, (bits, source), 1usize..5, 1usize..4).prop_map(
        |(step, lag, value, slope, (bits, source), times, a_record)| Next::Rows {
            step,
            lag,
            value,
            slope,
            status: bits | source,
            times,
            a_record,
        },
    );
    prop_oneof![
        12 => rows,
        3 => (1i64..4, 1usize..6).prop_map(|(step, times)| Next::Ticks { step, times }),
        1 => prop_oneof![8 => 4i64..30, 2 => 110i64..130, 1 => Just(120)].prop_map(Next::Gap),
        2 => (1usize..12).prop_map(Next::Again),
        1 => Just(Next::Seen),
    ]
}

/// The records of a series; a first row is always there.
fn records(series: &[Next]) -> Vec<Record> {
    let t = |halves: i64| START + halves * HALF;
    let first = Row { time: t(0), value: 0.75, status: 0 };
    let mut out = vec![Record { appended: t(0), rows: vec![first], seen_before: false }];
    let (mut now, mut sent): (i64, Vec<Row>) = (0, vec![first]);
    for next in series {
        match *next {
            Next::Rows { step, lag, value, slope, status, times, a_record } => {
                let mut rows = Vec::new();
                for k in 0..times {
                    let event = if step < 0 { now + step } else { now + step * (k as i64 + 1) };
                    let event = if status & FUTURE != 0 { event + 1000 } else { event - lag };
                    let value = if status & MISSING != 0 { f64::NAN } else { value + slope * k as f64 };
                    rows.push(Row { time: t(event), value, status });
                }
                sent.extend(&rows);
                for (k, rows) in rows.chunks(a_record).enumerate() {
                    let last = (k * a_record + rows.len()) as i64;
                    out.push(Record {
                        appended: t(now + step.max(0) * last),
                        rows: rows.to_vec(),
                        seen_before: false,
                    });
                }
                now += step.max(0) * times as i64;
            }
            Next::Ticks { step, times } => {
                for _ in 0..times {
                    now += step;
                    out.push(Record { appended: t(now), rows: Vec::new(), seen_before: false });
                }
            }
            Next::Gap(long) => now += long,
            Next::Again(back) => {
                let row = sent[sent.len().saturating_sub(back)..].first().copied();
                let rows = row.into_iter().collect();
                out.push(Record { appended: t(now), rows, seen_before: false });
            }
            Next::Seen => out.push(Record { appended: t(now), rows: Vec::new(), seen_before: true }),
        }
    }
    out
}

fn series() -> impl Strategy<Value = Vec<Next>> {
    prop::collection::vec(next(), 1..14)
}

fn rule(kind: impl Strategy<Value = Kind>) -> impl Strategy<Value = Rule> {
    let delay = || prop_oneof![3 => Just(0i64), 4 => 1i64..9];
    (kind, delay(), delay()).prop_map(|(kind, on_delay, off_delay)| Rule { kind, on_delay, off_delay })
}

fn limits() -> impl Strategy<Value = Rule> {
    rule(prop_oneof![Just(0.8), Just(1.0)].prop_map(|off| Kind::Limit { off }))
}

fn statuses() -> impl Strategy<Value = Rule> {
    let words = prop_oneof![
        Just((vec!["sensor_fault"], vec![])),
        Just((vec!["calibration", "not_inspected"], vec![])),
        Just((vec![], vec!["alarm", "cut"])),
        Just((vec!["over_range"], vec!["sensor_fault", "alarm"])),
    ];
    rule(words.prop_map(|(any, all)| Kind::Status { any, all }))
}

fn silents() -> impl Strategy<Value = Rule> {
    rule((1i64..10).prop_map(|after| Kind::Silent { after }))
}

fn rates() -> impl Strategy<Value = Rule> {
    let window = prop_oneof![Just(6i64), Just(10), Just(16), Just(32)];
    let buckets = prop_oneof![Just(2i64), Just(3), Just(4), Just(16)];
    let shape = (window, buckets, 2usize..5, 0i64..6, 0i64..4, 2i64..8, any::<bool>(), any::<bool>());
    rule(shape.prop_map(
        |(window, buckets, min_readings, min_covered, blank, gap, least_squares, falling)| {
            Kind::Rate(Rate {
                window,
                buckets,
                min_readings,
                min_covered,
                blank,
                gap,
                least_squares,
                falling,
            })
        },
    ))
}

/// A table of up to six rows, without those that another one makes pointless; the level of the first one is looked at.
fn grades() -> impl Strategy<Value = Rule> {
    let on = prop::sample::select(&[80i64, 90, 100, 125][..]);
    let after = prop_oneof![2 => Just(0i64), 1 => Just(2), 1 => Just(4), 1 => Just(7)];
    let row = (on, after, 0usize..4, 0..PLACES.len()).prop_map(|(on, after, colour, place)| GradeRow {
        on,
        after,
        colour,
        place,
    });
    let shape = (prop::collection::vec(row, 1..7), any::<bool>(), prop_oneof![2 => Just(0i64), 1 => 1i64..9]);
    shape.prop_map(|(rows, has_dead_band, off_delay)| {
        let grade = Grade { rows: grade::of_use(&rows), dead_band: if has_dead_band { 20 } else { 0 } };
        Rule { on_delay: grade.rows[0].after, off_delay, kind: Kind::Grade(grade) }
    })
}

/// The code and the model decide the same: whole, with each row a record of its own, and restored before every entry.
fn agree(rule: &Rule, series: &[Next]) -> Result<(), TestCaseError> {
    let records = records(series);
    let events: Vec<Event> = records.iter().map(event).collect();
    let (program, problems) = program(&rule.text());
    prop_assert_eq!(problems.errors(), 0, "{}", problems);
    let new = || Evaluator::new(program.clone(), catalog());
    let whole = judge_by(new(), &events);
    for drill in [false, true] {
        prop_assert_eq!(
            decided(rule, &whole, drill),
            model(rule, &records, drill, Mistake::None),
            "drill: {}",
            drill
        );
    }
    let apart: Vec<Event> = records
        .iter()
        .flat_map(|r| match r.rows.len() {
            0 | 1 => vec![event(r)],
            _ => r.rows.iter().map(|row| event(&Record { rows: vec![*row], ..r.clone() })).collect(),
        })
        .collect();
    let apart = judge_by(new(), &apart);
    for drill in [false, true] {
        prop_assert_eq!(decided(rule, &apart, drill), decided(rule, &whole, drill));
    }
    let (mut e, mut out) = (new(), Vec::new());
    for (i, event) in events.iter().enumerate() {
        let shards: Vec<Vec<u8>> = (0..e.shards()).map(|s| e.snapshot(s)).collect();
        let (restored, next) = Evaluator::restore(program.clone(), catalog(), &shards).unwrap();
        prop_assert_eq!(next, i as u64);
        e = restored;
        apply(&mut e, i as u64, event, &mut out);
    }
    prop_assert_eq!(out, whole);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn limit_agrees_with_its_model(rule in limits(), series in series()) {
        agree(&rule, &series)?;
    }

    #[test]
    fn status_agrees_with_its_model(rule in statuses(), series in series()) {
        agree(&rule, &series)?;
    }

    #[test]
    fn silent_agrees_with_its_model(rule in silents(), series in series()) {
        agree(&rule, &series)?;
    }

    #[test]
    fn rate_agrees_with_its_model(rule in rates(), series in series()) {
        agree(&rule, &series)?;
    }

    #[test]
    fn grade_agrees_with_its_model(rule in grades(), series in series()) {
        agree(&rule, &series)?;
    }
}

/// Whether a mistake planted in the model shows within a few thousand series.
#[track_caller]
fn noticed(rules: impl Strategy<Value = Rule>, mistakes: &[Mistake]) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    for mistake in mistakes {
        let mut runner = TestRunner::deterministic();
        let differs = (0..10_000).any(|_| {
            let (rule, series) = (&rules, series()).new_tree(&mut runner).unwrap().current();
            let records = records(&series);
            [false, true].into_iter().any(|drill| {
                model(&rule, &records, drill, *mistake) != model(&rule, &records, drill, Mistake::None)
            })
        });
        assert!(differs, "{mistake:?} changes nothing");
    }
}

/// Mistakes that any kind whose readings raise could make.
const COMMON: [Mistake; 18] = [
    Mistake::OnDelayIsStrict,
    Mistake::OffDelayIsStrict,
    Mistake::BadClears,
    Mistake::MissingClears,
    Mistake::CalibrationClears,
    Mistake::OverRangeClears,
    Mistake::StaleClears,
    Mistake::OrderIsIgnored,
    Mistake::TimeIsStrict,
    Mistake::TimeDecidesNothing,
    Mistake::FourPeriodsAreFresh,
    Mistake::TwoMinutesAreLate,
    Mistake::LateIsLive,
    Mistake::FutureIsTaken,
    Mistake::JumpCounts,
    Mistake::SixtySecondsAreAJump,
    Mistake::SimulatedIsReal,
    Mistake::CalibrationIsNotShown,
];

/// What a ladder of limits can get wrong, by itself or as a table of grades.
const OF_A_LIMIT: [Mistake; 6] = [
    Mistake::OnIsStrict,
    Mistake::OffIsInclusive,
    Mistake::LowOverRangeIsHigh,
    Mistake::SentAgainRaises,
    Mistake::LateIgnoresDelay,
    Mistake::BornStaysCalibrating,
];

#[test]
fn every_mistake_planted_in_limit_is_noticed() {
    noticed(limits(), &COMMON);
    noticed(limits(), &OF_A_LIMIT);
}

#[test]
fn every_mistake_planted_in_status_is_noticed() {
    noticed(statuses(), &COMMON);
    noticed(statuses(), &[Mistake::SentAgainRaises, Mistake::LateIgnoresDelay]);
}

#[test]
fn every_mistake_planted_in_silent_is_noticed() {
    use Mistake::*;
    let of_time =
        [OnDelayIsStrict, OffDelayIsStrict, SilenceIsInclusive, BadIsSilent, OffDelaySurvivesSilence];
    noticed(silents(), &of_time);
    let of_readings = [
        BadClears,
        MissingClears,
        CalibrationClears,
        OverRangeClears,
        StaleClears,
        OrderIsIgnored,
        LateIsLive,
    ];
    noticed(silents(), &of_readings);
    noticed(
        silents(),
        &[FutureIsTaken, JumpCounts, SixtySecondsAreAJump, SimulatedIsReal, CalibrationIsNotShown],
    );
}

#[test]
fn every_mistake_planted_in_rate_is_noticed() {
    use Mistake::*;
    let of_rate = [
        OnIsStrict,
        OffIsInclusive,
        WindowIsLonger,
        BucketsAreOneLess,
        BlankIsLonger,
        GapIsInclusive,
        OneReadingLess,
        CoveredIsStrict,
    ];
    noticed(rates(), &of_rate);
    noticed(rates(), &[BadClears, CalibrationClears, OrderIsIgnored, LateIsLive, SimulatedIsReal]);
    noticed(rates(), &[OnDelayIsStrict, OffDelayIsStrict, TimeIsStrict, FourPeriodsAreFresh]);
}

#[test]
fn every_mistake_planted_in_grade_is_noticed() {
    use Mistake::*;
    noticed(grades(), &COMMON);
    noticed(grades(), &OF_A_LIMIT);
    let of_a_table =
        [OtherPlacesCount, OtherColoursCount, OtherTimesCount, NarrowestRowCounts, DeadBandIsForgotten];
    noticed(grades(), &of_a_table);
}
