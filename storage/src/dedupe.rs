//! Which readings are there already.
//!
//! A **duplicate** is a reading with the source, point, device time and value of one that stands before it in the log. So
//! the decision depends on the log alone: made again after a crash, it is the same. Nearly every reading is newer than all
//! of its point, which [`Newest`] knows, and needs no look-up. The others (late, repeated, of a wrong clock, or the first
//! after a start) are *suspects*: they wait unseen and are looked up together in the files of their days and in the tail,
//! before a flush or a query, whichever comes first.
//!
//! Where rows of the record are in the table already (a crash came between the commits of two tables), all of them are
//! suspects again; only rows of the table with a smaller offset count as standing before, and the account of the record
//! comes out as it would have.

use crate::error::StorageError;
use crate::names::Names;
use crate::query::Engine;
use crate::schema::{Table, local_day};
use crate::tail::{Chunk, Generation, Open, Suspect};
use crate::view::View;
use ahash::{AHashMap, AHashSet};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, col, lit};
use futures::StreamExt;
use model::Micros;
use model::status::{FUTURE, NO_DEVICE_TIME};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Future times remembered one by one; beyond it a point's newest time is raised instead, which costs look-ups.
const FUTURES_MAX: usize = 1 << 20;
/// Sites named in a look-up; beyond it all sites of the time are read.
const SITES_MAX: usize = 100;

/// The newest time of each point in table and tail, or one not below it.
#[derive(Debug)]
pub struct Newest {
    high: Vec<Micros>,
    floor: Micros,
    /// Times ahead of their receive time: they would make every later reading of their point a suspect.
    futures: AHashSet<(u32, Micros)>,
    /// The latest of them by point.
    last_future: AHashMap<u32, Micros>,
}

impl Newest {
    /// Nothing stored is newer than `floor`, but for what [`Newest::note_future`] is told.
    pub fn new(points: usize, floor: Micros) -> Self {
        Self { high: vec![floor; points], floor, futures: AHashSet::new(), last_future: AHashMap::new() }
    }

    /// Whether no row before can have this point and time; then it is noted.
    pub fn is_new(&mut self, dense: u32, time: Micros, status: i32) -> bool {
        if status & FUTURE != 0 {
            let new = time > self.high[dense as usize]
                && self.last_future.get(&dense).is_none_or(|last| time > *last);
            self.note_future(dense, time);
            return new;
        }
        let high = &mut self.high[dense as usize];
        if time <= *high || (!self.futures.is_empty() && self.futures.contains(&(dense, time))) {
            return false;
        }
        *high = time;
        true
    }

    /// Notes a stored time far ahead.
    pub fn note_future(&mut self, dense: u32, time: Micros) {
        if self.futures.len() < FUTURES_MAX {
            self.futures.insert((dense, time));
            let last = self.last_future.entry(dense).or_insert(time);
            *last = time.max(*last);
        } else {
            let high = &mut self.high[dense as usize];
            *high = time.max(*high);
        }
    }

    /// Another writer may have stored readings up to this time.
    pub fn raise(&mut self, floor: Micros) {
        self.floor = self.floor.max(floor);
        for high in &mut self.high {
            *high = (*high).max(floor);
        }
    }

    /// Takes over the future times of another.
    pub fn note_futures_of(&mut self, other: &Newest) {
        for (dense, time) in &other.futures {
            self.note_future(*dense, *time);
        }
    }

    /// The floor.
    pub fn floor(&self) -> Micros {
        self.floor
    }

    /// Goes over to new names.
    pub fn rename(&mut self, old: &Names, new: &Names) {
        let at = |dense: u32| new.ix(old.id(dense)).expect("new names know every point of the old ones");
        let mut high = vec![self.floor; new.len()];
        for (dense, time) in self.high.iter().enumerate() {
            high[at(dense as u32) as usize] = *time;
        }
        self.high = high;
        self.futures = self.futures.drain().map(|(dense, time)| (at(dense), time)).collect();
        self.last_future = self.last_future.drain().map(|(dense, time)| (at(dense), time)).collect();
    }
}

