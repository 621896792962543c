//! A rule as its file says it: name, kind, selection, levels with delays and severity. What a level's condition means is the kind's.

use crate::kinds::{self, Spec};
use crate::select::Select;
use model::time::Micros;
use model::toml_file::{Section, TomlFile};
use model::{Problems, Severity};
use std::sync::Arc;

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

/// A rule.
#[derive(Clone, Debug)]
pub struct RuleDef {
    /// Name; unique.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// Where it comes from.
    pub source: String,
    /// Its points.
    pub select: Select,
    /// Unit of its limits; empty: the quantity's usual one.
    pub unit: String,
    /// Levels, mildest first.
    pub levels: Vec<LevelDef>,
    /// What the kind read.
    pub spec: Arc<dyn Spec>,
    /// Where it stands.
    pub place: (String, usize, usize),
}

/// Reads all rules of a file; those with errors are left out and told.
pub fn read(file_name: &str, text: &str, problems: &mut Problems) -> Vec<RuleDef> {
    let file = TomlFile::parse(file_name, text);
    let root = file.root();
    let mut rules = Vec::new();
    for section in root.tables("rule") {
        rules.extend(read_rule(&section));
        section.finish();
    }
    // Tests may stand in the same file; they are read by the rule tester.
    root.tables("test");
    root.finish();
    problems.extend(file.into_problems());
    rules
}

fn read_rule(s: &Section<'_>) -> Option<RuleDef> {
    let name = s.need_str("name", "\"ch4-face\"");
    let words: Vec<&str> = kinds::all().iter().map(|k| k.name).collect();
    if !s.has("kind") {
        s.missing("kind", "\"limit\"");
    }
    let kind = s.one_of("kind", &words).map(|k| k.value);
    let source = s.str("source").map(|t| t.value.to_owned()).unwrap_or_default();
    let unit = s.str("unit").map(|t| t.value.to_owned()).unwrap_or_default();
    let select = Select::read(s);
    let kind = kinds::all().iter().find(|k| Some(k.name) == kind)?;
    let (levels, spec) = (kind.read)(s)?;
    if levels.len() > LEVELS_MAX {
        s.error(format!("a rule has at most {} levels", LEVELS_MAX - 1), "write two rules");
        return None;
    }
    let mut names = std::collections::BTreeSet::new();
    for level in &levels {
        if !names.insert(&level.name) {
            s.error(format!("two levels are named `{}`", level.name), "give each its own name");
        }
    }
    let name = name?.value.to_owned();
    if name.starts_with("firedamp/") {
        s.error("rule names beginning with `firedamp/` are firedamp's own", "choose another name");
        return None;
    }
    let place = s.file().place(s.at());
    Some(RuleDef { name, kind: kind.name, source, select, unit, levels, spec, place })
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
    let severity = s.one_of("severity", &Severity::WORDS).and_then(|w| Severity::parse(w.value));
    let delay = |key| match s.duration(key) {
        Some(d) if d.value > DELAY_MAX => {
            s.file().error_at(d.at, format!("`{key}` is longer than a day"), "");
            0
        }
        Some(d) => d.value,
        None => 0,
    };
    let (on_delay, off_delay) = (delay("on_delay"), delay("off_delay"));
    // Where no severity is said the first level is yellow, further ones orange.
    let severity = severity.unwrap_or(if rank == 0 { Severity::Yellow } else { Severity::Orange });
    Some(LevelDef { name, severity, on_delay, off_delay })
}
