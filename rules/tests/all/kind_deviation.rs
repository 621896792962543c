//! `deviation` against a model that looks over the whole series.

use crate::agree::{Say, many};
use crate::group::*;
use crate::stand::*;
use model::status::*;
use proptest::prelude::*;

fn rule(delays: (i64, i64)) -> String {
    format!(
        "[[rule]]\nname = \"d\"\nkind = \"deviation\"\nselect = {{ quantity = \"ch4\" }}\nby = \"site\"\n\
         level = [{{ name = \"small\", on = \">= 0.3\", off = \"< 0.2\", on_delay = \"{}s\", off_delay = \"{}s\" }},\n\
           {{ name = \"large\", on = \"> 0.6\" }}]\n",
        delays.0, delays.1
    )
}

/// Delays of the small one; rows.
type Apart = ((i64, i64), Vec<Row>);

fn aparts() -> impl Strategy<Value = Apart> {
    ((0i64..4, 0i64..3), series(&[0, 20, 29, 30, 50, 60, 61]))
}

/// What members say: good numbers only.
fn known(series: &Series, at: &Moment) -> Vec<i64> {
    let ignored = match series.m {
        Mistake::BadIsGood => BAD,
        Mistake::CalibrationIsGood => CALIBRATION,
        Mistake::MissingIsLow => MISSING,
        Mistake::OverRangeClears => OVER_RANGE,
        Mistake::StaleClears => STALE,
        _ => 0,
    };
    let not_good = (BAD | MISSING | OVER_RANGE | CALIBRATION | STALE) & !ignored;
    let of = |p| series.fresh(p, at).filter(|r| r.status & not_good == 0);
    (0..3).filter_map(of).map(|r| if r.status & MISSING != 0 { 0 } else { r.value }).collect()
}

fn model_of((delays, rows): &Apart, over: impl Fn(i64) -> bool, below: i64, m: Mistake) -> Vec<(i64, bool)> {
    let series = Series::of(rows, m);
    series.changes(*delays, |at| {
        let known = known(&series, at);
        let apart = known.iter().max().zip(known.iter().min()).map_or(0, |(a, b)| a - b);
        let are_all =
            known.len() == 3 || m == Mistake::UnknownIsBelow || (known.len() == 2 && m == Mistake::Own(0));
        match known.len() {
            0 | 1 => Say::Hold,
            _ if over(apart) => Say::Over,
            _ if !are_all => Say::Hold,
            _ if apart < below || (apart == below && m == Mistake::OffIsInclusive) => Say::Below,
            _ if m == Mistake::BandIsBelow => Say::Below,
            _ => Say::Band,
        }
    })
}

fn small(one: &Apart, m: Mistake) -> Vec<(i64, bool)> {
    let on = if m == Mistake::OnIsStrict { 31 } else { 30 };
    model_of(one, |d| d >= on, 20, m)
}

fn large((_, rows): &Apart, m: Mistake) -> Vec<(i64, bool)> {
    let on = if m == Mistake::OnIsStrict { 60 } else { 61 };
    model_of(&((0, 0), rows.clone()), |d| d >= on, 61, m)
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(one in aparts(), cuts in cuts()) {
        let expected = [("small", small(&one, Mistake::None)), ("large", large(&one, Mistake::None))];
        agree(&rule(one.0), &one.1, &cuts, &expected)?;
    }
}

#[test]
fn every_mistake_planted_is_noticed() {
    // That something unknown were over is no mistake that a distance could make.
    let others = [Mistake::UnknownIsOver, Mistake::Own(1)];
    let common: Vec<Mistake> = COMMON.iter().copied().filter(|m| !others.contains(m)).collect();
    let own = [Mistake::OffIsInclusive, Mistake::BandIsBelow, Mistake::RowsDecide];
    noticed(aparts(), small, &[&common[..], &OF_DELAYS, &own].concat());
    noticed(aparts(), large, &[Mistake::OnIsStrict]);
}

const TWINS: &str = "[[rule]]\nname = \"twins\"\nkind = \"deviation\"\nselect = { quantity = \"*\" }\nby = \"label:twin\"\non = \">= 0.1\"\nunit = \"%\"\n";

fn catalog_with(rows: &str) -> std::sync::Arc<model::Catalog> {
    use model::catalog::{points_from_csv, sites_from_csv};
    let mut problems = model::Problems::default();
    let sites = "site,name,kind,region\nM1,East,mine,140100\nM2,West,mine,140100\n";
    let sites = sites_from_csv("s", sites, &mut problems);
    let points = format!("site,point,name,quantity,unit,low,high,place,labels\n{rows}");
    let points = points_from_csv("p", &points, &mut problems);
    let built = model::Catalog::build(sites, points, 1, &mut problems);
    assert!(problems.0.is_empty(), "{problems}");
    std::sync::Arc::new(built)
}

/// Twins of one site, by a label; each in a unit of its own.
#[test]
fn twins_in_other_units_are_compared_in_the_unit_of_the_first() {
    let catalog = catalog_with(
        "M1,T2,a,ch4,%,0,4,T1,twin=1\nM1,T1,b,ch4,ppm,0,40000,T1,twin=1\nM2,T1,c,ch4,%,0,4,T1,twin=1\nM2,T2,d,ch4,%,0,4,T1,twin=1\nM1,T3,d,ch4,%,0,4,T1,\n",
    );
    let (program, problems) = program_for(TWINS, &catalog);
    assert_eq!(problems.to_string(), "");
    let said = |site: &str, point: &str| {
        let rules = program.rules_of_point(catalog.find(site, point).unwrap());
        rules.into_iter().flat_map(|r| r.levels).map(|(_, text, _)| text).collect::<Vec<_>>()
    };
    let twins = ["T1, T2 apart on >= 1000 ppm off < 1000 ppm"];
    assert_eq!((said("M1", "T1"), said("M1", "T2")), (vec![twins[0].into()], vec![twins[0].into()]));
    assert_eq!(said("M2", "T2"), ["T1, T2 apart on >= 0.1 % off < 0.1 %"]);
    assert!(said("M1", "T3").is_empty(), "a point without the label belongs to no group");
    let mut e = rules::Evaluator::new(program, catalog);
    let mut out = Vec::new();
    let rows = vec![("T2", START, 0.51, 0), ("T1", START, 4100.0, 0)];
    apply(&mut e, 0, &Event::Rows(START, 0, rows), &mut out);
    assert!(out.is_empty(), "other rows of this time may come");
    apply(&mut e, 1, &Event::Tick(START), &mut out);
    assert_eq!(shown(&out), ["deviation on 0"]);
    assert_eq!((out[0].site.as_str(), out[0].point.as_str(), out[0].value), ("M1", "T1", Some(1000.0)));
    assert_eq!(out[0].reason, "`T1` 4100 and `T2` 5100: 1000 ppm apart, >= 1000 ppm");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let told = |rows: &str| program_for(TWINS, &catalog_with(rows)).1.to_string();
    let alone = told("M1,T1,a,ch4,%,0,4,T1,twin=1\n");
    assert!(
        alone.contains("warning: rule `twins`: point `T1` of site `M1` has nothing to differ from"),
        "{alone}"
    );
    let apart = told("M1,T1,a,ch4,%,0,4,T1,twin=1\nM1,T2,b,ch4,m,0,9,T1,twin=1\n");
    assert!(apart.contains("error: rule `twins`: points `T1` in `%` and `T2` in `m`"), "{apart}");
}
