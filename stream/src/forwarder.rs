//! Store and forward: copies the readings of a collector's own log to Kafka, under the origins they have.
//!
//! One task a partition, one append under way in each, so that the order of a partition is kept whatever fails; the next
//! records are read meanwhile. A batch is sent until it is acknowledged, never skipped. The position is saved in the own
//! log after what is before it was acknowledged: a forwarder that starts again sends some records twice, which consumers
//! drop by their origin.

use crate::metrics::{counter, register};
use crate::{Append, Log, LogError, NOT_READ};
use model::{Entry, Stream};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The name under which the position is saved.
pub const CONSUMER: &str = "forwarder";
/// What one append carries, about.
const BATCH_BYTES: usize = 1 << 20;
/// Pauses after a failure: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often the position is saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Forwarder {
    from: Arc<dyn Log>,
    to: Arc<dyn Log>,
    metrics: Metrics,
}

#[derive(Clone, Debug)]
struct Metrics {
    forwarded: IntCounter,
    retries: IntCounter,
    gone: IntCounter,
    lag: IntGaugeVec,
}

impl Forwarder {
    /// A forwarder between two logs.
    ///
    /// # Errors
    /// [`LogError::Broken`] when the logs do not have as many partitions.
    pub fn new(from: Arc<dyn Log>, to: Arc<dyn Log>, registry: &Registry) -> Result<Self, LogError> {
        let (own, other) = (from.partitions(), to.partitions());
        if own != other {
            return Err(LogError::Broken(format!(
                "the collector's own log has {own} partitions and the log it forwards to has {other}; they must be equal"
            )));
        }
        let lag = Opts::new("firedamp_stream_forward_lag_records", "Records not forwarded yet");
        let metrics = Metrics {
            forwarded: counter(
                registry,
                "firedamp_stream_forwarded_records_total",
                "Records forwarded and acknowledged",
            ),
            retries: counter(
                registry,
                "firedamp_stream_forward_retries_total",
                "Appends of the forwarder that failed and were tried again",
            ),
            gone: counter(
                registry,
                "firedamp_stream_forward_gone_records_total",
                "Records that were gone from the own log before they were forwarded",
            ),
            lag: register(registry, IntGaugeVec::new(lag, &["partition"])),
        };
        Ok(Self { from, to, metrics })
    }

    /// Forwards until told to stop; then what is under way is finished and the positions are saved.
    ///
    /// # Errors
    /// [`LogError::Broken`] when one of the logs cannot go on.
    pub async fn run(self, stop: CancellationToken) -> Result<(), LogError> {
        let mut lanes = JoinSet::new();
        let ending = stop.child_token();
        for partition in 0..self.from.partitions() {
            let lag = self.metrics.lag.with_label_values(&[&partition.to_string()]);
            let (from, to, metrics) = (self.from.clone(), self.to.clone(), self.metrics.clone());
            let lane = Lane { from, to, metrics, lag, partition, stop: ending.clone() };
            lanes.spawn(lane.run());
        }
        let mut result = Ok(());
        while let Some(ended) = lanes.join_next().await {
            let ended = ended.unwrap_or_else(|e| Err(LogError::Broken(format!("the forwarder ended: {e}"))));
            if let Err(e) = ended {
                tracing::error!("the forwarder cannot go on: {e}");
                // The others finish what they have: the first error counts.
                ending.cancel();
                result = result.and(Err(e));
            }
        }
        result
    }
}

/// One partition.
struct Lane {
    from: Arc<dyn Log>,
    to: Arc<dyn Log>,
    metrics: Metrics,
    lag: IntGauge,
    partition: u32,
    stop: CancellationToken,
}

