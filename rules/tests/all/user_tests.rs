//! Tests that a user writes: what passes, how a failure reads, what is covered; and the tests shipped with the packs.

use model::Problems;
use rules::RuleFile;
use rules::testing::{self, Coverage, RuleTest};

const RULES: &str = r#"
[[rule]]
name = "ch4-face"
kind = "limit"
select = { quantity = "ch4", place = ["T0", "T1"] }
level = [
  { name = "alarm", on = ">= 1.0", off = "< 1.0", severity = "yellow" },
  { name = "cut",   on = ">= 1.5", off = "< 1.0", severity = "orange" },
]

[[rule]]
name = "silent"
kind = "silent"
select = { quantity = "ch4" }
periods = 3
"#;

fn rules() -> Vec<RuleFile> {
    vec![RuleFile { name: "rules.toml".to_owned(), text: RULES.to_owned() }]
}

fn read(text: &str) -> (Vec<RuleTest>, String) {
    let mut problems = Problems::default();
    let file = testing::read("x.test.toml", text, &mut problems);
    (file.tests, problems.to_string())
}

/// A test of one point `T1` with this series and these expectations.
fn one(values: &str, expect: &str) -> String {
    format!(
        "[[test]]\nname = \"t\"\npoints = [{{ site = \"M1\", point = \"T1\", quantity = \"ch4\", unit = \"%\", place = \"T1\", period = \"1s\" }}]\n\
         series = [{{ site = \"M1\", point = \"T1\", values = \"{values}\" }}]\nexpect = [{expect}]\n"
    )
}

fn difference(values: &str, expect: &str) -> String {
    let (tests, problems) = read(&one(values, expect));
    assert_eq!(problems, "");
    testing::run(&tests[0], &rules(), &mut Coverage::default()).difference
}

const ON: &str = "{ at = \"15s\", rule = \"ch4-face\", level = \"alarm\", to = \"on\" }";
const OFF: &str = "{ at = \"26s\", rule = \"ch4-face\", level = \"alarm\", to = \"off\" }";
const SERIES: &str = "0.4x10 0.4..1.0/6 1.0x5 _x3 1.0!4x2 0.99x4";

#[test]
fn the_example_of_the_documents_passes() {
    let text = "[[test]]\nname = \"alarm at exactly 1.0, clears only below\"\n\
        points = [{ site = \"M1\", point = \"T1\", quantity = \"ch4\", unit = \"%\", place = \"T1\" }]\n\
        series = [{ site = \"M1\", point = \"T1\", step = \"1s\", values = \"0.4x10 0.4..1.0/6 1.0x5 _x3 1.0!4x2 0.99x4\" }]\n\
        expect = [{ at = \"15s\", rule = \"ch4-face\", level = \"alarm\", to = \"on\" }, { at = \"26s\", rule = \"ch4-face\", level = \"alarm\", to = \"off\" }]\n";
    let (tests, problems) = read(text);
    assert_eq!(problems, "");
    let outcome = testing::run(&tests[0], &rules(), &mut Coverage::default());
    // Calibrating while on and real is a step of its own, and so is the end of the calibration where there is one.
    let steps: Vec<(&str, i64)> =
        outcome.transitions.iter().map(|t| (t.to.as_str(), (t.time - testing::START) / 1_000_000)).collect();
    assert_eq!(outcome.difference, "", "{steps:?}");
}

#[test]
fn a_failure_says_what_came_and_what_did_not() {
    let late = OFF.replace("26s", "27s");
    let text = difference(SERIES, &format!("{ON}, {late}"));
    assert!(text.contains("=      15s  M1 T1  ch4-face alarm on value 1  (1 >= 1 %)"), "{text}");
    assert!(text.contains("+      26s  M1 T1  ch4-face alarm off value 0.99"), "{text}");
    assert!(text.contains("-      27s  * *  ch4-face alarm off"), "{text}");
    assert!(
        text.contains("         24s  M1 T1  ch4-face alarm on value 1 [calibrating]"),
        "a mark that comes is no change: {text}"
    );
    // What was not expected fails too.
    assert!(difference(SERIES, ON).contains("+      26s"));
    // The value, the marks and the point are part of what is expected where they are said.
    let with = |more: &str| difference("0.4x15 1.2", &ON.replace(", to", &format!(", {more}, to")));
    assert_eq!(with("value = 1.2"), "");
    assert!(with("value = 1.3").contains("-      15s  * *  ch4-face alarm on value 1.3"));
    assert_eq!(with("marks = []"), "");
    assert!(with("marks = [\"calibrating\"]").contains("[calibrating]"));
    assert_eq!(with("site = \"M1\", point = \"T1\""), "");
}

