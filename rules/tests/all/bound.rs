//! How a limit comes to stand: what a rule says, what the catalog says of the point, and which of the two counts; as tables.

use crate::stand::*;

/// What counts at a point of range 0 to 4 for a level `name`: limits, where from; or the first problem.
fn bound(name: &str, on: &str, off: &str, catalog: &str) -> String {
    let off = if off.is_empty() { String::new() } else { format!(", off = \"{off}\"") };
    let rules = format!(
        "[[rule]]\nname = \"r\"\nkind = \"limit\"\nselect = {{ quantity = \"ch4\" }}\nlevel = [{{ name = \"{name}\", on = \"{on}\"{off} }}]\n"
    );
    let catalog = catalog_of("operating", &format!("M1,P,x,ch4,%,0,4,T1,1s,{catalog}\n"));
    let (program, problems) = program_for(&rules, &catalog);
    let told = problems.0.first().map_or("", |p| match p.message.as_str() {
        m if m.contains("is refused") => " refused",
        m if m.contains("wrong side") => " wrong side",
        m => panic!("{m}"),
    });
    let levels = program.rules_of_point(0).into_iter().flat_map(|r| r.levels);
    let shown: Vec<String> = levels.map(|(_, limits, from)| format!("{limits} {from}")).collect();
    shown.join(", ") + told
}

#[test]
fn the_stricter_sane_limit_counts() {
    let upper = [
        // on, off of the rule; on, off of the catalog; what counts
        (">= 1.0", "< 1.0", ",", "on >= 1 off < 1 rule"),
        (">= 1.0", "", ",", "on >= 1 off < 1 rule"),
        ("> 1.0", "", ",", "on > 1 off <= 1 rule"),
        ("catalog", "", ",", ""),
        ("catalog", "", "0.8,0.7", "on >= 0.8 off < 0.7 catalog"),
        ("catalog", "", "0.8,", "on >= 0.8 off < 0.8 catalog"),
        // The stricter on, and the stricter release: it keeps the level on longer.
        (">= 1.0", "< 1.0", "0.8,0.7", "on >= 0.8 off < 0.7 catalog"),
        (">= 1.0", "< 0.6", "0.8,0.7", "on >= 0.8 off < 0.6 catalog"),
        (">= 1.0", "< 1.0", "1.2,1.1", "on >= 1 off < 1 rule"),
        (">= 1.0", "< 1.0", "1.2,0.9", "on >= 1 off < 0.9 rule"),
        (">= 1.0", "< 0.9", "1.2,1.0", "on >= 1 off < 0.9 rule"),
        // At the same limit what includes it is the stricter on, what does not the stricter release.
        ("> 1.0", "< 0.9", "1.0,0.9", "on >= 1 off < 0.9 catalog"),
        ("> 1.0", "", "1.0,1.0", "on >= 1 off < 1 catalog"),
        ("> 1.2", "", "1.0,0.9", "on >= 1 off < 0.9 catalog"),
        (">= 0.9", "<= 0.8", "1.0,0.8", "on >= 0.9 off < 0.8 rule"),
        (">= 0.9", "<= 0.8", "1.0,0.9", "on >= 0.9 off <= 0.8 rule"),
        // Within (low, high], release on the side of normal.
        ("catalog", "", "4,4", "on >= 4 off < 4 catalog"),
        ("catalog", "", "4.1,4", " refused"),
        (">= 1.0", "< 1.0", "0,0", "on >= 1 off < 1 rule refused"),
        (">= 1.0", "< 1.0", "0.8,0.9", "on >= 1 off < 1 rule refused"),
        (">= 1.0", "< 1.0", "0.8,0.8", "on >= 0.8 off < 0.8 catalog"),
        // A rule's own release on the wrong side.
        (">= 1.0", "< 1.1", ",", " wrong side"),
        (">= 1.0", "> 0.9", ",", " wrong side"),
        // A rule that looks down has nothing to do with the catalog's upper limit.
        ("<= 1.0", "> 1.0", "0.8,0.7", "on <= 1 off > 1 rule"),
    ];
    for (on, off, catalog, expected) in upper {
        assert_eq!(bound("alarm", on, off, catalog), expected, "{on} {off}, catalog {catalog}");
    }
    let lower = [
        ("catalog", "", ",,0.5,0.6", "on <= 0.5 off > 0.6 catalog"),
        ("<= 0.3", "> 0.3", ",,0.5,0.6", "on <= 0.5 off > 0.6 catalog"),
        ("<= 0.5", "> 0.7", ",,0.4,0.6", "on <= 0.5 off > 0.7 rule"),
        ("<= 0.5", "> 0.6", ",,0.4,0.7", "on <= 0.5 off > 0.7 rule"),
        ("< 0.5", "", ",,0.5,0.5", "on <= 0.5 off > 0.5 catalog"),
        ("<= 0.3", "> 0.3", ",,0.5,0.4", "on <= 0.3 off > 0.3 rule refused"),
        ("catalog", "", ",,0,0.5", " refused"),
        ("<= 0.3", "> 0.2", ",", " wrong side"),
    ];
    for (on, off, catalog, expected) in lower {
        assert_eq!(bound("low_alarm", on, off, catalog), expected, "{on} {off}, catalog {catalog}");
    }
}

