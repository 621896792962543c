//! The promises of [`Log`], one function each, that every implementation is held to. A test gives a [`Maker`] and runs
//! [`suite`]; a function that panics is a broken promise.

use crate::{Append, Log, LogError, NOT_READ};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use model::record::RECORD_LEN_MAX;
use model::{Entry, ManualClock, Micros, Origin, Stream};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Partitions of the logs a [`Maker`] makes.
pub const PARTITIONS: u32 = 3;

/// Makes the logs that are tried.
#[async_trait]
pub trait Maker: Send + Sync {
    /// The log of this name, with [`PARTITIONS`] partitions: empty the first time, and the same log again after it was
    /// closed.
    async fn open(&self, name: &str) -> Arc<dyn Log>;

    /// Lets retention remove everything there is in a log, where [`Log::trim`] does not (Kafka's brokers do it).
    async fn expire(&self, _name: &str) {}

    /// The clock that gives append times, if the test decides it.
    fn clock(&self) -> Option<ManualClock> {
        None
    }
}

/// All promises, one after the other, each on a log of its own.
pub async fn suite(maker: &dyn Maker) {
    append_gives_offsets_in_order(maker).await;
    concurrent_appends_keep_order_and_all_records(maker).await;
    own_origins_have_no_holes_and_given_ones_are_kept(maker).await;
    positions_never_go_back(maker).await;
    wait_returns_when_the_offset_is_there(maker).await;
    trim_never_removes_unread(maker).await;
    what_is_not_there_is_gone(maker).await;
    append_time_never_goes_back(maker).await;
    streams_and_partitions_are_apart(maker).await;
    reads_are_bounded_and_large_records_pass(maker).await;
    everything_is_there_after_reopening(maker).await;
    closed_is_broken(maker).await;
}

/// Records with these texts.
pub fn records(texts: &[&str]) -> Vec<Append> {
    texts.iter().map(|t| Append { bytes: Bytes::copy_from_slice(t.as_bytes()), origin: None }).collect()
}

fn numbered(range: std::ops::Range<u64>) -> Vec<Append> {
    range.map(|n| Append { bytes: n.to_string().into(), origin: None }).collect()
}

/// All entries from `from` up to the end, read in small bites.
pub async fn read_all(log: &dyn Log, stream: Stream, partition: u32, mut from: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let entries = log.read(stream, partition, from, 4096).await.expect("the log can be read");
        let Some(last) = entries.last() else { return all };
        for entry in &entries {
            assert_eq!(entry.offset.partition, partition);
            assert!(entry.offset.number >= from, "{} read from {from} on", entry.offset.number);
            from = entry.offset.number + 1;
        }
        assert_eq!(last.offset.number + 1, from);
        all.extend(entries);
    }
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|e| String::from_utf8_lossy(&e.bytes).into_owned()).collect()
}

/// An append returns once its records can be read, with the offset of the first; offsets go up by one.
pub async fn append_gives_offsets_in_order(maker: &dyn Maker) {
    let log = maker.open("order").await;
    assert_eq!(log.partitions(), PARTITIONS);
    let start = log.bounds(Stream::Readings, 1).await.unwrap();
    assert_eq!(start.first, start.next, "an empty log");
    let first = log.append(Stream::Readings, 1, records(&["a", "b"])).await.unwrap();
    let second = log.append(Stream::Readings, 1, records(&["c"])).await.unwrap();
    assert_eq!((first, second), (start.next, start.next + 2));
    assert_eq!(log.bounds(Stream::Readings, 1).await.unwrap().next, start.next + 3);
    let entries = read_all(&*log, Stream::Readings, 1, first).await;
    assert_eq!(texts(&entries), ["a", "b", "c"]);
    assert_eq!(entries[2].offset.number, second);
    let nothing = log.append(Stream::Readings, 1, Vec::new()).await.unwrap();
    assert_eq!(nothing, start.next + 3);
}

