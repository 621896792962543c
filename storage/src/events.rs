//! Transitions that are in the table or the tail already: rules decide again after a crash, with the same ids.

use crate::error::StorageError;
use crate::schema::Table;
use crate::storage::Inner;
use arrow::array::AsArray;
use datafusion::common::ScalarValue;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use model::Transition;
use std::collections::HashSet;

impl Inner {
    /// Which of these transitions are there.
    pub async fn known_events(&self, transitions: &[Transition]) -> Result<Vec<bool>, StorageError> {
        let (first, last) = match (
            transitions.iter().map(|t| t.decided).min(),
            transitions.iter().map(|t| t.decided).max(),
        ) {
            (Some(first), Some(last)) => (first, last),
            _ => return Ok(Vec::new()),
        };
        let (view, mut ids) = {
            let state = self.state();
            let tail = state.generations();
            let ids: HashSet<String> =
                tail.flat_map(|g| &g.events).map(|e| e.transition.id.to_string()).collect();
            (state.view.clone(), ids)
        };
        // The partition clock never goes back: what was decided after everything in the files is in none of them.
        let files = &view.files(Table::Events).files;
        let overlaps = |t: Option<(i64, i64)>| t.is_none_or(|(from, to)| from <= last && to >= first);
        if files.iter().any(|f| overlaps(f.times(Table::Events, "decided"))) {
            let at = |t| lit(ScalarValue::TimestampMicrosecond(Some(t), Some("UTC".into())));
            let during = col("decided").between(at(first), at(last));
            let mut rows = self.engine.scan(&view, Table::Events, &["id"], during).await?;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                ids.extend(batch.column(0).as_string_view().iter().flatten().map(str::to_owned));
            }
        }
        // One that stands twice among them is taken once.
        Ok(transitions.iter().map(|t| !ids.insert(t.id.to_string())).collect())
    }
}