#[test]
fn states_are_looked_at_after_everything_that_came_at_their_time() {
    let is = |at: &str, on: &str| {
        difference(
            "0.4x15 1.2 0.4x5",
            &format!("{{ at = \"{at}\", rule = \"ch4-face\", level = \"alarm\", is = \"{on}\" }}"),
        )
    };
    assert_eq!((is("14s", "off"), is("15s", "on"), is("16s", "off")), Default::default());
    assert!(is("15s", "off").contains("!      15s  M1 T1  ch4-face alarm is on since 15s, expected off"));
    assert!(is("14s", "on").contains("alarm is off, expected on"));
}

#[test]
fn rules_that_nothing_is_expected_of_are_not_looked_at_unless_named() {
    // The point falls silent at 19 s.
    let quiet = "0.4x15 1.2 -x60";
    assert_eq!(difference(quiet, ON), "");
    let (tests, _) =
        read(&one(quiet, ON).replace("name = \"t\"", "name = \"t\"\nrules = [\"silent\"]\nuntil = \"60s\""));
    let text = testing::run(&tests[0], &rules(), &mut Coverage::default()).difference;
    assert!(text.contains("silent silent on"), "{text}");
    // With no expectation at all, nothing may come of any rule.
    assert!(difference("1.2", "").contains("ch4-face alarm on"));
    assert_eq!(difference("0.4x3", ""), "");
}

#[test]
fn mistakes_in_a_test_are_named() {
    let wrong = |values: &str, expect: &str| {
        let (tests, problems) = read(&one(values, expect));
        assert!(tests.is_empty() && !problems.is_empty(), "{values} {expect}");
        problems
    };
    let text = wrong("0.4 abc", "");
    assert!(text.contains("x.test.toml:4:54: error: `abc` is not a number"), "{text}");
    assert!(wrong("1", "{ at = \"1s\", rule = \"r\", level = \"l\" }").contains("either `to` or `is`"));
    assert!(
        wrong("1", "{ rule = \"r\", level = \"l\", to = \"on\" }").contains("`test.expect.at` is missing")
    );
    assert!(wrong("1", &ON.replace(", to", ", point = \"T9\", to")).contains("no point of the test"));
    let unknown_point = one("1", "")
        .replace("series = [{ site = \"M1\", point = \"T1\"", "series = [{ site = \"M1\", point = \"T2\"");
    assert!(read(&unknown_point).1.contains("did you mean `T1`?"));
    assert!(read(&one("1", "").replace("place =", "plce =")).1.contains("did you mean `place`?"));
    // Rules and levels are known only when the test runs.
    assert!(difference("1", &ON.replace("ch4-face", "ch4-fce")).contains("did you mean `ch4-face`?"));
    assert!(difference("1", &ON.replace("\"alarm\"", "\"alrm\"")).contains("it has alarm, cut, reported"));
}

#[test]
fn late_readings_come_after_their_delay() {
    let text = "[[test]]\nname = \"t\"\nrules = [\"ch4-face\"]\npoints = [{ site = \"M1\", point = \"T1\", quantity = \"ch4\", unit = \"%\", place = \"T1\" }]\n\
        series = [{ site = \"M1\", point = \"T1\", values = \"1.2\", delay = \"3min\" }]\n\
        expect = [{ at = \"0s\", rule = \"ch4-face\", level = \"alarm\", to = \"on\", marks = [\"late\"] }]\n";
    let (tests, problems) = read(text);
    assert_eq!(problems, "");
    assert_eq!(testing::run(&tests[0], &rules(), &mut Coverage::default()).difference, "");
}

/// T1 is over twice, an hour before anybody hears of it.
#[test]
fn each_late_alarm_must_be_expected_and_a_live_one_is_another() {
    let late = |expect: &str| {
        let text = format!(
            "[[test]]\nname = \"t\"\nrules = [\"ch4-face\"]\npoints = [{{ site = \"M1\", point = \"T1\", quantity = \"ch4\", unit = \"%\", place = \"T1\" }}]\n\
             series = [{{ site = \"M1\", point = \"T1\", values = \"1.2 0.4 1.3 0.4\", delay = \"1h\" }}]\nexpect = [{expect}]\n"
        );
        let (tests, problems) = read(&text);
        assert_eq!(problems, "");
        testing::run(&tests[0], &rules(), &mut Coverage::default()).difference
    };
    let at = |s: u32, marks: &str| {
        format!("{{ at = \"{s}s\", rule = \"ch4-face\", level = \"alarm\", to = \"on\"{marks} }}")
    };
    let marked = ", marks = [\"late\"]";
    assert_eq!(late(&format!("{}, {}", at(0, marked), at(2, marked))), "");
    let second = late(&at(0, marked));
    assert!(second.contains("+       2s  M1 T1  ch4-face alarm on value 1.3 [late]"), "{second}");
    let live = late(&format!("{}, {}", at(0, marked), at(2, "")));
    assert!(live.contains("-       2s  * *  ch4-face alarm on"), "{live}");
}

