//! What a new version, another clock, a lost state and a size do to rules across points. Each test says the line it holds.

use crate::group::{check, rows, three};
use crate::stand::*;
use model::record::run_flags::REPLAY;
use model::time::SECOND;
use model::{Offset, Origin};
use rules::{At, Evaluator, OpenLevels};

/// Over at A while B is over too; A's condition as said.
fn pair(when: &str, delay: i64) -> String {
    format!(
        "[[rule]]\nname = \"p\"\nkind = \"relation\"\nselect = {{ point = \"A\" }}\non_delay = \"{delay}s\"\nwhen = {{ {when} }}\n\
         with = [{{ by = \"site\", select = {{ point = \"B\" }}, kind = \"limit\", level = [{{ name = \"b\", on = \">= 1\", off = \"< 0.5\" }}] }}]\n"
    )
}

fn limit(on: f64) -> String {
    format!("kind = \"limit\", level = [{{ name = \"a\", on = \">= {on}\", off = \"< 0.5\" }}]")
}

fn sequence(tells: &str) -> String {
    format!(
        "[[rule]]\nname = \"s\"\nkind = \"sequence\"\nselect = {{ point = \"A\" }}\nwithin = \"5s\"\ntells = \"{tells}\"\nfirst = {{ {} }}\n\
         then = {{ by = \"site\", select = {{ point = \"B\" }}, kind = \"limit\", level = [{{ name = \"b\", on = \">= 1\", off = \"< 0.5\" }}] }}\n",
        limit(1.0)
    )
}

fn activate(s: f64, rules: &str) -> Event {
    Event::Activate(START + (s * 1e6) as i64, rules.to_owned(), three())
}

/// What came before a new version at its very time is decided by the version before.
#[test]
fn what_is_due_is_decided_by_the_version_it_came_under() {
    let both = rows(1.0, &[("A", 1.5, 0), ("B", 1.0, 0)]);
    let events = [both, activate(1.0, &pair(&limit(9.0), 0)), tick(1.0), rows(2.0, &[("B", 0.2, 0)])];
    check(&pair(&limit(1.5), 0), &events, &["relation on 1", "relation off 2"]);
}

/// A condition with other limits is judged anew: what its members said meant something else.
#[test]
fn a_condition_that_is_changed_is_unknown_until_its_members_speak() {
    let before =
        [rows(0.0, &[("A", 1.2, 0), ("B", 1.0, 0)]), activate(1.0, &pair(&limit(1.0), 0)), tick(1.0)];
    let then = |more: &[Event]| [&before[..], more].concat();
    check(&pair(&limit(1.5), 0), &then(&[rows(2.0, &[("B", 1.0, 0)])]), &[]);
    check(&pair(&limit(1.5), 0), &then(&[rows(2.0, &[("A", 1.2, 0)])]), &["relation on 2"]);
    // The same limits again, B the same: what was said still counts.
    let same =
        [rows(0.0, &[("A", 1.2, 0)]), activate(1.0, &pair(&limit(1.0), 0)), rows(2.0, &[("B", 1.0, 0)])];
    check(&pair(&limit(1.0), 0), &same, &["relation on 2"]);
}

/// What a condition of another kind remembered is of no use to this one, whatever its bytes look like.
#[test]
fn a_condition_of_another_kind_remembers_nothing() {
    let kinds = [
        "kind = \"stuck\", after = \"3s\"".to_owned(),
        "kind = \"spike\", on = \">= 0.5\"".to_owned(),
        "kind = \"window\", stat = \"max\", window = \"3s\", buckets = 3, on = \">= 0.4\"".to_owned(),
        "kind = \"rate\", window = \"3s\", buckets = 3, level = [{ name = \"a\", on = \">= 1 /min\" }]"
            .to_owned(),
        "kind = \"noise\", window = \"1h\", floor = 0.01, on = \">= 5\"".to_owned(),
        limit(1.0),
    ];
    let rising = |from: i64, b: f64| {
        (from..from + 8).map(move |s| rows(s as f64, &[("A", 0.1 * s as f64, 0), ("B", b, 0)]))
    };
    for before in &kinds {
        for after in kinds.iter().filter(|k| *k != before) {
            // Nothing is on before the change: B holds after it only.
            let then = [activate(8.0, &pair(after, 0))].into_iter().chain(rising(8, 1.0)).chain([tick(16.0)]);
            let events: Vec<Event> = rising(0, 0.2).chain(then).collect();
            let judged = |rules: &str| {
                let (program, problems) = program_for(rules, &three());
                assert_eq!(problems.to_string(), "");
                shown(&judge_by(Evaluator::new(program, three()), &events))
            };
            // As if the rule before had another name.
            let other = pair(before, 0).replace("\"p\"", "\"q\"");
            assert_eq!(judged(&pair(before, 0)), judged(&other), "{before} {after}");
        }
    }
}

