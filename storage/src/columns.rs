//! Rows of `readings` as Arrow columns, built row by row in order: used to write files and to show the tail to queries.

use crate::schema::Table;
use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
    TimestampMicrosecondArray, make_view,
};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use model::Micros;
use std::sync::Arc;

/// Where the bytes of a text column are given up and the text is appended anew; a view's place is 32 bits.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// A column of text in which neighbours are mostly the same.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    views: Vec<u128>,
    last: Option<(u64, u128)>,
}

impl Texts {
    /// `key` tells texts apart within the batch.
    fn push(&mut self, key: u64, text: &str) {
        let view = match self.last {
            Some((last, view)) if last == key => view,
            _ => {
                let view = make_view(text.as_bytes(), 0, self.bytes.len() as u32);
                if text.len() > 12 {
                    self.bytes.extend_from_slice(text.as_bytes());
                }
                self.last = Some((key, view));
                view
            }
        };
        self.views.push(view);
    }

    fn finish(&mut self) -> ArrayRef {
        self.last = None;
        let bytes: Buffer = std::mem::take(&mut self.bytes).into();
        let views: ScalarBuffer<u128> = std::mem::take(&mut self.views).into();
        Arc::new(
            StringViewArray::try_new(views, vec![bytes], None).expect("views point at the text just written"),
        )
    }
}

/// A column of times.
pub fn times(values: impl Iterator<Item = Option<Micros>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// One row, its texts by reference.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// Number of the site, and its code.
    pub site: (u32, &'a str),
    /// Number of the point, and its code.
    pub point: (u32, &'a str),
    /// Event time.
    pub time: Micros,
    /// NaN where missing.
    pub value: f64,
    /// Status word.
    pub status: i32,
    /// Who sent it.
    pub source: &'a Arc<str>,
    /// Partition of its record.
    pub partition: u32,
    /// Offset of its record.
    pub offset: u64,
    /// Its number in the record.
    pub number: u32,
}

/// Columns of `readings`, by their place in its schema.
const SITE: usize = 0;
const POINT: usize = 1;
const TIME: usize = 2;
const VALUE: usize = 3;
const STATUS: usize = 4;
const SOURCE: usize = 5;
const PARTITION: usize = 6;
const OFFSET: usize = 7;
const NUMBER: usize = 8;
const COLUMNS: usize = 9;

/// See the module.
pub struct Columns {
    wanted: [bool; COLUMNS],
    rows: usize,
    site: Texts,
    point: Texts,
    time: Vec<Micros>,
    value: Vec<f64>,
    status: Vec<i32>,
    source: Texts,
    partition: Vec<i32>,
    offset: Vec<i64>,
    number: Vec<i32>,
}

impl Columns {
    /// All columns.
    pub fn all() -> Self {
        Self::some(|_| true)
    }

    /// Only columns of these places in the schema of `readings`; the batches have them in its order.
    pub fn some(wanted: impl Fn(usize) -> bool) -> Self {
        Self {
            wanted: std::array::from_fn(wanted),
            rows: 0,
            site: Texts::default(),
            point: Texts::default(),
            time: Vec::new(),
            value: Vec::new(),
            status: Vec::new(),
            source: Texts::default(),
            partition: Vec::new(),
            offset: Vec::new(),
            number: Vec::new(),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it should be finished before more is pushed.
    pub fn is_full(&self, rows_max: usize) -> bool {
        self.len() >= rows_max || self.point.bytes.len() > TEXT_BYTES_MAX
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row<'_>) {
        self.rows += 1;
        if self.wanted[SITE] {
            self.site.push(u64::from(row.site.0), row.site.1);
        }
        if self.wanted[POINT] {
            self.point.push(u64::from(row.point.0), row.point.1);
        }
        if self.wanted[TIME] {
            self.time.push(row.time);
        }
        if self.wanted[VALUE] {
            self.value.push(row.value);
        }
        if self.wanted[STATUS] {
            self.status.push(row.status);
        }
        if self.wanted[SOURCE] {
            self.source.push(row.source.as_ptr() as u64, row.source);
        }
        if self.wanted[PARTITION] {
            self.partition.push(row.partition as i32);
        }
        if self.wanted[OFFSET] {
            self.offset.push(row.offset as i64);
        }
        if self.wanted[NUMBER] {
            self.number.push(row.number as i32);
        }
    }

    /// The rows as a batch of these columns of `readings`; it is empty afterwards.
    pub fn finish(&mut self) -> RecordBatch {
        let schema = Table::Readings.file_schema();
        let wanted: Vec<usize> = (0..COLUMNS).filter(|i| self.wanted[*i]).collect();
        let columns: Vec<ArrayRef> = wanted.iter().map(|i| self.take(*i)).collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        let schema = Arc::new(schema.project(&wanted).expect("the places are those of the schema"));
        RecordBatch::try_new_with_options(schema, columns, &rows)
            .expect("the columns are those of the table's schema")
    }

    fn take(&mut self, column: usize) -> ArrayRef {
        use std::mem::take;
        match column {
            SITE => self.site.finish(),
            POINT => self.point.finish(),
            TIME => Arc::new(
                TimestampMicrosecondArray::new(take(&mut self.time).into(), None).with_timezone("UTC"),
            ),
            VALUE => {
                let value = take(&mut self.value);
                let missing = value.iter().any(|v| v.is_nan());
                let nulls = missing.then(|| value.iter().map(|v| !v.is_nan()).collect::<NullBuffer>());
                Arc::new(Float64Array::new(value.into(), nulls))
            }
            STATUS => Arc::new(Int32Array::new(take(&mut self.status).into(), None)),
            SOURCE => self.source.finish(),
            PARTITION => Arc::new(Int32Array::new(take(&mut self.partition).into(), None)),
            OFFSET => Arc::new(Int64Array::new(take(&mut self.offset).into(), None)),
            NUMBER => Arc::new(Int32Array::new(take(&mut self.number).into(), None)),
            other => unreachable!("`readings` has {COLUMNS} columns, no {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_schema() {
        let schema = Table::Readings.file_schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(
            names,
            ["site", "point", "time", "value", "status", "source", "partition", "offset", "row"]
        );
        assert_eq!(Columns::all().finish().schema(), schema);
    }
}
