//! `copy` against a model that keeps every change and compares whole stretches.

use crate::agree::{Say, many};
use crate::group::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn rule(select: &str, by: &str, changes: usize, distinct: usize) -> String {
    format!(
        "[[rule]]\nname = \"c\"\nkind = \"copy\"\nselect = {{ {select} }}\n{by}\nchanges = {changes}\ndistinct = {distinct}\n"
    )
}

/// Of four stretches one is looked for; which, only their fingerprint says.
fn is_looked_for(stretch: &[i64]) -> bool {
    let mut hasher = blake3::Hasher::new();
    for value in stretch {
        hasher.update(&(*value as f64 / 100.0).to_bits().to_le_bytes());
    }
    hasher.finalize().as_bytes()[0].is_multiple_of(4)
}

/// Changes and distinct values of a stretch; whether all three are looked at together; rows.
type Copied = (usize, usize, bool, Vec<Row>);

fn copies() -> impl Strategy<Value = Copied> {
    (4usize..6, 1usize..4, any::<bool>(), series(&[20, 30, 50]))
}

fn members(together: bool) -> &'static [usize] {
    if together { &[0, 1, 2] } else { &[0] }
}

/// What a reading says of its point alone; all changes before it are kept.
fn say(series: &Series, of: &Looked, (changes, distinct, together): (usize, usize, bool)) -> Say {
    let m = series.m;
    let not_good = match m {
        Mistake::BadIsGood => 0,
        _ => BAD | MISSING | OVER_RANGE | CALIBRATION | STALE,
    };
    let good = |r: &Reading| r.status & not_good == 0;
    let until = |p: usize, row: usize| {
        let looked = series.looked.iter().filter(|l| l.row <= row && l.r.point == p && good(&l.r));
        let mut values: Vec<i64> = looked.map(|l| l.r.value).collect();
        values.dedup();
        values
    };
    let now = of.r;
    let before = series.looked.iter().rfind(|l| l.row < of.row && l.r.point == now.point && good(&l.r));
    if !good(&now) || before.is_some_and(|l| l.r.value == now.value) {
        return Say::Hold;
    }
    let own = until(now.point, of.row);
    let Some(start) = own.len().checked_sub(changes) else { return Say::Hold };
    let stretch = &own[start..];
    if stretch.iter().collect::<BTreeSet<_>>().len() < distinct || !is_looked_for(stretch) {
        return Say::Hold;
    }
    // Others count to the end of its time.
    let time = series.moments.iter().find(|at| at.last >= of.row).unwrap();
    let is_there = |p: &usize| {
        let all = until(*p, if *p == now.point { of.row } else { time.last });
        let until = match m {
            _ if *p != now.point => all.len(),
            // Its own must not overlap.
            Mistake::Own(2) => all.len() - 1,
            _ => start,
        };
        all[..until].windows(changes).any(|w| w == stretch)
    };
    let looked_in: &[usize] = if m == Mistake::Own(3) { &[now.point] } else { members(together) };
    if looked_in.iter().any(is_there) { Say::Over } else { Say::Below }
}

fn model((changes, distinct, together, rows): &Copied, m: Mistake) -> Vec<(i64, bool)> {
    let spec = (
        changes + usize::from(m == Mistake::Own(0)),
        distinct + usize::from(m == Mistake::Own(1)),
        *together,
    );
    let of_members = |r: &&Row| r.of.is_none_or(|r| members(*together).contains(&r.point));
    let rows: Vec<Row> = rows.iter().filter(of_members).copied().collect();
    let series = Series::of(&rows, m);
    let said: Vec<Say> = series.looked.iter().map(|l| say(&series, l, spec)).collect();
    series.changes((0, 0), |at| {
        // Each is a copy, or not, as it was said of it last.
        let of = |p: usize| {
            let own =
                series.looked.iter().zip(&said).filter(move |(l, _)| l.r.point == p && l.row <= at.last);
            own.map(|(_, s)| *s).rfind(|s| *s != Say::Hold)
        };
        let last: Vec<Say> = match m {
            Mistake::Own(4) => [0, 1, 2].iter().rev().filter_map(|p| of(*p)).take(1).collect(),
            _ => [0, 1, 2].iter().filter_map(|p| of(*p)).collect(),
        };
        match last.contains(&Say::Over) {
            true => Say::Over,
            false if last.is_empty() => Say::Hold,
            false => Say::Below,
        }
    })
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(one in copies(), cuts in cuts()) {
        let (changes, distinct, together, rows) = &one;
        let (select, by) = match together {
            true => ("quantity = \"ch4\"", "by = \"site\""),
            false => ("point = \"A\"", ""),
        };
        let rules = rule(select, by, *changes, *distinct);
        agree(&rules, rows, &cuts, &[("copy", model(&one, Mistake::None))])?;
    }
}

