//! The balance: what came in against what is stored, exactly, from table and log, not from counters.
//!
//! received = accepted + refused; accepted = stored + duplicate + quarantined + pending. The table's `arrivals` say what
//! became of every run up to its last commit; what the log holds beyond that is pending.

use anyhow::Context;
use model::record::run_flags;
use model::{Record, Stream};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::Storage;
use stream::Log;

/// Counts of readings of one source, or of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, serde::Deserialize)]
pub struct Counts {
    /// Everything that came.
    pub received: i64,
    /// What is durable in the log.
    pub accepted: i64,
    /// What could not be decoded or was not wanted.
    pub refused: i64,
    /// In the table.
    pub stored: i64,
    /// The same source, point, device time and value again.
    pub duplicate: i64,
    /// Kept aside: unknown point, or older than retention.
    pub quarantined: i64,
    /// In the log, not yet in the table.
    pub pending: i64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.received += other.received;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.stored += other.stored;
        self.duplicate += other.duplicate;
        self.quarantined += other.quarantined;
        self.pending += other.pending;
    }

    /// Whether both sums are exact.
    pub fn is_balanced(&self) -> bool {
        self.received == self.accepted + self.refused
            && self.accepted == self.stored + self.duplicate + self.quarantined + self.pending
    }
}

/// Counts of one source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
pub struct SourceCounts {
    /// Its name.
    pub name: String,
    /// Its counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The balance of all sources.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
pub struct Balance {
    /// The sums.
    #[serde(flatten)]
    pub counts: Counts,
    /// By source.
    pub sources: Vec<SourceCounts>,
}

/// Computes the balance.
///
/// # Errors
/// When table or log cannot be read.
pub async fn of(storage: &Storage, log: &Arc<dyn Log>) -> anyhow::Result<Balance> {
    let (stored, next) = storage.balance_at().await.context("the table cannot be read")?;
    let mut by_source: BTreeMap<String, Counts> = BTreeMap::new();
    for s in stored {
        let counts = Counts {
            received: s.received,
            accepted: s.accepted,
            refused: s.refused,
            stored: s.stored,
            duplicate: s.duplicate,
            quarantined: s.quarantined,
            pending: s.pending,
        };
        by_source.entry(s.name).or_default().add(&counts);
    }
    for partition in 0..log.partitions() {
        let from = next.get(&partition).copied().unwrap_or(0);
        pending(log, partition, from, &mut by_source).await?;
    }
    let mut counts = Counts::default();
    by_source.values().for_each(|c| counts.add(c));
    let sources = by_source.into_iter().map(|(name, counts)| SourceCounts { name, counts }).collect();
    Ok(Balance { counts, sources })
}

async fn pending(
    log: &Arc<dyn Log>,
    partition: u32,
    from: u64,
    by_source: &mut BTreeMap<String, Counts>,
) -> anyhow::Result<()> {
    let bounds = log.bounds(Stream::Readings, partition).await?;
    let (end, mut next) = (bounds.next, from.max(bounds.first));
    while next < end {
        let entries = log.read(Stream::Readings, partition, next, 4 << 20).await?;
        let Some(last) = entries.last() else { break };
        next = last.offset.number + 1;
        for entry in entries.iter().filter(|e| e.offset.number < end) {
            count(entry, by_source);
        }
    }
    Ok(())
}

fn count(entry: &model::Entry, by_source: &mut BTreeMap<String, Counts>) {
    let mut add = |source: &str, accepted: i64, refused: i64| {
        let counts = Counts {
            received: accepted + refused,
            accepted,
            refused,
            pending: accepted,
            ..Counts::default()
        };
        by_source.entry(source.to_owned()).or_default().add(&counts);
    };
    match entry.decode() {
        Ok(Record::Readings { runs, .. }) => {
            for run in runs.iter().filter(|r| r.flags & run_flags::RELEASED == 0) {
                add(&run.source, i64::from(run.rows), 0);
            }
        }
        Ok(Record::Positions { run, .. } | Record::Quarantine { run, .. }) => {
            add(&run.source, i64::from(run.rows), 0)
        }
        Ok(Record::Refused(totals)) => totals.iter().for_each(|t| add(&t.source, 0, t.count as i64)),
        _ => {}
    }
}
