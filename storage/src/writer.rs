//! Commits the tail, exactly once.
//!
//! Several Delta tables cannot be committed at once. So each table's commit carries its own application transaction for
//! every partition, `firedamp.readings.<partition>`: the offset that comes next. The order is fixed and **`arrivals` is
//! committed last**: its transaction is where reading the log goes on after a restart, and it alone holds the last sequence
//! of each collector (`firedamp.origin.<partition>.<collector>`). A table without rows in a flush is not committed.
//!
//! After a crash between two commits the records after the offset of `arrivals` come again. A table that is ahead skips the
//! rows it has; what became of them is decided again, from the log alone (see `dedupe`), and so the accounts in `arrivals`
//! are what they would have been. `events` has offsets of its own stream, `firedamp.transitions.<partition>`.
//!
//! Before each commit and each retry of one the stored transactions are compared with where this writer left them. If one
//! moved, another process writes this partition: the tail is thrown away and this writer stops.

use crate::delta::{Change, CommitError, DeltaLog, Txn};
use crate::error::StorageError;
use crate::files::{Encoded, Making, encode_batch, encode_readings};
use crate::options::Planted;
use crate::schema::Table;
use crate::storage::Inner;
use crate::tail::{Arrival, Event, Generation, PositionRow, QuarantineRow};
use bytes::Bytes;
use model::Micros;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where nothing but ticks came, offsets are committed after this time; until then a restart reads the ticks again.
const IDLE_COMMIT: Micros = 600 * model::time::SECOND;
/// Level of zstd for new files; compaction packs them tighter.
const LEVEL: i32 = 1;

/// Name of the transaction of a partition of the stream of readings.
pub fn readings_app(partition: u32) -> String {
    format!("firedamp.readings.{partition}")
}

/// Name of the transaction of a partition of the stream of transitions.
pub fn transitions_app(partition: u32) -> String {
    format!("firedamp.transitions.{partition}")
}

/// Name of the transaction of a collector in a partition.
pub fn origin_app(partition: u32, collector: u64) -> String {
    format!("firedamp.origin.{partition}.{collector:016x}")
}

/// What a flush did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Next offset of each partition of readings that is now committed: the consumer's position may be saved.
    pub next: BTreeMap<u32, u64>,
    /// The same of transitions.
    pub next_event: BTreeMap<u32, u64>,
    /// Readings committed.
    pub readings: u64,
    /// Files added.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// The tables and what is half done.
pub struct Writer {
    /// The tables, in the order of [`Table::ALL`]; empty when there are none yet and this one only reads.
    pub logs: Vec<DeltaLog>,
    /// Where this writer left each transaction.
    expected: HashMap<(Table, String), i64>,
    id: u64,
    commits: u64,
    pending: Option<Pending>,
    last_commit: Micros,
    /// Version at which each table got its last checkpoint, as far as known.
    pub checkpointed: HashMap<Table, u64>,
}

fn stand(logs: &[DeltaLog]) -> HashMap<(Table, String), i64> {
    let each = Table::ALL.into_iter().zip(logs);
    each.flat_map(|(t, log)| log.txns().iter().map(move |(app, at)| ((t, app.clone()), *at))).collect()
}

/// Commits of one generation.
struct Pending {
    changes: Vec<(Table, Change)>,
    /// Files not yet in the store.
    put: Vec<(Table, String, Bytes)>,
    /// How many changes are made.
    done: usize,
}

impl Writer {
    /// Over tables just opened.
    pub fn new(logs: Vec<DeltaLog>, now: Micros) -> Self {
        let stand =
            |log: &DeltaLog| log.txns().iter().map(|(app, at)| (app.clone(), *at)).collect::<Vec<_>>();
        let each = Table::ALL.into_iter().zip(&logs);
        let expected =
            each.flat_map(|(t, log)| stand(log).into_iter().map(move |(app, at)| ((t, app), at))).collect();
        let checkpointed = Table::ALL.into_iter().zip(&logs).map(|(t, log)| (t, log.version())).collect();
        let id = ahash::RandomState::new().hash_one(now);
        Self { logs, expected, id, commits: 0, pending: None, last_commit: now, checkpointed }
    }

    /// Takes the transactions as they stand now for those that this writer left: it is given partitions.
    pub fn take_over(&mut self) {
        self.expected = stand(&self.logs);
    }

    /// The table's log.
    pub fn log(&mut self, table: Table) -> &mut DeltaLog {
        &mut self.logs[table as usize]
    }

    /// A name that no other writer and no other call gives.
    pub fn unique(&mut self) -> String {
        self.commits += 1;
        format!("{:016x}-{:06}", self.id, self.commits)
    }