/// Appends of many callers at once: each keeps its own order, none is lost or doubled, offsets are dense.
pub async fn concurrent_appends_keep_order_and_all_records(maker: &dyn Maker) {
    let log = maker.open("concurrent").await;
    let callers = (0..8u64).map(|caller| {
        let log = log.clone();
        async move {
            for n in 0..20 {
                let text = format!("{caller} {n}");
                let offset = log.append(Stream::Readings, 0, records(&[&text])).await.unwrap();
                let there = log.read(Stream::Readings, 0, offset, 1).await.unwrap();
                assert_eq!(texts(&there), [text], "what was acknowledged is there at once");
            }
        }
    });
    join_all(callers).await;
    let entries = read_all(&*log, Stream::Readings, 0, 0).await;
    assert_eq!(entries.len(), 160);
    for caller in 0..8 {
        let own: Vec<_> =
            texts(&entries).into_iter().filter(|t| t.starts_with(&format!("{caller} "))).collect();
        assert_eq!(own, (0..20).map(|n| format!("{caller} {n}")).collect::<Vec<_>>());
    }
    let offsets: Vec<u64> = entries.iter().map(|e| e.offset.number).collect();
    assert_eq!(offsets, (0..160).collect::<Vec<_>>());
}

/// Own records get the log's collector and sequences without holes per partition; given origins are kept as they are.
pub async fn own_origins_have_no_holes_and_given_ones_are_kept(maker: &dyn Maker) {
    let log = maker.open("origins").await;
    let given = [Origin { collector: 77, sequence: 1000 }, Origin { collector: 0, sequence: 0 }];
    for partition in 0..2 {
        for origin in given {
            log.append(Stream::Readings, partition, numbered(0..3)).await.unwrap();
            let append = Append { bytes: "given".into(), origin: Some(origin) };
            log.append(Stream::Readings, partition, vec![append]).await.unwrap();
        }
        log.append(Stream::Readings, partition, numbered(0..2)).await.unwrap();
    }
    let mut collectors = BTreeSet::new();
    for partition in 0..2 {
        let entries = read_all(&*log, Stream::Readings, partition, 0).await;
        let (kept, own): (Vec<_>, Vec<_>) = entries.iter().partition(|e| &e.bytes[..] == b"given");
        assert_eq!(kept.iter().map(|e| e.origin).collect::<Vec<_>>(), given);
        collectors.extend(own.iter().map(|e| e.origin.collector));
        let first = own[0].origin.sequence;
        let sequences: Vec<_> = own.iter().map(|e| e.origin.sequence - first).collect();
        assert_eq!(sequences, (0..8).collect::<Vec<_>>());
    }
    assert_eq!(collectors.len(), 1);
    assert!(!collectors.contains(&0) && !collectors.contains(&77));
}

/// A position is there once it is saved, apart for each consumer, partition and stream, and never goes back.
pub async fn positions_never_go_back(maker: &dyn Maker) {
    let log = maker.open("positions").await;
    log.append(Stream::Readings, 0, numbered(0..10)).await.unwrap();
    assert_eq!(log.position("rules", Stream::Readings, 0).await.unwrap(), None);
    log.save_position("rules", Stream::Readings, 0, 7).await.unwrap();
    log.save_position("rules", Stream::Readings, 0, 3).await.unwrap();
    assert_eq!(log.position("rules", Stream::Readings, 0).await.unwrap(), Some(7));
    assert_eq!(log.position("rules", Stream::Readings, 1).await.unwrap(), None);
    assert_eq!(log.position("rules", Stream::Transitions, 0).await.unwrap(), None);
    assert_eq!(log.position("storage", Stream::Readings, 0).await.unwrap(), None);
    log.save_position("rules", Stream::Readings, 0, 10).await.unwrap();
    assert_eq!(log.position("rules", Stream::Readings, 0).await.unwrap(), Some(10));
}

/// Who waits for an offset is woken when it is durable, and not before; a wait that is dropped costs nothing.
pub async fn wait_returns_when_the_offset_is_there(maker: &dyn Maker) {
    let log = maker.open("wait").await;
    log.append(Stream::Readings, 2, numbered(0..3)).await.unwrap();
    log.wait(Stream::Readings, 2, 2).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(20), log.wait(Stream::Readings, 2, 3)).await;
    assert!(early.is_err(), "offset 3 is not there yet");
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait(Stream::Readings, 2, 4).await }
    });
    log.append(Stream::Readings, 2, numbered(3..4)).await.unwrap();
    log.append(Stream::Readings, 1, numbered(0..9)).await.unwrap();
    log.append(Stream::Transitions, 2, numbered(0..9)).await.unwrap();
    assert!(!waiting.is_finished(), "offset 4 is not there yet");
    log.append(Stream::Readings, 2, numbered(4..5)).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    woken.expect("the wait ends").unwrap().unwrap();
    assert_eq!(read_all(&*log, Stream::Readings, 2, 4).await.len(), 1);
}

