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

/// Below 0.5 it has followed, from 1 on it has not: a limit upside down. Over range downwards and old readings raise, and clear nothing.
fn is_off(r: Reading, m: Mistake) -> Say {
    let has = |bits: i32, ignored| r.status & bits != 0 && m != ignored;
    let unknown = match m {
        Mistake::UnknownIsBelow => Say::Below,
        Mistake::UnknownIsOver => Say::Over,
        _ => Say::Hold,
    };
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
}

/// What is said of the second at a time: one of its points is enough.
fn then(series: &Series, at: &Moment) -> Say {
    decided(&[1, 2].map(|p| series.member(p, at, |r| is_off(r, series.m))), |is| is[0] || is[1])
}

/// When the first began, up to a time; when the second did.
fn begun(series: &Series, at: &Moment) -> [Vec<i64>; 2] {
    let m = series.m;
    let clock = |all: Vec<&Looked>| all.into_iter().map(|l| l.clock).collect::<Vec<_>>();
    let then = [1, 2].map(|p| clock(series.begins(p, at, |r| is_off(r, m))));
    [clock(series.begins(0, at, |r| limit(r, 150, 100, m))), then.concat()]
}

/// The time; rows.
type Sequence = (i64, Vec<Row>);

fn sequences() -> impl Strategy<Value = Sequence> {
    (1i64..6, series(&[0, 49, 50, 100, 150, 200]))
}

/// From the definition: the second began at most `within` after the first began last, and was not known to be over since.
fn follows((within, rows): &Sequence, m: Mistake) -> Vec<(i64, bool)> {
    let series = Series::of(rows, m);
    let within = within - i64::from(m == Mistake::Own(0));
    let is_looked = |at: &&Moment| series.looked.iter().any(|l| (at.first..=at.last).contains(&l.row));
    let decides: Vec<&Moment> = series.moments.iter().filter(is_looked).collect();
    let followed = |at: &Moment| {
        let [first, then] = begun(&series, at);
        let first = if m == Mistake::Own(1) { first.iter().min() } else { first.iter().max() };
        let is_now = then.contains(&at.now) || (m == Mistake::Own(3) && self::then(&series, at) == Say::Over);
        let is_strict = m == Mistake::Own(2);
        is_now && first.is_some_and(|f| at.now - f <= within && !(is_strict && *f == at.now))
    };
    series.changes((0, 0), |at| {
        let until: Vec<&&Moment> = decides.iter().filter(|d| d.last <= at.last).collect();
        let since = until.iter().rposition(|d| followed(d));
        let told = since.is_some_and(|i| until[i + 1..].iter().all(|d| then(&series, d) != Say::Below));
        match then(&series, at) {
            _ if told => Say::Over,
            Say::Below => Say::Below,
            _ => Say::Hold,
        }
    })
}

/// Each time of the clock: is the time over for one that began, and has nothing followed?
fn missing((within, rows): &Sequence, m: Mistake) -> Vec<(i64, bool)> {
    let series = Series::of(rows, m);
    let (mut out, mut waits, mut held, mut on) = (Vec::new(), None::<i64>, false, false);
    for at in &series.moments {
        let (now, then) = (at.now, then(&series, at));
        let is_looked = series.looked.iter().any(|l| (at.first..=at.last).contains(&l.row));
        if is_looked {
            let begun = begun(&series, at);
            // One that flutters is waited with since it began first.
            if begun[0].contains(&now) && (waits.is_none() || m == Mistake::Own(1)) {
                waits = Some(now);
            }
            let first = series.member(0, at, |r| limit(r, 150, 100, m));
            let is_over = match m {
                Mistake::Own(2) => false,
                Mistake::Own(3) => first == Say::Below,
                _ => held && first == Say::Below,
            };
            if then == Say::Over || begun[1].contains(&now) || (on && is_over) {
                waits = None;
                if std::mem::take(&mut on) {
                    out.push((now, false));
                }
            }
        } else if m == Mistake::TicksServeNothing {
            continue;
        }
        let is_known = then == Say::Below || (then == Say::Hold && m == Mistake::Own(4));
        let is_due = |began: i64| now - began + i64::from(m == Mistake::Own(0)) > *within;
        if !on && is_known && waits.is_some_and(is_due) {
            let judged = series.of_point(0, at).map(|l| limit(l.r, 150, 100, m));
            let last = judged.rev().find(|s| matches!(s, Say::Over | Say::Below));
            (on, held) = (true, last == Some(Say::Over));
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
    let own = [Mistake::Own(2), Mistake::Own(3), Mistake::RowsDecide];
    noticed(sequences(), follows, &[&COMMON[..], &OF_CONDITIONS, &own].concat());
}

#[test]
fn every_mistake_planted_in_what_is_missing_is_noticed() {
    let own = [2, 3, 4].map(Mistake::Own);
    let more = [Mistake::TicksServeNothing, Mistake::RowsDecide];
    noticed(sequences(), missing, &[&COMMON[..], &OF_CONDITIONS, &own, &more].concat());
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
    check(&rule, &[before.clone(), rows(1.0, &[("B", 0.0, 0)]), rows(2.0, &[("A", 1.5, 0)])], &[]);
    // Both at once, in either order.
    for at_once in [[("A", 1.5, 0), ("B", 0.0, 0)], [("B", 0.0, 0), ("A", 1.5, 0)]] {
        check(&rule, &[before.clone(), rows(1.0, &at_once)], &["sequence on 1"]);
    }
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
    check(&rule, &[before.clone(), over.clone(), tick(20.0)], &[]);
    // A first that flutters does not put it off.
    let flutters = (2..7).map(|s| {
        rows(s as f64, &[("A", if s % 2 == 0 { 0.5 } else { 1.5 }, 0), ("B", 1.0, 0), ("C", 1.0, 0)])
    });
    let events: Vec<Event> = [before, over].into_iter().chain(flutters).chain([tick(7.0)]).collect();
    check(&rule, &events, &["sequence on 7"]);
}
