//! The embedded log: the conformance suite on real files, and what its folder promises.

use async_trait::async_trait;
use model::{Clock, ManualClock, Micros, Stream, SystemClock};
use prometheus::Registry;
use std::path::Path;
use std::sync::Arc;
use stream::conformance::{self, Maker, PARTITIONS, read_all, records};
use stream::{Append, EmbeddedLog, EmbeddedOptions, Log, LogError, NOT_READ};

/// Settings for small files, and memory for so few records that reading goes to the files.
pub fn options(dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        dir: dir.to_owned(),
        partitions: PARTITIONS,
        retain_size: 64 << 20,
        disk_reserve: 0,
        cache: 8 << 10,
        ..EmbeddedOptions::default()
    }
}

pub fn open(options: EmbeddedOptions) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(options, Arc::new(SystemClock), &Registry::new())
}

/// The value of a counter without labels.
pub fn counted(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|f| f.name() == name).unwrap_or_else(|| panic!("no metric {name}"));
    family.get_metric().iter().map(|m| m.get_counter().get_value()).sum()
}

struct Embedded {
    dir: tempfile::TempDir,
    clock: ManualClock,
    cache: usize,
}

#[async_trait]
impl Maker for Embedded {
    async fn open(&self, name: &str) -> Arc<dyn Log> {
        let options = EmbeddedOptions { cache: self.cache, ..options(&self.dir.path().join(name)) };
        Arc::new(EmbeddedLog::open(options, Arc::new(self.clock.clone()), &Registry::new()).unwrap())
    }

    fn clock(&self) -> Option<ManualClock> {
        Some(self.clock.clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_promises_of_a_log() {
    for cache in [0, 64 << 20] {
        let clock = ManualClock::at(SystemClock.now());
        conformance::suite(&Embedded { dir: tempfile::tempdir().unwrap(), clock, cache }).await;
    }
}

#[tokio::test]
async fn a_folder_belongs_to_one_process_and_keeps_its_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(options(dir.path())).unwrap();
    let error = open(options(dir.path())).unwrap_err().to_string();
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(log);
    let error = open(EmbeddedOptions { partitions: 5, ..options(dir.path()) }).unwrap_err().to_string();
    assert!(error.contains("has 3 partitions and log.partitions is 5"), "{error}");
    assert_eq!(open(options(dir.path())).unwrap().partitions(), PARTITIONS);
}

#[tokio::test]
async fn the_collector_is_made_once() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let collector = open(options(a.path())).unwrap().collector();
    assert_eq!(open(options(a.path())).unwrap().collector(), collector);
    assert_ne!(open(options(b.path())).unwrap().collector(), collector);
}

async fn fill(log: &EmbeddedLog, partition: u32, records: usize, len: usize) {
    for _ in 0..records / 10 {
        let record = Append { bytes: vec![7; len].into(), origin: None };
        log.append(Stream::Readings, partition, vec![record; 10]).await.unwrap();
    }
}

fn size(dir: &Path) -> u64 {
    std::fs::read_dir(dir.join("log")).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum()
}

async fn read_everything(log: &dyn Log, consumer: &str) {
    for partition in 0..PARTITIONS {
        for stream in [Stream::Readings, Stream::Transitions] {
            log.save_position(consumer, stream, partition, NOT_READ).await.unwrap();
        }
    }
}

#[tokio::test]
async fn over_its_size_the_log_refuses_until_consumers_have_read() {
    let dir = tempfile::tempdir().unwrap();
    let small = || EmbeddedOptions { retain_size: 8 << 20, ..options(dir.path()) };
    let log = open(small()).unwrap();
    log.trim(&["rules"], Micros::MIN).await.unwrap();
    // One old record in another partition must not keep the files of all others.
    log.append(Stream::Readings, 1, records(&["old"])).await.unwrap();
    let record = || vec![Append { bytes: vec![7; 100_000].into(), origin: None }];
    let mut taken = 0;
    let refused = loop {
        match log.append(Stream::Readings, 0, record()).await {
            Ok(_) => taken += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(&refused, LogError::Full(why) if why.contains("log.retain_size")), "{refused}");
    assert!((50..=84).contains(&taken), "{taken} records of 100 kB in 8 MiB");
    assert_eq!(read_all(&log, Stream::Readings, 0, 0).await.len(), taken, "reads go on, nothing is lost");
    log.save_position("rules", Stream::Readings, 0, 30).await.unwrap();
    assert!(log.append(Stream::Readings, 0, record()).await.is_err(), "partition 1 is not read");
    read_everything(&log, "rules").await;
    for _ in 0..200 {
        // No trim: the log remembers who reads and makes room itself.
        log.append(Stream::Readings, 0, record()).await.unwrap();
    }
    assert!(size(dir.path()) <= 9 << 20, "{}", size(dir.path()));
    let next = log.bounds(Stream::Readings, 0).await.unwrap().next;
    drop(log);
    let log = open(small()).unwrap();
    let bounds = log.bounds(Stream::Readings, 0).await.unwrap();
    assert_eq!(bounds.next, next);
    assert!(bounds.first > 30);
    assert_eq!(read_all(&log, Stream::Readings, 0, bounds.first).await.len() as u64, next - bounds.first);
    assert_eq!(log.bounds(Stream::Readings, 1).await.unwrap().next, 1, "an empty partition keeps its offset");
    assert_eq!(log.append(Stream::Readings, 1, records(&["new"])).await.unwrap(), 1);
}

#[tokio::test]
async fn age_frees_the_disk_and_positions_outlive_the_files_they_were_written_in() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(SystemClock.now());
    let opened =
        || EmbeddedLog::open(options(dir.path()), Arc::new(clock.clone()), &Registry::new()).unwrap();
    let log = opened();
    read_everything(&log, "alerts").await;
    log.save_position("rules", Stream::Transitions, 0, 0).await.unwrap();
    read_everything(&log, "rules").await;
    for _ in 0..3 {
        fill(&log, 0, 100, 100_000).await;
        let old = clock.advance(3_600_000_000);
        fill(&log, 0, 10, 100_000).await;
        log.trim(&["rules", "alerts"], old).await.unwrap();
        // Whole files go: what is left is the young record's file and at most one more.
        assert!(size(dir.path()) < 8 << 20, "{}", size(dir.path()));
    }
    let collector = log.collector();
    log.trim(&["rules", "alerts"], Micros::MAX).await.unwrap();
    let bounds = log.bounds(Stream::Readings, 0).await.unwrap();
    assert_eq!((bounds.first, bounds.next), (330, 330));
    drop(log);
    let log = opened();
    assert_eq!(log.bounds(Stream::Readings, 0).await.unwrap(), bounds);
    assert_eq!(log.position("rules", Stream::Transitions, 0).await.unwrap(), Some(NOT_READ));
    assert_eq!(log.collector(), collector);
    let before = clock.now();
    clock.set(1);
    log.append(Stream::Readings, 0, records(&["on"])).await.unwrap();
    let on = log.read(Stream::Readings, 0, 330, 100).await.unwrap().remove(0);
    assert_eq!(on.origin.sequence, 330, "sequences go on where no record is left to tell");
    assert!(on.appended >= before, "append time does not go back with the clock");
}
