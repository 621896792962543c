//! Lines of what counts when that only show where conditions meet: time under steady traffic, what is sent twice, calibration with a
//! delay, what a bad status may clear. Each test says the line it holds.

use crate::stand::*;
use model::record::run_flags::REPLAY;
use model::status::*;
use model::time::SECOND;
use model::{Offset, Origin, Transition};
use rules::{At, Program, RuleFile};

const FACE: &str = "[[rule]]\nname = \"ch4\"\nkind = \"limit\"\nselect = { point = \"T1\" }\n\
                    level = [{ name = \"alarm\", on = \">= 1.0\", off = \"< 1.0\" }]\n";
const DELAYED: &str = "[[rule]]\nname = \"slow\"\nkind = \"limit\"\nselect = { point = \"T1\" }\n\
                       level = [{ name = \"alarm\", on = \">= 1.0\", off = \"< 0.8\", on_delay = \"3s\" }]\n";
const QUIET: &str =
    "[[rule]]\nname = \"quiet\"\nkind = \"silent\"\nselect = { point = \"T1\" }\nafter = \"5s\"\n";
const FAULT: &str =
    "[[rule]]\nname = \"fault\"\nkind = \"status\"\nselect = { point = \"T1\" }\nany = [\"sensor_fault\"]\n";

/// A reading of `point`, appended at one time and measured at another, in seconds.
fn of(point: &'static str, appended: f64, event: f64, value: f64, status: i32) -> Event {
    let t = |s: f64| START + (s * 1e6) as i64;
    Event::Rows(t(appended), 0, vec![(point, t(event), value, status)])
}

#[track_caller]
fn check(rules: &str, events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(rules, events)), expected);
}

/// The owner ticks when nothing else came: where others speak all the time their records are the time that passes.
#[test]
fn silence_is_found_while_others_speak() {
    let mut events = vec![at(0., 0.3, 0)];
    events.extend((1..20).map(|s| of("T2", f64::from(s), f64::from(s), 0.1, 0)));
    let out = judge(QUIET, &events);
    assert_eq!(out.len(), 1, "{:?}", shown(&out));
}

#[test]
fn an_on_delay_runs_out_while_others_speak() {
    let mut events = vec![at(0., 1.2, 0), at(1., 1.2, 0)];
    events.extend((2..8).map(|s| of("T2", f64::from(s), f64::from(s), 0.1, 0)));
    assert_eq!(judge(DELAYED, &events).len(), 1);
}

/// A jump counts only when a tick confirms it; a point that spoke in the jump is not silent when it is confirmed.
#[test]
fn a_confirmed_jump_does_not_silence_who_has_just_spoken() {
    check(QUIET, &[at(0., 0.3, 0), at(600., 0.3, 0), tick(600.5)], &[]);
}

/// Nothing is counted twice: what a source sends again raises nothing again.
#[test]
fn readings_sent_again_raise_nothing_again() {
    let first = [at(0., 1.2, 0), at(1., 0.4, 0), at(2., 1.2, 0), at(3., 0.4, 0)];
    let again = [
        of("T1", 5., 0., 1.2, 0),
        of("T1", 5., 1., 0.4, 0),
        of("T1", 5., 2., 1.2, 0),
        of("T1", 5., 3., 0.4, 0),
    ];
    let expected = ["alarm on 0", "alarm off 1", "alarm on 2", "alarm off 3"];
    check(FACE, &[&first[..], &again[..]].concat(), &expected);
    // A new reading out of order still raises.
    check(
        FACE,
        &[&first[..], &[at(9., 0.4, 0), of("T1", 9.5, 6., 1.2, 0)]].concat(),
        &[&expected[..], &["alarm on 6"]].concat(),
    );
}

/// Sent again after a long outage they are late, and still known.
#[test]
fn readings_sent_again_late_are_no_late_found_episode() {
    let first = [at(0., 1.2, 0), at(1., 0.4, 0), at(2., 1.2, 0), at(3., 0.4, 0)];
    let again = [of("T1", 300., 0., 1.2, 0), of("T1", 300., 1., 0.4, 0), of("T1", 300., 2., 1.2, 0)];
    let expected = ["alarm on 0", "alarm off 1", "alarm on 2", "alarm off 3"];
    check(FACE, &[&first[..], &[tick(100.), tick(200.)], &again[..]].concat(), &expected);
}

/// One late-found episode; the next outage's is another, also where the first back-fill ended over.
#[test]
fn each_back_fill_has_its_late_found_episode() {
    let events = [
        at(0., 0.2, 0),
        of("T1", 500., 100., 1.2, HISTORICAL),
        of("T1", 501., 501., 0.2, 0),
        of("T1", 900., 700., 1.2, HISTORICAL),
    ];
    check(FACE, &events, &["alarm on 100 late", "alarm on 700 late"]);
}

