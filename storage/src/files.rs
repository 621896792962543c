//! Writes the Parquet files of a table: one local day a file, sorted, statistics beside. Encodings by measurement: time,
//! offset and row DELTA_BINARY_PACKED (where the runs of a record come in random order, row takes 0.8 bytes a reading; as
//! dictionary 1.3, byte-stream-split 1.2, plain 1.5), everything else dictionary where it pays, zstd; row groups of a million rows with statistics
//! of each page of the columns that one asks by.

use crate::columns::{Columns, Row};
use crate::delta::{NewFile, StatsBuilder, new_path};
use crate::schema::{Table, local_day};
use crate::tail::{Chunk, Generation};
use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, filter_record_batch, lexsort_to_indices, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use model::Micros;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;
use std::sync::Arc;

/// Rows handed to the Parquet writer at once.
const BATCH_ROWS: usize = 1 << 16;
/// Rows of a row group: large enough for good compression, small enough that one point's history opens few.
const GROUP_ROWS: usize = 1 << 20;
/// Rows of a page: what is read at least to get at one point.
const PAGE_ROWS: usize = 20_000;
/// Days written side by side in one pass over a generation; each holds the buffers of its file.
const DAYS_AT_ONCE: usize = 64;

/// A file in memory, ready to be put and then committed.
pub struct Encoded {
    /// What the commit says of it.
    pub file: NewFile,
    /// Its bytes.
    pub bytes: Bytes,
}

/// How files are made.
#[derive(Clone, Debug)]
pub struct Making {
    /// Seconds that the local day is ahead of UTC.
    pub zone_offset_s: i32,
    /// A file is closed at so many rows.
    pub file_rows_max: usize,
    /// Level of zstd.
    pub level: i32,
    /// Beginning of file names; never used twice.
    pub unique: String,
}

fn properties(table: Table, level: i32) -> WriterProperties {
    let level = ZstdLevel::try_new(level).unwrap_or_default();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(4096)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(concat!("firedamp ", env!("CARGO_PKG_VERSION")).to_owned());
    for column in table.sorted_by().iter().chain([&table.day_of()]) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(*column), EnabledStatistics::Page);
    }
    for field in table.file_schema().fields() {
        let packed = matches!(field.data_type(), arrow::datatypes::DataType::Timestamp(..))
            || matches!(field.name().as_str(), "offset" | "row");
        if packed {
            let path = ColumnPath::from(field.name().as_str());
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    builder.build()
}

/// Writes one file.
struct FileWriter {
    table: Table,
    day: i32,
    name: String,
    writer: ArrowWriter<Vec<u8>>,
    stats: StatsBuilder,
}

impl FileWriter {
    fn new(table: Table, day: i32, name: String, level: i32) -> Self {
        let schema = table.file_schema();
        let stats = StatsBuilder::new(schema.fields().len());
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties(table, level)))
            .expect("the schema has types that Parquet has");
        Self { table, day, name, writer, stats }
    }

    fn write(&mut self, batch: &RecordBatch) {
        self.stats.add(batch);
        self.writer.write(batch).expect("writing to memory cannot fail and the batch has the schema");
    }

    fn finish(self) -> Encoded {
        let bytes: Bytes = self.writer.into_inner().expect("writing to memory cannot fail").into();
        let stats = self.stats.to_json(&self.table.file_schema());
        let file =
            NewFile { path: new_path(self.day, &self.name), size: bytes.len() as u64, day: self.day, stats };
        Encoded { file, bytes }
    }
}

/// Writes batches that come in the table's order into the files of their days.
pub struct DayWriters {
    table: Table,
    making: Making,
    open: BTreeMap<i32, FileWriter>,
    count: usize,
    /// Whole files.
    pub done: Vec<Encoded>,
}

impl DayWriters {
    /// No file yet.
    pub fn new(table: Table, making: Making) -> Self {
        Self { table, making, open: BTreeMap::new(), count: 0, done: Vec::new() }
    }

    /// Writes a batch.
    pub fn write(&mut self, batch: &RecordBatch) {
        if batch.num_rows() == 0 {
            return;
        }
        let column =
            batch.column_by_name(self.table.day_of()).expect("the table's schema has the column of its day");
        let times = column.as_primitive::<TimestampMicrosecondType>().values();
        let days: Vec<i32> = times.iter().map(|t| local_day(*t, self.making.zone_offset_s)).collect();
        let distinct: BTreeSet<i32> = days.iter().copied().collect();
        if distinct.len() == 1 {
            return self.write_day(days[0], batch);
        }
        for day in distinct {
            let mask: BooleanArray = days.iter().map(|d| Some(*d == day)).collect();
            let part = filter_record_batch(batch, &mask).expect("the mask has the batch's length");
            self.write_day(day, &part);
        }
    }

    fn write_day(&mut self, day: i32, batch: &RecordBatch) {
        let (count, making, table) = (&mut self.count, &self.making, self.table);
        let writer = self.open.entry(day).or_insert_with(|| {
            *count += 1;
            FileWriter::new(table, day, format!("{}-{count:04}", making.unique), making.level)
        });
        writer.write(batch);
        if writer.stats.rows() >= making.file_rows_max as u64 {
            let full = self.open.remove(&day).expect("it was just written to");
            self.done.push(full.finish());
        }
    }

    /// Closes all files.
    pub fn finish(mut self) -> Vec<Encoded> {
        self.close_open();
        self.done
    }

    fn close_open(&mut self) {
        self.done.extend(std::mem::take(&mut self.open).into_values().map(FileWriter::finish));
    }
}

