//! Exact cases: each is a line of what counts when, as text.

use crate::stand::*;
use model::status::*;
use model::time::SECOND;
use rules::{Evaluator, Program, RuleFile};

const FACE: &str = r#"
[[rule]]
name = "ch4"
kind = "limit"
select = { quantity = "ch4", place = "T1" }
level = [
  { name = "alarm", on = ">= 1.0", off = "< 1.0", severity = "yellow" },
  { name = "cut", on = ">= 1.5", off = "< 1.0", severity = "orange" },
]
"#;

const DELAYED: &str = r#"
[[rule]]
name = "slow"
kind = "limit"
select = { quantity = "ch4", place = "T1" }
level = [{ name = "alarm", on = ">= 1.0", off = "< 0.8", on_delay = "3s", off_delay = "2s" }]
"#;

#[track_caller]
fn check(rules: &str, events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(rules, events)), expected);
}

#[test]
fn legal_limits_are_inclusive_up_and_strict_down() {
    let events = [at(0., 0.99, 0), at(1., 1.0, 0), at(2., 1.5, 0), at(3., 1.0, 0), at(4., 0.99, 0)];
    check(FACE, &events, &["alarm on 1", "cut on 2", "alarm off 4", "cut off 4"]);
}

#[test]
fn the_peak_is_carried_to_the_end() {
    let out = judge(FACE, &[at(0., 1.1, 0), at(1., 1.7, 0), at(2., 1.2, 0), at(3., 0.9, 0)]);
    let peaks: Vec<Option<f64>> = out.iter().map(|t| t.peak).collect();
    assert_eq!(peaks, [Some(1.1), Some(1.7), Some(1.7), Some(1.7)], "alarm on, cut on, alarm off, cut off");
    let falling =
        FACE.replace(">=", "<=").replace("< ", "> ").replace("1.5", "0.5").replace("> 1.0", "> 1.2");
    let fallen = judge(&falling, &[at(0., 0.9, 0), at(1., 0.7, 0), at(2., 0.8, 0), at(3., 1.3, 0)]);
    assert_eq!(fallen.last().unwrap().peak, Some(0.7));
    assert_eq!(out[0].reason, "1.1 >= 1 %");
}

#[test]
fn bad_missing_and_calibrating_neither_clear_nor_count_as_normal() {
    for status in [STATION_FAULT, NOT_INSPECTED, PAUSED, SENSOR_FAULT, MISSING] {
        check(FACE, &[at(0., 1.2, 0), at(1., 0.2, status), at(2., 0.2, 0)], &["alarm on 0", "alarm off 2"]);
        check(FACE, &[at(0., 3.0, status)], &[]);
    }
    let calibrating = [at(0., 1.2, 0), at(1., 0.2, CALIBRATION), at(2., 0.2, 0)];
    check(FACE, &calibrating, &["alarm on 0", "alarm on 1 calibrating", "alarm off 2"]);
}

#[test]
fn a_bad_value_with_the_mines_own_alarm_bit_is_reported_unconfirmed() {
    let events = [at(0., 0.0, SENSOR_FAULT | ALARM), at(1., 0.0, SENSOR_FAULT), at(2., 0.3, 0)];
    check(FACE, &events, &["reported on 0 unconfirmed", "reported off 2 unconfirmed"]);
    check(FACE, &[at(0., 0.0, PAUSED | CUT)], &["reported on 0 unconfirmed"]);
    // It goes on in the next version of the rules.
    let events = [at(0., 0.0, PAUSED | CUT), activate(1., FACE), at(2., 0.3, 0)];
    check(FACE, &events, &["reported on 0 unconfirmed", "reported off 2 unconfirmed"]);
}

#[test]
fn over_range_raises_the_upper_ladder_and_clears_nothing() {
    check(FACE, &[at(0., 0.1, OVER_RANGE)], &["alarm on 0", "cut on 0"]);
    check(FACE, &[at(0., f64::NAN, OVER_RANGE | MISSING)], &["alarm on 0", "cut on 0"]);
    // At or below the low end it counts as at most the low end: nothing rises, nothing clears.
    check(FACE, &[at(0., 1.2, 0), at(1., -0.1, OVER_RANGE), at(2., 0.3, 0)], &["alarm on 0", "alarm off 2"]);
}

#[test]
fn born_in_calibration_is_real_once_it_is_over_at_a_normal_reading() {
    let out =
        judge(FACE, &[at(0., 1.2, CALIBRATION), at(1., 1.2, CALIBRATION), at(2., 1.2, 0), at(3., 0.5, 0)]);
    assert_eq!(shown(&out), ["alarm on 0 calibrating", "alarm on 2", "alarm off 3"]);
    let ids: std::collections::BTreeSet<_> = out.iter().map(|t| t.id).collect();
    assert_eq!(ids.len(), 3, "each step has its own id");
}

