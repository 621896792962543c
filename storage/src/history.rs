//! The readings and the positions of people of the table as the log held them: by partition, offset and row, some millions at a time, so
//! that rules can judge them again.
//!
//! The files are sorted by point; a window of records is put in the order of the log by placing each row where `arrivals` says that
//! its record begins. What the table does not hold (duplicates, rows of points it does not know) leaves a place whose point is
//! [`History::nobody`], so that a row keeps its number. Memory is that of one window, however long the history.

use crate::error::StorageError;
use crate::query::Engine;
use crate::schema::Table;
use crate::storage::{Inner, Storage};
use crate::tail::ArrivalKind;
use crate::view::View;
use arrow::array::{Array, AsArray, RecordBatch, StringViewArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, col, lit};
use futures::StreamExt;
use model::people::{Position, Positions, Presence, Snapshot};
use model::record::run_flags;
use model::status::MISSING;
use model::{Catalog, Micros, Offset, Origin, PointId, Readings, Run};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Readings of a window at most, but for a record that is larger by itself: 120 MB.
const WINDOW_ROWS: usize = 4 << 20;
/// How many readings a position counts as.
const POSITION: usize = 8;
/// Offsets of the first window, and the most of any.
const SPAN: (u64, u64) = (1 << 12, 1 << 22);

/// A record of the log, as far as the table holds it.
#[derive(Clone, Debug)]
pub struct HistoryRecord {
    /// Where it stood.
    pub offset: Offset,
    /// When the log took it.
    pub appended: Micros,
    /// Who made it durable first.
    pub origin: Origin,
    /// Who sent which rows; of records stored before the table held it, that a source is marked replay or drill is not known.
    pub runs: Vec<Run>,
    /// Its readings; `None` of a record that held something else.
    pub readings: Option<Readings>,
    /// Its positions, with the one run of the record; `None` of a record that held something else.
    pub positions: Option<Positions>,
}

/// The history of one partition, read window by window.
pub struct History {
    inner: Arc<Inner>,
    view: Arc<View>,
    catalog: Arc<Catalog>,
    partition: u32,
    next: u64,
    end: u64,
    span: u64,
    times: Range<Micros>,
    /// The point of places that hold no reading: in no catalog.
    pub nobody: PointId,
    /// Readings of points that are not in the catalog.
    pub unknown: u64,
    /// Readings without the number of their row, stored before there was one: placed in the order of the table.
    pub unnumbered: u64,
    /// Positions without one: what was a snapshot is not known of them, and they are left out.
    pub unplaced: u64,
}

impl Storage {
    /// The histories of all partitions that hold readings with an event time in `times`, by the files as they are now.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn histories(&self, times: Range<Micros>) -> Result<Vec<History>, StorageError> {
        let inner = &self.inner;
        let (view, ends) = {
            let state = inner.state();
            (state.view.clone(), state.next_offsets())
        };
        let catalog = inner.catalog();
        let mut id = 0;
        while catalog.ix(PointId(id)).is_some() {
            id += 1;
        }
        let mut all = Vec::new();
        for (partition, end) in ends {
            let offsets = if times == (Micros::MIN..Micros::MAX) {
                Some(0..end)
            } else {
                offsets_of(&inner.engine, &view, partition, &times).await?
            };
            let Some(offsets) = offsets else { continue };
            all.push(History {
                inner: inner.clone(),
                view: view.clone(),
                catalog: catalog.clone(),
                partition,
                next: offsets.start,
                end: offsets.end,
                span: SPAN.0,
                times: times.clone(),
                nobody: PointId(id),
                unknown: 0,
                unnumbered: 0,
                unplaced: 0,
            });
        }
        Ok(all)
    }
}

/// The offsets between the first and the last reading or position in `times`.
async fn offsets_of(
    engine: &Engine,
    view: &Arc<View>,
    partition: u32,
    times: &Range<Micros>,
) -> Result<Option<Range<u64>>, StorageError> {
    let mut found: Option<Range<u64>> = None;
    for table in [Table::Readings, Table::Positions] {
        let wanted = col("partition").eq(lit(partition as i32)).and(in_times(times));
        let mut rows = engine.scan(view, table, &["offset"], wanted).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let offsets = batch.column(0).as_primitive::<Int64Type>().values();
            for &offset in offsets {
                let offset = offset as u64;
                let range = found.get_or_insert(offset..offset + 1);
                *range = range.start.min(offset)..range.end.max(offset + 1);
            }
        }
    }
    Ok(found)
}

