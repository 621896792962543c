//! Removes once a minute what the log's retention allows and every consumer has read. Kafka's own retention asks nobody: there
//! the collector's log is the one that is trimmed, behind the forwarder.

use crate::runners::own::OwnAlarms;
use model::{Clock, Micros, Stream};
use std::sync::Arc;
use std::time::Duration;
use stream::Log;
use tokio_util::sync::CancellationToken;

/// Consumer of the collector's own log where Kafka is configured.
pub const FORWARDER: &str = "forwarder";

/// Streams that a consumer never reads: one that has saved no position keeps everything.
const NOT_READ: [(&str, Stream); 3] =
    [("rules", Stream::Transitions), ("alerts", Stream::Readings), (FORWARDER, Stream::Transitions)];

/// Trims behind `consumers` what is older than `retain`, until stopped.
pub async fn run(
    log: Arc<dyn Log>,
    consumers: &'static [&'static str],
    retain: Micros,
    clock: Arc<dyn Clock>,
    own: OwnAlarms,
    stop: CancellationToken,
) {
    for partition in 0..log.partitions() {
        for (consumer, of) in NOT_READ {
            if let Err(e) = log.save_position(consumer, of, partition, stream::NOT_READ).await {
                tracing::warn!(consumer, "position not saved: {e}");
            }
        }
    }
    loop {
        tokio::select! {
            biased; // a simulation's seed must replay
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
        match log.trim(consumers, clock.now() - retain).await {
            Ok(()) => own.clear("log-trim", "log", "the log is trimmed again".to_owned()),
            Err(e) => own.raise("log-trim", "log", format!("the log cannot be trimmed: {e}")),
        }
    }
}
