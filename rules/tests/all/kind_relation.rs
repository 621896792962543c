//! `relation` and `vote` against models that look over the whole series.

use crate::agree::{Say, many};
use crate::group::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

/// All or any of the related points; delays; rows.
type Relation = (bool, (i64, i64), Vec<Row>);

fn relations() -> impl Strategy<Value = Relation> {
    (any::<bool>(), (0i64..4, 0i64..3), series(&[0, 50, 99, 100, 150, 200]))
}

fn model_of_relation((all, delays, rows): &Relation, m: Mistake) -> Vec<(i64, bool)> {
    let series = Series::of(rows, m);
    let all = *all != (m == Mistake::Own(0));
    series.changes(*delays, |at| {
        let feed = |point| series.member(point, at, |r| limit(r, 100, 50, m));
        let said = [series.member(0, at, |r| limit(r, 150, 100, m)), feed(1), feed(2)];
        match m {
            Mistake::Own(2) if said.contains(&Say::Hold) => Say::Hold,
            _ => decided(&said, |is| {
                let own = is[0] || m == Mistake::Own(1);
                own && if all { is[1] && is[2] } else { is[1] || is[2] }
            }),
        }
    })
}

/// How long a vote counts; delays of two; rows.
type Vote = (i64, (i64, i64), Vec<Row>);

fn votes() -> impl Strategy<Value = Vote> {
    (0i64..4, (0i64..4, 0i64..3), series(&[0, 50, 99, 100]))
}

fn model_of_vote((within, delays, rows): &Vote, need: usize, m: Mistake) -> Vec<(i64, bool)> {
    let series = Series::of(rows, m);
    let within = match m {
        Mistake::Own(0) => within - i64::from(*within > 0),
        Mistake::Own(1) => within + i64::from(*within > 0),
        _ => *within,
    };
    let need = match m {
        Mistake::Own(2) => need + 1,
        Mistake::Own(3) => need - 1,
        _ => need,
    };
    series.changes(*delays, |at| {
        let says = |r| limit(r, 100, 50, m);
        let vote = |point| {
            let is_near = |l: &&Looked| within > 0 && at.now - l.heard <= within;
            let was_over = |l: &Looked| series.at_reading(l, says) == Say::Over;
            let near = series.of_point(point, at).filter(is_near).any(was_over);
            if near { Say::Over } else { series.member(point, at, says) }
        };
        let said = [0, 1, 2].map(vote);
        match m {
            Mistake::Own(4) if said.contains(&Say::Hold) => Say::Hold,
            _ => decided(&said, |is| is.iter().filter(|v| **v).count() >= need),
        }
    })
}

fn relation(need: &str, delays: (i64, i64)) -> String {
    format!(
        "[[rule]]\nname = \"r\"\nkind = \"relation\"\nselect = {{ point = \"A\" }}\n\
         on_delay = \"{}s\"\noff_delay = \"{}s\"\n\
         when = {{ kind = \"limit\", level = [{{ name = \"cut\", on = \">= 1.5\", off = \"< 1.0\" }}] }}\n\
         with = [{{ by = \"site\", select = {{ point = [\"B\", \"C\"] }}, need = \"{need}\", kind = \"limit\",\n\
           level = [{{ name = \"on\", on = \">= 1\", off = \"< 0.5\" }}] }}]\n",
        delays.0, delays.1
    )
}

fn vote(within: i64, delays: (i64, i64)) -> String {
    format!(
        "[[rule]]\nname = \"v\"\nkind = \"vote\"\nselect = {{ quantity = \"ch4\" }}\nby = \"place\"\nwithin = \"{within}s\"\n\
         when = {{ kind = \"limit\", level = [{{ name = \"alarm\", on = \">= 1\", off = \"< 0.5\" }}] }}\n\
         level = [{{ name = \"two\", need = 2, on_delay = \"{}s\", off_delay = \"{}s\" }}, {{ name = \"three\", need = 3 }}]\n",
        delays.0, delays.1
    )
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_of_relation_agrees(one in relations(), cuts in cuts()) {
        let (all, delays, rows) = &one;
        let rules = relation(if *all { "all" } else { "any" }, *delays);
        agree(&rules, rows, &cuts, &[("relation", model_of_relation(&one, Mistake::None))])?;
    }

    #[test]
    fn the_model_of_vote_agrees(one in votes(), cuts in cuts()) {
        let (within, delays, rows) = &one;
        let three = model_of_vote(&(*within, (0, 0), rows.clone()), 3, Mistake::None);
        let two = model_of_vote(&one, 2, Mistake::None);
        agree(&vote(*within, *delays), rows, &cuts, &[("two", two), ("three", three)])?;
    }
}

#[test]
fn every_mistake_planted_in_relation_is_noticed() {
    let own = [Mistake::Own(2), Mistake::OverRangeIsUnknown, Mistake::RowsDecide];
    noticed(relations(), model_of_relation, &[&COMMON[..], &OF_CONDITIONS, &OF_DELAYS, &own].concat());
}