/// What suspects are compared with.
pub struct Before {
    /// Files.
    pub view: Arc<View>,
    /// Sealed rows.
    pub chunks: Vec<Arc<Chunk>>,
    /// Open rows.
    pub open: Vec<Open>,
    /// Zone of the days.
    pub zone_offset_s: i32,
}

/// A suspect, with where it came from.
pub struct Asked {
    /// The reading.
    pub suspect: Suspect,
    /// Who sent it.
    pub source: Arc<str>,
    /// Offset of its record.
    pub offset: u64,
}

/// Suspects of one generation.
pub struct Question {
    /// In the order of the log within a partition.
    pub asked: Vec<Asked>,
    /// Names that they point into.
    pub names: Arc<Names>,
}

impl Question {
    /// All suspects of a generation.
    pub fn of(generation: &Generation) -> Self {
        let asked = |suspect: &Suspect| {
            let arrival = &generation.arrivals[suspect.arrival as usize];
            Asked { suspect: suspect.clone(), source: arrival.source.clone(), offset: arrival.offset }
        };
        Self { asked: generation.suspects.iter().map(asked).collect(), names: generation.open.names.clone() }
    }
}

struct Decider<'a> {
    question: &'a Question,
    by_key: AHashMap<(u32, Micros), Vec<u32>>,
    duplicate: Vec<bool>,
}

/// Decides which suspects are duplicates.
///
/// # Errors
/// When the files cannot be read; nothing has changed then.
pub async fn decide(
    question: &Question,
    before: &Before,
    engine: &Engine,
) -> Result<Vec<bool>, StorageError> {
    let mut decider =
        Decider { question, by_key: AHashMap::new(), duplicate: vec![false; question.asked.len()] };
    for (at, asked) in question.asked.iter().enumerate() {
        decider.by_key.entry((asked.suspect.dense, asked.suspect.time)).or_default().push(at as u32);
    }
    for chunk in &before.chunks {
        decider.look_in_chunk(chunk);
    }
    for open in &before.open {
        decider.look_in_open(open);
    }
    decider.look_in_files(before, engine).await?;
    decider.look_among_themselves();
    Ok(decider.duplicate)
}

/// A row that stands in the table or the tail.
struct Known<'a> {
    value: f64,
    status: i32,
    source: &'a str,
    /// Of a row in a file. A row in the tail always stands before: it was newer than all when it came, or was decided
    /// before.
    offset: Option<u64>,
}

fn same_value(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
}