/// The files of a small table: sorts the batch first.
pub fn encode_batch(table: Table, batch: &RecordBatch, making: Making) -> Vec<Encoded> {
    let by = |name: &&str| {
        let values = batch.column_by_name(name).expect("tables are sorted by columns they have").clone();
        SortColumn { values, options: None }
    };
    let columns: Vec<SortColumn> = table.sorted_by().iter().map(by).collect();
    let order: UInt32Array = lexsort_to_indices(&columns, None).expect("the columns have one length");
    let sorted = take_record_batch(batch, &order).expect("the order has places of the batch");
    let mut writers = DayWriters::new(table, making);
    writers.write(&sorted);
    writers.finish()
}

/// The files of the readings of a sealed generation.
pub fn encode_readings(generation: &Generation, making: &Making) -> Vec<Encoded> {
    debug_assert_eq!(generation.open.rows(), 0);
    let chunks = &generation.chunks;
    let day = |t: Micros| local_day(t, making.zone_offset_s);
    let first = chunks.iter().map(|c| day(c.times().0)).min();
    let last = chunks.iter().map(|c| day(c.times().1)).max();
    let (Some(first), Some(last)) = (first, last) else { return Vec::new() };
    let mut writers = DayWriters::new(Table::Readings, making.clone());
    if first == last {
        write_pass(chunks, &generation.open.names, &mut writers, None);
        return writers.finish();
    }
    let days: BTreeSet<i32> = chunks.iter().flat_map(|c| (0..c.rows()).map(|row| day(c.time(row)))).collect();
    let days: Vec<i32> = days.into_iter().collect();
    for some in days.chunks(DAYS_AT_ONCE) {
        write_pass(chunks, &generation.open.names, &mut writers, Some(some[0]..some[some.len() - 1] + 1));
        writers.close_open();
    }
    writers.finish()
}

/// A row on its way from a chunk into a file.
#[derive(Clone, Copy)]
struct Place {
    dense: u32,
    chunk: u32,
    row: u32,
    time: Micros,
}

/// Writes all rows (of `days`, where given) by site, point, time.
fn write_pass(
    chunks: &[Arc<Chunk>],
    names: &crate::names::Names,
    writers: &mut DayWriters,
    days: Option<Range<i32>>,
) {
    let zone = writers.making.zone_offset_s;
    // Each chunk's sites ascend; those of older names are found again by their code, which keeps the order.
    let mut cursors: Vec<_> = chunks
        .iter()
        .map(|c| {
            let now = move |old: u32| {
                names.site_ix(c.names.site(old)).expect("new names know every site of the old ones")
            };
            c.sites().map(move |(site, rows)| (now(site), rows))
        })
        .collect();
    let mut heap = BinaryHeap::new();
    for (at, cursor) in cursors.iter_mut().enumerate() {
        heap.extend(cursor.next().map(|(site, rows)| Reverse((site, at, rows.start, rows.end))));
    }
    let mut columns = Columns::all();
    let mut places: Vec<Place> = Vec::new();
    while let Some(Reverse((site, at, start, end))) = heap.pop() {
        collect(&chunks[at], at, start..end, names, &mut places);
        heap.extend(cursors[at].next().map(|(site, rows)| Reverse((site, at, rows.start, rows.end))));
        if heap.peek().is_none_or(|Reverse((next, ..))| *next != site) {
            if let Some(days) = &days {
                places.retain(|p| days.contains(&local_day(p.time, zone)));
            }
            order(&mut places, names.points_of(site), chunks);
            for place in places.drain(..) {
                columns.push(row(&chunks[place.chunk as usize], place, names));
                if columns.is_full(BATCH_ROWS) {
                    writers.write(&columns.finish());
                }
            }
        }
    }
    writers.write(&columns.finish());
}

fn collect(chunk: &Chunk, at: usize, rows: Range<usize>, names: &crate::names::Names, into: &mut Vec<Place>) {
    let Some(first) = rows.clone().next() else { return };
    let site_first = chunk.names.points_of(chunk.names.site_of(chunk.dense(first))).start;
    let same = std::ptr::eq(Arc::as_ptr(&chunk.names), names);
    for row in rows {
        let old = chunk.dense_in(site_first, row);
        let dense =
            if same { old } else { names.ix(chunk.names.id(old)).expect("new names know every point") };
        into.push(Place { dense, chunk: at as u32, row: row as u32, time: chunk.time(row) });
    }
}

/// Sorts the rows of one site by point, time and offset: a counting sort by point, for chunks follow one another in time.
fn order(places: &mut Vec<Place>, points: Range<u32>, chunks: &[Arc<Chunk>]) {
    if points.len() > places.len() * 4 {
        places.sort_by_key(|p| p.dense);
    } else {
        let mut starts = vec![0u32; points.len() + 1];
        for p in places.iter() {
            starts[(p.dense - points.start) as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut sorted = places.clone();
        for p in places.iter() {
            let slot = &mut starts[(p.dense - points.start) as usize];
            sorted[*slot as usize] = *p;
            *slot += 1;
        }
        *places = sorted;
    }
    let offset = |p: &Place| chunks[p.chunk as usize].origin(p.row as usize).offset;
    for run in places.chunk_by_mut(|a, b| a.dense == b.dense) {
        let ordered = run.windows(2).all(|w| w[0].time < w[1].time);
        if !ordered {
            run.sort_by_cached_key(|p| (p.time, offset(p)));
        }
    }
}

fn row<'a>(chunk: &'a Chunk, place: Place, names: &'a crate::names::Names) -> Row<'a> {
    let row = place.row as usize;
    let origin = chunk.origin(row);
    let site = names.site_of(place.dense);
    Row {
        site: (site, names.site(site)),
        point: (place.dense, names.code(place.dense)),
        time: place.time,
        value: chunk.value(row),
        status: chunk.status(row),
        source: &origin.source,
        partition: origin.partition,
        offset: origin.offset,
        number: chunk.number(row, origin),
    }
}
