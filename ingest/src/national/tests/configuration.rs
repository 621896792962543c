//! The section of an inbox: its keys, and mistakes where they stand.

use crate::configure::sources_from_section;
use crate::national::KIND;
use model::toml_file::TomlFile;

fn problems(keys: &str) -> String {
    let text = format!("name = \"inbox\"\nkind = \"national\"\n{keys}");
    let file = TomlFile::parse("f.toml", &text);
    let root = file.root();
    let _ = sources_from_section(&root);
    root.finish();
    file.into_problems().to_string()
}

#[test]
fn mistakes_are_named_where_they_stand() {
    assert_eq!(problems("dir = \"inbox\"\nevery = \"5s\"\nfailed_after = \"20min\"\nkeep = \"7d\""), "");
    for (keys, expected) in [
        ("", "f.toml:1:1: error: `dir` is missing"),
        ("dir = \"\"", "f.toml:3:7: error: `dir` is empty"),
        ("dir = 5", "`dir` is an integer, expected a text in quotes"),
        ("dir = \"i\"\nevery = \"0s\"", "f.toml:4:9: error: `every` is 0ms, outside 10ms to 1h"),
        ("dir = \"i\"\nfailed_aftr = \"10min\"", "did you mean `failed_after`?"),
        ("dir = \"i\"\nkeep = \"1s\"", "`keep` is 1s, outside 1min"),
    ] {
        let shown = problems(keys);
        assert!(shown.contains(expected), "missing `{expected}` in\n{shown}");
    }
}

/// Wherever the process stands: under systemd that is `/`.
#[test]
fn an_inbox_lies_beside_the_configuration() {
    for (dir, expected) in [("inbox", "/etc/firedamp/inbox"), ("/srv/inbox", "/srv/inbox")] {
        let text = format!("name = \"inbox\"\nkind = \"national\"\ndir = \"{dir}\"\n");
        let file = TomlFile::parse("/etc/firedamp/firedamp.toml", &text);
        let configured = sources_from_section(&file.root()).unwrap();
        assert_eq!(configured.protocol.summary, format!("files in {expected}"));
    }
}

#[test]
fn every_key_is_documented() {
    let shown = problems("zzzzzzzzzzzzzzzzzzz = 1");
    let known =
        shown.lines().find_map(|l| l.trim().strip_prefix("help: known here: ")).expect("a list of keys");
    let common = crate::keys::COMMON.iter().map(|d| d.key);
    let mut documented: Vec<&str> = common.chain(KIND.keys.iter().map(|d| d.key)).collect();
    documented.sort_unstable();
    assert_eq!(known.split(", ").collect::<Vec<_>>(), documented);
}
