//! One Delta table as this program writes it: its files and application transactions at one version, and commits onto it.
//!
//! `deltalake-core` makes the table, reads its log at the start (checkpoints included), writes checkpoints and cleans the
//! log up; the actions are its types. The commit itself is made here, because it must be exact to the letter:
//!
//! 1. The transactions that this writer owns must stand where it left them, and every file to be removed must be there.
//! 2. The actions are written as version `n + 1` with put-if-absent.
//! 3. Where somebody else was faster, or the store gave no clear answer, the new versions are read, our own commit is
//!    recognised by its id in `commitInfo`, and else it starts again at 1.
//!
//! A commit id stays the same when a commit is tried again later, so that a put which took effect after it had been given
//! up is found, not repeated.

mod actions;
mod file;
mod txns;

pub use file::{FileMeta, NewFile, StatsBuilder, new_path};

use crate::error::StorageError;
use crate::schema::{DAY_COLUMN, Table};
use arrow::datatypes::DataType as ArrowType;
use deltalake_core::kernel::{Action, DataType, StructField};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore, get_actions};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use url::Url;

/// A commit is tried against so many newer versions of other writers before it is given up for now.
const ATTEMPTS_MAX: usize = 20;

/// What one commit changes.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Recognises the commit; unique for ever, the same in every try of it.
    pub id: String,
    /// `WRITE`, `OPTIMIZE` or `DELETE`.
    pub operation: &'static str,
    /// Files added.
    pub add: Vec<NewFile>,
    /// Paths of files removed.
    pub remove: Vec<String>,
    /// Whether rows come or go (false for compaction).
    pub data_change: bool,
    /// Application transactions set: name, value that must stand there before, new value.
    pub txns: Vec<Txn>,
}

/// One application transaction of a commit.
#[derive(Clone, Debug)]
pub struct Txn {
    /// Name.
    pub app: String,
    /// What must stand in the table before the commit; `None`: nothing.
    pub before: Option<i64>,
    /// What stands there after it.
    pub after: i64,
}

/// Why a commit was not made.
#[derive(Debug)]
pub enum CommitError {
    /// A transaction of this writer was moved by another.
    Moved {
        /// Its name.
        app: String,
        /// What this writer expected.
        expected: Option<i64>,
        /// What stands there.
        found: Option<i64>,
    },
    /// A file to be removed is not there any more.
    Gone(String),
    /// Anything else.
    Other(StorageError),
}

impl From<StorageError> for CommitError {
    fn from(e: StorageError) -> Self {
        Self::Other(e)
    }
}

/// The files of a table at one version: what a query is pinned to.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Its files, by path.
    pub files: Vec<Arc<FileMeta>>,
}

/// The table. One instance writes; snapshots are handed out.
pub struct DeltaLog {
    table: Table,
    store: Arc<dyn ObjectStore>,
    kernel: LogStoreRef,
    version: u64,
    files: BTreeMap<String, Arc<FileMeta>>,
    txns: HashMap<String, i64>,
    /// The commit last tried, and whether it was seen in the log.
    tried: (String, bool),
}

