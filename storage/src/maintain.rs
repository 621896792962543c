//! Keeps the tables small in number of files and bounded in age: compaction, retention, checkpoints, deletion.
//!
//! *Compaction.* Files of a day fall into classes of size, each [`Options::compact_files`] times the one below; so many files
//! of one class are merged into one, sorted as all are. A row is written again about once a class. When a day is over, what
//! is still small is merged together. Nothing is read twice for it: the files are sorted, and merging streams.
//!
//! *Retention.* Whole days older than the table's limit are taken out. The age counts from the wall clock or the newest
//! append time in `arrivals`, whichever is earlier, so that a clock set wrongly ahead does not empty the tables.
//!
//! *Deletion.* A file taken out of a table lies there for [`Options::keep_removed`], for readers of the version before. What
//! lies in the folder and is in no version (a crash before the commit) goes after a day.
//!
//! [`Options::compact_files`]: crate::Options::compact_files
//! [`Options::keep_removed`]: crate::Options::keep_removed

mod plan;

use crate::delta::{Change, CommitError, FileMeta};
use crate::error::StorageError;
use crate::files::{DayWriters, Encoded, Making};
use crate::query::AbortOnDrop;
use crate::schema::{Table, local_day};
use crate::stats::Folder;
use crate::storage::{Inner, Storage};
use crate::view::View;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use model::Micros;
use model::time::DAY;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use plan::Merge;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Merges of one table in one round: the next round goes on.
const MERGES_MAX: usize = 8;
/// Level of zstd for merged files.
pub const LEVEL: i32 = 3;
/// Files that no version names are deleted when they are older.
const STRAY_AGE: Micros = DAY;
/// How often the folders are looked through for them.
const SWEEP_EVERY: Micros = 3600 * model::time::SECOND;

/// What a round of maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Files merged away.
    pub merged: usize,
    /// Files that took their place.
    pub into: usize,
    /// Files taken out by age.
    pub expired: usize,
    /// Files deleted from the store.
    pub deleted: usize,
    /// Checkpoints written.
    pub checkpoints: usize,
}

/// What is to be deleted, and when it was first seen to be out of its table.
#[derive(Default)]
pub struct Removed {
    files: HashMap<(Table, String), Micros>,
    swept: Option<Micros>,
    /// Files of `readings` whose rows are all counted in `stats_5min`.
    pub counted: HashSet<String>,
}

impl Storage {
    /// One round of maintenance; call it about once a minute. It reads what other writers committed, too. Queries, pushes
    /// and flushes go on meanwhile.
    ///
    /// # Errors
    /// The first error; the round went on with the other tables, and the next one tries again.
    pub async fn maintain(&self) -> Result<Maintained, StorageError> {
        let inner = &self.inner;
        let mut removed = inner.maintaining.lock().await;
        inner.state().check_running()?;
        let mut done = Maintained::default();
        let mut first_error = None;
        inner.refresh().await?;
        // Before anything is taken out by age.
        if let Err(e) = inner.count_stats(&mut removed).await {
            tracing::warn!(error = %e, "five minutes were not counted; the next round tries again");
            inner.metrics.maintain_errors.inc();
            first_error.get_or_insert(e);
        }
        for table in Table::ALL {
            if let Err(e) = inner.maintain_table(table, &mut removed, &mut done).await {
                tracing::warn!(table = table.name(), error = %e, "maintenance of a table failed; the next round tries again");
                inner.metrics.maintain_errors.inc();
                first_error.get_or_insert(e);
            }
        }
        if let Err(e) = inner.delete_removed(&mut removed, &mut done).await {
            inner.metrics.maintain_errors.inc();
            first_error.get_or_insert(e);
        }
        first_error.map_or(Ok(done), Err)
    }
}

impl Inner {
    async fn maintain_table(
        &self,
        table: Table,
        removed: &mut Removed,
        done: &mut Maintained,
    ) -> Result<(), StorageError> {
        self.expire(table, removed, done).await?;
        for _ in 0..MERGES_MAX {
            let view = self.state().view.clone();
            let today = local_day(self.clock.now(), self.options.zone_offset_s);
            let Some(merge) = plan::next(table, &view.files(table).files, today, &self.options) else {
                break;
            };
            if !self.merge(table, &view, &merge, removed, done).await? {
                break;
            }
        }
        self.checkpoint(table, done).await
    }

