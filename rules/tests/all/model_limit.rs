//! The limit ladder against a model that is simpler than the code: a straight function over the whole series of one point, without
//! incremental state; and the same series cut into other records, and restored from a snapshot at every entry.

use crate::stand::*;
use model::status::*;
use model::time::SECOND;
use model::{Micros, Transition};
use proptest::prelude::*;
use rules::Evaluator;

#[derive(Clone, Copy, Debug)]
struct Level {
    on: f64,
    off: f64,
    on_delay: i64,
    off_delay: i64,
}

fn rules(level: Level) -> String {
    format!(
        "[[rule]]\nname = \"m\"\nkind = \"limit\"\nselect = {{ point = \"T1\" }}\nlevel = [{{ name = \"a\", on = \">= {}\", off = \"< {}\", \
         on_delay = \"{}s\", off_delay = \"{}s\" }}]\n",
        level.on, level.off, level.on_delay, level.off_delay
    )
}

/// What a planted mistake changes in the model: each must be noticed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mistake {
    None,
    OnIsStrict,
    OffIsInclusive,
    OnDelayIsStrict,
    OffDelayIsStrict,
    BadClears,
    OrderIsIgnored,
    TimeIsStrict,
    TimeDecidesNothing,
    FourPeriodsAreFresh,
    SentAgainRaises,
}

/// (seconds, value, status) in the order they came; appended when measured, or later. Gives (seconds, on) of each change.
fn model(level: Level, series: &[(i64, f64, i32)], mistake: Mistake) -> Vec<(i64, bool)> {
    use Mistake::*;
    let newest_before = |i: usize| series[..i].iter().map(|r| r.0).max().unwrap_or(i64::MIN);
    let newer = |i: usize| series[i].0 > newest_before(i) || mistake == OrderIsIgnored;
    let good = |i: usize| series[i].2 == 0 || (mistake == BadClears && series[i].2 & BAD != 0);
    let over = |i: usize| {
        let (_, v, s) = series[i];
        s & BAD == 0 && s & MISSING == 0 && if mistake == OnIsStrict { v > level.on } else { v >= level.on }
    };
    let below = |i: usize| {
        let v = series[i].1;
        good(i) && if mistake == OffIsInclusive { v <= level.off } else { v < level.off }
    };
    let long =
        |is: i64, delay: i64, strict: bool| if strict { is > delay || delay == 0 } else { is >= delay };
    let mut out: Vec<(i64, bool)> = Vec::new();
    let mut since = 0; // the first index that belongs to the present state
    for i in 0..series.len() {
        // Time passed before it came: an on-delay may have run out at the clock that everything before stands for.
        let appended = |i: usize| series[..=i].iter().map(|r| r.0).max().unwrap_or_default();
        if i > 0
            && !out.last().is_some_and(|c| c.1)
            && appended(i) > appended(i - 1)
            && mistake != TimeDecidesNothing
        {
            let from = (since..i).rev().find(|j| newer(*j) && good(*j) && !over(*j)).map_or(since, |j| j + 1);
            let stay: Vec<usize> = (from..i).filter(|j| newer(*j) && over(*j)).collect();
            if let (Some(first), Some(last)) = (stay.first(), stay.last()) {
                let age = appended(i - 1) - appended(*last);
                let held = series[*last].0 - series[*first].0 + age;
                let fresh = age <= if mistake == FourPeriodsAreFresh { 4 } else { 3 };
                if fresh && level.on_delay > 0 && long(held, level.on_delay, mistake == TimeIsStrict) {
                    out.push((appended(i - 1), true));
                    since = i;
                }
            }
        }
        let on = out.last().is_some_and(|c| c.1);
        // The stay that ends at i: back to the first reading that interrupts it, skipping what says nothing.
        let stay = |is: &dyn Fn(usize) -> bool, interrupts: &dyn Fn(usize) -> bool| {
            let from = (since..i).rev().find(|j| newer(*j) && interrupts(*j)).map_or(since, |j| j + 1);
            (from..=i).find(|j| newer(*j) && is(*j)).map(|j| series[i].0 - series[j].0)
        };
        let change = if on {
            newer(i)
                && below(i)
                && stay(&below, &|j| (good(j) || over(j)) && !below(j))
                    .is_some_and(|t| long(t, level.off_delay, mistake == OffDelayIsStrict))
        } else if newer(i) {
            over(i)
                && stay(&over, &|j| good(j) && !over(j))
                    .is_some_and(|t| long(t, level.on_delay, mistake == OnDelayIsStrict))
        } else {
            let time = series[i].0;
            let known = out.chunks_exact(2).any(|episode| (episode[0].0..=episode[1].0).contains(&time));
            over(i) && level.on_delay == 0 && (!known || mistake == SentAgainRaises)
        };
        if change {
            out.push((series[i].0, !on));
            since = i + 1;
        }
    }
    out
}

