//! The handle that the server holds: opening, taking records, queries.

use crate::balance::Cache;
use crate::dedupe::{Before, Newest, Question, decide};
use crate::delta::{Change, CommitError, DeltaLog, Txn};
use crate::error::{QueryError, StorageError};
use crate::maintain::Removed;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::options::{Limits, Options, Planted};
use crate::query::{Engine, QueryStream};
use crate::schema::Table;
use crate::state::State;
use crate::view::View;
use crate::writer::{Flushed, Writer};
use model::{Catalog, Clock, Entry, Record, Transition};
use object_store::ObjectStore;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::Notify;

/// Suspects waiting to be looked up; at so many, taking records waits for it.
const SUSPECTS_MAX: usize = 1 << 18;

/// Name of the transaction of `arrivals` that says which log the tables are written from.
const LOG_APP: &str = "firedamp.log";

/// The tables of a lake and the tail. A cheap clone.
#[derive(Clone)]
pub struct Storage {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("url", &self.inner.options.url).finish_non_exhaustive()
    }
}

/// What all clones share.
pub struct Inner {
    /// Settings.
    pub options: Options,
    /// The store rooted at the lake.
    pub lake: Arc<dyn ObjectStore>,
    /// Time of commits, retention and idle offsets.
    pub clock: Arc<dyn Clock>,
    /// Figures.
    pub metrics: Metrics,
    /// Runs queries and look-ups.
    pub engine: Engine,
    /// Commits, one at a time.
    pub writer: tokio::sync::Mutex<Writer>,
    catalog: Arc<RwLock<Arc<Catalog>>>,
    state: Mutex<State>,
    resolving: tokio::sync::Mutex<()>,
    flush_wanted: Notify,
    /// Whether it takes commits: it has not stopped, and the last one did not fail.
    pub takes_commits: AtomicBool,
    /// Files to be deleted; held for a round of maintenance.
    pub maintaining: tokio::sync::Mutex<Removed>,
    /// Sums of the files of `arrivals`.
    pub balance_cache: tokio::sync::Mutex<Cache>,
}

impl Inner {
    /// The state; a panic while it was held left it whole, for it is changed in steps that are each whole.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The catalog in force.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks up the suspects of all generations. Safe to be given up half-way.
    pub async fn resolve(&self) -> Result<(), StorageError> {
        let _one_at_a_time = self.resolving.lock().await;
        loop {
            // The older generation first: what it keeps stands before the rows of the newer one.
            let Some((number, question, before)) = self.question() else { return Ok(()) };
            let duplicate = match self.options.planted {
                Some(Planted::SkipDedup) => vec![false; question.asked.len()],
                _ => decide(&question, &before, &self.engine).await?,
            };
            let mut state = self.state();
            if state.current.number == number {
                state.current.decide(&duplicate);
            } else if let Some(sealed) = state.sealed.iter_mut().find(|g| g.number == number) {
                drop(before); // else the generation would be copied
                Arc::make_mut(sealed).decide(&duplicate);
            }
        }
    }

    fn question(&self) -> Option<(u64, Question, Before)> {
        let state = self.state();
        let generations = state.generations();
        let asking = generations.clone().find(|g| !g.suspects.is_empty())?;
        let question = Question::of(asking);
        let before = Before {
            view: state.view.clone(),
            chunks: generations.clone().flat_map(|g| g.chunks.iter().cloned()).collect(),
            open: generations.map(|g| g.open.clone()).collect(),
            zone_offset_s: self.options.zone_offset_s,
        };
        Some((asking.number, question, before))
    }
}