/// A back-fill that is sent again is one late-found episode, to its last reading.
#[test]
fn a_back_fill_sent_again_is_known_to_its_end() {
    let fill =
        |appended: f64| [100., 101., 102., 103.].map(|event| of("T1", appended, event, 1.2, HISTORICAL));
    let live = |s: f64| [of("T1", s, s, 0.2, 0)];
    let events = [&live(0.)[..], &fill(500.), &live(501.), &fill(502.), &live(503.)].concat();
    check(FACE, &events, &["alarm on 100 late"]);
}

/// What was decided is known in the next version of the rules too.
#[test]
fn an_activation_forgets_no_decided_episode() {
    let (mut e, mut out) = (evaluator(FACE), Vec::new());
    apply(&mut e, 0, &at(0., 1.2, 0), &mut out);
    apply(&mut e, 1, &at(1., 0.4, 0), &mut out);
    let text = format!("{QUIET}{FACE}");
    let (program, _) = Program::compile(&[RuleFile { name: "r".into(), text }], &catalog());
    let place = At {
        offset: Offset { partition: 0, number: 2 },
        appended: START + 2 * SECOND,
        origin: Origin { collector: 0, sequence: 0 },
    };
    e.activate(place, program, catalog(), &mut out);
    apply(&mut e, 3, &of("T1", 3., 0., 1.2, 0), &mut out);
    assert_eq!(shown(&out), ["alarm on 0", "alarm off 1"]);
}

/// Calibration is decided and marked, by a tick too.
#[test]
fn a_tick_that_decides_on_calibrating_readings_says_so() {
    check(
        DELAYED,
        &[at(0., 1.2, CALIBRATION), at(1., 1.2, CALIBRATION), tick(3.)],
        &["alarm on 3 calibrating"],
    );
}

/// The bit for too long is told: a rule about the bit is not marked by it.
#[test]
fn a_rule_about_calibration_is_told() {
    let rules = "[[rule]]\nname = \"misuse\"\nkind = \"status\"\nselect = { point = \"T1\" }\nany = [\"calibration\"]\non_delay = \"2s\"\n";
    check(
        rules,
        &[at(0., 0.3, CALIBRATION), at(2., 0.3, CALIBRATION), at(3., 0.3, 0)],
        &["status on 2", "status off 3"],
    );
}

/// A clear happens only at a good reading; unknown clears nothing.
#[test]
fn a_status_ends_only_at_a_good_reading() {
    for status in [MISSING, PAUSED, OVER_RANGE] {
        check(
            FAULT,
            &[at(0., 0.3, SENSOR_FAULT), at(1., 0.3, status), at(2., 0.3, 0)],
            &["status on 0", "status off 2"],
        );
    }
    let calibrating = [at(0., 0.3, SENSOR_FAULT), at(1., 0.3, CALIBRATION), at(2., 0.3, 0)];
    check(FAULT, &calibrating, &["status on 0", "status on 1 calibrating", "status off 2"]);
}

/// A rule that is taken out and put back while a point is silent raises it anew, under another id.
#[test]
fn a_silent_rule_put_back_has_a_new_id() {
    let compile =
        |text: &str| Program::compile(&[RuleFile { name: "r".into(), text: text.into() }], &catalog()).0;
    let place = |number: u64, s: i64| At {
        offset: Offset { partition: 0, number },
        appended: START + s * SECOND,
        origin: Origin { collector: 0, sequence: 0 },
    };
    for spoke in [false, true] {
        let (mut e, mut out) = (evaluator(QUIET), Vec::new());
        apply(&mut e, 0, &if spoke { at(0., 0.3, 0) } else { tick(0.) }, &mut out);
        apply(&mut e, 1, &tick(10.), &mut out);
        e.activate(place(2, 11), compile(FACE), catalog(), &mut out);
        e.activate(place(3, 12), compile(QUIET), catalog(), &mut out);
        apply(&mut e, 4, &tick(30.), &mut out);
        let words: Vec<&str> = out.iter().map(|t: &Transition| t.to.as_str()).collect();
        assert_eq!(words, ["on", "withdrawn", "on"], "spoke: {spoke}");
        let ids: std::collections::BTreeSet<_> = out.iter().map(|t| t.id).collect();
        assert_eq!(ids.len(), 3, "spoke: {spoke}");
    }
}

/// A ladder of any length is judged or refused, never a panic.
#[test]
fn a_long_ladder_is_refused_or_judged() {
    let levels: Vec<String> =
        (0..17).map(|i| format!("{{ name = \"l{i}\", on = \">= {}\" }}", i + 1)).collect();
    let text = format!(
        "[[rule]]\nname = \"long\"\nkind = \"limit\"\nselect = {{ point = \"T1\" }}\nlevel = [{}]\n",
        levels.join(", ")
    );
    let (program, problems) = program(&text);
    let mut e = rules::Evaluator::new(program, catalog());
    apply(&mut e, 0, &at(0., 1.2, 0), &mut Vec::new());
    assert!(problems.errors() == 1, "{problems}");
}

