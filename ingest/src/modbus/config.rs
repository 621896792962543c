//! What a `[[source]]` section of kind `modbus` says, checked whole: units, registers, status words, replay.

mod register;

use super::link::Target;
use super::plan::{self, Item, Shape};
use super::value::{Linear, Order, Type};
use crate::configure::{Common, NamedPoint, TimeFrom, duration};
use model::Micros;
use model::time::{DAY, SECOND, parse};
use model::toml_file::Section;
use register::{Defaults, Drafts};
use std::time::Duration;

/// Most points of one source; more belong to several sources, which poll side by side.
pub const POINTS_MAX: usize = 50_000;
/// Shortest and longest poll interval.
const EVERY: (Micros, Micros) = (1_000, DAY);
/// Shortest and longest wait for a reply.
const TIMEOUT: (Micros, Micros) = (10_000, 60 * SECOND);

/// One source: a link, the units on it, how often they are polled.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to connect.
    pub target: Target,
    /// Poll interval.
    pub every: Duration,
    /// Longest wait for a connection and for a reply.
    pub timeout: Duration,
    /// How blocks are made.
    pub shape: Shape,
    /// The clock of a replay; `None`: receive time.
    pub replay: Option<Replay>,
    /// The units in the order of their numbers.
    pub units: Vec<Unit>,
    /// The points as the section names them, until [`Protocol`](crate::Protocol) has them.
    pub named: Vec<NamedPoint>,
}

/// One slave.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its number, 0 to 255.
    pub unit: u8,
    /// What is read of it, sorted, each once.
    pub items: Vec<Item>,
    /// What becomes of it.
    pub points: Vec<PointConfig>,
}

/// One point.
#[derive(Clone, Debug)]
pub struct PointConfig {
    /// Site code.
    pub site: String,
    /// Point code.
    pub point: String,
    /// Index of its value in the items of the unit.
    pub item: usize,
    /// Type of the value.
    pub ty: Type,
    /// Order of its bytes.
    pub order: Order,
    /// Which bit of the register.
    pub bit: u8,
    /// Scale and offset.
    pub linear: Linear,
    /// Raw number that stands for a missing value.
    pub missing: Option<f64>,
    /// The status word that belongs to it.
    pub status: Option<StatusConfig>,
}

/// A status word or bit of a device, and what it means.
#[derive(Clone, Debug)]
pub struct StatusConfig {
    /// Index in the items of the unit.
    pub item: usize,
    /// All that hold add their bits.
    pub map: Vec<StatusRule>,
}

/// One line of a status map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRule {
    /// Which bits of the word are looked at.
    pub mask: u16,
    /// What they must be; `None`: any of them set.
    pub equals: Option<u16>,
    /// National status bits that are set then.
    pub set: i32,
}

impl StatusRule {
    /// The bits this line adds for a word.
    pub fn bits(self, word: u16) -> i32 {
        let held = word & self.mask;
        let holds = match self.equals {
            Some(wanted) => held == wanted,
            None => held != 0,
        };
        if holds { self.set } else { 0 }
    }
}

/// The clock of a replay: row n of the device has the time start + step x n.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Time of row 0.
    pub start: Micros,
    /// From row to row.
    pub step: Micros,
    /// Where the device shows the number of its row; `None`: each complete poll is the next row.
    pub row: Option<RowConfig>,
}

/// Where the number of the row stands.
#[derive(Clone, Debug)]
pub struct RowConfig {
    /// Index in [`Config::units`].
    pub unit: usize,
    /// Index in the items of the unit.
    pub item: usize,
    /// Type of the number.
    pub ty: Type,
    /// Order of its bytes.
    pub order: Order,
}

type RowPlace = (u8, Item, Type, Order);

/// Reads the keys of the section. Mistakes are reported through it; `None` when one of them leaves nothing to run.
pub fn from_section(common: &Common, section: &Section<'_>) -> Option<Config> {
    let target = target(section);
    let length = |key, range| Duration::from_micros(duration(section, key, SECOND, range) as u64);
    let (every, timeout) = (length("every", EVERY), length("timeout", TIMEOUT));
    let registers_max = i64::from(plan::REGISTERS_MAX);
    let default = Shape::default();
    let block = section.int("block", 4, registers_max).map_or(default.block, |n| n.value as u16);
    let gap = section.int("gap", 0, registers_max).map_or(default.gap, |n| n.value as u16);
    let defaults = Defaults { site: section.str("site").map(|s| s.value), units: units(section) };
    let tables = section.tables("register");
    if tables.is_empty() {
        section.missing("register", "[{ point = \"LT-101\", address = 0, type = \"f32\" }]");
    }
    let mut drafts = Drafts::default();
    for table in tables {
        drafts.read(&table, &defaults);
        table.finish();
    }
    let (replay, row) = replay(common, section, &defaults.units).unzip();
    let row = row.flatten();
    let points = drafts.points();
    if points > POINTS_MAX {
        let help = "make several sources of it; they poll side by side";
        section.error(format!("the source has {points} points, more than {POINTS_MAX}"), help);
    }
    let named = drafts.named();
    let units = drafts.assemble(row.as_ref().map(|(unit, item, ..)| (*unit, *item)));
    let replay =
        replay.map(|replay: Replay| Replay { row: row.and_then(|row| find_row(&units, row)), ..replay });
    Some(Config { target: target?, every, timeout, shape: Shape { block, gap }, replay, units, named })
}

