//! The points that stand for the areas of a mine (RYQY) and for the mine as a whole (RYXX), so that rules about people have where to
//! stand. The authorised number becomes the point's `alarm_on`; the type of an area its label `type`. They are heard of as often as RYSS
//! files come, so that three missed are the 15 min after which positions are stale.

use super::super::people::{count, parse_ryqy};
use super::super::text::Text;
use super::each;
use model::Point;
use model::catalog::{Limits, Place};
use model::problem::{Problem, Problems};
use model::time::{MINUTE, Micros};

/// How often a RYSS file comes.
const PERIOD: Micros = 5 * MINUTE;

/// A point of quantity `people_area` for each area, under its code.
pub(super) fn areas(
    file: &str,
    text: &str,
    opened: &Text<'_>,
    problems: &mut Problems,
) -> Vec<(Point, Place)> {
    each(file, text, opened, problems, |record, _| {
        let area = parse_ryqy(record.text)?;
        let kind = Some(("type".to_owned(), area.kind)).filter(|(_, kind)| !kind.is_empty());
        Ok(Point {
            site: opened.header.mine.to_owned(),
            code: area.code,
            name: area.name,
            quantity: "people_area".to_owned(),
            limits: Limits { alarm_on: area.authorised.map(f64::from), ..Limits::default() },
            period: Some(PERIOD),
            labels: kind.into_iter().collect(),
            ..Point::default()
        })
    })
}

/// One point of quantity `people`, under the code `people`. Who the people are is not looked at.
pub(super) fn mine(file: &str, _: &str, opened: &Text<'_>, problems: &mut Problems) -> Vec<(Point, Place)> {
    let parts = &opened.header.parts;
    let Ok(authorised) = (if parts.len() >= 8 { count(parts[2]) } else { Ok(None) }) else {
        let message = format!("authorised number `{}` of the header is not a whole number", parts[2]);
        problems.push(Problem::error(file, 1, 1, message).help("the header is mine code; name; number; ..."));
        return Vec::new();
    };
    let point = Point {
        site: opened.header.mine.to_owned(),
        code: "people".to_owned(),
        name: opened.header.name.to_owned(),
        quantity: "people".to_owned(),
        limits: Limits { alarm_on: authorised.map(f64::from), ..Limits::default() },
        period: Some(PERIOD),
        ..Point::default()
    };
    vec![(point, Place { file: file.into(), line: 1 })]
}
