//! Mistakes in rule files of the kinds that look at one point: each is named at its place, and nothing right is refused.

use crate::stand::*;

/// A rule of one kind for T1 (ch4, %): its keys begin on line 4.
fn problems(kind: &str, keys: &str) -> String {
    let text = format!("[[rule]]\nname = \"r\"\nselect = {{ point = \"T1\" }}\n{keys}\nkind = \"{kind}\"\n");
    program(&text).1.to_string()
}

#[track_caller]
fn wrong(kind: &str, cases: &[(&str, &str)]) {
    for (keys, expected) in cases {
        let shown = problems(kind, keys);
        assert!(shown.contains(expected), "{kind} {keys}: missing `{expected}` in `{shown}`");
    }
}

#[track_caller]
fn right(kind: &str, cases: &[&str]) {
    for keys in cases {
        assert_eq!(problems(kind, keys), "", "{kind} {keys}");
    }
}

#[test]
fn of_stuck() {
    wrong(
        "stuck",
        &[
            ("", "rules.toml:1:1: error: `rule.after` is missing"),
            ("after = \"0s\"", "rules.toml:4:9: error: `after` is not above zero"),
            ("after = \"366d\"", "rules.toml:4:9: error: `after` is a year or longer"),
            ("after = \"-5s\"", "rules.toml:4:9: error: `rule.after`: duration"),
            ("after = \"5s\"\ndead_band = -0.1", "rules.toml:5:13: error: `dead_band` is below zero"),
            ("after = \"5s\"\ndead_band = nan", "rules.toml:5:13: error: `rule.dead_band` is a float"),
            ("after = \"5s\"\nfloor = inf", "rules.toml:5:9: error: `rule.floor` is a float"),
            ("after = \"5s\"\ngap = \"0s\"", "rules.toml:5:7: error: `gap` is not above zero"),
            ("after = \"5s\"\nunit = \"°C\"", "they cannot be converted"),
            ("after = \"5s\"\ndead_bnd = 1", "rules.toml:5:1: error: unknown key `rule.dead_bnd`"),
            (
                "level = [{ after = \"5s\" }, { after = \"9s\" }]",
                "rules.toml:4:10: error: `rule.level.name` is missing",
            ),
            ("level = [{ name = \"a\" }]", "rules.toml:4:10: error: `rule.level.after` is missing"),
            (
                "level = [{ name = \"a\", after = \"5s\" }]\nafter = \"5s\"",
                "rules.toml:5:1: error: unknown key",
            ),
        ],
    );
    right("stuck", &["after = \"365d\"\ndead_band = 0", "level = [{ after = \"1us\" }]\nfloor = -1"]);
}

#[test]
fn of_state() {
    wrong(
        "state",
        &[
            ("danger = -1", "rules.toml:4:10: error: `rule.danger` is -1, outside 0 to 65535"),
            ("danger = 0.5", "rules.toml:4:10: error: `rule.danger` is a float"),
            ("danger = 2", "rules.toml:4:10: error: `danger` is 2, so that `safe` must be said"),
            ("safe = 1", "rules.toml:4:8: error: `safe` without `danger`"),
            ("danger = 1\nsafe = 1", "rules.toml:5:8: error: 1 is both `danger` and `safe`"),
            ("danger = 1\nunit = \"%\"", "rules.toml:5:8: error: `unit` has no meaning here"),
            ("level = [{ name = \"reported\", danger = 1 }]", "a level cannot be named `reported`"),
            // Methane has no dangerous value of its own.
            ("", "rules.toml:1:1: warning: rule `r`: point `T1` of site `M1` is of type `ch4`"),
        ],
    );
    right("state", &["danger = 0", "danger = 1", "danger = 2\nsafe = 1", "level = [{ danger = 1 }]"]);
}

#[test]
fn of_spike() {
    wrong(
        "spike",
        &[
            ("", "rules.toml:1:1: error: `rule.on` is missing"),
            ("on = \"<= 0.5\"", "rules.toml:4:6: error: `on = \"<= 0.5\"` is no distance"),
            ("on = \">= 0\"", "rules.toml:4:6: error: `on = \">= 0\"` is no distance"),
            ("on = \">= 1 /min\"", "rules.toml:4:6: error: `>= 1 /min` is a rate"),
            ("on = \">= NaN\"", "rules.toml:4:6: error: the limit in `>= NaN` is not finite"),
            ("on = \">= 1\"\non_delay = \"1s\"", "rules.toml:1:1: error: a spike has no `on_delay`"),
            ("on = \">= 1\"\nside = \"left\"", "rules.toml:5:8: error: `rule.side` is `left`"),
            ("on = \">= 1\"\noff = \"< 1\"", "rules.toml:5:1: error: unknown key `rule.off`"),
            ("on = \">= 1\"\nunit = \"°C\"", "they cannot be converted"),
        ],
    );
    right("spike", &["on = \"> 0.000001\"\nside = \"up\"", "on = \">= 5\"\nunit = \"ppm\""]);
}

