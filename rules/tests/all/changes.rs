//! What a clock, a new version of the rules, a site's state do to what is under way. Each test says the line it holds.

use crate::stand::*;
use model::record::run_flags::REPLAY;
use model::status::*;
use model::time::SECOND;

const QUIET: &str =
    "[[rule]]\nname = \"quiet\"\nkind = \"silent\"\nselect = { point = \"T1\" }\nafter = \"5s\"\n";
const DELAYED_QUIET: &str = "[[rule]]\nname = \"quiet\"\nkind = \"silent\"\nselect = { point = \"T1\" }\nafter = \"5s\"\n\
                             on_delay = \"10s\"\noff_delay = \"3s\"\n";
const FACE: &str = "[[rule]]\nname = \"ch4\"\nkind = \"limit\"\nselect = { point = \"T1\" }\n\
                    level = [{ name = \"alarm\", on = \">= 1.0\", off = \"< 1.0\" }]\n";
const DELAYED: &str = "[[rule]]\nname = \"slow\"\nkind = \"limit\"\nselect = { point = \"T1\" }\n\
                       level = [{ name = \"alarm\", on = \">= 1.0\", off = \"< 0.8\", on_delay = \"3s\" }]\n";
const POINT: &str = "M1,T1,face,ch4,%,0,4,T1,1s\n";

#[track_caller]
fn check(rules: &str, events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(rules, events)), expected);
}

fn other(s: f64) -> Event {
    Event::Other(START + (s * 1e6) as i64)
}

fn with_state(s: f64, state: &str) -> Event {
    Event::Activate(START + (s * 1e6) as i64, QUIET.to_owned(), catalog_of(state, POINT))
}

fn historical(appended: f64, event: f64, value: f64) -> Event {
    let t = |s: f64| START + (s * 1e6) as i64;
    Event::Rows(t(appended), 0, vec![("T1", t(event), value, HISTORICAL)])
}

/// A jump counts only when a tick confirms it: no other record does.
#[test]
fn only_a_tick_confirms_a_jump_of_the_clock() {
    let clock = |event: Event| {
        let (mut e, mut out) = (evaluator(QUIET), Vec::new());
        apply(&mut e, 0, &at(0., 0.3, 0), &mut out);
        apply(&mut e, 1, &event, &mut out);
        (e.clock() - START) / SECOND
    };
    assert_eq!(clock(tick(600.)), 600);
    for event in [activate(600., QUIET), other(600.), at(600., 0.3, 0)] {
        assert_eq!(clock(event.clone()), 0, "{event:?}");
    }
    for event in [activate(60., QUIET), other(60.), at(60., 0.3, 0)] {
        assert_eq!(clock(event.clone()), 60, "{event:?}");
    }
}

/// Traffic that resumes after an outage leaves no second for a tick: its owner is told that one is needed, until it came.
#[test]
fn after_an_outage_traffic_needs_a_tick() {
    let (mut e, mut out) = (evaluator(QUIET), Vec::new());
    let newest = |s: i64| START + s * SECOND;
    assert!(!e.needs_tick(newest(0)), "no clock yet: the first record sets it");
    apply(&mut e, 0, &at(0., 0.3, 0), &mut out);
    assert!(!e.needs_tick(newest(60)));
    apply(&mut e, 1, &at(61., 0.3, 0), &mut out);
    assert!(e.needs_tick(newest(61)));
    apply(&mut e, 2, &tick(61.5), &mut out);
    assert!(!e.needs_tick(newest(61)));
}

/// Time passes with any record, and with a tick at its own time too.
#[test]
fn every_record_lets_time_pass() {
    let on = [at(0., 1.2, 0), at(1., 1.2, 0)];
    let then = |more: &[Event]| shown(&judge(DELAYED, &[&on[..], more].concat()));
    assert_eq!(then(&[other(3.5), other(4.)]), ["alarm on 3.5"]);
    assert_eq!(then(&[other(3.5), tick(9.)]), ["alarm on 3.5"]);
    // What was due before an activation is decided by the version in force then.
    assert_eq!(then(&[other(3.5), activate(9., FACE)]), ["alarm on 3.5", "alarm withdrawn 9"]);
}

/// Silence that is broken, by a bad reading too, serves its on-delay anew.
#[test]
fn a_broken_silence_serves_its_on_delay_anew() {
    check(DELAYED_QUIET, &[at(0., 0.3, 0), tick(6.), tick(15.9), tick(16.)], &["silent on 16"]);
    for status in [0, SENSOR_FAULT, MISSING] {
        let broken = [at(0., 0.3, 0), tick(6.), at(7., 0.3, status), tick(20.), tick(29.9), tick(30.)];
        check(DELAYED_QUIET, &broken, &["silent on 30"]);
    }
}