/// A real alarm that gets the bit stays active, real, and is shown as calibrating; it ends as a real one.
#[test]
fn a_real_alarm_that_gets_the_bit_stays_and_is_shown_as_calibrating() {
    let events = [
        at(0., 1.2, 0),
        at(1., 0.2, CALIBRATION),
        at(2., 0.1, CALIBRATION),
        at(3., 1.1, 0),
        at(4., 1.1, CALIBRATION),
        at(5., 0.2, 0),
        at(6., 0.2, CALIBRATION),
    ];
    let out = judge(FACE, &events);
    let expected =
        ["alarm on 0", "alarm on 1 calibrating", "alarm on 3", "alarm on 4 calibrating", "alarm off 5"];
    assert_eq!(shown(&out), expected);
    assert!(out[1].reason.starts_with("calibration"), "{}", out[1].reason);
    let ids: std::collections::BTreeSet<_> = out.iter().map(|t| t.id).collect();
    assert_eq!(ids.len(), 5, "each step has its own id");
    // The bit goes with a reading that says nothing, or that is below for less than the off-delay.
    let on = [at(0., 1.2, 0), at(3., 1.2, 0), at(4., 1.2, CALIBRATION)];
    for (value, status) in [(0.9, SENSOR_FAULT), (0.7, 0)] {
        let out = judge(DELAYED, &[&on[..], &[at(5., value, status), tick(60.)]].concat());
        assert_eq!(shown(&out), ["alarm on 3", "alarm on 4 calibrating", "alarm on 5"]);
    }
    // What is late or out of order shows nothing.
    let old = Event::Rows(START + SECOND, 0, vec![("T1", START - SECOND, 0.2, CALIBRATION)]);
    check(FACE, &[at(0., 1.2, 0), old], &["alarm on 0"]);
}

#[test]
fn a_delay_is_never_served_early() {
    check(DELAYED, &[at(0., 1.0, 0), at(2.9, 1.0, 0)], &[]);
    check(DELAYED, &[at(0., 1.0, 0), at(3.0, 1.0, 0)], &["alarm on 3"]);
    // A tick may end it while the last reading is at most three periods old.
    check(DELAYED, &[at(0., 1.0, 0), at(1., 1.0, 0), tick(2.9), tick(3.0)], &["alarm on 3"]);
    check(DELAYED, &[at(0., 1.0, 0), tick(3.0)], &["alarm on 3"]);
    check(DELAYED, &[at(0., 1.0, 0), tick(3.1)], &[]);
    // A reading between the limits ends the stay over; one that says nothing does not.
    check(DELAYED, &[at(0., 1.0, 0), at(1., 0.9, 0), at(3., 1.0, 0)], &[]);
    check(DELAYED, &[at(0., 1.0, 0), at(1., 0.9, SENSOR_FAULT), at(3., 1.0, 0)], &["alarm on 3"]);
}

#[test]
fn a_slow_or_fast_device_clock_shortens_nothing() {
    let skewed = |appended: f64, event: f64| {
        let t = |s: f64| START + (s * 1e6) as i64;
        Event::Rows(t(appended), 0, vec![("T1", t(event), 1.2, 0)])
    };
    // The device's second is half a second: 3 s of event time need 6 s of readings.
    let slow: Vec<Event> = (0..6).map(|i| skewed(f64::from(i), f64::from(i) / 2.0)).collect();
    check(DELAYED, &slow, &[]);
    let mut all = slow;
    all.push(skewed(6., 3.));
    assert_eq!(judge(DELAYED, &all).len(), 1);
}

#[test]
fn clearing_needs_a_good_reading_and_the_off_delay() {
    let on = [at(0., 1.2, 0), at(3., 1.2, 0)];
    let then = |more: &[Event]| shown(&judge(DELAYED, &[&on[..], more].concat()));
    assert_eq!(then(&[at(4., 0.7, 0), at(5.9, 0.7, 0), tick(9.)]), ["alarm on 3"]);
    assert_eq!(then(&[at(4., 0.7, 0), at(6., 0.7, 0)]), ["alarm on 3", "alarm off 6"]);
    // In the band between off and on the stay below begins anew.
    assert_eq!(then(&[at(4., 0.7, 0), at(5., 0.9, 0), at(6., 0.7, 0), at(7., 0.7, 0)]), ["alarm on 3"]);
}