impl Decider<'_> {
    fn compare(&mut self, key: (u32, Micros), known: &Known<'_>) {
        if known.status & NO_DEVICE_TIME != 0 {
            return;
        }
        let Some(suspects) = self.by_key.get(&key) else { return };
        for at in suspects {
            let asked = &self.question.asked[*at as usize];
            let same = same_value(known.value, asked.suspect.value)
                && known.offset.is_none_or(|o| o < asked.offset)
                && *known.source == *asked.source;
            self.duplicate[*at as usize] |= same;
        }
    }

    fn look_in_chunk(&mut self, chunk: &Chunk) {
        let (first, last) = chunk.times();
        let same_names = Arc::ptr_eq(&chunk.names, &self.question.names);
        let keys: Vec<(u32, Micros)> =
            self.by_key.keys().filter(|(_, time)| (first..=last).contains(time)).copied().collect();
        for (dense, time) in keys {
            let there = if same_names { Some(dense) } else { chunk.names.ix(self.question.names.id(dense)) };
            let Some(there) = there else { continue };
            let rows = chunk.rows_of_point(there);
            let start = rows.start + binary_search(rows.len(), |i| chunk.time(rows.start + i) < time);
            for row in (start..rows.end).take_while(|row| chunk.time(*row) == time) {
                let origin = chunk.origin(row);
                let (value, status) = (chunk.value(row), chunk.status(row));
                self.compare((dense, time), &Known { value, status, source: &origin.source, offset: None });
            }
        }
    }

    fn look_in_open(&mut self, open: &Open) {
        let same_names = Arc::ptr_eq(&open.names, &self.question.names);
        for segment in &open.segments {
            for (row, dense) in segment.dense.iter().enumerate() {
                let here =
                    if same_names { Some(*dense) } else { self.question.names.ix(open.names.id(*dense)) };
                let Some(here) = here else { continue };
                let key = (here, segment.rows.time[row]);
                if self.by_key.contains_key(&key) {
                    let (value, status) = (segment.rows.value[row], segment.rows.status[row]);
                    self.compare(key, &Known { value, status, source: &segment.source, offset: None });
                }
            }
        }
    }

    async fn look_in_files(&mut self, before: &Before, engine: &Engine) -> Result<(), StorageError> {
        for filter in self.filters(before.zone_offset_s) {
            let columns = ["site", "point", "time", "value", "status", "source", "offset"];
            let mut rows = engine.scan(&before.view, Table::Readings, &columns, filter).await?;
            while let Some(batch) = rows.next().await {
                self.look_in_batch(&batch?);
            }
        }
        Ok(())
    }

    /// What to read: for each local day that suspects stand in, their times and, where they are few, their sites.
    fn filters(&self, zone_offset_s: i32) -> Vec<Expr> {
        let mut days: BTreeMap<i32, (Micros, Micros, AHashSet<u32>)> = BTreeMap::new();
        for Asked { suspect, .. } in &self.question.asked {
            let site = self.question.names.site_of(suspect.dense);
            let time = suspect.time;
            let day = days.entry(local_day(time, zone_offset_s)).or_insert((time, time, AHashSet::new()));
            day.0 = day.0.min(time);
            day.1 = day.1.max(time);
            day.2.insert(site);
        }
        let at = |t: Micros| lit(ScalarValue::TimestampMicrosecond(Some(t), Some("UTC".into())));
        days.into_values()
            .map(|(first, last, sites)| {
                let during = col("time").between(at(first), at(last));
                if sites.len() > SITES_MAX {
                    return during;
                }
                let site = |s: u32| lit(ScalarValue::Utf8View(Some(self.question.names.site(s).to_owned())));
                during.and(col("site").in_list(sites.into_iter().map(site).collect(), false))
            })
            .collect()
    }

    fn look_in_batch(&mut self, batch: &RecordBatch) {
        let text = |i: usize| batch.column(i).as_string_view();
        let (site, point, source) = (text(0), text(1), text(5));
        let time = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let value = batch.column(3).as_primitive::<Float64Type>();
        let status = batch.column(4).as_primitive::<Int32Type>();
        let offset = batch.column(6).as_primitive::<Int64Type>();
        let names = self.question.names.clone();
        // Rows of a file stand by site and point: neighbours are mostly of one point.
        let mut last: (&str, &str, Option<u32>) = ("", "", None);
        for row in 0..batch.num_rows() {
            let (s, p) = (site.value(row), point.value(row));
            if (last.0, last.1) != (s, p) || row == 0 {
                last = (s, p, names.site_ix(s).and_then(|s| names.find(s, p)));
            }
            let Some(dense) = last.2 else { continue };
            let value = if value.is_null(row) { f64::NAN } else { value.value(row) };
            let known = Known {
                value,
                status: status.value(row),
                source: source.value(row),
                offset: Some(offset.value(row) as u64),
            };
            self.compare((dense, time.value(row)), &known);
        }
    }

    /// Of equal suspects the first is stored, unless all are duplicates.
    fn look_among_themselves(&mut self) {
        for at in self.by_key.values().filter(|at| at.len() > 1) {
            for (i, later) in at.iter().enumerate().skip(1) {
                let asked = &self.question.asked[*later as usize];
                let same = at[..i].iter().any(|earlier| {
                    let earlier = &self.question.asked[*earlier as usize];
                    same_value(earlier.suspect.value, asked.suspect.value) && earlier.source == asked.source
                });
                self.duplicate[*later as usize] |= same;
            }
        }
    }
}

/// First `i` of `0..n` for which `before` is false.
fn binary_search(n: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