/// Whatever age allows, nothing at or behind the lowest position of a named consumer is removed; one that has saved
/// nothing keeps everything.
pub async fn trim_never_removes_unread(maker: &dyn Maker) {
    let log = maker.open("trim").await;
    log.append(Stream::Readings, 0, numbered(0..100)).await.unwrap();
    log.append(Stream::Transitions, 0, numbered(0..100)).await.unwrap();
    log.save_position("a", Stream::Readings, 0, 60).await.unwrap();
    log.save_position("b", Stream::Readings, 0, 40).await.unwrap();
    log.save_position("a", Stream::Transitions, 0, NOT_READ).await.unwrap();
    log.trim(&["a", "b", "nobody"], Micros::MAX).await.unwrap();
    assert_eq!(log.bounds(Stream::Readings, 0).await.unwrap().first, 0, "`nobody` has read nothing");
    log.trim(&["a", "b"], Micros::MAX).await.unwrap();
    assert!(log.bounds(Stream::Readings, 0).await.unwrap().first <= 40);
    assert_eq!(log.bounds(Stream::Transitions, 0).await.unwrap().first, 0, "`b` has read no transition");
    let entries = read_all(&*log, Stream::Readings, 0, 40).await;
    assert_eq!(texts(&entries), (40..100).map(|n| n.to_string()).collect::<Vec<_>>());
    log.trim(&["a", "b"], Micros::MIN).await.unwrap();
    assert_eq!(log.bounds(Stream::Readings, 0).await.unwrap().next, 100);
}

/// An offset before the first or beyond the end is an error that says where reading can go on.
pub async fn what_is_not_there_is_gone(maker: &dyn Maker) {
    let log = maker.open("gone").await;
    log.append(Stream::Readings, 0, numbered(0..10)).await.unwrap();
    let beyond = log.read(Stream::Readings, 0, 11, 1000).await;
    assert!(matches!(beyond, Err(LogError::Gone { partition: 0, wanted: 11, first: 10 })), "{beyond:?}");
    assert!(log.read(Stream::Readings, 0, 10, 1000).await.unwrap().is_empty());
    for partition in 0..PARTITIONS {
        for stream in crate::STREAMS {
            log.save_position("c", stream, partition, NOT_READ).await.unwrap();
        }
    }
    log.trim(&["c"], Micros::MAX).await.unwrap();
    maker.expire("gone").await;
    assert_eq!(log.bounds(Stream::Readings, 0).await.unwrap().first, 10);
    let behind = log.read(Stream::Readings, 0, 4, 1000).await;
    assert!(matches!(behind, Err(LogError::Gone { partition: 0, wanted: 4, first: 10 })), "{behind:?}");
    let next = log.append(Stream::Readings, 0, records(&["on"])).await.unwrap();
    assert_eq!(next, 10, "offsets are not used again");
    let entries = read_all(&*log, Stream::Readings, 0, 10).await;
    assert_eq!((texts(&entries), entries[0].origin.sequence), (vec!["on".to_owned()], 10));
}

/// Append times of a partition never go back, whatever the clock does.
pub async fn append_time_never_goes_back(maker: &dyn Maker) {
    let log = maker.open("time").await;
    let clock = maker.clock();
    for n in 0..6i64 {
        if let Some(clock) = &clock {
            clock.advance(if n % 3 == 2 { -5_000_000 } else { 1_000_000 });
        }
        log.append(Stream::Readings, 0, numbered(0..2)).await.unwrap();
    }
    let entries = read_all(&*log, Stream::Readings, 0, 0).await;
    assert_eq!(entries.len(), 12);
    assert!(entries.is_sorted_by_key(|e| e.appended));
    assert!(entries[0].appended > 0, "there is an append time");
}

