//! `stats_5min` as SQL shows it: the parts of a point's five minutes added up, with their mean.

use crate::schema::DAY_COLUMN;
use datafusion::catalog::TableProvider;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{bit_or, first_value, max, min, sum};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::col;
use std::sync::Arc;

/// Over the rows of the table.
///
/// # Errors
/// None, for the columns are those of the table.
pub fn added_up(parts: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let by = |columns: &[(&str, bool)]| {
        let order = columns.iter().map(|(c, up)| col(*c).sort(*up, false));
        order.collect::<Vec<_>>()
    };
    let of = |column: &str, order: &[(&str, bool)]| first_value(col(column), by(order)).alias(column);
    let lowest = [("min", true), ("min_time", true)];
    let highest = [("max", false), ("max_time", true)];
    let (first, last) = ([("first_time", true), ("first", true)], [("last_time", false), ("last", false)]);
    let together: Vec<Expr> = vec![
        sum(col("readings")).alias("readings"),
        sum(col("count")).alias("count"),
        min(col("min")).alias("min"),
        of("min_time", &lowest),
        max(col("max")).alias("max"),
        of("max_time", &highest),
        sum(col("sum")).alias("sum"),
        of("first", &first),
        of("first_time", &first),
        of("last", &last),
        of("last_time", &last),
        bit_or(col("status")).alias("status"),
    ];
    let keys = ["site", "point", "time", DAY_COLUMN].map(col);
    let shown = ["site", "point", "time", "readings", "count", "min", "min_time", "max", "max_time"].map(col);
    let mean = (col("sum") / col("count")).alias("mean");
    let rest = ["first", "first_time", "last", "last_time", "status", DAY_COLUMN].map(col);
    let plan = LogicalPlanBuilder::scan("stats_5min", provider_as_source(parts), None)?
        .aggregate(keys, together)?
        .project(shown.into_iter().chain([mean]).chain(rest))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
