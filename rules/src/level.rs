//! What every level has, whatever the kind: name, severity, delays.

use model::Severity;
use model::time::Micros;
use model::toml_file::Section;

/// Longest delay: a day.
const DELAY_MAX: Micros = 86_400 * model::time::SECOND;

/// Most levels of a rule, the added `reported` among them: the evaluator has room for as many.
pub(crate) const LEVELS_MAX: usize = 16;

/// Name of the level that the mine's own bits raise, with a bad value; kinds add it, no rule names a level so.
pub const REPORTED: &str = "reported";

/// What every level has, whatever the kind.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelDef {
    /// Name.
    pub name: String,
    /// Severity when it is on.
    pub severity: Severity,
    /// How long the condition must hold.
    pub on_delay: Micros,
    /// How long the release must hold.
    pub off_delay: Micros,
}

/// Where the name of a level comes from.
pub enum Name {
    /// The section is the rule itself: its one level has this name.
    Is(&'static str),
    /// This, unless the section says otherwise.
    Default(&'static str),
    /// The section must say it.
    Needed,
}

/// What every level has; the kind reads the rest from the same section.
pub fn read_level(s: &Section<'_>, name: Name, rank: usize) -> Option<LevelDef> {
    let name = match name {
        Name::Is(name) => name.to_owned(),
        Name::Default(name) => s.str("name").map_or(name, |n| n.value).to_owned(),
        Name::Needed => s.need_str("name", "\"alarm\"")?.value.to_owned(),
    };
    if name == REPORTED {
        s.error(
            format!("a level cannot be named `{REPORTED}`"),
            "so is called what the mine reports with a bad value; choose another name",
        );
        return None;
    }
    let severity = read_severity(s);
    let (on_delay, off_delay) = (read_delay(s, "on_delay"), read_delay(s, "off_delay"));
    let (on_delay, off_delay) = (on_delay.unwrap_or_default(), off_delay.unwrap_or_default());
    // Where no severity is said the first level is yellow, further ones orange.
    let severity = severity.unwrap_or(if rank == 0 { Severity::Yellow } else { Severity::Orange });
    Some(LevelDef { name, severity, on_delay, off_delay })
}

/// Reads `severity`; `None` where it is not said, or is wrong and told.
pub(crate) fn read_severity(s: &Section<'_>) -> Option<Severity> {
    s.one_of("severity", &Severity::WORDS).and_then(|w| Severity::parse(w.value))
}

/// Reads a delay, none where it is not said; `None` where it is wrong and told.
pub(crate) fn read_delay(s: &Section<'_>, key: &'static str) -> Option<Micros> {
    if !s.has(key) {
        return Some(0);
    }
    let delay = s.duration(key)?;
    if delay.value > DELAY_MAX {
        s.file().error_at(delay.at, format!("`{key}` is longer than a day"), "");
        return None;
    }
    Some(delay.value)
}

/// The level that kinds add for what the mine reports with a bad value, as mild as their mildest.
pub(crate) fn reported(mildest: &LevelDef) -> LevelDef {
    LevelDef { name: REPORTED.to_owned(), severity: mildest.severity, on_delay: 0, off_delay: 0 }
}
