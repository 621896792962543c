//! Sealed rows of the tail, sorted by site, point, time and packed: where rows are sorted by site a directory says which
//! are whose, a point is its place within its site (2 bytes), a time is its distance from the earliest (4), a value is a
//! decimal number where every value of the chunk is one exactly (4, else 8), a status word is left out where all are 0
//! (0 to 4), and the place in which the row came (2) leads to its run: 12 bytes a reading of ordinary sensors.

use super::open::{Numbers, Open};
use crate::names::Names;
use model::Micros;
use model::status::MISSING;
use std::ops::Range;
use std::sync::Arc;

/// Where rows of a run came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// First place of the run, in the order the rows came.
    first: u16,
    /// Who sent them.
    pub source: Arc<str>,
    /// Partition of the record.
    pub partition: u32,
    /// Offset of the record.
    pub offset: u64,
    /// Numbers of the rows in the record, in the order they came.
    numbers: Numbers,
}

/// Sealed rows. See the module.
#[derive(Debug)]
pub struct Chunk {
    /// Names that sites and points point into.
    pub names: Arc<Names>,
    sites: Vec<(u32, u32)>,
    point: Points,
    base: Micros,
    time: Times,
    value: Values,
    status: Statuses,
    came: Vec<u16>,
    origins: Vec<Origin>,
    /// For every 256th place the run that it is in: where a search begins.
    jumps: Vec<u16>,
    latest: Micros,
}

#[derive(Debug)]
enum Points {
    InSite(Vec<u16>),
    /// A site of more than 65,536 points.
    Wide(Vec<u32>),
}

#[derive(Debug)]
enum Times {
    /// Units of so many microseconds after the base.
    After(Micros, Vec<u32>),
    Full(Vec<Micros>),
}

#[derive(Debug)]
enum Values {
    /// Whole numbers over a power of ten; `i32::MIN` is a missing value.
    Decimal(f64, Vec<i32>),
    Float(Vec<f64>),
}

#[derive(Debug)]
enum Statuses {
    Zero,
    Short(Vec<u16>),
    Full(Vec<i32>),
}

/// Largest power of ten tried for decimal values.
const DECIMALS_MAX: i32 = 6;
const NO_VALUE: i32 = i32::MIN;