/// Both streams and all partitions have records, offsets and ends of their own.
pub async fn streams_and_partitions_are_apart(maker: &dyn Maker) {
    let log = maker.open("apart").await;
    for partition in 0..PARTITIONS {
        for stream in crate::STREAMS {
            let text = format!("{stream:?} {partition}");
            assert_eq!(log.append(stream, partition, records(&[&text])).await.unwrap(), 0);
        }
    }
    for partition in 0..PARTITIONS {
        for stream in crate::STREAMS {
            let entries = read_all(&*log, stream, partition, 0).await;
            assert_eq!(texts(&entries), [format!("{stream:?} {partition}")]);
        }
    }
    let outside = log.append(Stream::Readings, PARTITIONS, records(&["x"])).await;
    assert!(matches!(outside, Err(LogError::Broken(_))));
    assert!(log.read(Stream::Readings, PARTITIONS, 0, 1).await.is_err());
}

/// A read gives about as many bytes as asked for, one record at least; records near the limit pass.
pub async fn reads_are_bounded_and_large_records_pass(maker: &dyn Maker) {
    let log = maker.open("large").await;
    // Noise, so that nothing on the way can make it small.
    let mut state = 1u64;
    let mut noise = |len: usize| -> Bytes {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    let small = noise(1000);
    let large = noise(RECORD_LEN_MAX - 1024);
    let append = |bytes: &Bytes| Append { bytes: bytes.clone(), origin: None };
    log.append(Stream::Readings, 0, vec![append(&small); 50]).await.unwrap();
    log.append(Stream::Readings, 0, vec![append(&large), append(&small)]).await.unwrap();
    let bite = log.read(Stream::Readings, 0, 0, 10_500).await.unwrap();
    assert!((1..=10).contains(&bite.len()), "{} records of 1000 bytes in 10500", bite.len());
    let bite = log.read(Stream::Readings, 0, 50, 1000).await.unwrap();
    assert_eq!((bite.len(), bite[0].bytes == large), (1, true));
    assert_eq!(read_all(&*log, Stream::Readings, 0, 0).await.len(), 52);
}

/// After closing and opening again everything is as it was, and goes on where it was.
pub async fn everything_is_there_after_reopening(maker: &dyn Maker) {
    let log = maker.open("reopen").await;
    for n in 0..30 {
        log.append(Stream::Readings, n % PARTITIONS, numbered(0..5)).await.unwrap();
    }
    log.append(Stream::Transitions, 0, records(&["t"])).await.unwrap();
    log.save_position("storage", Stream::Readings, 0, 20).await.unwrap();
    let before = read_all(&*log, Stream::Readings, 0, 0).await;
    log.close().await.unwrap();
    drop(log);
    let log = maker.open("reopen").await;
    assert_eq!(read_all(&*log, Stream::Readings, 0, 0).await, before);
    assert_eq!(texts(&read_all(&*log, Stream::Transitions, 0, 0).await), ["t"]);
    assert_eq!(log.position("storage", Stream::Readings, 0).await.unwrap(), Some(20));
    assert_eq!(log.append(Stream::Readings, 0, records(&["on"])).await.unwrap(), 50);
    let on = read_all(&*log, Stream::Readings, 0, 50).await.remove(0);
    let last = &before[49];
    assert!(on.appended >= last.appended);
    if on.origin.collector == last.origin.collector {
        assert_eq!(on.origin.sequence, last.origin.sequence + 1);
    }
}

/// After closing, appends fail and those who wait are told.
pub async fn closed_is_broken(maker: &dyn Maker) {
    let log = maker.open("closed").await;
    log.append(Stream::Readings, 0, records(&["a"])).await.unwrap();
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait(Stream::Readings, 0, 5).await }
    });
    tokio::task::yield_now().await;
    log.close().await.unwrap();
    assert!(matches!(log.append(Stream::Readings, 0, records(&["b"])).await, Err(LogError::Broken(_))));
    let woken = tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the wait ends").unwrap();
    assert!(matches!(woken, Err(LogError::Broken(_))));
    log.close().await.expect("closing twice is no error");
}
