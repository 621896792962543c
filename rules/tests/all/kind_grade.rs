//! `grade` against a look-up in its table, at every reading and every tick, up and down, however the readings are cut. Its levels under
//! every other condition are held against the model of levels in `models`; single cases stand in `kind_grade_cases`.

use crate::agree::*;
use crate::kind_grade_cases::{Shown, rule};
use crate::stand::*;
use model::Severity;
use model::status::*;
use model::time::SECOND;
use proptest::prelude::*;

/// A row of a table: hundredths, seconds, 0 the worst colour, whether it is for the place of the point.
type Line = (i64, i64, usize, bool);

/// The rows of a table that no other one makes pointless.
fn table() -> impl Strategy<Value = Vec<Line>> {
    let line = (prop::sample::select(&[80i64, 100, 150][..]), 0i64..8, 0usize..4, prop::bool::weighted(0.8));
    prop::collection::vec(line, 1..7).prop_map(|lines| {
        let wider = |a: &Line, b: &Line| a.0 <= b.0 && a.1 <= b.1 && a.2 <= b.2 && a.3 == b.3;
        let mut kept: Vec<Line> = Vec::new();
        for (i, line) in lines.iter().enumerate() {
            if !lines.iter().any(|l| l != line && wider(l, line)) && !lines[..i].contains(line) {
                kept.push(*line);
            }
        }
        kept
    })
}

/// The table as a rule; one that falls is its mirror, 0 to 4 turned over.
fn text(table: &[Line], falls: bool) -> String {
    let row = |(on, after, colour, here): &Line| {
        let (op, on) = if falls { ("<=", 400 - on) } else { (">=", *on) };
        let place = if *here { "T1" } else { "T2" };
        format!(
            "{{ on = \"{op} {}\", after = \"{after}s\", place = \"{place}\", severity = \"{}\" }},\n",
            on as f64 / 100.0,
            Severity::ALL[*colour]
        )
    };
    rule(&format!("row = [\n{}]", table.iter().map(row).collect::<String>()))
}

/// What may be wrong with the look-up: each must be noticed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Wrong {
    Nothing,
    ValueIsStrict,
    DurationIsStrict,
    PlaceIsIgnored,
    MildestIsShown,
    AFallBeginsAnew,
}

/// The colour at a second by looking it up: of each row, how long have all readings been at its value or above?
fn colour(table: &[Line], readings: &[(i64, i64)], now: i64, wrong: Wrong) -> Option<Severity> {
    let holds = |(on, after, _, here): &&Line| {
        let last = readings.last().map_or(0, |r| r.1);
        let is_over = |value: i64| match wrong {
            Wrong::ValueIsStrict => value > *on,
            Wrong::AFallBeginsAnew => value >= *on && value <= last,
            _ => value >= *on,
        };
        let over = readings.iter().rev().take_while(|(_, value)| is_over(*value)).last();
        let served =
            |since: i64| now - since > *after || (now - since == *after && wrong != Wrong::DurationIsStrict);
        (*here || wrong == Wrong::PlaceIsIgnored) && over.is_some_and(|(since, _)| served(*since))
    };
    let mut colours: Vec<Severity> = table.iter().filter(holds).map(|l| Severity::ALL[l.2]).collect();
    colours.sort_unstable();
    if wrong == Wrong::MildestIsShown { colours.pop() } else { colours.first().copied() }
}

/// Steps of one to three seconds, so that the last reading is always fresh, and values about the limits.
fn readings() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let value = prop::sample::select(&[79i64, 80, 99, 100, 149, 150][..]);
    let part = (prop_oneof![5 => Just(1i64), 1 => Just(2), 1 => Just(3)], value, 1usize..6);
    prop::collection::vec(part, 1..9).prop_map(|parts| {
        let mut time = 0;
        let each = parts.iter().flat_map(|(step, value, times)| vec![(*step, *value); *times]);
        let at = |(step, value)| {
            time += step;
            (time, value)
        };
        each.map(at).collect()
    })
}

fn row_of((time, value): &(i64, i64), falls: bool) -> (&'static str, i64, f64, i32) {
    let value = if falls { 400 - value } else { *value };
    ("T1", START + time * SECOND, value as f64 / 100.0, 0)
}

