//! What becomes of one complete file: its readings or positions, the folder it goes to, and why. No file is moved here.
//!
//! | what is found | folder | readings |
//! |---|---|---|
//! | all records good | `done` | all |
//! | some records bad, at most 20 % | `partial` | the good ones; a snapshot of people is then incomplete |
//! | more than 20 % of the records bad, no header, another mine in the header, wrong encoding | `failed` | none |
//! | the same content as an earlier file | `duplicate` | none |
//! | header older than the newest of its mine and type | `stale` | all, marked historical and stale |
//! | a type that is not read, a name that is none | `unknown` | none |
//! | CDDY whose points are all in the catalog as it says | `done` | none |
//! | another CDDY | `catalog` | none; points come in through `[catalog]` |
//!
//! A header ahead of the clock is taken (its readings get the bit `future` one by one) and never counts as the newest.
//! A record with the point and time of an earlier one in the file replaces it. Whatever is not taken is counted.

use super::catalog::catalog_from_cddy;
use super::memory::{Hash, Memory, Remembered};
use super::people;
use super::readings::{Row, Times, cdss, kgbh};
use super::text::{self, FileError, Name, RecordError, Text, refuse};
use super::units::Units;
use crate::builder::{AHEAD_MAX, DeliveryBuilder};
use crate::{Context, Delivery};
use ahash::AHashMap;
use model::catalog::Point;
use model::people::{Position, Positions, Presence, Snapshot};
use model::problem::Problems;
use model::status::{HISTORICAL, STALE};
use model::time::{SECOND, rfc3339, show_duration};
use model::units::conversion;
use model::{Catalog, Micros};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Most reasons written beside a file.
const REASONS_MAX: usize = 50;
/// A file with a larger part of bad records is refused whole: 1 in this many.
const BAD_PART: usize = 5;

/// Where a file goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Folder {
    /// Taken whole.
    Done,
    /// Taken but for some records.
    Partial,
    /// Not taken.
    Failed,
    /// Came before.
    Duplicate,
    /// Taken as history.
    Stale,
    /// Not read by this release.
    Unknown,
    /// Definitions of points.
    Catalog,
}

impl Folder {
    /// All folders.
    pub const ALL: [Folder; 7] = [
        Folder::Done,
        Folder::Partial,
        Folder::Failed,
        Folder::Duplicate,
        Folder::Stale,
        Folder::Unknown,
        Folder::Catalog,
    ];

    /// Its name in the inbox.
    pub fn name(self) -> &'static str {
        ["done", "partial", "failed", "duplicate", "stale", "unknown", "catalog"][self as usize]
    }

    /// Its event in the metrics.
    pub fn event(self) -> &'static str {
        [
            "file_done",
            "file_partial",
            "file_failed",
            "file_duplicate",
            "file_stale",
            "file_unknown",
            "file_catalog",
        ][self as usize]
    }
}

/// What becomes of a file.
pub struct Verdict {
    /// Where it goes.
    pub folder: Folder,
    /// Why; empty when it is simply done.
    pub reasons: Vec<String>,
    /// What is delivered before it is moved; `None`: nothing.
    pub delivery: Option<Delivery>,
    /// What is remembered of it.
    pub remember: Option<Remembered>,
    /// What changes of the mine's people, written before the file is moved.
    pub people: Option<PeopleChange>,
    /// What people should know although the file was taken.
    pub trouble: Option<String>,
    /// Events to count: name and number.
    pub events: Vec<(&'static str, u64)>,
}

/// A change of the side file of a mine.
pub struct PeopleChange {
    /// Mine code.
    pub mine: String,
    /// Mine name.
    pub name: String,
    /// Upload time.
    pub time: Micros,
    /// What changes.
    pub change: people::Change,
}

/// Judges files one after another.
pub struct Judge {
    builder: DeliveryBuilder,
    units: Units,
    context: Context,
    /// When a RYSS that was not stale last came, by mine.
    pub snapshots: AHashMap<String, Micros>,
}

/// What is known of a file before its records are read.
struct Head<'a> {
    name: &'a str,
    mine: &'a str,
    time: Micros,
    stale: bool,
    future: bool,
}

/// Good records and errors of a file.
struct Read<T> {
    good: Vec<T>,
    bad: Vec<(usize, RecordError)>,
}

