//! The tail's part of a scan: packed rows become batches one after another, only those that the query needs.

use super::need::Need;
use crate::columns::{Columns, Row};
use crate::schema::{Table, local_day};
use crate::tail::{Chunk, Open};
use crate::view::{Tail, TailReadings};
use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, SchemaRef, TimestampMicrosecondType};
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
    /// Columns of the scan: those of the table, by their place, where `day` comes last.
    pub projection: Vec<usize>,
    /// Their schema.
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
            Tail::Readings(rows) => Box::new(Readings::new(rows.clone(), self.need.clone(), self.columns())),
        };
        let batches = batches.map(move |batch| this.project(&batch));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

impl TailScan {
    /// What readings are built with: the columns of the scan and, where `day` is among them, the time.
    fn columns(&self) -> Columns {
        let file = self.table.file_schema();
        let day = self.projection.contains(&file.fields().len());
        let time = file.index_of(self.table.day_of()).ok();
        Columns::some(|at| self.projection.contains(&at) || (day && Some(at) == time))
    }

    /// The scan's columns of a batch that has them, and perhaps more.
    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None => self.days(batch),
        };
        let columns: Vec<ArrayRef> = self.schema.fields().iter().map(column).collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &rows)?)
    }

    fn days(&self, batch: &RecordBatch) -> ArrayRef {
        let time = batch.column_by_name(self.table.day_of()).expect("the batch has the column of its day");
        let times = time.as_primitive::<TimestampMicrosecondType>().values();
        Arc::new(Date32Array::from_iter_values(times.iter().map(|t| local_day(*t, self.zone_offset_s))))
    }
}

/// Readings of the tail in batches.
struct Readings {
    rows: Arc<TailReadings>,
    need: Need,
    chunk: usize,
    /// Sites of the current chunk with the rows still to be shown, last first.
    ranges: Vec<(u32, Range<usize>)>,
    open: usize,
    segment: usize,
    columns: Columns,
}

impl Readings {
    fn new(rows: Arc<TailReadings>, need: Need, columns: Columns) -> Self {
        let mut this = Self { rows, need, chunk: 0, ranges: Vec::new(), open: 0, segment: 0, columns };
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
            let Some((site, mut range)) = self.ranges.pop() else {
                self.chunk += 1;
                self.enter_chunk();
                continue;
            };
            let first = chunk.names.points_of(site).start;
            let site_code = chunk.names.site(site);
            for row in range.by_ref() {
                let time = chunk.time(row);
                if time < self.need.from || time > self.need.to {
                    continue;
                }
                let dense = chunk.dense_in(first, row);
                let origin = chunk.origin(row);
                self.columns.push(Row {
                    site: (site, site_code),
                    point: (dense, chunk.names.code(dense)),
                    time,
                    value: chunk.value(row),
                    status: chunk.status(row),
                    source: &origin.source,
                    partition: origin.partition,
                    offset: origin.offset,
                    number: chunk.number(row, origin),
                });
                if self.columns.is_full(BATCH_ROWS) {
                    break;
                }
            }
            if !range.is_empty() {
                self.ranges.push((site, range));
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
                number: segment.numbers.at(i),
            });
        }
    }
}

/// Rows of a chunk that the query may need, by site.
fn ranges(chunk: &Chunk, need: &Need) -> Vec<(u32, Range<usize>)> {
    let (first, last) = chunk.times();
    if last < need.from || first > need.to {
        return Vec::new();
    }
    let sites: Vec<(u32, Range<usize>)> = match &need.sites {
        None => chunk.sites().collect(),
        Some(sites) => {
            let known = sites.iter().filter_map(|s| chunk.names.site_ix(s));
            known.map(|s| (s, chunk.rows_of_site(s))).filter(|(_, rows)| !rows.is_empty()).collect()
        }
    };
    let Some(points) = &need.points else { return sites };
    let mut out = Vec::new();
    for (site, _) in sites {
        let known = points.iter().filter_map(|p| chunk.names.find(site, p));
        out.extend(known.map(|p| (site, chunk.rows_of_point(p))).filter(|(_, rows)| !rows.is_empty()));
    }
    out
}