    /// Whether a generation may be in some tables and not in all: queries must not see newer files then.
    pub fn is_half_done(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether a flush has put this file and not yet committed it.
    pub fn is_pending(&self, table: Table, path: &str) -> bool {
        let of =
            |p: &Pending| p.changes.iter().any(|(t, c)| *t == table && c.add.iter().any(|f| f.path == path));
        self.pending.as_ref().is_some_and(of)
    }

    fn txn(&self, table: Table, app: String, after: i64) -> Option<Txn> {
        let before = self.expected.get(&(table, app.clone())).copied();
        // A replay after a crash may end before what the table has: an offset never goes back.
        before.is_none_or(|b| b < after).then_some(Txn { app, before, after })
    }

    fn txns(&self, table: Table, generation: &Generation) -> Vec<Txn> {
        let mut out = Vec::new();
        if table == Table::Events {
            let ends = generation.event_ends.iter();
            out.extend(ends.filter_map(|(p, end)| self.txn(table, transitions_app(*p), *end as i64)));
            return out;
        }
        out.extend(
            generation.ends.iter().filter_map(|(p, end)| self.txn(table, readings_app(*p), *end as i64)),
        );
        if table == Table::Arrivals {
            let seen = generation.seen.iter();
            out.extend(seen.filter_map(|((p, c), last)| self.txn(table, origin_app(*p, *c), *last as i64)));
        }
        out
    }

    /// The commits of a sealed generation.
    async fn prepare(
        &mut self,
        inner: &Inner,
        generation: &Arc<Generation>,
    ) -> Result<Pending, StorageError> {
        let unique = self.unique();
        let making = Making {
            zone_offset_s: inner.options.zone_offset_s,
            file_rows_max: inner.options.file_rows_max,
            level: LEVEL,
            unique: unique.clone(),
        };
        let rows = generation.clone();
        let encode = move || Table::ALL.map(|table| encode(table, &rows, &making));
        let failed = |e| StorageError::Unavailable(format!("writing files in memory failed: {e}"));
        // Where another one waits already, one that stood back would not come to its end: what comes in takes both cores.
        let is_urgent = inner.state().sealed.len() > 1;
        inner.metrics.urgent.inc_by(is_urgent.into());
        let encoded = match inner.options.query_threads {
            0 => encode(), // everything on the caller's thread
            _ if is_urgent => crate::background::run_beside("commit", encode).await.map_err(failed)?,
            _ => crate::background::run("commit", encode).await.map_err(failed)?,
        };
        let mut pending = Pending { changes: Vec::new(), put: Vec::new(), done: 0 };
        for (table, files) in Table::ALL.into_iter().zip(encoded) {
            let txns = self.txns(table, generation);
            let always = matches!(table, Table::Arrivals | Table::Events);
            if files.is_empty() && (txns.is_empty() || !always) {
                continue;
            }
            let mut change = Change {
                id: format!("{unique}-{}", table.name()),
                operation: "WRITE",
                data_change: true,
                txns,
                ..Change::default()
            };
            for Encoded { file, bytes } in files {
                pending.put.push((table, file.path.clone(), bytes));
                change.add.push(file);
            }
            pending.changes.push((table, change));
        }
        Ok(pending)
    }

    /// Puts the files and makes the commits that are not made yet. What is done is noted step by step, so that a flush that
    /// failed, or was given up by its caller, goes on from there.
    async fn make(&mut self, inner: &Inner) -> Result<(), StorageError> {
        let Self { logs, pending, expected, .. } = self;
        let Some(pending) = pending.as_mut() else { return Ok(()) };
        while let Some((table, path, bytes)) = pending.put.last().cloned() {
            logs[table as usize].store().put(&Path::from(path), bytes.clone().into()).await?;
            inner.metrics.written_bytes.inc_by(bytes.len() as u64);
            pending.put.pop();
        }
        while let Some((table, change)) = pending.changes.get_mut(pending.done) {
            let log = &mut logs[*table as usize];
            if inner.options.planted == Some(Planted::CommitWithoutComparing) {
                log.refresh().await?;
                change.txns.iter_mut().for_each(|txn| txn.before = log.txn(&txn.app));
            }
            match log.commit(change, inner.clock.now() / 1000).await {
                Ok(()) => {}
                Err(CommitError::Moved { app, expected, found }) => {
                    return Err(other_writer(*table, &app, expected, found));
                }
                Err(CommitError::Gone(path)) => {
                    return Err(StorageError::Unavailable(format!("file {path} to be removed is gone")));
                }
                Err(CommitError::Other(e)) => return Err(e),
            }
            for txn in &change.txns {
                expected.insert((*table, txn.app.clone()), txn.after);
            }
            inner.metrics.commits.inc();
            pending.done += 1;
        }
        Ok(())
    }
}

fn encode(table: Table, generation: &Generation, making: &Making) -> Vec<Encoded> {
    let batch = match table {
        Table::Readings => return encode_readings(generation, making),
        Table::Positions if !generation.positions.is_empty() => PositionRow::to_batch(&generation.positions),
        Table::Quarantine if !generation.quarantine.is_empty() => {
            QuarantineRow::to_batch(&generation.quarantine)
        }
        Table::Arrivals if !generation.arrivals.is_empty() => Arrival::to_batch(&generation.arrivals),
        Table::Events if !generation.events.is_empty() => Event::to_batch(&generation.events),
        _ => return Vec::new(),
    };
    encode_batch(table, &batch, making.clone())
}

fn other_writer(table: Table, app: &str, expected: Option<i64>, found: Option<i64>) -> StorageError {
    let partition = app.split('.').nth(2).and_then(|p| p.parse().ok()).unwrap_or_default();
    StorageError::OtherWriter {
        table: table.name(),
        partition,
        expected: expected.unwrap_or(0),
        found: found.unwrap_or(0),
    }
}

impl Inner {
    /// Commits everything pushed before the call.
    ///
    /// # Errors
    /// [`StorageError::OtherWriter`] stops this writer; after any other the same call goes on where it failed.
    pub async fn flush(&self) -> Result<Flushed, StorageError> {
        let mut writer = self.writer.lock().await;
        let newest = self.state().current.number;
        self.commit_while(&mut writer, |oldest| oldest <= newest).await
    }