impl Chunk {
    /// Seals the open rows; `None` when there is none.
    pub fn seal(open: &Open) -> Option<Self> {
        let rows = open.rows();
        debug_assert!(rows <= super::SEAL_ROWS);
        let (base, latest) = open.times()?;
        let mut keys = Vec::with_capacity(rows);
        let mut origins = Vec::with_capacity(open.segments.len());
        let mut flat = Flat::with_capacity(rows);
        for segment in &open.segments {
            let first = keys.len() as u16;
            origins.push(Origin {
                first,
                source: segment.source.clone(),
                partition: segment.partition,
                offset: segment.offset,
                numbers: segment.numbers.clone(),
            });
            keys.extend(
                segment.dense.iter().zip(keys.len() as u64..).map(|(d, came)| u64::from(*d) << 16 | came),
            );
            flat.extend(segment);
        }
        // Batches of one source come in the same order of points again and again: runs that a merge sort uses.
        keys.sort();
        order_by_time(&mut keys, &flat.time);
        let came: Vec<u16> = keys.iter().map(|k| *k as u16).collect();
        let dense = |row: usize| (keys[row] >> 16) as u32;
        let mut sites: Vec<(u32, u32)> = Vec::new();
        for row in 0..rows {
            let site = open.names.site_of(dense(row));
            if sites.last().is_none_or(|(last, _)| *last != site) {
                sites.push((site, row as u32));
            }
        }
        Some(Self {
            point: Points::pack(&open.names, rows, dense),
            time: Times::pack(base, latest, &came, &flat.time),
            value: Values::pack(&came, &flat.value),
            status: Statuses::pack(&came, &flat.status),
            names: open.names.clone(),
            sites,
            base,
            came,
            jumps: jumps(&origins, rows),
            origins,
            latest,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.came.len()
    }

    /// Memory.
    pub fn bytes(&self) -> usize {
        let point = match &self.point {
            Points::InSite(v) => v.len() * 2,
            Points::Wide(v) => v.len() * 4,
        };
        let time = match &self.time {
            Times::After(_, v) => v.len() * 4,
            Times::Full(v) => v.len() * 8,
        };
        let value = match &self.value {
            Values::Decimal(_, v) => v.len() * 4,
            Values::Float(v) => v.len() * 8,
        };
        let status = match &self.status {
            Statuses::Zero => 0,
            Statuses::Short(v) => v.len() * 2,
            Statuses::Full(v) => v.len() * 4,
        };
        let own = size_of::<Self>()
            + self.sites.len() * 8
            + self.jumps.len() * 2
            + self.origins.iter().map(|o| size_of::<Origin>() + o.numbers.bytes()).sum::<usize>();
        point + time + value + status + self.came.len() * 2 + own
    }

    /// Earliest and latest time.
    pub fn times(&self) -> (Micros, Micros) {
        (self.base, self.latest)
    }

    /// Sites with their rows, in order.
    pub fn sites(&self) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
        let ends = self.sites.iter().skip(1).map(|(_, start)| *start as usize).chain([self.rows()]);
        self.sites.iter().zip(ends).map(|((site, start), end)| (*site, *start as usize..end))
    }

    /// Rows of a site.
    pub fn rows_of_site(&self, site: u32) -> Range<usize> {
        let Ok(at) = self.sites.binary_search_by_key(&site, |(s, _)| *s) else { return 0..0 };
        let end = self.sites.get(at + 1).map_or(self.rows(), |(_, start)| *start as usize);
        self.sites[at].1 as usize..end
    }

    /// Rows of a point, by its dense index in [`Chunk::names`]; their times ascend.
    pub fn rows_of_point(&self, dense: u32) -> Range<usize> {
        let site = self.rows_of_site(self.names.site_of(dense));
        let start = site.start + partition_point(site.len(), |i| self.dense(site.start + i) < dense);
        let end = start + partition_point(site.end - start, |i| self.dense(start + i) == dense);
        start..end
    }

    /// Dense index of the point of a row.
    pub fn dense(&self, row: usize) -> u32 {
        match &self.point {
            Points::Wide(v) => v[row],
            Points::InSite(v) => {
                let at = self.sites.partition_point(|(_, start)| *start as usize <= row) - 1;
                self.names.points_of(self.sites[at].0).start + u32::from(v[row])
            }
        }
    }

    /// Dense index of the point of a row whose site's first point is known.
    pub fn dense_in(&self, site_first: u32, row: usize) -> u32 {
        match &self.point {
            Points::Wide(v) => v[row],
            Points::InSite(v) => site_first + u32::from(v[row]),
        }
    }

    /// Event time of a row.
    pub fn time(&self, row: usize) -> Micros {
        match &self.time {
            Times::After(unit, v) => self.base + Micros::from(v[row]) * unit,
            Times::Full(v) => v[row],
        }
    }

    /// Value of a row; NaN where missing.
    pub fn value(&self, row: usize) -> f64 {
        match &self.value {
            Values::Decimal(_, v) if v[row] == NO_VALUE => f64::NAN,
            Values::Decimal(over, v) => f64::from(v[row]) / over,
            Values::Float(v) => v[row],
        }
    }

    /// Status word of a row.
    pub fn status(&self, row: usize) -> i32 {
        match &self.status {
            Statuses::Zero => 0,
            Statuses::Short(v) => i32::from(v[row]),
            Statuses::Full(v) => v[row],
        }
    }

    /// Run of a row.
    pub fn origin(&self, row: usize) -> &Origin {
        let came = self.came[row];
        let mut at = usize::from(self.jumps[usize::from(came >> 8)]);
        while self.origins.get(at + 1).is_some_and(|next| next.first <= came) {
            at += 1;
        }
        &self.origins[at]
    }

    /// Number of a row in its record; `origin` is its run.
    pub fn number(&self, row: usize, origin: &Origin) -> u32 {
        origin.numbers.at(usize::from(self.came[row] - origin.first))
    }
}

fn jumps(origins: &[Origin], rows: usize) -> Vec<u16> {
    let last_at = |place: usize| origins.partition_point(|o| usize::from(o.first) <= place) - 1;
    (0..rows).step_by(256).map(|place| last_at(place) as u16).collect()
}

/// First `i` of `0..n` for which `before` is false.
fn partition_point(n: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Rows of one point came in the order of the log; most are in the order of time already.
fn order_by_time(keys: &mut [u64], time: &[Micros]) {
    let at = |key: u64| time[(key & 0xffff) as usize];
    let mut start = 0;
    while start < keys.len() {
        let point = keys[start] >> 16;
        let len = keys[start..].iter().take_while(|k| **k >> 16 == point).count();
        let run = &mut keys[start..start + len];
        if !run.is_sorted_by_key(|k| at(*k)) {
            run.sort_by_key(|k| at(*k));
        }
        start += len;
    }
}

struct Flat {
    time: Vec<Micros>,
    value: Vec<f64>,
    status: Vec<i32>,
}

impl Flat {
    fn with_capacity(n: usize) -> Self {
        Self { time: Vec::with_capacity(n), value: Vec::with_capacity(n), status: Vec::with_capacity(n) }
    }

    fn extend(&mut self, segment: &super::Segment) {
        self.time.extend_from_slice(&segment.rows.time);
        self.value.extend_from_slice(&segment.rows.value);
        self.status.extend_from_slice(&segment.rows.status);
    }
}

impl Points {
    fn pack(names: &Names, rows: usize, dense: impl Fn(usize) -> u32) -> Self {
        let in_site = |row| {
            let d = dense(row);
            u16::try_from(d - names.points_of(names.site_of(d)).start).ok()
        };
        match (0..rows).map(in_site).collect() {
            Some(packed) => Self::InSite(packed),
            None => Self::Wide((0..rows).map(dense).collect()),
        }
    }
}

impl Times {
    fn pack(base: Micros, latest: Micros, came: &[u16], time: &[Micros]) -> Self {
        let whole_ms = || time.iter().all(|t| (t - base) % 1000 == 0);
        let unit = match latest.checked_sub(base) {
            Some(span) if span <= Micros::from(u32::MAX) => 1,
            Some(span) if span / 1000 <= Micros::from(u32::MAX) && whole_ms() => 1000,
            _ => return Self::Full(came.iter().map(|c| time[usize::from(*c)]).collect()),
        };
        Self::After(unit, came.iter().map(|c| ((time[usize::from(*c)] - base) / unit) as u32).collect())
    }
}

impl Values {
    fn pack(came: &[u16], value: &[f64]) -> Self {
        let Some(decimals) = decimals(value) else {
            return Self::Float(came.iter().map(|c| value[usize::from(*c)]).collect());
        };
        let over = 10f64.powi(decimals);
        let whole = |v: f64| if v.is_nan() { NO_VALUE } else { (v * over).round() as i32 };
        Self::Decimal(over, came.iter().map(|c| whole(value[usize::from(*c)])).collect())
    }
}

/// The least number of decimals with which every value is given back to the bit. A whole number divided by a power of ten
/// is rounded correctly, so what was written as `0.37` is `37 / 100` exactly.
fn decimals(values: &[f64]) -> Option<i32> {
    let fits = |v: f64, over: f64| {
        let whole = (v * over).round();
        // By way of i32, which has no negative zero.
        whole.abs() < f64::from(i32::MAX) && (f64::from(whole as i32) / over).to_bits() == v.to_bits()
    };
    let mut decimals = 0;
    let mut over = 1.0;
    for v in values.iter().copied().filter(|v| !v.is_nan()) {
        while !fits(v, over) {
            decimals += 1;
            if decimals > DECIMALS_MAX {
                return None;
            }
            over = 10f64.powi(decimals);
        }
    }
    // A value that fitted with fewer decimals may be too large with more.
    values.iter().all(|v| v.is_nan() || fits(*v, over)).then_some(decimals)
}

impl Statuses {
    fn pack(came: &[u16], status: &[i32]) -> Self {
        if status.iter().all(|s| *s == 0) {
            return Self::Zero;
        }
        let short = |c: &u16| u16::try_from(status[usize::from(*c)]).ok();
        match came.iter().map(short).collect() {
            Some(packed) => Self::Short(packed),
            None => Self::Full(came.iter().map(|c| status[usize::from(*c)]).collect()),
        }
    }
}

const _: () = assert!(MISSING <= u16::MAX as i32, "status words of ordinary readings are packed in 16 bits");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::catalog;
    use crate::tail::{Open, Segment};
    use model::ReadingsBuilder;
    use proptest::prelude::*;

    fn names() -> Arc<Names> {
        let points: Vec<(String, String)> =
            (0..5).flat_map(|s| (0..4).map(move |p| (format!("s{s}"), format!("p{p}")))).collect();
        let points: Vec<(&str, &str)> = points.iter().map(|(s, p)| (s.as_str(), p.as_str())).collect();
        Arc::new(Names::build(&catalog(&points), &Names::default()))
    }

    type Row = (u32, i64, f64, i32);

    fn open(runs: &[Vec<Row>]) -> Open {
        let mut open = Open::new(names());
        for (offset, run) in runs.iter().enumerate().filter(|(_, run)| !run.is_empty()) {
            let mut rows = ReadingsBuilder::default();
            for (dense, time, value, status) in run {
                rows.push(model::PointId(open.names.id(*dense)), *time, *value, *status);
            }
            let dense: Vec<u32> = run.iter().map(|r| r.0).collect();
            let segment = Segment {
                dense: dense.into(),
                rows: rows.finish(),
                // Every other record had rows between these that are not stored.
                numbers: match offset % 2 {
                    0 => Numbers::From(7),
                    _ => Numbers::Each((0..run.len() as u32).map(|i| i * i).collect()),
                },
                source: "x".into(),
                partition: 3,
                offset: offset as u64,
            };
            open.push(segment);
        }
        open
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn what_is_sealed_comes_back_in_order(
            runs in prop::collection::vec(prop::collection::vec((
                0u32..20,
                prop_oneof![0i64..100, Just(i64::MIN), Just(4_000_000_000_000_000), (0i64..1000).prop_map(|t| t * 3_600_000_000)],
                prop_oneof![(0i32..400).prop_map(|v| f64::from(v) / 100.0), Just(f64::NAN), Just(-0.0), Just(1e300), Just(0.1 + 0.2)],
                prop_oneof![Just(0), 0i32..256, Just(1 << 20)],
            ), 0..40), 0..12)
        ) {
            let open = open(&runs);
            let mut expected: Vec<(u32, i64, (u64, u32), Row)> = Vec::new();
            for (offset, run) in runs.iter().enumerate() {
                for (i, row) in run.iter().enumerate() {
                    let number = if offset % 2 == 0 { 7 + i } else { i * i };
                    expected.push((row.0, row.1, (offset as u64, number as u32), *row));
                }
            }
            expected.sort_by_key(|e| (e.0, e.1));
            let Some(chunk) = Chunk::seal(&open) else { prop_assert!(expected.is_empty()); return Ok(()) };
            prop_assert_eq!(chunk.rows(), expected.len());
            for (i, (dense, time, offset, row)) in expected.iter().enumerate() {
                prop_assert_eq!(chunk.dense(i), *dense);
                prop_assert_eq!(chunk.time(i), *time);
                let origin = chunk.origin(i);
                prop_assert_eq!((origin.offset, chunk.number(i, origin)), *offset);
                prop_assert!(chunk.value(i).to_bits() == row.2.to_bits() || row.2.is_nan() && chunk.value(i).is_nan());
                let missing = if row.2.is_nan() { MISSING } else { 0 };
                prop_assert_eq!(chunk.status(i), row.3 | missing);
            }
            for dense in 0..20 {
                let range = chunk.rows_of_point(dense);
                prop_assert_eq!(range.len(), expected.iter().filter(|e| e.0 == dense).count());
            }
            let rows: usize = chunk.sites().map(|(_, r)| r.len()).sum();
            prop_assert_eq!(rows, expected.len());
        }
    }

    #[test]
    fn ordinary_readings_take_less_than_14_bytes() {
        let run = |r: u32| {
            let row = |i: u32| {
                let seconds = i64::from(r * 5 + i / 20);
                (i % 20, seconds * 1_000_000, f64::from(i % 20 * 7 + r % 50) / 100.0, 0)
            };
            (0..100).map(row).collect()
        };
        // Odd records are left out: `open` takes them for records whose rows are not all stored.
        let runs: Vec<Vec<Row>> = (0..1200).map(|r| if r % 2 == 0 { run(r) } else { Vec::new() }).collect();
        let chunk = Chunk::seal(&open(&runs)).unwrap();
        let each = chunk.bytes() as f64 / chunk.rows() as f64;
        // Runs of 100 rows are short ones; their 48 bytes each are half a byte of it.
        assert!(each < 12.6, "{each}");
    }
}
