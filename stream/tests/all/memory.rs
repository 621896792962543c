//! The log in memory: the conformance suite, and what a crash and a fault do.

use async_trait::async_trait;
use model::{ManualClock, Stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stream::conformance::{self, Maker, PARTITIONS, read_all, records};
use stream::{Fault, Log, LogError, MemoryLog};

#[derive(Default)]
struct Memory {
    clock: ManualClock,
    logs: Mutex<HashMap<String, MemoryLog>>,
}

#[async_trait]
impl Maker for Memory {
    async fn open(&self, name: &str) -> Arc<dyn Log> {
        let mut logs = self.logs.lock().unwrap();
        let fresh = || MemoryLog::new(PARTITIONS, 42, Arc::new(self.clock.clone()));
        let log = logs.entry(name.to_owned()).or_insert_with(fresh).clone();
        log.reopen();
        Arc::new(log)
    }

    fn clock(&self) -> Option<ManualClock> {
        Some(self.clock.clone())
    }
}

#[tokio::test]
async fn keeps_the_promises_of_a_log() {
    let maker = Memory { clock: ManualClock::at(1_000_000_000), ..Memory::default() };
    conformance::suite(&maker).await;
}

fn log() -> MemoryLog {
    MemoryLog::new(1, 42, Arc::new(ManualClock::at(1)))
}

#[tokio::test]
async fn a_crash_drops_what_is_not_durable_and_nothing_else() {
    let log = log();
    log.append(Stream::Readings, 0, records(&["kept"])).await.unwrap();
    log.inject(Fault::Slow(Duration::from_secs(60)));
    let pending = tokio::spawn({
        let log = log.clone();
        async move { log.append(Stream::Readings, 0, records(&["lost", "lost"])).await }
    });
    let saving = tokio::spawn({
        let log = log.clone();
        async move { log.save_position("rules", Stream::Readings, 0, 1).await }
    });
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait(Stream::Readings, 0, 1).await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(log.read(Stream::Readings, 0, 1, 100).await.unwrap().is_empty(), "not durable, not to be read");
    log.crash();
    // They are woken at once: the minute of the fault is longer than any test.
    for result in [pending.await.unwrap().map(drop), saving.await.unwrap(), waiting.await.unwrap()] {
        assert!(matches!(result, Err(LogError::Broken(_))), "{result:?}");
    }
    log.heal();
    assert_eq!(log.append(Stream::Readings, 0, records(&["after"])).await.unwrap(), 1);
    let entries = read_all(&log, Stream::Readings, 0, 0).await;
    assert_eq!(entries.iter().map(|e| &e.bytes[..]).collect::<Vec<_>>(), [&b"kept"[..], b"after"]);
    assert_eq!(entries.iter().map(|e| e.origin.sequence).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(log.position("rules", Stream::Readings, 0).await.unwrap(), None);
}

#[tokio::test]
async fn faults_last_until_healed() {
    let log = log();
    log.inject(Fault::Full);
    assert!(matches!(log.append(Stream::Readings, 0, records(&["a"])).await, Err(LogError::Full(_))));
    assert!(log.read(Stream::Readings, 0, 0, 100).await.unwrap().is_empty(), "reads go on");
    log.inject(Fault::Unavailable);
    assert!(matches!(log.read(Stream::Readings, 0, 0, 100).await, Err(LogError::Unavailable(_))));
    log.heal();
    log.inject(Fault::LostReply);
    assert!(matches!(log.append(Stream::Readings, 0, records(&["a"])).await, Err(LogError::Unavailable(_))));
    assert_eq!(log.append(Stream::Readings, 0, records(&["b"])).await.unwrap(), 1, "the first one is there");
    log.inject(Fault::Slow(Duration::from_millis(30)));
    let before = tokio::time::Instant::now();
    log.append(Stream::Readings, 0, records(&["c"])).await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn an_append_whose_caller_gave_up_becomes_durable() {
    let log = log();
    log.inject(Fault::Slow(Duration::from_millis(30)));
    let given_up =
        tokio::time::timeout(Duration::from_millis(1), log.append(Stream::Readings, 0, records(&["a"])));
    assert!(given_up.await.is_err());
    log.wait(Stream::Readings, 0, 0).await.unwrap();
    assert_eq!(read_all(&log, Stream::Readings, 0, 0).await.len(), 1);
}