fn series() -> impl Strategy<Value = Vec<(i64, f64, i32)>> {
    let value = prop_oneof![Just(0.7), Just(0.8), Just(0.9), Just(0.99), Just(1.0), Just(1.2)];
    let status =
        prop_oneof![8 => Just(0), 1 => Just(SENSOR_FAULT), 1 => Just(NOT_INSPECTED), 1 => Just(MISSING)];
    // Steps forward mostly; sometimes the same time again, or back.
    let step = prop_oneof![8 => 1i64..4, 1 => Just(0), 1 => -4i64..0];
    prop::collection::vec((step, value, status, 1usize..4), 1..40).prop_map(|steps| {
        let mut t = 50;
        let mut out = Vec::new();
        for (step, value, status, times) in steps {
            for _ in 0..times {
                t += step;
                out.push((t, value, status));
            }
        }
        out
    })
}

fn level() -> impl Strategy<Value = Level> {
    (prop_oneof![Just(0.8), Just(1.0)], 0i64..5, 0i64..5).prop_map(|(off, on_delay, off_delay)| Level {
        on: 1.0,
        off,
        on_delay,
        off_delay,
    })
}

fn events(series: &[(i64, f64, i32)]) -> Vec<Event> {
    // Append times never go back; event times do.
    let mut appended = START;
    let event = |(t, value, status): &(i64, f64, i32)| {
        let time = START + t * SECOND;
        appended = appended.max(time);
        Event::Rows(
            appended,
            0,
            vec![("T1", time, if status & MISSING != 0 { f64::NAN } else { *value }, *status)],
        )
    };
    series.iter().map(event).collect()
}

fn seconds(out: &[Transition]) -> Vec<(i64, bool)> {
    out.iter().map(|t| ((t.time - START) / SECOND, t.to == model::To::On)).collect()
}

fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_model_agrees(level in level(), series in series()) {
        prop_assert_eq!(seconds(&judge(&rules(level), &events(&series))), model(level, &series, Mistake::None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn cuts_and_restarts_change_nothing(level in level(), series in series(), cuts in prop::collection::vec(1usize..6, 1..40)) {
        let single = events(&series);
        let text = rules(level);
        let whole = judge(&text, &single);
        // Restored from its snapshot before every entry.
        let (program, _) = program(&text);
        let (mut e, mut out) = (evaluator(&text), Vec::new());
        for (i, event) in single.iter().enumerate() {
            let shards: Vec<Vec<u8>> = (0..e.shards()).map(|s| e.snapshot(s)).collect();
            let (restored, next) = Evaluator::restore(program.clone(), catalog(), &shards).unwrap();
            prop_assert_eq!(next, i as u64);
            e = restored;
            apply(&mut e, i as u64, event, &mut out);
        }
        prop_assert_eq!(&out, &whole);
        // Several readings a record, or each its own with the same append time: the same decisions at the same times; ids name the record.
        let (mut joined, mut apart, mut rest) = (Vec::new(), Vec::new(), single.as_slice());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            let mut rows = Vec::new();
            let mut appended: Micros = 0;
            for event in head {
                if let Event::Rows(at, _, more) = event { appended = *at; rows.extend(more.iter().copied()); }
            }
            apart.extend(rows.iter().map(|row| Event::Rows(appended, 0, vec![*row])));
            joined.push(Event::Rows(appended, 0, rows));
            rest = tail;
        }
        prop_assert_eq!(seconds(&judge(&text, &joined)), seconds(&judge(&text, &apart)));
    }
}

#[test]
fn every_planted_mistake_is_noticed() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    for mistake in [
        Mistake::OnIsStrict,
        Mistake::OffIsInclusive,
        Mistake::OnDelayIsStrict,
        Mistake::OffDelayIsStrict,
        Mistake::BadClears,
        Mistake::OrderIsIgnored,
        Mistake::TimeIsStrict,
        Mistake::TimeDecidesNothing,
        Mistake::FourPeriodsAreFresh,
        Mistake::SentAgainRaises,
    ] {
        let mut runner = TestRunner::deterministic();
        let differs = (0..2000).any(|_| {
            let (level, series) = (level(), series()).new_tree(&mut runner).unwrap().current();
            seconds(&judge(&rules(level), &events(&series))) != model(level, &series, mistake)
        });
        assert!(differs, "{mistake:?} agrees with the code");
    }
}
