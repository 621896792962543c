//! `sequence` against a model that looks over the whole series.

use crate::agree::{Say, many};
use crate::group::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

fn rule(tells: &str, within: i64) -> String {
    format!(
        "[[rule]]\nname = \"s\"\nkind = \"sequence\"\nselect = {{ point = \"A\" }}\nwithin = \"{within}s\"\ntells = \"{tells}\"\n\
         first = {{ kind = \"limit\", level = [{{ name = \"cut\", on = \">= 1.5\", off = \"< 1.0\" }}] }}\n\
         then = {{ by = \"site\", select = {{ point = [\"B\", \"C\"] }}, kind = \"limit\", level = [{{ name = \"off\", on = \"< 0.5\", off = \">= 1\" }}] }}\n"
    )
}

/// What each row that is looked at says of the first and of the second at its time.
struct Said {
    now: i64,
    first: Say,
    then: Say,
}

fn then(rows: &[Row], i: usize, now: i64) -> Say {
    // Below 0.5 it has followed, from 1 on it has not; the limit's own way, upside down.
    let one = |point| match limit(fresh(rows, i, point, now), 100, 50) {
        Say::Below => Say::Over,
        Say::Over => Say::Below,
        other => other,
    };
    let said = [1, 2].map(|p| {
        let r = fresh(rows, i, p, now);
        let has = |bits: i32| r.is_some_and(|r| r.status & bits != 0);
        match one(p) {
            // Over range downwards, and old when it was sent: these raise, and clear nothing.
            _ if has(BAD | CALIBRATION) => Say::Hold,
            _ if has(OVER_RANGE) && r.is_some_and(|r| r.value <= 0) => Say::Over,
            _ if has(OVER_RANGE | MISSING) => Say::Hold,
            Say::Hold if has(STALE) && r.is_some_and(|r| r.value < 50) => Say::Over,
            _ if has(STALE) => Say::Hold,
            say => say,
        }
    });
    let has = |say| said.contains(&say);
    match () {
        () if has(Say::Over) => Say::Over,
        () if has(Say::Hold) => Say::Hold,
        () if has(Say::Band) => Say::Band,
        () => Say::Below,
    }
}

fn said(rows: &[Row]) -> Vec<Said> {
    let one = |(i, _): (usize, _)| {
        let now = rows[i].appended;
        Said { now, first: limit(fresh(rows, i, 0, now), 150, 100), then: then(rows, i, now) }
    };
    looked_at(rows).into_iter().map(one).collect()
}

/// Whether something begins at `i`: it is over, and was known to be below last, or nothing was known of it.
fn begins(says: &[Say], i: usize) -> bool {
    let before = says[..i].iter().rfind(|s| matches!(s, Say::Over | Say::Below));
    says[i] == Say::Over && before != Some(&Say::Over)
}

/// From the definition: the second began at most `within` after the first began last, and was not known to be over since.
fn follows(rows: &[Row], within: i64) -> Vec<(i64, bool)> {
    let said = said(rows);
    let (first, then): (Vec<Say>, Vec<Say>) = said.iter().map(|s| (s.first, s.then)).unzip();
    let told = |i: usize| {
        (0..=i).any(|j| {
            let began = (0..=j).rfind(|k| begins(&first, *k));
            begins(&then, j)
                && began.is_some_and(|k| said[j].now - said[k].now <= within)
                && !then[j..=i].contains(&Say::Below)
        })
    };
    let mut out: Vec<(i64, bool)> = Vec::new();
    for (i, s) in said.iter().enumerate() {
        let on = out.last().is_some_and(|o| o.1);
        if told(i) && !on {
            out.push((s.now, true));
        } else if on && !told(i) {
            out.push((s.now, false));
        }
    }
    out
}

