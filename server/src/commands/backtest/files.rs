//! Readings from files: CSV with the columns `site,point,time,value,status`, Parquet and Arrow with the same. Judged in the order of
//! their times, each as if it had come when it was measured.
//!
//! A first pass looks whether the readings stand in order. Where they do they are judged as they are read; where not (an export
//! sensor by sensor) they are sorted in memory, up to [`SORTED_MAX`].

use super::Stop;
use super::curves::{Curve, Wanted};
use super::task::{Decided, Progress, Seen, Task};
use ahash::AHashMap;
use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use model::time::{Micros, TIME_MAX, TIME_MIN, rfc3339};
use model::{Catalog, Follow, PointId, Readings, ReadingsBuilder, Transition};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use rules::Paced;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows handed on at once.
const BATCH_ROWS: usize = 1 << 16;
/// Times between two looks at the clock.
const PROGRESS_GROUPS: usize = 1 << 10;
/// Most readings that are sorted in memory. While they are, one takes 28 bytes, its place in the order 4 and its copy 28: 4 GB.
const SORTED_MAX: usize = 64 << 20;

/// Files of readings.
pub struct Files(Vec<(PathBuf, Kind)>);

#[derive(Clone, Copy)]
enum Kind {
    Csv,
    Parquet,
    Arrow,
}

impl Files {
    /// Files by the ends of their names.
    ///
    /// # Errors
    /// Wrong use.
    pub fn of(paths: &[PathBuf]) -> Result<Self, Stop> {
        let kind = |path: &PathBuf| {
            let kind = match path.extension().and_then(|e| e.to_str()) {
                Some("csv") => Kind::Csv,
                Some("parquet") => Kind::Parquet,
                Some("arrow" | "arrows" | "ipc") => Kind::Arrow,
                _ => {
                    let message = "is none of .csv, .parquet, .arrow, nor the folder of a table";
                    return Err(Stop::Input(format!("{} {message}", path.display())));
                }
            };
            Ok((path.clone(), kind))
        };
        Ok(Self(paths.iter().map(kind).collect::<Result<_, _>>()?))
    }

    /// Judges them.
    pub fn judge(&self, task: &Task, decided: Decided<'_>, progress: &mut Progress) -> Result<Seen, Stop> {
        // Those of points that nobody judges may stand in any order; only of Parquet the first look did not leave them out.
        let has_parquet = self.0.iter().any(|(_, kind)| matches!(kind, Kind::Parquet));
        let ordered = self.are_ordered(task, progress, true)?
            || (has_parquet && self.are_ordered(task, progress, false)?);
        let catalog = Arc::new(task.catalog.clone());
        let programs = task.programs(&catalog);
        let mut judge = Judge {
            out: programs.iter().map(|_| Vec::new()).collect(),
            paced: programs.into_iter().map(|p| Paced::new(p, catalog.clone(), "backtest")).collect(),
            judged: 0,
        };
        let mut seen = Seen::default();
        let mut all = ReadingsBuilder::default();
        let left_out = self.each(task, &mut |rows, file| {
            seen.readings += rows.len() as u64;
            seen.times(&rows.time);
            if ordered {
                return judge.judge(&rows, decided, progress);
            }
            if all.len() + rows.len() > SORTED_MAX {
                let message =
                    "are not in the order of time, and too many to be sorted here; sort them by time";
                return Err(Stop::Input(format!("{}: the readings {message}", file.display())));
            }
            all.extend(&rows);
            progress.step("sorting", seen.readings, || file.display().to_string());
            Ok(())
        })?;
        (seen.unknown, seen.wild) = (left_out.unknown, left_out.wild);
        if !ordered {
            let rows = sorted(&all.finish());
            judge.judge(&rows, decided, progress)?;
        }
        judge.end(seen.last, decided)?;
        Ok(seen)
    }