impl Lane {
    async fn run(self) -> Result<(), LogError> {
        let (stream, partition) = (Stream::Readings, self.partition);
        // Nothing but readings is forwarded: the own log has no transitions.
        self.retry(|| self.from.save_position(CONSUMER, Stream::Transitions, partition, NOT_READ)).await?;
        let Some(saved) = self.retry(|| self.from.position(CONSUMER, stream, partition)).await? else {
            return Ok(());
        };
        let mut next = match saved {
            Some(next) => next,
            None => {
                let Some(bounds) = self.retry(|| self.from.bounds(stream, partition)).await? else {
                    return Ok(());
                };
                bounds.first
            }
        };
        let (mut saved, mut saved_at) = (next, Instant::now());
        let mut batch = Vec::new();
        while !self.stop.is_cancelled() {
            if batch.is_empty() {
                batch = self.read(&mut next).await?;
            }
            let Some(last) = batch.last().map(|e| e.offset.number) else { continue };
            let records = batch.len() as u64;
            let mut after = last + 1;
            // The next is read while this one is on its way.
            let (sent, ahead) = tokio::join!(self.send(std::mem::take(&mut batch)), self.ahead(&mut after));
            if !sent? {
                break;
            }
            self.metrics.forwarded.inc_by(records);
            batch = ahead?;
            next = last + 1;
            if saved_at.elapsed() >= SAVE_EVERY {
                self.save(next).await;
                (saved, saved_at) = (next, Instant::now());
            }
            self.show_lag(next).await;
        }
        if saved < next {
            self.save(next).await;
        }
        Ok(())
    }

    /// The records at `next`; waits for some, none when told to stop.
    async fn read(&self, next: &mut u64) -> Result<Vec<Entry>, LogError> {
        loop {
            let entries = self.ahead(next).await?;
            if !entries.is_empty() || self.stop.is_cancelled() {
                return Ok(entries);
            }
            self.lag.set(0);
            tokio::select! {
                () = self.stop.cancelled() => return Ok(Vec::new()),
                waited = self.from.wait(Stream::Readings, self.partition, *next) => {
                    if let Err(e @ LogError::Broken(_)) = waited {
                        return Err(e);
                    }
                }
            }
        }
    }

    /// What is there at `next` now. Records that are gone are told and counted; reading goes on behind them.
    async fn ahead(&self, next: &mut u64) -> Result<Vec<Entry>, LogError> {
        let mut pause = BACKOFF.0;
        loop {
            match self.from.read(Stream::Readings, self.partition, *next, BATCH_BYTES).await {
                Ok(entries) => return Ok(entries),
                Err(LogError::Gone { partition, wanted, first }) => {
                    let lost = first.saturating_sub(wanted);
                    tracing::error!(
                        partition,
                        wanted,
                        first,
                        lost,
                        "records are gone before they were forwarded"
                    );
                    self.metrics.gone.inc_by(lost);
                    *next = first;
                }
                Err(e @ LogError::Broken(_)) => return Err(e),
                Err(e) if !self.pause(&mut pause, &e).await => return Ok(Vec::new()),
                Err(_) => {}
            }
        }
    }

    /// Sends a batch until it is acknowledged; `false` when told to stop before.
    async fn send(&self, batch: Vec<Entry>) -> Result<bool, LogError> {
        let records: Vec<Append> =
            batch.into_iter().map(|e| Append { bytes: e.bytes, origin: Some(e.origin) }).collect();
        let sent = self.retry(|| self.to.append(Stream::Readings, self.partition, records.clone())).await?;
        Ok(sent.is_some())
    }

    /// Tries until it works; `None` when told to stop after a failure.
    async fn retry<T, F>(&self, mut f: impl FnMut() -> F) -> Result<Option<T>, LogError>
    where
        F: Future<Output = Result<T, LogError>>,
    {
        let mut pause = BACKOFF.0;
        loop {
            match f().await {
                Ok(done) => return Ok(Some(done)),
                Err(e @ (LogError::Broken(_) | LogError::Gone { .. })) => return Err(e),
                Err(e) if !self.pause(&mut pause, &e).await => return Ok(None),
                Err(_) => {}
            }
        }
    }

    /// Waits after a failure, longer each time; whether to go on.
    async fn pause(&self, pause: &mut Duration, e: &LogError) -> bool {
        self.metrics.retries.inc();
        tracing::warn!(partition = self.partition, "forwarding is held up, trying again in {pause:?}: {e}");
        // Apart from each other, so that all partitions do not come back in the same moment.
        let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
        *pause = (*pause * 2).min(BACKOFF.1);
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(jittered) => true,
        }
    }

    async fn save(&self, next: u64) {
        if let Err(e) = self.from.save_position(CONSUMER, Stream::Readings, self.partition, next).await {
            // It only frees space and saves sending twice; the next one is tried in a moment.
            tracing::warn!(partition = self.partition, "the forwarder's position is not saved: {e}");
        }
    }

    async fn show_lag(&self, next: u64) {
        if let Ok(bounds) = self.from.bounds(Stream::Readings, self.partition).await {
            self.lag.set(i64::try_from(bounds.next.saturating_sub(next)).unwrap_or(i64::MAX));
        }
    }
}
