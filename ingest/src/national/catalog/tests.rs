//! A definition file as a catalog, and its mistakes where they stand.

use super::*;
use model::Catalog;
use proptest::prelude::*;

const HEADER: &str = "620000000001;测试煤矿;KJ0001X;安全监控系统;厂家;2030-12-31;2026-09-23 10:00:00";
const METHANE: [&str; 24] = [
    "62000000000101MN004300001A01",
    "01",
    "62000000000100001",
    "0043",
    "MN",
    "%CH4",
    "4",
    "0",
    "1.0",
    "1.0",
    "",
    "-9999",
    "1.5",
    "0.99",
    "",
    "",
    "",
    "",
    "1301回风隅角T0",
    "104.1",
    "35.2",
    "-350",
    "D-62000000000101MN004300001A01-甲烷:D-62000000000101KG101500001D01",
    "2026-09-23 10:00:00",
];
const DUCT: [&str; 24] = [
    "62000000000101KG100300001D02",
    "01",
    "62000000000100001",
    "1003",
    "KG",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "有风",
    "无风",
    "1302掘进",
    "",
    "",
    "",
    "",
    "2026-09-23 10:00:00",
];

/// A record with some fields (from 1) replaced.
fn with(base: &[&str; 24], changes: &[(usize, &str)]) -> String {
    let mut fields = *base;
    for (i, value) in changes {
        fields[i - 1] = value;
    }
    fields.join(";")
}

fn read(records: &[String]) -> (Vec<Site>, Vec<Point>, String) {
    let text = format!("{HEADER}~\n{}~\n||\n", records.join("~\n"));
    let mut problems = Problems::default();
    let (sites, points) = catalog_from_cddy("a.txt", &text, &mut problems);
    let catalog = Catalog::build(sites.clone(), points.clone(), 8, &mut Problems::default());
    assert_eq!(catalog.points().len(), points.len(), "what was read fits into a catalog");
    (
        sites.into_iter().map(|s| s.0).collect(),
        points.into_iter().map(|p| p.0).collect(),
        problems.to_string(),
    )
}

#[test]
fn areas_and_the_mine_become_points_for_rules_about_people() {
    let read = |file: &str, text: &str| {
        let mut problems = Problems::default();
        let (sites, points) = catalog_from_file(file, text, &mut problems);
        assert_eq!(sites.len(), 1, "{problems}");
        let shown = points.iter().map(|(p, place)| {
            let labels: Vec<_> = p.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            assert_eq!(p.period, Some(300_000_000), "as often as RYSS files come");
            format!("{} {} {} {:?} {labels:?} {}", p.code, p.name, p.quantity, p.limits.alarm_on, place.line)
        });
        (shown.collect::<Vec<_>>(), problems.to_string())
    };
    let areas = "620000000001;矿;2026-09-23 10:00:00~\n重点区域;6200000000010001;30;工作面~\n限制区域;6200000000010002;未设置;采空区~\n;;5;x~||";
    let (points, problems) = read("in/620000000001_RYQY_20260923100000.txt", areas);
    let expected = [
        "6200000000010001 工作面 people_area Some(30.0) [\"type=重点区域\"] 2",
        "6200000000010002 采空区 people_area None [\"type=限制区域\"] 3",
    ];
    assert_eq!(points, expected);
    assert!(problems.contains("RYQY_20260923100000.txt:4:2: error: the area code is empty"), "{problems}");
    let persons = "620000000001;矿;320;KJ1;定位;厂家;2030-12-31;2026-09-23 10:00:00~62000000000100001;张三;工;;;;;0;1~||";
    let name = "620000000001_RYXX_20260923100000.txt";
    assert_eq!(read(name, persons), (vec!["people 矿 people Some(320.0) [] 1".to_owned()], String::new()));
    let (points, problems) = read(name, &persons.replace(";320;", ";many;"));
    assert!(points.is_empty() && problems.contains(":1:1: error: authorised number `many`"), "{problems}");
}

#[test]
fn fields_become_a_point() {
    let (sites, points, problems) = read(&[with(&METHANE, &[]), with(&DUCT, &[])]);
    assert_eq!(problems, "");
    let site = &sites[0];
    assert_eq!(
        (site.code.as_str(), site.name.as_str(), site.region.as_str()),
        ("620000000001", "测试煤矿", "620000")
    );
    let methane = &points[0];
    assert_eq!(
        (methane.quantity.as_str(), methane.unit.as_str(), methane.place.as_str()),
        ("ch4", "%CH4", "T0")
    );
    assert_eq!((methane.low, methane.high), (Some(0.0), Some(4.0)));
    let limits = Limits {
        alarm_on: Some(1.0),
        alarm_off: Some(1.0),
        cut_on: Some(1.5),
        cut_off: Some(0.99),
        ..Limits::default()
    };
    assert_eq!(methane.limits, limits);
    assert!(
        methane.relations.starts_with("D-62") && methane.type_code == "0043" && methane.value_type == "MN"
    );
    let duct = &points[1];
    assert_eq!((duct.quantity.as_str(), duct.name.as_str(), duct.place.as_str()), ("duct", "1302掘进", ""));
    assert_eq!(duct.labels, [("on".into(), "有风".into()), ("off".into(), "无风".into())]);
}