#[test]
fn of_out_of_range() {
    wrong(
        "out_of_range",
        &[
            ("margin = -1", "rules.toml:4:10: error: `margin` is below zero"),
            ("margin = \"1\"", "rules.toml:4:10: error: `rule.margin` is a string"),
            ("margin = 1\nunit = \"m\"", "they cannot be converted"),
            ("level = []", "rules.toml:4:1: error: unknown key `rule.level`"),
        ],
    );
    right("out_of_range", &["", "margin = 0", "unit = \"m\""]);
}

#[test]
fn of_window() {
    let mean = |keys: &str| format!("stat = \"mean\"\nwindow = \"32s\"\non = \">= 1\"\n{keys}");
    let long: String = (1..4).map(|i| format!("{{ name = \"l{i}\", on = \">= {i}\" }},")).collect();
    let cases: [(String, &str); 20] = [
        ("".into(), "rules.toml:1:1: error: `rule.stat` is missing"),
        ("stat = \"mean\"".into(), "rules.toml:1:1: error: `rule.window` is missing"),
        ("stat = \"mean\"".into(), "rules.toml:1:1: error: `rule.on` is missing"),
        ("stat = \"meen\"".into(), "did you mean `mean`?"),
        ("window = \"0s\"".into(), "rules.toml:4:10: error: `window` is not above zero"),
        ("window = \"2y\"".into(), "rules.toml:4:10: error: `window` is a year or longer"),
        (
            mean("off = \"< 2\""),
            "rules.toml:6:6: error: `off = \"< 2\"` is on the wrong side of `on = \">= 1\"`",
        ),
        (mean("off = \">= 1\""), "wrong side"),
        (mean("buckets = 1"), "rules.toml:7:11: error: `rule.buckets` is 1, outside 2 to 16"),
        (mean("buckets = 17"), "rules.toml:7:11: error: `rule.buckets` is 17, outside 2 to 16"),
        (mean("min_readings = 0"), "rules.toml:7:16: error: `rule.min_readings` is 0"),
        (mean("min_covered = \"31s\""), "`min_covered` is longer than 30s"),
        (mean("min_covered = \"33s\"\ntumbling = true"), "`min_covered` is longer than 32s"),
        (mean("tumbling = 1"), "rules.toml:7:12: error: `rule.tumbling` is an integer"),
        (mean("tumbling = true\nbuckets = 4"), "`buckets` has no meaning here"),
        (mean("unit = \"°C\""), "they cannot be converted"),
        (
            mean("").replace("mean", "deviation") + "tumbling = true",
            "such a `stat` needs a window that moves",
        ),
        (mean("").replace("32s", "15s"), "`window` is shorter than 16s"),
        (
            mean("").replace("mean", "count") + "min_readings = 3\nunit = \"%\"",
            "`unit` has no meaning here: a number of readings",
        ),
        (format!("stat = \"p95\"\nwindow = \"32s\"\nlevel = [{long}]"), "`p95` has at most 2 levels"),
    ];
    for (keys, expected) in &cases {
        wrong("window", &[(keys, expected)]);
    }
    let fine = [
        mean("min_covered = \"30s\""),
        mean("min_covered = \"32s\"\ntumbling = true"),
        mean("").replace("32s", "16s"),
        mean("buckets = 2").replace("32s", "2s"),
        mean("off = \"< 1\""),
        mean("").replace("mean", "count"),
        format!("stat = \"max\"\nwindow = \"32s\"\nlevel = [{long}]"),
    ];
    for keys in &fine {
        right("window", &[keys]);
    }
}

