//! SQL over table and tail as one. A session is made for each query, with its own memory limit, over tables that are pinned
//! once; it reads and nothing else: no DDL, no DML, no COPY, no SET, no table functions on files, no file names as tables.
//!
//! Queries and compaction run on their own threads where [`Options::query_threads`] says so, so that a heavy query does not
//! delay an alarm.
//!
//! [`Options::query_threads`]: crate::Options::query_threads

mod deadline;
mod need;
mod provider;
mod stats;
mod stream;
mod tail;

use deadline::Deadline;
pub use provider::LakeTable;
pub use stream::{AbortOnDrop, QueryStream};

use crate::error::{QueryError, StorageError};
use crate::options::Limits;
use crate::schema::{TABLES, Table};
use crate::view::{Pinned, Tail, View};
use datafusion::catalog::TableProvider;
use datafusion::config::Dialect;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::SessionState;
use datafusion::execution::cache::cache_manager::{CacheManagerConfig, FileMetadataCache};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{Expr, SessionConfig, SessionContext, col};
use object_store::ObjectStore;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};
use url::Url;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Memory of look-ups and compaction, which are bounded by what they read.
const OWN_MEMORY: usize = 1 << 30;

/// Makes sessions.
pub struct Engine {
    lake: Arc<dyn ObjectStore>,
    metadata: Arc<FileMetadataCache>,
    threads: Option<Runtime>,
    partitions: usize,
    zone_offset_s: i32,
}

impl Engine {
    /// Over the lake, with `threads` of its own (0: those of the caller).
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn new(lake: Arc<dyn ObjectStore>, threads: usize, zone_offset_s: i32) -> Result<Self, StorageError> {
        let env = RuntimeEnvBuilder::new().build()?;
        let metadata = env.cache_manager.get_file_metadata_cache();
        let start = |n| {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(n).thread_name("query").on_thread_start(crate::background::lower_priority);
            builder.enable_all().build()
        };
        let own = if threads > 0 { Some(start(threads)) } else { None };
        let own = own.transpose().map_err(|e| StorageError::Settings(format!("query threads: {e}")))?;
        Ok(Self { lake, metadata, threads: own, partitions: threads.max(1), zone_offset_s })
    }

    /// Where queries run.
    pub fn handle(&self) -> Handle {
        self.threads.as_ref().map_or_else(Handle::current, |r| r.handle().clone())
    }

    fn session(&self, memory: usize) -> Result<SessionState, DataFusionError> {
        let caches = CacheManagerConfig::default().with_file_metadata_cache(Some(self.metadata.clone()));
        let env = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .with_cache_manager(caches)
            .build_arc()?;
        env.register_object_store(&lake_url(), self.lake.clone());
        let mut config = SessionConfig::new()
            .with_batch_size(BATCH_ROWS)
            .with_target_partitions(self.partitions)
            .with_information_schema(true)
            .with_default_catalog_and_schema("firedamp", "public");
        let options = config.options_mut();
        // Not the generic dialect: that one takes `offset`, a column here, for the clause where it follows a comma.
        options.sql_parser.dialect = Dialect::PostgreSQL;
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        Ok(SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(env)
            .with_default_features()
            .build())
    }

    fn table(&self, table: Table, pinned: &Pinned) -> LakeTable {
        let tail = pinned.tail[table as usize].clone();
        LakeTable::new(table, pinned.view.files(table).clone(), tail, self.zone_offset_s)
            .reading(self.lake.clone(), self.metadata.clone())
    }

    /// The tables that a query names.
    ///
    /// # Errors
    /// [`QueryError::Sql`] when it cannot be parsed.
    pub fn tables_named(&self, sql: &str) -> Result<Vec<String>, QueryError> {
        let state = self.session(OWN_MEMORY).map_err(sql_error)?;
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(sql, &dialect).map_err(sql_error)?;
        let names = state.resolve_table_references(&statement).map_err(sql_error)?;
        Ok(names.iter().map(|n| n.table().to_owned()).collect())
    }

