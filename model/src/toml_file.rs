//! TOML with places: reads a file into sections that remember where each key stands, so that configuration and rule
//! files report every mistake at file:line:column, unknown keys with the nearest known one among them.
//!
//! A [`Section`] is asked for its keys one by one; [`Section::finish`] then refuses whatever was not asked for.

use crate::problem::{Problem, Problems, line_column, nearest};
use crate::time::{Micros, parse_duration, parse_size};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed file and the problems found in it so far.
pub struct TomlFile<'a> {
    file: String,
    text: &'a str,
    /// Where each line begins: a file of 100,000 rules asks for as many places.
    lines: Vec<usize>,
    root: Spanned<DeTable<'a>>,
    problems: RefCell<Problems>,
}

impl<'a> TomlFile<'a> {
    /// Parses `text`; syntax errors become problems and what could be read is kept.
    pub fn parse(file: &str, text: &'a str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        let this = Self { file: file.to_owned(), text, lines, root, problems: RefCell::default() };
        for e in errors {
            this.error_at(e.span().map_or(0, |s| s.start), e.message().to_owned(), "");
        }
        this
    }

    /// The top level of the file.
    pub fn root(&self) -> Section<'_> {
        Section {
            file: self,
            table: self.root.get_ref(),
            at: self.root.span().start,
            path: String::new(),
            known: RefCell::default(),
        }
    }

    /// What was found, when all sections are done.
    pub fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }

    /// Number of errors found so far: whether a section was read without one.
    pub fn error_count(&self) -> usize {
        self.problems.borrow().errors()
    }

    /// Reports an error at a byte position.
    pub fn error_at(&self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        let (_, line, column) = self.place(at);
        self.problems.borrow_mut().push(Problem::error(&self.file, line, column, message).help(help));
    }

    /// Reports a warning at a byte position.
    pub fn warning_at(&self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        let (_, line, column) = self.place(at);
        self.problems.borrow_mut().push(Problem::warning(&self.file, line, column, message).help(help));
    }

    /// `file:line` of a byte position.
    pub fn place(&self, at: usize) -> (String, usize, usize) {
        let line = self.lines.partition_point(|begin| *begin <= at);
        let begin = self.lines[line - 1];
        let (_, column) = line_column(&self.text[begin..], at - begin);
        (self.file.clone(), line, column)
    }
}

/// A value with its byte position in the file.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Byte position.
    pub at: usize,
}

