//! Rules about people: exact cases, one a sentence of `docs/rules.md`. The comparison with a model is in `people/agree.rs`.

mod agree;
mod apart;
mod model;
mod standing;

use crate::stand::{self, Event, START, catalog_of, program_for};
use ::model::people::{Position, Positions, Presence, Snapshot};
use ::model::record::run_flags::{DRILL, REPLAY};
use ::model::time::SECOND;
use ::model::{Catalog, Micros, Transition};
use rules::Evaluator;
use std::sync::Arc;

/// The mine with two areas: two may be below, one in A. Records are due each 10 s.
pub fn mine() -> Arc<Catalog> {
    catalog_of(
        "operating",
        "M1,people,mine,people,,,,,10s,2\nM1,A,face,people_area,,,,,10s,1\nM1,P2,way,people_area,,,,,10s,,,,,area=B\n\
         M1,T1,face,ch4,%,0,4,T1,1s,,,,,area=A\n",
    )
}

pub fn rule(name: &str, quantity: &str, keys: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\nkind = \"people\"\nselect = {{ quantity = \"{quantity}\" }}\n{keys}\n"
    )
}

pub fn t(s: i64) -> Micros {
    START + s * SECOND
}

/// `C1 A/S1!word` or `C1 out`, seen at a time.
pub fn row(s: i64, text: &str) -> Position {
    let (card, place) = text.split_once(' ').unwrap();
    let (place, state) = place.split_once('!').unwrap_or((place, ""));
    let (area, station) = place.split_once('/').unwrap_or((place, ""));
    let presence = if area == "out" { Presence::Out } else { Presence::Below };
    Position {
        site: "M1".into(),
        card: card.into(),
        name: String::new(),
        area: if matches!(area, "out" | "?") { String::new() } else { area.into() },
        station: station.into(),
        time: t(s),
        presence,
        entered: None,
        state: state.into(),
    }
}

/// Rows that come `s` seconds after the start, when they were seen.
pub fn said(s: i64, rows: &[&str]) -> Event {
    let rows = rows.iter().map(|text| row(s, text)).collect();
    Event::People(t(s), 0, Positions { rows, snapshot: None })
}

pub fn snapshot(s: i64, complete: bool, rows: &[&str]) -> Event {
    let Event::People(at, flags, positions) = said(s, rows) else { unreachable!() };
    let snapshot = Some(Snapshot { site: "M1".into(), time: t(s), complete, stale: false });
    Event::People(at, flags, Positions { snapshot, ..positions })
}

fn all(s: i64, rows: &[&str]) -> Event {
    snapshot(s, true, rows)
}

fn tick(s: i64) -> Event {
    Event::Tick(t(s))
}

pub fn evaluator(rules: &str) -> Evaluator {
    let catalog = mine();
    let (program, problems) = program_for(rules, &catalog);
    assert_eq!(problems.errors(), 0, "{problems}");
    Evaluator::new(program, catalog)
}

pub fn judged(rules: &str, events: &[Event]) -> Vec<Transition> {
    stand::judge_by(evaluator(rules), events)
}

/// `A capacity on 5 =2`, with marks.
fn shown(transitions: &[Transition]) -> Vec<String> {
    let line = |t: &Transition| {
        let value = t.value.map(|v| format!(" ={v}")).unwrap_or_default();
        let marks = rules::marks(t).iter().map(|m| format!(" {m}")).collect::<String>();
        let s = (t.time - START) as f64 / 1e6;
        format!("{} {} {} {s}{value}{marks}", t.point, t.level, t.to.as_str())
    };
    transitions.iter().map(line).collect()
}

#[track_caller]
fn check(rules: &str, events: &[Event], expected: &[&str]) -> Vec<Transition> {
    let out = judged(rules, events);
    assert_eq!(shown(&out), expected);
    out
}

fn capacity() -> String {
    rule("mine", "people", "what = \"capacity\"") + &rule("area", "people_area", "what = \"capacity\"")
}