/// A clear happens only at a good reading: one that says `not inspected`, or nothing, is no sign of the sensor.
#[test]
fn silence_ends_only_at_a_good_reading() {
    for status in [STATION_FAULT, NOT_INSPECTED, PAUSED, SENSOR_FAULT, MISSING, OVER_RANGE] {
        let events = [tick(0.), tick(6.), at(7., 0.3, status), at(8., 0.3, 0)];
        check(QUIET, &events, &["silent on 6", "silent off 8"]);
    }
}

/// The off-delay counts from the first good reading after the silence, and silence in it begins it anew.
#[test]
fn silence_in_the_off_delay_begins_it_anew() {
    let on = [at(0., 0.3, 0), tick(6.), tick(16.)];
    let then = |more: &[Event]| shown(&judge(DELAYED_QUIET, &[&on[..], more].concat()));
    assert_eq!(then(&[at(17., 0.3, 0), at(19.9, 0.3, 0)]), ["silent on 16"]);
    assert_eq!(
        then(&[at(17., 0.3, 0), at(18., 0.3, PAUSED), at(20., 0.3, 0)]),
        ["silent on 16", "silent off 20"]
    );
    let silent = [at(17., 0.3, 0), tick(30.), at(31., 0.3, 0), at(33.9, 0.3, 0), at(34., 0.3, 0)];
    assert_eq!(then(&silent), ["silent on 16", "silent off 34"]);
}

/// A changed rule keeps its episode: still silent, it is told neither as over nor again; a good reading ends it.
#[test]
fn a_changed_silent_rule_keeps_its_episode() {
    let longer = QUIET.replace("5s", "1h");
    let events = [at(0., 0.3, 0), tick(6.), activate(7., &longer), tick(60.), at(61., 0.3, 0), tick(80.)];
    let out = judge(QUIET, &events);
    assert_eq!(shown(&out), ["silent on 6", "silent off 61"]);
    // The new limit counts from the activation on.
    let out = judge(&longer, &[at(0., 0.3, 0), tick(6.), activate(7., QUIET), tick(8.)]);
    assert_eq!(shown(&out), ["silent on 7"]);
}

/// A site that goes idle disarms: what is on is withdrawn, since no reading could end it; armed again it counts from then.
#[test]
fn a_site_that_goes_idle_is_not_silent() {
    for state in ["idle", "maintenance"] {
        let events = [
            at(0., 0.3, 0),
            tick(6.),
            with_state(7., state),
            tick(30.),
            with_state(40., "operating"),
            tick(45.),
            tick(45.1),
        ];
        check(QUIET, &events, &["silent on 6", "silent withdrawn 7", "silent on 45.1"]);
    }
    // An on-delay that runs is gone with it.
    let idle = Event::Activate(START + 7 * SECOND, DELAYED_QUIET.to_owned(), catalog_of("idle", POINT));
    check(DELAYED_QUIET, &[at(0., 0.3, 0), tick(6.), idle, tick(60.)], &[]);
}

/// A limit that is gone from the catalog leaves nothing that could end its level: withdrawn, as a rule that is gone.
#[test]
fn a_level_whose_limit_is_gone_is_withdrawn() {
    let rules = "[[rule]]\nname = \"own\"\nkind = \"limit\"\nselect = { point = \"T1\" }\nlevel = [{ name = \"alarm\", on = \"catalog\" }]\n";
    let with = |s: i64, limits: &str| {
        let point = format!("M1,T1,face,ch4,%,0,4,T1,1s,{limits}\n");
        Event::Activate(START + s * SECOND, rules.to_owned(), catalog_of("operating", &point))
    };
    let events = [with(0, "1.0,1.0"), at(1., 1.2, 0), with(2, ","), at(3., 1.2, 0), at(4., 0.2, 0)];
    check(rules, &events, &["alarm on 1", "alarm withdrawn 2"]);
}

/// A jump that is not confirmed yet arms at its far side.
#[test]
fn a_point_armed_in_a_jump_is_not_silent_when_it_is_confirmed() {
    let events = [at(0., 0.3, 0), activate(600., QUIET), tick(600.5), tick(605.), tick(605.1)];
    check(FACE, &events, &["silent on 605.1"]);
}

