//! `mismatch` against a model.

use crate::agree::*;
use crate::stand::*;
use model::catalog::{points_from_csv, sites_from_csv};
use model::status::*;
use model::{Catalog, Problems};
use proptest::prelude::*;
use rules::{Evaluator, Program, RuleFile};
use std::sync::Arc;

fn rules(bit: &str, limits: &str) -> String {
    format!(
        "[[rule]]\nname = \"m\"\nkind = \"mismatch\"\nselect = {{ point = \"T1\" }}\nbit = \"{bit}\"\n{limits}\n"
    )
}

/// On at or above 100, off below 80, in hundredths.
fn say(row: &Row, bit: i32, mine_only: bool) -> Say {
    if !may_clear(row) {
        return Say::Hold;
    }
    match (has(row, bit) == mine_only, mine_only) {
        (false, _) => Say::Below,
        (true, true) if row.value < 80 => Say::Over,
        (true, false) if row.value >= 100 => Say::Over,
        (true, true) if row.value >= 100 => Say::Below,
        (true, false) if row.value < 80 => Say::Below,
        _ => Say::Band,
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(cut in any::<bool>(), rows in series(&[50, 79, 80, 99, 100, 120]), bits in prop::collection::vec(0i32..4, 1..9), cuts in cuts()) {
        let mut rows = rows;
        rows.iter_mut().enumerate().for_each(|(i, r)| r.status |= bits[i / 2 % bits.len()]);
        let (word, bit) = if cut { ("cut", CUT) } else { ("alarm", ALARM) };
        let level = |mine_only| changes(&rows, |row| say(row, bit, mine_only));
        let expected = [("mine_only", level(true)), ("ours_only", level(false))];
        agree(&rules(word, "on = \">= 1.0\"\noff = \"< 0.8\""), &rows, &cuts, &expected)?;
    }
}

#[track_caller]
fn check(events: &[Event], expected: &[&str]) {
    assert_eq!(turns(&judge(&rules("alarm", "on = \">= 1.0\""), events)), expected);
}

#[test]
fn either_side_alone_is_told_and_agreement_ends_it() {
    check(&[at(0., 0.99, ALARM), at(1., 1.0, ALARM)], &["mine_only on 0", "mine_only off 1"]);
    check(&[at(0., 1.0, 0), at(1., 0.99, 0)], &["ours_only on 0", "ours_only off 1"]);
    check(&[at(0., 1.0, ALARM), at(1., 0.5, 0), at(2., 0.5, CUT)], &[]);
    for status in [SENSOR_FAULT, PAUSED, CALIBRATION, OVER_RANGE, MISSING, STALE] {
        check(&[at(0., 0.5, ALARM | status), at(1., 1.5, status)], &[]);
        check(&[at(0., 1.0, 0), at(1., 0.5, status)], &["ours_only on 0"]);
    }
    check(&[at(0., 1.0, SIMULATED)], &["ours_only on 0 simulated"]);
    let late = Event::Rows(START + 300_000_000, 0, vec![("T1", START, 1.0, 0)]);
    check(&[late], &["ours_only on 0 late"]);
}

/// By the point's own limits, an upper and a lower one.
#[test]
fn the_limits_may_be_the_points_own() {
    let cases = [
        ("1,0.8,,,,,,", 1.0, 0, Some("ours_only")),
        ("1,0.8,,,,,,", 0.9, 0, None),
        ("1,0.8,,,,,,", 0.79, ALARM, Some("mine_only")),
        ("1,,,,0.2,0.3,,", 0.2, 0, Some("ours_only")),
        ("1,,,,0.2,0.3,,", 0.25, ALARM, None),
        ("1,,,,0.2,0.3,,", 0.31, ALARM, Some("mine_only")),
        ("1,,,,0.2,0.3,,", 0.2, ALARM, None),
        ("4,,,,,,,", 4.0, 0, Some("ours_only")),
        // Refused: beyond the range, at its low end, a release on the wrong side. None at all.
        ("5,,,,,,,", 5.0, 0, None),
        (",,,,0,,,", 0.0, 0, None),
        ("1,1.1,,,,,,", 1.5, 0, None),
        (",,,,0.5,0.4,,", 0.1, 0, None),
        (",,1,,,,,", 1.5, ALARM, None),
        (",,,,0.2,0.2,,", 0.2, 0, Some("ours_only")),
    ];
    for (limits, value, status, expected) in cases {
        let mut problems = Problems::default();
        let sites = sites_from_csv("s", "site,name,kind,region\nM1,East,mine,140100\n", &mut problems);
        let head = "site,point,name,quantity,unit,low,high,place,alarm_on,alarm_off,cut_on,cut_off,low_alarm_on,low_alarm_off,low_cut_on,low_cut_off";
        let points = points_from_csv("p", &format!("{head}\nM1,T1,x,ch4,%,0,4,T1,{limits}\n"), &mut problems);
        let catalog = Arc::new(Catalog::build(sites, points, 1, &mut problems));
        let file = RuleFile { name: "r.toml".into(), text: rules("alarm", "on = \"catalog\"") };
        let (program, _) = Program::compile(&[file], &catalog);
        let (mut e, mut out) = (Evaluator::new(program, catalog), Vec::new());
        apply(&mut e, 0, &at(0., value, status), &mut out);
        assert_eq!(out.first().map(|t| t.level.as_str()), expected, "{limits} {value}");
    }
}
