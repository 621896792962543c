//! A full disk: appends are held back, everything else goes on, and appends work again once space is free.

use crate::embedded::{counted, open, options};
use model::{Micros, Stream, SystemClock};
use prometheus::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use stream::conformance::{read_all, records};
use stream::{Append, EmbeddedLog, EmbeddedOptions, FreeSpace, Log, LogError};
use tests::tmpfs::Tmpfs;

#[tokio::test]
async fn below_the_reserve_appends_wait_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let seen = free.clone();
    let options = EmbeddedOptions {
        disk_reserve: 100 << 20,
        free_space: FreeSpace::new(move |_| Ok(seen.load(Ordering::SeqCst))),
        ..options(dir.path())
    };
    let registry = Registry::new();
    let log = EmbeddedLog::open(options, Arc::new(SystemClock), &registry).unwrap();
    log.append(Stream::Readings, 0, records(&["a"])).await.unwrap();
    free.store(100 << 20, Ordering::SeqCst);
    let refused = log.append(Stream::Readings, 0, records(&["b"])).await;
    let Err(LogError::Full(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("log.disk_reserve") && why.contains(&*dir.path().to_string_lossy()), "{why}");
    assert_eq!(counted(&registry, "firedamp_stream_refused_appends_total"), 1.0);
    assert_eq!(read_all(&log, Stream::Readings, 0, 0).await.len(), 1);
    log.save_position("rules", Stream::Readings, 0, 1).await.unwrap();
    log.trim(&["rules"], Micros::MAX).await.unwrap();
    free.store(200 << 20, Ordering::SeqCst);
    assert_eq!(log.append(Stream::Readings, 0, records(&["c"])).await.unwrap(), 1);
}

fn noise() -> Vec<Append> {
    vec![Append { bytes: vec![7; 100_000].into(), origin: None }]
}

/// Appends until it is refused; how many went in.
async fn fill(log: &dyn Log) -> usize {
    let mut taken = 0;
    loop {
        match log.append(Stream::Readings, 0, noise()).await {
            Ok(_) => taken += 1,
            Err(LogError::Full(_)) => return taken,
            Err(e) => panic!("{e}"),
        }
    }
}

#[tokio::test]
async fn a_real_full_disk_is_held_back_before_it_is_full() {
    let Some(disk) = Tmpfs::mount(32) else { return };
    let dir = disk.path().join("firedamp");
    let log = open(options(&dir)).unwrap();
    let taken = fill(&log).await;
    assert!((200..330).contains(&taken), "{taken} records of 100 kB on 32 MiB");
    assert!(fs2::available_space(disk.path()).unwrap() >= 1 << 20, "the reserve was kept");
    assert_eq!(read_all(&log, Stream::Readings, 0, 0).await.len(), taken);
    // Consumers catch up, and retention frees the disk.
    log.save_position("rules", Stream::Readings, 0, taken as u64).await.unwrap();
    for partition in 0..log.partitions() {
        for stream in [Stream::Readings, Stream::Transitions] {
            log.save_position("rules", stream, partition, u64::MAX).await.unwrap();
        }
    }
    log.trim(&["rules"], Micros::MAX).await.unwrap();
    // A file that was removed takes room until its last reader has let go of it: a moment later.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut again = fill(&log).await;
    while again <= 200 {
        assert!(std::time::Instant::now() < until, "{again} records in the room that was freed");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        again += fill(&log).await;
    }
    drop(log);
    let log = open(options(&dir)).unwrap();
    let bounds = log.bounds(Stream::Readings, 0).await.unwrap();
    assert_eq!(
        read_all(&log, Stream::Readings, 0, bounds.first).await.len() as u64,
        bounds.next - bounds.first
    );
}

#[tokio::test]
async fn a_disk_that_another_fills_between_look_and_write_breaks_nothing() {
    let Some(disk) = Tmpfs::mount(24) else { return };
    let dir = disk.path().join("firedamp");
    // The look says there is room, always: every write finds out for itself.
    let blind = || EmbeddedOptions { free_space: FreeSpace::new(|_| Ok(u64::MAX)), ..options(&dir) };
    let log = open(blind()).unwrap();
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let taken = fill(&log).await;
    assert!(fill(&log).await <= 1, "it stays full");
    assert!(read_all(&log, Stream::Readings, 0, 0).await.len() >= taken, "reads go on");
    std::fs::remove_file(&ballast).unwrap();
    let more = fill(&log).await;
    assert!(more > 40, "{more} records in 8 MiB that were freed");
    let next = log.bounds(Stream::Readings, 0).await.unwrap().next;
    drop(log);
    let log = open(blind()).unwrap();
    assert_eq!(log.bounds(Stream::Readings, 0).await.unwrap().next, next);
    assert_eq!(read_all(&log, Stream::Readings, 0, 0).await.len() as u64, next);
}
