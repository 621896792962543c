//! The tables: their names and columns. Fixed for users (`docs/`): `site`, `point`, `time`, `value`, `status`, `offset` of
//! `readings`; `site`, `card`, `area`, `station`, `time` of `person_positions`.
//!
//! Each table is a Delta table in its own folder, partitioned by `day`, the local day of the column that [`Table::day_of`]
//! names. Text is held as Arrow string views while it is queried and leaves as plain strings.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use model::Micros;
use model::time::DAY;
use std::sync::{Arc, LazyLock};

/// The tables that lie in the lake.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Table {
    /// One row a reading.
    Readings,
    /// One row a position of a card.
    Positions,
    /// One row a reading that cannot be attributed, and one a reading released from here.
    Quarantine,
    /// One row a run of rows: who sent how many, and what became of them. Committed last; see `writer`.
    Arrivals,
    /// One row a transition.
    Events,
    /// Some rows a point and five minutes, which add up; see `stats`.
    Stats,
}

/// Number of tables.
pub const TABLES: usize = 6;

impl Table {
    /// All, in the order in which their commits are made.
    pub const ALL: [Table; TABLES] =
        [Table::Readings, Table::Positions, Table::Quarantine, Table::Arrivals, Table::Events, Table::Stats];

    /// Name in SQL and of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Table::Readings => "readings",
            Table::Positions => "person_positions",
            Table::Quarantine => "quarantine",
            Table::Arrivals => "arrivals",
            Table::Events => "events",
            Table::Stats => "stats_5min",
        }
    }

    /// Columns in the files, without `day`.
    pub fn file_schema(self) -> SchemaRef {
        SCHEMAS[self as usize].clone()
    }

    /// Columns by which rows are sorted within a file.
    pub fn sorted_by(self) -> &'static [&'static str] {
        match self {
            Table::Readings => &["site", "point", "time", "offset"],
            Table::Positions => &["site", "card", "time", "offset"],
            Table::Quarantine => &["site", "point", "time", "offset"],
            Table::Arrivals => &["partition", "offset", "run"],
            Table::Events => &["site", "point", "time", "offset"],
            Table::Stats => &["site", "point", "time"],
        }
    }

    /// The column whose local day is the partition.
    pub fn day_of(self) -> &'static str {
        match self {
            Table::Readings | Table::Positions | Table::Stats => "time",
            Table::Quarantine | Table::Arrivals => "appended",
            Table::Events => "decided",
        }
    }
}

/// Type of the time columns: microseconds, UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Name of the partition column.
pub const DAY_COLUMN: &str = "day";

/// The partition column.
pub fn day_field() -> Field {
    Field::new(DAY_COLUMN, DataType::Date32, true)
}

/// The local day of a time, in days since 1970-01-01.
pub fn local_day(time: Micros, zone_offset_s: i32) -> i32 {
    time.saturating_add(i64::from(zone_offset_s) * 1_000_000).div_euclid(DAY) as i32
}

/// The first instant of a local day.
pub fn day_start(day: i32, zone_offset_s: i32) -> Micros {
    i64::from(day) * DAY - i64::from(zone_offset_s) * 1_000_000
}

/// A day as the partition folder and the Delta log write it: `2026-11-24`.
pub fn day_text(day: i32) -> String {
    model::time::rfc3339(i64::from(day) * DAY)[..10].to_owned()
}

static SCHEMAS: LazyLock<[SchemaRef; TABLES]> = LazyLock::new(|| Table::ALL.map(columns));

fn columns(table: Table) -> SchemaRef {
    use DataType::{Boolean, Float64, Int32, Int64, Utf8View};
    let place = || [need("source", Utf8View), need("partition", Int32), need("offset", Int64)];
    let mut fields = match table {
        Table::Readings => vec![
            need("site", Utf8View),
            need("point", Utf8View),
            need("time", time_type()),
            may("value", Float64),
            need("status", Int32),
        ],
        Table::Positions => vec![
            need("site", Utf8View),
            need("card", Utf8View),
            need("name", Utf8View),
            need("area", Utf8View),
            need("station", Utf8View),
            need("time", time_type()),
            need("presence", Utf8View),
            may("entered", time_type()),
        ],
        Table::Quarantine => vec![
            need("site", Utf8View),
            need("point", Utf8View),
            need("time", time_type()),
            may("value", Float64),
            need("status", Int32),
            need("reason", Utf8View),
            need("released", Boolean),
            need("received", time_type()),
            need("appended", time_type()),
        ],
        Table::Arrivals => vec![
            need("run", Int32),
            need("kind", Utf8View),
            need("received", time_type()),
            need("appended", time_type()),
            need("collector", Int64),
            need("sequence", Int64),
            need("rows", Int64),
            need("stored", Int64),
            need("duplicate", Int64),
            need("quarantined", Int64),
            need("reason", Utf8View),
        ],
        Table::Events => events(),
        Table::Stats => stats(),
    };
    if !matches!(table, Table::Events | Table::Stats) {
        fields.extend(place());
    }
    // Of rows that were stored before the column was there, these are not known.
    match table {
        Table::Readings => fields.push(may("row", Int32)),
        Table::Positions => fields.extend([may("state", Utf8View), may("row", Int32)]),
        // What a snapshot of people says beside its rows, as JSON; the flags of the run.
        Table::Arrivals => fields.extend([may("snapshot", Utf8View), may("flags", Int32)]),
        Table::Quarantine | Table::Events | Table::Stats => {}
    }
    Arc::new(Schema::new(fields))
}

fn events() -> Vec<Field> {
    use DataType::{Float64, Int32, Int64, Utf8View};
    vec![
        need("id", Utf8View),
        need("site", Utf8View),
        need("point", Utf8View),
        need("time", time_type()),
        need("decided", time_type()),
        need("rule", Utf8View),
        need("version", Utf8View),
        need("level", Utf8View),
        need("rank", Int32),
        need("to", Utf8View),
        may("value", Float64),
        need("severity", Utf8View),
        need("reason", Utf8View),
        need("marks", Utf8View),
        need("partition", Int32),
        need("offset", Int64),
        need("decided_offset", Int64),
    ]
}

fn stats() -> Vec<Field> {
    use DataType::{Float64, Int32, Int64, Utf8View};
    vec![
        need("site", Utf8View),
        need("point", Utf8View),
        need("time", time_type()),
        need("readings", Int64),
        need("count", Int64),
        may("min", Float64),
        may("min_time", time_type()),
        may("max", Float64),
        may("max_time", time_type()),
        may("sum", Float64),
        may("first", Float64),
        may("first_time", time_type()),
        may("last", Float64),
        may("last_time", time_type()),
        need("status", Int32),
    ]
}

/// A column that has something in every row.
fn need(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

/// A column that may be empty.
fn may(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::time::parse;

    #[test]
    fn days_are_local() {
        let evening = parse("2026-11-24T15:59:59.999999Z").unwrap();
        assert_eq!(day_text(local_day(evening, 8 * 3600)), "2026-11-24");
        assert_eq!(day_text(local_day(evening + 1, 8 * 3600)), "2026-11-25");
        assert_eq!(local_day(day_start(20_000, 19_800), 19_800), 20_000);
        assert_eq!(local_day(day_start(20_000, 19_800) - 1, 19_800), 19_999);
    }

    #[test]
    fn sort_and_day_columns_exist() {
        for table in Table::ALL {
            let schema = table.file_schema();
            for column in table.sorted_by().iter().chain([&table.day_of()]) {
                assert!(schema.index_of(column).is_ok(), "{table:?} {column}");
            }
        }
    }
}