fn in_times(times: &Range<Micros>) -> Expr {
    let time = |t| lit(ScalarValue::TimestampMicrosecond(Some(t), Some("UTC".into())));
    col("time").gt_eq(time(times.start)).and(col("time").lt(time(times.end)))
}

/// A window: its records, and the place of the first row of each.
struct Window {
    records: Vec<HistoryRecord>,
    first: Vec<usize>,
    rows: usize,
    offsets: Range<u64>,
    /// Number of the record at each offset, from the first on; `u32::MAX` where there is none.
    at: Vec<u32>,
}

/// The columns of a window, one place a row of its records.
struct Columns {
    point: Vec<i64>,
    time: Vec<Micros>,
    value: Vec<f64>,
    status: Vec<i32>,
}

impl History {
    /// Its partition.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// How far it has come, and where it ends, in offsets.
    pub fn progress(&self) -> (u64, u64) {
        (self.next.min(self.end), self.end)
    }

    /// The records of the next window, in the order of the log; empty at the end.
    ///
    /// # Errors
    /// When the table cannot be read, or holds sites that do not belong to the partition.
    pub async fn next(&mut self) -> Result<Vec<HistoryRecord>, StorageError> {
        while self.next < self.end {
            let window = self.window().await?;
            self.next = window.offsets.end;
            if !window.records.is_empty() {
                return self.fill(window).await;
            }
        }
        Ok(Vec::new())
    }

    fn of(&self, offsets: &Range<u64>) -> Expr {
        let (from, to) = (offsets.start as i64, offsets.end as i64);
        let partition = col("partition").eq(lit(self.partition as i32));
        partition.and(col("offset").gt_eq(lit(from))).and(col("offset").lt(lit(to)))
    }

    /// The records of the next offsets, cut where they hold enough rows.
    async fn window(&mut self) -> Result<Window, StorageError> {
        let offsets = self.next..self.end.min(self.next + self.span);
        #[rustfmt::skip]
        const COLUMNS: [&str; 11] =
            ["offset", "run", "kind", "source", "received", "appended", "collector", "sequence", "rows", "snapshot", "flags"];
        let mut rows =
            self.inner.engine.scan(&self.view, Table::Arrivals, &COLUMNS, self.of(&offsets)).await?;
        let mut arrivals = Vec::new();
        while let Some(batch) = rows.next().await {
            arrivals_of(&batch?, &mut arrivals);
        }
        arrivals.sort_by_key(|a| (a.offset, a.run));
        let mut window = Window {
            records: Vec::new(),
            first: Vec::new(),
            rows: 0,
            offsets: offsets.clone(),
            at: vec![u32::MAX; (offsets.end - offsets.start) as usize],
        };
        let mut people = 0;
        for group in arrivals.chunk_by(|a, b| a.offset == b.offset) {
            let rows: usize = group.iter().filter(|a| a.is_readings).map(|a| a.rows).sum();
            people += group.iter().filter(|a| a.is_positions).map(|a| a.rows).sum::<usize>();
            if window.rows + rows + people * POSITION > WINDOW_ROWS && !window.records.is_empty() {
                window.offsets.end = group[0].offset;
                break;
            }
            window.at[(group[0].offset - offsets.start) as usize] = window.records.len() as u32;
            window.first.push(window.rows);
            window.records.push(record(self.partition, group));
            window.rows += rows;
        }
        // The next window should hold about as many rows as may be.
        let spanned = window.offsets.end - window.offsets.start;
        let fits = spanned as usize * WINDOW_ROWS / (window.rows + people * POSITION).max(1);
        self.span = (fits as u64 / 2).clamp(1, SPAN.1).min(self.span.saturating_mul(4)).max(16);
        Ok(window)
    }