    /// Whether readings stand in the order of time. By times alone nothing else is read of Parquet, whose columns have types, and those of
    /// unknown points count too.
    fn are_ordered(&self, task: &Task, progress: &mut Progress, by_times_alone: bool) -> Result<bool, Stop> {
        let (mut last, mut ordered, mut looked) = (Micros::MIN, true, 0);
        let mut look = |times: &[Micros], path: &Path| {
            looked += times.len() as u64;
            progress.step("looking at the order of", looked, || path.display().to_string());
            ordered &= times.first().is_none_or(|t| *t >= last) && times.is_sorted();
            last = times.last().copied().unwrap_or(last);
        };
        for file in &self.0 {
            let (path, kind) = file;
            if !by_times_alone || !matches!(kind, Kind::Parquet) {
                self.each_of(file, task, &mut LeftOut::default(), &mut |rows, path| {
                    look(&rows.time, path);
                    Ok(())
                })?;
                continue;
            }
            let mut before = 0;
            for batch in parquet(path, Some("time"))? {
                let batch = batch.map_err(|e| not_readable(path, &e))?;
                let place = Place { path, before };
                before += batch.num_rows();
                let said = place.column(&batch, "time")?;
                let times = times(&place, said)?;
                let wanted = |t: &Micros| task.times.contains(t) && (TIME_MIN..=TIME_MAX).contains(t);
                let times: Vec<Micros> = times
                    .as_primitive::<TimestampMicrosecondType>()
                    .iter()
                    .flatten()
                    .filter(wanted)
                    .collect();
                look(&times, path);
            }
        }
        Ok(ordered)
    }

    /// The readings around some episodes.
    pub fn curves(
        &self,
        task: &Task,
        wanted: Vec<Wanted>,
        progress: &mut Progress,
    ) -> Result<Vec<Curve>, Stop> {
        let mut curves: Vec<Curve> = wanted.into_iter().map(Curve::of).collect();
        if curves.is_empty() {
            return Ok(curves);
        }
        let mut of_point: AHashMap<i64, Vec<usize>> = AHashMap::new();
        for (i, curve) in curves.iter().enumerate() {
            of_point.entry(curve.wanted.point_id.0).or_default().push(i);
        }
        let mut looked = 0;
        self.each(task, &mut |rows, path| {
            looked += rows.len() as u64;
            progress.step("looking for curves in", looked, || path.display().to_string());
            for i in 0..rows.len() {
                let Some(which) = of_point.get(&rows.point[i]) else { continue };
                for &curve in which {
                    if (curves[curve].wanted.from..=curves[curve].wanted.to).contains(&rows.time[i]) {
                        curves[curve].push(rows.time[i], rows.value[i], rows.status[i]);
                    }
                }
            }
            Ok(())
        })?;
        curves.iter_mut().for_each(Curve::sort);
        Ok(curves)
    }

    /// Hands all readings of known points in the wanted times on; gives how many were left out.
    fn each(&self, task: &Task, take: &mut Take<'_>) -> Result<LeftOut, Stop> {
        let mut left_out = LeftOut::default();
        self.0.iter().try_for_each(|file| self.each_of(file, task, &mut left_out, take))?;
        Ok(left_out)
    }

    fn each_of(
        &self,
        (path, kind): &(PathBuf, Kind),
        task: &Task,
        left_out: &mut LeftOut,
        take: &mut Take<'_>,
    ) -> Result<(), Stop> {
        let follow = Follow::new(task.catalog.points().len());
        let mut ids = Ids { catalog: &task.catalog, follow, left_out };
        let mut take = |rows: ReadingsBuilder| {
            let rows = rows.finish();
            let times = &task.times;
            if rows.time.iter().all(|t| times.contains(t)) {
                return take(rows, path);
            }
            let mut within = ReadingsBuilder::default();
            (0..rows.len()).filter(|i| times.contains(&rows.time[*i])).for_each(|i| {
                let (point, time, value, status) = rows.row(i);
                within.push(point, time, value, status);
            });
            take(within.finish(), path)
        };
        match kind {
            Kind::Csv => read_csv(path, open(path)?, &mut ids, &mut take),
            Kind::Parquet => read_batches(path, parquet(path, None)?, &mut ids, &mut take),
            Kind::Arrow => {
                let reader = arrow::ipc::reader::StreamReader::try_new(BufReader::new(open(path)?), None);
                read_batches(path, reader.map_err(|e| not_readable(path, &e))?, &mut ids, &mut take)
            }
        }
    }
}

fn open(path: &Path) -> Result<File, Stop> {
    Ok(File::open(path).with_context(|| path.display().to_string())?)
}

/// Batches of a Parquet file, of all columns or of one.
fn parquet(path: &Path, column: Option<&str>) -> Result<ParquetRecordBatchReader, Stop> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(open(path)?).and_then(|builder| {
        let only = column.map(|name| ProjectionMask::columns(builder.parquet_schema(), [name]));
        let mask = only.unwrap_or_else(ProjectionMask::all);
        builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()
    });
    builder.map_err(|e| not_readable(path, &e))
}

type Take<'a> = dyn FnMut(Readings, &Path) -> Result<(), Stop> + 'a;

fn not_readable(path: &Path, e: &dyn std::fmt::Display) -> Stop {
    Stop::Input(format!("{}: {e}", path.display()))
}

