//! What the law says of a place, as a table; and that a rule looser than it in any of its levels is told at its place.

use crate::stand::*;

/// Rows of domain 1.3 that the sources confirm: places, alarm, cut, restore.
const TABLE: [(&[&str], f64, f64, f64); 5] = [
    (&["T0", "T1", "T5", "shearer"], 1.0, 1.5, 1.0),
    (&["T2", "T6", "T8", "return-middle"], 1.0, 1.0, 1.0),
    (&["T3", "T4", "haulage"], 0.5, 0.5, 0.5),
    (&["T7"], 2.5, 2.5, 2.5),
    (&["bunker"], 1.5, 1.5, 1.5),
];

fn point(place: &str) -> String {
    format!("M1,P,x,ch4,%,0,10,{place},1s\n")
}

fn rule(levels: &[(&str, String, String, &str)]) -> String {
    let levels: Vec<String> = levels
        .iter()
        .map(|(name, on, off, delay)| {
            format!("{{ name = \"{name}\", on = \"{on}\", off = \"{off}\", on_delay = \"{delay}\" }}")
        })
        .collect();
    format!(
        "[[rule]]\nname = \"r\"\nkind = \"limit\"\nselect = {{ quantity = \"ch4\" }}\nlevel = [{}]\n",
        levels.join(", ")
    )
}

/// Errors and warnings of rules at one methane point.
fn checked(rules: &str, place: &str) -> (usize, usize, String) {
    let catalog = catalog_of("operating", &point(place));
    let (program, problems) = program_for(rules, &catalog);
    assert_eq!(problems.errors(), 0, "{problems}");
    let found = program.check_coverage(&catalog);
    (found.errors(), found.0.len() - found.errors(), found.to_string())
}

#[test]
fn the_pack_says_what_the_table_says() {
    let pack = rules::packs().iter().find(|(name, _)| *name == "coal").unwrap().1;
    for (places, alarm, cut, restore) in TABLE {
        for place in places {
            let catalog = catalog_of("operating", &point(place));
            let (program, _) = program_for(pack, &catalog);
            let limits: Vec<String> = program
                .rules_of_point(0)
                .into_iter()
                .filter(|r| r.kind == "limit")
                .flat_map(|r| r.levels.into_iter().map(|(name, limit, _)| format!("{name} {limit}")))
                .collect();
            let expected =
                [format!("alarm on >= {alarm} off < {alarm}"), format!("cut on >= {cut} off < {restore}")];
            assert_eq!(limits, expected, "{place}");
            assert_eq!(checked(pack, place).0, 0, "{place}");
        }
    }
}

/// The legal levels pass; each of them loosened a little, in any way, is refused, and names its level.
#[test]
fn every_way_to_loosen_a_legal_level_is_refused() {
    let up = |v: f64| format!(">= {v}");
    let down = |v: f64| format!("< {v}");
    for (places, alarm, cut, restore) in TABLE {
        for place in places {
            let legal = [("alarm", up(alarm), down(alarm), "0s"), ("cut", up(cut), down(restore), "2s")];
            assert_eq!(checked(&rule(&legal), place), (0, 0, String::new()), "{place}");
            let strict = [
                ("alarm", up(alarm - 0.1), down(0.3), "0s"),
                ("cut", up(cut - 0.1), down(restore - 0.2), "0s"),
            ];
            assert_eq!(checked(&rule(&strict), place).0, 0, "{place}");
            for i in 0..2 {
                let mut loose = vec![legal.clone(); 5];
                let limit = [alarm, cut][i];
                loose[0][i].1 = up(limit + 0.01);
                loose[1][i].1 = format!("> {limit}");
                let off = [alarm, restore][i];
                loose[2][i].2 = format!("<= {off}");
                loose[3][i].3 = "2.001s";
                loose[4][i].3 = "30s";
                for levels in loose {
                    // A harder alarm than cut is a mistake of its own, told by the compiler.
                    if levels[0].1.trim_start_matches(['>', '=', ' '])
                        > levels[1].1.trim_start_matches(['>', '=', ' '])
                    {
                        continue;
                    }
                    let (errors, _, text) = checked(&rule(&levels), place);
                    let name = ["alarm", "cut"][i];
                    assert!(
                        errors == 1 && text.contains(&format!("level `{name}`")),
                        "{place} {levels:?}\n{text}"
                    );
                    assert!(text.starts_with("rules.toml:1:"), "{text}");
                }
            }
            // A release between the legal one and the limit.
            if restore < cut {
                let loose = [legal[0].clone(), ("cut", up(cut), down(restore + 0.01), "0s")];
                let (errors, _, text) = checked(&rule(&loose), place);
                assert!(errors == 1 && text.contains("the law below"), "{text}");
            }
        }
    }
}

/// A place without a class is held to the mildest row; a unit is converted; a catalog's limit counts as the rule's.
#[test]
fn units_and_catalog_limits_are_compared_too() {
    let levels = |on: &str| rule(&[("alarm", format!(">= {on}"), format!("< {on}"), "0s")]);
    assert_eq!(checked(&levels("1.5"), "").0, 0);
    // On and release are both looser.
    assert_eq!(checked(&levels("1.51"), "").0, 2);
    let lel = catalog_of("operating", "M1,P,x,ch4,%LEL,0,100,T1,1s\n");
    for (on, errors) in [("1.0", 0), ("1.01", 2)] {
        assert_eq!(program_for(&levels(on), &lel).0.check_coverage(&lel).errors(), errors, "{on}");
    }
    let own = "[[rule]]\nname = \"own\"\nkind = \"limit\"\nselect = { quantity = \"ch4\" }\nlevel = [{ name = \"alarm\", on = \"catalog\" }]\n";
    for (limits, errors) in [("1.0,1.0", 0), ("1.2,1.2", 2), (",", 1)] {
        let catalog = catalog_of("operating", &format!("M1,P,x,ch4,%,0,4,T1,1s,{limits}\n"));
        assert_eq!(program_for(own, &catalog).0.check_coverage(&catalog).errors(), errors, "{limits}");
    }
}

/// Where another rule is as strict as the law a looser one is a warning; many points of one mistake are told once.
#[test]
fn a_looser_rule_beside_a_strict_one_is_warned_of_and_points_are_counted() {
    let strict = rule(&[("alarm", ">= 1.0".into(), "< 1.0".into(), "0s")]);
    let loose = rule(&[("alarm", ">= 1.2".into(), "< 1.2".into(), "0s")]).replace("\"r\"", "\"q\"");
    let (errors, warnings, text) = checked(&format!("{strict}{loose}"), "T1");
    assert!(errors == 0 && warnings == 2 && text.contains("rule `q`"), "{text}");
    let points: String = (0..50).map(|i| format!("M1,P{i},x,ch4,%,0,4,T1,1s\n")).collect();
    let catalog = catalog_of("operating", &points);
    let found = program_for(&loose, &catalog).0.check_coverage(&catalog);
    assert_eq!(found.errors(), 2, "{found}");
    assert!(found.to_string().contains("and 49 more"), "{found}");
}
