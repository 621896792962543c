//! `spike` against a model: three good readings in a row of the whole series.

use crate::agree::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

fn rules(side: &str, on: i64, gap: i64) -> String {
    format!(
        "[[rule]]\nname = \"m\"\nkind = \"spike\"\nselect = {{ point = \"T1\" }}\nside = \"{side}\"\ngap = \"{gap}s\"\n\
         level = [{{ name = \"small\", on = \">= {}\" }}, {{ name = \"strict\", on = \"> {}\" }}]\n",
        on as f64 / 100.0,
        on as f64 / 100.0
    )
}

fn say(side: &str, gap: i64, good: &[Row], over: impl Fn(i64) -> bool) -> Say {
    let [.., a, b, c] = good else { return Say::Hold };
    if b.time - a.time > gap || c.time - b.time > gap {
        return Say::Hold;
    }
    let (left, right) = (b.value - a.value, b.value - c.value);
    let up = side != "down" && left > 0 && right > 0 && over(left) && over(right);
    let down = side != "up" && left < 0 && right < 0 && over(-left) && over(-right);
    if up || down { Say::Over } else { Say::Below }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(
        side in prop::sample::select(&["up", "down", "both"][..]),
        on in prop::sample::select(&[10i64, 40][..]),
        gap in 1i64..5,
        rows in series(&[20, 30, 60, 70, 110]),
        cuts in cuts()
    ) {
        let small = changes_of_good(&rows, |good| say(side, gap, good, |d| d >= on));
        let strict = changes_of_good(&rows, |good| say(side, gap, good, |d| d > on));
        agree(&rules(side, on, gap), &rows, &cuts, &[("small", small), ("strict", strict)])?;
    }
}

const SPIKE: &str =
    "[[rule]]\nname = \"s\"\nkind = \"spike\"\nselect = { point = \"T1\" }\non = \">= 0.1\"\n";

#[track_caller]
fn check(events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(SPIKE, events)), expected);
}

#[test]
fn one_reading_far_from_both_neighbours_is_known_at_the_next() {
    // 0.3 - 0.2 is 0.1, whatever its float says.
    let spike = [at(0., 0.2, 0), at(1., 0.3, 0), at(2., 0.2, 0), at(3., 0.2, 0)];
    check(&spike, &["spike on 2", "spike off 3"]);
    let out = judge(SPIKE, &[at(0., 0.2, 0), at(1., 1.0, 0), at(2., 0.3, 0)]);
    assert_eq!(out[0].value, Some(0.7), "{}", out[0].reason);
    // A step is no spike, and the first reading ever has no neighbour.
    check(&[at(0., 0.2, 0), at(1., 0.9, 0), at(2., 0.9, 0), at(3., 0.9, 0)], &[]);
    check(&[at(0., 0.9, 0), at(1., 0.2, 0), at(2., 0.2, 0)], &[]);
}

#[test]
fn only_neighbours_make_a_spike_and_a_gap_ends_none() {
    check(&[at(0., 0.2, 0), at(3., 0.9, 0), at(6., 0.2, 0)], &["spike on 6"]);
    check(&[at(0., 0.2, 0), at(4., 0.9, 0), at(6., 0.2, 0)], &[]);
    check(&[at(0., 0.2, 0), at(2., 0.9, 0), at(6., 0.2, 0)], &[]);
    check(
        &[at(0., 0.2, 0), at(1., 0.9, 0), at(2., 0.2, 0), at(9., 0.2, 0), at(10., 0.2, 0), at(11., 0.2, 0)],
        &["spike on 2", "spike off 11"],
    );
    // What is not good is no neighbour.
    for status in [SENSOR_FAULT, CALIBRATION, OVER_RANGE, MISSING] {
        check(&[at(0., 0.2, 0), at(1., 0.9, status), at(2., 0.2, 0)], &[]);
        check(&[at(0., 0.2, 0), at(1., 0.9, 0), at(2., 0.1, status), at(3., 0.2, 0)], &["spike on 3"]);
    }
}
