//! Hands one delivery to the sink and stays with it until it is durable: the simple way, for a source that has one delivery
//! under way at a time. MQTT keeps several under way and has its own window.

use crate::backoff::Backoff;
use crate::metrics::{SourceMetrics, Tally};
use crate::{Context, Delivery, SinkError};
use tokio_util::sync::CancellationToken;

/// Returns when the delivery is durable; tries again, with back-off, as long as the log does not take it.
///
/// # Errors
/// [`SinkError::Closed`] when the sink or `stop` says so: the delivery must then not be acknowledged.
pub async fn deliver(
    context: &Context,
    metrics: &SourceMetrics,
    delivery: Delivery,
    stop: &CancellationToken,
) -> Result<(), SinkError> {
    let tally = Tally::of(&delivery);
    let mut backoff = Backoff::sink();
    loop {
        match context.sink.accept(&context.info, delivery.clone()).await {
            Ok(()) => {
                metrics.durable(&tally);
                return Ok(());
            }
            Err(SinkError::Closed) => return Err(SinkError::Closed),
            Err(SinkError::Retry(why)) => {
                metrics.retries.inc();
                tracing::debug!(source = %context.info.name, why, "delivery held back");
                tokio::select! {
                    () = tokio::time::sleep(backoff.delay()) => {}
                    () = stop.cancelled() => return Err(SinkError::Closed),
                }
            }
        }
    }
}
