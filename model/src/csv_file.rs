//! CSV with a header row: the first columns are fixed, further ones go by name, unknown ones are refused. Every mistake is told with
//! line and column.

use crate::catalog::Place;
use crate::problem::{Problem, Problems, nearest};
use crate::time::parse_duration;
use ahash::AHashMap;
use std::sync::Arc;

/// The rows of a CSV text with these columns, the first `fixed` of them in this order. Rows with mistakes are told in `problems` and left
/// out.
pub fn rows<T>(
    file: &str,
    text: &str,
    columns: &[&'static str],
    fixed: usize,
    problems: &mut Problems,
    mut read: impl FnMut(&mut Row<'_>) -> T,
) -> Vec<(T, Place)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(e) => {
            problems.push(Problem::error(file, 1, 1, format!("not a CSV in UTF-8: {e}")));
            return Vec::new();
        }
    };
    if !check_header(file, &header, columns, fixed, problems) {
        return Vec::new();
    }
    // Rows ask for every column that could be there: by a hash, because a million rows do.
    let header: AHashMap<&str, usize> = header.iter().enumerate().map(|(i, name)| (name, i)).collect();
    let name: Arc<str> = file.into();
    let (mut out, mut record) = (Vec::new(), csv::StringRecord::new());
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                let line = e.position().map_or(0, |p| p.line() as usize);
                problems.push(Problem::error(file, line, 1, format!("not a CSV row in UTF-8: {e}")));
                continue;
            }
        }
        let line = record.position().map_or(0, |p| p.line() as usize);
        if record.len() != header.len() {
            let message = format!("the row has {} fields, the header {}", record.len(), header.len());
            problems.push(Problem::error(file, line, 1, message).help("quote texts that hold a comma"));
            continue;
        }
        let before = problems.errors();
        let item = read(&mut Row { file, line, header: &header, record: &record, problems });
        if problems.errors() == before {
            out.push((item, Place { file: name.clone(), line }));
        }
    }
    out
}

fn check_header(
    file: &str,
    header: &csv::StringRecord,
    columns: &[&'static str],
    fixed: usize,
    problems: &mut Problems,
) -> bool {
    let before = problems.errors();
    if header.iter().take(fixed).ne(columns[..fixed].iter().copied()) {
        let message = format!("the header must start with `{}`", columns[..fixed].join(","));
        problems.push(Problem::error(file, 1, 1, message));
    }
    for (i, name) in header.iter().enumerate().skip(fixed) {
        if !columns.contains(&name) {
            let help = match nearest(name, columns.iter().copied()) {
                Some(k) => format!("did you mean `{k}`?"),
                None => format!("known: {}", columns.join(", ")),
            };
            let column = header.range(i).map_or(0, |r| r.start) + i + 1;
            problems.push(Problem::error(file, 1, column, format!("unknown column `{name}`")).help(help));
        }
    }
    problems.errors() == before
}

/// One row, asked for its fields by the names of their columns.
pub struct Row<'a> {
    file: &'a str,
    line: usize,
    header: &'a AHashMap<&'a str, usize>,
    record: &'a csv::StringRecord,
    problems: &'a mut Problems,
}

impl Row<'_> {
    /// Errors found so far, in all rows.
    pub fn errors(&self) -> usize {
        self.problems.errors()
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.header.get(name).copied()
    }

    /// The text of a field, empty where it has none.
    pub fn field(&self, name: &str) -> &str {
        self.index(name).and_then(|i| self.record.get(i)).unwrap_or_default()
    }

    /// A copy of it.
    pub fn text(&self, name: &str) -> String {
        self.field(name).to_owned()
    }

    /// Reports an error at a field.
    pub fn error(&mut self, name: &str, message: String, help: &str) {
        // Exact for rows without quotes; with quotes the column is a little to the left.
        let i = self.index(name).unwrap_or(0);
        let before: usize = self.record.iter().take(i).map(|f| f.chars().count() + 1).sum();
        self.problems.push(Problem::error(self.file, self.line, before + 1, message).help(help));
    }

    /// A field that must not be empty.
    pub fn needed(&mut self, name: &str) -> String {
        let text = self.text(name);
        if text.is_empty() {
            self.error(name, format!("{name} is empty"), "every row needs it");
        }
        text
    }

    /// One of these words.
    pub fn word(&mut self, name: &str, words: &[&str]) -> String {
        let text = self.text(name);
        if !words.contains(&text.as_str()) {
            let help = nearest(&text, words.iter().copied())
                .map(|w| format!("did you mean `{w}`?"))
                .unwrap_or_default();
            self.error(name, format!("{name} is `{text}`, expected one of {}", words.join(", ")), &help);
        }
        text
    }

    /// A finite number, where there is one.
    pub fn number(&mut self, name: &str) -> Option<f64> {
        let text = self.field(name);
        if text.is_empty() {
            return None;
        }
        match text.parse::<f64>() {
            Ok(n) if n.is_finite() => Some(n),
            _ => {
                let message = format!("{name} `{text}` is not a number");
                self.error(name, message, "leave it empty where there is none");
                None
            }
        }
    }

    /// A duration above zero, where there is one.
    pub fn duration(&mut self, name: &str) -> Option<i64> {
        let text = self.field(name);
        if text.is_empty() {
            return None;
        }
        match parse_duration(text) {
            Ok(d) if d > 0 => Some(d),
            Ok(_) => {
                self.error(name, format!("{name} `{text}` is not above zero"), "");
                None
            }
            Err(message) => {
                self.error(name, message, "");
                None
            }
        }
    }
}
