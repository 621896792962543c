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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// Everything that came.
    pub received: u64,
    /// What is durable in the log.
    pub accepted: u64,
    /// What could not be decoded or was not wanted.
    pub refused: u64,
    /// In the table.
    pub stored: u64,
    /// The same source, point, device time and value again.
    pub duplicate: u64,
    /// Kept aside: unknown point, or older than retention.
    pub quarantined: u64,
    /// In the log, not yet in the table.
    pub pending: u64,
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SourceCounts {
    /// Its name.
    pub name: String,
    /// Its counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The balance of all sources.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
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
    // The offsets first: what is committed meanwhile would otherwise be missed; a commit in between is seen and retried.
    loop {
        let offsets = committed(storage, log);
        let mut by_source: BTreeMap<String, Counts> = BTreeMap::new();
        for s in storage.balance().await.context("the table cannot be read")? {
            let counts = Counts {
                received: s.accepted + s.refused,
                accepted: s.accepted,
                refused: s.refused,
                stored: s.stored,
                duplicate: s.duplicate,
                quarantined: s.quarantined,
                pending: 0,
            };
            by_source.entry(s.name).or_default().add(&counts);
        }
        if committed(storage, log) != offsets {
            continue;
        }
        for (partition, from) in offsets.into_iter().enumerate() {
            pending(log, partition as u32, from, &mut by_source).await?;
        }
        let mut counts = Counts::default();
        by_source.values().for_each(|c| counts.add(c));
        let sources = by_source.into_iter().map(|(name, counts)| SourceCounts { name, counts }).collect();
        return Ok(Balance { counts, sources });
    }
}

fn committed(storage: &Storage, log: &Arc<dyn Log>) -> Vec<u64> {
    (0..log.partitions()).map(|p| storage.committed_offset(p)).collect()
}

async fn pending(
    log: &Arc<dyn Log>,
    partition: u32,
    from: u64,
    by_source: &mut BTreeMap<String, Counts>,
) -> anyhow::Result<()> {
    let end = log.bounds(Stream::Readings, partition).await?.next;
    let mut next = from;
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
    let mut add = |source: &str, accepted: u64, refused: u64| {
        let counts = Counts { received: accepted + refused, accepted, refused, pending: accepted, ..Counts::default() };
        by_source.entry(source.to_owned()).or_default().add(&counts);
    };
    match entry.decode() {
        Ok(Record::Readings { runs, .. }) => {
            for run in runs.iter().filter(|r| r.flags & run_flags::RELEASED == 0) {
                add(&run.source, u64::from(run.rows), 0);
            }
        }
        Ok(Record::Positions { run, .. } | Record::Quarantine { run, .. }) => add(&run.source, u64::from(run.rows), 0),
        Ok(Record::Refused(totals)) => totals.iter().for_each(|t| add(&t.source, 0, t.count)),
        _ => {}
    }
}
