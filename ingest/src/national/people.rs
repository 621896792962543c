//! Records of people, pure: RYXX (who), RYQY (areas), RYSS (who is where now); and the side file in which the source keeps
//! who and areas for the people page.
//!
//! A RYSS row says where a card is at the time of the snapshot, so that is the time of its position; a card that left has
//! the time it left. Flag 1 is below, 2 is out. Flag 0 is defined nowhere: with a time out it is out, with a time in
//! only it counts as below and uncertain (nobody is taken for safe on a guess), with neither it is out.

use super::text::{RecordError, fields, place};
use model::Micros;
use model::people::{Position, Presence};
use model::time::parse_national;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// A record of RYXX.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Person {
    /// Card code.
    pub card: String,
    /// Name.
    pub name: String,
    /// Trade; empty where it is not set.
    pub trade: String,
    /// Duty; empty where it is not set.
    pub duty: String,
    /// Team or department; empty where it is not set.
    pub team: String,
    /// A leader of the mine.
    pub leader: bool,
    /// A special worker.
    pub special: bool,
}

/// A record of RYQY.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Area {
    /// Area code.
    pub code: String,
    /// Name.
    pub name: String,
    /// `井口区域`, `重点区域`, `限制区域`, `其它区域`.
    pub kind: String,
    /// How many people may be in it; `None` where it is not set.
    pub authorised: Option<u32>,
}

/// What the source keeps of a mine's people.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MinePeople {
    /// Mine code.
    pub mine: String,
    /// Mine name.
    pub name: String,
    /// How many people may be below in all; `None` where it is not set.
    pub authorised: Option<u32>,
    /// Upload time of `persons`.
    pub persons_time: Option<Micros>,
    /// All people, by card.
    pub persons: Vec<Person>,
    /// Upload time of `areas`.
    pub areas_time: Option<Micros>,
    /// All areas.
    pub areas: Vec<Area>,
}

fn error(record: &str, field: &str, reason: &'static str, message: String) -> RecordError {
    RecordError { reason, message, at: place(record, field) }
}

/// A text, empty where the file says that it is not set.
fn set(text: &str) -> String {
    if text == "未设置" { String::new() } else { text.to_owned() }
}

fn code(record: &str, text: &str, what: &str) -> Result<String, RecordError> {
    if text.is_empty() {
        return Err(error(record, text, "card", format!("the {what} code is empty")));
    }
    Ok(text.to_owned())
}

fn flag(record: &str, text: &str, what: &str) -> Result<bool, RecordError> {
    match text {
        "0" | "" => Ok(false),
        "1" => Ok(true),
        _ => Err(error(record, text, "flag", format!("{what} is `{text}`, expected 0 or 1"))),
    }
}

/// A number of people; empty and `未设置` are none.
pub(super) fn count(text: &str) -> Result<Option<u32>, ()> {
    if set(text).is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| ()) }
}

/// A record of RYXX: card; name; trade; duty; team; birth date; other; leader; special.
///
/// # Errors
/// Why it is skipped.
pub fn parse_ryxx(record: &str) -> Result<Person, RecordError> {
    let [card, name, trade, duty, team, _, _, leader, special] = fields::<9>(record)?;
    Ok(Person {
        card: code(record, card, "card")?,
        name: set(name),
        trade: set(trade),
        duty: set(duty),
        team: set(team),
        leader: flag(record, leader, "leader")?,
        special: flag(record, special, "special worker")?,
    })
}

/// A record of RYQY: area type; area code; authorised number; name.
///
/// # Errors
/// Why it is skipped.
pub fn parse_ryqy(record: &str) -> Result<Area, RecordError> {
    let [kind, area, authorised, name] = fields::<4>(record)?;
    let authorised = count(authorised).map_err(|()| {
        error(record, authorised, "value", format!("authorised number `{authorised}` is not a whole number"))
    })?;
    Ok(Area { code: code(record, area, "area")?, name: set(name), kind: set(kind), authorised })
}

/// A time that may be absent: empty, or the placeholder `xxxx-xx-xx xx:xx:xx` in either case.
fn time(record: &str, text: &str) -> Result<Option<Micros>, RecordError> {
    if text.is_empty() || text.bytes().all(|b| matches!(b, b'x' | b'X' | b'-' | b':' | b' ')) {
        return Ok(None);
    }
    parse_national(text).map(Some).map_err(|message| error(record, text, "time", message))
}

