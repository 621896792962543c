//! CDDY files (point definitions) as a catalog, pure; RYQY and RYXX files (areas, people) as the points that stand for areas and for
//! the mine, see `anchors`. Field numbers are those of MT/T 1201.1: 24 fields, 6 to 16 needed
//! for analog points and empty else.
//!
//! | field | becomes |
//! |---|---|
//! | 1 point code, 4 sensor type, 5 value type, 6 unit | code, type code and quantity word (`types.csv`), value type, unit |
//! | 7 high range, 8 low range | `high`, `low` |
//! | 9 to 16 limits | `limits`; empty and -9999 are none |
//! | 17, 18 texts for on and off | labels `on`, `off` |
//! | 19 location | name, and the place class `T0` to `T8` where it stands in it as a word of its own |
//! | 23 relations | as written |
//!
//! A mistake is told at line and column; a file may be one line, then the column counts. After [`PROBLEMS_MAX`] of them
//! the rest is only counted.

use super::readings::value;
use super::text::{Record, RecordError, Text, fields, name, open, place};
use model::catalog::{Limits, Place};
use model::problem::{Problem, Problems, line_column};
use model::{Point, Site};
use std::collections::HashMap;
use std::sync::LazyLock;

mod anchors;

/// Most problems of one file that are told one by one.
pub const PROBLEMS_MAX: usize = 100;

/// Quantity words by sensor type code.
static TYPES: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    let rows = include_str!("types.csv").lines().skip(1);
    rows.filter_map(|row| {
        row.split_once(',').map(|(code, rest)| (code, rest.split(',').next().unwrap_or_default()))
    })
    .collect()
});

/// The quantity word of a sensor type code of four digits.
pub fn quantity(type_code: &str) -> Option<&'static str> {
    TYPES.get(type_code).copied()
}

/// Sites and points with the places where they stand, as [`model::Catalog::build`] takes them.
pub type Rows = (Vec<(Site, Place)>, Vec<(Point, Place)>);

/// Site and points of a file: RYQY or RYXX by its name, else CDDY. `file` is its path as the user gave it. Mistakes go to `problems`,
/// records with one are left out; after a mistake in the header nothing is there.
pub fn catalog_from_file(file: &str, text: &str, problems: &mut Problems) -> Rows {
    let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
    match name(base).map(|n| n.kind) {
        Some("RYQY") => from_file(file, text, problems, anchors::areas),
        Some("RYXX") => from_file(file, text, problems, anchors::mine),
        _ => catalog_from_cddy(file, text, problems),
    }
}

/// The same of a CDDY file.
pub(super) fn catalog_from_cddy(file: &str, text: &str, problems: &mut Problems) -> Rows {
    from_file(file, text, problems, points)
}

/// The points of an opened file.
type Points = fn(&str, &str, &Text<'_>, &mut Problems) -> Vec<(Point, Place)>;

fn from_file(file: &str, text: &str, problems: &mut Problems, points: Points) -> Rows {
    let opened = match open(text.as_bytes()) {
        Ok(opened) => opened,
        Err(e) => {
            problems.push(
                Problem::error(file, 1, 1, e.message)
                    .help("the file must be a whole CDDY, RYQY or RYXX file of MT/T 1201"),
            );
            return (Vec::new(), Vec::new());
        }
    };
    let header = &opened.header;
    if !header.mine.bytes().all(|b| b.is_ascii_alphanumeric()) || header.mine.len() < 6 {
        let message = format!("mine code `{}` of the header is not a code", header.mine);
        problems.push(
            Problem::error(file, 1, 1, message).help("the header begins with the 12 digits of the mine"),
        );
        return (Vec::new(), Vec::new());
    }
    let site = Site {
        code: header.mine.to_owned(),
        name: header.name.to_owned(),
        kind: "mine".to_owned(),
        // The first six digits of a mine code are its region.
        region: header.mine[..6].to_owned(),
        state: "operating".to_owned(),
        ..Site::default()
    };
    let points = points(file, text, &opened, problems);
    (vec![(site, Place { file: file.into(), line: 1 })], points)
}

fn points(file: &str, text: &str, opened: &Text<'_>, problems: &mut Problems) -> Vec<(Point, Place)> {
    each(file, text, opened, problems, |record, told| read(record, opened.header.mine, told))
}

/// A point a record, by its code; a later one replaces an earlier one.
fn each<'a>(
    file: &'a str,
    text: &'a str,
    opened: &Text<'a>,
    problems: &'a mut Problems,
    mut read: impl FnMut(&Record<'a>, &mut Told<'a>) -> Result<Point, RecordError>,
) -> Vec<(Point, Place)> {
    let mut out: Vec<(Point, Place)> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut told = Told { file, text, problems, errors: 0, warnings: 0 };
    let (mut line, mut counted) = (1, 0);
    for record in opened.records() {
        line += text[counted..record.at].bytes().filter(|b| *b == b'\n').count();
        counted = record.at;
        let point = match read(&record, &mut told) {
            Ok(point) => point,
            Err(e) => {
                told.error(record.at + e.at, e.message);
                continue;
            }
        };
        let place = Place { file: file.into(), line };
        match seen.get(&point.code) {
            Some(first) => {
                told.warning(
                    record.at,
                    format!("point `{}` stands twice in the file; the later one counts", point.code),
                );
                out[*first] = (point, place);
            }
            None => {
                seen.insert(point.code.clone(), out.len());
                out.push((point, place));
            }
        }
    }
    told.finish();
    out
}

