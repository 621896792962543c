//! Rows of the small tables, and their columns as Arrow.

use crate::schema::Table;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use model::record::Quarantined;
use model::{Micros, Position, Presence, Transition};
use std::sync::Arc;

/// What a run of rows was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArrivalKind {
    /// Readings.
    Readings,
    /// People's positions.
    Positions,
    /// Rows that could not be attributed.
    Quarantine,
    /// A total of refusals at the edge.
    Refused,
    /// Rows released from quarantine: received before, now stored.
    Released,
}

impl ArrivalKind {
    /// As the table holds it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Positions => "positions",
            Self::Quarantine => "quarantine",
            Self::Refused => "refused",
            Self::Released => "released",
        }
    }

    /// From the table.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Readings, Self::Positions, Self::Quarantine, Self::Refused, Self::Released]
            .into_iter()
            .find(|k| k.as_str() == word)
    }
}

/// Who sent how many rows in one run of a record, and what became of them.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// What they were.
    pub kind: ArrivalKind,
    /// Who sent them.
    pub source: Arc<str>,
    /// Partition of the record.
    pub partition: u32,
    /// Offset of the record.
    pub offset: u64,
    /// Number of the run in it.
    pub run: u32,
    /// When the edge received them.
    pub received: Micros,
    /// When the log took them.
    pub appended: Micros,
    /// Who made the record durable.
    pub origin: model::Origin,
    /// Rows in all.
    pub rows: u64,
    /// Rows stored.
    pub stored: u64,
    /// Rows that were there already.
    pub duplicate: u64,
    /// Rows put into quarantine.
    pub quarantined: u64,
    /// Why, where refused or quarantined.
    pub reason: Box<str>,
    /// What a snapshot of people says beside its rows, as JSON.
    pub snapshot: Option<Box<str>>,
    /// Flags of the run.
    pub flags: u8,
}

/// A position of a card.
#[derive(Clone, Debug)]
pub struct PositionRow {
    /// The position.
    pub position: Position,
    /// Who sent it.
    pub source: Arc<str>,
    /// Partition of the record.
    pub partition: u32,
    /// Offset of the record.
    pub offset: u64,
    /// Its number in the record.
    pub row: u32,
}

/// A reading in quarantine, or (`released`) the note that it was released.
#[derive(Clone, Debug)]
pub struct QuarantineRow {
    /// The reading.
    pub row: Quarantined,
    /// Whether this is the note of its release.
    pub released: bool,
    /// Who sent it.
    pub source: Arc<str>,
    /// When the edge received it.
    pub received: Micros,
    /// When the log took it.
    pub appended: Micros,
    /// Partition of the record.
    pub partition: u32,
    /// Offset of the record.
    pub offset: u64,
}

/// A transition.
#[derive(Clone, Debug)]
pub struct Event {
    /// The transition.
    pub transition: Transition,
    /// Partition of its record in the stream of transitions.
    pub partition: u32,
    /// Offset of its record there.
    pub offset: u64,
}

