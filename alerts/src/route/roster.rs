//! Rosters: who is on duty when, from a CSV of shifts and one of absences, as a duty office keeps them.
//!
//! Shifts: `from,to,person,receiver,stand_in`. A shift holds from its begin up to but without its end; `receiver` reaches the person,
//! `stand_in` is the receiver that is told instead while the person is away. Absences: `person,from,to`. A stand-in whose receiver is that of
//! persons of the roster counts only while one of them is not away. Times are RFC 3339 or local in the zone of the routes.

use super::names::Names;
use model::csv_file::{Row, rows};
use model::problem::nearest;
use model::time::parse_local;
use model::{Micros, Problem, Problems};
use std::collections::{BTreeSet, HashMap};

const SHIFT_COLUMNS: [&str; 5] = ["from", "to", "person", "receiver", "stand_in"];
const AWAY_COLUMNS: [&str; 3] = ["person", "from", "to"];

/// People on duty.
#[derive(Clone, Debug)]
pub(super) struct Roster {
    pub name: String,
    /// `routes.toml:3`.
    pub place: String,
    /// Line and column in the file of the routes.
    pub at: (usize, usize),
    /// Told while nobody is on duty.
    pub fallback: usize,
    /// In the order of their begins.
    shifts: Vec<Shift>,
    longest: Micros,
    away: HashMap<String, Vec<(Micros, Micros)>>,
    people: HashMap<usize, BTreeSet<String>>,
}

#[derive(Clone, Debug)]
struct Shift {
    from: Micros,
    to: Micros,
    person: String,
    receiver: usize,
    stand_in: Option<usize>,
    /// `duty.csv:7`.
    place: String,
}

/// Somebody on duty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Duty<'a> {
    pub receiver: usize,
    pub person: &'a str,
    pub stands_in: bool,
    pub place: &'a str,
}

/// A text of a CSV and its name.
pub(super) struct Text {
    pub file: String,
    pub text: String,
}

impl Roster {
    /// A roster without shifts.
    pub fn new(name: &str, place: String, at: (usize, usize), fallback: usize) -> Self {
        Self {
            name: name.to_owned(),
            place,
            at,
            fallback,
            shifts: Vec::new(),
            longest: 0,
            away: HashMap::new(),
            people: HashMap::new(),
        }
    }

    /// Takes the shifts of a CSV.
    pub fn read_shifts(&mut self, csv: &Text, names: &Names<'_>, problems: &mut Problems) {
        let shifts = rows(&csv.file, &csv.text, &SHIFT_COLUMNS, 4, problems, |row| {
            let (from, to) = span(row, names.zone_offset_s);
            let stand_in =
                if row.field("stand_in").is_empty() { None } else { receiver(row, "stand_in", names) };
            let person = row.needed("person");
            Shift {
                from,
                to,
                person,
                receiver: receiver(row, "receiver", names).unwrap_or(0),
                stand_in,
                place: String::new(),
            }
        });
        for (mut shift, at) in shifts {
            shift.place = format!("{}:{}", at.file, at.line);
            self.longest = self.longest.max(shift.to - shift.from);
            self.people.entry(shift.receiver).or_default().insert(shift.person.clone());
            self.shifts.push(shift);
        }
        self.shifts.sort_by_key(|s| s.from);
    }

    /// Takes the absences of a CSV.
    pub fn read_away(&mut self, csv: &Text, zone_offset_s: i32, problems: &mut Problems) {
        let known: BTreeSet<&str> = self.shifts.iter().map(|s| s.person.as_str()).collect();
        let away = rows(&csv.file, &csv.text, &AWAY_COLUMNS, 3, problems, |row| {
            let (from, to) = span(row, zone_offset_s);
            (row.needed("person"), from, to)
        });
        for ((person, from, to), at) in away {
            if !known.contains(person.as_str()) {
                let near = nearest(&person, known.iter().copied());
                let help = near.map(|n| format!("did you mean `{n}`?")).unwrap_or_default();
                let message = format!("`{person}` has no shift in roster `{}`", self.name);
                problems.push(Problem::warning(&at.file, at.line, 1, message).help(help));
            }
            self.away.entry(person).or_default().push((from, to));
        }
    }