#[test]
fn a_level_is_on_when_it_was_decided_and_a_drill_is_apart() {
    let is = |delay: &str, values: &str, at: &str, on: &str| {
        let text = one(
            values,
            &format!("{{ at = \"{at}\", rule = \"ch4-face\", level = \"alarm\", is = \"{on}\" }}"),
        );
        let (tests, problems) =
            read(&text.replace(" }]\nexpect", &format!(", delay = \"{delay}\" }}]\nexpect")));
        assert_eq!(problems, "");
        testing::run(&tests[0], &rules(), &mut Coverage::default()).difference
    };
    // Measured at 5 s, heard of at 15 s.
    assert_eq!(
        (is("10s", "0.4x5 1.2x9", "14s", "off"), is("10s", "0.4x5 1.2x9", "15s", "on")),
        Default::default()
    );
    // A drill raises nothing that is live, and ends nothing.
    assert_eq!(is("0s", "0.4x5 1.2!2048x9", "9s", "off"), "");
    assert_eq!(is("0s", "0.4x5 1.2 0.4!2048x9", "9s", "on"), "");
    let drill = difference("0.4x15 1.2!2048", ON);
    assert!(
        drill.contains("-      15s") && drill.contains("+      15s") && drill.contains("[simulated]"),
        "{drill}"
    );
    let said = ON.replace(", to", ", marks = [\"simulated\"], to");
    assert_eq!(difference("0.4x15 1.2!2048", &said), "");
}

#[test]
fn a_mistyped_rule_and_a_test_that_is_too_long_are_named() {
    let (tests, _) = read(&one("0.4", "").replace("name = \"t\"", "name = \"t\"\nrules = [\"ch4-fce\"]"));
    let text = testing::run(&tests[0], &rules(), &mut Coverage::default()).difference;
    assert!(text.contains("3:10: there is no rule `ch4-fce`, did you mean `ch4-face`?"), "{text}");
    let series = "{ site = \"M1\", point = \"T1\", values = \"0.4x600000\" }";
    let many = one("0.4", "")
        .replace("values = \"0.4\" }", &format!("values = \"0.4\" }}, {}", [series; 4].join(", ")));
    let (tests, problems) = read(&many);
    assert!(
        tests.is_empty() && problems.contains("the test has 2400001 readings, more than 2000000"),
        "{problems}"
    );
    let (tests, problems) = read(&one("1", &ON.replace("to = \"on\"", "is = \"on\", value = 1.2")));
    assert!(tests.is_empty() && problems.contains("belong to `to`"), "{problems}");
}

#[test]
fn coverage_names_the_levels_that_no_test_raised() {
    let (tests, _) = read(&one("0.4x15 1.2 0.4", ON));
    let mut coverage = Coverage::default();
    testing::run(&tests[0], &rules(), &mut coverage);
    assert_eq!(coverage.levels(), 4);
    assert_eq!(coverage.missed(), [("ch4-face", "cut"), ("ch4-face", "reported"), ("silent", "silent")]);
}

#[test]
fn the_tests_of_the_packs_pass_and_raise_their_levels() {
    let shipped = [
        ("coal", 23, include_str!("../../packs/coal.test.toml")),
        ("chemical", 14, include_str!("../../packs/chemical.test.toml")),
        ("regulator", 11, include_str!("../../packs/regulator.test.toml")),
        ("people", 7, include_str!("../../packs/people.test.toml")),
    ];
    for (name, at_least, text) in shipped {
        let mut problems = Problems::default();
        let file = testing::read(name, text, &mut problems);
        assert_eq!(problems.to_string(), "");
        assert_eq!((file.packs[0].as_str(), file.rules), (name, None));
        let pack = |name: &String| {
            let (_, text) = rules::packs().iter().find(|(n, _)| n == name).unwrap();
            RuleFile { name: format!("pack:{name}"), text: (*text).to_owned() }
        };
        let pack: Vec<RuleFile> = file.packs.iter().map(pack).collect();
        let mut coverage = Coverage::default();
        for test in &file.tests {
            let outcome = testing::run(test, &pack, &mut coverage);
            assert_eq!(outcome.difference, "", "{name}: {}", outcome.name);
        }
        // The published tables are held against every row of the packs in `packs.rs`; here are the lives of the main levels.
        let raised = coverage.levels() - coverage.missed().len();
        assert!(raised >= at_least, "{name}: only {raised} levels are raised");
    }
}