/// Levels stand from the mildest to the hardest; equal ones may (a return way alarms and cuts at 1.0).
#[test]
fn the_order_of_a_ladder_is_kept() {
    for (first, second, right) in [
        (">= 1.0", ">= 1.5", true),
        (">= 1.0", ">= 1.0", true),
        (">= 1.5", ">= 1.0", false),
        ("<= 0.5", "<= 0.3", true),
        ("<= 0.5", "<= 0.5", true),
        ("<= 0.3", "<= 0.5", false),
        ("<= 0.3", ">= 0.1", true),
    ] {
        let rules = format!(
            "[[rule]]\nname = \"r\"\nkind = \"limit\"\nselect = {{ quantity = \"ch4\" }}\n\
             level = [{{ name = \"a\", on = \"{first}\" }}, {{ name = \"b\", on = \"{second}\" }}]\n"
        );
        assert_eq!(program(&rules).1.errors() == 0, right, "{first} {second}");
    }
}

/// What a rate or a silent rule may say.
#[test]
fn windows_and_delays_have_ends() {
    let rate = |more: &str, level: &str| {
        format!(
            "[[rule]]\nname = \"r\"\nkind = \"rate\"\nselect = {{ point = \"T1\" }}\n{more}\nlevel = [{{ name = \"w\", {level} }}]\n"
        )
    };
    let up = "on = \">= 2 /min\", off = \"< 1 /min\"";
    for (more, level, errors) in [
        ("window = \"1s\"", up, 0),
        ("window = \"999ms\"", up, 1),
        ("window = \"10s\"\nmin_covered = \"10s\"", up, 0),
        ("window = \"10s\"\nmin_covered = \"10001ms\"", up, 1),
        ("window = \"10s\"\nbuckets = 17", up, 1),
        ("window = \"10s\"", "on = \">= 2 /min\", off = \"< 2 /min\"", 0),
        ("window = \"10s\"", "on = \">= 2 /min\", off = \"< 2.1 /min\"", 1),
        ("window = \"10s\"", "on = \">= 2 /min\", off = \"> 1 /min\"", 1),
        ("window = \"10s\"", "on = \"<= -2 /min\", off = \"> -2 /min\"", 0),
        ("window = \"10s\"", "on = \"<= -2 /min\", off = \"> -2.1 /min\"", 1),
        ("window = \"10s\"", "on = \">= 2 /min\", off = \"< 120 /h\"", 0),
        ("window = \"10s\"", "on = \">= 2 /min\", off = \"< 121 /h\"", 1),
    ] {
        assert_eq!(program(&rate(more, level)).1.errors(), errors, "{more} {level}");
    }
    for (after, errors) in
        [("after = \"1ms\"", 0), ("after = \"0s\"", 1), ("periods = 1", 0), ("periods = 0", 1)]
    {
        let text =
            format!("[[rule]]\nname = \"r\"\nkind = \"silent\"\nselect = {{ point = \"T1\" }}\n{after}\n");
        assert_eq!(program(&text).1.errors(), errors, "{after}");
    }
}

/// Where a rule says nothing: three periods of the point, 30 s where it has none.
#[test]
fn periods_of_the_catalog_are_counted() {
    let silent = "[[rule]]\nname = \"r\"\nkind = \"silent\"\nselect = { quantity = \"ch4\" }\n";
    let rate = "[[rule]]\nname = \"r\"\nkind = \"rate\"\nselect = { quantity = \"ch4\" }\nwindow = \"1h\"\nmin_readings = 2\n\
                min_covered = \"1s\"\nblank = \"0s\"\nlevel = [{ name = \"w\", on = \">= 0.01 /min\" }]\n";
    for (period, longest) in [("10s", 30.), ("", 90.)] {
        let place = |rules: &str| {
            let point = format!("M1,T1,x,ch4,%,0,4,T1,{period}\n");
            Event::Activate(START, rules.to_owned(), catalog_of("operating", &point))
        };
        let out = |rules: &str, events: &[Event]| judge(rules, &[&[place(rules)], events].concat()).len();
        assert_eq!(out(silent, &[at(0., 0.3, 0), tick(longest)]), 0, "{period}");
        assert_eq!(out(silent, &[at(0., 0.3, 0), tick(longest + 0.1)]), 1, "{period}");
        assert_eq!(out(rate, &[at(0., 0.3, 0), at(longest, 1.3, 0)]), 1, "{period}");
        assert_eq!(out(rate, &[at(0., 0.3, 0), at(longest + 0.1, 1.3, 0)]), 0, "{period}");
    }
}