/// A delay is never served early: late readings serve it by their event times.
#[test]
fn a_late_found_episode_serves_its_on_delay() {
    let live = [at(0., 0.2, 0), at(1000., 0.2, 0)];
    let then = |more: &[Event]| shown(&judge(DELAYED, &[&live[..], &[tick(1000.)], more].concat()));
    let over = |s: f64| historical(1001., s, 1.2);
    assert_eq!(then(&[over(100.), over(102.9)]), [""; 0]);
    assert_eq!(then(&[over(100.), over(103.)]), ["alarm on 103 late"]);
    assert_eq!(then(&[over(100.), historical(1001., 101., 0.9), over(103.)]), [""; 0]);
    assert_eq!(then(&[over(100.), over(102.), historical(1001., 101., 0.2), over(103.)]), [""; 0]);
    // Out of order among themselves they count for no delay; neither does the clock.
    assert_eq!(then(&[over(103.), over(100.), tick(1010.), tick(1020.)]), [""; 0]);
    assert_eq!(then(&[over(100.), at(1002., 0.2, 0), over(103.)]), ["alarm on 103 late"]);
    assert_eq!(then(&[over(100.), over(103.), over(106.), over(100.), over(103.)]), ["alarm on 103 late"]);
}

/// One late-found episode, also where a gateway sends what is live beside its back-fill.
#[test]
fn live_readings_beside_a_back_fill_make_one_late_found_episode() {
    let mut events = vec![at(0., 0.2, 0), tick(500.)];
    for i in 0..5 {
        let s = 501. + f64::from(i);
        events.push(historical(s, 100. + f64::from(i), 1.2));
        events.push(at(s, 0.2, 0));
    }
    check(FACE, &events, &["alarm on 100 late"]);
    // Below, then over again: another; and what is newer than a live reading is another too.
    events.extend([historical(510., 105., 0.2), historical(510., 106., 1.2), at(511., 0.2, 0)]);
    events.push(historical(900., 800., 1.2));
    check(FACE, &events, &["alarm on 100 late", "alarm on 106 late", "alarm on 800 late"]);
}

/// Late stays, like everything, go on after a restart at any entry.
#[test]
fn late_stays_survive_a_restart() {
    let events = [
        at(0., 0.2, 0),
        tick(1000.),
        historical(1001., 100., 1.2),
        historical(1001., 103., 1.2),
        historical(1001., 104., 1.2),
    ];
    let (program, _) = program(DELAYED);
    let (mut e, mut out) = (evaluator(DELAYED), Vec::new());
    for (i, event) in events.iter().enumerate() {
        let shards: Vec<Vec<u8>> = (0..e.shards()).map(|s| e.snapshot(s)).collect();
        e = rules::Evaluator::restore(program.clone(), catalog(), &shards).unwrap().0;
        apply(&mut e, i as u64, event, &mut out);
    }
    assert_eq!(out, judge(DELAYED, &events));
    assert_eq!(shown(&out), ["alarm on 103 late"]);
}

/// Over range is at least the high end, whatever that is: where the catalog has none, every upper level rises.
#[test]
fn over_range_without_a_high_end_raises_the_upper_ladder() {
    let over = [at(0., 0.3, OVER_RANGE), at(1., 0.3, 0)];
    let with = |range: &str| {
        let point = format!("M1,T1,face,ch4,%,{range},T1,1s\n");
        let place = Event::Activate(START - SECOND, FACE.to_owned(), catalog_of("operating", &point));
        let out = judge(FACE, &[&[place], &over[..]].concat());
        assert!(out.iter().all(|t| !t.reason.contains("inf")), "{}", out[0].reason);
        shown(&out)
    };
    assert_eq!(with(","), ["alarm on 0", "alarm off 1"]);
    assert_eq!(with("0,"), ["alarm on 0", "alarm off 1"]);
    // At or below a low end that is known it is low.
    assert_eq!(with("0.3,"), [""; 0]);
}

