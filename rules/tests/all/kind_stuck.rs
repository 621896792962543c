//! `stuck` against a model: the plateau is found by walking the whole series each time.

use crate::agree::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Setting {
    after: i64,
    band: i64,
    floor: Option<i64>,
    gap: i64,
}

fn rules(s: &Setting) -> String {
    let floor = s.floor.map_or(String::new(), |f| format!("floor = {}\n", f as f64 / 100.0));
    format!(
        "[[rule]]\nname = \"m\"\nkind = \"stuck\"\nselect = {{ point = \"T1\" }}\ndead_band = {}\ngap = \"{}s\"\n{floor}\
         level = [{{ name = \"short\", after = \"{}s\" }}, {{ name = \"long\", after = \"{}s\" }}]\n",
        s.band as f64 / 100.0,
        s.gap,
        s.after,
        2 * s.after
    )
}

fn say(s: &Setting, good: &[Row], after: i64) -> Say {
    let flat_is_normal = |r: &Row| s.floor.is_some_and(|f| r.value < f);
    if good.last().is_some_and(flat_is_normal) {
        return Say::Below;
    }
    // The plateau begins with the last reading that left the one before it.
    let mut from = 0;
    for k in 1..good.len() {
        let left = (good[k].value - good[from].value).abs() > s.band;
        if left || flat_is_normal(&good[from]) || flat_is_normal(&good[k]) {
            from = k;
        }
    }
    let steps = good[from..].windows(2).map(|w| w[1].time - w[0].time);
    let flat: i64 = steps.filter(|step| *step <= s.gap).sum();
    match flat >= after {
        true => Say::Over,
        false if from > 0 => Say::Below,
        false => Say::Hold,
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    let floor = prop_oneof![Just(None), Just(Some(20))];
    (1i64..8, prop_oneof![Just(0i64), Just(1), Just(3)], floor, 1i64..5)
        .prop_map(|(after, band, floor, gap)| Setting { after, band, floor, gap })
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(s in setting(), rows in series(&[10, 19, 20, 30, 31, 33, 34]), cuts in cuts()) {
        let changes = |after| changes_of_good(&rows, |good| say(&s, good, after));
        let expected = [("short", changes(s.after)), ("long", changes(2 * s.after))];
        agree(&rules(&s), &rows, &cuts, &expected)?;
    }
}

const FLAT: &str = "[[rule]]\nname = \"s\"\nkind = \"stuck\"\nselect = { point = \"T1\" }\ndead_band = 0.01\nfloor = 0.05\nafter = \"5s\"\n";

#[track_caller]
fn check(events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(FLAT, events)), expected);
}

#[test]
fn a_plateau_within_the_dead_band_is_stuck_until_it_moves() {
    // 0.30 and 0.31 differ by the dead band, whatever their floats say.
    let flat: Vec<Event> = (0..7).map(|s| at(f64::from(s), 0.30 + 0.01 * f64::from(s % 2), 0)).collect();
    check(&flat, &["stuck on 5"]);
    check(&[&flat[..], &[at(7., 0.32, 0)]].concat(), &["stuck on 5", "stuck off 7"]);
}

#[test]
fn below_the_floor_a_sensor_may_be_flat() {
    check(&(0..20).map(|s| at(f64::from(s), 0.049, 0)).collect::<Vec<_>>(), &[]);
    check(&(0..6).map(|s| at(f64::from(s), 0.05, 0)).collect::<Vec<_>>(), &["stuck on 5"]);
}

#[test]
fn what_no_neighbours_cover_counts_for_nothing_and_ends_nothing() {
    // Three periods are neighbours, more are a gap.
    check(&[at(0., 0.5, 0), at(3., 0.5, 0), at(5., 0.5, 0)], &["stuck on 5"]);
    check(&[at(0., 0.5, 0), at(4., 0.5, 0), at(8., 0.5, 0), at(12., 0.5, 0)], &[]);
    let bad: Vec<Event> = (1..9).map(|s| at(f64::from(s), 0.9, SENSOR_FAULT)).collect();
    let after_bad: Vec<Event> = (9..15).map(|s| at(f64::from(s), 0.5, 0)).collect();
    check(&[&[at(0., 0.5, 0)], &bad[..], &after_bad[..]].concat(), &["stuck on 14"]);
    // On, then a gap, then the same value: it is as stuck as before.
    let on: Vec<Event> = (0..6).map(|s| at(f64::from(s), 0.5, 0)).collect();
    check(&[&on[..], &[at(60., 0.5, 0)]].concat(), &["stuck on 5"]);
    check(&[&on[..], &[at(60., 0.7, 0)]].concat(), &["stuck on 5", "stuck off 60"]);
}

#[test]
fn a_longer_time_counts_from_the_next_reading() {
    let flat = |from: i32, to: i32| -> Vec<Event> { (from..to).map(|s| at(f64::from(s), 0.5, 0)).collect() };
    let longer = FLAT.replace("5s", "50s");
    // It is not known to have moved within the longer time.
    let out = judge_changed(FLAT, &flat(0, 6), 6., &longer, &flat(7, 9));
    assert_eq!(shown(&out), ["stuck on 5"]);
    // It is known to have moved.
    let out = judge_changed(FLAT, &[&[at(0., 0.7, 0)], &flat(1, 7)[..]].concat(), 7., &longer, &flat(8, 10));
    assert_eq!(shown(&out), ["stuck on 6", "stuck off 8"]);
    // Another dead band: the plateau goes on from its first value.
    let out = judge_changed(FLAT, &flat(0, 3), 3., &FLAT.replace("0.01", "0.1"), &flat(4, 6));
    assert_eq!(shown(&out), ["stuck on 5"]);
    let out = judge_changed(FLAT, &flat(0, 6), 6., &FLAT.replace("T1", "T2"), &[]);
    assert_eq!(shown(&out), ["stuck on 5", "stuck withdrawn 6"]);
}

#[test]
fn an_off_delay_is_served_across_a_restart() {
    let rules = FLAT.replace("after", "off_delay = \"3s\"\nafter");
    let flat = (0..6).map(|s| at(f64::from(s), 0.5, 0));
    let moved = (6..10).map(|s| at(f64::from(s), 0.7, 0));
    let out = judge_restored(&rules, &flat.chain(moved).collect::<Vec<_>>());
    assert_eq!(shown(&out), ["stuck on 5", "stuck off 9"]);
}

#[test]
fn a_drill_counts_for_itself_and_old_readings_for_nothing() {
    let on: Vec<Event> = (0..6).map(|s| at(f64::from(s), 0.5, 0)).collect();
    let drill: Vec<Event> = (0..6).map(|s| at(f64::from(s), 0.5, SIMULATED)).collect();
    check(&[&on[..2], &drill[..3]].concat(), &[]);
    check(&drill, &["stuck on 5 simulated"]);
    let old = |event: f64, status| {
        let t = |s: f64| START + (s * 1e6) as i64;
        Event::Rows(t(4.5), 0, vec![("T1", t(event), 0.9, status)])
    };
    check(
        &[&on[..5], &[old(1.5, 0), old(4., 0), old(-900., HISTORICAL)], &on[5..]].concat(),
        &["stuck on 5"],
    );
}