/// Tells problems up to the limit and counts the rest.
struct Told<'a> {
    file: &'a str,
    text: &'a str,
    problems: &'a mut Problems,
    errors: usize,
    warnings: usize,
}

impl Told<'_> {
    fn error(&mut self, at: usize, message: String) {
        self.errors += 1;
        if self.errors + self.warnings <= PROBLEMS_MAX {
            let (line, column) = line_column(self.text, at);
            self.problems.push(Problem::error(self.file, line, column, message));
        }
    }

    fn warning(&mut self, at: usize, message: String) {
        self.warnings += 1;
        if self.errors + self.warnings <= PROBLEMS_MAX {
            let (line, column) = line_column(self.text, at);
            self.problems.push(Problem::warning(self.file, line, column, message));
        }
    }

    fn finish(self) {
        let all = self.errors + self.warnings;
        if all > PROBLEMS_MAX {
            let message = format!("{} more problems of this file are not shown", all - PROBLEMS_MAX);
            let level = if self.errors > 0 { Problem::error } else { Problem::warning };
            self.problems.push(level(self.file, 0, 0, message));
        }
    }
}

/// The fields of a record, asked by the numbers of the standard.
struct Fields<'a> {
    record: &'a str,
    fields: [&'a str; 24],
}

impl<'a> Fields<'a> {
    fn text(&self, i: usize) -> &'a str {
        self.fields[i - 1]
    }

    fn at(&self, i: usize) -> usize {
        place(self.record, self.text(i))
    }

    fn fail(&self, i: usize, message: String) -> RecordError {
        RecordError { reason: "field", message, at: self.at(i) }
    }

    fn number(&self, i: usize) -> Result<Option<f64>, RecordError> {
        let wrong = |_| self.fail(i, format!("field {i}: `{}` is not a number", self.text(i)));
        value(self.record, self.text(i)).map_err(wrong)
    }

    fn limits(&self) -> Result<Limits, RecordError> {
        Ok(Limits {
            alarm_on: self.number(9)?,
            alarm_off: self.number(10)?,
            low_alarm_on: self.number(11)?,
            low_alarm_off: self.number(12)?,
            cut_on: self.number(13)?,
            cut_off: self.number(14)?,
            low_cut_on: self.number(15)?,
            low_cut_off: self.number(16)?,
        })
    }
}

fn read(record: &Record<'_>, mine: &str, told: &mut Told<'_>) -> Result<Point, RecordError> {
    let f = Fields { record: record.text, fields: fields::<24>(record.text)? };
    let (code, type_code, value_type, location) = (f.text(1), f.text(4), f.text(5), f.text(19));
    if code.is_empty() {
        return Err(f.fail(1, "field 1, the point code, is empty".to_owned()));
    }
    let Some(quantity) = quantity(type_code) else {
        return Err(
            f.fail(4, format!("field 4, sensor type `{type_code}`, is not in the table of sensor types"))
        );
    };
    if !matches!(value_type, "MN" | "KG" | "LJ" | "DT") {
        return Err(f.fail(5, format!("field 5, value type `{value_type}`, is none of MN, KG, LJ, DT")));
    }
    let (high, low) = (f.number(7)?, f.number(8)?);
    if let (Some(high), Some(low)) = (high, low)
        && low >= high
    {
        return Err(f.fail(8, format!("field 8, low range {low}, is not below field 7, high range {high}")));
    }
    let limits = f.limits()?;
    if !code.starts_with(mine) {
        told.warning(
            record.at,
            format!("point `{code}` does not begin with the mine code {mine} of the header"),
        );
    }
    if value_type == "MN" && f.text(6).is_empty() {
        told.warning(record.at + f.at(6), "field 6, the unit, is empty for an analog point".to_owned());
    }
    if value_type == "MN" && (high.is_none() || low.is_none()) {
        told.warning(
            record.at + f.at(7),
            "fields 7 and 8, the range, are not both there for an analog point".to_owned(),
        );
    }
    let labels = [("on", f.text(17)), ("off", f.text(18))].into_iter().filter(|(_, text)| !text.is_empty());
    Ok(Point {
        site: mine.to_owned(),
        code: code.to_owned(),
        name: location.to_owned(),
        quantity: quantity.to_owned(),
        unit: f.text(6).to_owned(),
        low,
        high,
        place: place_class(location).unwrap_or_default().to_owned(),
        limits,
        relations: f.text(23).to_owned(),
        labels: labels.map(|(key, text)| (key.to_owned(), text.to_owned())).collect(),
        type_code: type_code.to_owned(),
        value_type: value_type.to_owned(),
        ..Point::default()
    })
}

/// The first `T0` to `T8` in a location text that is a word of its own: `1301回风隅角T0`, not `AT10`.
pub fn place_class(location: &str) -> Option<&str> {
    let bytes = location.as_bytes();
    let word = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_alphanumeric);
    (0..bytes.len().saturating_sub(1))
        .find(|i| {
            bytes[*i] == b'T'
                && (b'0'..=b'8').contains(&bytes[i + 1])
                && (*i == 0 || !word(i - 1))
                && !word(i + 2)
        })
        .map(|i| &location[i..i + 2])
}

#[cfg(test)]
mod tests;
