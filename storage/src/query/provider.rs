//! A table of the lake in a query: its files, those left out that cannot hold a wanted row, and its tail.

use super::need::Need;
use super::tail::TailScan;
use crate::delta::{FileMeta, Snapshot};
use crate::schema::{DAY_COLUMN, Table, day_field};
use crate::view::Tail;
use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::expressions::col as physical_col;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectStore;
use std::collections::HashSet;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct LakeTable {
    table: Table,
    snapshot: Arc<Snapshot>,
    tail: Tail,
    zone_offset_s: i32,
    schema: SchemaRef,
    reading: Option<(Arc<dyn ObjectStore>, Arc<FileMetadataCache>)>,
    /// Only these files, each of which is sorted as the table is.
    only_sorted: Option<HashSet<String>>,
}

impl LakeTable {
    /// Over the files of a snapshot and a tail.
    pub fn new(table: Table, snapshot: Arc<Snapshot>, tail: Tail, zone_offset_s: i32) -> Self {
        let mut fields = table.file_schema().fields().to_vec();
        fields.push(Arc::new(day_field()));
        let schema = Arc::new(Schema::new(fields));
        Self { table, snapshot, tail, zone_offset_s, schema, reading: None, only_sorted: None }
    }

    /// Keeps the footers of files that were read before.
    #[must_use]
    pub fn reading(mut self, lake: Arc<dyn ObjectStore>, footers: Arc<FileMetadataCache>) -> Self {
        self.reading = Some((lake, footers));
        self
    }

    /// Reads only these files, one after the other each, and says that they are sorted.
    #[must_use]
    pub fn only_sorted(mut self, paths: &[String]) -> Self {
        self.only_sorted = Some(paths.iter().cloned().collect());
        self
    }

    /// Files that may hold a wanted row.
    fn files(&self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<Arc<FileMeta>>> {
        let all = self.snapshot.files.iter();
        let files: Vec<Arc<FileMeta>> = match &self.only_sorted {
            Some(only) => all.filter(|f| only.contains(&f.path)).cloned().collect(),
            None => all.cloned().collect(),
        };
        let Some(predicate) = predicate else { return Ok(files) };
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(self.schema.clone())
            .try_build(predicate.clone())?;
        if pruning.always_true() {
            return Ok(files);
        }
        let keep = pruning.prune(&Ranges { table: self.table, files: &files })?;
        Ok(files.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(f, _)| f).collect())
    }

    fn partitioned(&self, file: &FileMeta) -> PartitionedFile {
        PartitionedFile::new(format!("{}/{}", self.table.name(), file.path), file.size)
            .with_partition_values(vec![ScalarValue::Date32(file.day)])
    }

    fn scan_files(
        &self,
        files: &[Arc<FileMeta>],
        predicate: Option<Arc<dyn PhysicalExpr>>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = TableSchema::builder(self.table.file_schema())
            .with_table_partition_cols(vec![Arc::new(day_field())])
            .build();
        let mut source = ParquetSource::new(schema)
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_enable_page_index(true);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        if let Some((lake, footers)) = &self.reading {
            let factory = CachedParquetFileReaderFactory::new(lake.clone(), footers.clone());
            source = source.with_parquet_file_reader_factory(Arc::new(factory));
        }
        let one_each = self.only_sorted.is_some();
        let groups = if one_each { files.len() } else { partitions.clamp(1, files.len()) };
        let mut grouped: Vec<Vec<PartitionedFile>> = vec![Vec::new(); groups];
        for (i, file) in files.iter().enumerate() {
            grouped[i % groups].push(self.partitioned(file));
        }
        let url = ObjectStoreUrl::parse(super::lake_url().as_str())?;
        let mut builder = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(grouped.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit);
        if one_each {
            builder = builder.with_output_ordering(vec![self.ordering()?]);
        }
        Ok(DataSourceExec::from_data_source(builder.build()))
    }

    fn ordering(&self) -> Result<LexOrdering> {
        let by =
            |name: &&str| Ok(PhysicalSortExpr::new_default(physical_col(name, &self.schema)?).nulls_last());
        let by: Vec<PhysicalSortExpr> = self.table.sorted_by().iter().map(by).collect::<Result<_>>()?;
        Ok(LexOrdering::new(by).expect("every table is sorted by something"))
    }

    fn scan_tail(
        &self,
        filters: &[Expr],
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&projection)?);
        let scan = TailScan {
            table: self.table,
            projection,
            schema: schema.clone(),
            tail: self.tail.clone(),
            need: Need::of(filters),
            zone_offset_s: self.zone_offset_s,
        };
        let limit = if filters.is_empty() { limit } else { None };
        let plan = StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Files and tail are only narrowed; the filter above decides.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = match conjunction(filters.iter().cloned()) {
            Some(all) => {
                let schema = DFSchema::try_from(self.schema.clone())?;
                Some(session.create_physical_expr(all, &schema)?)
            }
            None => None,
        };
        // A filter above may drop rows: only without one may a scan end early.
        let limit = if filters.is_empty() { limit } else { None };
        let files = self.files(predicate.as_ref())?;
        let mut parts = Vec::new();
        if !files.is_empty() {
            let partitions = session.config().target_partitions();
            parts.push(self.scan_files(&files, predicate, projection, limit, partitions)?);
        }
        if !matches!(self.tail, Tail::Empty) {
            parts.push(self.scan_tail(filters, projection, limit)?);
        }
        match parts.len() {
            0 => {
                let schema = match projection {
                    Some(p) => Arc::new(self.schema.project(p)?),
                    None => self.schema.clone(),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            1 => Ok(parts.remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }
}

/// The ranges of files as the pruning asks for them.
struct Ranges<'a> {
    table: Table,
    files: &'a [Arc<FileMeta>],
}

impl Ranges<'_> {
    fn column(
        &self,
        column: &Column,
        pick: fn(&(ScalarValue, ScalarValue)) -> &ScalarValue,
    ) -> Option<ArrayRef> {
        if column.name == DAY_COLUMN {
            return ScalarValue::iter_to_array(self.files.iter().map(|f| ScalarValue::Date32(f.day))).ok();
        }
        let schema = self.table.file_schema();
        let ix = schema.index_of(&column.name).ok()?;
        let unknown = ScalarValue::try_from(schema.field(ix).data_type()).ok()?;
        let values = self
            .files
            .iter()
            .map(|f| f.ranges[ix].as_ref().map_or_else(|| unknown.clone(), |r| pick(r).clone()));
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for Ranges<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column, |r| &r.0)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column, |r| &r.1)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|f| f.rows).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
