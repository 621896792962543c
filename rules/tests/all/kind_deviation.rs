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

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_model_agrees(
        delays in (0i64..4, 0i64..3), rows in series(&[0, 20, 29, 30, 50, 60, 61]), cuts in cuts()
    ) {
        let say = |i: usize, over: &dyn Fn(i64) -> bool, below: i64| {
            let now = rows[i].appended;
            let known: Vec<i64> = (0..3)
                .filter_map(|p| fresh(&rows, i, p, now))
                .filter(|r| r.status & (BAD | MISSING | OVER_RANGE | CALIBRATION | STALE) == 0)
                .map(|r| r.value)
                .collect();
            let apart = known.iter().max().zip(known.iter().min()).map_or(0, |(a, b)| a - b);
            match known.len() {
                0 | 1 => Say::Hold,
                _ if over(apart) => Say::Over,
                2 => Say::Hold,
                _ if apart < below => Say::Below,
                _ => Say::Band,
            }
        };
        let small = changes(&rows, delays.0, delays.1, |i| say(i, &|d| d >= 30, 20));
        let large = changes(&rows, 0, 0, |i| say(i, &|d| d > 60, 61));
        agree(&rule(delays), &rows, &cuts, &[("small", small), ("large", large)])?;
    }
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
