//! `out_of_range` against a model.

use crate::agree::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

fn rules(margin: i64) -> String {
    format!(
        "[[rule]]\nname = \"m\"\nkind = \"out_of_range\"\nselect = {{ point = \"T1\" }}\nmargin = {}\n",
        margin as f64 / 100.0
    )
}

/// How a value stands beyond the high end of 0 to 4; the low one is its mirror.
fn say(row: &Row, margin: i64, high: bool) -> Say {
    let beyond = if high { row.value - 400 } else { -row.value };
    if has(row, BAD) {
        return Say::Hold;
    }
    if has(row, OVER_RANGE) {
        return if high == (row.value > 0) { Say::Over } else { Say::Hold };
    }
    match beyond {
        _ if has(row, MISSING) => Say::Hold,
        b if b > margin => Say::Over,
        _ if !may_clear(row) => Say::Hold,
        b if b <= 0 => Say::Below,
        _ => Say::Band,
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(
        // 4.15 - 4 is 0.15, whatever its float says.
        margin in prop::sample::select(&[0i64, 10, 15][..]),
        rows in series(&[-16, -15, -10, -1, 0, 1, 200, 400, 401, 410, 415, 416]),
        cuts in cuts()
    ) {
        let high = changes(&rows, |row| say(row, margin, true));
        let low = changes(&rows, |row| say(row, margin, false));
        agree(&rules(margin), &rows, &cuts, &[("high", high), ("low", low)])?;
    }
}

#[track_caller]
fn check(events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(&rules(10), events)), expected);
}

#[test]
fn ends_are_inside_and_a_margin_holds_what_is_on() {
    check(&[at(0., 4.1, 0), at(1., 4.11, 0), at(2., 4.05, 0), at(3., 4., 0)], &["high on 1", "high off 3"]);
    check(&[at(0., -0.1, 0), at(1., -0.11, 0), at(2., -0.05, 0), at(3., 0., 0)], &["low on 1", "low off 3"]);
    // What is no number is stored as missing.
    check(&[at(0., f64::INFINITY, 0), at(1., f64::NEG_INFINITY, 0)], &[]);
}

#[test]
fn the_bit_raises_without_a_value_and_nothing_bad_clears() {
    check(&[at(0., f64::NAN, OVER_RANGE | MISSING)], &["high on 0"]);
    check(
        &[at(0., -1., OVER_RANGE), at(1., 1., SENSOR_FAULT), at(2., 1., MISSING), at(3., 1., 0)],
        &["low on 0", "low off 3"],
    );
    check(&[at(0., 5., SENSOR_FAULT), at(1., f64::NAN, 0), at(2., 5., SENSOR_FAULT | OVER_RANGE)], &[]);
    check(&[at(0., 5., CALIBRATION)], &["high on 0 calibrating"]);
    check(&[at(0., 5., SIMULATED), at(1., 1., 0)], &["high on 0 simulated"]);
}
