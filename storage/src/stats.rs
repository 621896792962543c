//! `stats_5min`: what the readings of a point were in five minutes, kept for years after the readings are gone.
//!
//! It is made from the table `readings` itself, in a round of maintenance: the rows from the offset that `stats_5min` stands at to
//! the one that `readings` stands at. Both are application transactions of the same name, and the new one is part of the
//! commit; so every stored reading counts once, whatever was killed when, and late ones count where they belong.
//!
//! What piled up is counted in portions, each with a commit of its own, so that a round which fails or is given up loses one.
//!
//! A portion makes one row for each point and five minutes it found readings of. Rows of one point and five minutes add up: SQL
//! shows their sum, compaction puts them together, and other readers of the table add them up themselves.
//!
//! What counts: `readings` and `status` (all bits that were set) are of all rows; `count`, `min`, `max`, `sum`, `first` and
//! `last` of those with a value that are neither bad nor simulated. `min_time` and `max_time` are the first such time. At equal
//! times the smaller value is the first.

use crate::columns::times;
use crate::delta::{Change, DeltaLog, FileMeta, Snapshot, Txn};
use crate::error::StorageError;
use crate::files::{DayWriters, Encoded, Making};
use crate::maintain::{LEVEL, Removed};
use crate::query::AbortOnDrop;
use crate::schema::Table;
use crate::storage::Inner;
use crate::view::View;
use crate::writer::readings_app;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, col, lit};
use futures::StreamExt;
use model::Micros;
use model::status::{BAD, SIMULATED};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The five minutes.
const WIDTH: Micros = 5 * model::time::MINUTE;
/// Files read side by side; each is open, with a page of every column in memory. A portion is about so many files.
const FILES_MAX: usize = 64;
/// Portions of one round: the next round goes on.
const PORTIONS_MAX: usize = 64;

/// A value and when it was.
type At = (f64, Micros);

/// The values that count.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Values {
    count: i64,
    sum: f64,
    min: At,
    max: At,
    first: At,
    last: At,
}

/// What is known of a point in five minutes, in part.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    time: Micros,
    readings: i64,
    status: i32,
    values: Option<Values>,
}

impl Part {
    fn of_reading(time: Micros, value: Option<f64>, status: i32) -> Self {
        let counts = value.filter(|_| status & (BAD | SIMULATED) == 0);
        let values = counts.map(|v| {
            let at = (v, time);
            Values { count: 1, sum: v, min: at, max: at, first: at, last: at }
        });
        Self { time: time.div_euclid(WIDTH) * WIDTH, readings: 1, status, values }
    }

    fn add(&mut self, other: &Self) {
        self.readings += other.readings;
        self.status |= other.status;
        self.values = match (self.values, other.values) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
    }
}

impl Values {
    fn and(self, other: Self) -> Self {
        let (a, b) = (self, other);
        Self {
            count: a.count + b.count,
            sum: a.sum + b.sum,
            min: if (b.min.0, b.min.1) < (a.min.0, a.min.1) { b.min } else { a.min },
            max: if (-b.max.0, b.max.1) < (-a.max.0, a.max.1) { b.max } else { a.max },
            first: if (b.first.1, b.first.0) < (a.first.1, a.first.0) { b.first } else { a.first },
            last: if (b.last.1, b.last.0) > (a.last.1, a.last.0) { b.last } else { a.last },
        }
    }
}

/// Adds up parts that come by site, point and time.
#[derive(Default)]
pub struct Folder {
    rows: Vec<Row>,
}

/// Site, point and a part.
type Row = (Arc<str>, Arc<str>, Part);

impl Folder {
    fn add(&mut self, site: &str, point: &str, part: Part) {
        let (site, point) = match self.rows.last_mut() {
            Some((s, p, last)) if **s == *site && **p == *point => {
                if last.time == part.time {
                    return last.add(&part);
                }
                (s.clone(), p.clone())
            }
            _ => (site.into(), point.into()),
        };
        self.rows.push((site, point, part));
    }

    /// Takes rows of `readings`: site, point, time, value, status.
    fn readings(&mut self, batch: &RecordBatch) {
        let (site, point) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
        let time = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let value = batch.column(3).as_primitive::<Float64Type>();
        let status = batch.column(4).as_primitive::<Int32Type>();
        for row in 0..batch.num_rows() {
            let known = value.is_valid(row).then(|| value.value(row));
            let part = Part::of_reading(time.value(row), known, status.value(row));
            self.add(site.value(row), point.value(row), part);
        }
    }

