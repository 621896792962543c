//! `grade`: a table in which each row is a value, how long it has been there, and a place; it gives a colour: severity by value ×
//! duration × place, as a regulator writes it.
//!
//! - A row has lower ends only: what is higher, or lasts longer, is never milder. Of `1.0 <= v < 1.5, 5 <= T < 10 min` it says `on = ">= 1.0"`,
//!   `after = "5min"`; above 1.5, and after ten minutes, it goes on to hold until another row gives a worse colour. A row that another one
//!   makes pointless is refused: most likely it was meant to make something milder.
//! - Levels are the colours, mildest first. A latch serves one on-delay, so that each further duration of a colour is a level of its own:
//!   `yellow` is the shortest, then `yellow-2`. The longer one stands below: that time passes is no rise within a colour.
//! - Rows of one colour and duration are one level, on where one of them holds: at a point the widest of them counts.
//! - Where a point lies is looked up when the rule is bound: what is judged then is a ladder of limits as that of `limit`.

use super::ladder::{Ladder, Placed, Slot};
use super::shared::{Rung, decimal, read_compare, read_positive};
use super::{Binding, Bound, Read, Spec};
use crate::compare::Compare;
use crate::level::{LevelDef, read_delay, read_severity, reported};
use model::catalog::fits;
use model::time::Micros;
use model::toml_file::Section;
use model::{Point, Severity};
use std::sync::Arc;

/// Most rows: each is compared with all others.
const ROWS_MAX: usize = 256;

/// Where a row counts: everywhere where nothing is said, else where the class of the point's place is one of these, or its name holds
/// one of the words.
#[derive(Clone, Debug, PartialEq, Default)]
struct Where {
    classes: Vec<String>,
    words: Vec<String>,
}

impl Where {
    fn is_everywhere(&self) -> bool {
        self.classes.is_empty() && self.words.is_empty()
    }

    fn is_at(&self, point: &Point) -> bool {
        self.is_everywhere()
            || self.classes.iter().any(|class| fits(&point.place, class))
            || self.words.iter().any(|word| point.name.contains(word))
    }

    /// Whether it counts wherever the other one does.
    fn covers(&self, other: &Self) -> bool {
        let all = |theirs: &[String], mine: &[String], is: fn(&str, &str) -> bool| {
            theirs.iter().all(|t| mine.iter().any(|m| is(t, m)))
        };
        self.is_everywhere()
            || (!other.is_everywhere()
                && all(&other.classes, &self.classes, fits)
                && all(&other.words, &self.words, |theirs, mine| theirs.contains(mine)))
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    on: Compare,
    after: Micros,
    severity: Severity,
    place: Where,
}

impl Row {
    /// Whether wherever and whenever the other one holds this one does, with a colour that is no milder.
    fn covers(&self, other: &Self) -> bool {
        self.on.covers(other.on)
            && self.after <= other.after
            // The worst comes first.
            && self.severity <= other.severity
            && self.place.covers(&other.place)
    }