/// A table of the file, asked key by key.
pub struct Section<'a> {
    file: &'a TomlFile<'a>,
    table: &'a DeTable<'a>,
    at: usize,
    path: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// Byte position of the section.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The file it stands in.
    pub fn file(&self) -> &'a TomlFile<'a> {
        self.file
    }

    fn raw(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().push(key);
        self.table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, v)| v)
    }

    /// Whether the key stands here; counts as asking for it.
    pub fn has(&self, key: &'static str) -> bool {
        self.raw(key).is_some()
    }

    /// Byte position of the value of a key that stands here; counts as asking for it.
    pub fn at_value(&self, key: &'static str) -> Option<usize> {
        self.raw(key).map(|v| v.span().start)
    }

    /// Keys that stand here and were not yet asked for, with their values as text: for free-form tables such as labels.
    pub fn rest_as_text(&self) -> Vec<(String, Located<String>)> {
        let known = self.known.borrow().clone();
        let rest = self.table.iter().filter(|(k, _)| !known.contains(&k.get_ref().as_ref()));
        rest.filter_map(|(k, v)| {
            let text = match v.get_ref() {
                DeValue::String(s) => s.to_string(),
                DeValue::Integer(i) => i.as_str().to_owned(),
                DeValue::Float(f) => f.as_str().to_owned(),
                DeValue::Boolean(b) => b.to_string(),
                _ => return None,
            };
            Some((k.get_ref().to_string(), Located { value: text, at: v.span().start }))
        })
        .collect()
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong_type(&self, key: &str, v: &Spanned<DeValue<'_>>, want: &str) {
        let message = format!("`{}` is {}, expected {want}", self.name(key), article(v.get_ref().type_str()));
        self.file.error_at(v.span().start, message, "");
    }

    /// Reports an error at the section itself.
    pub fn error(&self, message: impl Into<String>, help: impl Into<String>) {
        self.file.error_at(self.at, message, help);
    }

    /// Reports that a key is needed.
    pub fn missing(&self, key: &str, example: &str) {
        let name = self.name(key);
        self.file.error_at(
            self.at,
            format!("`{name}` is missing"),
            format!("add for example `{key} = {example}`"),
        );
    }

    /// A text.
    pub fn str(&self, key: &'static str) -> Option<Located<&'a str>> {
        let v = self.raw(key)?;
        match v.get_ref().as_str() {
            Some(s) => Some(Located { value: s, at: v.span().start }),
            None => {
                self.wrong_type(key, v, "a text in quotes");
                None
            }
        }
    }

    /// A text that must be there; `example` is shown when it is not.
    pub fn need_str(&self, key: &'static str, example: &str) -> Option<Located<&'a str>> {
        if !self.has(key) {
            self.missing(key, example);
            return None;
        }
        self.str(key)
    }

    /// A path; a relative one is below the folder of this file.
    pub fn path(&self, key: &'static str) -> Option<Located<PathBuf>> {
        let s = self.str(key)?;
        let joined = Path::new(&self.file.file).parent().unwrap_or(Path::new("")).join(s.value);
        let value = std::path::absolute(&joined).unwrap_or(joined);
        Some(Located { value, at: s.at })
    }

    /// A number, integer or float.
    pub fn f64(&self, key: &'static str) -> Option<Located<f64>> {
        let v = self.raw(key)?;
        match number(v.get_ref()) {
            Some(value) if value.is_finite() => Some(Located { value, at: v.span().start }),
            _ => {
                self.wrong_type(key, v, "a finite number");
                None
            }
        }
    }

    /// A whole number from `min` to `max`.
    pub fn int(&self, key: &'static str, min: i64, max: i64) -> Option<Located<i64>> {
        let v = self.raw(key)?;
        let value = v.get_ref().as_integer().and_then(|i| i64::from_str_radix(i.as_str(), i.radix()).ok());
        match value {
            Some(n) if (min..=max).contains(&n) => Some(Located { value: n, at: v.span().start }),
            Some(n) => {
                let message = format!("`{}` is {n}, outside {min} to {max}", self.name(key));
                self.file.error_at(v.span().start, message, "");
                None
            }
            None => {
                self.wrong_type(key, v, "a whole number");
                None
            }
        }
    }

    /// true or false.
    pub fn bool(&self, key: &'static str) -> Option<Located<bool>> {
        let v = self.raw(key)?;
        match v.get_ref().as_bool() {
            Some(value) => Some(Located { value, at: v.span().start }),
            None => {
                self.wrong_type(key, v, "true or false");
                None
            }
        }
    }

    fn parsed<T>(&self, key: &'static str, parse: fn(&str) -> Result<T, String>) -> Option<Located<T>> {
        let s = self.str(key)?;
        match parse(s.value) {
            Ok(value) => Some(Located { value, at: s.at }),
            Err(message) => {
                self.file.error_at(s.at, format!("`{}`: {message}", self.name(key)), "");
                None
            }
        }
    }

    /// A duration, in microseconds.
    pub fn duration(&self, key: &'static str) -> Option<Located<Micros>> {
        self.parsed(key, parse_duration)
    }

    /// A size, in bytes.
    pub fn size(&self, key: &'static str) -> Option<Located<u64>> {
        self.parsed(key, parse_size)
    }

    /// One of the given words.
    pub fn one_of<'w>(&self, key: &'static str, words: &'w [&'w str]) -> Option<Located<&'w str>> {
        let s = self.str(key)?;
        if let Some(w) = words.iter().find(|w| **w == s.value) {
            return Some(Located { value: w, at: s.at });
        }
        let help = nearest(s.value, words.iter().copied())
            .map(|w| format!("did you mean `{w}`?"))
            .unwrap_or_default();
        let message = format!("`{}` is `{}`, expected one of {}", self.name(key), s.value, words.join(", "));
        self.file.error_at(s.at, message, help);
        None
    }

    /// A text or a list of texts, as a list.
    pub fn strs(&self, key: &'static str) -> Option<Vec<Located<&'a str>>> {
        let v = self.raw(key)?;
        if let Some(s) = v.get_ref().as_str() {
            return Some(vec![Located { value: s, at: v.span().start }]);
        }
        let Some(list) = v.get_ref().as_array() else {
            self.wrong_type(key, v, "a text or a list of texts");
            return None;
        };
        let mut out = Vec::with_capacity(list.len());
        for item in list.iter() {
            match item.get_ref().as_str() {
                Some(s) => out.push(Located { value: s, at: item.span().start }),
                None => self.wrong_type(key, item, "a text in quotes"),
            }
        }
        Some(out)
    }

    /// A table below this one.
    pub fn table(&self, key: &'static str) -> Option<Section<'a>> {
        let v = self.raw(key)?;
        match v.get_ref().as_table() {
            Some(table) => Some(self.below(key, table, v.span().start)),
            None => {
                self.wrong_type(key, v, "a table");
                None
            }
        }
    }

    /// A list of tables: `[[key]]` or `key = [{ .. }, ..]`; empty when absent.
    pub fn tables(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(v) = self.raw(key) else { return Vec::new() };
        let Some(list) = v.get_ref().as_array() else {
            self.wrong_type(key, v, "a list of tables");
            return Vec::new();
        };
        let mut out = Vec::with_capacity(list.len());
        for item in list.iter() {
            match item.get_ref().as_table() {
                Some(table) => out.push(self.below(key, table, item.span().start)),
                None => self.wrong_type(key, item, "a table"),
            }
        }
        out
    }

    fn below(&self, key: &str, table: &'a DeTable<'a>, at: usize) -> Section<'a> {
        Section { file: self.file, table, at, path: self.name(key), known: RefCell::default() }
    }

    /// Refuses every key that was not asked for, naming the nearest that was.
    pub fn finish(self) {
        self.finish_ref();
    }

    /// [`Section::finish`] without giving the section up.
    pub fn finish_ref(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter() {
            let word = key.get_ref().as_ref();
            if known.contains(&word) {
                continue;
            }
            let help = match nearest(word, known.iter().copied()) {
                Some(k) => format!("did you mean `{k}`?"),
                None => format!("known here: {}", sorted(&known).join(", ")),
            };
            self.file.error_at(key.span().start, format!("unknown key `{}`", self.name(word)), help);
        }
    }
}