#[test]
fn of_forecast() {
    let with = |keys: &str| format!("limit = \">= 2\"\nwindow = \"32s\"\nwithin = \"60s\"\n{keys}");
    let cases: [(String, &str); 18] = [
        ("".into(), "rules.toml:1:1: error: `rule.limit` is missing"),
        ("".into(), "rules.toml:1:1: error: `rule.window` is missing"),
        ("".into(), "rules.toml:1:1: error: `rule.within` is missing"),
        (with("").replace(">= 2", "alarm_no"), "rules.toml:4:9: error: `alarm_no` does not begin with"),
        (with("").replace("32s", "15s"), "`window` is shorter than 16s"),
        (with("buckets = 3"), "rules.toml:7:11: error: `rule.buckets` is 3, outside 4 to 16"),
        (with("min_readings = 3"), "rules.toml:7:16: error: `rule.min_readings` is 3"),
        (with("min_covered = \"31s\""), "`min_covered` is longer than 30s"),
        (with("clear = \"59s\""), "rules.toml:1:1: error: `clear` is shorter than `within`"),
        (with("method = \"spline\""), "rules.toml:7:10: error: `rule.method` is `spline`"),
        (with("alpha = 0.5"), "rules.toml:7:9: error: `alpha` has no meaning here"),
        (with("method = \"holt\"\nalpha = 0"), "rules.toml:8:9: error: `alpha` is not above 0"),
        (with("method = \"holt\"\nbeta = 1.1"), "rules.toml:8:8: error: `beta` is not above 0"),
        (with("sigmas = -1"), "rules.toml:7:10: error: `sigmas` is below zero"),
        (with("blank = \"soon\""), "rules.toml:7:9: error: `rule.blank`: duration"),
        (with("unit = \"m\""), "they cannot be converted"),
        (with("off = \"> 1\""), "rules.toml:7:1: error: unknown key `rule.off`"),
        (with("").replace(">= 2", ">= 2 /h"), "rules.toml:4:9: error: `>= 2 /h` is a rate"),
    ];
    for (keys, expected) in &cases {
        wrong("forecast", &[(keys, expected)]);
    }
    let fine = [
        with("min_covered = \"30s\"\nclear = \"60s\"\nblank = \"0s\""),
        with("").replace("32s", "16s"),
        with("method = \"holt\"\nalpha = 1\nbeta = 0.001"),
        with("buckets = 4").replace("32s", "4s"),
        with("").replace(">= 2", "low_cut_on"),
    ];
    for keys in &fine {
        right("forecast", &[keys]);
    }
}

#[test]
fn of_mismatch() {
    wrong(
        "mismatch",
        &[
            ("", "rules.toml:1:1: error: `rule.on` is missing"),
            ("on = \"catalogue\"", "rules.toml:4:6: error: `catalogue` does not begin with"),
            ("on = \"catalog\"\noff = \"< 1\"", "rules.toml:5:1: error: unknown key `rule.off`"),
            ("on = \">= 1\"\noff = \"< 2\"", "rules.toml:4:6: error: `off = \"< 2\"` is on the wrong side"),
            ("on = \">= 1\"\nbit = \"calibration\"", "rules.toml:5:7: error: `rule.bit` is `calibration`"),
            ("on = \">= 1\"\nunit = \"m\"", "they cannot be converted"),
            ("on = \">= 1\"\nlevel = []", "rules.toml:5:1: error: unknown key `rule.level`"),
        ],
    );
    right(
        "mismatch",
        &["on = \"catalog\"", "on = \"<= 1\"\noff = \"> 1\"\nbit = \"cut\"", "on = \">= 1\"\noff = \"< 1\""],
    );
}

#[test]
fn of_masked() {
    wrong(
        "masked",
        &[
            ("", "rules.toml:1:1: error: `rule.over` is missing"),
            ("over = \"1.0\"", "rules.toml:4:8: error: `1.0` does not begin with"),
            ("over = \">= 1\"\nwithin = \"0s\"", "rules.toml:5:10: error: `within` is not above zero"),
            ("over = \">= 1\"\nbits = \"alarm\"", "rules.toml:5:8: error: `rule.bits` is `alarm`"),
            ("over = \">= 1\"\nunit = \"m\"", "they cannot be converted"),
            ("over = \">= 1\"\nlevel = []", "rules.toml:5:1: error: unknown key `rule.level`"),
        ],
    );
    right("masked", &["over = \"alarm_on\"", "over = \">= 0.8\"\nbits = \"paused\"\nwithin = \"5min\""]);
}

#[test]
fn of_noise() {
    let with = |keys: &str| format!("window = \"16s\"\nfloor = 0.01\non = \">= 3\"\n{keys}");
    let cases = [
        ("".into(), "rules.toml:1:1: error: `rule.window` is missing"),
        ("".into(), "rules.toml:1:1: error: `rule.floor` is missing"),
        (with("").replace("0.01", "0"), "rules.toml:1:1: error: `floor` is zero"),
        (with("").replace("0.01", "-1"), "rules.toml:5:9: error: `floor` is below zero"),
        (with("").replace("16s", "15s"), "`window` is shorter than 16s"),
        (with("min_readings = 0"), "rules.toml:7:16: error: `rule.min_readings` is 0"),
        (with("").replace(">= 3", "<= 3"), "rules.toml:6:6: error: `on = \"<= 3\"` is no growth"),
        (with("").replace(">= 3", ">= 0"), "rules.toml:6:6: error: `on = \">= 0\"` is no growth"),
        (with("unit = \"m\""), "they cannot be converted"),
        (with("buckets = 4"), "rules.toml:7:1: error: unknown key `rule.buckets`"),
    ];
    for (keys, expected) in &cases {
        wrong("noise", &[(keys, expected)]);
    }
    right("noise", &[&with(""), &with("unit = \"ppm\"\noff = \"< 2\"")]);
}