fn find_row(units: &[Unit], (number, item, ty, order): RowPlace) -> Option<RowConfig> {
    let unit = units.iter().position(|u| u.unit == number)?;
    let item = units[unit].items.binary_search(&item).ok()?;
    Some(RowConfig { unit, item, ty, order })
}

fn target(section: &Section<'_>) -> Option<Target> {
    let text = section.need_str("url", "\"tcp://127.0.0.1:502\"")?;
    match parse_target(text.value) {
        Ok(target) => Some(target),
        Err(message) => {
            section.file().error_at(text.at, message, "write for example \"tcp://10.0.0.5:502\"");
            None
        }
    }
}

/// Host and port of `tcp://host:port`; the port is 502 where none stands.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_target(text: &str) -> Result<Target, String> {
    let url = url::Url::parse(text).map_err(|e| format!("url `{text}` cannot be read: {e}"))?;
    if url.scheme() != "tcp" {
        return Err(format!("url `{text}` has scheme `{}`, expected `tcp`", url.scheme()));
    }
    let bare = url.path().trim_matches('/').is_empty() && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(format!("url `{text}` holds more than host and port"));
    }
    let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(|| format!("url `{text}` has no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Target { host, port: url.port().unwrap_or(502) })
}

/// `unit = 1`, or `units = "1-20, 33"` for the same registers on each of them.
fn units(section: &Section<'_>) -> Vec<u8> {
    let one = section.int("unit", 0, 255);
    let Some(many) = section.str("units") else { return vec![one.map_or(1, |n| n.value as u8)] };
    if let Some(one) = one {
        section.file().error_at(one.at, "`unit` and `units` stand together", "keep one of the two");
    }
    match parse_units(many.value) {
        Ok(units) => units,
        Err(message) => {
            section.file().error_at(many.at, message, "write for example \"1-20, 33\"");
            vec![1]
        }
    }
}

fn parse_units(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for part in text.split(',').map(str::trim) {
        let number = |t: &str| {
            t.trim().parse::<u8>().map_err(|_| format!("`units`: `{}` is no number from 0 to 255", t.trim()))
        };
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("`units`: {first}-{last} goes backwards"));
        }
        out.extend(first..=last);
    }
    let count = out.len();
    out.sort_unstable();
    out.dedup();
    if out.len() < count { Err("`units` names a unit twice".to_owned()) } else { Ok(out) }
}

/// Modbus has no time: `receive` (default) or `replay` with its own clock.
fn replay(common: &Common, section: &Section<'_>, units: &[u8]) -> Option<(Replay, Option<RowPlace>)> {
    if let Some(time) = section.str("time").filter(|t| t.value == "device") {
        let help = "leave the key out (`receive`), or write `replay` with `start` and `step`";
        section.file().error_at(time.at, "Modbus carries no time of the device", help);
    }
    let start = section.str("start");
    let step = section.duration("step");
    let table = section.table("row");
    if common.time != TimeFrom::Replay {
        let at = [start.as_ref().map(|s| s.at), step.as_ref().map(|s| s.at), table.as_ref().map(Section::at)];
        for at in at.into_iter().flatten() {
            section.file().error_at(
                at,
                "`start`, `step` and `row` belong to a replay",
                "add `time = \"replay\"`",
            );
        }
        return None;
    }
    if start.is_none() {
        section.missing("start", "\"2026-09-01T00:00:00+08:00\"");
    }
    if !section.has("step") {
        section.missing("step", "\"30s\"");
    }
    if let Some(step) = step.as_ref().filter(|s| s.value <= 0) {
        section.file().error_at(step.at, "`step` is not above zero", "");
    }
    let start = start.and_then(|start| match parse(start.value) {
        Ok(t) => Some(t),
        Err(message) => {
            section.file().error_at(start.at, format!("`start`: {message}"), "");
            None
        }
    });
    let row = table.and_then(|table| {
        let row = register::row(&table, units);
        table.finish();
        row
    });
    Some((Replay { start: start?, step: step?.value, row: None }, row))
}

#[cfg(test)]
mod tests;
