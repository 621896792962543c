//! kill -9 at random moments, and damage to the end of the last file: what was acknowledged is there.

use crate::embedded::{counted, open, options};
use model::{Stream, SystemClock};
use prometheus::Registry;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use stream::conformance::{PARTITIONS, read_all, records};
use stream::{Append, EmbeddedLog, Log, LogError};

/// Names the folder to the child; without it the child's test does nothing.
const CHILD: &str = "FIREDAMP_TEST_CRASH_DIR";
const KILLS: u64 = 20;

/// Runs in a process of its own, started by the test below: appends until it is killed and prints what was acknowledged.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let log = Arc::new(open(options(Path::new(&dir))).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for partition in 0..PARTITIONS {
            let log = log.clone();
            tasks.push(tokio::spawn(async move {
                let mut n = log.bounds(Stream::Readings, partition).await.unwrap().next;
                loop {
                    // The text says which record it is; the length varies so that batches end anywhere.
                    let mut bytes = n.to_string().into_bytes();
                    bytes.resize(100 + (n as usize * 7919) % 20_000, b' ');
                    let append = Append { bytes: bytes.into(), origin: None };
                    let offset = log.append(Stream::Readings, partition, vec![append]).await.unwrap();
                    assert_eq!(offset, n);
                    let position = log.save_position("rules", Stream::Readings, partition, n + 1);
                    position.await.unwrap();
                    println!("ack {partition} {n}");
                    n += 1;
                }
            }));
        }
        futures::future::join_all(tasks).await;
    });
}

/// Kills a child after `lines` acknowledgements and `pause` more; the last number acknowledged of each partition.
fn run_and_kill(dir: &Path, lines: u64, pause: Duration) -> HashMap<u32, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_that_appends_until_it_is_killed",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut acknowledged = HashMap::new();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    let mut note = |line: &str| {
        let Some((partition, n)) = line.split_once("ack ").and_then(|(_, rest)| rest.split_once(' ')) else {
            return 0;
        };
        // The kill may cut the last line short.
        let (Ok(partition), Ok(n)) = (partition.parse::<u32>(), n.parse::<u64>()) else { return 0 };
        acknowledged.insert(partition, n);
        1
    };
    while seen < lines {
        let line = out.next().expect("the child goes on until it is killed").unwrap();
        seen += note(&line);
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    let rest: Vec<String> = out.map_while(Result::ok).collect();
    // A cut last number would read as a smaller one; without its line end it is not counted.
    for line in rest.iter().take(rest.len().saturating_sub(1)) {
        note(line);
    }
    child.wait().unwrap();
    acknowledged
}

async fn check_dense(log: &dyn Log, at_least: &HashMap<u32, u64>) {
    for partition in 0..PARTITIONS {
        let entries = read_all(log, Stream::Readings, partition, 0).await;
        for (n, entry) in entries.iter().enumerate() {
            let text = String::from_utf8_lossy(&entry.bytes);
            assert_eq!((entry.offset.number, text.trim()), (n as u64, &*n.to_string()));
        }
        let last = at_least.get(&partition).copied();
        assert!(
            last.is_none_or(|l| l < entries.len() as u64),
            "{last:?} was acknowledged, {} are there",
            entries.len()
        );
        let position = log.position("rules", Stream::Readings, partition).await.unwrap().unwrap_or(0);
        assert!(position <= entries.len() as u64);
        assert!(
            last.is_none_or(|l| position > l),
            "the position of {last:?} was acknowledged, {position} is there"
        );
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..KILLS {
        let draw = (round * 0x9e37_79b9 + 12345) % 1000;
        let acknowledged = run_and_kill(dir.path(), 1 + draw % 60, Duration::from_micros(draw * 20));
        let log = open(options(dir.path())).unwrap();
        check_dense(&log, &acknowledged).await;
    }
}

#[tokio::test]
async fn a_file_that_got_no_header_does_not_hide_the_end_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    // Killed, so that the last file ends in what was allocated ahead.
    let acknowledged = run_and_kill(dir.path(), 5, Duration::ZERO);
    let newest = newest_file(dir.path());
    let number: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    std::fs::write(newest.with_file_name(format!("{:016}.raftlog", number + 1)), b"").unwrap();
    let log = open(options(dir.path())).unwrap();
    check_dense(&log, &acknowledged).await;
    log.append(Stream::Readings, 0, records(&["on"])).await.unwrap();
}