    /// Takes rows of `stats_5min`.
    pub fn parts(&mut self, batch: &RecordBatch) {
        let (site, point) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
        let time = |c: usize| batch.column(c).as_primitive::<TimestampMicrosecondType>();
        let whole = |c: usize| batch.column(c).as_primitive::<Int64Type>();
        let float = |c: usize| batch.column(c).as_primitive::<Float64Type>();
        let status = batch.column(14).as_primitive::<Int32Type>();
        for row in 0..batch.num_rows() {
            let at = |c: usize| (float(c).value(row), time(c + 1).value(row));
            let values = float(5).is_valid(row).then(|| Values {
                count: whole(4).value(row),
                min: at(5),
                max: at(7),
                sum: float(9).value(row),
                first: at(10),
                last: at(12),
            });
            let (readings, status) = (whole(3).value(row), status.value(row));
            self.add(
                site.value(row),
                point.value(row),
                Part { time: time(2).value(row), readings, status, values },
            );
        }
    }

    /// The rows that are whole: all but the last one, which may go on; with `all` that one too.
    pub fn take(&mut self, all: bool) -> RecordBatch {
        let keep = usize::from(!all).min(self.rows.len());
        let last = self.rows.split_off(self.rows.len() - keep);
        to_batch(&std::mem::replace(&mut self.rows, last))
    }
}

fn to_batch(rows: &[Row]) -> RecordBatch {
    let parts = || rows.iter().map(|(_, _, part)| part);
    let value = |of: fn(&Values) -> f64| -> ArrayRef {
        Arc::new(parts().map(|p| p.values.as_ref().map(of)).collect::<Float64Array>())
    };
    let time = |of: fn(&Values) -> Micros| times(parts().map(|p| p.values.as_ref().map(of)));
    let texts = |of: fn(&Row) -> &str| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(of)))
    };
    let columns: Vec<ArrayRef> = vec![
        texts(|r| &r.0),
        texts(|r| &r.1),
        times(parts().map(|p| Some(p.time))),
        Arc::new(Int64Array::from_iter_values(parts().map(|p| p.readings))),
        Arc::new(Int64Array::from_iter_values(parts().map(|p| p.values.map_or(0, |v| v.count)))),
        value(|v| v.min.0),
        time(|v| v.min.1),
        value(|v| v.max.0),
        time(|v| v.max.1),
        value(|v| v.sum),
        value(|v| v.first.0),
        time(|v| v.first.1),
        value(|v| v.last.0),
        time(|v| v.last.1),
        Arc::new(Int32Array::from_iter_values(parts().map(|p| p.status))),
    ];
    RecordBatch::try_new(Table::Stats.file_schema(), columns)
        .expect("the columns are those of the table's schema")
}

/// Offsets of one partition that are stored and not counted yet.
#[derive(Clone)]
struct New {
    partition: u32,
    before: Option<i64>,
    from: i64,
    to: i64,
}

/// What `readings` has and `stats_5min` has not counted.
fn news(readings: &DeltaLog, stats: &DeltaLog) -> Vec<New> {
    let partition = |app: &str| app.strip_prefix("firedamp.readings.")?.parse().ok();
    let ends: BTreeMap<u32, i64> =
        readings.txns().iter().filter_map(|(app, at)| Some((partition(app)?, *at))).collect();
    let new = ends.into_iter().map(|(partition, to)| {
        let before = stats.txn(&readings_app(partition));
        New { partition, before, from: before.unwrap_or(0), to }
    });
    new.filter(|n| n.from < n.to).collect()
}

/// The files that may hold new rows.
fn files_of(news: &[New], snapshot: &Snapshot, counted: &HashSet<String>) -> Vec<String> {
    let is_new = |f: &&Arc<FileMeta>| !counted.contains(&f.path) && news.iter().any(|n| n.may_be_in(f));
    snapshot.files.iter().filter(is_new).map(|f| f.path.clone()).collect()
}

