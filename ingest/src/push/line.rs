//! One line of InfluxDB line protocol: `measurement,tag=a,tag=b field=1,field=2i 1700000000000000000`.
//!
//! Escapes are those of InfluxDB: a backslash before comma and space in a measurement, before comma, equals sign and space in
//! keys and tag values, before quote and backslash in a quoted text; before anything else it is itself.

use model::Micros;
use std::borrow::Cow;

/// What the time of a line counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// Nanoseconds, what InfluxDB assumes.
    #[default]
    Nanos,
    /// Microseconds.
    Micros,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

impl Precision {
    /// The precision of the word in a query: `ns us ms s`, or `n u` as older clients say.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "ns" | "n" => Self::Nanos,
            "us" | "u" | "\u{b5}" => Self::Micros,
            "ms" => Self::Millis,
            "s" => Self::Seconds,
            _ => return None,
        })
    }

    /// The time in microseconds.
    pub(super) fn micros(self, time: i64) -> Result<Micros, String> {
        let micros = match self {
            Self::Nanos => Some(time.div_euclid(1000)),
            Self::Micros => Some(time),
            Self::Millis => time.checked_mul(1000),
            Self::Seconds => time.checked_mul(1_000_000),
        };
        micros.ok_or_else(|| format!("time {time} is too large; is `precision` right?"))
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    Bool(bool),
    Text(Cow<'a, str>),
}

impl Field<'_> {
    /// As a number; a text may be one.
    pub(super) fn value(&self) -> Option<f64> {
        match self {
            Field::Float(v) => Some(*v),
            Field::Integer(v) => Some(*v as f64),
            Field::Unsigned(v) => Some(*v as f64),
            Field::Bool(v) => Some(f64::from(u8::from(*v))),
            Field::Text(text) => text.trim().parse().ok(),
        }
    }
}

/// A parsed line; used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Line<'a> {
    pub(super) measurement: Cow<'a, str>,
    pub(super) tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) fields: Vec<(Cow<'a, str>, Field<'a>)>,
    pub(super) time: Option<i64>,
}

impl<'a> Line<'a> {
    /// The value of a tag; of two with one key the last.
    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().rev().find(|(k, _)| k == key).map(|(_, v)| &**v)
    }

    pub(super) fn field(&self, key: &str) -> Option<&Field<'a>> {
        self.fields.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Parses one line without its end.
    pub(super) fn parse(&mut self, text: &'a str) -> Result<(), String> {
        self.tags.clear();
        self.fields.clear();
        let mut rest = Rest(text);
        self.measurement = rest.name(b", ");
        if self.measurement.is_empty() {
            return Err("there is no measurement".to_owned());
        }
        while rest.eat(b',') {
            let pair = rest.pair()?;
            let value = rest.name(b",= ");
            if value.is_empty() {
                return Err(format!("tag `{pair}` has no value"));
            }
            self.tags.push((pair, value));
        }
        rest.space("fields")?;
        loop {
            let key = rest.pair()?;
            let value = rest.field().map_err(|e| format!("field `{key}`: {e}"))?;
            self.fields.push((key, value));
            if !rest.eat(b',') {
                break;
            }
        }
        let time = rest.0.trim_matches(' ');
        if !rest.0.is_empty() && !rest.0.starts_with(' ') {
            return Err(format!("`{}` follows a value", rest.0));
        }
        self.time = match time {
            "" => None,
            digits => Some(digits.parse().map_err(|_| format!("`{digits}` is not a time in whole numbers"))?),
        };
        Ok(())
    }
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.0.as_bytes().first() == Some(&byte);
        if eaten {
            self.0 = &self.0[1..];
        }
        eaten
    }

    /// One space or more.
    fn space(&mut self, before: &str) -> Result<(), String> {
        if !self.eat(b' ') {
            return Err(format!("there is no space before the {before}"));
        }
        self.0 = self.0.trim_start_matches(' ');
        Ok(())
    }

    /// Up to one of `stops` that no backslash precedes, with escapes of `stops` resolved.
    fn name(&mut self, stops: &[u8]) -> Cow<'a, str> {
        let bytes = self.0.as_bytes();
        let (mut at, mut escaped) = (0, false);
        while at < bytes.len() && !stops.contains(&bytes[at]) {
            if bytes[at] == b'\\' && bytes.get(at + 1).is_some_and(|next| stops.contains(next)) {
                escaped = true;
                at += 1;
            }
            at += 1;
        }
        let (name, rest) = self.0.split_at(at);
        self.0 = rest;
        if escaped { unescape(name, stops).into() } else { name.into() }
    }

    /// `key=`
    fn pair(&mut self) -> Result<Cow<'a, str>, String> {
        let key = self.name(b",= ");
        if key.is_empty() {
            return Err("a key is empty".to_owned());
        }
        if !self.eat(b'=') {
            return Err(format!("`{key}` has no `=`"));
        }
        Ok(key)
    }

    fn field(&mut self) -> Result<Field<'a>, String> {
        if self.eat(b'"') {
            return self.quoted().map(Field::Text);
        }
        let end = self.0.find([',', ' ']).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        scalar(word)
    }

    /// A quoted text after its opening quote.
    fn quoted(&mut self) -> Result<Cow<'a, str>, String> {
        let bytes = self.0.as_bytes();
        let (mut at, mut escaped) = (0, false);
        loop {
            match bytes.get(at) {
                None => return Err("a quote does not close in its line".to_owned()),
                Some(b'"') => break,
                Some(b'\\') if matches!(bytes.get(at + 1), Some(b'"' | b'\\')) => {
                    escaped = true;
                    at += 2;
                }
                Some(_) => at += 1,
            }
        }
        let text = &self.0[..at];
        self.0 = &self.0[at + 1..];
        Ok(if escaped { unescape(text, b"\"\\").into() } else { text.into() })
    }
}

fn scalar(word: &str) -> Result<Field<'static>, String> {
    match word {
        "" => return Err("there is no value".to_owned()),
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Field::Bool(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Field::Bool(false)),
        _ => {}
    }
    let wrong = || format!("`{word}` is not a number");
    if let Some(digits) = word.strip_suffix('i') {
        return digits.parse().map(Field::Integer).map_err(|_| wrong());
    }
    if let Some(digits) = word.strip_suffix('u') {
        return digits.parse().map(Field::Unsigned).map_err(|_| wrong());
    }
    word.parse().map(Field::Float).map_err(|_| wrong())
}

/// Drops each backslash that stands before one of `of`; those are ASCII.
fn unescape(text: &str, of: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let next = rest.as_bytes().get(at + 1);
        let escapes = next.is_some_and(|b| of.contains(b));
        out.push_str(&rest[..if escapes { at } else { at + 1 }]);
        rest = &rest[at + 1..];
        if escapes {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}
