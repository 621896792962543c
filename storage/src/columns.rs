//! Rows of `readings` as Arrow columns, built row by row in order: used to write files and to show the tail to queries.

use crate::schema::Table;
use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
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
}

/// See the module.
#[derive(Default)]
pub struct Columns {
    site: Texts,
    point: Texts,
    time: Vec<Micros>,
    value: Vec<f64>,
    status: Vec<i32>,
    source: Texts,
    partition: Vec<i32>,
    offset: Vec<i64>,
}

impl Columns {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether it should be finished before more is pushed.
    pub fn is_full(&self, rows_max: usize) -> bool {
        self.len() >= rows_max || self.point.bytes.len() > TEXT_BYTES_MAX
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row<'_>) {
        self.site.push(u64::from(row.site.0), row.site.1);
        self.point.push(u64::from(row.point.0), row.point.1);
        self.time.push(row.time);
        self.value.push(row.value);
        self.status.push(row.status);
        self.source.push(row.source.as_ptr() as u64, row.source);
        self.partition.push(row.partition as i32);
        self.offset.push(row.offset as i64);
    }

    /// The rows as a batch of `readings`; it is empty afterwards.
    pub fn finish(&mut self) -> RecordBatch {
        let value = std::mem::take(&mut self.value);
        let nulls = value
            .iter()
            .any(|v| v.is_nan())
            .then(|| value.iter().map(|v| !v.is_nan()).collect::<NullBuffer>());
        let columns: Vec<ArrayRef> = vec![
            self.site.finish(),
            self.point.finish(),
            Arc::new(
                TimestampMicrosecondArray::new(std::mem::take(&mut self.time).into(), None)
                    .with_timezone("UTC"),
            ),
            Arc::new(Float64Array::new(value.into(), nulls)),
            Arc::new(Int32Array::new(std::mem::take(&mut self.status).into(), None)),
            self.source.finish(),
            Arc::new(Int32Array::new(std::mem::take(&mut self.partition).into(), None)),
            Arc::new(Int64Array::new(std::mem::take(&mut self.offset).into(), None)),
        ];
        debug_assert!(columns.iter().all(|c| c.len() == columns[0].len()));
        RecordBatch::try_new(Table::Readings.file_schema(), columns)
            .expect("the columns are those of the table's schema")
    }
}
