//! `firedamp rules check | show | test`: what they say, and how they end.

use crate::stand::*;
use std::path::Path;
use std::process::Command;
use tests::firedamp::Firedamp;

/// Runs a command of the binary in a folder: exit code, standard output, standard error.
pub fn firedamp(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(BINARY);
    let done = command.current_dir(folder).args(arguments).env_remove("FIREDAMP_CONFIG").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}

const OWN: &str = r#"
[[rule]]
name = "own"
kind = "limit"
select = { site = "LW", point = "MM116" }
source = "the mine's own"
level = [{ name = "alarm", on = ">= 0.9", off = "< 0.8", on_delay = "2s", off_delay = "1min" }]
"#;

const TESTS: &str = r#"
[[test]]
name = "the mine's own limit waits two seconds"
points = [{ site = "LW", point = "MM116", quantity = "ch4", unit = "%", place = "T1", period = "1s" }]
series = [{ site = "LW", point = "MM116", values = "0.4x5 0.9x10" }]
expect = [{ at = "7s", rule = "own", level = "alarm", to = "on" }]
"#;

#[test]
fn mistakes_in_rule_files_are_named_at_their_place() {
    let files = [("good.toml", RULES), ("own.toml", OWN), ("points.csv", POINTS), ("sites.csv", SITES)];
    let stand = Firedamp::prepare(BINARY, &files);
    let check = |arguments: &[&str]| firedamp(stand.folder(), &[&["rules", "check"], arguments].concat());
    let (code, out, _) = check(&["good.toml", "own.toml"]);
    assert_eq!((code, out.as_str()), (0, "good: 3 rules in 2 files, 0 warnings\n"));
    let (code, out, err) = check(&["good.toml", "--sites", "sites.csv", "--points", "points.csv"]);
    assert_eq!((code, out.as_str()), (0, "good: 2 rules in 1 files for 4 points, 0 warnings\n"), "{err}");
    // Alone, the mine's own limit leaves out the cut; MM31 has no rule at all.
    let (code, _, err) = check(&["own.toml", "--sites", "sites.csv", "--points", "points.csv"]);
    assert!(
        code == 2 && err.contains("point `MM31` of site `LW` measures ch4 and no limit rule covers it"),
        "{err}"
    );
    std::fs::write(
        stand.folder().join("bad.toml"),
        OWN.replace(">= 0.9", ">= 0.7").replace("kind =", "knd ="),
    )
    .unwrap();
    let (code, _, err) = check(&["bad.toml"]);
    assert!(code == 2 && err.contains("bad.toml:2:1: error: `rule.kind` is missing"), "{err}");
    assert!(err.contains("bad.toml:4:1: error: unknown key `rule.knd`"), "{err}");
    assert_eq!(check(&["nowhere.toml"]).0, 2);
    assert_eq!(check(&["--pack", "coal"]).0, 0);
}