    /// With its release.
    fn rung(&self, dead_band: f64) -> Rung {
        let mut off = self.on.opposite();
        if dead_band > 0.0 {
            off.limit = decimal(if off.is_up() { off.limit + dead_band } else { off.limit - dead_band });
        }
        Rung { on: self.on, off }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct GradeSpec {
    rows: Vec<Row>,
    /// Distance of the release from the limit.
    dead_band: f64,
    /// The levels, mildest first.
    levels: Vec<(Severity, Micros)>,
}

/// Reads `row = [{ on, after, place, keyword, severity }]`, `dead_band` and `off_delay`.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let (dead_band, off_delay) = (read_positive(s, "dead_band"), read_delay(s, "off_delay"));
    let sections = s.tables("row");
    if sections.is_empty() {
        s.missing("row", "[{ on = \">= 1.0\", severity = \"blue\" }]");
    }
    if sections.len() > ROWS_MAX {
        s.error(
            format!("the table has {} rows, more than {ROWS_MAX}", sections.len()),
            "write a rule for each place",
        );
        return None;
    }
    // Every row is read, so that every mistake is told.
    let rows: Vec<Option<Row>> = sections.iter().map(read_row).collect();
    let rows = rows.into_iter().collect::<Option<Vec<Row>>>()?;
    if !make_a_table(&sections, &rows) {
        return None;
    }
    let spec = GradeSpec { levels: levels_of(&rows), rows, dead_band: dead_band.ok()?.unwrap_or_default() };
    let mut levels = name(&spec.levels, off_delay?);
    levels.push(reported(levels.first()?));
    Some((levels, Arc::new(spec)))
}

fn read_row(s: &Section<'_>) -> Option<Row> {
    let (on, after) = (read_compare(s, "on", "\">= 1.0\""), read_delay(s, "after"));
    if !s.has("severity") {
        s.missing("severity", "\"yellow\"");
    }
    let severity = read_severity(s);
    let (classes, words) = (read_texts(s, "place"), read_texts(s, "keyword"));
    if words.as_ref().is_some_and(|words| words.iter().any(String::is_empty)) {
        s.error("a `keyword` is empty", "every name holds it; write a part of the name, or leave it out");
        return None;
    }
    s.finish_ref();
    let place = Where { classes: classes?, words: words? };
    Some(Row { on: on?, after: after?, severity: severity?, place })
}

/// Reads a text or a list of them, none where nothing is said; `None` where it is wrong and told.
fn read_texts(s: &Section<'_>, key: &'static str) -> Option<Vec<String>> {
    if !s.has(key) {
        return Some(Vec::new());
    }
    let texts: Vec<String> = s.strs(key)?.into_iter().map(|t| t.value.to_owned()).collect();
    if texts.is_empty() {
        s.error(
            format!("`{key}` is an empty list"),
            "the row would count nowhere; say where, or leave it out",
        );
        return None;
    }
    Some(texts)
}

/// Whether the rows are one table: they look the same way, and each gives a colour that no other one gives. Else it is told.
fn make_a_table(sections: &[Section<'_>], rows: &[Row]) -> bool {
    let mut is_table = true;
    for (i, (section, row)) in sections.iter().zip(rows).enumerate() {
        if row.on.is_up() != rows[0].on.is_up() {
            let message = format!("row {} looks the other way than row 1", i + 1);
            section.error(message, "write a rule for what rises and one for what falls");
            is_table = false;
            continue;
        }
        // Of two equal rows the first one stands.
        let covers = |(j, other): (usize, &Row)| {
            (j != i && other.covers(row) && (j < i || !row.covers(other))).then_some(j)
        };
        if let Some(j) = rows.iter().enumerate().find_map(covers) {
            let message = format!(
                "row {} says nothing: wherever it holds, row {} gives `{}` already",
                i + 1,
                j + 1,
                rows[j].severity
            );
            section.error(
                message,
                "what is farther over or lasts longer is no milder; look at its limit, time and colour",
            );
            is_table = false;
        }
    }
    is_table
}

/// Each colour with each of its durations, mildest first, and within a colour the longest duration.
fn levels_of(rows: &[Row]) -> Vec<(Severity, Micros)> {
    let mut levels: Vec<(Severity, Micros)> = rows.iter().map(|r| (r.severity, r.after)).collect();
    levels.sort_unstable_by(|a, b| b.cmp(a));
    levels.dedup();
    levels
}

/// The levels by name: the colour, and from its second shortest duration on their number.
fn name(levels: &[(Severity, Micros)], off_delay: Micros) -> Vec<LevelDef> {
    let named = levels.iter().map(|&(severity, on_delay)| {
        let shorter = levels.iter().filter(|(s, after)| *s == severity && *after < on_delay).count();
        let name = if shorter == 0 { severity.to_string() } else { format!("{severity}-{}", shorter + 1) };
        LevelDef { name, severity, on_delay, off_delay }
    });
    named.collect()
}

impl GradeSpec {
    /// The widest row of each level at a point, in its unit.
    fn at(&self, point: &Point, convert: Option<(f64, f64)>) -> Vec<Placed> {
        let of_level = |&(severity, after): &(Severity, Micros)| {
            let is = |r: &&Row| (r.severity, r.after) == (severity, after) && r.place.is_at(point);
            let rungs = self.rows.iter().filter(is).map(|r| r.rung(self.dead_band));
            let widest = rungs.reduce(|a, b| a.stricter(b).0);
            (widest.zip(convert).map(|(rung, by)| rung.converted(by)), "rule")
        };
        self.levels.iter().map(of_level).collect()
    }

    /// A row for no point at all is a mistyped place; not in a shipped pack, which is for many kinds of sites.
    fn warn_of_rows_for_nothing(&self, b: &mut Binding<'_>, points: &[u32]) {
        if points.is_empty() || b.place.0.starts_with("pack:") {
            return;
        }
        for (i, row) in self.rows.iter().enumerate() {
            if !points.iter().any(|ix| row.place.is_at(b.catalog.point(*ix))) {
                let message =
                    format!("rule `{}`: row {} is for none of the points it selects", b.rule, i + 1);
                b.warning(message, "look for a mistyped `place` or `keyword`");
            }
        }
    }
}

impl Spec for GradeSpec {
    fn bind(&self, b: &mut Binding<'_>, points: &[u32]) -> Box<dyn Bound> {
        self.warn_of_rows_for_nothing(b, points);
        let slot = |&ix: &u32| {
            let convert = b.conversion(ix);
            let point = b.catalog.point(ix);
            Slot::new(point, self.at(point, convert))
        };
        let slots = points.iter().map(slot).collect();
        let held = self.levels.iter().map(|(_, after)| *after).collect();
        Box::new(Ladder::new(b.levels, held, slots))
    }
}
