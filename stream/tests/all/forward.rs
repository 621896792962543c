//! Store and forward: everything arrives, in order, under its origin, whatever fails on the way.

use crate::embedded;
use model::{Entry, ManualClock, Origin, Stream};
use prometheus::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::conformance::{PARTITIONS, read_all, records};
use stream::{Append, Fault, Forwarder, Log, LogError, MemoryLog, create_topics};
use tokio_util::sync::CancellationToken;

fn memory(collector: u64) -> MemoryLog {
    MemoryLog::new(PARTITIONS, collector, Arc::new(ManualClock::at(1)))
}

/// A forwarder at work; stopped by the token, it tells how it ended.
fn start(
    from: Arc<dyn Log>,
    to: Arc<dyn Log>,
) -> (CancellationToken, tokio::task::JoinHandle<Result<(), LogError>>) {
    let stop = CancellationToken::new();
    let forwarder = Forwarder::new(from, to, &Registry::new()).unwrap();
    (stop.clone(), tokio::spawn(forwarder.run(stop)))
}

/// What a consumer takes of a log that may hold a record twice: each origin once. Panics where one would be skipped.
fn taken(entries: &[Entry]) -> Vec<Origin> {
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut taken = Vec::new();
    for Entry { origin, .. } in entries {
        let next = seen.entry(origin.collector).or_insert(0);
        assert!(origin.sequence <= *next, "{origin:?} came before {next}");
        if origin.sequence == *next {
            *next += 1;
            taken.push(*origin);
        }
    }
    taken
}

async fn arrives(to: &dyn Log, partition: u32, count: usize) -> Vec<Entry> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let entries = read_all(to, Stream::Readings, partition, 0).await;
        if taken(&entries).len() >= count {
            return entries;
        }
        assert!(Instant::now() < until, "{} of {count} arrived", taken(&entries).len());
        let _ = tokio::time::timeout(
            Duration::from_millis(100),
            to.wait(Stream::Readings, partition, entries.last().map_or(0, |e| e.offset.number + 1)),
        )
        .await;
    }
}

async fn append(log: &dyn Log, partition: u32, n: usize) {
    log.append(Stream::Readings, partition, records(&[&format!("{n}")])).await.unwrap();
}

#[tokio::test]
async fn faults_of_the_other_log_delay_and_nothing_else() {
    let (from, to) = (memory(7), memory(8));
    let (stop, running) = start(Arc::new(from.clone()), Arc::new(to.clone()));
    for n in 0..60 {
        append(&from, n as u32 % PARTITIONS, n).await;
        match n % 20 {
            5 => to.inject(Fault::Unavailable),
            9 => to.inject(Fault::LostReply),
            12 => to.inject(Fault::Full),
            15 => to.heal(),
            _ => tokio::task::yield_now().await,
        }
    }
    to.heal();
    for partition in 0..PARTITIONS {
        let entries = arrives(&to, partition, 20).await;
        let texts: Vec<_> = entries.iter().map(|e| String::from_utf8_lossy(&e.bytes).into_owned()).collect();
        let origins: Vec<u64> = taken(&entries).iter().map(|o| o.sequence).collect();
        assert_eq!(origins, (0..20).collect::<Vec<_>>(), "{texts:?}");
        assert!(entries.iter().all(|e| e.origin.collector == 7));
    }
    assert!(read_all(&to, Stream::Transitions, 0, 0).await.is_empty());
    stop.cancel();
    running.await.unwrap().unwrap();
    for partition in 0..PARTITIONS {
        let saved = from.position("forwarder", Stream::Readings, partition).await.unwrap();
        assert_eq!(saved, Some(20), "the position is saved at the end");
    }
}

#[tokio::test]
async fn it_goes_on_where_it_stopped_and_ends_with_a_broken_log() {
    let (from, to) = (memory(7), memory(8));
    append(&from, 0, 0).await;
    let (stop, running) = start(Arc::new(from.clone()), Arc::new(to.clone()));
    arrives(&to, 0, 1).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    append(&from, 0, 1).await;
    let (_stop, running) = start(Arc::new(from.clone()), Arc::new(to.clone()));
    let entries = arrives(&to, 0, 2).await;
    assert_eq!(entries.len(), 2, "nothing is sent twice after a clean stop");
    to.close().await.unwrap();
    append(&from, 0, 2).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await.expect("it ends").unwrap();
    assert!(matches!(ended, Err(LogError::Broken(_))));
}

#[tokio::test]
async fn logs_of_unlike_partitions_are_refused() {
    let other = MemoryLog::new(PARTITIONS + 1, 8, Arc::new(ManualClock::at(1)));
    let refused = Forwarder::new(Arc::new(memory(7)), Arc::new(other), &Registry::new());
    assert!(matches!(refused, Err(LogError::Broken(why)) if why.contains("must be equal")));
}

/// The collector's own log forwards into three brokers, of which two die and come back while records come in. Called by
/// the test that has three brokers.
pub async fn from_the_embedded_log_into_kafka_that_fails(kafka: &mut tests::kafka::Kafka) {
    let mut options = crate::kafka::options(&kafka.bootstrap, "forwarded");
    options.timeout = Duration::from_secs(3);
    create_topics(&options, &crate::kafka::topic_options(3)).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let from = Arc::new(embedded::open(embedded::options(dir.path())).unwrap());
    let to = Arc::new(crate::kafka::open(options).await);
    let (stop, running) = start(from.clone(), to.clone());
    let mut written = 0;
    let mut write = async |records: usize| {
        for _ in 0..records {
            for partition in 0..PARTITIONS {
                let bytes = vec![b'x'; 4000];
                let append = Append { bytes: bytes.into(), origin: None };
                from.append(Stream::Readings, partition, vec![append]).await.unwrap();
            }
        }
        written += records;
        written
    };
    let first = write(300).await;
    arrives(&*to, 0, first).await;
    kafka.kill9(0);
    write(300).await;
    kafka.kill9(1);
    // In the middle of what the forwarder has under way; the own log takes everything all the same.
    write(300).await;
    kafka.start_again(0);
    kafka.start_again(1);
    let all = write(100).await;
    for partition in 0..PARTITIONS {
        let entries = arrives(&*to, partition, all).await;
        assert_eq!(taken(&entries).len(), all);
        assert!(entries.iter().all(|e| e.origin.collector == from.collector()));
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(from.position("forwarder", Stream::Readings, 0).await.unwrap(), Some(all as u64));
}