#[test]
fn over_capacity_is_one_more_than_may_be() {
    let events = [
        all(0, &["C1 A", "C2 B"]),
        all(10, &["C1 A", "C2 A"]),
        all(20, &["C1 A", "C2 A", "C3 B"]),
        said(25, &["C2 B"]),
        all(30, &["C1 A", "C2 B"]),
    ];
    let expected = [
        "A capacity on 10 =2",
        "people capacity on 20 =3",
        "A capacity off 25 =1",
        "people capacity off 30 =2",
    ];
    let out = check(&capacity(), &events, &expected);
    assert_eq!(out[0].reason, "2 people in area A, 1 may be (0 uncertain, counted 0 s ago)");
    assert!(out.iter().all(|t| t.peak.is_some()) && out[3].peak == Some(3.0), "{out:?}");
    // The smaller of rule and catalog counts; without either nothing is judged.
    let less = rule("area", "people_area", "what = \"capacity\"\nmax = 0");
    check(&less, &events[..1], &["A capacity on 0 =1", "P2 capacity on 0 =1"]);
    check(
        &rule("area", "people_area", "what = \"capacity\"\nmax = 9"),
        &events[..2],
        &["A capacity on 10 =2"],
    );
}

#[test]
fn nobody_is_taken_for_gone_on_a_guess() {
    let begin = all(0, &["C1 A", "C2 A", "C3 B"]);
    let on = ["people capacity on 0 =3", "A capacity on 0 =2"];
    // Absent from an incomplete snapshot, an older and a late one, a stale one, out of order: all are still below.
    let stale = |s| {
        let Event::People(at, flags, mut positions) = all(s, &[]) else { unreachable!() };
        positions.snapshot.as_mut().unwrap().stale = true;
        Event::People(at, flags, positions)
    };
    let came = |s: i64, event| {
        let Event::People(_, flags, positions) = event else { unreachable!() };
        Event::People(t(s), flags, positions)
    };
    for nothing in [
        snapshot(10, false, &["C1 A"]),
        stale(10),
        came(10, all(-1, &[])),
        came(200, all(79, &[])),
        came(10, said(-5, &["C1 out", "C2 out"])),
        came(200, said(79, &["C1 out", "C2 out"])),
        said(10, &["C1 ?", "C2 ?", "C3 ?"]),
    ] {
        check(&capacity(), &[begin.clone(), nothing, tick(500)], &on);
    }
    let out = judged(&capacity(), &[begin.clone(), snapshot(10, false, &["C1 A"]), said(12, &["C1 B"])]);
    assert_eq!(shown(&out), [on[0], on[1], "A capacity off 12 =1"], "C2 is still in A, C3 in the mine");
    // 120 s are not late yet.
    check(
        &capacity(),
        &[begin, came(200, all(80, &[]))],
        &[on[0], on[1], "people capacity off 80 =0", "A capacity off 80 =0"],
    );
}

#[test]
fn delays_run_by_event_times_and_then_by_the_clock() {
    let rules = rule("area", "people_area", "what = \"capacity\"\non_delay = \"12s\"\noff_delay = \"5s\"");
    let over = |s| all(s, &["C1 A", "C2 A"]);
    let below = |s| all(s, &["C1 A"]);
    check(&rules, &[over(0), over(10), tick(11), tick(12)], &["A capacity on 12 =2"]);
    // Nothing comes for three periods: the delay does not run out.
    check(&rules.replace("12s", "31s"), &[over(0), tick(31), tick(60)], &[]);
    check(&rules, &[over(0), below(5), over(10), tick(20)], &[]);
    let ends = ["A capacity on 12 =2", "A capacity off 25 =1"];
    check(&rules, &[over(0), over(10), tick(12), below(20), tick(30), below(25)], &ends);
}

#[test]
fn one_alone_is_alone_and_an_uncertain_second_one_is_not_nobody() {
    let rules = rule("area", "people_area", "what = \"alone\"");
    let events = [
        all(0, &["C1 A", "C2 A"]),
        said(5, &["C2 B"]),
        snapshot(10, false, &["C2 B"]),
        snapshot(20, false, &["C1 A", "C3 A"]),
        all(30, &[]),
    ];
    let expected = ["A alone on 5 =1", "P2 alone on 5 =1", "A alone off 20 =2", "P2 alone off 30 =0"];
    let out = check(&rules, &events, &expected);
    assert_eq!(out[0].reason, "1 person in area A: card C1 (area A) (0 uncertain, counted 0 s ago)");
}

