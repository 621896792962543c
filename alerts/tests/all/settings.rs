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
        "firedamp.toml:3:8: error: `receiver.kind` is `webhok`, expected one of webhook, email, mqtt, kafka, alertmanager",
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
fn brokers_and_alertmanagers_as_users_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "hush\n").unwrap();
    let (receivers, problems) = read(&format!(
        "[[receiver]]\nname = \"a\"\nkind = \"mqtt\"\nurl = \"mqtts://broker.example.org\"\ntopic = \"firedamp/{{region}}/{{site}}\"\n\
         version = \"3.1.1\"\nuser = \"firedamp\"\npassword = {{ file = {secret:?} }}\ntimeout = \"2s\"\n\
         [[receiver]]\nname = \"b\"\nkind = \"kafka\"\nbrokers = [\"k1:9092\", \"k2:9092\"]\ntopic = \"alarms\"\n\
         protocol = \"sasl_plaintext\"\nuser = \"firedamp\"\npassword = {{ file = {secret:?} }}\n\
         [[receiver]]\nname = \"c\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:9093/\"\nlabels = [\"team=gas\", \"to=duty=1\"]\n\
         link = \"https://firedamp.example.org/{{id}}\"\nuser = \"firedamp\"\npassword = {{ file = {secret:?} }}\n",
    ));
    assert_eq!(problems, "");
    assert_eq!(receivers.len(), 3);
    let shown = format!("{receivers:?}");
    for expected in
        ["port: 8883, tls: true", "version: V3", "timeout: 2s", "\"k2:9092\"", "(\"to\", \"duty=1\")"]
    {
        assert!(shown.contains(expected), "missing {expected} in {shown}");
    }
    assert!(!shown.contains("hush"), "a secret is never shown");
}

/// People are told lists in a flood, systems everything, unless the configuration says otherwise.
#[test]
fn who_reads_is_told_lists() {
    let email =
        "kind = \"email\"\nhost = \"mail.example.org\"\nfrom = \"a@example.org\"\nto = \"b@example.org\"";
    let webhook = "kind = \"webhook\"\nurl = \"http://127.0.0.1:9000/\"";
    for (keys, flood) in [
        (email.to_owned(), 10),
        (webhook.to_owned(), 0),
        (format!("{email}\nflood = 0"), 0),
        (format!("{webhook}\nflood = 25"), 25),
    ] {
        let (receivers, problems) = read(&format!("[[receiver]]\nname = \"a\"\n{keys}\n"));
        assert_eq!((problems.as_str(), receivers[0].flood), ("", flood), "{keys}");
    }
    let groups = "kind = \"alertmanager\"\nurl = \"http://127.0.0.1:9093\"\nflood = 10";
    let (_, problems) = read(&format!("[[receiver]]\nname = \"a\"\n{groups}\n"));
    assert!(problems.contains("`flood` for an Alertmanager, which groups by itself"), "{problems}");
}