fn sorted(known: &[&'static str]) -> Vec<&'static str> {
    let mut known = known.to_vec();
    known.sort_unstable();
    known.dedup();
    known
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

fn number(v: &DeValue<'_>) -> Option<f64> {
    match v {
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|n| n as f64),
        DeValue::Float(f) => f.as_str().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_where_it_stands() {
        let text = "[log]\nkind = \"embeded\"\npartitons = 8\nretain = { age = \"7 days\" }\nx = \n";
        let file = TomlFile::parse("f.toml", text);
        let root = file.root();
        let log = root.table("log").unwrap();
        assert!(log.one_of("kind", &["embedded", "kafka"]).is_none());
        assert!(log.int("partitions", 1, 1024).is_none());
        let retain = log.table("retain").unwrap();
        assert!(retain.duration("age").is_none());
        retain.finish();
        log.finish();
        root.finish();
        let shown = file.into_problems().to_string();
        assert!(shown.contains("f.toml:2:8: error: `log.kind` is `embeded`"), "{shown}");
        assert!(shown.contains("did you mean `partitions`?"), "{shown}");
        assert!(shown.contains("f.toml:4:18: error: `log.retain.age`: duration"), "{shown}");
        assert!(shown.contains("f.toml:5:"), "{shown}");
    }
}