impl Storage {
    /// Opens the tables for writing and makes those that are not there. `store` is the lake's root and takes the place of
    /// [`Options::url`], for simulations and tests: it must put if absent and list in the order of names.
    ///
    /// # Errors
    /// When the store does not answer, or what lies there are not these tables.
    pub async fn open(
        options: Options,
        store: Option<Arc<dyn ObjectStore>>,
        catalog: Arc<RwLock<Arc<Catalog>>>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Self, StorageError> {
        Self::open_as(options, store, catalog, clock, registry, true).await
    }

    /// Opens the tables for queries only, as they are: for commands when no server runs, and for servers that do not
    /// write. Tables that are not there are empty.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub async fn open_read_only(
        options: Options,
        store: Option<Arc<dyn ObjectStore>>,
        catalog: Arc<RwLock<Arc<Catalog>>>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Self, StorageError> {
        Self::open_as(options, store, catalog, clock, registry, false).await
    }

    async fn open_as(
        options: Options,
        store: Option<Arc<dyn ObjectStore>>,
        catalog: Arc<RwLock<Arc<Catalog>>>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
        write: bool,
    ) -> Result<Self, StorageError> {
        let metrics = Metrics::register(registry).map_err(|e| StorageError::Settings(e.to_string()))?;
        let lake = match store {
            Some(store) => store,
            None => crate::store::open(&options.url, &options.s3)?,
        };
        let engine = Engine::new(lake.clone(), options.query_threads, options.zone_offset_s)?;
        let mut logs = Vec::new();
        let mut view = View::default();
        for table in Table::ALL {
            // The tables are made in this order: where one is not there, the following are not either.
            let Some(log) = DeltaLog::open(&lake, table, write).await? else { break };
            view = view.with(table, log.snapshot());
            logs.push(log);
        }
        let now = clock.now();
        let known = catalog.read().unwrap_or_else(PoisonError::into_inner).clone();
        let names = Arc::new(Names::build(&known, &Names::default()));
        let newest = if write {
            crate::start::newest(&engine, &view, &names, now, options.zone_offset_s).await?
        } else {
            Newest::new(names.len(), i64::MIN)
        };
        let start = crate::start::start(&logs);
        let mut state = State::new(known, newest, names, view, start, metrics.clone());
        if !write {
            state.stopped = Some("it was opened only for reading".to_owned());
        }
        let inner = Inner {
            options,
            lake,
            clock,
            metrics,
            engine,
            writer: tokio::sync::Mutex::new(Writer::new(logs, now)),
            catalog,
            state: Mutex::new(state),
            resolving: tokio::sync::Mutex::new(()),
            flush_wanted: Notify::new(),
            takes_commits: AtomicBool::new(write),
            maintaining: tokio::sync::Mutex::new(Removed::default()),
            balance_cache: tokio::sync::Mutex::new(Cache::default()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The offset from which the consumer of the stream of readings goes on.
    pub fn next_offset(&self, partition: u32) -> u64 {
        self.inner.state().next(partition)
    }

    /// The offset from which the consumer of the stream of transitions goes on.
    pub fn next_event_offset(&self, partition: u32) -> u64 {
        self.inner.state().next_event(partition)
    }

    /// The number of the log that these tables were claimed for, if they were.
    pub async fn log(&self) -> Option<u64> {
        self.inner.writer.lock().await.log(Table::Arrivals).txn(LOG_APP).map(|log| log as u64)
    }

    /// Claims the tables for a log (a number up to `i64::MAX`): whether they are its own. Of several that find them unclaimed
    /// one gets them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn claim(&self, log: u64) -> Result<bool, StorageError> {
        let (mut writer, wanted) = (self.inner.writer.lock().await, log as i64);
        let id = writer.unique();
        let arrivals = writer.log(Table::Arrivals);
        if let Some(owner) = arrivals.txn(LOG_APP) {
            return Ok(owner == wanted);
        }
        let txns = vec![Txn { app: LOG_APP.to_owned(), before: None, after: wanted }];
        let change = Change { id, operation: "WRITE", data_change: false, txns, ..Change::default() };
        match arrivals.commit(&change, self.inner.clock.now() / 1000).await {
            Ok(()) => Ok(true),
            Err(CommitError::Moved { found, .. }) => Ok(found == Some(wanted)),
            Err(CommitError::Gone(path)) => Err(StorageError::Unavailable(format!("{path} is gone"))),
            Err(CommitError::Other(e)) => Err(e),
        }
    }

    /// Whether the tables hold records of this collector: then they were written from a log that it wrote.
    pub fn knows_collector(&self, collector: u64) -> bool {
        self.inner.state().knows(collector)
    }

    /// Takes a record of the stream of readings, in the order of the offsets of its partition. A record behind
    /// [`Storage::next_offset`], or sent twice by its origin, is skipped. Where the tail is full it commits the oldest of it first. For an
    /// entry that cannot be decoded push [`Record::Tick`]: its offset is noted.
    ///
    /// # Errors
    /// The record was not taken; see [`StorageError::is_transient`].
    pub async fn push(&self, entry: &Entry, record: Record) -> Result<(), StorageError> {
        self.make_room().await?;
        let catalog = self.inner.catalog();
        let suspects = {
            let mut state = self.inner.state();
            state.set_catalog(&catalog);
            state.push(entry, record)?;
            let suspects = state.current.suspects.len();
            if state.current.bytes() >= self.inner.options.flush_bytes {
                state.cut();
                self.inner.flush_wanted.notify_one();
            }
            state.show();
            suspects
        };
        if suspects >= SUSPECTS_MAX {
            // The record is taken: where the look-up fails now, the next flush does it.
            if let Err(e) = self.inner.resolve().await {
                tracing::warn!(error = %e, "late readings could not be looked up yet");
            }
        }
        Ok(())
    }

    async fn make_room(&self) -> Result<(), StorageError> {
        if self.inner.state().tail_bytes() < self.inner.options.tail_bytes_max {
            return Ok(());
        }
        self.inner.metrics.waits.inc();
        self.inner.make_room().await
    }

    /// Takes transitions of a record of the stream of transitions, in the order of its offsets. A transition that is there
    /// already (rules decide again after a crash) is stored once.
    ///
    /// # Errors
    /// The record was not taken; see [`StorageError::is_transient`].
    pub async fn push_events(&self, entry: &Entry, transitions: Vec<Transition>) -> Result<(), StorageError> {
        self.make_room().await?;
        let known = self.inner.known_events(&transitions).await?;
        self.inner.state().push_events(entry, transitions, &known)
    }

    /// Returns when [`Options::flush_bytes`] have come together: flush then, else every [`Options::flush`].
    pub async fn flush_wanted(&self) {
        self.inner.flush_wanted.notified().await;
    }

    /// Commits everything pushed before the call, to all tables. Pushes and queries go on meanwhile.
    ///
    /// # Errors
    /// [`StorageError::OtherWriter`] stops this writer; after any other nothing is lost and the same call goes on where it
    /// failed.
    pub async fn flush(&self) -> Result<Flushed, StorageError> {
        self.inner.flush().await
    }

    /// Commits everything and goes on from where the tables stand: after partitions were given to or taken from this
    /// process (a rebalance of consumers). Ask [`Storage::next_offset`] anew then; push nothing meanwhile.
    ///
    /// # Errors
    /// As [`Storage::flush`].
    pub async fn reassign(&self) -> Result<(), StorageError> {
        let inner = &self.inner;
        inner.flush().await?;
        inner.refresh().await?;
        let mut writer = inner.writer.lock().await;
        let (view, names) = {
            let state = inner.state();
            (state.view.clone(), state.names.clone())
        };
        let zone = inner.options.zone_offset_s;
        let newest = crate::start::newest(&inner.engine, &view, &names, inner.clock.now(), zone).await?;
        let start = crate::start::start(&writer.logs);
        if !inner.state().restart(start, &newest) {
            return Err(StorageError::Unavailable(
                "records were pushed while partitions changed hands".to_owned(),
            ));
        }
        writer.take_over();
        Ok(())
    }

    /// Memory of rows not yet committed, in bytes.
    pub fn tail_bytes(&self) -> usize {
        self.inner.state().tail_bytes()
    }

    /// How much of the memory for rows not yet committed is taken, 1 being all, as of the last push. `None` while nobody can say when there
    /// is room again: this writer has stopped, or its last commit failed. Nobody is waited for.
    pub fn fullness(&self) -> Option<f64> {
        let taken =
            self.inner.metrics.tail_bytes.get() as f64 / self.inner.options.tail_bytes_max.max(1) as f64;
        self.inner.takes_commits.load(Ordering::Relaxed).then_some(taken)
    }

    /// Stops this writer: what is not committed is thrown away and nothing more is taken. The first reason stays.
    pub async fn stop(&self, why: String) {
        let mut writer = self.inner.writer.lock().await;
        if self.stopped().is_none() {
            self.inner.stop(&mut writer, why);
        }
    }

    /// Stops this writer before it took anything, because the tables are another log's: nothing of this log is in them.
    pub async fn refuse(&self, why: String) {
        let _writer = self.inner.writer.lock().await;
        let mut state = self.inner.state();
        state.stop(why, |_, _| 0);
        state.is_others = true;
        self.inner.takes_commits.store(false, Ordering::Relaxed);
    }

    /// Why this writer takes nothing more, when it has stopped.
    pub fn stopped(&self) -> Option<String> {
        self.inner.state().stopped.clone()
    }

    /// Answers SQL over table and tail as one.
    ///
    /// # Errors
    /// [`QueryError`]; what goes wrong later comes through the stream.
    pub async fn query(&self, sql: &str, limits: Limits) -> Result<QueryStream, QueryError> {
        let inner = &self.inner;
        let named = inner.engine.tables_named(sql)?;
        // One that writes sees its own commits; one that does not, or no longer, asks for those of others.
        if inner.state().stopped.is_some() {
            inner.refresh_reader().await?;
        }
        let tables: Vec<Table> =
            Table::ALL.into_iter().filter(|t| named.iter().any(|n| n == t.name())).collect();
        if tables.contains(&Table::Readings) || tables.contains(&Table::Arrivals) {
            let looked_up = tokio::time::timeout(limits.time, self.inner.resolve_if_needed());
            looked_up.await.map_err(|_| QueryError::Time {
                limit_ms: limits.time.as_millis(),
                setting: "storage.query.time",
            })??;
        }
        let pinned = inner.state().pin(&tables);
        let result = inner
            .engine
            .query(sql, limits, &pinned, crate::catalog_tables::named(&named, &inner.catalog()))
            .await;
        let end = if result.is_ok() { "started" } else { "refused" };
        inner.metrics.queries.with_label_values(&[end]).inc();
        result
    }
}

impl Inner {
    /// Sees what the writer has committed since, and tables that it made.
    async fn refresh_reader(&self) -> Result<(), StorageError> {
        if self.writer.lock().await.logs.len() == Table::ALL.len() {
            return self.refresh().await;
        }
        let mut logs = Vec::new();
        let mut view = View::default();
        for table in Table::ALL {
            let Some(log) = DeltaLog::open(&self.lake, table, false).await? else { break };
            view = view.with(table, log.snapshot());
            logs.push(log);
        }
        self.writer.lock().await.logs = logs;
        self.state().view = Arc::new(view);
        Ok(())
    }

    /// Looks up suspects if there are any.
    pub async fn resolve_if_needed(&self) -> Result<(), StorageError> {
        if self.state().has_suspects() { self.resolve().await } else { Ok(()) }
    }
}
