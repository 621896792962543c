//! Carries the readings of a collector's own log to another log, with their origins, so that what is sent twice is counted once.
//!
//! Store and forward is this: the collector's log is always first, and keeps what could not be carried on. Order within a partition is
//! kept; nothing is skipped: what the other log does not take is tried again until it does.

use crate::{Append, Log, LogError};
use model::Stream;
use prometheus::{IntCounter, IntGauge, Registry};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Name of the consumer whose position is kept in the collector's log.
pub const CONSUMER: &str = "forwarder";
/// Bytes carried at once by a partition.
const CHUNK: usize = 4 << 20;
/// First and longest pause after the other log did not take it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Carries every partition from one log to another.
#[derive(Debug)]
pub struct Forwarder {
    from: Arc<dyn Log>,
    to: Arc<dyn Log>,
    records: IntCounter,
    behind: IntGauge,
}

impl Forwarder {
    /// A forwarder between two logs of as many partitions.
    ///
    /// # Errors
    /// When the metrics are registered twice.
    pub fn new(from: Arc<dyn Log>, to: Arc<dyn Log>, registry: &Registry) -> prometheus::Result<Self> {
        let records = IntCounter::new("firedamp_forwarder_records_total", "records carried on")?;
        let behind = IntGauge::new(
            "firedamp_forwarder_behind_records",
            "records not yet carried on, of the partition last looked at",
        )?;
        registry.register(Box::new(records.clone()))?;
        registry.register(Box::new(behind.clone()))?;
        Ok(Self { from, to, records, behind })
    }

    /// Runs until stopped and everything that lies in the log is carried on, or a log is broken.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let mut tasks = tokio::task::JoinSet::new();
        for partition in 0..this.from.partitions() {
            let (this, stop) = (this.clone(), stop.clone());
            tasks.spawn(async move {
                if let Err(e) = this.carry(partition, &stop).await {
                    tracing::error!(partition, "the forwarder ends: {e}");
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn carry(&self, partition: u32, stop: &CancellationToken) -> Result<(), LogError> {
        let saved = self.from.position(CONSUMER, Stream::Readings, partition).await?;
        let mut next = saved.unwrap_or(self.from.bounds(Stream::Readings, partition).await?.first);
        loop {
            let entries = self.from.read(Stream::Readings, partition, next, CHUNK).await?;
            let Some(last) = entries.last().map(|e| e.offset.number) else {
                if stop.is_cancelled() {
                    return Ok(());
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    waited = self.from.wait(Stream::Readings, partition, next) => waited?,
                }
                continue;
            };
            let records: Vec<Append> =
                entries.into_iter().map(|e| Append { bytes: e.bytes, origin: Some(e.origin) }).collect();
            let count = records.len() as u64;
            if !self.hand_over(partition, records, stop).await? {
                return Ok(());
            }
            next = last + 1;
            self.records.inc_by(count);
            self.behind
                .set(self.from.bounds(Stream::Readings, partition).await?.next.saturating_sub(next) as i64);
            self.from.save_position(CONSUMER, Stream::Readings, partition, next).await?;
        }
    }

    /// False when stopped before the other log took it: it is carried on after the next start.
    async fn hand_over(
        &self,
        partition: u32,
        records: Vec<Append>,
        stop: &CancellationToken,
    ) -> Result<bool, LogError> {
        let mut pause = PAUSE.0;
        loop {
            match self.to.append(Stream::Readings, partition, records.clone()).await {
                Ok(_) => return Ok(true),
                Err(e @ (LogError::Unavailable(_) | LogError::Full(_))) => {
                    tracing::warn!(partition, "not carried on, trying again: {e}");
                    tokio::select! {
                        () = stop.cancelled() => return Ok(false),
                        () = tokio::time::sleep(pause / 2 + rand::random_range(Duration::ZERO..pause)) => {}
                    }
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(e) => return Err(e),
            }
        }
    }
}
