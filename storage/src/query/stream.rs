//! The rows of an answer, under the limits of time and rows. Text leaves as plain strings.

use super::deadline::{Deadline, PASSED};
use crate::error::{QueryError, StorageError};
use crate::options::Limits;
use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, Sleep};

/// Batches waiting for a slow reader.
const WAITING_MAX: usize = 2;

/// What the engine gets beyond the limit to end by itself.
const LATE: Duration = Duration::from_millis(500);

/// A task that ends with its handle.
pub struct AbortOnDrop<T>(pub JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The answer of a query. Dropping it stops the query.
pub struct QueryStream {
    schema: SchemaRef,
    /// Batches, then `None`; a channel that closes without it means that the engine broke down.
    rows: mpsc::Receiver<Result<Option<RecordBatch>, QueryError>>,
    ended: bool,
    /// Fires when the engine is stuck in a step for longer than the query may take.
    late: Pin<Box<Sleep>>,
    limits: Limits,
    deadline: Deadline,
    _task: AbortOnDrop<()>,
}

impl std::fmt::Debug for QueryStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Drop for QueryStream {
    fn drop(&mut self) {
        self.deadline.abandon();
    }
}

impl QueryStream {
    pub(super) fn start(
        handle: &Handle,
        mut rows: SendableRecordBatchStream,
        limits: Limits,
        deadline: Deadline,
    ) -> Self {
        let schema = plain_schema(&rows.schema());
        let (send, receive) = mpsc::channel(WAITING_MAX);
        let until = Instant::now() + limits.time;
        let plain = schema.clone();
        let task = handle.spawn(async move {
            let mut count = 0;
            loop {
                let next = match tokio::time::timeout_at(until, rows.next()).await {
                    Ok(None) => Ok(None),
                    Ok(Some(Ok(batch))) => {
                        count += batch.num_rows();
                        if count > limits.rows {
                            Err(QueryError::Rows { limit: limits.rows, setting: "storage.query.rows" })
                        } else {
                            plain_batch(&batch, &plain).map(Some)
                        }
                    }
                    Ok(Some(Err(e))) => Err(error_of(e, limits)),
                    Err(_) => Err(too_long(limits)),
                };
                let last = !matches!(next, Ok(Some(_)));
                if send.send(next).await.is_err() || last {
                    return;
                }
            }
        });
        let late = Box::pin(tokio::time::sleep_until(until + LATE));
        Self { schema, rows: receive, ended: false, late, limits, deadline, _task: AbortOnDrop(task) }
    }

    /// Columns of the answer.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// All rows at once.
    ///
    /// # Errors
    /// The first error of the stream.
    pub async fn collect_all(mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut all = Vec::new();
        while let Some(batch) = self.next().await {
            all.push(batch?);
        }
        Ok(all)
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch, QueryError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match self.rows.poll_recv(cx) {
            Poll::Ready(Some(Ok(Some(batch)))) => return Poll::Ready(Some(Ok(batch))),
            Poll::Ready(Some(Ok(None))) => None,
            Poll::Ready(Some(Err(e))) => Some(Err(e)),
            Poll::Ready(None) => {
                Some(Err(QueryError::Sql("the query engine failed; its log says why".to_owned())))
            }
            Poll::Pending => {
                std::task::ready!(self.late.as_mut().poll(cx));
                Some(Err(too_long(self.limits)))
            }
        };
        self.ended = true;
        Poll::Ready(next)
    }
}

pub(super) fn too_long(limits: Limits) -> QueryError {
    QueryError::Time { limit_ms: limits.time.as_millis(), setting: "storage.query.time" }
}

/// What the engine says, as the user is told.
pub(super) fn error_of(e: DataFusionError, limits: Limits) -> QueryError {
    match e.find_root() {
        DataFusionError::ResourcesExhausted(detail) => QueryError::Memory {
            limit: limits.memory,
            setting: "storage.query.memory",
            detail: detail.lines().next().unwrap_or_default().to_owned(),
        },
        DataFusionError::Execution(words) if words == PASSED => too_long(limits),
        DataFusionError::ObjectStore(e) => StorageError::Unavailable(e.to_string()).into(),
        root => QueryError::Sql(root.strip_backtrace()),
    }
}

fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

fn plain_schema(schema: &Schema) -> SchemaRef {
    let field = |f: &Arc<Field>| f.as_ref().clone().with_data_type(plain_type(f.data_type()));
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let plain = |e: arrow::error::ArrowError| QueryError::Sql(e.to_string());
    let columns = batch.columns().iter().zip(schema.fields()).map(|(c, f)| cast(c, f.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(plain)?;
    let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &rows).map_err(plain)
}
