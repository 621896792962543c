//! Each mistake a user can make in a section of kind `mqtt`, and what is said about it.

use super::super::KEYS;
use super::*;
use crate::{keys, sources_from_section};
use model::record::run_flags;
use model::toml_file::TomlFile;

const GOOD: &str = r#"name = "east"
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
topics = ["mine/+/gas/+"]
map = { site = "{1}", point = "{3}", value = "/v" }
"#;

/// What is said about a source made of these lines: `line:column message` each.
fn said(lines: &str) -> String {
    let text = format!("[[source]]\n{lines}");
    let file = TomlFile::parse("f", &text);
    let section = file.root().tables("source").pop().expect("there is one");
    let configured = sources_from_section(&section);
    section.finish();
    let problems = file.into_problems();
    assert!(configured.is_some() || problems.errors() > 0, "no source, and nothing is said");
    problems.to_string()
}

/// The good section with one line replaced.
fn with(key: &str, line: &str) -> String {
    let start = format!("{key} =");
    let mut lines: Vec<&str> = GOOD.lines().filter(|l| !l.starts_with(&start)).collect();
    lines.push(line);
    said(&lines.join("\n"))
}

#[test]
fn the_example_of_the_formats_page_is_good() {
    assert_eq!(said(GOOD), "");
    let text = format!("[[source]]\n{GOOD}drill = true\ntime = \"replay\"\n");
    let file = TomlFile::parse("f", &text);
    let section = file.root().tables("source").pop().unwrap();
    let configured = sources_from_section(&section).unwrap();
    assert_eq!((&*configured.info.name, configured.kind), ("east", "mqtt"));
    assert_eq!(configured.info.flags, run_flags::DRILL | run_flags::REPLAY);
    assert_eq!(configured.protocol.summary, "mqtt://127.0.0.1:1883 mine/+/gas/+");
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    for (key, line, want) in [
        ("name", "", "`source.name` is missing"),
        ("name", "name = \"\"", "`name` must have 1 to 64 bytes"),
        ("kind", "kind = \"mqqt\"", "did you mean `mqtt`?"),
        ("url", "", "`source.url` is missing"),
        ("url", "url = \"http://x\"", "`http://x` is no mqtt or mqtts address"),
        ("url", "url = \"mqtt://me:secret@x\"", "use the keys `username` and `password`"),
        ("url", "url = \"mqtt://\"", "`mqtt://` has no host"),
        ("url", "url = \"mqtt://x/y\"", "more than host and port"),
        ("topics", "", "`source.topics` is missing"),
        ("topics", "topics = []", "`topics` is empty"),
        ("topics", "topics = [\"a/#/b\"]", "`a/#/b` is no topic filter"),
        ("topics", "topics = [\"mine/+\"]", "asks for part 3 of the topic, and `mine/+` has parts 0 to 1"),
        ("topics", "topics = [\"a/#\", \"a/#\"]", "topic `a/#` stands twice"),
        ("map", "", "`source.map` is missing"),
        ("map", "map = { site = \"{1}\", point = \"{3}\" }", "`value` is missing"),
        ("map", "map = { site = \"{1}\", point = \"{3}\", value = \"v\" }", "`v` is not a JSON pointer"),
        (
            "map",
            "map = { site = \"{1}\", point = \"{3}\", value = \"/v\", tiem = \"/t\" }",
            "did you mean `time`?",
        ),
        ("x", "each = \"readings\"", "`readings` is not a JSON pointer"),
        ("x", "protocol = \"3.1\"", "did you mean `3.1.1`?"),
        ("x", "qos = 2", "`source.qos` is 2, outside 0 to 1"),
        ("x", "keep_alive = \"1s\"", "`keep_alive` is 1s, outside 5s"),
        ("x", "clients = 2", "there are 1 topics to share out"),
        ("x", "password = \"x\"", "expected a table"),
        ("x", "password = { env = \"FIREDAMP_TEST_UNSET\" }", "`FIREDAMP_TEST_UNSET` is not set"),
        ("x", "password = {}", "needs either `env` or `file`"),
        ("x", "password = { env = \"PATH\" }", "`source.username` is missing"),
        ("x", "username = \"u\"\npassword = { file = \"/no/such/file\" }", "`/no/such/file` cannot be read"),
        ("x", "ca = \"x.pem\"", "`ca` is for TLS, and `url` has none"),
        ("x", "client_key = \"x.pem\"", "`client_key` is for TLS, and `url` has none"),
        (
            "url",
            "url = \"mqtts://x\"\nca = \"/no/such.pem\"",
            "certificates of `/no/such.pem` cannot be read",
        ),
        (
            "url",
            "url = \"mqtts://x\"\nclient_key = \"/no/such.pem\"",
            "private key of `/no/such.pem` cannot be read",
        ),
        ("x", "client_id = \"\"", "`client_id` must have"),
        ("x", "time = \"devise\"", "did you mean `device`?"),
        ("x", "topicz = 1", "did you mean `topics`?"),
    ] {
        let shown = with(key, line);
        assert!(shown.contains(want), "`{line}`: missing `{want}` in\n{shown}");
    }
}

