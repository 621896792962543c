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

/// What is said at each row, of the members given; all changes before it are kept.
fn say(rows: &[Row], i: usize, members: &[usize], changes: usize, distinct: usize) -> Say {
    let good = |r: &Reading| r.status & (BAD | MISSING | OVER_RANGE | CALIBRATION | STALE) == 0;
    let of = |p: usize| {
        let mut values: Vec<i64> = looked_at(&rows[..=i])
            .iter()
            .filter(|(_, r)| r.point == p && good(r))
            .map(|(_, r)| r.value)
            .collect();
        values.dedup();
        values
    };
    let now = rows[i].of.unwrap();
    let before = looked_at(&rows[..i]).into_iter().rfind(|(_, r)| r.point == now.point && good(r));
    if !good(&now) || before.is_some_and(|(_, r)| r.value == now.value) {
        return Say::Hold;
    }
    let own = of(now.point);
    let Some(start) = own.len().checked_sub(changes) else { return Say::Hold };
    let stretch = &own[start..];
    if stretch.iter().collect::<BTreeSet<_>>().len() < distinct || !is_looked_for(stretch) {
        return Say::Hold;
    }
    let is_there = |p: &usize| {
        let all = of(*p);
        // Its own must not overlap.
        let until = if *p == now.point { start } else { all.len() };
        all[..until].windows(changes).any(|w| w == stretch)
    };
    if members.iter().any(is_there) { Say::Over } else { Say::Below }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(
        changes in 4usize..6, distinct in 1usize..4, together in any::<bool>(), rows in series(&[20, 30, 40]), cuts in cuts()
    ) {
        let (select, by, members) = match together {
            true => ("quantity = \"ch4\"", "by = \"site\"", vec![0, 1, 2]),
            false => ("point = \"A\"", "", vec![0]),
        };
        let looked: Vec<Row> =
            rows.iter().filter(|r| r.of.is_none_or(|r| members.contains(&r.point))).copied().collect();
        let expected = changes_of(&looked, |i| say(&looked, i, &members, changes, distinct));
        agree(&rule(select, by, changes, distinct), &looked, &cuts, &[("copy", expected)])?;
    }
}

fn changes_of(rows: &[Row], say: impl Fn(usize) -> Say) -> Vec<(i64, bool)> {
    changes(rows, 0, 0, say)
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
