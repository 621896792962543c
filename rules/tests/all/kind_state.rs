//! `state` against a model, and the table of types.

use crate::agree::*;
use crate::stand::*;
use model::catalog::{points_from_csv, sites_from_csv};
use model::status::*;
use model::{Catalog, Problems};
use proptest::prelude::*;
use rules::{Program, RuleFile};

fn rules(danger: i64, safe: i64) -> String {
    format!(
        "[[rule]]\nname = \"m\"\nkind = \"state\"\nselect = {{ point = \"T1\" }}\ndanger = {danger}\nsafe = {safe}\n"
    )
}

fn say(danger: i64, safe: i64, row: &Row) -> Say {
    if has(row, BAD | MISSING | OVER_RANGE) {
        return Say::Hold;
    }
    match row.value {
        v if v == danger * 100 => Say::Over,
        v if v == safe * 100 && may_clear(row) => Say::Below,
        _ => Say::Hold,
    }
}

fn reported(row: &Row) -> Say {
    match row.status {
        s if s & BAD != 0 && s & (ALARM | CUT) != 0 => Say::Over,
        _ if may_clear(row) => Say::Below,
        _ => Say::Hold,
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(
        (danger, safe) in prop::sample::select(&[(0i64, 1i64), (1, 0), (2, 1)][..]),
        rows in series(&[0, 100, 200, 50, 900]),
        cuts in cuts()
    ) {
        let state = changes(&rows, |row| say(danger, safe, row));
        let reported = changes(&rows, reported);
        agree(&rules(danger, safe), &rows, &cuts, &[("state", state), ("reported", reported)])?;
    }
}

#[track_caller]
fn check(events: &[Event], expected: &[&str]) {
    assert_eq!(shown(&judge(&rules(0, 1), events)), expected);
}

#[test]
fn unknown_values_and_bad_ones_clear_nothing() {
    check(&[at(0., 0., 0), at(1., 9., 0), at(2., 0.5, 0), at(3., 1., 0)], &["state on 0", "state off 3"]);
    for status in
        [SENSOR_FAULT, PAUSED, NOT_INSPECTED, STATION_FAULT, MISSING, CALIBRATION, OVER_RANGE, STALE]
    {
        let out = judge(&rules(0, 1), &[at(0., 0., 0), at(1., 1., status), at(2., 1., 0)]);
        assert_eq!(turns(&out), ["state on 0", "state off 2"], "{status}");
    }
    check(&[at(0., f64::NAN, 0), at(1., 0., MISSING), at(2., 0., PAUSED), at(3., 0., OVER_RANGE)], &[]);
}

#[test]
fn calibrating_is_marked_late_is_found_late_and_a_drill_is_a_drill() {
    check(&[at(0., 0., CALIBRATION), at(1., 1., CALIBRATION)], &["state on 0 calibrating"]);
    let late = Event::Rows(START + 300_000_000, 0, vec![("T1", START, 0., 0)]);
    check(&[late], &["state on 0 late"]);
    check(&[at(0., 0., SIMULATED), at(1., 1., 0)], &["state on 0 simulated"]);
    let future = Event::Rows(START, 0, vec![("T1", START + 86_400_000_000, 0., FUTURE)]);
    check(&[future], &["state on 0"]);
    check(
        &[at(0., 0., SENSOR_FAULT | CUT), at(1., 1., 0)],
        &["reported on 0 unconfirmed", "reported off 1 unconfirmed"],
    );
}

/// The published table of switches: type, dangerous value, safe value; 0 is dangerous for fans and 1 for smoke.
#[test]
fn each_type_has_its_dangerous_value() {
    let table = [
        ("1001", "fan", Some((0., 1.))),
        ("1002", "door", Some((1., 0.))),
        ("1003", "duct", Some((0., 1.))),
        ("1004", "equipment", None),
        ("1005", "switch", None),
        ("1006", "wind_direction", Some((0., 1.))),
        ("1007", "bunker", None),
        ("1008", "smoke", Some((1., 0.))),
        ("1009", "cutter", None),
        ("1010", "main_fan", Some((0., 1.))),
        ("1011", "feed_sensor", None),
        ("1012", "alarm_device", Some((1., 0.))),
        ("1013", "metering", None),
        ("1014", "control", None),
        ("1015", "feed", None),
        ("4001", "substation", Some((0., 1.))),
        ("4002", "power_supply", Some((0., 2.))),
    ];
    for (code, quantity, meaning) in table {
        // By its code; without one by its quantity.
        for (quantity, code) in [("other", code), (quantity, "")] {
            let mut problems = Problems::default();
            let sites = sites_from_csv("s", "site,name,kind,region\nM1,East,mine,140100\n", &mut problems);
            let text = "site,point,name,quantity,unit,low,high,place\nM1,T1,x,QUANTITY,,,,\n"
                .replace("QUANTITY", quantity);
            let mut points = points_from_csv("p", &text, &mut problems);
            points[0].0.type_code = code.to_owned();
            let catalog = std::sync::Arc::new(Catalog::build(sites, points, 1, &mut problems));
            let text = "[[rule]]\nname = \"m\"\nkind = \"state\"\nselect = { point = \"T1\" }\n";
            let file = RuleFile { name: "r.toml".into(), text: text.into() };
            let (program, problems) = Program::compile(&[file], &catalog);
            assert_eq!(problems.0.len(), usize::from(meaning.is_none()), "{code} {quantity}: {problems}");
            let mut e = rules::Evaluator::new(program, catalog);
            let (danger, safe) = meaning.unwrap_or((0., 1.));
            let mut out = Vec::new();
            for (i, value) in [danger, safe, danger, 7.].into_iter().enumerate() {
                apply(&mut e, i as u64, &at(i as f64, value, 0), &mut out);
            }
            let expected: &[&str] =
                if meaning.is_some() { &["state on 0", "state off 1", "state on 2"] } else { &[] };
            assert_eq!(shown(&out), expected, "{code} {quantity}");
        }
    }
}