#[test]
fn overtime_counts_from_when_a_person_went_below() {
    let rules = rule("mine", "people", "what = \"overtime\"\nafter = \"20s\"");
    let entered = |s: i64, at: i64| {
        let Event::People(came, flags, mut positions) = all(s, &["C1 A", "C2 A"]) else { unreachable!() };
        positions.rows[0].entered = Some(t(at));
        Event::People(came, flags, positions)
    };
    let out = check(&rules, &[entered(0, -15), tick(4), tick(5), tick(20)], &["people overtime on 5 =1"]);
    assert!(
        out[0].reason.starts_with("card C1 (area A) is in the mine for 20 s, since 2023-"),
        "{}",
        out[0].reason
    );
    // The mine's clock is wrong by a minute: its own times are compared.
    let Event::People(_, flags, positions) = entered(-60, -75) else { unreachable!() };
    check(&rules, &[Event::People(t(0), flags, positions), tick(4), tick(5)], &["people overtime on 5 =1"]);
    // Where the mine is not heard of for three periods time says nothing; the next record does.
    check(&rules.replace("20s", "60s"), &[entered(0, -15), tick(45), tick(90)], &[]);
    let ends = ["people overtime on 50 =2", "people overtime off 60 =0"];
    check(&rules, &[entered(0, 0), tick(20)], &["people overtime on 20 =2"]);
    check(&rules.replace("20s", "40s"), &[entered(0, 0), tick(31), entered(50, 0), all(60, &[])], &ends);
    // The peak is that of all steps, also where time brought them.
    let second = |s: i64, cards: &[&str]| {
        let Event::People(came, flags, mut positions) = all(s, cards) else { unreachable!() };
        positions.rows[0].entered = Some(t(0));
        Event::People(came, flags, positions)
    };
    let two = ["C1 A", "C2 A"];
    let out = check(
        &rules,
        &[
            second(0, &two[..1]),
            tick(20),
            second(65, &two),
            tick(85),
            second(150, &two[..1]),
            second(151, &two[1..]),
            all(152, &[]),
        ],
        &[
            "people overtime on 20 =1",
            "people overtime on 85 =2 update",
            "people overtime on 150 =1 update",
            "people overtime off 152 =0",
        ],
    );
    assert_eq!(out.iter().map(|t| t.peak).collect::<Vec<_>>(), [Some(1.0), Some(2.0), Some(2.0), Some(2.0)]);
    // Out and in again is another stay.
    let again = [all(0, &["C1 A"]), all(10, &[]), all(15, &["C1 A"]), tick(34), tick(35)];
    check(&rules, &again, &["people overtime on 35 =1"]);
}

#[test]
fn a_forbidden_area_is_for_nobody_but_who_may() {
    let rules = rule("area", "people_area", "what = \"forbidden\"\nallow = [\"C1\", \"X*\"]");
    let events =
        [said(0, &["C1 A", "X7 A"]), said(5, &["C2 A"]), said(10, &["C3 A"]), said(15, &["C2 B", "C3 out"])];
    let expected = [
        "A forbidden on 5 =1",
        "A forbidden on 10 =2 further",
        "A forbidden off 15 =0",
        "P2 forbidden on 15 =1",
    ];
    let out = check(&rules, &events, &expected);
    assert!(
        out[1].reason.starts_with("card C3 (area A) is in area A, forbidden, since ")
            && out[1].reason.ends_with("; and 1 more (0 uncertain, counted 0 s ago)")
    );
    assert_eq!(out[1].severity, out[0].severity);
    let after = rules.replace("allow =", "after = \"7s\"\neach = false\nallow =");
    check(
        &after,
        &[events[1].clone(), tick(11), tick(12), events[2].clone(), tick(20)],
        &["A forbidden on 12 =1"],
    );
}