/// A table of `grade`: a blue row from 1 on, on line 4, and this one on line 5.
fn grade(row: &str) -> String {
    format!("row = [{{ on = \">= 1\", severity = \"blue\" }},\n{{ {row} }}]")
}

#[test]
fn of_a_row_of_grade() {
    let red = |keys: &str| grade(&format!("on = \">= 2\", {keys}, severity = \"red\""));
    let cases = [
        (grade("severity = \"red\""), "rules.toml:5:1: error: `rule.row.on` is missing"),
        (grade("on = \">= 2\""), "rules.toml:5:1: error: `rule.row.severity` is missing"),
        (grade("on = \">= 2\", severity = \"rde\""), "rules.toml:5:27: error: `rule.row.severity` is `rde`"),
        (grade("on = \">= x\", severity = \"red\""), "rules.toml:5:8: error: "),
        (grade("on = \">= 2 /h\", severity = \"red\""), "rules.toml:5:8: error: `>= 2 /h` is a rate"),
        (red("after = \"25h\""), "rules.toml:5:24: error: `after` is longer than a day"),
        (red("after = \"soon\""), "rules.toml:5:24: error: `rule.row.after`: duration"),
        (red("place = []"), "rules.toml:5:1: error: `place` is an empty list"),
        (red("keyword = []"), "rules.toml:5:1: error: `keyword` is an empty list"),
        (red("keyword = \"\""), "rules.toml:5:1: error: a `keyword` is empty"),
        (red("place = 5"), "rules.toml:5:24: error: `rule.row.place` is an integer"),
        (red("off = \"< 1\""), "rules.toml:5:16: error: unknown key `rule.row.off`"),
    ];
    for (keys, expected) in &cases {
        wrong("grade", &[(keys, expected)]);
    }
    right(
        "grade",
        &[&red("after = \"24h\""), &red("after = \"0s\""), &red("place = \"T*\", keyword = \"fac\"")],
    );
}

#[test]
fn of_grade() {
    let red = grade("on = \">= 2\", severity = \"red\"");
    let blue = |keys: &str| grade(&format!("{keys}, severity = \"blue\""));
    let cases = [
        (String::new(), "rules.toml:1:1: error: `rule.row` is missing"),
        ("row = []".into(), "rules.toml:1:1: error: `rule.row` is missing"),
        ("row = [5]".into(), "rules.toml:4:8: error: `rule.row` is an integer, expected a table"),
        (red.replace(">= 2", "<= 2"), "rules.toml:5:1: error: row 2 looks the other way than row 1"),
        // Tables read the wrong way round: higher or longer would be milder, or the same.
        (
            blue("on = \">= 1\""),
            "rules.toml:5:1: error: row 2 says nothing: wherever it holds, row 1 gives `blue` already",
        ),
        (blue("on = \">= 2\", after = \"5min\""), "row 2 says nothing"),
        (blue("on = \">= 1\", place = \"T1\""), "row 2 says nothing"),
        (
            red.replace(">= 2", "> 0.5"),
            "rules.toml:4:8: error: row 1 says nothing: wherever it holds, row 2 gives `red` already",
        ),
        (format!("{red}\ndead_band = -1"), "rules.toml:6:13: error: `dead_band` is below zero"),
        (format!("{red}\noff_delay = \"2d\""), "rules.toml:6:13: error: `off_delay` is longer than a day"),
        (format!("{red}\nunit = \"m\""), "they cannot be converted"),
        (format!("{red}\nlevel = []"), "rules.toml:6:1: error: unknown key `rule.level`"),
    ];
    for (keys, expected) in &cases {
        wrong("grade", &[(keys, expected)]);
    }
    // More levels than the evaluator has room for; and every mistake of a table is told.
    let row = |i| format!("{{ on = \">= {}\", after = \"{i}s\", severity = \"red\" }},", 20 - i);
    let long: String = (0..16).map(row).collect();
    wrong("grade", &[(&format!("row = [{long}]"), "a rule has at most 15 levels")]);
    let endless = "{ on = \">= 1\", severity = \"red\" },".repeat(257);
    wrong("grade", &[(&format!("row = [{endless}]"), "the table has 257 rows, more than 256")]);
    let shown = problems("grade", "row = [{ on = 5, severity = \"blue\" },\n{ on = \">= 1\", after = 5 }]");
    assert_eq!(shown.matches("error").count(), 3, "{shown}");
    let fine = [
        blue("on = \">= 0.5\", place = \"T*\""),
        blue("on = \">= 0.5\", after = \"1s\""),
        grade("on = \">= 1\", keyword = \"fac\", severity = \"red\""),
        format!("{red}\ndead_band = 0.1\noff_delay = \"1min\"\nunit = \"ppm\""),
        "row = [{ on = \"< 1\", severity = \"blue\" }, { on = \"<= 0.5\", severity = \"red\" }]".into(),
    ];
    for keys in &fine {
        right("grade", &[keys]);
    }
}