fn read_all<'a, T>(text: &Text<'a>, mut parse: impl FnMut(&'a str) -> Result<T, RecordError>) -> Read<T> {
    let mut out = Read { good: Vec::new(), bad: Vec::new() };
    for (i, record) in text.records().enumerate() {
        match parse(record.text) {
            Ok(row) => out.good.push(row),
            Err(e) => out.bad.push((i + 1, e)),
        }
    }
    out
}

/// Later rows replace earlier ones of the same key, in the place of the later; how many were replaced.
fn later_wins<T, K: std::hash::Hash + Eq>(rows: &mut Vec<T>, key: impl Fn(&T) -> K) -> usize {
    let mut last: AHashMap<K, usize> = AHashMap::with_capacity(rows.len());
    for (i, row) in rows.iter().enumerate() {
        last.insert(key(row), i);
    }
    let before = rows.len();
    if last.len() < before {
        let keep: ahash::AHashSet<usize> = last.values().copied().collect();
        let mut i = 0;
        rows.retain(|_| {
            i += 1;
            keep.contains(&(i - 1))
        });
    }
    before - rows.len()
}

impl Judge {
    /// A judge for the inbox of a source.
    pub fn new(context: &Context, receive_time: bool) -> Self {
        Self {
            builder: DeliveryBuilder::new(context).with_receive_time(receive_time),
            units: Units::default(),
            context: context.clone(),
            snapshots: AHashMap::new(),
        }
    }

    /// A file that is refused as a whole, counted as one.
    pub fn failed(&mut self, name: &str, folder: Folder, error: &FileError) -> Verdict {
        self.builder.begin();
        self.builder.refuse(error.reason, 1, &format!("{name}: {error}"));
        Verdict {
            folder,
            reasons: vec![error.message.clone()],
            delivery: Some(self.builder.finish()),
            remember: None,
            people: None,
            trouble: None,
            events: Vec::new(),
        }
    }

    /// A file that is complete, by its name and content. `memory` is told of it.
    pub fn judge(&mut self, file_name: &str, name: Name<'_>, bytes: &[u8], memory: &mut Memory) -> Verdict {
        let hash: Hash = Sha256::digest(bytes).into();
        if memory.has(&hash) {
            let error = refuse("duplicate", "a file with the same content (SHA-256) was taken before");
            return self.failed(file_name, Folder::Duplicate, &error);
        }
        let text = match text::open(bytes) {
            Ok(text) => text,
            Err(e) => return self.failed(file_name, Folder::Failed, &e),
        };
        if text.header.mine != name.mine {
            let message =
                format!("mine code {} in the header, {} in the file name", text.header.mine, name.mine);
            return self.failed(file_name, Folder::Failed, &refuse("mine", message));
        }
        self.builder.begin();
        let time = text.header.time;
        let newest = memory.newest(name.mine, name.kind);
        let head = Head {
            name: file_name,
            mine: name.mine,
            time,
            stale: newest.is_some_and(|newest| time < newest),
            future: time > self.builder.received() + AHEAD_MAX,
        };
        let mut verdict = match name.kind {
            "CDSS" => self.readings(&head, &text, cdss),
            "KGBH" => self.readings(&head, &text, kgbh),
            "RYSS" => self.snapshot(&head, &text),
            "RYXX" => self.persons(&head, &text),
            "RYQY" => self.areas(&head, &text),
            _ => self.definitions(&head, bytes),
        };
        if verdict.folder != Folder::Failed {
            let time = (!head.future).then_some(time);
            let remembered =
                Remembered { hash, mine: name.mine.to_owned(), kind: name.kind.to_owned(), time };
            memory.note(remembered.clone());
            verdict.remember = Some(remembered);
            self.tell_times(&head, newest, &mut verdict);
        }
        verdict
    }

    fn tell_times(&mut self, head: &Head<'_>, newest: Option<Micros>, verdict: &mut Verdict) {
        if head.stale {
            let newest = newest.map(rfc3339).unwrap_or_default();
            let what =
                format!("stale: header time {} is older than {newest}, taken as history", rfc3339(head.time));
            verdict.reasons.insert(0, what);
            if verdict.folder != Folder::Catalog {
                verdict.folder = Folder::Stale;
            }
        }
        if head.future {
            let ahead = show_duration((head.time - self.builder.received()) / SECOND * SECOND);
            tracing::warn!(source = %self.context.info.name, file = head.name, ahead, "the mine's clock is ahead");
            verdict.trouble = Some(format!("the clock of mine {} is {ahead} ahead", head.mine));
            verdict.events.push(("header_future", 1));
        }
    }

