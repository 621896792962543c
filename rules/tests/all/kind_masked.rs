//! `masked` against a model.

use crate::agree::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

fn rules(within: i64, bits: &str) -> String {
    format!(
        "[[rule]]\nname = \"m\"\nkind = \"masked\"\nselect = {{ point = \"T1\" }}\nover = \">= 1.0\"\nwithin = \"{within}s\"\nbits = \"{bits}\"\n"
    )
}

fn say(rows: &[Row], newer: &[bool], i: usize, within: i64, bits: i32) -> Say {
    if !newer[i] {
        return Say::Hold;
    }
    let live: Vec<&Row> = (0..=i).filter(|j| newer[*j]).map(|j| &rows[j]).collect();
    let normal = |r: &Row| !has(r, bits) && may_clear(r);
    let over_range = |r: &Row| !has(r, bits | BAD) && has(r, OVER_RANGE) && r.value > 0;
    let now = live.len() - 1;
    if normal(live[now]) {
        return Say::Below;
    }
    if !has(live[now], bits) {
        return Say::Hold;
    }
    // The first with the bit since the last normal reading.
    let from = live.iter().rposition(|r| normal(r)).map_or(0, |p| p + 1);
    let begun = live[from..].iter().position(|r| has(r, bits)).unwrap() + from;
    let judged: Vec<(i64, bool)> = live[..begun]
        .iter()
        .filter(|r| normal(r) || over_range(r))
        .map(|r| (r.time, over_range(r) || r.value >= 100))
        .collect();
    let went_over = (0..judged.len()).rev().find(|k| judged[*k].1 && (*k == 0 || !judged[*k - 1].1));
    match went_over {
        Some(k) if live[begun].time - judged[k].0 <= within => Say::Over,
        _ => Say::Hold,
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(
        within in 1i64..9,
        (word, bits) in prop::sample::select(&[("both", CALIBRATION | PAUSED), ("calibration", CALIBRATION), ("paused", PAUSED)][..]),
        rows in series(&[0, 50, 99, 100, 120]),
        cuts in cuts()
    ) {
        let newer = newer(&rows);
        let expected = [("masked", changes_at(&rows, |i| say(&rows, &newer, i, within, bits)))];
        agree(&rules(within, word), &rows, &cuts, &expected)?;
    }
}

#[track_caller]
fn check(events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(&rules(120, "both"), events)), expected);
    assert_eq!(shown(&judge_restored(&rules(120, "both"), events)), expected);
}

/// The bit for a reason of its own; set within 2 min after the value went over; later.
#[test]
fn the_bit_within_two_minutes_after_the_value_went_over_is_told() {
    for bit in [CALIBRATION, PAUSED] {
        check(&[at(0., 0.3, 0), at(1., 0.3, bit)], &[]);
        check(
            &[at(0., 0.3, 0), at(1., 1.0, 0), at(121., 0.3, bit), at(130., 0.3, 0)],
            &["masked on 121", "masked off 130"],
        );
        check(&[at(0., 0.3, 0), at(1., 1.0, 0), at(121.1, 0.3, bit)], &[]);
        // It went over once: that it still is begins nothing anew. Below and over again does.
        check(&[at(0., 1.0, 0), at(100., 1.1, 0), at(130., 1.1, bit)], &[]);
        check(&[at(0., 1.0, 0), at(99., 0.9, 0), at(100., 1.1, 0), at(130., 1.1, bit)], &["masked on 130"]);
        check(&[at(0., 1.0, 0), at(99., 0.9, 0), at(100., 0.3, bit)], &["masked on 100"]);
    }
    // No reading under the bit says that the value went over, and nothing bad ends what is on.
    check(&[at(0., 0.3, 0), at(1., 1.5, CALIBRATION), at(2., 1.5, CALIBRATION)], &[]);
    check(
        &[
            at(0., 1.0, 0),
            at(1., 1.5, CALIBRATION),
            at(2., 0.1, SENSOR_FAULT),
            at(3., 1.5, CALIBRATION),
            at(4., 0.1, 0),
        ],
        &["masked on 1", "masked off 4"],
    );
    check(&[at(0., 0.1, OVER_RANGE), at(1., 0.1, PAUSED)], &["masked on 1"]);
    check(&[at(0., 1.0, SIMULATED), at(1., 1.0, PAUSED)], &[]);
    let late = Event::Rows(START + 900_000_000, 0, vec![("T1", START, 1.0, 0)]);
    check(&[late, at(901., 1.0, PAUSED)], &[]);
}

/// It is told, since the bit is what it is about; the rule may be changed while it is on.
#[test]
fn what_it_finds_is_told_and_survives_a_change() {
    let before = [at(0., 1.0, 0), at(1., 1.0, CALIBRATION)];
    let after = [at(3., 1.0, CALIBRATION), at(4., 0.2, 0)];
    let out =
        judge_changed(&rules(120, "both"), &before, 2., &rules(1, "both").replace("1.0", "1.2"), &after);
    assert_eq!(shown(&out), ["masked on 1", "masked off 4"]);
}