/// The peak of a falling rate is its steepest fall.
#[test]
fn the_peak_of_a_fall_is_the_steepest() {
    let rules = "[[rule]]\nname = \"fall\"\nkind = \"rate\"\nselect = { point = \"T1\" }\nwindow = \"16s\"\nmin_readings = 3\nmin_covered = \"2s\"\n\
                 blank = \"0s\"\ngap = \"30s\"\nlevel = [{ name = \"drop\", on = \"<= -0.6 /min\", off = \"> -0.1 /min\" }]\n";
    let value = |s: i32| {
        if s < 10 {
            3.0 - 0.02 * f64::from(s)
        } else if s < 25 {
            2.8 - 0.05 * f64::from(s - 10)
        } else {
            2.05
        }
    };
    let events: Vec<Event> = (0..60).map(|s| at(f64::from(s), value(s), 0)).collect();
    let out = judge(rules, &events);
    let peak = out.last().and_then(|t| t.peak).unwrap();
    assert!(peak < -2.0, "{peak}");
}

/// A source that replays decides the same however its readings are cut into records.
#[test]
fn a_replay_decides_the_same_in_any_cut() {
    let rows: Vec<_> = [
        ("T1", 0, 1.2),
        ("T1", 1, 1.2),
        ("T2", 4, 0.1),
        ("T1", 4, 0.2),
        ("T1", 6, 1.2),
        ("T1", 7, 1.2),
        ("T2", 9, 0.1),
        ("T2", 10, 0.1),
    ]
    .map(|(point, s, v)| (point, START + s * SECOND, v, 0))
    .into();
    let whole = shown(&judge(DELAYED, &[Event::Rows(START, REPLAY, rows.clone())]));
    for cut in 1..rows.len() {
        let (a, b) = rows.split_at(cut);
        let parts = [Event::Rows(START, REPLAY, a.to_vec()), Event::Rows(START, REPLAY, b.to_vec())];
        assert_eq!(shown(&judge(DELAYED, &parts)), whole, "cut at {cut}");
    }
    let single: Vec<Event> = rows.iter().map(|r| Event::Rows(START, REPLAY, vec![*r])).collect();
    assert_eq!(shown(&judge(DELAYED, &single)), whole);
    assert_eq!(whole, ["alarm on 9"]);
}

/// A window of 1970 is one like any other: nothing is taken for a reading of time 0.
#[test]
fn a_rate_in_1970_is_no_rise_from_nothing() {
    let rules = "[[rule]]\nname = \"rise\"\nkind = \"rate\"\nselect = { point = \"T1\" }\nwindow = \"16s\"\nmin_readings = 2\n\
                 min_covered = \"0s\"\nblank = \"0s\"\nlevel = [{ name = \"w\", on = \">= 0.6 /min\" }]\n";
    let flat = (-20..20).map(|s| Event::Rows(START, REPLAY, vec![("T1", s * SECOND, 2.0, 0)]));
    assert_eq!(judge(rules, &flat.collect::<Vec<_>>()).len(), 0);
}

/// Limits of a rate are converted to the unit of the point.
#[test]
fn a_rate_is_converted_to_the_unit_of_the_point() {
    let rules = "[[rule]]\nname = \"rise\"\nkind = \"rate\"\nselect = { point = \"T1\" }\nunit = \"ppm\"\nwindow = \"16s\"\nmin_readings = 2\n\
                 min_covered = \"0s\"\nblank = \"0s\"\nlevel = [{ name = \"w\", on = \">= 6000 /min\" }]\n";
    // The point is in %: 0.01 % a second are 6000 ppm a minute.
    let rise =
        |step: f64| (0..10).map(|s| at(f64::from(s), 0.2 + step * f64::from(s), 0)).collect::<Vec<_>>();
    assert_eq!(shown(&judge(rules, &rise(0.011))), ["w on 1"]);
    assert_eq!(judge(rules, &rise(0.009)).len(), 0);
}

/// Over range at or below the low end is at most the low end: the lower ladder rises, with the value that was sent.
#[test]
fn over_range_at_the_low_end_raises_the_lower_ladder() {
    let rules = "[[rule]]\nname = \"low\"\nkind = \"limit\"\nselect = { point = \"T1\" }\nlevel = [{ name = \"low\", on = \"<= 0.5\" }]\n";
    for value in [0.0, -0.1] {
        let out = judge(rules, &[at(0., value, OVER_RANGE)]);
        assert_eq!((shown(&out), out[0].value), (vec!["low on 0".to_owned()], Some(value)));
    }
    assert_eq!(judge(rules, &[at(0., 0.1, OVER_RANGE)]).len(), 0, "above the low end it is at the high end");
}
