//! What is told apart: a drill from the real thing, a replay from what goes on, records of people from readings, an alarm from the one after.

use super::*;

#[test]
fn a_drill_and_a_replay_are_apart() {
    let of = |flags, event: Event| {
        let Event::People(at, _, positions) = event else { unreachable!() };
        Event::People(at, flags, positions)
    };
    let over = |s| all(s, &["C1 A", "C2 A"]);
    let events = [of(DRILL, over(0)), all(10, &[]), over(20), of(DRILL, all(30, &[]))];
    let expected = ["A capacity on 0 =2 simulated", "A capacity on 20 =2", "A capacity off 30 =0 simulated"];
    check(&rule("area", "people_area", "what = \"capacity\""), &events, &expected);
    // A replay of last year is judged by its own clock.
    let rules = rule("mine", "people", "what = \"overtime\"\nafter = \"20s\"");
    let year = 31_536_000;
    let old = |s: i64| {
        let Event::People(_, _, positions) = all(s - year, &["C1 A"]) else { unreachable!() };
        Event::People(t(s / 100), REPLAY, positions)
    };
    let out = judged(&rules, &[old(0), old(10), tick(1), old(20)]);
    assert_eq!(out.len(), 1);
    assert!(out[0].marks.replay && out[0].time == t(20 - year));
}

/// The anchors of a mine are silent while nothing comes of it.
#[test]
fn positions_break_the_silence_of_their_points() {
    let rules = "[[rule]]\nname = \"quiet\"\nkind = \"silent\"\nselect = { quantity = [\"people\", \"people_area\"] }\n";
    let events = [all(0, &["C1 A"]), tick(30), said(31, &["C1 A"]), tick(60), tick(62), all(63, &[])];
    let shown = shown(&judged(rules, &events));
    let expected: Vec<String> = ["on 62", "off 63"]
        .iter()
        .flat_map(|what| ["people", "A", "P2"].map(|point| format!("{point} silent {what}")))
        .collect();
    assert_eq!(shown, expected);
}

/// What begins in a drill and in earnest with one record or tick are two: a receiver drops no id that stands for the other.
#[test]
fn a_drill_and_the_real_thing_have_ids_of_their_own() {
    let drill = |event| {
        let Event::People(at, _, positions) = event else { unreachable!() };
        Event::People(at, DRILL, positions)
    };
    let rules = rule("in", "people_area", "what = \"forbidden\"\nafter = \"5s\"") + &still();
    let gas = |status: i32| ("T1", t(20), 1.2, status);
    let events = [
        said(1, &["C1 A"]),
        drill(said(1, &["C2 A"])),
        tick(7),
        said(19, &["C1 A"]),
        drill(said(19, &["C2 A"])),
        Event::Rows(t(20), 0, vec![gas(0), gas(::model::status::SIMULATED)]),
        tick(21),
    ];
    let out = judged(&rules, &events);
    for name in ["in", "still"] {
        let on: Vec<&Transition> = out.iter().filter(|t| t.rule == name && t.to.as_str() == "on").collect();
        assert!(on.len() == 2 && on[0].marks.simulated != on[1].marks.simulated, "{name}: {out:#?}");
        assert_ne!(on[0].id, on[1].id, "{name}");
    }
}

/// Records of people say of a point that it was heard of, and nothing of its own readings.
#[test]
fn a_record_of_people_is_no_reading_of_its_point() {
    let rules = "[[rule]]\nname = \"count\"\nkind = \"limit\"\nselect = { quantity = \"people\" }\n\
                 level = [{ name = \"many\", on = \">= 20\", on_delay = \"5s\" }]\n\
                 [[rule]]\nname = \"fault\"\nkind = \"status\"\nselect = { quantity = \"people\" }\nany = [\"sensor_fault\"]\n";
    let reading = |s, status| Event::Rows(t(s), 0, vec![("people", t(s) - SECOND, 25.0, status)]);
    let each = |s: i64| [reading(s, 0), said(s, &["C1 A"])];
    let events: Vec<Event> = (0..7)
        .flat_map(each)
        .chain([reading(8, ::model::status::SENSOR_FAULT), said(9, &["C1 A"]), tick(10)])
        .collect();
    let told: Vec<String> =
        shown(&judged(rules, &events)).iter().map(|t| t.split(" =").next().unwrap().to_owned()).collect();
    assert_eq!(told, ["people many on 4", "people status on 7"]);
}

/// What the time before a record decided is so when the record is heard: nobody is told of who comes into an area whose alarm is over.
#[test]
fn an_alarm_that_ends_as_a_record_comes_is_over_for_it() {
    let vote = "[[rule]]\nname = \"two\"\nkind = \"vote\"\nselect = { quantity = \"ch4\" }\nby = \"site\"\nneed = 1\n\
                when = { kind = \"limit\", level = [{ name = \"a\", on = \">= 1\" }] }\n";
    let rules = vote.to_owned() + &rule("still", "people_area", "what = \"evacuation\"\nrules = [\"two\"]");
    let events = [said(0, &["C1 A"]), gas(1, 1.2), tick(2), gas(3, 0.2), said(4, &["C1 A", "C2 A"]), tick(5)];
    let told: Vec<String> = shown(&judged(&rules, &events));
    let of_people: Vec<&String> = told.iter().filter(|t| t.contains("evacuation")).collect();
    assert_eq!(of_people, ["A evacuation on 2 =1", "A evacuation off 4 =0"], "{told:?}");
}