/// A record of RYSS in a snapshot of `at`: card; name; flag; in; out; area; into area; station; at station; shift;
/// distance; work state; leader; special; track.
///
/// # Errors
/// Why it is skipped.
pub fn parse_ryss(record: &str, site: &str, at: Micros) -> Result<Position, RecordError> {
    let [card, name, flag, entered, left, area, area_since, station, station_since, _, _, state, ..] =
        fields::<15>(record)?;
    let (entered, left) = (time(record, entered)?, time(record, left)?);
    for text in [area_since, station_since] {
        time(record, text)?;
    }
    let presence = match flag {
        "1" => Presence::Below,
        "2" => Presence::Out,
        "0" if left.is_some() || entered.is_none() => Presence::Out,
        "0" => Presence::Uncertain,
        _ => return Err(error(record, flag, "flag", format!("in/out flag is `{flag}`, expected 0, 1 or 2"))),
    };
    let time = if presence == Presence::Out { left.unwrap_or(at) } else { at };
    Ok(Position {
        site: site.to_owned(),
        card: code(record, card, "card")?,
        name: set(name),
        area: area.to_owned(),
        station: station.to_owned(),
        time,
        presence,
        entered,
        state: set(state),
    })
}

fn side_file(inbox: &Path, mine: &str) -> Option<PathBuf> {
    // A mine code comes from outside: it must not lead out of the folder.
    let good = !mine.is_empty() && mine.bytes().all(|b| b.is_ascii_alphanumeric());
    good.then(|| inbox.join(super::STATE_DIR).join("people").join(format!("{mine}.json")))
}

/// What is known of a mine's people and areas; nothing when no RYXX or RYQY of it came yet. `inbox` is the source's `dir`.
///
/// # Errors
/// When the side file is there and cannot be read.
pub fn read_people(inbox: &Path, mine: &str) -> io::Result<MinePeople> {
    let Some(path) = side_file(inbox, mine) else { return Ok(MinePeople::default()) };
    match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|e| io::Error::other(format!("{}: {e}", path.display())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(MinePeople::default()),
        Err(e) => Err(e),
    }
}

/// The areas of a mine, see [`read_people`].
///
/// # Errors
/// When the side file is there and cannot be read.
pub fn read_areas(inbox: &Path, mine: &str) -> io::Result<Vec<Area>> {
    Ok(read_people(inbox, mine)?.areas)
}

/// What a file changes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// RYXX.
    Persons {
        /// How many people may be below in all.
        authorised: Option<u32>,
        /// All of them.
        persons: Vec<Person>,
    },
    /// RYQY.
    Areas(Vec<Area>),
}

/// Changes the side file of a mine; how many cards now have another name than before. `mine` is code and name, `time` the
/// upload time of the file.
///
/// # Errors
/// When it cannot be read or written.
pub(super) fn change(inbox: &Path, mine: (&str, &str), time: Micros, change: Change) -> io::Result<usize> {
    let mut people = read_people(inbox, mine.0)?;
    (people.mine, people.name) = (mine.0.to_owned(), mine.1.to_owned());
    let mut renamed = 0;
    match change {
        Change::Persons { authorised, persons } => {
            let old: HashMap<&str, &str> = people.persons.iter().map(|p| (&*p.card, &*p.name)).collect();
            let other =
                |p: &&Person| old.get(&*p.card).is_some_and(|name| !name.is_empty() && *name != p.name);
            renamed = persons.iter().filter(other).count();
            people.authorised = authorised;
            people.persons_time = Some(time);
            people.persons = persons;
        }
        Change::Areas(areas) => {
            people.areas_time = Some(time);
            people.areas = areas;
        }
    }
    write_people(inbox, &people)?;
    Ok(renamed)
}

/// Replaces the side file of a mine as a whole; names of people are for the owner of the process only.
///
/// # Errors
/// When it cannot be written.
fn write_people(inbox: &Path, people: &MinePeople) -> io::Result<()> {
    let Some(path) = side_file(inbox, &people.mine) else { return Ok(()) };
    let folder = path.parent().unwrap_or(inbox);
    std::fs::create_dir_all(folder)?;
    let new = folder.join(format!("{}.new", people.mine));
    let bytes = serde_json::to_vec(people).map_err(io::Error::other)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    io::Write::write_all(&mut options.open(&new)?, &bytes)?;
    std::fs::rename(&new, &path)
}
