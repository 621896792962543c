//! Readings from files: CSV with the columns `site,point,time,value,status`, Parquet and Arrow with the same. Judged in the order of
//! their times, each as if it had come when it was measured.
//!
//! A first pass looks whether the readings stand in order. Where they do they are judged as they are read; where not (an export
//! sensor by sensor) they are sorted in memory, up to [`SORTED_MAX`].

use super::curves::{Curve, Wanted};
use super::{Decided, Progress, Seen, Stop, Task};
use ahash::AHashMap;
use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimeUnit, TimestampMicrosecondType};
use model::time::{Micros, rfc3339};
use model::{Catalog, PointId, Readings, ReadingsBuilder, Transition};
use rules::Paced;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows handed on at once.
const BATCH_ROWS: usize = 1 << 16;
/// Most readings that are sorted in memory: 1.8 GB.
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
        let (mut last, mut ordered) = (Micros::MIN, true);
        self.each(task, &mut |rows, _| {
            ordered &= rows.time.first().is_none_or(|t| *t >= last) && rows.time.is_sorted();
            last = rows.time.last().copied().unwrap_or(last);
            Ok(())
        })?;
        let catalog = Arc::new(task.catalog.clone());
        let programs = task.programs(&catalog);
        let mut judge = Judge {
            out: programs.iter().map(|_| Vec::new()).collect(),
            paced: programs.into_iter().map(|p| Paced::new(p, catalog.clone(), "backtest")).collect(),
        };
        let mut seen = Seen::default();
        let mut all = ReadingsBuilder::default();
        let unknown = self.each(task, &mut |rows, file| {
            seen.readings += rows.len() as u64;
            seen.times(&rows.time);
            if ordered {
                progress.step(seen.readings, || rows.time.last().map(|t| rfc3339(*t)).unwrap_or_default());
                return judge.judge(&rows, decided);
            }
            if all.len() + rows.len() > SORTED_MAX {
                let message =
                    "are not in the order of time, and too many to be sorted here; sort them by time";
                return Err(Stop::Input(format!("{}: the readings {message}", file.display())));
            }
            all.extend(&rows);
            Ok(())
        })?;
        seen.unknown = unknown;
        if !ordered {
            judge.judge(&sorted(&all.finish()), decided)?;
        }
        judge.end(seen.last, decided)?;
        Ok(seen)
    }

    /// The readings around some episodes.
    pub fn curves(&self, task: &Task, wanted: Vec<Wanted>) -> Result<Vec<Curve>, Stop> {
        let mut curves: Vec<Curve> = wanted.into_iter().map(Curve::of).collect();
        if curves.is_empty() {
            return Ok(curves);
        }
        let mut of_point: AHashMap<i64, Vec<usize>> = AHashMap::new();
        for (i, curve) in curves.iter().enumerate() {
            of_point.entry(curve.wanted.point_id.0).or_default().push(i);
        }
        self.each(task, &mut |rows, _| {
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

    /// Hands all readings of known points in the wanted times on; gives how many had unknown points.
    fn each(&self, task: &Task, take: &mut Take<'_>) -> Result<u64, Stop> {
        let mut unknown = 0;
        for (path, kind) in &self.0 {
            let mut ids = Ids { catalog: &task.catalog, known: AHashMap::new(), unknown: 0 };
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
            let file = File::open(path).with_context(|| path.display().to_string())?;
            match kind {
                Kind::Csv => read_csv(path, file, &mut ids, &mut take)?,
                Kind::Parquet => {
                    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
                        .and_then(|b| b.with_batch_size(BATCH_ROWS).build());
                    let reader = reader.map_err(|e| not_readable(path, &e))?;
                    for batch in reader {
                        take(of_batch(path, &batch.map_err(|e| not_readable(path, &e))?, &mut ids)?)?;
                    }
                }
                Kind::Arrow => {
                    let file = BufReader::new(file);
                    let reader = arrow::ipc::reader::StreamReader::try_new(file, None);
                    for batch in reader.map_err(|e| not_readable(path, &e))? {
                        take(of_batch(path, &batch.map_err(|e| not_readable(path, &e))?, &mut ids)?)?;
                    }
                }
            }
            unknown += ids.unknown;
        }
        Ok(unknown)
    }
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
}

impl Judge {
    /// Readings of one time are one record.
    fn judge(&mut self, rows: &Readings, decided: Decided<'_>) -> Result<(), Stop> {
        let mut from = 0;
        for group in rows.time.chunk_by(|a, b| a == b) {
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
    known: AHashMap<Vec<u8>, Option<PointId>>,
    unknown: u64,
}

impl Ids<'_> {
    fn of(&mut self, site: &[u8], point: &[u8]) -> Option<PointId> {
        let key = [site, &[0], point].concat();
        let catalog = self.catalog;
        let found = *self.known.entry(key).or_insert_with(|| {
            let (site, point) = (std::str::from_utf8(site).ok()?, std::str::from_utf8(point).ok()?);
            catalog.find(site, point).map(|ix| catalog.ids()[ix as usize])
        });
        self.unknown += u64::from(found.is_none());
        found
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
        rows.push(id, at, number, bits);
        if rows.len() == BATCH_ROWS {
            take(std::mem::take(&mut rows))?;
        }
    }
    take(rows)
}

/// Rows of a batch with columns of these names, whatever their types, where they can be converted.
fn of_batch(path: &Path, batch: &RecordBatch, ids: &mut Ids<'_>) -> Result<ReadingsBuilder, Stop> {
    let column = |name: &str, to: &DataType| match batch.column_by_name(name) {
        None => Err(Stop::Input(format!("{}: column `{name}` is missing", path.display()))),
        // A number as a time is in milliseconds, as everywhere.
        Some(c) if name == "time" && c.data_type() == &DataType::Int64 => {
            let ms = DataType::Timestamp(TimeUnit::Millisecond, None);
            cast(c, &ms).and_then(|c| cast(&c, to)).map_err(|e| not_readable(path, &e))
        }
        Some(c) => cast(c, to).map_err(|e| not_readable(path, &e)),
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let (site, point) = (column("site", &DataType::Utf8)?, column("point", &DataType::Utf8)?);
    let (site, point) = (site.as_string::<i32>(), point.as_string::<i32>());
    let time = column("time", &micros)?;
    let time = time.as_primitive::<TimestampMicrosecondType>();
    let value = column("value", &DataType::Float64)?;
    let value = value.as_primitive::<Float64Type>();
    let status = match batch.column_by_name("status") {
        Some(_) => Some(column("status", &DataType::Int32)?),
        None => None,
    };
    let status = status.as_ref().map(|s| s.as_primitive::<Int32Type>());
    let mut rows = ReadingsBuilder::with_capacity(batch.num_rows());
    for i in 0..batch.num_rows() {
        let Some(id) = ids.of(site.value(i).as_bytes(), point.value(i).as_bytes()) else { continue };
        if time.is_null(i) {
            return Err(Stop::Input(format!("{}: a reading without a time", path.display())));
        }
        let number = if value.is_null(i) { f64::NAN } else { value.value(i) };
        let bits = status.filter(|s| s.is_valid(i)).map_or(0, |s| s.value(i));
        rows.push(id, time.value(i), number, bits);
    }
    Ok(rows)
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
