//! What is known of a file without opening it: size, rows, day and the range of each column, from the Delta log.

use crate::schema::{Table, day_text};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, max_string_view, min, min_string_view};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::common::ScalarValue;
use model::Micros;
use serde_json::{Map, Value, json};

/// Longest text kept whole in statistics, in bytes.
const STATS_TEXT_MAX: usize = 64;

/// A file just written, to be added by a commit.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Path below the table's folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Local day of its rows.
    pub day: i32,
    /// Statistics as the Delta log holds them.
    pub stats: String,
}

/// A file of the table.
#[derive(Clone, Debug)]
pub struct FileMeta {
    /// Path below the table's folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Local day of its rows.
    pub day: Option<i32>,
    /// Rows; `None` when another program wrote it without saying.
    pub rows: Option<u64>,
    /// Least and greatest value of each column of the file, in the order of its schema.
    pub ranges: Vec<Option<(ScalarValue, ScalarValue)>>,
}

impl FileMeta {
    /// From what the Delta log says; what cannot be read is unknown, never wrong.
    pub fn read(table: Table, path: &str, size: i64, day: Option<&str>, stats: &str) -> Self {
        let stats: Value = serde_json::from_str(stats).unwrap_or(Value::Null);
        let schema = table.file_schema();
        let range = |(name, kind): (&String, &DataType)| {
            let low = scalar(&stats["minValues"][name], kind, false)?;
            let high = scalar(&stats["maxValues"][name], kind, true)?;
            Some((low, high))
        };
        Self {
            path: path.to_owned(),
            size: size.max(0) as u64,
            day: day.and_then(parse_day),
            rows: stats["numRecords"].as_u64(),
            ranges: schema.fields().iter().map(|f| range((f.name(), f.data_type()))).collect(),
        }
    }

    /// Least and greatest value of a column.
    pub fn range(&self, table: Table, column: &str) -> Option<&(ScalarValue, ScalarValue)> {
        self.ranges[table.file_schema().index_of(column).ok()?].as_ref()
    }

    /// Earliest and latest time in a time column.
    pub fn times(&self, table: Table, column: &str) -> Option<(Micros, Micros)> {
        match self.range(table, column)? {
            (
                ScalarValue::TimestampMicrosecond(Some(a), _),
                ScalarValue::TimestampMicrosecond(Some(b), _),
            ) => Some((*a, *b)),
            _ => None,
        }
    }
}

fn parse_day(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

fn scalar(value: &Value, kind: &DataType, is_max: bool) -> Option<ScalarValue> {
    Some(match kind {
        DataType::Int32 => ScalarValue::Int32(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.as_i64()?)),
        DataType::Float64 => ScalarValue::Float64(Some(value.as_f64()?)),
        DataType::Timestamp(..) => {
            let text = value.as_str()?;
            let mut time = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
            if is_max && time % 1000 == 0 {
                time += 999; // writers may cut the greatest time down to milliseconds
            }
            ScalarValue::TimestampMicrosecond(Some(time), Some("UTC".into()))
        }
        DataType::Utf8View => ScalarValue::Utf8View(Some(value.as_str()?.to_owned())),
        _ => return None,
    })
}

/// Collects the range of each column over the batches of one file.
#[derive(Debug)]
pub struct StatsBuilder {
    rows: u64,
    columns: Vec<ColumnStats>,
}

#[derive(Debug, Default, Clone)]
struct ColumnStats {
    nulls: u64,
    low: Option<Value>,
    high: Option<Value>,
}

impl StatsBuilder {
    /// For a file of `columns` columns.
    pub fn new(columns: usize) -> Self {
        Self { rows: 0, columns: vec![ColumnStats::default(); columns] }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes a batch into account.
    pub fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for (stats, column) in self.columns.iter_mut().zip(batch.columns()) {
            stats.nulls += column.null_count() as u64;
            let Some((low, high)) = range_of(column.as_ref()) else { continue };
            if stats.low.as_ref().is_none_or(|old| less(&low, old)) {
                stats.low = Some(low);
            }
            if stats.high.as_ref().is_none_or(|old| less(old, &high)) {
                stats.high = Some(high);
            }
        }
    }

    /// As the Delta log holds it.
    pub fn to_json(&self, schema: &arrow::datatypes::Schema) -> String {
        let (mut low, mut high, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (field, stats) in schema.fields().iter().zip(&self.columns) {
            nulls.insert(field.name().clone(), json!(stats.nulls));
            // A text too long is left out on both sides: a cut one is no upper bound.
            let long = |v: &Value| v.as_str().is_some_and(|s| s.len() > STATS_TEXT_MAX);
            let (Some(a), Some(b)) = (&stats.low, &stats.high) else { continue };
            if long(a) || long(b) {
                continue;
            }
            let time = matches!(field.data_type(), DataType::Timestamp(..));
            low.insert(field.name().clone(), if time { time_text(a, false) } else { a.clone() });
            high.insert(field.name().clone(), if time { time_text(b, true) } else { b.clone() });
        }
        json!({ "numRecords": self.rows, "minValues": low, "maxValues": high, "nullCount": nulls })
            .to_string()
    }
}

/// Milliseconds, as the Delta protocol asks, rounded outwards.
fn time_text(micros: &Value, up: bool) -> Value {
    let micros = micros.as_i64().unwrap_or(0);
    let ms = if up {
        micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) != 0)
    } else {
        micros.div_euclid(1000)
    };
    let time = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default();
    json!(time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

fn less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a < b,
        _ => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a < b,
            _ => a.as_f64() < b.as_f64(),
        },
    }
}

fn range_of(column: &dyn Array) -> Option<(Value, Value)> {
    Some(match column.data_type() {
        DataType::Int32 => {
            let c = column.as_primitive::<Int32Type>();
            (json!(min(c)?), json!(max(c)?))
        }
        DataType::Int64 => {
            let c = column.as_primitive::<Int64Type>();
            (json!(min(c)?), json!(max(c)?))
        }
        DataType::Timestamp(..) => {
            let c = column.as_primitive::<TimestampMicrosecondType>();
            (json!(min(c)?), json!(max(c)?))
        }
        DataType::Float64 => {
            let c = column.as_primitive::<Float64Type>();
            (json!(min(c)?), json!(max(c)?))
        }
        DataType::Utf8View => {
            let c = column.as_string_view();
            (json!(min_string_view(c)?), json!(max_string_view(c)?))
        }
        _ => return None,
    })
}

/// Path of a new file of a table: folder of its day, and a name that is never used twice.
pub fn new_path(day: i32, unique: &str) -> String {
    format!("day={}/part-{unique}.parquet", day_text(day))
}