fn replayed(appended: i64, time: i64, all: &[(&'static str, f64)]) -> Event {
    let rows = all.iter().map(|(point, value)| (*point, START + time * SECOND, *value, 0)).collect();
    Event::Rows(START + appended * SECOND, REPLAY, rows)
}

/// Where the own point begins to come by another clock all begins anew: no delay is served by the times of two.
#[test]
fn a_group_goes_by_the_clock_of_its_own_point() {
    let rule = pair(&limit(1.5), 10);
    let live = rows(0.0, &[("A", 1.5, 0), ("B", 1.0, 0)]);
    let both = |appended: i64, time: i64| replayed(appended, time, &[("A", 1.5), ("B", 1.0)]);
    let begins = [live.clone(), both(1, 1000), both(2, 1005)];
    let then = |more: &[Event]| [&begins[..], more].concat();
    check(&rule, &then(&[both(3, 1009), both(4, 1010)]), &[]);
    check(&rule, &then(&[both(3, 1010), both(4, 1011)]), &["relation on 1010"]);
    // A member by another clock than the own point is not looked at, nor does it disturb.
    let other = [
        live,
        replayed(1, 1000, &[("B", 0.0)]),
        rows(2.0, &[("B", 1.0, 0)]),
        tick(5.0),
        rows(10.0, &[("A", 1.5, 0), ("B", 1.0, 0)]),
    ];
    check(&rule, &other, &["relation on 10"]);
    // While the own point never spoke, the others are heard by the clock they come by.
    let vote = "[[rule]]\nname = \"v\"\nkind = \"vote\"\nselect = { quantity = \"ch4\" }\nby = \"site\"\nneed = 2\n\
                when = { kind = \"limit\", level = [{ name = \"a\", on = \">= 1\" }] }\n";
    let others = [replayed(1, 1000, &[("B", 1.0), ("C", 1.0)]), replayed(2, 1001, &[("B", 1.0)])];
    check(vote, &others, &["vote on 1000"]);
}

/// What a time of a replay decides is decided when it is over, however often the partition ticks within it.
#[test]
fn ticks_between_the_records_of_one_replay_time_decide_nothing() {
    let begins = [replayed(0, 1000, &[("A", 1.5), ("B", 0.2)]), replayed(1, 1006, &[("A", 1.5)])];
    let ends = [replayed(3, 1006, &[("B", 1.0)]), replayed(4, 1007, &[("A", 1.5)])];
    for between in [&[][..], &[tick(1.5), tick(2.0)]] {
        check(&sequence("missing"), &[&begins[..], between, &ends].concat(), &[]);
    }
    // Where it is over and B still does not follow, the partition's tick tells it, at the time of the replay.
    let over = [replayed(3, 1007, &[("A", 1.5), ("B", 0.2)]), replayed(4, 1008, &[("A", 1.5)])];
    check(&sequence("missing"), &[&begins[..], &over].concat(), &["sequence on 1007"]);
}

/// Ticks of the partition arm a site before its replay begins: its silence is counted by the replay's clock all the same.
#[test]
fn a_site_that_is_replayed_is_silent_by_the_clock_of_the_replay() {
    let silent = "[[rule]]\nname = \"s\"\nkind = \"silent\"\nselect = { point = [\"A\", \"B\"] }\nby = \"site\"\nafter = \"5s\"\n";
    let earlier = |appended, time: i64, point| replayed(appended, time - 100_000, &[(point, 0.2)]);
    let events = [
        tick(0.0),
        tick(1.0),
        earlier(2, 0, "A"),
        earlier(3, 5, "C"),
        tick(3.5),
        earlier(4, 6, "C"),
        tick(5.0),
    ];
    check(silent, &events[..5], &[]);
    check(silent, &events, &["silent on -99994"]);
}

/// Goes on without its state, after a step that was told.
fn adopted(rules: &str, told: &[Event], then: &[Event]) -> Vec<String> {
    let (program, problems) = program_for(rules, &three());
    assert_eq!(problems.to_string(), "");
    let mut open = OpenLevels::default();
    judge_by(Evaluator::new(program.clone(), three()), told).iter().for_each(|t| open.note(t));
    assert_eq!(open.len(), 1);
    let (mut e, mut out) = (Evaluator::new(program, three()), Vec::new());
    let at = At {
        offset: Offset { partition: 0, number: 100 },
        appended: START + 20 * SECOND,
        origin: Origin { collector: 0, sequence: 100 },
    };
    e.adopt(at, &open, &mut out);
    (100..).zip(then).for_each(|(i, event)| apply(&mut e, i, event, &mut out));
    shown(&out)
}

/// What is on and was told goes on until it is known to be over: not by the first reading of one of its members.
#[test]
fn what_is_adopted_ends_where_it_is_known_to_be_over() {
    let one = |s: f64, point: &'static str, value: f64| rows(s, &[(point, value, 0)]);
    let on = [rows(0.0, &[("A", 1.5, 0), ("B", 1.0, 0)]), tick(0.0)];
    let of_pair = |then: &[Event]| adopted(&pair(&limit(1.5), 0), &on, then);
    assert!(of_pair(&[one(21.0, "A", 1.5), tick(21.0), one(22.0, "B", 0.7), tick(22.0)]).is_empty());
    assert_eq!(of_pair(&[one(21.0, "B", 0.2), tick(21.0)]), ["relation off 21"]);

    let follows =
        [rows(0.0, &[("A", 0.2, 0), ("B", 0.2, 0)]), one(1.0, "A", 1.5), one(2.0, "B", 1.0), tick(2.0)];
    let of_follows = |then: &[Event]| adopted(&sequence("follows"), &follows, then);
    assert!(of_follows(&[one(21.0, "B", 1.0), tick(21.0), one(22.0, "A", 0.2), tick(22.0)]).is_empty());
    assert_eq!(of_follows(&[one(21.0, "B", 0.2), tick(21.0)]), ["sequence off 21"]);

    let missing =
        [rows(0.0, &[("A", 0.2, 0), ("B", 0.2, 0)]), one(1.0, "A", 1.5), one(6.0, "B", 0.2), tick(7.0)];
    let of_missing = |then: &[Event]| adopted(&sequence("missing"), &missing, then);
    assert!(of_missing(&[one(21.0, "A", 1.5), tick(21.0), one(22.0, "B", 0.2), tick(22.0)]).is_empty());
    assert_eq!(of_missing(&[one(21.0, "B", 1.0), tick(21.0)]), ["sequence off 21"]);
    assert_eq!(of_missing(&[one(21.0, "A", 0.2), tick(21.0)]), ["sequence off 21"]);
}

/// A site that is idle is not silent, and counts from its return.
#[test]
fn a_site_that_is_at_work_again_is_armed_then() {
    const SILENT: &str = "[[rule]]\nname = \"s\"\nkind = \"silent\"\nselect = { quantity = \"ch4\" }\nby = \"site\"\nafter = \"5s\"\n";
    let state = |s: i64, state: &str| {
        let catalog = catalog_of(state, "M1,A,a,ch4,%,0,4,T1,1s\nM1,B,b,ch4,%,0,4,T1,1s\n");
        Event::Activate(START + s * SECOND, SILENT.to_owned(), catalog)
    };
    let told = |events: &[Event]| {
        let (program, _) = program_for(SILENT, &three());
        shown(&judge_by(Evaluator::new(program, three()), events))
    };
    let idle = [
        rows(0.0, &[("A", 0.2, 0)]),
        tick(6.0),
        state(7, "idle"),
        tick(8.0),
        tick(600.0),
        state(601, "operating"),
    ];
    let before = ["silent on 6", "silent withdrawn 7"];
    assert_eq!(told(&idle), before);
    assert_eq!(told(&[&idle[..], &[tick(605.0)]].concat()), before);
    let on = told(&[&idle[..], &[tick(605.0), tick(606.1)]].concat());
    assert_eq!(on, [before[0], before[1], "silent on 606.1"]);
}

/// Sizes at which a group is one, and is none.
#[test]
fn a_group_has_at_most_256_points() {
    let of = |n: usize| {
        let points: String = (0..n).map(|i| format!("M1,P{i:03},p,ch4,%,0,4,T1,1s\n")).collect();
        catalog_of("operating", &points)
    };
    let cut = "kind = \"limit\", level = [{ name = \"a\", on = \">= 1\" }]";
    let vote = format!(
        "[[rule]]\nname = \"v\"\nkind = \"vote\"\nselect = {{ quantity = \"ch4\" }}\nby = \"site\"\nneed = 2\nwhen = {{ {cut} }}\n"
    );
    let relation = format!(
        "[[rule]]\nname = \"r\"\nkind = \"relation\"\nselect = {{ quantity = \"ch4\" }}\nwhen = {{ {cut} }}\n\
         with = [{{ by = \"site\", select = {{ quantity = \"ch4\" }}, {cut} }}]\n"
    );
    for rule in [vote, relation] {
        assert_eq!(program_for(&rule, &of(256)).1.to_string(), "");
        let told = program_for(&rule, &of(257)).1.to_string();
        let expected = "rules.toml:1:1: error: rule `";
        assert!(told.contains(expected) && told.contains("of site `M1` has more than 256 points"), "{told}");
    }
}