    /// Who is on duty at a time; nobody in a hole.
    pub fn on_duty(&self, at: Micros) -> Vec<Duty<'_>> {
        let begun = self.shifts.partition_point(|s| s.from <= at);
        let may_last = self.shifts.partition_point(|s| s.from < at.saturating_sub(self.longest));
        let mut out: Vec<Duty<'_>> = Vec::new();
        for shift in self.shifts[may_last.min(begun)..begun].iter().filter(|s| at < s.to) {
            let stands_in = self.is_away(&shift.person, at);
            let receiver = if stands_in {
                shift.stand_in.filter(|r| self.is_there(*r, at))
            } else {
                Some(shift.receiver)
            };
            if let Some(receiver) = receiver
                && !out.iter().any(|d| d.receiver == receiver)
            {
                out.push(Duty { receiver, person: &shift.person, stands_in, place: &shift.place });
            }
        }
        out
    }

    /// Spans of time within `from` to `until` in which nobody is on duty.
    pub fn holes(&self, from: Micros, until: Micros) -> Vec<(Micros, Micros)> {
        let shifts = self.shifts.iter().flat_map(|s| [s.from, s.to]);
        let away = self.away.values().flatten().flat_map(|(from, to)| [*from, *to]);
        let mut edges: Vec<Micros> = shifts.chain(away).filter(|t| (from..until).contains(t)).collect();
        edges.extend([from, until]);
        edges.sort_unstable();
        edges.dedup();
        let mut out: Vec<(Micros, Micros)> = Vec::new();
        for piece in edges.windows(2).filter(|w| self.on_duty(w[0]).is_empty()) {
            match out.last_mut() {
                Some(last) if last.1 == piece[0] => last.1 = piece[1],
                _ => out.push((piece[0], piece[1])),
            }
        }
        out
    }

    /// All it may tell.
    pub fn receivers(&self) -> BTreeSet<usize> {
        let shifts = self.shifts.iter().flat_map(|s| [Some(s.receiver), s.stand_in]).flatten();
        shifts.chain([self.fallback]).collect()
    }

    fn is_away(&self, person: &str, at: Micros) -> bool {
        let spans = self.away.get(person);
        spans.is_some_and(|spans| spans.iter().any(|(from, to)| (*from..*to).contains(&at)))
    }

    /// Whether a receiver reaches somebody who is not away, as far as the roster knows whom it reaches.
    fn is_there(&self, receiver: usize, at: Micros) -> bool {
        self.people.get(&receiver).is_none_or(|people| people.iter().any(|p| !self.is_away(p, at)))
    }
}

fn span(row: &mut Row<'_>, zone_offset_s: i32) -> (Micros, Micros) {
    let before = row.errors();
    let (from, to) = (time(row, "from", zone_offset_s), time(row, "to", zone_offset_s));
    if row.errors() == before && from >= to {
        let message = format!("`{}` is not after `{}`", row.field("to"), row.field("from"));
        row.error("to", message, "a span goes from its begin up to its end");
    }
    (from, to)
}

fn time(row: &mut Row<'_>, column: &str, zone_offset_s: i32) -> Micros {
    match parse_local(row.field(column), zone_offset_s) {
        Ok(t) => t,
        Err(message) => {
            row.error(column, message, "");
            0
        }
    }
}

fn receiver(row: &mut Row<'_>, column: &str, names: &Names<'_>) -> Option<usize> {
    let name = row.needed(column);
    if name.is_empty() {
        return None;
    }
    let (number, help) = names.receiver(&name);
    if number.is_none() {
        row.error(column, format!("there is no receiver `{name}`"), &help);
    }
    number
}