proptest! {
    #![proptest_config(many())]

    /// At every reading and every tick the colour is that of the table.
    #[test]
    fn the_colour_is_that_of_the_table(table in table(), readings in readings(), falls in any::<bool>()) {
        let mut e = evaluator(&text(&table, falls));
        let (mut shown, mut number) = (Shown::default(), 0..);
        let mut apply = |event: &Event| {
            let mut out = Vec::new();
            apply(&mut e, number.next().unwrap(), event, &mut out);
            shown.take(&out)
        };
        for (i, reading) in readings.iter().enumerate() {
            let now = START + reading.0 * SECOND;
            let is = apply(&Event::Rows(now, 0, vec![row_of(reading, falls)]));
            prop_assert_eq!(is, colour(&table, &readings[..=i], reading.0, Wrong::Nothing), "at second {}", reading.0);
            for second in reading.0 + 1..readings.get(i + 1).map_or(reading.0 + 4, |next| next.0) {
                let is = apply(&tick(second as f64));
                prop_assert_eq!(is, colour(&table, &readings[..=i], second, Wrong::Nothing), "tick at second {}", second);
            }
        }
    }

    /// Cut into records in any way, and restored from its snapshot before any of them, it decides the same.
    #[test]
    fn cuts_and_restarts_change_nothing(table in table(), readings in readings(), (cuts, restored) in cuts()) {
        let rules = (program(&text(&table, false)).0, catalog());
        let (mut joined, mut apart, mut rest) = (Vec::new(), Vec::new(), &readings[..]);
        for cut in cuts.iter().cycle() {
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            let Some((last, _)) = head.last() else { break };
            let record = |rows| Event::Rows(START + last * SECOND, 0, rows);
            joined.push(record(head.iter().map(|r| row_of(r, false)).collect()));
            apart.extend(head.iter().map(|r| record(vec![row_of(r, false)])));
            rest = tail;
        }
        let apart = decided(&judged(&rules, &apart, &[]));
        prop_assert_eq!(&decided(&judged(&rules, &joined, &restored)), &apart);
    }
}

#[test]
fn every_mistake_planted_in_the_table_is_noticed() {
    use Wrong::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    for wrong in [ValueIsStrict, DurationIsStrict, PlaceIsIgnored, MildestIsShown, AFallBeginsAnew] {
        let mut runner = TestRunner::deterministic();
        let differs = (0..1_000).any(|_| {
            let (table, readings) = (table(), readings()).new_tree(&mut runner).unwrap().current();
            (0..readings.len()).any(|i| {
                let at = |wrong| colour(&table, &readings[..=i], readings[i].0, wrong);
                at(wrong) != at(Nothing)
            })
        });
        assert!(differs, "{wrong:?} changes nothing");
    }
}

/// The same readings in every way to cut them, with what else may be in them; the clock stands where they were measured.
#[test]
fn every_cut_of_one_series_decides_the_same() {
    let rules = rule(
        "off_delay = \"2s\"\nrow = [\n\
         { on = \">= 1.0\", severity = \"blue\" },\n{ on = \">= 1.0\", after = \"3s\", severity = \"yellow\" },\n\
         { on = \">= 1.5\", severity = \"yellow\" },\n{ on = \">= 1.5\", after = \"2s\", severity = \"red\" }]",
    );
    let rows: [(f64, i32); 12] = [
        (1.0, 0),
        (1.0, SENSOR_FAULT),
        (1.6, 0),
        (1.6, CALIBRATION),
        (1.6, 0),
        (1.0, 0),
        (0.2, MISSING),
        (0.9, 0),
        (1.5, OVER_RANGE),
        (0.9, 0),
        (0.9, STALE),
        (0.9, 0),
    ];
    let row = |i: usize| ("T1", START + i as i64 * SECOND, rows[i].0, rows[i].1);
    // All come when the last of them was measured.
    let appended = START + 11 * SECOND;
    let record = |rows| Event::Rows(appended, 0, rows);
    let apart = judge(&rules, &(0..12).map(|i| record(vec![row(i)])).collect::<Vec<_>>());
    let expected = [
        "blue on 0",
        "yellow on 2",
        "blue on 3 calibrating",
        "yellow-2 on 3 calibrating",
        "yellow on 3 calibrating",
        "blue on 4",
        "yellow-2 on 4",
        "yellow on 4",
        "red on 4",
        "yellow off 7",
        "red off 7",
        "yellow on 8",
        "blue off 11",
        "yellow-2 off 11",
        "yellow off 11",
    ];
    assert_eq!(shown(&apart), expected);
    for cuts in 0..1u32 << 11 {
        let (mut events, mut begun) = (Vec::new(), Vec::new());
        for i in 0..12 {
            begun.push(row(i));
            if i == 11 || cuts & (1 << i) != 0 {
                events.push(record(std::mem::take(&mut begun)));
            }
        }
        assert_eq!(decided(&judge(&rules, &events)), decided(&apart), "{cuts:b}");
    }
}