    /// Commits the oldest of the tail until there is room: who waits for it waits for no more than that.
    ///
    /// # Errors
    /// As [`Inner::flush`].
    pub async fn make_room(&self) -> Result<(), StorageError> {
        let mut writer = self.writer.lock().await;
        let is_full = |_| self.state().tail_bytes() >= self.options.tail_bytes_max;
        self.commit_while(&mut writer, is_full).await.map(|_| ())
    }

    /// Commits generations, oldest first, while the number of the next one is wanted.
    async fn commit_while(
        &self,
        writer: &mut Writer,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<Flushed, StorageError> {
        let mut flushed = Flushed::default();
        let result = loop {
            match self.seal(writer, &wanted) {
                Ok(true) => {}
                Ok(false) => break Ok(flushed),
                Err(e) => break Err(e),
            }
            if let Err(e) = self.flush_generation(writer, &mut flushed).await {
                break Err(e);
            }
        };
        self.takes_commits.store(result.is_ok(), Ordering::Relaxed);
        match &result {
            Ok(_) => {}
            Err(e @ StorageError::OtherWriter { .. }) => {
                self.stop(writer, e.to_string());
            }
            Err(_) => self.metrics.flush_errors.inc(),
        }
        result
    }

    /// Throws away what is not committed and takes nothing more.
    pub fn stop(&self, writer: &mut Writer, why: String) {
        writer.pending = None;
        let stands = |table, app| writer.expected.get(&(table, app)).map_or(0, |at| *at as u64);
        self.state().stop(why, stands);
        self.takes_commits.store(false, Ordering::Relaxed);
    }

    /// Whether a generation that is wanted is there to be committed; the current one becomes it where no other is older and it is worth it.
    fn seal(&self, writer: &Writer, wanted: impl Fn(u64) -> bool) -> Result<bool, StorageError> {
        let oldest = self.state().generations().next().map_or(0, |g| g.number);
        if !wanted(oldest) {
            return Ok(false);
        }
        let mut state = self.state();
        state.check_running()?;
        if !state.sealed.is_empty() {
            return Ok(true);
        }
        let idle = !state.current.has_rows() && self.clock.now() - writer.last_commit < IDLE_COMMIT;
        if state.current.is_empty() || idle {
            return Ok(false);
        }
        state.cut();
        Ok(true)
    }

    async fn flush_generation(&self, writer: &mut Writer, flushed: &mut Flushed) -> Result<(), StorageError> {
        let started = self.clock.now();
        self.resolve().await?;
        let generation = {
            let mut state = self.state();
            let oldest =
                state.sealed.front_mut().expect("only a flush takes it away, and flushes exclude each other");
            if oldest.open.rows() > 0 {
                Arc::make_mut(oldest).seal();
            }
            oldest.clone()
        };
        if writer.pending.is_none() {
            writer.pending = Some(writer.prepare(self, &generation).await?);
        }
        writer.make(self).await?;
        let pending = writer.pending.take().expect("it was just made");
        self.publish(writer, &pending);
        writer.last_commit = self.clock.now();
        self.account(&generation, &pending, flushed);
        self.metrics.flush_seconds.observe((self.clock.now() - started) as f64 / 1e6);
        Ok(())
    }

    /// Queries see the new files and no longer the generation, at once.
    fn publish(&self, writer: &Writer, pending: &Pending) {
        let mut state = self.state();
        let mut view = (*state.view).clone();
        for (table, _) in &pending.changes {
            view = view.with(*table, writer.logs[*table as usize].snapshot());
        }
        self.metrics.files.set(Table::ALL.iter().map(|t| view.files(*t).files.len() as i64).sum());
        state.view = Arc::new(view);
        state.sealed.pop_front();
        state.show();
    }

    fn account(&self, generation: &Generation, pending: &Pending, flushed: &mut Flushed) {
        flushed.next.extend(&generation.ends);
        flushed.next_event.extend(&generation.event_ends);
        flushed.readings += generation.readings() as u64;
        self.metrics.stored.inc_by(generation.readings() as u64);
        self.metrics.duplicate.inc_by(generation.arrivals.iter().map(|a| a.duplicate).sum());
        for file in pending.changes.iter().flat_map(|(_, change)| &change.add) {
            flushed.files += 1;
            flushed.bytes += file.size;
        }
    }
}