/// In the order of time; equal times as they stood.
fn sorted(rows: &Readings) -> Readings {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_by_key(|i| rows.time[*i as usize]);
    let mut out = ReadingsBuilder::with_capacity(rows.len());
    for i in order {
        let (point, time, value, status) = rows.row(i as usize);
        out.push(point, time, value, status);
    }
    out.finish()
}

/// The versions at work.
struct Judge {
    paced: Vec<Paced>,
    out: Vec<Vec<Transition>>,
    judged: u64,
}

impl Judge {
    /// Readings of one time are one record.
    fn judge(&mut self, rows: &Readings, decided: Decided<'_>, progress: &mut Progress) -> Result<(), Stop> {
        let mut from = 0;
        for (number, group) in rows.time.chunk_by(|a, b| a == b).enumerate() {
            self.judged += group.len() as u64;
            if number % PROGRESS_GROUPS == 0 {
                progress.step("judged", self.judged, || rfc3339(group[0]));
            }
            let record = rows.slice(from, group.len());
            from += group.len();
            for (version, (paced, out)) in self.paced.iter_mut().zip(&mut self.out).enumerate() {
                paced.readings(group[0], &record, out);
                if !out.is_empty() {
                    decided(version, out)?;
                    out.clear();
                }
            }
        }
        Ok(())
    }

    /// Time passes up to the last reading.
    fn end(&mut self, last: Option<Micros>, decided: Decided<'_>) -> Result<(), Stop> {
        for (version, (paced, out)) in self.paced.iter_mut().zip(&mut self.out).enumerate() {
            if let Some(last) = last {
                paced.pass(last, out);
            }
            decided(version, out)?;
            out.clear();
        }
        Ok(())
    }
}

/// Ids of points by their names.
struct Ids<'a> {
    catalog: &'a Catalog,
    follow: Follow,
    left_out: &'a mut LeftOut,
}

/// Readings that are not judged.
#[derive(Default)]
struct LeftOut {
    /// Of points that are not in the catalog.
    unknown: u64,
    /// Of times that no clock has.
    wild: u64,
}

impl Ids<'_> {
    fn of(&mut self, site: &[u8], point: &[u8]) -> Option<PointId> {
        let found = self.follow.named(self.catalog, site, point).map(|ix| self.catalog.ids()[ix as usize]);
        self.left_out.unknown += u64::from(found.is_none());
        found
    }

    /// Whether a time can be judged: between it and the next one time passes tick by tick.
    fn takes(&mut self, time: Micros) -> bool {
        let takes = (TIME_MIN..=TIME_MAX).contains(&time);
        self.left_out.wild += u64::from(!takes);
        takes
    }
}

fn read_csv(
    path: &Path,
    file: File,
    ids: &mut Ids<'_>,
    take: &mut dyn FnMut(ReadingsBuilder) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut reader =
        csv::ReaderBuilder::new().buffer_capacity(1 << 18).trim(csv::Trim::All).from_reader(file);
    let header = reader.headers().map_err(|e| not_readable(path, &e))?.clone();
    let place = |name: &str| header.iter().position(|h| h.trim_start_matches('\u{feff}') == name);
    let needed = |name: &str| {
        let message = "the header must be `site,point,time,value,status`";
        place(name)
            .ok_or_else(|| Stop::Input(format!("{}:1:1: `{name}` is missing: {message}", path.display())))
    };
    let (site, point, time, value) = (needed("site")?, needed("point")?, needed("time")?, needed("value")?);
    let status = place("status");
    let mut rows = ReadingsBuilder::default();
    let mut row = csv::ByteRecord::new();
    while reader.read_byte_record(&mut row).map_err(|e| not_readable(path, &e))? {
        let Some(id) = ids.of(&row[site], &row[point]) else { continue };
        let line = || row.position().map_or(0, csv::Position::line);
        let wrong = |column: usize, what: &str| {
            let text = String::from_utf8_lossy(&row[column]);
            Stop::Input(format!("{}:{}:{}: `{text}` {what}", path.display(), line(), column + 1))
        };
        let text = |column: usize| std::str::from_utf8(&row[column]).unwrap_or("\u{fffd}");
        let at = model::time::parse(text(time)).map_err(|e| wrong(time, &e))?;
        let number = match text(value) {
            "" => f64::NAN,
            text => text.parse().map_err(|_| wrong(value, "is not a number"))?,
        };
        let bits = match status.map_or("", text) {
            "" => 0,
            text => text.parse().map_err(|_| wrong(status.unwrap_or(0), "is not a sum of status bits"))?,
        };
        if ids.takes(at) {
            rows.push(id, at, number, bits);
        }
        if rows.len() == BATCH_ROWS {
            take(std::mem::take(&mut rows))?;
        }
    }
    take(rows)
}