#[test]
fn no_call_for_help_is_hidden() {
    let rules = rule("mine", "people", "what = \"help\"\nstates = [\"SOS\", \"求救\"]");
    let events = [
        said(0, &["C1 A", "C2 B!正常"]),
        said(5, &["C1 A!SOS"]),
        said(6, &["C1 A!SOS"]),
        said(10, &["C2 B!求救"]),
        said(12, &["C1 A"]),
        // It calls again while the other one still does.
        said(14, &["C1 A!SOS"]),
        snapshot(20, false, &[]),
        said(25, &["C1 A", "C2 out"]),
    ];
    let expected = [
        "people help on 5 =1",
        "people help on 10 =2 further",
        "people help on 14 =2 further",
        "people help off 25 =0",
    ];
    let out = check(&rules, &events, &expected);
    assert!(
        out[1].reason.starts_with("card C2 (area B) calls for help (求救) in the mine since 2023-"),
        "{}",
        out[1].reason
    );
    assert!(out[1].reason.contains("; and 1 more ("));
    let ids: std::collections::BTreeSet<_> = out.iter().map(|t| t.id).collect();
    assert_eq!(ids.len(), 4);
    // A call that comes late counts, unless something newer is known of the card; no late word ends one.
    let late = |s, came, text: &str| {
        Event::People(t(came), 0, Positions { rows: vec![row(s, text)], snapshot: None })
    };
    let begin = said(0, &["C1 A"]);
    let calls = [begin.clone(), tick(300), late(10, 300, "C1 A!SOS"), tick(301)];
    check(&rules, &calls, &["people help on 300 =1"]);
    check(&rules, &[begin.clone(), said(290, &["C1 A"]), late(10, 300, "C1 A!SOS"), tick(301)], &[]);
    let calls = [said(0, &["C1 A!SOS"]), late(10, 300, "C1 A!正常"), late(10, 300, "C1 out"), tick(301)];
    check(&rules, &calls, &["people help on 0 =1"]);
}

#[test]
fn a_card_vanishes_while_others_of_the_mine_are_seen() {
    let rules = rule("mine", "people", "what = \"vanished\"\nafter = \"20s\"");
    // Stations name it, then none does; of one that was never at a station any row is a sighting.
    let rows = |s, station: &str| all(s, &[&format!("C1 A{station}"), "C2 B"]);
    let events = [rows(0, "/S1"), rows(10, ""), rows(15, ""), tick(20), rows(20, ""), rows(30, "/S2")];
    let out = check(&rules, &events, &["people vanished on 20 =1", "people vanished off 30 =0"]);
    assert!(
        out[0].reason.contains("card C1 (area A, station S1) was seen last at 2023-"),
        "{}",
        out[0].reason
    );
    // Absent from incomplete snapshots.
    let events = [all(0, &["C1 A", "C2 A"]), snapshot(10, false, &["C2 A"]), snapshot(20, false, &["C2 A"])];
    let out = check(&rules, &events, &["people vanished on 20 =1"]);
    assert!(
        out[0].reason.ends_with("uncertain whether it is still there (1 uncertain, counted 0 s ago)"),
        "{}",
        out[0].reason
    );
    // Nothing comes of the mine at all: that is no sign of the cards; but of the only one it is.
    check(&rules, &[all(0, &["C1 A", "C2 A"]), tick(50), tick(500)], &[]);
    check(&rules, &[all(0, &["C1 A"]), tick(19), tick(20)], &["people vanished on 20 =1"]);
    // Who left has not vanished.
    check(&rules, &[all(0, &["C1 A", "C2 A"]), said(5, &["C1 out"]), said(30, &["C2 A"])], &[]);
}

/// Who is still in an area whose methane is over.
pub fn still() -> String {
    rule("still", "people_area", "what = \"evacuation\"\nrules = [\"g*\"]")
        + "[[rule]]\nname = \"gas\"\nkind = \"limit\"\nselect = { quantity = \"ch4\" }\n\
           level = [{ name = \"alarm\", on = \">= 1\" }, { name = \"cut\", on = \">= 1.5\" }]\n"
}

pub fn gas(s: i64, value: f64) -> Event {
    Event::Rows(t(s), 0, vec![("T1", t(s), value, 0)])
}