    /// Counts the bad records and says where the file goes. `good` is how many the file has beside them.
    fn weigh(
        &mut self,
        head: &Head<'_>,
        good: usize,
        bad: &[(usize, RecordError)],
        replaced: usize,
    ) -> Verdict {
        for (number, e) in bad {
            self.builder.refuse(e.reason, 1, &format!("{}, record {number}: {}", head.name, e.message));
        }
        let mut reasons: Vec<String> = bad
            .iter()
            .take(REASONS_MAX)
            .map(|(number, e)| format!("record {number}: {}", e.message))
            .collect();
        if bad.len() > REASONS_MAX {
            reasons.push(format!("and {} more", bad.len() - REASONS_MAX));
        }
        let all = good + replaced + bad.len();
        let folder = if bad.len() * BAD_PART > all {
            self.builder.refuse("file", (good + replaced) as u64, &format!("{}: refused whole", head.name));
            reasons.insert(
                0,
                format!(
                    "{} of {all} records are bad, more than 20 %: nothing of the file was taken",
                    bad.len()
                ),
            );
            Folder::Failed
        } else if bad.is_empty() {
            Folder::Done
        } else {
            reasons.insert(0, format!("{} of {all} records were skipped, the others taken", bad.len()));
            Folder::Partial
        };
        if replaced > 0 && folder != Folder::Failed {
            self.builder.refuse(
                "repeated",
                replaced as u64,
                &format!("{}: keys that stand twice", head.name),
            );
            tracing::warn!(source = %self.context.info.name, file = head.name, replaced, "records stand twice, the later ones count");
        }
        Verdict {
            folder,
            reasons,
            delivery: None,
            remember: None,
            people: None,
            trouble: None,
            events: Vec::new(),
        }
    }

