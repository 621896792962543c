//! Whether a table was written from the log of this process. To go on in another log's table would leave out what this log holds, and
//! take the table from the process that owns it.
//!
//! Each log has a number: the embedded one in the file `identity` beside its records, Kafka by cluster and topic. The first
//! process that opens a table claims it for its log, and a process with another log is refused. A log that ends before the table
//! stands may be another one all the same (its folder was emptied) or have lost its end only (`runners::behind` fills it up): in
//! that case it holds records of a collector that the table knows.

use crate::runners::behind;
use ::storage::Storage;
use anyhow::Context;
use model::Stream;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use stream::Log;

/// The number of an embedded log, made with the log; the log is open, so no other process does the same.
///
/// # Errors
/// When the file cannot be read or written, or is damaged.
pub fn of_folder(dir: &Path) -> anyhow::Result<u64> {
    let path = dir.join("identity");
    let shown = || path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => u64::from_str_radix(text.trim(), 16).with_context(|| {
            format!("{} is damaged; restore it from a backup of the log's folder", path.display())
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let identity = rand::random_range(1..=i64::MAX) as u64;
            let new = dir.join("identity.new");
            let write = || -> std::io::Result<()> {
                let mut file = std::fs::File::create(&new)?;
                writeln!(file, "{identity:016x}")?;
                file.sync_all()?;
                std::fs::rename(&new, &path)?;
                std::fs::File::open(dir)?.sync_all()
            };
            write().with_context(shown)?;
            Ok(identity)
        }
        Err(e) => Err(e).with_context(shown),
    }
}

/// The number of a topic of a cluster.
pub fn of_topic(cluster: &str, topic: &str) -> u64 {
    let hash = blake3::hash(format!("{cluster}\n{topic}").as_bytes());
    let first = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first) >> 1 // a transaction of the table holds an i64
}

/// Claims the table for the log, or says why it is not this log's.
///
/// # Errors
/// When log or table cannot be read or written.
pub async fn check(
    storage: &Storage,
    log: &Arc<dyn Log>,
    identity: u64,
) -> anyhow::Result<Result<(), String>> {
    let another = "another process writes this table from its own log, or this log is not the one it was written from. Give this \
                   process a `storage.url` of its own, or bring back the log's folder";
    let mut has_rows = false;
    for (p, ends) in (0..).zip(behind::ends(log).await.context("the log cannot be read")?) {
        for (next, end) in [storage.next_offset(p), storage.next_event_offset(p)].into_iter().zip(ends) {
            has_rows |= next > 0;
            if next > end && knows(storage, log).await? != Some(true) {
                return Ok(Err(format!(
                    "the table has stored partition {p} up to offset {next}, but this log ends at {end}: {another}"
                )));
            }
        }
    }
    let owner = storage.log().await;
    // A table that nobody has claimed yet was written by a version that did not claim.
    let is_others = match owner {
        Some(owner) => owner != identity,
        None => has_rows && knows(storage, log).await? == Some(false),
    };
    if is_others || !storage.claim(identity).await.context("the table cannot be claimed for this log")? {
        return Ok(Err(format!("the table belongs to another log: {another}")));
    }
    Ok(Ok(()))
}

