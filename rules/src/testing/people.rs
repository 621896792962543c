//! Where people are, as a person writes it in a test: for each card a series of steps, `A1x3 A1/S2 A1!求救 out -x5`.
//!
//! | written | stands for |
//! |---|---|
//! | `A1` | below, in area `A1` |
//! | `?` | below, no area is said |
//! | `/S2` behind one of them | at station `S2` |
//! | `!word` behind that | with this work state |
//! | `out` | left |
//! | `-` | nothing is said of the card at this step: absent, where the step is a snapshot |
//! | `xn` at the end | n times |

use super::START;
use super::read::END_MAX;
use crate::series::{STEPS_MAX, Wrong};
use model::Catalog;
use model::people::{Position, Positions, Presence, Snapshot};
use model::time::{Micros, SECOND};
use model::toml_file::Section;

/// Cards of one mine that are told of together.
#[derive(Clone, Debug)]
pub(super) struct Series {
    site: String,
    /// Event time of the first step.
    start: Micros,
    step: Micros,
    /// How much later than measured they come.
    delay: Micros,
    /// Each step is a snapshot: complete or not.
    snapshot: Option<bool>,
    /// Card, and its steps as they are written.
    cards: Vec<(String, String)>,
}

impl Series {
    /// When the last of so many steps comes.
    pub fn last(&self, steps: usize) -> Micros {
        self.start + (steps as i64 - 1).max(0) * self.step + self.delay
    }

    /// Number of its cards.
    pub fn cards(&self) -> usize {
        self.cards.len()
    }
}

/// Reads a series; gives the number of its steps too.
pub(super) fn read(s: &Section<'_>, catalog: &Catalog) -> Option<(Series, usize)> {
    let site = s.need_str("site", "\"M1\"");
    let duration = |key, unless| s.duration(key).map_or(unless, |d| d.value);
    let (step, start, delay) = (duration("step", SECOND), duration("start", 0), duration("delay", 0));
    let snapshot = s.one_of("snapshot", &["complete", "incomplete"]).map(|w| w.value == "complete");
    let Some(section) = s.table("cards") else {
        s.missing("cards", "{ C1 = \"A1x3 out\" }");
        return None;
    };
    let (mut cards, mut steps) = (Vec::new(), 0);
    for (card, text) in section.rest_as_text() {
        match parse(&text.value) {
            Ok(all) => steps = steps.max(all.len()),
            Err(wrong) => {
                // Behind the opening quote.
                s.file().error_at(text.at + 1 + wrong.at, wrong.message, "");
                return None;
            }
        }
        cards.push((card, text.value));
    }
    let site = site?;
    if catalog.site_ix(site.value).is_none() {
        s.file().error_at(site.at, format!("site `{}` is not of this test", site.value), "give it a point");
        return None;
    }
    if step < 1000 {
        s.error("`step` is shorter than a millisecond", "write for example `step = \"1s\"`");
        return None;
    }
    let long = (steps as i64).saturating_mul(step).saturating_add(start).saturating_add(delay);
    if long > END_MAX {
        s.error("the series is longer than 30 days", "use fewer or shorter steps");
        return None;
    }
    let site = site.value.to_owned();
    Some((Series { site, start: START + start, step, delay, snapshot, cards }, steps))
}

/// What is said of a card at one step.
#[derive(Clone, PartialEq, Debug)]
struct Said {
    presence: Presence,
    area: String,
    station: String,
    state: String,
}

/// One entry a step; `None` where nothing is said.
fn parse(text: &str) -> Result<Vec<Option<Said>>, Wrong> {
    let mut steps = Vec::new();
    for item in text.split_whitespace() {
        let at = item.as_ptr() as usize - text.as_ptr() as usize;
        let repeated = item.rsplit_once('x').and_then(|(one, n)| Some((one, n.parse::<usize>().ok()?)));
        let (one, times) = repeated.filter(|(one, _)| !one.is_empty()).unwrap_or((item, 1));
        if times > STEPS_MAX - steps.len() {
            return Err(Wrong { at, message: format!("the series has more than {STEPS_MAX} steps") });
        }
        let said = parse_one(one).map_err(|message| Wrong { at, message })?;
        steps.extend(std::iter::repeat_n(said, times));
    }
    Ok(steps)
}

fn parse_one(item: &str) -> Result<Option<Said>, String> {
    if item == "-" {
        return Ok(None);
    }
    let (place, state) = item.split_once('!').unwrap_or((item, ""));
    let (area, station) = place.split_once('/').unwrap_or((place, ""));
    let is_out = area == "out";
    if area.is_empty() || area == "-" || (is_out && item != "out") {
        return Err(format!("`{item}` is no place: write an area, `?` where none is said, `out` or `-`"));
    }
    let presence = if is_out { Presence::Out } else { Presence::Below };
    let area = if matches!(area, "?" | "out") { "" } else { area };
    let (area, station, state) = (area.to_owned(), station.to_owned(), state.to_owned());
    Ok(Some(Said { presence, area, station, state }))
}

/// The records of all series in the order in which they come; at one time in the order of the series.
pub(super) fn records(all: &[Series]) -> Vec<(Micros, Positions)> {
    let mut records = Vec::new();
    for series in all {
        // They were read without a mistake before.
        let steps: Vec<Vec<Option<Said>>> =
            series.cards.iter().map(|(_, text)| parse(text).unwrap_or_default()).collect();
        for i in 0..steps.iter().map(Vec::len).max().unwrap_or(0) {
            let time = series.start + i as i64 * series.step;
            let said = series.cards.iter().zip(&steps);
            let said = said.filter_map(|((card, _), steps)| Some((card, steps.get(i)?.clone()?)));
            let rows: Vec<Position> = said.map(|(card, said)| row(series, card, time, said)).collect();
            let snapshot = |complete| Snapshot { site: series.site.clone(), time, complete, stale: false };
            if !rows.is_empty() || series.snapshot.is_some() {
                records
                    .push((time + series.delay, Positions { rows, snapshot: series.snapshot.map(snapshot) }));
            }
        }
    }
    records.sort_by_key(|(came, _)| *came);
    records
}

fn row(series: &Series, card: &str, time: Micros, said: Said) -> Position {
    Position {
        site: series.site.clone(),
        card: card.to_owned(),
        name: String::new(),
        area: said.area,
        station: said.station,
        time,
        presence: said.presence,
        entered: None,
        state: said.state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let one = |said: &Option<Said>| match said {
            None => "-".to_owned(),
            Some(s) => format!("{:?} {}/{}!{}", s.presence, s.area, s.station, s.state),
        };
        match parse(text) {
            Ok(steps) => steps.iter().map(one).collect::<Vec<_>>().join(", "),
            Err(wrong) => format!("{}: {}", wrong.at, wrong.message),
        }
    }

    #[test]
    fn what_is_written_is_where_people_are() {
        for (text, expected) in [
            ("", ""),
            ("A1x2 -", "Below A1/!, Below A1/!, -"),
            ("A1/S2!求救 out", "Below A1/S2!求救, Out /!"),
            ("?x1 ?/S1 boxx2", "Below /!, Below /S1!, Below box/!, Below box/!"),
            ("xx", "Below xx/!"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        for (text, at) in [("A1 /S1", 3), ("-!4", 0), ("out!a", 0), ("A1x999999999", 0)] {
            assert!(parse(text).is_err_and(|wrong| wrong.at == at), "{text}");
        }
    }
}