    /// Takes days out that are too old.
    async fn expire(
        &self,
        table: Table,
        removed: &mut Removed,
        done: &mut Maintained,
    ) -> Result<(), StorageError> {
        let view = self.state().view.clone();
        let now = self.clock.now().min(newest_append(&view).unwrap_or(i64::MAX));
        let retain = &self.options.retain;
        let age = match table {
            Table::Readings => retain.readings,
            Table::Positions => retain.person_positions,
            Table::Quarantine => retain.quarantine,
            Table::Arrivals => retain.arrivals,
            Table::Events => retain.events,
            Table::Stats => retain.stats_5min,
        };
        let first_kept = local_day(now - age, self.options.zone_offset_s);
        let old = |f: &&Arc<FileMeta>| f.day.is_some_and(|day| day < first_kept);
        let remove: Vec<String> =
            view.files(table).files.iter().filter(old).map(|f| f.path.clone()).collect();
        if remove.is_empty() {
            return Ok(());
        }
        let count = remove.len();
        let change = Change { operation: "DELETE", data_change: true, remove, ..Change::default() };
        if self.commit_maintenance(table, change, removed).await? {
            done.expired += count;
            self.metrics.expired_files.inc_by(count as u64);
        }
        Ok(())
    }

    /// Merges files into one; whether it came to be committed.
    async fn merge(
        &self,
        table: Table,
        view: &Arc<View>,
        merge: &Merge,
        removed: &mut Removed,
        done: &mut Maintained,
    ) -> Result<bool, StorageError> {
        let unique = self.writer.lock().await.unique();
        let making = Making {
            zone_offset_s: self.options.zone_offset_s,
            file_rows_max: self.options.file_rows_max,
            level: LEVEL,
            unique,
        };
        let schema = table.file_schema();
        let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let rows = self.engine.merge(view, table, &merge.paths, &columns, None).await?;
        let work = self.engine.handle().spawn(merged(rows, table, making));
        let (read, encoded) = AbortOnDrop(work)
            .await
            .map_err(|e| StorageError::Read(format!("merging files failed: {e}")))??;
        if merge.rows.is_some_and(|rows| rows != read) {
            let message = format!(
                "merging {} files gave {read} rows, their statistics say {:?}; nothing was changed",
                merge.paths.len(),
                merge.rows
            );
            return Err(StorageError::Table { table: table.name().into(), message });
        }
        let store = self.table_store(table);
        let mut change = Change {
            operation: "OPTIMIZE",
            data_change: false,
            remove: merge.paths.clone(),
            ..Change::default()
        };
        for Encoded { file, bytes } in encoded {
            store.put(&Path::from(file.path.as_str()), bytes.clone().into()).await?;
            self.metrics.written_bytes.inc_by(bytes.len() as u64);
            change.add.push(file);
        }
        if merge.paths.iter().all(|path| removed.counted.contains(path)) {
            removed.counted.extend(change.add.iter().map(|file| file.path.clone()));
        }
        let (from, into) = (change.remove.len(), change.add.len());
        let committed = self.commit_maintenance(table, change, removed).await?;
        if committed {
            done.merged += from;
            done.into += into;
            self.metrics.compacted_files.inc_by(from as u64);
        }
        Ok(committed)
    }

    /// The store rooted at a table.
    pub fn table_store(&self, table: Table) -> impl ObjectStore {
        object_store::prefix::PrefixStore::new(self.lake.clone(), Path::from(table.name()))
    }

    /// Commits, unless a flush stands between its commits: its rows would be seen twice. What was not committed is deleted.
    pub async fn commit_maintenance(
        &self,
        table: Table,
        mut change: Change,
        removed: &mut Removed,
    ) -> Result<bool, StorageError> {
        let mut writer = self.writer.lock().await;
        change.id = writer.unique();
        let now = self.clock.now();
        let result = if writer.is_half_done() {
            Err(CommitError::Gone("a flush is half done".to_owned()))
        } else {
            writer.log(table).commit(&change, now / 1000).await
        };
        match result {
            Ok(()) => {
                self.show(table, &mut writer);
                removed.files.extend(change.remove.into_iter().map(|path| ((table, path), now)));
                Ok(true)
            }
            // Another process was faster. Its files stay, ours go.
            Err(CommitError::Gone(_) | CommitError::Moved { .. }) => {
                removed.files.extend(change.add.into_iter().map(|file| ((table, file.path), now)));
                Ok(false)
            }
            // It may have been committed all the same: whether a file is in the table is looked at before it is deleted.
            Err(CommitError::Other(e)) => {
                removed.files.extend(change.add.into_iter().map(|file| ((table, file.path), now)));
                Err(e)
            }
        }
    }