#[test]
fn every_mistake_planted_in_vote_is_noticed() {
    let own = [2, 3, 4].map(Mistake::Own);
    let more = [Mistake::OverRangeIsUnknown, Mistake::RowsDecide];
    let all = [&COMMON[..], &OF_CONDITIONS, &OF_DELAYS, &own, &more].concat();
    noticed(votes(), |one, m| model_of_vote(one, 2, m), &all);
}

#[test]
fn a_cut_that_is_not_executed_is_told_after_the_grace() {
    let rule = relation("any", (2, 0));
    let over = rows(0.0, &[("B", 1.0, 0), ("C", 0.0, 0), ("A", 1.5, 0)]);
    // The feed is still on two seconds later: the tick tells it. Power off ends it, or gas below the restore level.
    check(&rule, &[over.clone(), tick(1.0), tick(2.0)], &["relation on 2"]);
    let off = rows(3.0, &[("B", 0.0, 0), ("C", 0.0, 0)]);
    check(&rule, &[over.clone(), tick(2.0), off.clone()], &["relation on 2", "relation off 3"]);
    check(
        &rule,
        &[over.clone(), tick(2.0), rows(3.0, &[("A", 1.2, 0)]), rows(4.0, &[("A", 0.99, 0)])],
        &["relation on 2", "relation off 4"],
    );
    // Executed in time: nothing.
    check(&rule, &[over.clone(), tick(1.0), rows(1.5, &[("B", 0.0, 0)]), tick(2.0), tick(9.0)], &[]);
    // A feed that does not say so any more is not off.
    check(&rule, &[over.clone(), tick(2.0), rows(3.0, &[("B", 0.0, SENSOR_FAULT)])], &["relation on 2"]);
    // Nobody knows whether the power is on.
    check(&rule, &[rows(0.0, &[("A", 1.5, 0)]), tick(9.0)], &[]);
    // Over range is over; under calibration nothing is decided.
    check(&rule, &[rows(0.0, &[("B", 1.0, 0), ("A", 4.0, OVER_RANGE)]), tick(2.0)], &["relation on 2"]);
    check(&rule, &[rows(0.0, &[("B", 1.0, 0), ("A", 4.0, CALIBRATION)]), tick(2.0)], &[]);
}

#[test]
fn what_a_member_said_holds_for_three_of_its_periods() {
    let rule = relation("any", (0, 0));
    let feed = rows(0.0, &[("B", 1.0, 0)]);
    check(&rule, &[feed.clone(), rows(3.0, &[("A", 1.5, 0)])], &["relation on 3"]);
    check(&rule, &[feed.clone(), rows(3.000001, &[("A", 1.5, 0)])], &[]);
    // It is known again when it speaks.
    check(&rule, &[feed, rows(5.0, &[("A", 1.5, 0)]), rows(6.0, &[("B", 1.0, 0)])], &["relation on 6"]);
}

/// No two devices' clocks can be compared: a delay is counted by the log's own.
#[test]
fn a_fast_clock_of_a_member_shortens_no_delay() {
    let rule = relation("any", (10, 0));
    let t = |s: i64| START + s * 1_000_000;
    let over = |appended: i64, ahead: i64| {
        Event::Rows(t(appended), 0, vec![("B", t(appended + ahead), 1.0, 0), ("A", t(appended), 1.5, 0)])
    };
    let events: Vec<Event> = (0..=5).map(|i| over(2 * i, 40 * i)).collect();
    check(&rule, &events[..5], &[]);
    check(&rule, &events, &["relation on 10"]);
}

#[test]
fn two_of_three_are_needed_and_the_silent_one_is_counted_for_neither() {
    let rule = vote(0, (0, 0));
    let at_once = rows(0.0, &[("A", 1.0, 0), ("B", 1.0, 0), ("C", 0.0, 0)]);
    check(&rule, std::slice::from_ref(&at_once), &["two on 0"]);
    // One is silent: the other two cannot end it while it may be over.
    check(&rule, &[at_once.clone(), rows(8.0, &[("C", 1.0, 0), ("A", 0.0, 0)])], &["two on 0"]);
    check(&rule, &[at_once, rows(8.0, &[("A", 0.0, 0), ("C", 0.0, 0)])], &["two on 0", "two off 8"]);
    // Within a time: A was over 3 s before B.
    let apart = [rows(0.0, &[("A", 1.0, 0)]), rows(1.0, &[("A", 0.0, 0)]), rows(3.0, &[("B", 1.0, 0)])];
    check(&vote(3, (0, 0)), &apart, &["two on 3"]);
    check(&vote(2, (0, 0)), &apart, &[]);
}

#[track_caller]
fn told(kind: &str, keys: &str, expected: &str) {
    let text = format!("[[rule]]\nname = \"r\"\nselect = {{ point = \"A\" }}\n{keys}\nkind = \"{kind}\"\n");
    let told = program_for(&text, &three()).1.to_string();
    assert!(told.contains(expected), "{kind} {keys}: missing `{expected}` in `{told}`");
}