impl DeltaLog {
    /// Opens the table in its folder of the lake; with `create` it is made when it is not there, and a table of an earlier
    /// version gets the columns that it lacks.
    ///
    /// # Errors
    /// When the store does not answer, or what lies there is not this table.
    pub async fn open(
        lake: &Arc<dyn ObjectStore>,
        table: Table,
        create: bool,
    ) -> Result<Option<Self>, StorageError> {
        let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(lake.clone(), Path::from(table.name())));
        // The scheme is never resolved: the stores are handed over. The path must be the table's place below the root.
        let location =
            Url::parse(&format!("memory:///{}/", table.name())).expect("table names are plain words");
        let kernel = default_logstore(store.clone(), lake.clone(), &location, &StorageConfig::default());
        let wrong = |e: DeltaTableError| delta_error(table, e);
        if !kernel.is_delta_table_location().await.map_err(wrong)? {
            if !create {
                return Ok(None);
            }
            make(table, &kernel).await.map_err(wrong)?;
        }
        let mut state = DeltaTableState::try_new(&kernel, None).await.map_err(wrong)?;
        let new = check_columns(table, &state)?;
        if create && !new.is_empty() {
            let mut opened = DeltaTable::new(kernel.clone());
            opened.load().await.map_err(wrong)?;
            opened.add_columns().with_fields(new).await.map_err(wrong)?;
            state = DeltaTableState::try_new(&kernel, None).await.map_err(wrong)?;
        }
        let version = state.version();
        let mut files = BTreeMap::new();
        for view in state.log_data().iter() {
            if view.deletion_vector_descriptor().is_some() {
                return Err(has_deletion_vectors(table));
            }
            let day = view.partition_values_map().remove(DAY_COLUMN).flatten();
            let stats = view.stats().unwrap_or_default();
            let meta = FileMeta::read(table, &view.path(), view.size(), day.as_deref(), &stats);
            files.insert(meta.path.clone(), Arc::new(meta));
        }
        let txns = txns::load(table, store.as_ref(), version).await?;
        Ok(Some(Self { table, store, kernel, version, files, txns, tried: Default::default() }))
    }

    /// The files at the version known here.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot { files: self.files.values().cloned().collect() })
    }

    /// Version known here.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The store rooted at the table.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Value of an application transaction.
    pub fn txn(&self, app: &str) -> Option<i64> {
        self.txns.get(app).copied()
    }

    /// All application transactions.
    pub fn txns(&self) -> &HashMap<String, i64> {
        &self.txns
    }

    /// Makes the commit; see the module.
    ///
    /// # Errors
    /// [`CommitError`]; the table is then as other writers left it.
    pub async fn commit(&mut self, change: &Change, now_ms: i64) -> Result<(), CommitError> {
        if self.tried.0 != change.id {
            self.tried = (change.id.clone(), false);
        }
        let actions = actions::of(change, now_ms, &self.files);
        for _ in 0..ATTEMPTS_MAX {
            if self.tried.1 {
                return Ok(());
            }
            self.check(change)?;
            let bytes = actions::encode(&actions);
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let failed =
                match self.store.put_opts(&version_path(self.version + 1), bytes.into(), options).await {
                    Ok(_) => {
                        self.version += 1;
                        self.apply(&actions)?;
                        return Ok(());
                    }
                    Err(
                        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. },
                    ) => None,
                    Err(e) => Some(e),
                };
            self.refresh().await?;
            if let (Some(e), false) = (failed, self.tried.1) {
                return Err(StorageError::from(e).into());
            }
        }
        let message = format!("{ATTEMPTS_MAX} tries to commit were each overtaken by another writer");
        Err(StorageError::Unavailable(format!("table `{}`: {message}", self.table.name())).into())
    }

    /// Reads and applies the versions that came since.
    ///
    /// # Errors
    /// When the store does not answer, or another program changed the table's shape.
    pub async fn refresh(&mut self) -> Result<(), StorageError> {
        loop {
            let next = self.version + 1;
            let bytes = match self.store.get(&version_path(next)).await {
                Ok(got) => got.bytes().await?,
                Err(object_store::Error::NotFound { .. }) => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            let actions = get_actions(next, &bytes).map_err(|e| delta_error(self.table, e))?;
            self.tried.1 |= actions::has_id(&actions, &self.tried.0);
            self.version = next;
            self.apply(&actions)?;
        }
    }

    fn check(&self, change: &Change) -> Result<(), CommitError> {
        for txn in &change.txns {
            let found = self.txn(&txn.app);
            if found != txn.before {
                return Err(CommitError::Moved { app: txn.app.clone(), expected: txn.before, found });
            }
        }
        match change.remove.iter().find(|path| !self.files.contains_key(*path)) {
            Some(path) => Err(CommitError::Gone(path.clone())),
            None => Ok(()),
        }
    }

    fn apply(&mut self, actions: &[Action]) -> Result<(), StorageError> {
        for action in actions {
            match action {
                Action::Add(add) => {
                    if add.deletion_vector.is_some() {
                        return Err(has_deletion_vectors(self.table));
                    }
                    let day = add.partition_values.get(DAY_COLUMN).and_then(Option::as_deref);
                    let stats = add.stats.as_deref().unwrap_or_default();
                    let meta = FileMeta::read(self.table, &add.path, add.size, day, stats);
                    self.files.insert(meta.path.clone(), Arc::new(meta));
                }
                Action::Remove(remove) => {
                    self.files.remove(&remove.path);
                }
                Action::Txn(txn) => {
                    self.txns.insert(txn.app_id.clone(), txn.version);
                }
                Action::Protocol(_) | Action::Metadata(_) => {
                    let message = "another program changed its protocol or columns while this one was writing; \
                                   stop it, then start firedamp again";
                    return Err(StorageError::Table {
                        table: self.table.name().into(),
                        message: message.into(),
                    });
                }
                Action::Cdc(_) | Action::CommitInfo(_) | Action::DomainMetadata(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the table has this file.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// What it takes to write a checkpoint beside commits.
    pub fn clone_for_checkpoint(&self) -> Checkpoint {
        Checkpoint { table: self.table, kernel: self.kernel.clone() }
    }
}

/// Writes a checkpoint.
pub struct Checkpoint {
    table: Table,
    kernel: LogStoreRef,
}

impl Checkpoint {
    /// Writes one at the newest version and removes log files that no reader needs any more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn write(self) -> Result<(), StorageError> {
        let wrong = |e| delta_error(self.table, e);
        let mut table = DeltaTable::new(self.kernel.clone());
        table.load().await.map_err(wrong)?;
        deltalake_core::checkpoints::create_checkpoint(&table, None).await.map_err(wrong)?;
        deltalake_core::checkpoints::cleanup_metadata(&table, None).await.map_err(wrong)?;
        Ok(())
    }
}

fn version_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

async fn make(table: Table, kernel: &LogStoreRef) -> Result<(), DeltaTableError> {
    let schema = table.file_schema();
    let fields = schema
        .fields()
        .iter()
        .map(|f| StructField::new(f.name(), delta_type(f.data_type()), f.is_nullable()));
    let day = StructField::new(DAY_COLUMN, DataType::DATE, true);
    CreateBuilder::new()
        .with_log_store(kernel.clone())
        .with_table_name(table.name())
        .with_columns(fields.chain([day]))
        .with_partition_columns([DAY_COLUMN])
        .with_configuration([
            ("delta.logRetentionDuration", Some("interval 2 days")),
            ("delta.deletedFileRetentionDuration", Some("interval 1 days")),
            ("delta.checkpointInterval", Some("100")),
        ])
        .with_save_mode(SaveMode::Ignore)
        .await
        .map(|_| ())
}

fn delta_type(arrow: &ArrowType) -> DataType {
    match arrow {
        ArrowType::Int32 => DataType::INTEGER,
        ArrowType::Int64 => DataType::LONG,
        ArrowType::Float64 => DataType::DOUBLE,
        ArrowType::Boolean => DataType::BOOLEAN,
        ArrowType::Timestamp(..) => DataType::TIMESTAMP,
        _ => DataType::STRING,
    }
}

/// Columns that came to the table after it was made: they may be empty, and rows stored before have nothing in them.
/// Refuses a table that lacks another column or has one with another type.
fn check_columns(table: Table, state: &DeltaTableState) -> Result<Vec<StructField>, StorageError> {
    let found = state.schema();
    let mut new = Vec::new();
    for field in table.file_schema().fields() {
        let expected = delta_type(field.data_type());
        let there = found.field(field.name());
        if there.is_none() && field.is_nullable() {
            new.push(StructField::new(field.name(), expected, true));
        } else if there.is_none_or(|f| *f.data_type() != expected) {
            let message = format!(
                "column `{}` of type {expected} is missing or of another type; this folder was not made by this \
                 version of firedamp, give another `storage.url`",
                field.name()
            );
            return Err(StorageError::Table { table: table.name().into(), message });
        }
    }
    Ok(new)
}

fn has_deletion_vectors(table: Table) -> StorageError {
    let message = "another program wrote deletion vectors, which firedamp does not read; purge them there \
                   (REORG TABLE .. APPLY (PURGE)) and switch delta.enableDeletionVectors off";
    StorageError::Table { table: table.name().into(), message: message.into() }
}

fn delta_error(table: Table, e: DeltaTableError) -> StorageError {
    match e {
        DeltaTableError::ObjectStore { source } => source.into(),
        // The kernel wraps what the store said, and the library its commits; both may pass.
        DeltaTableError::KernelError(_)
        | DeltaTableError::Transaction { .. }
        | DeltaTableError::VersionAlreadyExists(_) => {
            StorageError::Unavailable(format!("table `{}`: {e}", table.name()))
        }
        other => StorageError::Table { table: table.name().into(), message: other.to_string() },
    }
}