#[test]
fn out_of_order_may_raise_and_never_clears() {
    let t = |s: i64| START + s * SECOND;
    let rows =
        |appended: i64, event: i64, value: f64| Event::Rows(t(appended), 0, vec![("T1", t(event), value, 0)]);
    check(FACE, &[rows(5, 5, 0.3), rows(6, 4, 1.2), rows(7, 3, 0.2)], &["alarm on 4"]);
    check(FACE, &[rows(5, 5, 1.2), rows(6, 5, 0.2), rows(7, 7, 0.2)], &["alarm on 5", "alarm off 7"]);
    // Where there is a delay, however short, it counts for none.
    check(&DELAYED.replace("3s", "1us"), &[rows(5, 5, 0.3), rows(6, 4, 1.2), rows(7, 3, 1.2)], &[]);
}

#[test]
fn late_readings_make_one_late_found_episode_and_leave_the_live_state() {
    let t = |s: i64| START + s * SECOND;
    let rows = |appended: i64, event: i64, value: f64, status| {
        Event::Rows(t(appended), 0, vec![("T1", t(event), value, status)])
    };
    let events = [
        rows(500, 500, 0.3, 0),
        rows(501, 100, 1.2, 0),
        rows(502, 101, 1.6, 0),
        rows(503, 102, 0.2, 0),
        rows(504, 504, 0.2, 0),
    ];
    check(FACE, &events, &["alarm on 100 late", "cut on 101 late"]);
    check(FACE, &[rows(1, 1, 0.2, 0), rows(2, 0, 1.2, HISTORICAL)], &["alarm on 0 late"]);
    // 120 s is not late, more is.
    check(FACE, &[rows(120, 0, 1.2, 0)], &["alarm on 0"]);
    check(FACE, &[rows(121, 0, 1.2, 0)], &["alarm on 0 late"]);
}

#[test]
fn a_clock_in_the_future_still_gets_its_alarm_at_receive_time() {
    let future = Event::Rows(START, 0, vec![("T1", START + 86_400 * SECOND, 1.2, FUTURE)]);
    check(FACE, &[future, at(1., 0.4, 0)], &["alarm on 0", "alarm off 1"]);
}

#[test]
fn a_drill_has_a_state_of_its_own() {
    let events = [at(0., 1.2, SIMULATED), at(1., 0.3, 0), at(2., 1.2, 0), at(3., 0.3, SIMULATED)];
    check(FACE, &events, &["alarm on 0 simulated", "alarm on 2", "alarm off 3 simulated"]);
}

#[test]
fn silence_is_told_from_activation_and_ends_with_a_good_reading() {
    let rules =
        "[[rule]]\nname = \"quiet\"\nkind = \"silent\"\nselect = { point = \"T1\" }\nafter = \"5s\"\n";
    check(
        rules,
        &[tick(0.), tick(5.), tick(5.1), tick(6.), at(7., 0.3, SENSOR_FAULT), at(8., 0.3, 0)],
        &["silent on 5.1", "silent off 8"],
    );
    check(rules, &[at(0., 0.3, 0), tick(5.), at(5.5, 0.3, 0), tick(10.)], &[]);
    let out = judge(rules, &[tick(0.), tick(6.), at(7., 0.3, 0), tick(13.)]);
    assert_eq!(count(&out, "silent", model::To::On), 2);
    assert_ne!(out[0].id, out[2].id);
}

#[test]
fn status_bits_raise_and_end() {
    let rules = "[[rule]]\nname = \"fault\"\nkind = \"status\"\nselect = { point = \"T1\" }\nany = [\"sensor_fault\"]\non_delay = \"2s\"\n";
    let events =
        [at(0., 0.3, SENSOR_FAULT), at(1., 0.3, SENSOR_FAULT), at(2., 0.3, SENSOR_FAULT), at(3., 0.3, 0)];
    check(rules, &events, &["status on 2", "status off 3"]);
}

#[test]
fn a_rise_is_told_once_enough_is_known() {
    let rules = "[[rule]]\nname = \"rise\"\nkind = \"rate\"\nselect = { point = \"T1\" }\nwindow = \"60s\"\nmin_readings = 4\nmin_covered = \"20s\"\n\
                 blank = \"5s\"\ngap = \"30s\"\nlevel = [{ name = \"warning\", on = \">= 0.6 /min\", off = \"< 0.1 /min\" }]\n";
    // 0.01 a second is 0.6 a minute; the first reading begins a blank of 5 s.
    let rise: Vec<Event> = (0..40).map(|s| at(f64::from(s), 0.2 + 0.01 * f64::from(s), 0)).collect();
    check(rules, &rise, &["warning on 25"]);
    let flat: Vec<Event> = (0..60).map(|s| at(f64::from(s), 0.2, 0)).collect();
    check(rules, &flat, &[]);
    // A jump across a gap is no rise.
    let jump: Vec<Event> =
        (0..30).map(|s| at(f64::from(s), 0.2, 0)).chain((70..90).map(|s| at(f64::from(s), 1.9, 0))).collect();
    check(rules, &jump, &[]);
}