fn times(values: impl Iterator<Item = Micros>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn shorts(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

fn batch(table: Table, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(table.file_schema(), columns).expect("the columns are those of the table's schema")
}

impl Arrival {
    /// Rows of `arrivals`.
    pub fn to_batch(rows: &[Self]) -> RecordBatch {
        let r = || rows.iter();
        batch(
            Table::Arrivals,
            vec![
                shorts(r().map(|a| a.run as i32)),
                texts(r().map(|a| a.kind.as_str())),
                times(r().map(|a| a.received)),
                times(r().map(|a| a.appended)),
                ints(r().map(|a| a.origin.collector as i64)),
                ints(r().map(|a| a.origin.sequence as i64)),
                ints(r().map(|a| a.rows as i64)),
                ints(r().map(|a| a.stored as i64)),
                ints(r().map(|a| a.duplicate as i64)),
                ints(r().map(|a| a.quarantined as i64)),
                texts(r().map(|a| &*a.reason)),
                texts(r().map(|a| &*a.source)),
                shorts(r().map(|a| a.partition as i32)),
                ints(r().map(|a| a.offset as i64)),
                Arc::new(r().map(|a| a.snapshot.as_deref()).collect::<StringViewArray>()),
                shorts(r().map(|a| i32::from(a.flags))),
            ],
        )
    }
}

fn presence(p: Presence) -> &'static str {
    match p {
        Presence::Below => "below",
        Presence::Out => "out",
        Presence::Uncertain => "uncertain",
    }
}

impl PositionRow {
    /// Rows of `person_positions`.
    pub fn to_batch(rows: &[Self]) -> RecordBatch {
        let r = || rows.iter();
        batch(
            Table::Positions,
            vec![
                texts(r().map(|p| p.position.site.as_str())),
                texts(r().map(|p| p.position.card.as_str())),
                texts(r().map(|p| p.position.name.as_str())),
                texts(r().map(|p| p.position.area.as_str())),
                texts(r().map(|p| p.position.station.as_str())),
                times(r().map(|p| p.position.time)),
                texts(r().map(|p| presence(p.position.presence))),
                Arc::new(
                    r().map(|p| p.position.entered)
                        .collect::<TimestampMicrosecondArray>()
                        .with_timezone("UTC"),
                ),
                texts(r().map(|p| &*p.source)),
                shorts(r().map(|p| p.partition as i32)),
                ints(r().map(|p| p.offset as i64)),
                texts(r().map(|p| p.position.state.as_str())),
                shorts(r().map(|p| p.row as i32)),
            ],
        )
    }
}

impl QuarantineRow {
    /// Rows of `quarantine`.
    pub fn to_batch(rows: &[Self]) -> RecordBatch {
        let r = || rows.iter();
        batch(
            Table::Quarantine,
            vec![
                texts(r().map(|q| q.row.site.as_str())),
                texts(r().map(|q| q.row.point.as_str())),
                times(r().map(|q| q.row.time)),
                Arc::new(r().map(|q| q.row.value).collect::<Float64Array>()),
                shorts(r().map(|q| q.row.status)),
                texts(r().map(|q| q.row.reason.as_str())),
                Arc::new(r().map(|q| Some(q.released)).collect::<BooleanArray>()),
                times(r().map(|q| q.received)),
                times(r().map(|q| q.appended)),
                texts(r().map(|q| &*q.source)),
                shorts(r().map(|q| q.partition as i32)),
                ints(r().map(|q| q.offset as i64)),
            ],
        )
    }
}

impl Event {
    /// Rows of `events`.
    pub fn to_batch(rows: &[Self]) -> RecordBatch {
        let t = || rows.iter().map(|e| &e.transition);
        let id: Vec<String> = t().map(|t| t.id.to_string()).collect();
        let marks: Vec<String> =
            t().map(|t| serde_json::to_string(&t.marks).expect("marks are plain data")).collect();
        batch(
            Table::Events,
            vec![
                texts(id.iter().map(String::as_str)),
                texts(t().map(|t| t.site.as_str())),
                texts(t().map(|t| t.point.as_str())),
                times(t().map(|t| t.time)),
                times(t().map(|t| t.decided)),
                texts(t().map(|t| t.rule.as_str())),
                texts(t().map(|t| t.version.as_str())),
                texts(t().map(|t| t.level.as_str())),
                shorts(t().map(|t| t.rank as i32)),
                texts(t().map(|t| t.to.as_str())),
                Arc::new(t().map(|t| t.value).collect::<Float64Array>()),
                texts(t().map(|t| t.severity.as_str())),
                texts(t().map(|t| t.reason.as_str())),
                texts(marks.iter().map(String::as_str)),
                shorts(rows.iter().map(|e| e.partition as i32)),
                ints(rows.iter().map(|e| e.offset as i64)),
                ints(t().map(|t| t.offset.number as i64)),
            ],
        )
    }
}