#[tokio::test]
async fn a_missing_file_is_told_counted_and_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(options(dir.path())).unwrap();
    for n in 0..80 {
        let append = Append { bytes: vec![n; 100_000].into(), origin: None };
        log.append(Stream::Readings, 0, vec![append]).await.unwrap();
    }
    drop(log);
    let files = std::fs::read_dir(dir.path().join("log")).unwrap().map(|f| f.unwrap().path());
    let oldest = files.filter(|f| f.extension().is_some_and(|e| e == "raftlog")).min().unwrap();
    std::fs::remove_file(oldest).unwrap();
    let registry = Registry::new();
    let log = EmbeddedLog::open(options(dir.path()), Arc::new(SystemClock), &registry).unwrap();
    let first = log.bounds(Stream::Readings, 0).await.unwrap().first;
    assert!((10..=30).contains(&first), "{first}");
    assert_eq!(counted(&registry, "firedamp_stream_lost_records_total"), first as f64);
    let gone = log.read(Stream::Readings, 0, 0, 1000).await;
    assert!(matches!(gone, Err(LogError::Gone { first: f, .. }) if f == first), "{gone:?}");
    assert_eq!(read_all(&log, Stream::Readings, 0, first).await.len() as u64, 80 - first);
}

fn newest_file(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir.join("log")).unwrap().map(|f| f.unwrap().path());
    files.filter(|f| f.extension().is_some_and(|e| e == "raftlog")).max().unwrap()
}

/// Ten records in three partitions, each in a batch of its own, and the log closed.
async fn ten_records(dir: &Path) {
    let log = open(options(dir)).unwrap();
    for n in 0..10 {
        let text = format!("{n}{}", " ".repeat(500));
        log.append(Stream::Readings, 0, records(&[&text])).await.unwrap();
    }
    log.save_position("rules", Stream::Readings, 0, 10).await.unwrap();
    log.close().await.unwrap();
}

fn flip(file: &Path, from_end: u64) {
    let mut file = std::fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::End(-(from_end as i64))).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::End(-(from_end as i64))).unwrap();
    file.write_all(&[byte[0] ^ 0x55]).unwrap();
}

#[tokio::test]
async fn a_damaged_tail_is_cut_told_and_counted_and_the_rest_is_there() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 4] = [
        ("a byte of the last record", |f| flip(f, 400)),
        ("the last byte", |f| flip(f, 1)),
        ("the end is missing", |f| {
            let file = std::fs::File::options().write(true).open(f).unwrap();
            file.set_len(file.metadata().unwrap().len() - 100).unwrap();
        }),
        ("garbage after the end", |f| {
            std::fs::File::options().append(true).open(f).unwrap().write_all(&[0xa5; 3000]).unwrap();
        }),
    ];
    for (case, damage) in cases {
        let dir = tempfile::tempdir().unwrap();
        ten_records(dir.path()).await;
        let collector = {
            let log = open(options(dir.path())).unwrap();
            // The last batch is one of two records.
            log.append(Stream::Readings, 0, records(&[&"10".repeat(400), &"11".repeat(400)])).await.unwrap();
            log.collector()
        };
        damage(&newest_file(dir.path()));
        let registry = Registry::new();
        let log = EmbeddedLog::open(options(dir.path()), Arc::new(SystemClock), &registry).unwrap();
        assert_eq!(counted(&registry, "firedamp_stream_torn_tails_total"), 1.0, "{case}");
        assert!(counted(&registry, "firedamp_stream_torn_bytes_total") > 0.0, "{case}");
        let entries = read_all(&log, Stream::Readings, 0, 0).await;
        let expected = if case == "garbage after the end" { 12 } else { 10 };
        assert_eq!(entries.len(), expected, "{case}");
        assert!(entries[9].bytes.starts_with(b"9 "), "{case}");
        // What was cut may have been acknowledged: its sequences are not given again under the same name.
        assert_ne!(log.collector(), collector, "{case}");
        assert_eq!(log.append(Stream::Readings, 0, records(&["on"])).await.unwrap(), expected as u64);
        drop(log);
        let registry = Registry::new();
        let log = EmbeddedLog::open(options(dir.path()), Arc::new(SystemClock), &registry).unwrap();
        assert_eq!(counted(&registry, "firedamp_stream_torn_tails_total"), 0.0, "{case}: it is told once");
        assert_eq!(read_all(&log, Stream::Readings, 0, 0).await.len(), expected + 1, "{case}");
    }
}

#[tokio::test]
async fn a_damaged_record_in_the_middle_is_handed_out_empty_and_the_stream_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    ten_records(dir.path()).await;
    let file = newest_file(dir.path());
    let bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(3).position(|w| w == b"5  ").unwrap();
    flip(&file, (bytes.len() - at - 100) as u64);
    let registry = Registry::new();
    let log = EmbeddedLog::open(options(dir.path()), Arc::new(SystemClock), &registry).unwrap();
    let entries = read_all(&log, Stream::Readings, 0, 0).await;
    assert_eq!(entries.len(), 10);
    assert!(entries[5].bytes.is_empty() && entries[5].decode().is_err());
    assert!(entries[6].bytes.starts_with(b"6 "));
    assert!(entries.is_sorted_by_key(|e| e.appended));
    assert!(counted(&registry, "firedamp_stream_damaged_records_total") >= 1.0);
}