#[test]
fn who_is_still_in_an_area_in_alarm() {
    let rules = still();
    let events = [
        said(0, &["C1 A", "C2 A", "C3 B"]),
        gas(5, 1.2),
        said(10, &["C1 B"]),
        // The first count a minute after what was told.
        said(65, &["C2 A"]),
        said(70, &["C3 A"]),
        gas(75, 1.6),
        snapshot(80, false, &["C1 B"]),
        all(90, &["C1 B"]),
        said(95, &["C4 A"]),
        gas(100, 0.5),
    ];
    let expected = [
        "T1 alarm on 5 =1.2",
        "A evacuation on 5 =2",
        "A evacuation on 65 =1 update",
        "A evacuation on 70 =2 further",
        "T1 cut on 75 =1.6",
        "A evacuation off 90 =0",
        "A evacuation on 95 =1",
        "T1 alarm off 100 =0.5",
        "T1 cut off 100 =0.5",
        "A evacuation off 100 =0",
    ];
    let out = check(&rules, &events, &expected);
    let words = "still in area A, 2 at first, in alarm: gas alarm at T1; ";
    assert_eq!(
        out[1].reason,
        format!("2 people {words}nobody has left since (0 uncertain, counted 5 s ago)")
    );
    assert!(
        out[2].reason.starts_with(&format!("1 person {words}1 left since, the last at 2023-")),
        "{}",
        out[2].reason
    );
    assert!(out[3].reason.contains("; card C3 (area A) came in ("), "{}", out[3].reason);
    assert!(
        out[5].reason.starts_with(
            "0 people still in area A, 2 at first, in alarm: gas alarm at T1 and 1 more; 3 left since"
        ),
        "{}",
        out[5].reason
    );
    assert!(
        out[9]
            .reason
            .starts_with("1 person still in area A, 1 at first, the alarm is over; nobody has left since"),
        "{}",
        out[9].reason
    );
}

/// What is an alarm of an area, and what is none.
#[test]
fn an_area_is_in_alarm_by_what_is_on_and_real_in_it() {
    let rules = still();
    let events = [said(0, &["C1 A", "C2 A", "C3 B"])];
    // Other rules, other levels, another area, what is calibrated or late, a drill: no alarm of it.
    let none = |rules: &str, row: (f64, i32, i64)| {
        let reading = Event::Rows(t(5), 0, vec![("T1", t(row.2), row.0, row.1)]);
        let out = judged(rules, &[events[0].clone(), reading, tick(6)]);
        assert!(
            out.iter().any(|t| t.rule == "gas") && out.iter().all(|t| t.rule == "gas"),
            "{:?}",
            shown(&out)
        );
    };
    none(&rules.replace("\"g*\"", "\"h*\""), (1.2, 0, 5));
    none(&rules.replace("[\"g*\"]", "[\"gas\"]\nlevels = [\"cut\"]"), (1.2, 0, 5));
    none(&rules.replace("quantity = \"people_area\"", "point = \"P2\""), (1.2, 0, 5));
    none(&rules, (1.2, ::model::status::CALIBRATION, 5));
    none(&rules, (1.2, ::model::status::HISTORICAL, -500));
    none(&rules, (1.2, ::model::status::SIMULATED, 5));
    // Withdrawn is over too.
    let bare = rule("still", "people_area", "what = \"evacuation\"");
    let gone = Event::Activate(t(20), bare, mine());
    let out = judged(&rules, &[events[0].clone(), gas(5, 1.2), gone]);
    let expected =
        ["T1 alarm on 5 =1.2", "A evacuation on 5 =2", "T1 alarm withdrawn 20", "A evacuation off 20 =0"];
    assert_eq!(shown(&out), expected);
    // That nothing is heard of the people there is no alarm of their area.
    let all_rules = rule("still", "people_area", "what = \"evacuation\"");
    let quiet = all_rules
        + "[[rule]]\nname = \"quiet\"\nkind = \"silent\"\nselect = { point = \"P2\" }\nafter = \"20s\"\n";
    check(
        &quiet,
        &[events[0].clone(), tick(21), said(22, &["C1 A"])],
        &["P2 silent on 21", "P2 silent off 22"],
    );
}

#[test]
fn a_clock_ahead_counts_at_its_reception() {
    let Event::People(_, flags, positions) = all(400, &["C1 A", "C2 A"]) else { unreachable!() };
    let ahead = Event::People(t(0), flags, positions);
    let expected = ["A capacity on 0 =2", "A capacity off 10 =0"];
    check(&rule("area", "people_area", "what = \"capacity\""), &[ahead, all(10, &[])], &expected);
}