#[test]
fn every_mistake_planted_is_noticed() {
    let own = [0, 1, 2, 3, 4].map(Mistake::Own);
    let common = [Mistake::BadIsGood, Mistake::LateIsLive, Mistake::OrderIsIgnored, Mistake::SameTimeIsNewer];
    noticed(copies(), model, &[&own[..], &common].concat());
}

/// A curve of a sensor that moves by hundredths.
fn curve(seed: u64, n: usize) -> Vec<f64> {
    let (mut state, mut value) = (seed, 50i64);
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        value += (state >> 33) as i64 % 7 - 3;
        value as f64 / 100.0
    };
    (0..n).map(step).collect()
}

fn judged(rules: &str, readings: impl IntoIterator<Item = (&'static str, f64)>) -> Vec<String> {
    let (program, problems) = program_for(rules, &three());
    assert_eq!(problems.to_string(), "");
    let mut e = rules::Evaluator::new(program, three());
    let mut out = Vec::new();
    for (i, (point, value)) in readings.into_iter().enumerate() {
        let t = START + i as i64 * 1_000_000;
        apply(&mut e, i as u64, &Event::Rows(t, 0, vec![(point, t, value, 0)]), &mut out);
    }
    out.iter().map(|t| format!("{} {}: {}", t.to.as_str(), (t.time - START) / 1_000_000, t.reason)).collect()
}

const OWN: &str = "[[rule]]\nname = \"c\"\nkind = \"copy\"\nselect = { point = \"A\" }\n";

#[test]
fn yesterday_played_again_is_found_and_a_day_of_its_own_is_not() {
    let (day, next) = (curve(1, 1500), curve(2, 1500));
    let of_a = |values: &[f64]| values.iter().map(|v| ("A", *v)).collect::<Vec<_>>();
    assert!(judged(OWN, of_a(&[&day[..], &next[..]].concat())).is_empty());
    let again = judged(OWN, of_a(&[&day[..], &next[..300], &day[200..600], &next[300..]].concat()));
    assert_eq!(again.len(), 2, "{again:?}");
    let on: Vec<&str> = again[0].split([' ', ':']).collect();
    let (word, at) = (on[0], on[1].parse::<i64>().unwrap());
    assert!(word == "on" && (1840..1880).contains(&at), "{again:?}");
    assert!(again[0].contains("the last 40 changes of `A` are those"), "{again:?}");
    let off = again[1].split([' ', ':']).nth(1).unwrap().parse::<i64>().unwrap();
    assert!((2200..2240).contains(&off), "{again:?}");
}

#[test]
fn another_sensors_curve_is_found_and_a_flutter_is_not() {
    let group = OWN.replace("point = \"A\"", "quantity = \"ch4\"") + "by = \"site\"\n";
    let (a, b) = (curve(1, 400), curve(2, 400));
    let both = |b: &[f64]| a.iter().zip(b).flat_map(|(a, b)| [("A", *a), ("B", *b)]).collect::<Vec<_>>();
    assert!(judged(&group, both(&b)).is_empty());
    // B says what A said half a minute before.
    let delayed: Vec<f64> = b[..30].iter().chain(&a[..370]).copied().collect();
    let copied = judged(&group, both(&delayed));
    assert!(
        copied[0].contains("on ") && copied[0].contains("the last 40 changes of `B` are those of `A`"),
        "{copied:?}"
    );
    let flutter = (0..2000).map(|i| ("A", if i % 2 == 0 { 0.2 } else { 0.21 }));
    assert!(judged(OWN, flutter).is_empty());
}

/// A thousand fingerprints of a member are kept, of every fourth stretch: what was before them is forgotten, and found again if it is not.
#[test]
fn what_lies_too_far_back_is_forgotten() {
    let of_a = |values: &[f64]| values.iter().map(|v| ("A", *v)).collect::<Vec<_>>();
    let (day, near, far) = (curve(1, 300), curve(2, 3000), curve(2, 8000));
    assert_eq!(judged(OWN, of_a(&[&day[..], &near, &day].concat())).len(), 1);
    assert!(judged(OWN, of_a(&[&day[..], &far, &day].concat())).is_empty());
}

/// Two copies at once are one episode until neither is one.
#[test]
fn a_group_is_over_while_any_is_a_copy() {
    let group = OWN.replace("point = \"A\"", "quantity = \"ch4\"") + "by = \"site\"\n";
    let (a, c) = (curve(1, 900), curve(3, 900));
    // B repeats A; C is its own all the time, and ends nothing.
    let b: Vec<f64> = curve(2, 30).iter().chain(&a[..400]).chain(&curve(4, 470)).copied().collect();
    let all = (0..900).flat_map(|i| [("A", a[i]), ("B", b[i]), ("C", c[i])]);
    let told = judged(&group, all);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("on ") && told[1].starts_with("off "), "{told:?}");
}
