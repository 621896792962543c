//! Times as text for the text formats.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// The schema in which times are text.
pub fn schema(schema: &Schema) -> SchemaRef {
    let plain = |f: &Arc<Field>| match f.data_type() {
        DataType::Timestamp(..) => Arc::new(Field::new(f.name(), DataType::Utf8, f.is_nullable())),
        _ => f.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

/// The batch in it.
pub fn batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &rows)
}

fn column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, zone) = column.data_type() else { return Ok(column.clone()) };
    // A time with a zone is one instant, shown in UTC; one without is shown as it stands.
    let end = if zone.is_some() { "Z" } else { "" };
    let text: StringArray = match unit {
        TimeUnit::Nanosecond => {
            let times = column.as_primitive::<TimestampNanosecondType>();
            times.iter().map(|t| t.map(|t| show(DateTime::from_timestamp_nanos(t), end))).collect()
        }
        _ => {
            let times = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            let text =
                |t: i64| DateTime::from_timestamp_micros(t).map_or_else(|| t.to_string(), |t| show(t, end));
            times.iter().map(|t| t.map(text)).collect()
        }
    };
    Ok(Arc::new(text))
}

fn show(time: DateTime<Utc>, end: &str) -> String {
    let nanos = time.timestamp_subsec_nanos();
    let format = match nanos {
        n if n % 1_000_000 == 0 => "%Y-%m-%dT%H:%M:%S%.3f",
        n if n % 1_000 == 0 => "%Y-%m-%dT%H:%M:%S%.6f",
        _ => "%Y-%m-%dT%H:%M:%S%.9f",
    };
    format!("{}{end}", time.format(format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_digits_as_are_needed() {
        let at = |n| show(DateTime::from_timestamp_nanos(n), "Z");
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(1_250_000_000), "1970-01-01T00:00:01.250Z");
        assert_eq!(at(1_000), "1970-01-01T00:00:00.000001Z");
        assert_eq!(at(1), "1970-01-01T00:00:00.000000001Z");
    }
}
