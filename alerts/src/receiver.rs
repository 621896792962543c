//! `[[receiver]]`: who is told, and how.

use crate::notifiers::{self, Settings};
use model::Severity;
use model::keys::{KeyDoc, key};
use model::toml_file::Section;
use std::sync::Arc;
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
    /// Regions it is told of, as codes or their first digits; empty: all.
    pub regions: Vec<String>,
    /// Told of firedamp's own alarms.
    pub own: bool,
    /// Told of signed entries of the journal.
    pub checkpoints: bool,
    /// Told more than so many messages within ten minutes, it is told the rest as lists; 0: never.
    pub flood: usize,
    /// How long a message is tried before it is a dead letter.
    pub deadline: Duration,
    /// How it is reached.
    pub settings: Arc<dyn Settings>,
    /// Where it is configured: `firedamp.toml:12`; empty for one made in code.
    pub place: String,
}

/// More messages than this within ten minutes are no messages to people (EEMUA 191), and the most that can be asked for.
const FLOOD: usize = 10;
const FLOOD_MAX: i64 = 1_000;

const COMMON: &[KeyDoc] = &[
    key("name", "text", "-", "name; the outbox and the dead letters go by it"),
    key("kind", "`webhook`, `email`, `mqtt`, `kafka` or `alertmanager`", "-", "how it is reached"),
    key("drill", "true or false", "false", "told of drills only; other receivers are never told of one"),
    key(
        "severity",
        "`red`, `orange`, `yellow` or `blue`",
        "\"blue\"",
        "the mildest severity it is told of; once told of an alarm it is told how that goes on; with `alerts.routes` this key, `sites`, `regions` \
         and `own` are refused: the routes decide",
    ),
    key("sites", "list of texts", "", "site codes it is told of; all when empty"),
    key(
        "regions",
        "list of texts",
        "",
        "regions it is told of, six digits or the first two or four; all when empty",
    ),
    key(
        "own",
        "true or false",
        "",
        "told of firedamp's own alarms; when absent: where neither `sites` nor `regions` are given",
    ),
    key(
        "checkpoints",
        "true or false",
        "false",
        "told of signed entries of the journal (`alerts.signing_key`), which prove later that nothing before them was changed: keep them",
    ),
    key(
        "flood",
        "number",
        "",
        "told more than so many messages within ten minutes, it is told the rest as one list a minute; 0: never; when absent 10 for people \
         (`email`) and 0 for systems",
    ),
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
    /// A receiver told of everything but drills.
    pub fn new(name: &str, settings: Arc<dyn Settings>) -> Self {
        Self {
            name: name.to_owned(),
            drill: false,
            severity: Severity::Blue,
            sites: Vec::new(),
            regions: Vec::new(),
            own: true,
            checkpoints: false,
            flood: 0,
            deadline: Duration::from_secs(86_400),
            settings,
            place: String::new(),
        }
    }

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
        let texts = |key| s.strs(key).unwrap_or_default();
        let sites: Vec<String> = texts("sites").iter().map(|t| t.value.to_owned()).collect();
        let mut regions = Vec::new();
        for region in texts("regions") {
            let digits = region.value.bytes().all(|b| b.is_ascii_digit());
            if digits && [2, 4, 6].contains(&region.value.len()) {
                regions.push(region.value.to_owned());
            } else {
                let message = format!("`{}` is no region", region.value);
                s.file().error_at(region.at, message, "six digits of GB/T 2260, or the first two or four");
            }
        }
        let own = s.bool("own").map_or(sites.is_empty() && regions.is_empty(), |o| o.value);
        let checkpoints = s.bool("checkpoints").is_some_and(|c| c.value);
        let deadline = s
            .duration("deadline")
            .map_or(Duration::from_secs(86_400), |d| Duration::from_micros(d.value.max(0) as u64));
        let Some(kind) = notifiers::kinds().iter().find(|k| Some(k.name) == kind) else {
            // One mistake is told, not each key of the kind that was meant.
            let _ = notifiers::kinds().iter().flat_map(|k| k.keys).filter(|k| s.has(k.key)).count();
            return None;
        };
        if checkpoints && kind.name == "alertmanager" {
            s.error(
                "`checkpoints` for an Alertmanager, which keeps nothing",
                "give them to a receiver that keeps what it gets",
            );
        }
        let given = s.int("flood", 0, FLOOD_MAX).map(|f| f.value as usize);
        if kind.name == "alertmanager" && given.is_some_and(|most| most > 0) {
            s.error("`flood` for an Alertmanager, which groups by itself", "leave it out");
        }
        let flood = given.unwrap_or(if kind.people { FLOOD } else { 0 });
        let settings = (kind.read)(s);
        let severity = severity.unwrap_or(Severity::Blue);
        let (file, line, _) = s.file().place(s.at());
        let (settings, place) = (settings?, format!("{file}:{line}"));
        Some(Self {
            name: name?,
            drill,
            severity,
            sites,
            regions,
            own,
            checkpoints,
            flood,
            deadline,
            settings,
            place,
        })
    }
}
