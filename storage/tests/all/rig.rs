//! What the tests share: a small catalog, records, a store that fails at a chosen put, and SQL as text.

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use model::catalog::Place;
use model::problem::Problems;
use model::record::run_flags;
use model::transition::Marks;
use model::{
    Catalog, Clock, Entry, ManualClock, Micros, Offset, Origin, Point, PointId, ReadingsBuilder, Record, Run,
    Severity, Site, To, Transition, TransitionId,
};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use storage::{Limits, Options, QueryError, Storage, StorageError};

/// 2026-11-24T00:00:00Z, eight in the morning there.
pub const T0: Micros = 1_795_478_400_000_000;
pub const SECOND: Micros = 1_000_000;

/// Sites `M1`.. with points `T1`..
pub fn catalog(sites: usize, points: usize) -> Catalog {
    let mut problems = Problems::default();
    let site = |i: usize| {
        (
            Site { code: format!("M{i}"), kind: "mine".into(), region: "140100".into(), ..Site::default() },
            Place::default(),
        )
    };
    let point = |i: usize| {
        let point = Point {
            site: format!("M{}", 1 + i / points),
            code: format!("T{}", 1 + i % points),
            quantity: "ch4".into(),
            unit: "%".into(),
            ..Point::default()
        };
        (point, Place::default())
    };
    let catalog = Catalog::build(
        (1..=sites).map(site).collect(),
        (0..sites * points).map(point).collect(),
        4,
        &mut problems,
    );
    assert_eq!(problems.errors(), 0, "{problems}");
    catalog
}

/// A reading: site, point, seconds after [`T0`], value (NaN: missing).
pub type Row<'a> = (&'a str, &'a str, f64, f64);

pub fn run(source: &str, rows: usize) -> Run {
    Run { source: source.into(), received: T0, rows: rows as u32, flags: 0 }
}

pub fn at(seconds: f64) -> Micros {
    T0 + (seconds * 1e6).round() as Micros
}

