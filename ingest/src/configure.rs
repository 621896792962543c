//! From a `[[source]]` section to a source: reads what all sources have in common, then lets the protocol read its own keys.
//! Reports every mistake through the section; the caller calls `finish` on it.

use crate::keys::KeyDoc;
use crate::{Source, SourceInfo, kinds};
use model::Micros;
use model::record::run_flags;
use model::time::show_duration;
use model::toml_file::Section;
use std::sync::Arc;

/// Longest name of a source: it stands in every run of every record and as a label of metrics.
const NAME_LEN_MAX: usize = 64;

/// Whose clock counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimeFrom {
    /// The time in the message; receive time where there is none.
    #[default]
    Device,
    /// Always receive time.
    Receive,
    /// The time in the message, judged against the source's own newest time.
    Replay,
}

/// What the keys of all sources say.
#[derive(Clone, Debug)]
pub struct Common {
    /// Name and flags.
    pub info: SourceInfo,
    /// Whose clock counts.
    pub time: TimeFrom,
}

/// A configured protocol: makes its source, again when the first one ended.
#[derive(Clone)]
pub struct Protocol {
    /// Makes a source that has not run yet.
    pub make: Arc<dyn Fn() -> Box<dyn Source> + Send + Sync>,
    /// What it reads from, for people, without secrets: `mqtt://10.0.0.5:1883 mine/+/gas/+`.
    pub summary: String,
    /// Points that the section names one by one; empty where points are named by what is sent.
    pub points: Vec<NamedPoint>,
}

/// A point that a section names, and where: the catalog is read later, and a point it lacks is told there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedPoint {
    /// Site code.
    pub site: String,
    /// Point code.
    pub point: String,
    /// Byte position in the file.
    pub at: usize,
}

/// A protocol that can be configured: one line in [`kinds`].
pub struct Kind {
    /// The word in `kind = "..."`.
    pub name: &'static str,
    /// What it is, one sentence.
    pub doc: &'static str,
    /// Its keys beside [`crate::keys::COMMON`].
    pub keys: &'static [KeyDoc],
    /// Asks the section for all its keys, reports problems through it; `None` when no source can be made of it.
    pub configure: fn(&Common, &Section<'_>) -> Option<Protocol>,
}

/// One `[[source]]` section, understood.
pub struct Configured {
    /// Name and flags.
    pub info: SourceInfo,
    /// Name of the protocol.
    pub kind: &'static str,
    /// The source, not running yet.
    pub source: Box<dyn Source>,
    /// Makes another one like it, and says what it is.
    pub protocol: Protocol,
}

/// Reads one `[[source]]` section. Mistakes are reported through it, and nothing is to be started when there are any; `None`
/// when no source can be made of it. The caller checks that names are unique and calls [`Section::finish`].
pub fn sources_from_section(section: &Section<'_>) -> Option<Configured> {
    let name = section.need_str("name", "\"east\"");
    let words: Vec<&str> = kinds().iter().map(|k| k.name).collect();
    if !section.has("kind") {
        section.missing("kind", "\"mqtt\"");
    }
    let kind = section.one_of("kind", &words).map(|word| word.value);
    let time = match section.one_of("time", &["device", "receive", "replay"]).map(|t| t.value) {
        None | Some("device") => TimeFrom::Device,
        Some("receive") => TimeFrom::Receive,
        Some(_) => TimeFrom::Replay,
    };
    let drill = section.bool("drill").is_some_and(|d| d.value);
    let name = name.and_then(|n| {
        if n.value.is_empty() || n.value.len() > NAME_LEN_MAX || n.value.chars().any(char::is_control) {
            let message = format!("`name` must have 1 to {NAME_LEN_MAX} bytes and no control characters");
            section.file().error_at(n.at, message, "");
            return None;
        }
        Some(n.value)
    });
    let flags = if drill { run_flags::DRILL } else { 0 }
        | if time == TimeFrom::Replay { run_flags::REPLAY } else { 0 };
    let kind = kinds().iter().find(|k| Some(k.name) == kind)?;
    // The protocol's keys are asked for even when the name is wrong, so that all mistakes come at once.
    let common = Common { info: SourceInfo { name: name.unwrap_or("unnamed").into(), flags }, time };
    let protocol = (kind.configure)(&common, section)?;
    name?;
    Some(Configured { info: common.info, kind: kind.name, source: (protocol.make)(), protocol })
}

/// A duration within a range; the default where there is none, or one outside, which is told.
pub(crate) fn duration(
    section: &Section<'_>,
    key: &'static str,
    default: Micros,
    (min, max): (Micros, Micros),
) -> Micros {
    match section.duration(key) {
        Some(d) if !(min..=max).contains(&d.value) => {
            let [is, min, max] = [d.value, min, max].map(show_duration);
            section.file().error_at(d.at, format!("`{key}` is {is}, outside {min} to {max}"), "");
            default
        }
        Some(d) => d.value,
        None => default,
    }
}