/// The first of the news, as long as it takes fewer files to leave the later half of each partition out; and its files.
fn portion(all: &[New], snapshot: &Snapshot, counted: &HashSet<String>) -> (Vec<New>, Vec<String>) {
    let (mut news, mut files) = (all.to_vec(), files_of(all, snapshot, counted));
    while files.len() > FILES_MAX {
        let half = |n: &New| New { to: n.from + (n.to - n.from + 1) / 2, ..n.clone() };
        let halves: Vec<New> = news.iter().map(half).collect();
        let fewer = files_of(&halves, snapshot, counted);
        if fewer.len() == files.len() {
            break;
        }
        (news, files) = (halves, fewer);
    }
    (news, files)
}

impl New {
    fn filter(&self) -> Expr {
        let partition = col("partition").eq(lit(self.partition as i32));
        let number = |n: i64| lit(ScalarValue::Int64(Some(n)));
        partition.and(col("offset").gt_eq(number(self.from))).and(col("offset").lt(number(self.to)))
    }

    /// Whether the file may hold such rows.
    fn may_be_in(&self, file: &FileMeta) -> bool {
        let within = |column: &str, low: i64, high: i64| match file.range(Table::Readings, column) {
            Some((ScalarValue::Int32(Some(a)), ScalarValue::Int32(Some(b)))) => {
                i64::from(*a) <= high && i64::from(*b) >= low
            }
            Some((ScalarValue::Int64(Some(a)), ScalarValue::Int64(Some(b)))) => *a <= high && *b >= low,
            _ => true,
        };
        let partition = i64::from(self.partition);
        within("partition", partition, partition) && within("offset", self.from, self.to - 1)
    }
}

impl Inner {
    /// Counts what was stored since the last time, portion by portion. `removed` knows the files that hold nothing new.
    ///
    /// # Errors
    /// When the store does not answer; the portions before stay counted.
    pub async fn count_stats(&self, removed: &mut Removed) -> Result<(), StorageError> {
        for _ in 0..PORTIONS_MAX {
            if !self.count_portion(removed).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether it was counted and more is left.
    async fn count_portion(&self, removed: &mut Removed) -> Result<bool, StorageError> {
        let (all, snapshot) = {
            let mut writer = self.writer.lock().await;
            let snapshot = writer.log(Table::Readings).snapshot();
            (news(&writer.logs[Table::Readings as usize], &writer.logs[Table::Stats as usize]), snapshot)
        };
        if all.is_empty() {
            return Ok(false);
        }
        let (news, paths) = portion(&all, &snapshot, &removed.counted);
        let is_all = news.iter().zip(&all).all(|(n, all)| n.to == all.to);
        let filter = news.iter().map(New::filter).reduce(Expr::or).expect("there are some");
        let view = Arc::new(View::default().with(Table::Readings, snapshot.clone()));
        let mut change = Change { operation: "WRITE", data_change: true, ..Change::default() };
        let txn = |n: &New| Txn { app: readings_app(n.partition), before: n.before, after: n.to };
        change.txns = news.iter().map(txn).collect();
        let store = self.table_store(Table::Stats);
        for some in paths.chunks(FILES_MAX) {
            for Encoded { file, bytes } in self.fold(&view, some, filter.clone()).await? {
                store.put(&Path::from(file.path.as_str()), bytes.clone().into()).await?;
                self.metrics.written_bytes.inc_by(bytes.len() as u64);
                change.add.push(file);
            }
        }
        let counted = self.commit_maintenance(Table::Stats, change, removed).await?;
        if counted && is_all {
            removed.counted = snapshot.files.iter().map(|f| f.path.clone()).collect();
        }
        Ok(counted && !is_all)
    }

    async fn fold(
        &self,
        view: &Arc<View>,
        paths: &[String],
        filter: Expr,
    ) -> Result<Vec<Encoded>, StorageError> {
        let making = Making {
            zone_offset_s: self.options.zone_offset_s,
            file_rows_max: self.options.file_rows_max,
            level: LEVEL,
            unique: self.writer.lock().await.unique(),
        };
        let columns = ["site", "point", "time", "value", "status"];
        let mut rows = self.engine.merge(view, Table::Readings, paths, &columns, Some(filter)).await?;
        let work = self.engine.handle().spawn(async move {
            let mut writers = DayWriters::new(Table::Stats, making);
            let mut folder = Folder::default();
            while let Some(batch) = rows.next().await {
                folder.readings(&batch?);
                writers.write(&folder.take(false));
            }
            writers.write(&folder.take(true));
            Ok::<_, StorageError>(writers.finish())
        });
        AbortOnDrop(work)
            .await
            .map_err(|e| StorageError::Read(format!("counting five minutes failed: {e}")))?
    }
}