    /// Puts the rows of the window where they stood.
    async fn fill(&mut self, window: Window) -> Result<Vec<HistoryRecord>, StorageError> {
        let mut columns = Columns {
            point: vec![self.nobody.0; window.rows],
            time: vec![0; window.rows],
            value: vec![0.0; window.rows],
            status: vec![0; window.rows],
        };
        if window.rows > 0 {
            let mut wanted = self.of(&window.offsets);
            if self.times != (Micros::MIN..Micros::MAX) {
                wanted = wanted.and(in_times(&self.times));
            }
            const COLUMNS: [&str; 7] = ["site", "point", "time", "value", "status", "offset", "row"];
            let mut rows = self.inner.engine.scan(&self.view, Table::Readings, &COLUMNS, wanted).await?;
            let mut free = vec![0u32; window.records.len()];
            while let Some(batch) = rows.next().await {
                self.place(&batch?, &window, &mut columns, &mut free)?;
            }
        }
        let all = Readings {
            point: columns.point.into(),
            time: columns.time.into(),
            value: columns.value.into(),
            status: columns.status.into(),
        };
        let Window { mut records, first, offsets, .. } = window;
        for (record, first) in records.iter_mut().zip(first) {
            if record.readings.is_some() {
                let rows = record.runs.iter().map(|r| r.rows as usize).sum();
                record.readings = Some(all.slice(first, rows));
            }
        }
        self.fill_people(&mut records, &offsets).await?;
        Ok(records)
    }

