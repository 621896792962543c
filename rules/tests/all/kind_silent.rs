//! `silent` with `by` against a model: when did any of them speak last? That of one point stands in `models`.

use crate::agree::many;
use crate::group::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

fn rule(by: &str, after: &str) -> String {
    format!(
        "[[rule]]\nname = \"s\"\nkind = \"silent\"\nselect = {{ quantity = \"ch4\" }}\nby = \"{by}\"\n{after}\n"
    )
}

fn model(rows: &[Row], after: i64) -> Vec<(i64, bool)> {
    let (mut out, mut heard, mut on) = (Vec::new(), None::<i64>, false);
    for (i, row) in rows.iter().enumerate() {
        let now = row.appended;
        let before = i.checked_sub(1).map(|b| rows[b].appended).filter(|b| *b < now);
        let passes = before.into_iter().chain(row.of.is_none().then_some(now));
        for at in passes {
            if at - *heard.get_or_insert(at) > after && !on {
                on = true;
                out.push((at, true));
            }
        }
        if let Some(r) = row.of.filter(|r| r.status & HISTORICAL == 0 && now - r.time <= 120) {
            heard = Some(now);
            // The same time again is a sign of the link, and of nothing else.
            let good = r.status & (BAD | MISSING | OVER_RANGE | CALIBRATION | STALE) == 0;
            if on && good {
                on = false;
                out.push((now, false));
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(after in 1i64..8, rows in series(&[20]), cuts in cuts()) {
        let rules = rule("site", &format!("after = \"{after}s\""));
        agree(&rules, &rows, &cuts, &[("silent", model(&rows, after))])?;
    }
}

#[test]
fn points_together_wait_for_the_slowest_and_begin_with_the_first_tick() {
    let catalog = three();
    let (program, problems) = program_for(&rule("place", "periods = 3"), &catalog);
    assert_eq!(problems.to_string(), "");
    // The periods are 1, 2 and 3 s.
    let tick = |s: i64| Event::Tick(START + s * 1_000_000);
    let events: Vec<Event> = (0..12).map(tick).collect();
    let out = judge_by(rules::Evaluator::new(program, catalog), &events);
    assert_eq!(shown(&out), ["silent on 10"]);
    assert_eq!(out[0].reason, "no reading of any of 3 points for more than 9s");
}