#[test]
fn a_point_shows_its_rules_and_where_each_limit_comes_from() {
    let config = pushed().replace("paths = [\"rules.toml\"]", "packs = [\"coal\"]\npaths = [\"own.toml\"]");
    let points = POINTS.replace(",period\n", ",period,alarm_on,alarm_off\n").replace("30s\n", "30s,,\n");
    let points =
        points.replace("LW,MM116,return,ch4,%,0,30,T1,30s,,", "LW,MM116,return,ch4,%,0,30,T1,30s,0.8,0.7");
    let files =
        [("firedamp.toml", &*config), ("sites.csv", SITES), ("points.csv", &points), ("own.toml", OWN)];
    let stand = Firedamp::prepare(BINARY, &files);
    let (code, out, err) = firedamp(stand.folder(), &["rules", "show", "MM116"]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "LW/MM116 return: ch4 in %, range 0 to 30, place T1, period 30s",
        "the law: alarm on >= 1 % off < 1 %, cut on >= 1.5 % off < 1 %",
        "ch4-face (limit), version",
        "  alarm        yellow  on >= 0.8 off < 0.7   [the point's own limit in the catalog, alarm_on and alarm_off]",
        "  cut          orange  on >= 1.5 off < 1   [pack:coal:12:1]",
        "own.toml:2:1",
        "on after 2s, off after 1min",
        "  warning      blue    >= 0.02 %/min   [pack:coal:",
        "after 90s   [the point's period in the catalog]",
    ] {
        assert!(out.contains(part), "missing `{part}` in\n{out}");
    }
    let (code, out, _) = firedamp(stand.folder(), &["rules", "show", "LW/MM116", "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rule =
        |name: &str| shown["rules"].as_array().unwrap().iter().find(|r| r["rule"] == name).unwrap().clone();
    assert_eq!((code, rule("own")["levels"][0]["on_delay"].as_str()), (0, Some("2s")));
    let (code, _, err) = firedamp(stand.folder(), &["rules", "show", "MM115"]);
    assert!(code == 2 && err.contains("did you mean `MM116`?"), "{err}");
}

#[test]
fn tests_of_rules_pass_fail_and_say_what_they_did_not_raise() {
    let stand = Firedamp::prepare(BINARY, &[("firedamp.toml", "")]);
    let write = |name: &str, text: &str| {
        let path = stand.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let test = |arguments: &[&str]| firedamp(stand.folder(), &[&["rules", "test"], arguments].concat());
    // Rules and tests in one file.
    write("one/own.toml", &format!("{OWN}{TESTS}"));
    let (code, out, err) = test(&["one/own.toml"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains(
            "pass  the mine's own limit waits two seconds\n1 passed, 0 failed; 1 of 2 levels were raised"
        ),
        "{out}"
    );
    assert!(out.contains("never raised: own reported"), "{out}");
    assert_eq!(test(&["one", "--all-levels"]).0, 1);
    // Tests beside the rules of their folder; the rules are loaded without them.
    write("two/own.toml", OWN);
    write("two/own.test.toml", TESTS);
    assert_eq!((test(&["two"]).0, test(&["two/own.test.toml"]).0), (0, 0));
    assert_eq!(
        firedamp(stand.folder(), &["rules", "check", "two"]).1,
        "good: 1 rules in 1 files, 0 warnings\n"
    );
    // A file that names its rules.
    write("three/own.test.toml", &format!("rules = [\"../two\"]\n{TESTS}"));
    assert_eq!(test(&["three"]).0, 0);
    // Its rules are those alone, whatever is said beside; a file that names none is judged by what is said.
    write("other/own.toml", &OWN.replace(">= 0.9", ">= 0.95").replace("name = \"own\"", "name = \"other\""));
    let (code, out, err) = test(&["three", "--rules", "other"]);
    assert!(code == 0 && out.contains("1 of 2 levels were raised"), "{out}{err}");
    write("five/x.test.toml", TESTS);
    assert_eq!((test(&["five", "--rules", "two"]).0, test(&["five", "--rules", "other"]).0), (0, 1));
    // A rule that was loosened fails its test, readably.
    write("two/own.toml", &OWN.replace("2s", "3s"));
    let (code, out, _) = test(&["two"]);
    assert_eq!(code, 1);
    for part in [
        "FAIL  the mine's own limit waits two seconds\n  two/own.test.toml:2:1",
        "  -       7s  * *  own alarm on",
        "  +       8s  LW MM116  own alarm on value 0.9  (0.9 >= 0.9 %)",
        "0 passed, 1 failed",
    ] {
        assert!(out.contains(part), "missing `{part}` in\n{out}");
    }
    write("two/own.toml", &OWN.replace("kind", "knd"));
    let (code, _, err) = test(&["two"]);
    assert!(code == 2 && err.contains("two/own.toml:4:1: error: unknown key"), "{err}");
    write("four/x.test.toml", TESTS);
    let (code, _, err) = test(&["four"]);
    assert!(code == 2 && err.contains("no rules belong to these tests"), "{err}");
    assert_eq!(test(&["nowhere"]).0, 2);
}

#[test]
fn the_tests_of_the_packs_run_by_command() {
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/packs");
    let tests = ["coal.test.toml", "chemical.test.toml", "regulator.test.toml"];
    let (code, out, err) = firedamp(&packs, &[&["rules", "test"][..], &tests].concat());
    assert_eq!(code, 0, "{out}{err}");
    assert!(!out.contains("FAIL") && out.contains(" 0 failed"), "{out}");
}
