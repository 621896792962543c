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

/// After how long; rows.
type Silence = (i64, Vec<Row>);

fn silences() -> impl Strategy<Value = Silence> {
    (1i64..8, series(&[20]))
}

fn model((after, rows): &Silence, m: Mistake) -> Vec<(i64, bool)> {
    let series = Series::of(rows, m);
    let (mut out, mut heard, mut armed, mut on) = (Vec::new(), i64::MIN, None, false);
    for at in &series.moments {
        let came = series.looked.iter().filter(|l| (at.first..=at.last).contains(&l.row));
        for l in came {
            let good = l.r.status & (BAD | MISSING | OVER_RANGE | CALIBRATION | STALE) == 0;
            if m != Mistake::Own(1) || good {
                heard = heard.max(l.heard);
            }
            if on && (good || m == Mistake::BadIsGood) {
                on = false;
                out.push((at.now, false));
            }
        }
        if m == Mistake::Own(3) && heard == i64::MIN {
            continue; // never armed before something spoke
        }
        let since = heard.max(*armed.get_or_insert(at.now));
        if at.now - since + i64::from(m == Mistake::Own(0)) > *after && !on {
            on = true;
            out.push((at.now, true));
        }
    }
    out
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(one in silences(), cuts in cuts()) {
        let rules = rule("site", &format!("after = \"{}s\"", one.0));
        agree(&rules, &one.1, &cuts, &[("silent", model(&one, Mistake::None))])?;
    }
}

#[test]
fn every_mistake_planted_is_noticed() {
    let own = [0, 1, 3].map(Mistake::Own);
    let common = [
        Mistake::LateIsLive,
        Mistake::BadIsGood,
        Mistake::OrderIsIgnored,
        Mistake::SameTimeIsNewer,
        Mistake::JumpCounts,
        Mistake::HeardBeforeJump,
    ];
    noticed(silences(), model, &[&own[..], &common].concat());
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
