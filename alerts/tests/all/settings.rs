//! `[[receiver]]` as users write it: every mistake at its place, secrets never shown.

use alerts::{Receiver, receiver_keys};
use model::toml_file::TomlFile;
use std::time::Duration;

fn read(text: &str) -> (Vec<Receiver>, String) {
    let file = TomlFile::parse("firedamp.toml", text);
    let mut receivers = Vec::new();
    for section in file.root().tables("receiver") {
        receivers.extend(Receiver::from_section(&section));
        section.finish();
    }
    (receivers, file.into_problems().to_string())
}

#[test]
fn receivers_as_users_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "hush\n").unwrap();
    let (receivers, problems) = read(&format!(
        "[[receiver]]\nname = \"county\"\nkind = \"webhook\"\nurl = \"https://bureau.example.org/alarms\"\nsecret = {{ file = {secret:?} }}\n\
         severity = \"orange\"\nregions = [\"1401\", \"620102\"]\ndeadline = \"2h\"\n\
         [[receiver]]\nname = \"duty\"\nkind = \"email\"\nhost = \"mail.example.org\"\nfrom = \"firedamp@example.org\"\n\
         to = [\"值班 <duty@example.org>\", \"li@example.org\"]\nuser = \"firedamp\"\npassword = {{ file = {secret:?} }}\n\
         [[receiver]]\nname = \"drill\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9000/\"\ndrill = true\nsites = \"M1\"\nown = true\n"
    ));
    assert_eq!(problems, "");
    let [county, duty, drill] = &receivers[..] else { panic!("{receivers:?}") };
    assert_eq!(
        (county.severity, county.own, county.deadline),
        (model::Severity::Orange, false, Duration::from_secs(7200))
    );
    assert_eq!(county.regions, ["1401", "620102"]);
    assert!(duty.own && duty.sites.is_empty());
    assert!(drill.drill && drill.own && drill.sites == ["M1"]);
    assert!(!format!("{receivers:?}").contains("hush"), "a secret is never shown");
}

#[test]
fn every_mistake_is_named_where_it_stands() {
    let (receivers, problems) = read(
        "[[receiver]]\nname = \"a\"\nkind = \"webhok\"\nurl = \"http://127.0.0.1/\"\n\
         [[receiver]]\nname = \"b\"\nkind = \"webhook\"\nurl = \"ftp://x/\"\nsecert = { env = \"X\" }\n\
         [[receiver]]\nname = \"c\"\nkind = \"webhook\"\nurl = \"http://u:p@127.0.0.1/\"\nregions = [\"140\"]\n\
         [[receiver]]\nname = \"d\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1/\"\nsecret = { env = \"FIREDAMP_NO_SUCH\" }\n\
         [[receiver]]\nname = \"e\"\nkind = \"email\"\nhost = \"mail.example.org\"\ntls = \"none\"\nfrom = \"nobody\"\nuser = \"u\"\n",
    );
    assert!(receivers.is_empty(), "{receivers:?}");
    assert!(
        !problems.contains("unknown key `receiver.url`"),
        "a wrong kind makes no other key wrong:\n{problems}"
    );
    for expected in [
        "firedamp.toml:3:8: error: `receiver.kind` is `webhok`, expected one of webhook, email",
        "did you mean `webhook`?",
        "firedamp.toml:8:7: error: `ftp://x/` is no http or https address",
        "firedamp.toml:9:1: error: unknown key `receiver.secert`",
        "firedamp.toml:13:7: error: `url` holds a user or a password",
        "firedamp.toml:14:12: error: `140` is no region",
        "firedamp.toml:19:18: error: environment variable `FIREDAMP_NO_SUCH` is not set",
        "`tls = \"none\"` is for a mail server on loopback",
        "firedamp.toml:25:8: error: `nobody` is no mail address",
        "`receiver.to` is missing",
        "`receiver.password` is missing",
    ] {
        assert!(problems.contains(expected), "missing: {expected}\nin:\n{problems}");
    }
}

#[test]
fn every_key_that_is_read_is_in_the_reference() {
    let sections = receiver_keys();
    let names: Vec<&str> = sections.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(
        names,
        ["[[receiver]]", "[[receiver]] with kind = \"webhook\"", "[[receiver]] with kind = \"email\""]
    );
    for (kind, keys) in [("webhook", &sections[1].1), ("email", &sections[2].1)] {
        // What a section was asked for is what it would have known.
        let text = format!("[[receiver]]\nkind = \"{kind}\"\nzzzzzzzz = 1\n");
        let (_, problems) = read(&text);
        let known = problems.split("known here: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        let mut documented: Vec<&str> = sections[0].1.iter().chain(keys.iter()).map(|k| k.key).collect();
        documented.sort_unstable();
        assert_eq!(known, documented.join(", "));
    }
}
