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

fn then(rows: &[Row], i: usize, now: i64, m: Mistake) -> Say {
    // Below 0.5 it has followed, from 1 on it has not: a limit upside down. Over range downwards and old readings raise, and clear nothing.
    let one = |point| {
        let Some(r) = fresh(rows, i, point, now, m) else { return limit(None, 0, 0, m) };
        let has = |bits: i32, ignored| r.status & bits != 0 && m != ignored;
        let unknown = limit(None, 0, 0, m);
        if has(BAD, Mistake::BadIsGood) || has(CALIBRATION, Mistake::CalibrationIsGood) {
            return unknown;
        }
        if has(OVER_RANGE, Mistake::OverRangeClears) {
            return if r.value <= 0 { Say::Over } else { Say::Hold };
        }
        if r.status & MISSING != 0 {
            return if m == Mistake::MissingIsLow { Say::Over } else { unknown };
        }
        match r.value {
            v if v < 50 || (v == 50 && m == Mistake::OffIsInclusive) => Say::Over,
            _ if has(STALE, Mistake::StaleClears) => Say::Hold,
            v if v >= 100 => Say::Below,
            _ => Say::Band,
        }
    };
    let said = [1, 2].map(one);
    [Say::Over, Say::Hold, Say::Band].into_iter().find(|say| said.contains(say)).unwrap_or(Say::Below)
}

fn first(rows: &[Row], i: usize, now: i64, m: Mistake) -> Say {
    limit(fresh(rows, i, 0, now, m), 150, 100, m)
}

fn said(rows: &[Row], m: Mistake) -> Vec<Said> {
    let one = |(i, _): (usize, _)| {
        let now = rows[i].appended;
        Said { now, first: first(rows, i, now, m), then: then(rows, i, now, m) }
    };
    looked_at(rows, m).into_iter().map(one).collect()
}

/// Whether something begins at `i`: it is over, and was known to be below last, or nothing was known of it.
fn begins(says: &[Say], i: usize) -> bool {
    let before = says[..i].iter().rfind(|s| matches!(s, Say::Over | Say::Below));
    says[i] == Say::Over && before != Some(&Say::Over)
}

/// The time; rows.
type Sequence = (i64, Vec<Row>);

fn sequences() -> impl Strategy<Value = Sequence> {
    (1i64..6, series(&[0, 49, 50, 100, 150, 200]))
}

/// From the definition: the second began at most `within` after the first began last, and was not known to be over since.
fn follows((within, rows): &Sequence, m: Mistake) -> Vec<(i64, bool)> {
    let said = said(rows, m);
    let (first, then): (Vec<Say>, Vec<Say>) = said.iter().map(|s| (s.first, s.then)).unzip();
    let within = within - i64::from(m == Mistake::Own(0));
    let told = |i: usize| {
        (0..=i).any(|j| {
            let began = match m {
                Mistake::Own(1) => (0..=j).find(|k| begins(&first, *k)),
                Mistake::Own(2) => (0..=j).rfind(|k| begins(&first, *k)).filter(|_| first[j] == Say::Over),
                _ => (0..=j).rfind(|k| begins(&first, *k)),
            };
            (begins(&then, j) || (m == Mistake::Own(3) && then[j] == Say::Over))
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
fn missing((within, rows): &Sequence, m: Mistake) -> Vec<(i64, bool)> {
    let (mut out, mut waits, mut held, mut on) = (Vec::new(), None::<i64>, false, false);
    let looked: Vec<usize> = looked_at(rows, m).into_iter().map(|(i, _)| i).collect();
    let (mut firsts, mut known) = (Vec::new(), false);
    let is_due = |waits: Option<i64>, at: i64, then: Say| {
        let is_known = matches!(then, Say::Band | Say::Below) || (then == Say::Hold && m == Mistake::Own(4));
        is_known && waits.is_some_and(|began| at - began + i64::from(m == Mistake::Own(0)) > *within)
    };
    for i in 0..rows.len() {
        let now = rows[i].appended;
        let passed = i.checked_sub(1).map(|b| (b, rows[b].appended)).filter(|(_, at)| *at < now);
        let passed = passed.filter(|_| m != Mistake::TicksServeNothing);
        if let Some((_, at)) = passed.filter(|(b, at)| !on && is_due(waits, *at, then(rows, *b, *at, m))) {
            (on, held) = (true, known);
            out.push((at, true));
        }
        if let Ok(place) = looked.binary_search(&i) {
            let first = first(rows, i, now, m);
            firsts.push(first);
            let second = then(rows, i, now, m);
            if begins(&firsts, place) && (m != Mistake::Own(1) || waits.is_none()) {
                waits = Some(now);
            }
            known = firsts.iter().rfind(|s| matches!(s, Say::Over | Say::Below)) == Some(&Say::Over);
            if second == Say::Over {
                waits = None;
            }
            let is_over = match m {
                Mistake::Own(2) => false,
                Mistake::Own(3) => first == Say::Below,
                _ => held && first == Say::Below,
            };
            if on && (second == Say::Over || is_over) {
                (on, waits) = (false, None);
                out.push((now, false));
            }
            if !on && is_due(waits, now, second) {
                (on, held) = (true, known);
                out.push((now, true));
            }
        } else if rows[i].of.is_none()
            && !on
            && m != Mistake::TicksServeNothing
            && is_due(waits, now, then(rows, i, now, m))
        {
            (on, held) = (true, known);
            out.push((now, true));
        }
    }
    out
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_of_what_follows_agrees(one in sequences(), cuts in cuts()) {
        let expected = follows(&one, Mistake::None);
        agree(&rule("follows", one.0), &one.1, &cuts, &[("sequence", expected)])?;
    }

    #[test]
    fn the_model_of_what_is_missing_agrees(one in sequences(), cuts in cuts()) {
        let expected = missing(&one, Mistake::None);
        agree(&rule("missing", one.0), &one.1, &cuts, &[("sequence", expected)])?;
    }
}

#[test]
fn every_mistake_planted_in_what_follows_is_noticed() {
    noticed(sequences(), follows, &[&COMMON[..], &[2, 3].map(Mistake::Own)].concat());
}

#[test]
fn every_mistake_planted_in_what_is_missing_is_noticed() {
    let own = [2, 3, 4].map(Mistake::Own);
    noticed(sequences(), missing, &[&COMMON[..], &own, &[Mistake::TicksServeNothing]].concat());
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