#[test]
fn a_record_seen_before_is_dropped_whole() {
    let mut e = evaluator(FACE);
    let mut out = Vec::new();
    apply(&mut e, 0, &at(0., 1.2, 0), &mut out);
    let again = model::Origin { collector: 7, sequence: 0 };
    let offset = model::Offset { partition: 0, number: 1 };
    let run = model::Run { source: "s".into(), received: START, rows: 0, flags: 0 };
    e.readings(
        rules::At { offset, appended: START, origin: again },
        &[run],
        &model::Readings::default(),
        &mut out,
    );
    assert_eq!((out.len(), e.next_offset()), (1, 2));
}

#[test]
fn what_is_gone_is_withdrawn_and_what_stays_keeps_its_episode() {
    let mut e = evaluator(&format!("{FACE}{DELAYED}"));
    let mut out = Vec::new();
    for (i, event) in [at(0., 1.2, 0), at(3., 1.2, 0)].iter().enumerate() {
        apply(&mut e, i as u64, event, &mut out);
    }
    let (program, _) =
        Program::compile(&[RuleFile { name: "r".into(), text: FACE.replace("1.5", "1.1") }], &catalog());
    let place = rules::At {
        offset: model::Offset { partition: 0, number: 2 },
        appended: START + 4 * SECOND,
        origin: model::Origin { collector: 0, sequence: 0 },
    };
    e.activate(place, program, catalog(), &mut out);
    apply(&mut e, 3, &at(5., 1.2, 0), &mut out);
    apply(&mut e, 4, &at(6., 0.4, 0), &mut out);
    let lines: Vec<String> =
        out.iter().map(|t| format!("{} {} {}", t.rule, t.level, t.to.as_str())).collect();
    let expected = [
        "ch4 alarm on",
        "slow alarm on",
        "slow alarm withdrawn",
        "ch4 cut on",
        "ch4 alarm off",
        "ch4 cut off",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn units_are_converted_and_the_packs_cover_every_point() {
    let pack = rules::packs().iter().find(|(name, _)| *name == "coal").unwrap().1;
    let (program, problems) = program(pack);
    assert_eq!(problems.errors(), 0, "{problems}");
    assert_eq!(program.check_coverage(&catalog()).errors(), 0);
    let ix = catalog().find("M1", "CO").unwrap();
    let co = program.rules_of_point(ix).into_iter().find(|r| r.name == "co").unwrap();
    assert_eq!(co.levels[0].1, "on >= 0.0024 off < 0.0024", "24 ppm of a point in %");
    let mut e = Evaluator::new(program, catalog());
    let mut out = Vec::new();
    apply(&mut e, 0, &Event::Rows(START, 0, vec![("CO", START, 0.0024, 0), ("T2", START, 1.0, 0)]), &mut out);
    let lines: Vec<String> = out.iter().map(|t| format!("{} {}", t.rule, t.level)).collect();
    assert_eq!(lines, ["co alarm", "ch4-return alarm", "ch4-return cut"]);
}

#[test]
fn mistakes_are_named_at_their_place() {
    let text = "[[rule]]\nname = \"a\"\nkind = \"limt\"\nselect = { quantity = \"ch4\" }\n\n[[rule]]\nname = \"b\"\nkind = \"limit\"\n\
                select = { quantty = \"ch4\" }\nlevel = [{ name = \"x\", on = \">= 1.0\", off = \"< 2.0\" }]\n\n[[rule]]\nname = \"c\"\n\
                kind = \"limit\"\nselect = { quantity = \"ch4\" }\nlevel = [{ name = \"x\", on = \">= NaN\" }]\n\n[[rule]]\nname = \"d\"\n\
                kind = \"limit\"\nselect = { quantity = \"ch4\" }\nunit = \"°C\"\nlevel = [{ name = \"x\", on = \">= 1\" }]\n\n[[rule]]\n\
                name = \"d\"\nkind = \"silent\"\nselect = { quantity = \"dust\" }\n";
    let shown = program(text).1.to_string();
    for expected in [
        "rules.toml:3:8: error: `rule.kind` is `limt`",
        "did you mean `limit`?",
        "rules.toml:9:12: error: unknown key `rule.select.quantty`",
        "wrong side of",
        "the limit in `>= NaN` is not finite",
        "they cannot be converted",
        "rule `d` stands twice, first at rules.toml:18",
    ] {
        assert!(shown.contains(expected), "missing `{expected}` in\n{shown}");
    }
    let loose = FACE.replace("1.0", "1.2");
    let (program, _) = program(&loose);
    let shown = program.check_coverage(&catalog()).to_string();
    assert!(shown.contains("is on >= 1.2, the law at 1"), "{shown}");
    assert!(shown.contains("point `T2` of site `M1` measures ch4 and no limit rule covers it"), "{shown}");
}
