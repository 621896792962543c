//! Ends nested loop joins in time. They try every pair of rows within one step of the engine, which may take minutes while
//! the filter lets nothing through, and nothing outside can stop a step. So their filter looks at the clock itself.

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Words by which the error of a passed deadline is known.
pub const PASSED: &str = "the deadline of the query has passed";

/// When a query must end, or that nobody waits for it any more.
#[derive(Clone, Debug)]
pub struct Deadline {
    until: Instant,
    abandoned: Arc<AtomicBool>,
}

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Self {
        let now = Instant::now();
        // A limit beyond what the clock can say is none.
        let until = now.checked_add(time).unwrap_or(now + Duration::from_secs(1 << 32));
        Self { until, abandoned: Arc::default() }
    }

    /// Nobody waits any more.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if self.abandoned.load(Ordering::Relaxed) || Instant::now() >= self.until {
            return Err(DataFusionError::Execution(PASSED.to_owned()));
        }
        Ok(())
    }

    /// The plan whose nested loop joins keep to it.
    ///
    /// # Errors
    /// When the plan cannot be put together again.
    pub fn set_on(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let each = |node: Arc<dyn ExecutionPlan>| {
            let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() else {
                return Ok(Transformed::no(node));
            };
            let Some(filter) = join.filter() else { return Ok(Transformed::no(node)) };
            let checked = Checked { inner: filter.expression().clone(), deadline: self.clone() };
            let filter =
                JoinFilter::new(Arc::new(checked), filter.column_indices().to_vec(), filter.schema().clone());
            let join =
                NestedLoopJoinExecBuilder::new(join.left().clone(), join.right().clone(), *join.join_type())
                    .with_projection_ref(join.projection().clone())
                    .with_filter(Some(filter))
                    .build()?;
            Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>))
        };
        Ok(plan.transform_up(each)?.data)
    }
}

/// An expression that fails once the deadline has passed.
#[derive(Debug)]
struct Checked {
    inner: Arc<dyn PhysicalExpr>,
    deadline: Deadline,
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Checked {}

impl std::hash::Hash for Checked {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Checked {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.deadline.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Self { inner, deadline: self.deadline.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