#[test]
fn all_mistakes_come_at_once() {
    let shown =
        said("name = \"\"\nkind = \"mqtt\"\nurl = \"x\"\ntopics = [\"#/a\"]\nqos = 9\nmax_message = \"1\"\n");
    for line in ["f:2:", "f:4:", "f:5:", "f:6:", "f:7:", "`source.map` is missing"] {
        assert!(shown.contains(line), "missing `{line}` in\n{shown}");
    }
}

#[test]
fn a_password_is_read_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "hunter2\n").unwrap();
    let text = format!("[[source]]\n{GOOD}username = \"u\"\npassword = {{ file = \"password\" }}\n");
    let file = TomlFile::parse(&dir.path().join("firedamp.toml").display().to_string(), &text);
    let section = file.root().tables("source").pop().unwrap();
    let options = MqttOptions::from_section(&section).unwrap();
    assert_eq!(options.broker.login.as_ref().unwrap().1.expose(), "hunter2");
    assert!(!format!("{options:?}").contains("hunter2"));
}

/// All three files of TLS lie beside the configuration.
#[test]
fn certificates_are_read_and_go_together() {
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/firedamp.toml");
    let read = |more: &str| {
        let text = format!("[[source]]\n{}{more}", GOOD.replace("mqtt://", "mqtts://"));
        let file = TomlFile::parse(tls, &text);
        let options = MqttOptions::from_section(&file.root().tables("source").pop().unwrap());
        (options.is_some_and(|o| o.tls.is_some()), file.into_problems().to_string())
    };
    let own = "client_cert = \"broker.pem\"\nclient_key = \"broker.key\"\n";
    assert_eq!(read(&format!("ca = \"ca.pem\"\n{own}")), (true, String::new()));
    let (made, problems) = read("ca = \"ca.pem\"\nclient_cert = \"broker.pem\"\n");
    assert!(!made && problems.contains(":8:15: error: TLS cannot be used: `client_cert` and"), "{problems}");
}

/// The reference and the parser know the same keys.
#[test]
fn documented_keys_are_the_keys() {
    let documented: Vec<&str> = keys::COMMON.iter().chain(KEYS).map(|k| k.key).collect();
    let wrong =
        documented.iter().filter(|k| !k.contains('.') && **k != "kind").map(|k| format!("{k} = [[]]"));
    let lines: Vec<String> = wrong.chain(["kind = \"mqtt\"".to_owned()]).collect();
    let shown = said(&lines.join("\n"));
    assert!(!shown.contains("unknown key"), "documented and not known:\n{shown}");
    // An unknown key far from all others is answered with the list of those that are known.
    let known = with("x", "zzzzzzzzzzzzzzzzzzzzzzzz = 1");
    let known = known.split("known here: ").nth(1).expect("the list of known keys").trim();
    for key in known.split(", ") {
        assert!(documented.contains(&key), "`{key}` is asked for and not documented");
    }
    let map = with("map", "map = { zzzzzzzzzzzzzzzzzzzzzzzz = 1 }");
    let map =
        map.split("known here: ").nth(1).expect("the list of known keys").lines().next().unwrap_or_default();
    for key in map.split(", ") {
        assert!(documented.contains(&&*format!("map.{key}")), "`map.{key}` is asked for and not documented");
    }
}
