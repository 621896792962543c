//! A rule as its file says it: name, kind, selection, levels with delays and severity. What a level's condition means is the kind's.

use crate::kinds::{self, Spec};
use crate::level::{LEVELS_MAX, LevelDef};
use crate::select::Select;
use model::Problems;
use model::toml_file::{Section, TomlFile};
use std::sync::Arc;

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
            return None;
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
