//! Levels about people under another version of rules or catalog, and without a snapshot; and mistakes in their rules.

use super::{all, capacity, check, evaluator, gas, judged, mine, rule, said, shown, still, t, tick};
use crate::stand::{self, Event, catalog_of, program_for};
use rules::OpenLevels;

#[test]
fn what_is_on_goes_on_under_another_version_or_is_withdrawn() {
    let begin = [all(0, &["C1 A", "C2 A", "C3 B"])];
    let then = |s, rules: &str| Event::Activate(t(s), rules.to_owned(), mine());
    let on = ["people capacity on 0 =3", "A capacity on 0 =2"];
    let end = all(20, &[]);
    let other = rule("area", "people_area", "what = \"capacity\"\nmax = 1\nseverity = \"red\"")
        + &rule("mine", "people", "what = \"capacity\"");
    let out = check(
        &capacity(),
        &[begin[0].clone(), then(10, &other), end.clone()],
        &[on[0], on[1], "A capacity off 20 =0", "people capacity off 20 =0"],
    );
    let whole = judged(&capacity(), &[begin[0].clone(), end.clone()]);
    assert_eq!(out[2].id, whole[3].id, "the episode goes on under its id");
    // Another question under the same name is another level.
    let alone = capacity().replacen("capacity", "alone", 1);
    let gone = ["people capacity on 0 =3", "A capacity on 0 =2", "people capacity withdrawn 10"];
    let out = check(
        &capacity(),
        &[begin[0].clone(), then(10, &alone), end.clone()],
        &[&gone[..], &["A capacity off 20 =0"]].concat(),
    );
    assert!(out[2].reason.starts_with("it is not judged any more"));
    // An area whose number is gone.
    let bare = catalog_of("operating", "M1,people,mine,people,,,,,10s,2\nM1,A,face,people_area,,,,,10s\n");
    let place = Event::Activate(t(10), capacity(), bare);
    check(
        &capacity(),
        &[begin[0].clone(), place, end],
        &[on[0], on[1], "A capacity withdrawn 10", "people capacity off 20 =0"],
    );
}

/// Where no snapshot can be used: what is open by the log is adopted, told no second time, and ends by what comes.
#[test]
fn open_levels_are_adopted() {
    let rules = capacity() + &rule("help", "people", "what = \"help\"\nstates = [\"SOS\"]");
    let events = [all(0, &["C1 A", "C2 A!SOS", "C3 B"]), tick(1), all(10, &["C1 A!SOS", "C2 A!SOS", "C3 B"])];
    let told = judged(&rules, &events);
    let mut open = OpenLevels::default();
    told.iter().for_each(|t| open.note(t));
    assert_eq!(open.len(), 3);
    let (mut e, mut out) = (evaluator(&rules), Vec::new());
    (1..).zip(&events[1..]).for_each(|(i, event)| stand::apply(&mut e, i, event, &mut out));
    out.clear();
    let at = rules::At {
        offset: ::model::Offset { partition: 0, number: 3 },
        appended: t(10),
        origin: ::model::Origin { collector: 0, sequence: 0 },
    };
    e.adopt(at, &open, &mut out);
    let after = [all(20, &["C1 A!SOS", "C2 A!SOS", "C3 B"]), all(30, &["C1 A"])];
    (3..).zip(&after).for_each(|(i, event)| stand::apply(&mut e, i, event, &mut out));
    assert_eq!(shown(&out), ["people capacity off 30 =1", "A capacity off 30 =1", "people help off 30 =0"]);
}

