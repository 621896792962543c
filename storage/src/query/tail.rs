//! The tail's part of a scan: packed rows become batches one after another, only those that the query needs.

use super::need::Need;
use crate::columns::{Columns, Row};
use crate::schema::{Table, local_day};
use crate::tail::{Chunk, Open};
use crate::view::{Tail, TailReadings};
use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use std::ops::Range;
use std::sync::Arc;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// The tail of one table in one query.
#[derive(Clone, Debug)]
pub struct TailScan {
    /// The table.
    pub table: Table,
    /// Its columns with `day`.
    pub schema: SchemaRef,
    /// The rows.
    pub tail: Tail,
    /// What of them is needed.
    pub need: Need,
    /// Zone of the days.
    pub zone_offset_s: i32,
}

impl PartitionStream for TailScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let this = self.clone();
        let batches: Box<dyn Iterator<Item = RecordBatch> + Send> = match &self.tail {
            Tail::Empty => Box::new(std::iter::empty()),
            Tail::Batches(batches) => Box::new(batches.clone().into_iter()),
            Tail::Readings(rows) => Box::new(Readings::new(rows.clone(), self.need.clone())),
        };
        let batches = batches.map(move |batch| this.with_day(&batch));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

impl TailScan {
    fn with_day(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let time = batch.column_by_name(self.table.day_of()).expect("the table has the column of its day");
        let days = time.as_primitive::<TimestampMicrosecondType>().values();
        let days = Date32Array::from_iter_values(days.iter().map(|t| local_day(*t, self.zone_offset_s)));
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns.push(Arc::new(days));
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// Readings of the tail in batches.
struct Readings {
    rows: Arc<TailReadings>,
    need: Need,
    chunk: usize,
    /// Ranges of the current chunk still to be shown, last first.
    ranges: Vec<Range<usize>>,
    open: usize,
    segment: usize,
    columns: Columns,
}

impl Readings {
    fn new(rows: Arc<TailReadings>, need: Need) -> Self {
        let mut this = Self {
            rows,
            need,
            chunk: 0,
            ranges: Vec::new(),
            open: 0,
            segment: 0,
            columns: Columns::default(),
        };
        this.enter_chunk();
        this
    }

    fn enter_chunk(&mut self) {
        if let Some(chunk) = self.rows.chunks.get(self.chunk) {
            self.ranges = ranges(chunk, &self.need);
            self.ranges.reverse();
        }
    }

    /// Takes rows from the chunks until a batch is full; whether more may follow.
    fn fill_from_chunks(&mut self) -> bool {
        while let Some(chunk) = self.rows.chunks.get(self.chunk) {
            let Some(mut range) = self.ranges.pop() else {
                self.chunk += 1;
                self.enter_chunk();
                continue;
            };
            for row in range.by_ref() {
                let time = chunk.time(row);
                if time < self.need.from || time > self.need.to {
                    continue;
                }
                self.columns.push(row_of(chunk, row));
                if self.columns.is_full(BATCH_ROWS) {
                    break;
                }
            }
            if !range.is_empty() {
                self.ranges.push(range);
            }
            if self.columns.is_full(BATCH_ROWS) {
                return true;
            }
        }
        false
    }

    /// Takes whole segments of the open rows until a batch is full.
    fn fill_from_open(&mut self) {
        while let Some(open) = self.rows.open.get(self.open) {
            let Some(segment) = open.segments.get(self.segment) else {
                (self.open, self.segment) = (self.open + 1, 0);
                continue;
            };
            self.segment += 1;
            push_segment(open, segment, &self.need, &mut self.columns);
            if self.columns.is_full(BATCH_ROWS) {
                return;
            }
        }
    }
}

impl Iterator for Readings {
    type Item = RecordBatch;
    fn next(&mut self) -> Option<RecordBatch> {
        if !self.fill_from_chunks() {
            self.fill_from_open();
        }
        (self.columns.len() > 0).then(|| self.columns.finish())
    }
}

fn wanted(words: Option<&std::collections::BTreeSet<String>>, word: &str) -> bool {
    words.is_none_or(|w| w.contains(word))
}

fn push_segment(open: &Open, segment: &crate::tail::Segment, need: &Need, columns: &mut Columns) {
    for (i, dense) in segment.dense.iter().enumerate() {
        let time = segment.rows.time[i];
        let site = open.names.site_of(*dense);
        let out = time < need.from
            || time > need.to
            || !wanted(need.sites.as_ref(), open.names.site(site))
            || !wanted(need.points.as_ref(), open.names.code(*dense));
        if !out {
            columns.push(Row {
                site: (site, open.names.site(site)),
                point: (*dense, open.names.code(*dense)),
                time,
                value: segment.rows.value[i],
                status: segment.rows.status[i],
                source: &segment.source,
                partition: segment.partition,
                offset: segment.offset,
            });
        }
    }
}

/// Rows of a chunk that the query may need.
fn ranges(chunk: &Chunk, need: &Need) -> Vec<Range<usize>> {
    let (first, last) = chunk.times();
    if last < need.from || first > need.to {
        return Vec::new();
    }
    let sites: Vec<(u32, Range<usize>)> = match &need.sites {
        None => chunk.sites().collect(),
        Some(sites) => {
            let known = sites.iter().filter_map(|s| chunk.names.site_ix(s));
            known.map(|s| (s, chunk.rows_of_site(s))).collect()
        }
    };
    let Some(points) = &need.points else {
        return sites.into_iter().map(|(_, rows)| rows).filter(|r| !r.is_empty()).collect();
    };
    let mut out = Vec::new();
    for (site, rows) in sites {
        if !rows.is_empty() {
            let known = points.iter().filter_map(|p| chunk.names.find(site, p));
            out.extend(known.map(|p| chunk.rows_of_point(p)).filter(|r| !r.is_empty()));
        }
    }
    out
}

fn row_of(chunk: &Chunk, row: usize) -> Row<'_> {
    let dense = chunk.dense(row);
    let site = chunk.names.site_of(dense);
    let origin = chunk.origin(row);
    Row {
        site: (site, chunk.names.site(site)),
        point: (dense, chunk.names.code(dense)),
        time: chunk.time(row),
        value: chunk.value(row),
        status: chunk.status(row),
        source: &origin.source,
        partition: origin.partition,
        offset: origin.offset,
    }
}
