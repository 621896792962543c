//! A mistake in what a user wrote: where it is, what is wrong, what to do. Configuration, catalog and rule files are
//! read to their end and every mistake is collected; nothing starts with an error among them.

use std::fmt;

/// Whether a problem stops the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Level {
    /// Worth telling; the start goes on.
    Warning,
    /// Nothing is started.
    Error,
}

/// One mistake at file:line:column (both 1-based; 0 where only the file is known).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Path as the user gave it.
    pub file: String,
    /// Line, 1-based.
    pub line: usize,
    /// Column in characters, 1-based.
    pub column: usize,
    /// Error or warning.
    pub level: Level,
    /// What is wrong.
    pub message: String,
    /// What to do; empty when the message says it.
    pub help: String,
}

impl Problem {
    /// An error at a place.
    pub fn error(file: &str, line: usize, column: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column,
            level: Level::Error,
            message: message.into(),
            help: String::new(),
        }
    }

    /// A warning at a place.
    pub fn warning(file: &str, line: usize, column: usize, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(file, line, column, message) }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.level {
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(f, "{}:{}:{}: {word}: {}", self.file, self.line, self.column, self.message)?;
        if !self.help.is_empty() {
            write!(f, "\n    help: {}", self.help)?;
        }
        Ok(())
    }
}

/// All mistakes found in one reading of the user's files.
#[derive(Clone, Default, Debug)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds others.
    pub fn extend(&mut self, others: Problems) {
        self.0.extend(others.0);
    }

    /// How many stop the start.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|p| p.level == Level::Error).count()
    }

    /// How many are only told.
    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for p in &self.0 {
            writeln!(f, "{p}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Line and column (1-based, in characters) of a byte position in `text`.
pub fn line_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.bytes().filter(|b| *b == b'\n').count() + 1, text[line_start..at].chars().count() + 1)
}

/// The known word nearest to a mistyped one, when it is near enough to be worth naming.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(distance, k)| *distance <= k.len().max(word.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