    fn readings<'a>(
        &mut self,
        head: &Head<'_>,
        text: &Text<'a>,
        parse: fn(&'a str, &mut Times<'a>) -> Result<Row<'a>, RecordError>,
    ) -> Verdict {
        let mut times = Times::default();
        let Read { mut good, bad } = read_all(text, |record| parse(record, &mut times));
        let replaced = later_wins(&mut good, |row| (row.point, row.time));
        let mut verdict = self.weigh(head, good.len(), &bad, replaced);
        if verdict.folder != Folder::Failed {
            if head.stale {
                self.builder.mark(STALE | HISTORICAL);
            }
            let catalog = self.context.catalog();
            for row in &good {
                let value =
                    row.value.map(|v| self.units.to_catalog(&catalog, head.mine, row.point, row.unit, v));
                self.builder.reading(head.mine, row.point, Some(row.time), value, row.status);
            }
            let strange = self.units.take_strange();
            if strange > 0 {
                verdict.events.push(("unit_mismatch", strange));
                let what = format!(
                    "{strange} values in a unit that cannot be converted to the catalog's, taken as they are"
                );
                verdict.trouble = Some(what);
            }
        }
        verdict.delivery = (!self.builder.is_empty()).then(|| self.builder.finish());
        verdict
    }

    fn snapshot(&mut self, head: &Head<'_>, text: &Text<'_>) -> Verdict {
        if self.context.catalog().site_ix(head.mine).is_none() {
            let message = format!(
                "mine {} is not in the catalog: add it to the sites and drop the file in again",
                head.mine
            );
            return self.failed(head.name, Folder::Failed, &refuse("site", message));
        }
        let received = self.builder.received();
        // A wrong clock must not make a snapshot newer than all that follow.
        let at = if head.future { received } else { head.time };
        let Read { mut good, bad } = read_all(text, |record| people::parse_ryss(record, head.mine, at));
        let replaced = later_wins(&mut good, |p: &Position| p.card.clone());
        let mut verdict = self.weigh(head, good.len(), &bad, replaced);
        let sent = good.len();
        if verdict.folder == Folder::Failed {
            verdict.delivery = Some(self.builder.finish());
            return verdict;
        }
        for mut position in good {
            if position.presence == Presence::Out && position.time > received + AHEAD_MAX {
                position.time = at;
            }
            self.builder.position(position);
        }
        let mut delivery = self.builder.finish();
        let rows = delivery.positions.take().map(|p| p.rows).unwrap_or_default();
        let complete = bad.is_empty() && rows.len() == sent;
        let snapshot = Snapshot { site: head.mine.to_owned(), time: at, complete, stale: head.stale };
        delivery.positions = Some(Positions { rows, snapshot: Some(snapshot) });
        verdict.delivery = Some(delivery);
        if !head.stale {
            self.snapshots.insert(head.mine.to_owned(), received);
        }
        verdict
    }

    fn persons(&mut self, head: &Head<'_>, text: &Text<'_>) -> Verdict {
        let Read { good: mut persons, bad } = read_all(text, people::parse_ryxx);
        let replaced = later_wins(&mut persons, |p| p.card.clone());
        let parts = &text.header.parts;
        let authorised = if parts.len() >= 8 { people::count(parts[2]).ok().flatten() } else { None };
        let verdict = self.weigh(head, persons.len(), &bad, replaced);
        self.people(head, text, verdict, people::Change::Persons { authorised, persons })
    }

    fn areas(&mut self, head: &Head<'_>, text: &Text<'_>) -> Verdict {
        let Read { good: mut areas, bad } = read_all(text, people::parse_ryqy);
        let replaced = later_wins(&mut areas, |a| a.code.clone());
        let verdict = self.weigh(head, areas.len(), &bad, replaced);
        self.people(head, text, verdict, people::Change::Areas(areas))
    }

    /// Who and areas are no readings, but bad records are counted; a stale file changes nothing.
    fn people(
        &mut self,
        head: &Head<'_>,
        text: &Text<'_>,
        mut verdict: Verdict,
        change: people::Change,
    ) -> Verdict {
        let delivery = self.builder.finish();
        verdict.delivery = (!delivery.refused.is_empty()).then_some(delivery);
        if verdict.folder != Folder::Failed && !head.stale {
            let (mine, name) = (head.mine.to_owned(), text.header.name.to_owned());
            verdict.people = Some(PeopleChange { mine, name, time: head.time, change });
        }
        verdict
    }

    fn definitions(&mut self, head: &Head<'_>, bytes: &[u8]) -> Verdict {
        let delivery = self.builder.finish();
        let mut problems = Problems::default();
        // It was opened before, so it is UTF-8.
        let text = String::from_utf8_lossy(bytes);
        let (_, points) = catalog_from_cddy(head.name, &text, &mut problems);
        let catalog = self.context.catalog();
        let new = points.iter().filter(|(point, _)| !says_already(&catalog, point)).count();
        let (folder, first) = match new {
            0 if problems.0.is_empty() => {
                (Folder::Done, "all of them are in the catalog as they are here".to_owned())
            }
            _ => {
                let what = format!("{new} of them new or different");
                (Folder::Catalog, format!("{what}: list this file under `points` of [catalog] to load them"))
            }
        };
        let mut reasons = vec![format!("{} points of mine {}, {first}", points.len(), head.mine)];
        reasons.extend(problems.0.iter().take(REASONS_MAX).map(ToString::to_string));
        Verdict {
            folder,
            reasons,
            delivery: (!delivery.refused.is_empty()).then_some(delivery),
            remember: None,
            people: None,
            trouble: None,
            events: Vec::new(),
        }
    }
}

/// Whether the catalog says of a point all that a definition says; it may say more.
fn says_already(catalog: &Catalog, new: &Point) -> bool {
    fn holds(there: &Value, new: &Value) -> bool {
        match (there, new) {
            (Value::Object(there), Value::Object(new)) => {
                new.iter().all(|(key, new)| there.get(key).is_some_and(|there| holds(there, new)))
            }
            (Value::Array(there), Value::Array(new)) => new.iter().all(|new| there.contains(new)),
            (there, new) => there == new,
        }
    }
    let Some(there) = catalog.find(&new.site, &new.code).map(|ix| catalog.point(ix)) else { return false };
    // A unit may have two names, `%` and `%CH4`.
    let is_same = conversion(&new.unit, &there.unit, &there.quantity) == Some((1.0, 0.0));
    let new = Point { unit: if is_same { there.unit.clone() } else { new.unit.clone() }, ..new.clone() };
    matches!((serde_json::to_value(there), serde_json::to_value(&new)), (Ok(there), Ok(new)) if holds(&there, &new))
}

/// Types that are read.
pub fn is_read(kind: &str) -> bool {
    matches!(kind, "CDSS" | "KGBH" | "RYSS" | "RYXX" | "RYQY" | "CDDY")
}