fn read_batches(
    path: &Path,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    ids: &mut Ids<'_>,
    take: &mut dyn FnMut(ReadingsBuilder) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut before = 0;
    for batch in batches {
        let batch = batch.map_err(|e| not_readable(path, &e))?;
        take(of_batch(&Place { path, before }, &batch, ids)?)?;
        before += batch.num_rows();
    }
    Ok(())
}

/// Where a batch stands: its file, and the rows before it.
struct Place<'a> {
    path: &'a Path,
    before: usize,
}

impl Place<'_> {
    fn column<'b>(&self, batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef, Stop> {
        let missing = || Stop::Input(format!("{}: column `{name}` is missing", self.path.display()));
        batch.column_by_name(name).ok_or_else(missing)
    }

    fn wrong(&self, row: usize, what: &str) -> Stop {
        Stop::Input(format!("{}: row {}: {what}", self.path.display(), self.before + row + 1))
    }
}

/// Rows of a batch with columns of these names, whatever their types, where they can be converted.
fn of_batch(place: &Place<'_>, batch: &RecordBatch, ids: &mut Ids<'_>) -> Result<ReadingsBuilder, Stop> {
    let needed = |name: &str| place.column(batch, name);
    let (site, point) = (
        of_type(place, needed("site")?, &DataType::Utf8)?,
        of_type(place, needed("point")?, &DataType::Utf8)?,
    );
    let (site, point) = (site.as_string::<i32>(), point.as_string::<i32>());
    let said = needed("time")?;
    let time = times(place, said)?;
    let time = time.as_primitive::<TimestampMicrosecondType>();
    let value = fitting(place, "value", needed("value")?, &DataType::Float64)?;
    let value = value.as_primitive::<Float64Type>();
    let status = batch.column_by_name("status");
    let status = status.map(|c| fitting(place, "status", c, &DataType::Int32)).transpose()?;
    let status = status.as_ref().map(|s| s.as_primitive::<Int32Type>());
    let mut rows = ReadingsBuilder::with_capacity(batch.num_rows());
    for i in 0..batch.num_rows() {
        let Some(id) = ids.of(site.value(i).as_bytes(), point.value(i).as_bytes()) else { continue };
        if said.is_null(i) {
            return Err(place.wrong(i, "a reading without a time"));
        }
        // One that does not fit into microseconds is no time of this world either.
        let at = if time.is_null(i) { Micros::MAX } else { time.value(i) };
        if !ids.takes(at) {
            continue;
        }
        let number = if value.is_null(i) { f64::NAN } else { value.value(i) };
        let bits = status.filter(|s| s.is_valid(i)).map_or(0, |s| s.value(i));
        rows.push(id, at, number, bits);
    }
    Ok(rows)
}

fn of_type(place: &Place<'_>, column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Stop> {
    cast(column, to).map_err(|e| not_readable(place.path, &e))
}

/// Times in microseconds; null where they do not fit. Text that is no time is refused.
fn times(place: &Place<'_>, column: &ArrayRef) -> Result<ArrayRef, Stop> {
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    match column.data_type() {
        // A number as a time is in milliseconds, as everywhere.
        DataType::Int64 => {
            let ms = of_type(place, column, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
            of_type(place, &ms, &micros(None))
        }
        // The numbers are of UTC with any zone and without one: only their unit may differ.
        DataType::Timestamp(_, zone) => of_type(place, column, &micros(zone.as_deref())),
        _ => fitting(place, "time", column, &micros(Some("UTC"))),
    }
}

/// A column as another type. What does not fit is refused: as null it would be a reading without a value, or a good status.
fn fitting(place: &Place<'_>, name: &str, column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Stop> {
    let fits = of_type(place, column, to)?;
    if fits.null_count() > column.logical_null_count() {
        let texts = of_type(place, column, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let lost = |i: &usize| fits.is_null(*i) && texts.is_valid(*i) && !texts.value(*i).trim().is_empty();
        if let Some(i) = (0..column.len()).find(lost) {
            return Err(place.wrong(i, &format!("`{}` does not fit into `{name}`", texts.value(i))));
        }
    }
    Ok(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_their_order() {
        let mut b = ReadingsBuilder::default();
        for (time, value) in [(5, 1.0), (3, 2.0), (5, 3.0), (3, 4.0)] {
            b.push(PointId(1), time, value, 0);
        }
        assert_eq!(sorted(&b.finish()).value[..], [2.0, 4.0, 1.0, 3.0]);
    }
}