    /// Queries see the table as the log now has it.
    fn show(&self, table: Table, writer: &mut crate::writer::Writer) {
        let snapshot = writer.log(table).snapshot();
        let mut state = self.state();
        state.view = Arc::new(state.view.with(table, snapshot));
    }

    /// Reads what other processes committed.
    pub async fn refresh(&self) -> Result<(), StorageError> {
        let mut writer = self.writer.lock().await;
        if writer.is_half_done() {
            return Ok(());
        }
        for table in Table::ALL {
            let Some(log) = writer.logs.get_mut(table as usize) else { continue };
            let before = log.version();
            log.refresh().await?;
            if log.version() != before {
                self.show(table, &mut writer);
            }
        }
        Ok(())
    }

    async fn checkpoint(&self, table: Table, done: &mut Maintained) -> Result<(), StorageError> {
        let every = self.options.checkpoint_every.max(1);
        let mut writer = self.writer.lock().await;
        let version = writer.log(table).version();
        let last = writer.checkpointed.get(&table).copied().unwrap_or(0);
        if version / every <= last / every {
            return Ok(());
        }
        let log = writer.log(table).clone_for_checkpoint();
        drop(writer); // flushes need not wait for it
        log.write().await?;
        self.writer.lock().await.checkpointed.insert(table, version);
        done.checkpoints += 1;
        Ok(())
    }

    /// Deletes what has been out of its table for long enough.
    async fn delete_removed(&self, removed: &mut Removed, done: &mut Maintained) -> Result<(), StorageError> {
        let now = self.clock.now();
        if removed.swept.is_none_or(|last| now - last >= SWEEP_EVERY) {
            self.sweep(removed, now).await?;
            removed.swept = Some(now);
        }
        let due = |seen: &Micros| now - seen >= self.options.keep_removed;
        let ready: Vec<(Table, String)> =
            removed.files.iter().filter(|(_, t)| due(t)).map(|(f, _)| f.clone()).collect();
        for (table, path) in ready {
            let in_use = {
                let mut writer = self.writer.lock().await;
                writer.log(table).has(&path) || writer.is_pending(table, &path)
            };
            if !in_use {
                match self.table_store(table).delete(&Path::from(path.as_str())).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
                done.deleted += 1;
                self.metrics.deleted_files.inc();
            }
            removed.files.remove(&(table, path));
        }
        Ok(())
    }

    /// Finds files that are in no version, old enough not to be on their way into one.
    async fn sweep(&self, removed: &mut Removed, now: Micros) -> Result<(), StorageError> {
        let view = self.state().view.clone();
        for table in Table::ALL {
            let named: HashSet<&str> = view.files(table).files.iter().map(|f| f.path.as_str()).collect();
            let store = self.table_store(table);
            let mut list = store.list(None);
            while let Some(meta) = list.try_next().await? {
                let path = meta.location.to_string();
                let old = now - meta.last_modified.timestamp_micros() >= STRAY_AGE;
                if path.starts_with("day=") && old && !named.contains(path.as_str()) {
                    removed.files.entry((table, path)).or_insert(now);
                }
            }
        }
        Ok(())
    }
}

/// The files that others are merged into, and how many rows those had.
async fn merged(
    mut rows: SendableRecordBatchStream,
    table: Table,
    making: Making,
) -> Result<(u64, Vec<Encoded>), StorageError> {
    let (mut writers, mut parts, mut read) = (DayWriters::new(table, making), Folder::default(), 0);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        read += batch.num_rows() as u64;
        if table == Table::Stats {
            parts.parts(&batch);
            writers.write(&parts.take(false));
        } else {
            writers.write(&batch);
        }
    }
    writers.write(&parts.take(true));
    Ok((read, writers.finish()))
}

/// The newest append time in `arrivals`.
fn newest_append(view: &View) -> Option<Micros> {
    let times = view.files(Table::Arrivals).files.iter().filter_map(|f| f.times(Table::Arrivals, "appended"));
    times.map(|(_, last)| last).max()
}