/// Whether the first reading of the log came from a collector that the table knows; `None` where the log holds no reading.
async fn knows(storage: &Storage, log: &Arc<dyn Log>) -> anyhow::Result<Option<bool>> {
    for p in 0..log.partitions() {
        let mut next = log.bounds(Stream::Readings, p).await?.first;
        loop {
            let entries = log.read(Stream::Readings, p, next, 1 << 20).await?;
            let Some(last) = entries.last() else { break };
            next = last.offset.number + 1;
            if let Some(entry) = entries.iter().find(|e| e.origin.collector != 0) {
                return Ok(Some(storage.knows_collector(entry.origin.collector)));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Catalog, Clock, ManualClock, Record};
    use object_store::ObjectStore;
    use std::sync::RwLock;
    use stream::{Append, MemoryLog};

    async fn table(lake: &Arc<dyn ObjectStore>, clock: &Arc<dyn Clock>) -> Storage {
        let options = ::storage::Options { query_threads: 0, ..::storage::Options::default() };
        let catalog = Arc::new(RwLock::new(Arc::new(Catalog::default())));
        let registry = prometheus::Registry::new();
        Storage::open(options, Some(lake.clone()), catalog, clock.clone(), &registry).await.unwrap()
    }

    async fn log(collector: u64, records: usize, clock: &Arc<dyn Clock>) -> Arc<dyn Log> {
        let log = MemoryLog::new(1, collector, clock.clone());
        let refused = Record::Refused(Vec::new());
        let records = vec![Append { bytes: refused.encode(), origin: None }; records];
        log.append(Stream::Readings, 0, records).await.unwrap();
        Arc::new(log)
    }

    async fn store(table: &Storage, log: &Arc<dyn Log>) {
        for entry in log.read(Stream::Readings, 0, 0, 1 << 20).await.unwrap() {
            table.push(&entry, Record::Tick).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_table_is_of_one_log_however_long_another_is() {
        let manual = Arc::new(ManualClock::at(0));
        let clock: Arc<dyn Clock> = manual.clone();
        let lake: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let (ours, longer) = (log(7, 5, &clock).await, log(8, 9, &clock).await);
        let first = table(&lake, &clock).await;
        check(&first, &ours, 1).await.unwrap().unwrap();
        // Not even while nothing is stored yet: two processes that find it empty cannot both have it.
        let why = check(&table(&lake, &clock).await, &longer, 2).await.unwrap().unwrap_err();
        assert!(why.contains("belongs to another log"), "{why}");
        store(&first, &ours).await;
        manual.advance(3600 * model::time::SECOND); // so that ticks alone are committed
        assert_eq!(first.flush().await.unwrap().next[&0], 5);
        let why = check(&table(&lake, &clock).await, &longer, 2).await.unwrap().unwrap_err();
        assert!(why.contains("belongs to another log"), "{why}");
        let again = table(&lake, &clock).await;
        check(&again, &ours, 1).await.unwrap().unwrap();
        // A log that is shorter has lost its end where its collector is known, and is new where it is not.
        check(&again, &log(7, 3, &clock).await, 1).await.unwrap().unwrap();
        let why = check(&again, &log(9, 3, &clock).await, 1).await.unwrap().unwrap_err();
        assert!(why.contains("up to offset 5, but this log ends at 3"), "{why}");
    }

    #[tokio::test]
    async fn a_table_of_a_version_that_did_not_claim_goes_to_the_log_it_was_written_from() {
        let manual = Arc::new(ManualClock::at(0));
        let clock: Arc<dyn Clock> = manual.clone();
        let lake: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let (ours, longer) = (log(7, 5, &clock).await, log(8, 9, &clock).await);
        let old = table(&lake, &clock).await;
        store(&old, &ours).await;
        manual.advance(3600 * model::time::SECOND);
        old.flush().await.unwrap();
        assert!(check(&table(&lake, &clock).await, &longer, 2).await.unwrap().is_err());
        check(&table(&lake, &clock).await, &ours, 1).await.unwrap().unwrap();
    }

    #[test]
    fn an_embedded_log_keeps_its_number_and_a_damaged_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let identity = of_folder(dir.path()).unwrap();
        assert_eq!(of_folder(dir.path()).unwrap(), identity);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(of_folder(other.path()).unwrap(), identity);
        std::fs::write(dir.path().join("identity"), "").unwrap();
        assert!(of_folder(dir.path()).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn a_topic_is_told_by_its_cluster() {
        assert_eq!(of_topic("a", "mine"), of_topic("a", "mine"));
        assert_ne!(of_topic("a", "mine"), of_topic("b", "mine"));
    }
}