/// Each second that something comes in, and after it: is the time over for one that began, and has nothing followed?
fn missing(rows: &[Row], within: i64) -> Vec<(i64, bool)> {
    let (mut out, mut waits, mut held, mut on) = (Vec::new(), None::<i64>, false, false);
    let looked: Vec<usize> = looked_at(rows).into_iter().map(|(i, _)| i).collect();
    let (mut firsts, mut known) = (Vec::new(), false);
    for i in 0..rows.len() {
        let now = rows[i].appended;
        let is_due = |waits: Option<i64>, at: i64, then: Say| {
            waits.is_some_and(|began| at - began > within) && matches!(then, Say::Band | Say::Below)
        };
        let passed = i.checked_sub(1).map(|b| (b, rows[b].appended)).filter(|(_, at)| *at < now);
        if let Some((_, at)) = passed.filter(|(b, at)| !on && is_due(waits, *at, then(rows, *b, *at))) {
            (on, held) = (true, known);
            out.push((at, true));
        }
        if let Ok(place) = looked.binary_search(&i) {
            let first = limit(fresh(rows, i, 0, now), 150, 100);
            firsts.push(first);
            let second = then(rows, i, now);
            if begins(&firsts, place) {
                waits = Some(now);
            }
            known = firsts.iter().rfind(|s| matches!(s, Say::Over | Say::Below)) == Some(&Say::Over);
            if second == Say::Over {
                waits = None;
            }
            if on && (second == Say::Over || (held && first == Say::Below)) {
                (on, waits) = (false, None);
                out.push((now, false));
            }
            if !on && is_due(waits, now, second) {
                (on, held) = (true, known);
                out.push((now, true));
            }
        } else if rows[i].of.is_none() && !on && is_due(waits, now, then(rows, i, now)) {
            (on, held) = (true, known);
            out.push((now, true));
        }
    }
    out
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_of_what_follows_agrees(within in 1i64..6, rows in series(&[0, 49, 50, 100, 150, 200]), cuts in cuts()) {
        agree(&rule("follows", within), &rows, &cuts, &[("sequence", follows(&rows, within))])?;
    }

    #[test]
    fn the_model_of_what_is_missing_agrees(within in 1i64..6, rows in series(&[0, 49, 50, 100, 150, 200]), cuts in cuts()) {
        agree(&rule("missing", within), &rows, &cuts, &[("sequence", missing(&rows, within))])?;
    }
}

fn rows(s: f64, rows: &[(&'static str, f64, i32)]) -> Event {
    let t = START + (s * 1e6) as i64;
    Event::Rows(t, 0, rows.iter().map(|(point, value, status)| (*point, t, *value, *status)).collect())
}

#[track_caller]
fn check(rules: &str, events: &[Event], expected: &[&str]) {
    let catalog = three();
    let (program, problems) = program_for(rules, &catalog);
    assert_eq!(problems.to_string(), "");
    let out = judge_by(rules::Evaluator::new(program, catalog), events);
    assert_eq!(shown(&out), expected, "{out:#?}");
}

#[test]
fn one_after_the_other_within_the_time() {
    let rule = rule("follows", 5);
    let before = rows(0.0, &[("A", 0.5, 0), ("B", 1.0, 0), ("C", 1.0, 0)]);
    let on = ["sequence on 6"];
    check(&rule, &[before.clone(), rows(1.0, &[("A", 1.5, 0)]), rows(6.0, &[("B", 0.0, 0)])], &on);
    check(&rule, &[before.clone(), rows(1.0, &[("A", 1.5, 0)]), rows(6.1, &[("B", 0.0, 0)])], &[]);
    // The first may be over again before the second comes; the other way round is another sequence.
    let brief = [
        before.clone(),
        rows(1.0, &[("A", 1.5, 0)]),
        rows(2.0, &[("A", 0.2, 0)]),
        rows(6.0, &[("C", 0.0, 0)]),
    ];
    check(&rule, &brief, &on);
    check(&rule, &[before, rows(1.0, &[("B", 0.0, 0)]), rows(2.0, &[("A", 1.5, 0)])], &[]);
}

#[test]
fn what_does_not_follow_is_told_by_the_clock() {
    let rule = rule("missing", 5);
    let before = rows(0.0, &[("A", 0.5, 0), ("B", 1.0, 0), ("C", 1.0, 0)]);
    let over = rows(1.0, &[("A", 1.5, 0)]);
    let still = |s: f64| rows(s, &[("B", 1.0, 0), ("C", 1.0, 0)]);
    check(&rule, &[before.clone(), over.clone(), still(5.0), tick(6.0)], &[]);
    check(&rule, &[before.clone(), over.clone(), still(5.0), tick(7.0)], &["sequence on 7"]);
    // It follows late: over. Or the gas is gone: nothing is waited for any more.
    let late = [before.clone(), over.clone(), still(5.0), tick(7.0), rows(8.0, &[("B", 0.0, 0)])];
    check(&rule, &late, &["sequence on 7", "sequence off 8"]);
    let gone = [before.clone(), over.clone(), still(5.0), tick(7.0), rows(8.0, &[("A", 0.2, 0)])];
    check(&rule, &gone, &["sequence on 7", "sequence off 8"]);
    // Nobody knows whether it followed.
    check(
        &rule,
        &[before.clone(), over.clone(), rows(2.0, &[("B", 1.0, PAUSED)]), tick(7.0), tick(8.0)],
        &[],
    );
    check(&rule, &[before, over, tick(20.0)], &[]);
}
