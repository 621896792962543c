//! `[[receiver]]`: who is told, and how.

use crate::notifiers::{self, Options};
use model::Severity;
use model::keys::{KeyDoc, key};
use model::toml_file::Section;
use std::time::Duration;

/// A receiver of messages.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its name; the outbox goes by it.
    pub name: String,
    /// Told of drills only; every other receiver is never told of one.
    pub drill: bool,
    /// The mildest severity it is told of.
    pub severity: Severity,
    /// Site codes it is told of; empty: all.
    pub sites: Vec<String>,
    /// How long a message is tried before it is a dead letter.
    pub deadline: Duration,
    /// How it is reached.
    pub options: Options,
}

const COMMON: &[KeyDoc] = &[
    key("name", "text", "-", "name; the outbox and the dead letters go by it"),
    key("kind", "`webhook` or `email`", "-", "how it is reached"),
    key("drill", "true or false", "false", "told of drills only; other receivers are never told of one"),
    key("severity", "`red`, `orange`, `yellow` or `blue`", "\"blue\"", "the mildest severity it is told of"),
    key("sites", "list of texts", "", "site codes it is told of; all when empty"),
    key(
        "deadline",
        "duration",
        "\"24h\"",
        "how long a message is tried before it is a dead letter and an alarm of its own",
    ),
];

/// Keys of `[[receiver]]`, common ones first.
pub fn receiver_keys() -> Vec<(String, &'static [KeyDoc])> {
    let mut out = vec![("[[receiver]]".to_owned(), COMMON)];
    out.extend(
        notifiers::kinds().iter().map(|k| (format!("[[receiver]] with kind = \"{}\"", k.name), k.keys)),
    );
    out
}

impl Receiver {
    /// Reads one section; problems are told through it.
    pub fn from_section(s: &Section<'_>) -> Option<Self> {
        let name = s.need_str("name", "\"county\"").map(|n| n.value.to_owned());
        let kinds: Vec<&str> = notifiers::kinds().iter().map(|k| k.name).collect();
        if !s.has("kind") {
            s.missing("kind", "\"webhook\"");
        }
        let kind = s.one_of("kind", &kinds).map(|k| k.value);
        let drill = s.bool("drill").is_some_and(|d| d.value);
        let severity = s.one_of("severity", &Severity::WORDS).and_then(|w| Severity::parse(w.value));
        let sites = s.strs("sites").unwrap_or_default().iter().map(|t| t.value.to_owned()).collect();
        let deadline = s
            .duration("deadline")
            .map_or(Duration::from_secs(86_400), |d| Duration::from_micros(d.value as u64));
        let kind = notifiers::kinds().iter().find(|k| Some(k.name) == kind)?;
        let options = (kind.read)(s);
        Some(Self {
            name: name?,
            drill,
            severity: severity.unwrap_or(Severity::Blue),
            sites,
            deadline,
            options: options?,
        })
    }
}