    /// Starts a query over what was pinned; `extra` are tables held in memory.
    ///
    /// # Errors
    /// [`QueryError`]; what goes wrong later comes through the stream.
    pub async fn query(
        &self,
        sql: &str,
        limits: Limits,
        pinned: &Pinned,
        extra: Vec<(&'static str, Arc<dyn TableProvider>)>,
    ) -> Result<QueryStream, QueryError> {
        let state = self.session(limits.memory).map_err(sql_error)?;
        let context = SessionContext::new_with_state(state);
        for table in Table::ALL {
            let mut provider: Arc<dyn TableProvider> = Arc::new(self.table(table, pinned));
            if table == Table::Stats {
                provider = stats::added_up(provider).map_err(sql_error)?;
            }
            context.register_table(table.name(), provider).map_err(sql_error)?;
        }
        for (name, provider) in extra {
            context.register_table(name, provider).map_err(sql_error)?;
        }
        let handle = self.handle();
        let sql = sql.to_owned();
        let deadline = Deadline::after(limits.time);
        let until = deadline.clone();
        let planned = handle.spawn(async move {
            let plan = context.state().create_logical_plan(&sql).await.map_err(sql_error)?;
            only_reads(&plan)?;
            let frame = context.execute_logical_plan(plan).await.map_err(|e| stream::error_of(e, limits))?;
            let task = Arc::new(frame.task_ctx());
            let plan = frame.create_physical_plan().await.and_then(|plan| until.set_on(plan));
            let rows = plan.and_then(|plan| datafusion::physical_plan::execute_stream(plan, task));
            rows.map_err(|e| stream::error_of(e, limits))
        });
        let planned = AbortOnDrop(planned);
        let rows = match tokio::time::timeout(limits.time, planned).await {
            Ok(Ok(result)) => result?,
            Ok(Err(e)) => return Err(QueryError::Sql(format!("the query engine failed: {e}"))),
            Err(_) => return Err(stream::too_long(limits)),
        };
        Ok(QueryStream::start(&handle, rows, limits, deadline))
    }

    /// Reads columns of the files of one table, the tail left out, filtered.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn scan(
        &self,
        view: &Arc<View>,
        table: Table,
        columns: &[&str],
        filter: Expr,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let pinned = Pinned { view: view.clone(), tail: [const { Tail::Empty }; TABLES] };
        let context = SessionContext::new_with_state(self.session(OWN_MEMORY)?);
        let frame = context.read_table(Arc::new(self.table(table, &pinned)))?;
        let frame = frame.filter(filter)?.select(columns.iter().map(|c| col(*c)))?;
        frame.execute_stream().await
    }

    /// Reads columns of one file of a table.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn scan_file(
        &self,
        view: &Arc<View>,
        table: Table,
        path: &str,
        columns: &[&str],
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let provider = LakeTable::new(table, view.files(table).clone(), Tail::Empty, self.zone_offset_s)
            .reading(self.lake.clone(), self.metadata.clone())
            .only_sorted(&[path.to_owned()]);
        let context = SessionContext::new_with_state(self.session(OWN_MEMORY)?);
        let frame = context.read_table(Arc::new(provider))?;
        frame.select(columns.iter().map(|c| col(*c)))?.execute_stream().await
    }

    /// Reads columns of some files of a table, filtered, by their order, which each of them keeps. The columns must begin with
    /// those that the table is sorted by, but for the last ones that are not asked for.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn merge(
        &self,
        view: &Arc<View>,
        table: Table,
        paths: &[String],
        columns: &[&str],
        filter: Option<Expr>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let provider = LakeTable::new(table, view.files(table).clone(), Tail::Empty, self.zone_offset_s)
            .reading(self.lake.clone(), self.metadata.clone())
            .only_sorted(paths);
        let context = SessionContext::new_with_state(self.session(OWN_MEMORY)?);
        let mut frame = context.read_table(Arc::new(provider))?;
        if let Some(filter) = filter {
            frame = frame.filter(filter)?;
        }
        let frame = frame.select(columns.iter().map(|c| col(*c)))?;
        let sorted_by = table.sorted_by().iter().take_while(|c| columns.contains(c));
        let order = sorted_by.map(|c| col(*c).sort(true, false)).collect();
        let frame = frame.sort(order)?;
        let task = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        debug_assert!(
            !displayable(plan.as_ref()).indent(false).to_string().contains(" SortExec"),
            "merging streams"
        );
        datafusion::physical_plan::execute_stream(plan, task)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Dropping a runtime inside another one would panic.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Where sessions find the lake's store.
fn lake_url() -> Url {
    Url::parse("lake://lake/").expect("a constant")
}

fn sql_error(e: DataFusionError) -> QueryError {
    QueryError::Sql(e.strip_backtrace())
}

fn only_reads(plan: &LogicalPlan) -> Result<(), QueryError> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|e| QueryError::ReadOnly(e.strip_backtrace()))
}