    /// Puts the positions of the window where they stood.
    async fn fill_people(
        &mut self,
        records: &mut [HistoryRecord],
        offsets: &Range<u64>,
    ) -> Result<(), StorageError> {
        if records.iter().all(|r| r.positions.is_none()) {
            return Ok(());
        }
        #[rustfmt::skip]
        const COLUMNS: [&str; 11] =
            ["site", "card", "name", "area", "station", "time", "presence", "entered", "state", "offset", "row"];
        let wanted = self.of(offsets);
        let mut rows = self.inner.engine.scan(&self.view, Table::Positions, &COLUMNS, wanted).await?;
        let mut found: BTreeMap<u64, BTreeMap<i32, Position>> = BTreeMap::new();
        while let Some(batch) = rows.next().await {
            self.unplaced += positions_of(&batch?, &mut found);
        }
        for record in records {
            let Some(positions) = &mut record.positions else { continue };
            positions.rows = found.remove(&record.offset.number).unwrap_or_default().into_values().collect();
            // A record counts whole or not at all: a part of a snapshot would say that the others have left.
            let times =
                positions.rows.iter().map(|r| r.time).chain(positions.snapshot.iter().map(|s| s.time));
            if !times.into_iter().any(|time| self.times.contains(&time)) {
                record.positions = None;
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        batch: &RecordBatch,
        window: &Window,
        columns: &mut Columns,
        free: &mut [u32],
    ) -> Result<(), StorageError> {
        let (site, point) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
        let time = batch.column(2).as_primitive::<TimestampMicrosecondType>().values();
        let (values, status) = (batch.column(3).as_primitive::<Float64Type>(), batch.column(4));
        let status = status.as_primitive::<Int32Type>().values();
        let offset = batch.column(5).as_primitive::<Int64Type>().values();
        let rows = batch.column(6).as_primitive::<Int32Type>();
        let (site_views, point_views) = (site.views(), point.views());
        let (mut seen, mut id) = ((0, 0), None);
        for i in 0..batch.num_rows() {
            let views = (site_views[i], point_views[i]);
            // Rows of a point follow each other, and equal texts of a page are one text.
            if i == 0 || views != seen {
                (seen, id) = (views, self.id(site, point, i)?);
            }
            let Some(id) = id else {
                self.unknown += 1;
                continue;
            };
            let record = window.at[(offset[i] as u64 - window.offsets.start) as usize];
            if record == u32::MAX {
                continue; // its arrival is older than those that are kept
            }
            let first = window.first[record as usize];
            let end = window.first.get(record as usize + 1).copied().unwrap_or(window.rows);
            let place = if rows.is_valid(i) {
                first + rows.value(i) as usize
            } else {
                self.unnumbered += 1;
                free[record as usize] += 1;
                first + free[record as usize] as usize - 1
            };
            if place < end {
                columns.point[place] = id;
                columns.time[place] = time[i];
                columns.value[place] = if status[i] & MISSING == 0 { values.value(i) } else { f64::NAN };
                columns.status[place] = status[i];
            }
        }
        Ok(())
    }

    /// The id of the point in a row; `None` where it is not in the catalog.
    fn id(
        &self,
        site: &StringViewArray,
        point: &StringViewArray,
        row: usize,
    ) -> Result<Option<i64>, StorageError> {
        let Some(ix) = self.catalog.find(site.value(row), point.value(row)) else { return Ok(None) };
        let (is, partitions) = (self.catalog.partition_of_point(ix), self.catalog.partitions());
        if is != self.partition {
            let message = format!(
                "site `{}` stands in partition {}, with {partitions} partitions it belongs into {is}: say how many partitions the \
                 log had that this table was written from",
                site.value(row),
                self.partition
            );
            return Err(StorageError::Table { table: "readings".to_owned(), message });
        }
        Ok(Some(self.catalog.ids()[ix as usize].0))
    }
}

/// A row of `arrivals`.
struct Arrived {
    offset: u64,
    run: i32,
    is_readings: bool,
    is_positions: bool,
    released: bool,
    source: Arc<str>,
    received: Micros,
    appended: Micros,
    origin: Origin,
    rows: usize,
    snapshot: Option<Snapshot>,
    flags: u8,
}

fn arrivals_of(batch: &RecordBatch, out: &mut Vec<Arrived>) {
    let long = |i: usize| batch.column(i).as_primitive::<Int64Type>().values();
    let time = |i: usize| batch.column(i).as_primitive::<TimestampMicrosecondType>().values();
    let run = batch.column(1).as_primitive::<Int32Type>().values();
    let (kind, source) = (batch.column(2).as_string_view(), batch.column(3).as_string_view());
    let snapshot = batch.column(9).as_string_view();
    let flags = batch.column(10).as_primitive::<Int32Type>();
    for i in 0..batch.num_rows() {
        let kind = ArrivalKind::parse(kind.value(i));
        let before = out.last().filter(|a| *a.source == *source.value(i)).map(|a| a.source.clone());
        out.push(Arrived {
            offset: long(0)[i] as u64,
            run: run[i],
            is_readings: matches!(kind, Some(ArrivalKind::Readings | ArrivalKind::Released)),
            is_positions: kind == Some(ArrivalKind::Positions),
            released: kind == Some(ArrivalKind::Released),
            source: before.unwrap_or_else(|| source.value(i).into()),
            received: time(4)[i],
            appended: time(5)[i],
            origin: Origin { collector: long(6)[i] as u64, sequence: long(7)[i] as u64 },
            rows: long(8)[i] as usize,
            snapshot: snapshot.is_valid(i).then(|| serde_json::from_str(snapshot.value(i)).ok()).flatten(),
            flags: if flags.is_valid(i) { flags.value(i) as u8 } else { 0 },
        });
    }
}

/// A record without its rows.
fn record(partition: u32, runs: &[Arrived]) -> HistoryRecord {
    let first = &runs[0];
    let run = |a: &Arrived| Run {
        source: a.source.clone(),
        received: a.received,
        rows: a.rows as u32,
        flags: a.flags | if a.released { run_flags::RELEASED } else { 0 },
    };
    let readings = runs.iter().any(|a| a.is_readings);
    let of_people = |a: &&Arrived| a.is_positions;
    let positions = runs.iter().find(of_people);
    HistoryRecord {
        offset: Offset { partition, number: first.offset },
        appended: first.appended,
        origin: first.origin,
        runs: runs.iter().filter(|a| a.is_readings || a.is_positions).map(run).collect(),
        readings: readings.then(Readings::default),
        positions: positions.map(|a| Positions { rows: Vec::new(), snapshot: a.snapshot.clone() }),
    }
}

/// Positions by offset and row; how many have no row.
fn positions_of(batch: &RecordBatch, found: &mut BTreeMap<u64, BTreeMap<i32, Position>>) -> u64 {
    let text = |column: usize, i: usize| batch.column(column).as_string_view().value(i).to_owned();
    let times = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>();
    let (time, entered, state) = (times(5), times(7), batch.column(8));
    let offset = batch.column(9).as_primitive::<Int64Type>().values();
    let row = batch.column(10).as_primitive::<Int32Type>();
    for i in (0..batch.num_rows()).filter(|i| row.is_valid(*i)) {
        let position = Position {
            site: text(0, i),
            card: text(1, i),
            name: text(2, i),
            area: text(3, i),
            station: text(4, i),
            time: time.value(i),
            presence: match text(6, i).as_str() {
                "out" => Presence::Out,
                "uncertain" => Presence::Uncertain,
                _ => Presence::Below,
            },
            entered: entered.is_valid(i).then(|| entered.value(i)),
            state: if state.is_valid(i) { text(8, i) } else { String::new() },
        };
        found.entry(offset[i] as u64).or_default().insert(row.value(i), position);
    }
    row.null_count() as u64
}