/// A window goes on in the next version; one of another shape begins anew, after the blank.
#[test]
fn a_changed_window_begins_anew() {
    let rules = |shape: &str| {
        format!(
            "[[rule]]\nname = \"rise\"\nkind = \"rate\"\nselect = {{ point = \"T1\" }}\n{shape}\nmin_readings = 6\nmin_covered = \"1s\"\n\
             blank = \"0s\"\ngap = \"9s\"\nlevel = [{{ name = \"w\", on = \">= 0.6 /min\" }}]\n"
        )
    };
    let shape = "window = \"40s\"\nbuckets = 4";
    let rise = |from: i32, to: i32| (from..to).map(|s| at(f64::from(s), 0.2 + 0.02 * f64::from(s), 0));
    let with = |next: &str| {
        let events: Vec<Event> = rise(0, 4).chain([activate(3.5, &rules(next))]).chain(rise(4, 20)).collect();
        shown(&judge(&rules(shape), &events))
    };
    assert_eq!(with(shape), ["w on 5"]);
    for other in [
        "window = \"44s\"\nbuckets = 4",
        "window = \"80s\"\nbuckets = 8",
        &format!("{shape}\nmethod = \"least_squares\""),
    ] {
        assert_eq!(with(other), ["w on 9"], "{other}");
    }
}

/// An on-delay that runs on a limit that is gone raises nothing.
#[test]
fn an_on_delay_ends_with_its_limit() {
    let rules = "[[rule]]\nname = \"own\"\nkind = \"limit\"\nselect = { point = \"T1\" }\n\
                 level = [{ name = \"alarm\", on = \"catalog\", on_delay = \"3s\" }]\n";
    let with = |s: i64, limits: &str| {
        let point = format!("M1,T1,face,ch4,%,0,4,T1,1s,{limits}\n");
        Event::Activate(START + s * SECOND, rules.to_owned(), catalog_of("operating", &point))
    };
    let over = [with(0, "1.0,1.0"), at(1., 1.2, 0), at(2., 1.2, 0)];
    check(rules, &[&over[..], &[tick(4.)]].concat(), &["alarm on 4"]);
    check(rules, &[&over[..], &[with(3, ","), tick(4.)]].concat(), &[]);
}

/// A replay brings its own clock: late is judged against its own newest time, nothing is in the future, and the partition's clock
/// decides nothing for it.
#[test]
fn a_replay_is_judged_by_its_own_clock_only() {
    let row = |appended: i64, event: i64, status| {
        Event::Rows(START + appended * SECOND, REPLAY, vec![("T1", START + event * SECOND, 1.2, status)])
    };
    check(FACE, &[row(0, -500_000, 0)], &["alarm on -500000"]);
    check(FACE, &[row(0, 500_000, FUTURE)], &["alarm on 500000"]);
    check(FACE, &[row(0, 500_000, FUTURE), row(1, 499_880, 0)], &["alarm on 500000"]);
    let point = |point, event: i64, value| {
        Event::Rows(START, REPLAY, vec![(point, START + event * SECOND, value, 0)])
    };
    check(FACE, &[point("T2", 0, 0.2), point("T1", -120, 1.2)], &["alarm on -120"]);
    check(FACE, &[point("T2", 0, 0.2), point("T1", -121, 1.2)], &["alarm on -121 late"]);
    check(DELAYED, &[row(0, 0, 0), tick(1.), tick(3.)], &[]);
    check(DELAYED, &[row(0, 0, 0), row(1, 3, 0)], &["alarm on 3"]);
}

/// An entry that was applied already is not applied again.
#[test]
fn an_offset_counts_once() {
    let (mut e, mut out) = (evaluator(QUIET), Vec::new());
    apply(&mut e, 0, &tick(0.), &mut out);
    apply(&mut e, 1, &tick(1.), &mut out);
    apply(&mut e, 1, &tick(50.), &mut out);
    assert_eq!((e.clock() - START, e.next_offset(), out.len()), (SECOND, 2, 0));
}

/// Many rules are read, activated and restored: nothing is looked for by going through all of them. Where something is, this test
/// takes minutes instead of three seconds.
#[test]
fn a_hundred_thousand_rules_are_activated() {
    const RULES: usize = 100_000;
    let rule = |i: usize| format!("{}\n", FACE.replace("\"ch4\"", &format!("\"r{i}\"")));
    let text: String = (0..RULES).map(rule).collect();
    let (all, problems) = program(&text);
    assert!(problems.0.is_empty(), "{problems}");
    let (mut e, mut out) = (rules::Evaluator::new(all.clone(), catalog()), Vec::new());
    apply(&mut e, 0, &at(0., 1.2, 0), &mut out);
    let offset = model::Offset { partition: 0, number: 1 };
    let at = rules::At { offset, appended: START, origin: model::Origin { collector: 0, sequence: 0 } };
    e.activate(at, all.clone(), catalog(), &mut out);
    assert_eq!(out.len(), RULES, "all are on, and stay on");
    rules::Evaluator::restore(all, catalog(), &[e.snapshot(0)]).unwrap();
}