#[test]
fn of_clock() {
    let with = |keys: &str| format!("measure = \"drift\"\nwindow = \"16s\"\non = \">= 3\"\n{keys}");
    let cases = [
        ("".into(), "rules.toml:1:1: error: `rule.measure` is missing"),
        ("".into(), "rules.toml:1:1: error: `rule.window` is missing"),
        (with("").replace("drift", "dirft"), "rules.toml:4:11: error: `rule.measure` is `dirft`"),
        (with("").replace("16s", "15s"), "`window` is shorter than 16s"),
        (with("min_readings = 0"), "rules.toml:7:16: error: `rule.min_readings` is 0"),
        (with("unit = \"min\""), "rules.toml:7:8: error: `unit` has no meaning here: limits are seconds"),
        (with("").replace(">= 3", ">= 3 /h"), "rules.toml:6:6: error: `>= 3 /h` is a rate"),
    ];
    for (keys, expected) in &cases {
        wrong("clock", &[(keys, expected)]);
    }
    right("clock", &[&with(""), &with("").replace(">= 3", "<= -3")]);
}

/// The level that the mine's own bits raise is no one else's: what is named so would be told as unconfirmed.
#[test]
fn no_level_is_named_reported() {
    for (kind, keys) in [
        ("limit", "level = [{ name = \"reported\", on = \">= 1\" }]"),
        ("rate", "window = \"1min\"\nlevel = [{ name = \"reported\", on = \">= 1 /min\" }]"),
        ("silent", "level = [{ name = \"reported\", after = \"1min\" }]"),
        ("status", "any = [\"paused\"]\nlevel = [{ name = \"reported\" }]"),
        ("stuck", "level = [{ name = \"reported\", after = \"1min\" }]"),
        ("window", "stat = \"mean\"\nwindow = \"1min\"\nlevel = [{ name = \"reported\", on = \">= 1\" }]"),
    ] {
        let expected = "a level cannot be named `reported`";
        let shown = problems(kind, keys);
        assert!(shown.contains(expected) && shown.matches("error").count() == 1, "{kind}: {shown}");
    }
}

/// Periods and windows as long as a number can say: refused or judged, never a panic.
#[test]
fn nothing_is_too_long() {
    let day = "window = \"1d\"\nlevel = [{ name = \"w\", on = \">= 1 /min\" }]";
    for key in ["blank", "gap", "min_covered"] {
        wrong("rate", &[(&format!("{day}\n{key} = \"200000y\""), &format!("`{key}` is a year or longer"))]);
    }
    wrong("rate", &[(&day.replace("1d", "200000y"), "`window` is a year or longer")]);
    wrong("silent", &[("after = \"200000y\"", "`after` is a year or longer")]);
    let point = catalog_of("operating", "M1,T1,face,ch4,%,0,4,T1,280000y\n");
    let rules = "[[rule]]\nname = \"a\"\nkind = \"limit\"\nselect = { quantity = \"ch4\" }\n\
                 level = [{ name = \"x\", on = \">= 1\", on_delay = \"5s\" }]\n\
                 [[rule]]\nname = \"b\"\nkind = \"rate\"\nselect = { quantity = \"ch4\" }\nwindow = \"10s\"\n\
                 level = [{ name = \"x\", on = \">= 1 /min\" }]\n\
                 [[rule]]\nname = \"c\"\nkind = \"silent\"\nselect = { quantity = \"ch4\" }\nperiods = 1000000\n";
    let place = Event::Activate(START, rules.to_owned(), point);
    let out = judge(rules, &[place, at(0., 1.2, 0), at(1., 1.2, 0), tick(50.)]);
    assert_eq!(shown(&out), ["x on 50"]);
}