#[test]
fn mistakes_stand_at_line_and_column() {
    for (record, expected) in [
        ("a;b".to_owned(), "a.txt:2:1: error: 2 fields, expected 24"),
        (with(&METHANE, &[(1, "")]), "a.txt:2:1: error: field 1, the point code, is empty"),
        (with(&METHANE, &[(4, "9999")]), "a.txt:2:51: error: field 4, sensor type `9999`"),
        (with(&METHANE, &[(5, "XX")]), "a.txt:2:56: error: field 5, value type `XX`"),
        (with(&METHANE, &[(7, "four")]), "a.txt:2:64: error: field 7: `four` is not a number"),
        (
            with(&METHANE, &[(7, "0"), (8, "4")]),
            "a.txt:2:66: error: field 8, low range 4, is not below field 7, high range 0",
        ),
        (with(&METHANE, &[(9, "1,0")]), "a.txt:2:68: error: field 9: `1,0` is not a number"),
        (with(&METHANE, &[(6, "")]), "a.txt:2:59: warning: field 6, the unit, is empty"),
        (with(&METHANE, &[(7, "")]), "a.txt:2:64: warning: fields 7 and 8, the range, are not both there"),
        (with(&METHANE, &[(1, "63000000000101MN004300001A01")]), "a.txt:2:1: warning: point `63"),
        (with(&METHANE, &[(19, "回风；T0")]), "a.txt:2:98: error: a full-width `；`"),
    ] {
        let (_, points, problems) = read(&[record, with(&DUCT, &[])]);
        assert!(problems.contains(expected), "missing `{expected}` in\n{problems}");
        assert_eq!(points.len(), if expected.contains("error") { 1 } else { 2 }, "{expected}");
    }
    let text = format!("{HEADER}~a;b~||");
    let mut problems = Problems::default();
    catalog_from_cddy("a.txt", &text, &mut problems);
    let column = HEADER.chars().count() + 2;
    assert!(problems.to_string().starts_with(&format!("a.txt:1:{column}: error")), "one line: {problems}");
}

#[test]
fn a_bad_file_gives_nothing() {
    for text in [
        "",
        "620000000001;x;2026-09-23 10:00:00~",
        "a/b;x;2026-09-23 10:00:00~||",
        "6;x;2026-09-23 10:00:00~||",
    ] {
        let mut problems = Problems::default();
        let (sites, points) = catalog_from_cddy("a.txt", text, &mut problems);
        assert!(sites.is_empty() && points.is_empty() && problems.errors() == 1, "{text:?}: {problems}");
    }
}

#[test]
fn a_later_record_of_a_point_counts() {
    let (_, points, problems) =
        read(&[with(&METHANE, &[]), with(&DUCT, &[]), with(&METHANE, &[(19, "1302工作面T1")])]);
    assert!(
        problems.contains("a.txt:4:1: warning: point `62000000000101MN004300001A01` stands twice"),
        "{problems}"
    );
    assert_eq!((points.len(), points[0].place.as_str()), (2, "T1"));
}

#[test]
fn a_hopeless_file_is_told_in_a_hundred_problems() {
    let (_, _, problems) = read(&vec!["x".to_owned(); 5000]);
    assert_eq!(problems.lines().count(), PROBLEMS_MAX + 1);
    assert!(problems.contains("4900 more problems"), "{problems}");
}

#[test]
fn place_classes_are_words() {
    for (text, expected) in [
        ("1301回风隅角T0", Some("T0")),
        ("T8", Some("T8")),
        ("回风流 T2 传感器", Some("T2")),
        ("甲烷(T1)", Some("T1")),
        ("KT1皮带", None),
        ("T10", None),
        ("T9", None),
        ("1T1", None),
        ("T", None),
        ("", None),
        ("AT1和T3", Some("T3")),
    ] {
        assert_eq!(place_class(text), expected, "{text}");
    }
}

#[test]
fn every_sensor_type_has_its_word() {
    for code in (1..=53).chain(1001..=1015).chain(3001..=3005).chain(4001..=4002) {
        let word = quantity(&format!("{code:04}"));
        assert!(
            word.is_some_and(|w| w
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')),
            "{code}"
        );
    }
    assert_ne!(quantity("0022"), quantity("0001"), "gas in a drainage pipe is not gas at the face");
    assert_eq!(quantity("0054"), None);
}

proptest! {
    #[test]
    fn any_text_is_a_catalog_or_problems_never_a_panic(text in "[0-9A-Z;~|；测T \n.-]{0,300}", at in 0usize..400, with in any::<char>()) {
        let _ = catalog_from_cddy("f", &text, &mut Problems::default());
        let mut whole: Vec<char> = format!("{HEADER}~{}~{}~||", METHANE.join(";"), DUCT.join(";")).chars().collect();
        let at = at % whole.len();
        whole[at] = with;
        let _ = catalog_from_cddy("f", &whole.into_iter().collect::<String>(), &mut Problems::default());
    }
}