#[test]
fn mistakes_in_relations_are_told_where_they_stand() {
    let cut = "kind = \"limit\", level = [{ name = \"cut\", on = \">= 1.5\" }]";
    let with = format!("with = [{{ by = \"site\", select = {{ point = \"B\" }}, {cut} }}]");
    let cases = [
        ("relation", with.clone(), "rules.toml:1:1: error: `rule.when` is missing"),
        ("relation", format!("when = {{ {cut} }}"), "rules.toml:1:1: error: `rule.with` is missing"),
        (
            "relation",
            format!("when = {{ {cut} }}\nwith = [{{ {cut}, select = {{ point = \"B\" }} }}]"),
            "`rule.with.by` is missing",
        ),
        (
            "relation",
            format!(
                "when = {{ {cut} }}\nwith = [{{ by = \"region\", {cut}, select = {{ point = \"B\" }} }}]"
            ),
            "rules.toml:5:16: error: `by = \"region\"` groups no points\n",
        ),
        (
            "relation",
            format!("when = {{ {cut} }}\nwith = [{{ by = \"relation:X\", {cut} }}]"),
            "`by = \"relation:X\"` groups no points",
        ),
        (
            "relation",
            format!("when = {{ {cut} }}\nwith = [{{ by = \"site\", {cut} }}]"),
            "`rule.with.select` is missing",
        ),
        ("relation", format!("when = {{ kind = \"silent\" }}\n{with}"), "`rule.when.kind` is `silent`"),
        ("relation", format!("when = {{ kind = \"relation\" }}\n{with}"), "`rule.when.kind` is `relation`"),
        (
            "relation",
            format!("when = {{ kind = \"state\", danger = 1, on_delay = \"1s\" }}\n{with}"),
            "rules.toml:4:8: error: a condition has no delay of its own",
        ),
        (
            "relation",
            format!("when = {{ kind = \"mismatch\", on = \">= 1\" }}\n{with}"),
            "rules.toml:4:17: error: `rule.when.kind` is `mismatch`, expected one of",
        ),
        (
            "relation",
            format!(
                "when = {{ kind = \"limit\", level = [{{ name = \"a\", on = \">= 1\" }}, {{ name = \"b\", on = \">= 2\" }}] }}\n{with}"
            ),
            "rules.toml:4:8: error: a condition has one level",
        ),
        ("relation", format!("when = {{ {cut}, thn = 1 }}\n{with}"), "unknown key `rule.when.thn`"),
        ("relation", format!("when = {{ {cut} }}\n{with}\nunit = \"%\""), "`unit` has no meaning here"),
        (
            "relation",
            format!(
                "when = {{ {cut} }}\nwith = [{{ by = \"label:none\", select = {{ point = \"B\" }}, {cut} }}]"
            ),
            "warning: rule `r`: nothing is related to point `A` of site `M1`, which is not judged",
        ),
    ];
    cases.iter().for_each(|(kind, keys, expected)| told(kind, keys, expected));
}

#[test]
fn mistakes_in_the_other_kinds_across_points_are_told_where_they_stand() {
    let cut = "kind = \"limit\", level = [{ name = \"cut\", on = \">= 1.5\" }]";
    let cases = [
        ("vote", format!("by = \"site\"\nwhen = {{ {cut} }}"), "`rule.need` is missing"),
        (
            "vote",
            format!("by = \"relation:D\"\nneed = 2\nwhen = {{ {cut} }}"),
            "`by = \"relation:D\"` groups no points",
        ),
        (
            "vote",
            format!(
                "by = \"site\"\nwhen = {{ {cut} }}\nlevel = [{{ name = \"a\", need = 2 }}, {{ name = \"b\", need = 2 }}]"
            ),
            "each level needs more points than the one before it",
        ),
        (
            "vote",
            format!("by = \"site\"\nwhen = {{ {cut} }}\nneed = 4"),
            "warning: rule `r`: the group of point `A` of site `M1` has 1 points that can be judged, and never reaches 4",
        ),
        (
            "deviation",
            "by = \"site\"\non = \"<= 0.3\"".into(),
            "rules.toml:5:6: error: `on = \"<= 0.3\"` is no distance",
        ),
        ("deviation", "on = \">= 0.3\"".into(), "`rule.by` is missing"),
        (
            "sequence",
            format!("first = {{ {cut} }}\nwithin = \"1s\"\ntells = \"missing\""),
            "`rule.then` is missing",
        ),
        (
            "sequence",
            format!(
                "first = {{ {cut} }}\nthen = {{ by = \"site\", select = {{ point = \"B\" }}, {cut} }}\ntells = \"missing\""
            ),
            "`rule.within` is missing",
        ),
        (
            "sequence",
            format!(
                "first = {{ {cut} }}\nthen = {{ by = \"site\", select = {{ point = \"B\" }}, {cut} }}\nwithin = \"1s\""
            ),
            "`rule.tells` is missing",
        ),
        ("sequence", "within = \"0s\"".to_string(), "`within` is not above zero"),
    ];
    cases.iter().for_each(|(kind, keys, expected)| told(kind, keys, expected));
}