pub fn readings(source: &str, rows: &[Row<'_>]) -> Record {
    with_status(source, &rows.iter().map(|r| (*r, 0)).collect::<Vec<_>>())
}

pub fn with_status(source: &str, rows: &[(Row<'_>, i32)]) -> Record {
    let mut b = ReadingsBuilder::default();
    for ((site, point, seconds, value), status) in rows {
        b.push(PointId::of(site, point), at(*seconds), *value, *status);
    }
    Record::Readings { runs: vec![run(source, rows.len())], readings: b.finish() }
}

pub fn released(source: &str, rows: &[Row<'_>]) -> Record {
    let Record::Readings { mut runs, readings } = readings(source, rows) else { unreachable!() };
    runs[0].flags = run_flags::RELEASED;
    Record::Readings { runs, readings }
}

/// A step of the latch of `M1`/`T1`.
pub fn transition(step: u32, seconds: f64) -> Transition {
    let point = PointId::of("M1", "T1");
    Transition {
        peak: None,
        id: TransitionId::of("ch4", point, "alarm", Origin { collector: 1, sequence: 1 }, 0, step),
        time: at(seconds),
        decided: at(seconds),
        offset: Offset { partition: 0, number: 9 },
        site: "M1".into(),
        point: "T1".into(),
        point_id: point,
        rule: "ch4".into(),
        version: "v".into(),
        level: "alarm".into(),
        rank: 0,
        to: if step.is_multiple_of(2) { To::On } else { To::Off },
        value: Some(1.0),
        severity: Severity::Yellow,
        reason: "1 >= 1.0 %".into(),
        marks: Marks::default(),
    }
}

/// An entry of partition 0 whose origin is the log's own.
pub fn entry(number: u64) -> Entry {
    entry_of(0, number, Origin { collector: 7, sequence: number + 1 })
}

pub fn entry_of(partition: u32, number: u64, origin: Origin) -> Entry {
    let offset = Offset { partition, number };
    Entry { offset, appended: T0 + number as i64 * SECOND, origin, bytes: Bytes::new() }
}

/// Storage over a store that outlives it.
pub struct Rig {
    pub store: Arc<Faulty>,
    pub clock: ManualClock,
    pub catalog: Arc<RwLock<Arc<Catalog>>>,
    pub options: Options,
}

impl Rig {
    /// In memory.
    pub fn new() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// In this store.
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        let clock = ManualClock::at(T0);
        Self {
            store: Arc::new(Faulty::over(store, clock.clone())),
            clock,
            catalog: Arc::new(RwLock::new(Arc::new(catalog(3, 4)))),
            options: Options { query_threads: 0, ..Options::default() },
        }
    }

    pub async fn try_open(&self) -> std::result::Result<Storage, StorageError> {
        self.open_counted(&prometheus::Registry::new()).await
    }

    /// With its metrics in this registry.
    pub async fn open_counted(
        &self,
        registry: &prometheus::Registry,
    ) -> std::result::Result<Storage, StorageError> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let store: Arc<dyn ObjectStore> = self.store.clone();
        Storage::open(self.options.clone(), Some(store), self.catalog.clone(), clock, registry).await
    }

    pub async fn open(&self) -> Storage {
        self.try_open().await.unwrap()
    }

    pub async fn read_only(&self) -> Storage {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let registry = prometheus::Registry::new();
        let store: Arc<dyn ObjectStore> = self.store.clone();
        Storage::open_read_only(self.options.clone(), Some(store), self.catalog.clone(), clock, &registry)
            .await
            .unwrap()
    }
}

pub async fn try_sql(storage: &Storage, sql: &str) -> std::result::Result<Vec<RecordBatch>, QueryError> {
    storage.query(sql, Limits::default()).await?.collect_all().await
}

/// The answer, one text a row, columns parted by a space.
pub async fn sql(storage: &Storage, sql: &str) -> Vec<String> {
    let batches = try_sql(storage, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut out = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|c| array_value_to_string(c, row).unwrap());
            out.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    out
}

pub async fn count(storage: &Storage, from: &str) -> i64 {
    sql(storage, &format!("SELECT count(*) FROM {from}")).await[0].parse().unwrap()
}

/// Every reading: `site point time-in-seconds value offset`, in order.
pub async fn all_readings(storage: &Storage) -> Vec<String> {
    let columns = "site, point, time, value, status, \"offset\", source";
    let order = "site, point, time, \"offset\", source, value";
    sql(storage, &format!("SELECT {columns} FROM readings ORDER BY {order}")).await
}

/// What a failing put does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing is written.
    Before,
    /// It is written, and yet reported as failed.
    After,
}

/// A store that counts what is done with it and fails on demand.
#[derive(Debug)]
pub struct Faulty {
    pub inner: Arc<dyn ObjectStore>,
    /// Puts until the failing one; below 0: none.
    countdown: AtomicI64,
    fault: Mutex<Fault>,
    /// Whether everything fails from the fault on, as for a process that was killed.
    dead: Mutex<Option<bool>>,
    pub puts: AtomicUsize,
    /// Parquet files of `readings` that were opened.
    pub opened: Mutex<Vec<String>>,
    clock: ManualClock,
    /// When each file was put.
    written: Arc<Mutex<HashMap<Path, Micros>>>,
}

impl Faulty {
    fn over(inner: Arc<dyn ObjectStore>, clock: ManualClock) -> Self {
        Self {
            inner,
            countdown: AtomicI64::new(-1),
            fault: Mutex::new(Fault::Before),
            dead: Mutex::new(None),
            puts: AtomicUsize::new(0),
            opened: Mutex::new(Vec::new()),
            clock,
            written: Arc::default(),
        }
    }

    /// The `n`-th put from now fails (0: the next); with `dies` so does everything after it.
    pub fn fail_at(&self, n: i64, fault: Fault, dies: bool) {
        *self.fault.lock().unwrap() = fault;
        *self.dead.lock().unwrap() = Some(false).filter(|_| dies);
        self.countdown.store(n, Ordering::SeqCst);
    }

    /// Whether the fault happened.
    pub fn failed(&self) -> bool {
        self.countdown.load(Ordering::SeqCst) == -2
    }

    pub fn heal(&self) {
        self.countdown.store(-1, Ordering::SeqCst);
        *self.dead.lock().unwrap() = None;
    }

    fn alive(&self) -> Result<()> {
        if *self.dead.lock().unwrap() == Some(true) { Err(broken()) } else { Ok(()) }
    }

    pub async fn names(&self) -> Vec<String> {
        self.inner.list(None).map_ok(|m| m.location.to_string()).try_collect().await.unwrap()
    }
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "as the test asked".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.alive()?;
        tokio::task::yield_now().await; // a place where the caller may give up
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.written.lock().unwrap().insert(location.clone(), self.clock.now());
        let left = self.countdown.load(Ordering::SeqCst);
        if left == 0 {
            self.countdown.store(-2, Ordering::SeqCst);
            if let Some(dead) = self.dead.lock().unwrap().as_mut() {
                *dead = true;
            }
            if *self.fault.lock().unwrap() == Fault::Before {
                return Err(broken());
            }
            self.inner.put_opts(location, payload, options).await?;
            return Err(broken());
        }
        let done = self.inner.put_opts(location, payload, options).await;
        tokio::task::yield_now().await;
        if left > 0 {
            self.countdown.store(left - 1, Ordering::SeqCst);
        }
        done
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.alive()?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        if location.as_ref().starts_with("readings/day=") && !options.head {
            self.opened.lock().unwrap().push(location.to_string());
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let written = self.written.clone();
        // Files are as old as the rig's clock says, whatever day it is: a store's own times would be those of the machine.
        let by_our_clock = move |meta: ObjectMeta| {
            let at = written.lock().unwrap().get(&meta.location).copied().unwrap_or(T0);
            ObjectMeta { last_modified: DateTime::from_timestamp_micros(at).unwrap(), ..meta }
        };
        self.inner.list(prefix).map_ok(by_our_clock).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}