#[test]
fn mistakes_of_brokers_and_alertmanagers_are_named_where_they_stand() {
    let (receivers, problems) = read(
        "[[receiver]]\nname = \"a\"\nkind = \"mqtt\"\nurl = \"http://x\"\ntopic = \"a/{sight}\"\nversion = \"4\"\npassword = { env = \"PATH\" }\n\
         [[receiver]]\nname = \"b\"\nkind = \"mqtt\"\nurl = \"mqtt://u:p@x\"\ntopic = \"a/#\"\n\
         [[receiver]]\nname = \"c\"\nkind = \"mqtt\"\nurl = \"mqtt://x/y\"\n\
         [[receiver]]\nname = \"d\"\nkind = \"kafka\"\ntopic = \"a b\"\nca = \"x\"\ntimeout = \"100ms\"\n\
         [[receiver]]\nname = \"e\"\nkind = \"alertmanager\"\nurl = \"ftp://x\"\nlabels = [\"severity=x\"]\nlink = \"nowhere\"\nuser = \"u\"\n\
         [[receiver]]\nname = \"f\"\nkind = \"alertmanager\"\nurl = \"http://u:p@x\"\nlabels = [\"x\"]\n\
         [[receiver]]\nname = \"g\"\nkind = \"alertmanager\"\nurl = \"http://x\"\nlabels = [\"1x=2\"]\n\
         [[receiver]]\nname = \"h\"\nkind = \"mqtt\"\nurl = \"mqtt://x\"\ntopic = \"a\"\nca = \"no-such-file\"\n\
         [[receiver]]\nname = \"i\"\nkind = \"alertmanager\"\nurl = \"ftp://y\"\ncheckpoints = true\nlabels = [\"receiver=x\"]\n",
    );
    assert!(receivers.is_empty(), "{receivers:?}");
    for expected in [
        "firedamp.toml:4:7: error: `http://x` is no mqtt or mqtts address",
        "firedamp.toml:5:9: error: `a/{sight}` is no topic: there is no `{sight}`, only {site}, {region}, {severity}, {rule}",
        "firedamp.toml:6:11: error: `receiver.version` is `4`, expected one of 5, 3.1.1",
        "firedamp.toml:1:1: error: `receiver.user` is missing",
        "firedamp.toml:11:7: error: `url` holds a user or a password",
        "firedamp.toml:12:9: error: `a/#` is no topic: it holds '#'",
        "firedamp.toml:16:7: error: `mqtt://x/y` has more than host and port",
        "firedamp.toml:13:1: error: `receiver.topic` is missing",
        "firedamp.toml:17:1: error: `receiver.brokers` is missing",
        "firedamp.toml:20:9: error: `a b` is no topic of Kafka",
        "`ca` is used by the protocols with `ssl` only",
        "firedamp.toml:22:11: error: `timeout` is 100ms, outside 1s to 1h",
        "firedamp.toml:26:7: error: `ftp://x` is no http or https address",
        "firedamp.toml:27:11: error: label `severity` is set by firedamp",
        "firedamp.toml:51:11: error: label `receiver` is set by firedamp",
        "firedamp.toml:23:1: error: `receiver.password` is missing",
        "firedamp.toml:33:7: error: `url` holds a user or a password",
        "firedamp.toml:34:11: error: `x` is no label",
        "firedamp.toml:39:11: error: `1x` is no name of a label",
        "firedamp.toml:45:6: error: certificates of",
        "firedamp.toml:46:1: error: `checkpoints` for an Alertmanager, which keeps nothing",
        "firedamp.toml:45:6: error: `ca` is for TLS, and `url` has none",
    ] {
        assert!(problems.contains(expected), "missing: {expected}\nin:\n{problems}");
    }
}

#[test]
fn a_try_takes_between_a_second_and_an_hour() {
    for keys in [
        "kind = \"webhook\"\nurl = \"http://127.0.0.1/\"",
        "kind = \"email\"\nhost = \"mail.example.org\"\nfrom = \"a@example.org\"\nto = \"b@example.org\"",
        "kind = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\ntopic = \"a\"",
        "kind = \"kafka\"\nbrokers = \"k1:9092\"\ntopic = \"alarms\"",
        "kind = \"alertmanager\"\nurl = \"http://127.0.0.1:9093\"",
    ] {
        let with =
            |timeout: &str| read(&format!("[[receiver]]\ntimeout = \"{timeout}\"\nname = \"a\"\n{keys}\n"));
        for (timeout, shown) in [("0s", "0ms"), ("999ms", "999ms"), ("61min", "61min"), ("2h", "2h")] {
            let (receivers, problems) = with(timeout);
            let expected = format!("firedamp.toml:2:11: error: `timeout` is {shown}, outside 1s to 1h");
            assert!(receivers.is_empty() && problems.contains(&expected), "{keys}: {problems}");
        }
        for timeout in ["1s", "1h"] {
            let (receivers, problems) = with(timeout);
            assert_eq!((receivers.len(), problems.as_str()), (1, ""), "{keys}");
        }
    }
}

#[test]
fn every_key_that_is_read_is_in_the_reference() {
    let sections = receiver_keys();
    let names: Vec<&str> = sections.iter().map(|(title, _)| title.as_str()).collect();
    let kinds = ["webhook", "email", "mqtt", "kafka", "alertmanager"];
    let titles = kinds.map(|kind| format!("[[receiver]] with kind = \"{kind}\""));
    assert_eq!(names[1..], titles);
    for (kind, keys) in kinds.iter().zip(sections[1..].iter().map(|(_, keys)| keys)) {
        // What a section was asked for is what it would have known.
        let text = format!("[[receiver]]\nkind = \"{kind}\"\nzzzzzzzz = 1\n");
        let (_, problems) = read(&text);
        let known = problems.split("known here: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        let mut documented: Vec<&str> = sections[0].1.iter().chain(keys.iter()).map(|k| k.key).collect();
        documented.sort_unstable();
        assert_eq!(known, documented.join(", "));
    }
}