/// An alarm that began before what is read again keeps the people of its area in it.
#[test]
fn who_is_still_in_an_area_is_adopted_with_its_alarm() {
    let events = [all(0, &["C1 A", "C2 A"]), gas(5, 1.2), all(10, &["C1 A", "C2 A"])];
    let mut open = OpenLevels::default();
    judged(&still(), &events).iter().for_each(|t| open.note(t));
    assert_eq!(open.len(), 2);
    let (mut e, mut out) = (evaluator(&still()), Vec::new());
    stand::apply(&mut e, 2, &events[2], &mut out);
    let at = rules::At {
        offset: ::model::Offset { partition: 0, number: 3 },
        appended: t(10),
        origin: ::model::Origin { collector: 0, sequence: 0 },
    };
    e.adopt(at, &open, &mut out);
    let after = [all(20, &["C1 A", "C2 A"]), all(80, &["C1 A"]), all(90, &[])];
    (3..).zip(&after).for_each(|(i, event)| stand::apply(&mut e, i, event, &mut out));
    assert_eq!(shown(&out), ["A evacuation on 80 =1 update", "A evacuation off 90 =0"]);
    assert!(
        out[0]
            .reason
            .starts_with("1 person still in area A, 2 at first, in alarm: gas alarm at T1; 1 left since")
    );
}

/// A mine that gets its anchors while an alarm is on.
#[test]
fn an_alarm_from_before_there_was_an_anchor_counts() {
    let before = catalog_of("operating", "M1,T1,face,ch4,%,0,4,T1,1s,,,,,area=A\n");
    let (program, _) = program_for(&still(), &before);
    let (mut e, mut out) = (rules::Evaluator::new(program, before), Vec::new());
    let then = Event::Activate(t(10), still(), mine());
    (0..)
        .zip(&[gas(5, 1.2), then, said(15, &["C1 A"])])
        .for_each(|(i, event)| stand::apply(&mut e, i, event, &mut out));
    assert_eq!(shown(&out), ["T1 alarm on 5 =1.2", "A evacuation on 15 =1"]);
}

#[test]
fn mistakes_are_named_at_their_place() {
    let text = |keys: &str| {
        format!("[[rule]]\nname = \"r\"\nselect = {{ quantity = \"people\" }}\n{keys}\nkind = \"people\"\n")
    };
    for (keys, expected) in [
        ("", "rules.toml:1:1: error: `rule.what` is missing"),
        ("what = \"capacty\"", "rules.toml:4:8: error: `rule.what` is `capacty`"),
        ("what = \"capacity\"\nmax = -1", "rules.toml:5:7: error: `rule.max` is -1"),
        ("what = \"capacity\"\nafter = \"5s\"", "rules.toml:5:1: error: unknown key `rule.after`"),
        ("what = \"capacity\"\neach = true", "rules.toml:5:1: error: unknown key `rule.each`"),
        ("what = \"overtime\"", "rules.toml:1:1: error: `rule.after` is missing"),
        ("what = \"overtime\"\nafter = \"0s\"", "rules.toml:5:9: error: `after` is not above zero"),
        (
            "what = \"overtime\"\nafter = \"8h\"\non_delay = \"5s\"",
            "rules.toml:6:12: error: a rule about `overtime` has no on-delay",
        ),
        ("what = \"help\"", "rules.toml:1:1: error: `rule.states` is missing"),
        ("what = \"vanished\"\nafter = \"soon\"", "rules.toml:5:9: error: `rule.after`: duration"),
        ("what = \"alone\"\nlevel = []", "rules.toml:5:1: error: unknown key `rule.level`"),
    ] {
        let shown = program_for(&text(keys), &mine()).1.to_string();
        assert!(shown.contains(expected), "{keys}: missing `{expected}` in `{shown}`");
    }
    let bare =
        catalog_of("operating", "M1,A,face,people_area,,,,,10s,1\nM1,T1,face,ch4,%,0,4,T1,1s,,,,,area=B\n");
    let shown = program_for(&still(), &bare).1.to_string();
    assert!(
        shown.contains(
            "rules.toml:1:1: warning: rule `still`: no point has one of its 1 areas as label `area`"
        ),
        "{shown}"
    );
    let other = rule("r", "ch4", "what = \"alone\"");
    let shown = program_for(&other, &mine()).1.to_string();
    assert!(
        shown.contains("warning: rule `r`: point `T1` of site `M1` measures ch4, it stands for no people"),
        "{shown}"
    );
}
