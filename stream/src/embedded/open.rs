//! Opening the log: the lock, what is cut, what it says about itself, where each region stands.

use super::committer::{Committer, Positions, Request};
use super::files::{Seen, WatchedFiles};
use super::reader::{Reader, region_id};
use super::store::{Identity, KEY_FILES, KEY_LOG, KEY_POSITION, META, Store, file_sizes, log_dir};
use super::table::{Start, Table};
use super::{EmbeddedLog, EmbeddedOptions, Engine, READS_MAX, REQUESTS_MAX};
use crate::metrics::EmbeddedMetrics;
use crate::view::Region;
use crate::{LogError, NOT_READ, regions};
use model::Clock;
use prometheus::Registry;
use raft_engine::internals::LogQueue;
use raft_engine::{Config, LogBatch, ReadableSize, RecoveryMode};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// What the committer's thread starts with, and what it lets go of last.
struct Opened {
    committer: Committer,
    reader: Reader,
    lock: File,
}

pub fn open(
    options: EmbeddedOptions,
    clock: Arc<dyn Clock>,
    registry: &Registry,
) -> Result<EmbeddedLog, LogError> {
    open_watched(options, clock, registry, Arc::new(Seen::default()))
}

/// Opens with an eye on the files that the caller shares.
pub fn open_watched(
    options: EmbeddedOptions,
    clock: Arc<dyn Clock>,
    registry: &Registry,
    seen: Arc<Seen>,
) -> Result<EmbeddedLog, LogError> {
    options.check().map_err(LogError::Broken)?;
    let dir = options.dir.clone();
    let metrics = EmbeddedMetrics::new(registry);
    let (requests, request_queue) = mpsc::channel(REQUESTS_MAX);
    let (reads, read_queue) = mpsc::channel(READS_MAX);
    let (opened, was_opened) = std::sync::mpsc::channel();
    let thread_metrics = metrics.clone();
    // Opening reads entries, and entries are read by a thread of this log alone (see `reader`).
    let committing = spawn("log-commit", move || {
        let opening = std::panic::AssertUnwindSafe(|| prepare(options, clock, thread_metrics, seen));
        let result = std::panic::catch_unwind(opening).unwrap_or_else(|p| Err(panic_text(&*p)));
        match result {
            Ok(Opened { committer, reader, lock }) => {
                let shared =
                    (committer.regions.clone(), committer.positions.clone(), committer.store.collector);
                if opened.send(Ok((shared, reader))).is_ok() {
                    commit_until_end(committer, request_queue, lock);
                }
            }
            Err(e) => drop(opened.send(Err(e))),
        }
    })?;
    let result = was_opened.recv().unwrap_or_else(|_| Err("its thread ended".to_owned()));
    let in_dir = |e: String| LogError::Broken(format!("{}: {e}", dir.display()));
    let ((regions, positions, collector), reader) = result.map_err(in_dir)?;
    let reading = spawn("log-read", move || reader.run(read_queue))?;
    Ok(EmbeddedLog {
        partitions: (regions.len() / crate::STREAMS.len()) as u32,
        collector,
        regions,
        positions,
        requests: Some(requests),
        reads: Some(reads),
        threads: vec![committing, reading],
        metrics,
    })
}

fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>, LogError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(f);
    thread.map_err(|e| LogError::Broken(format!("no thread can be started: {e}")))
}

/// Runs the committer; when it cannot go on, everybody is told why.
fn commit_until_end(mut committer: Committer, mut requests: mpsc::Receiver<Request>, lock: File) {
    let regions = committer.regions.clone();
    let run = std::panic::AssertUnwindSafe(|| committer.run(&mut requests));
    let result = std::panic::catch_unwind(run).unwrap_or_else(|p| Err(panic_text(&*p)));
    let mut closing: Option<oneshot::Sender<()>> = None;
    let why = match result {
        Ok(answer) => {
            closing = answer;
            "the log is closed".to_owned()
        }
        Err(why) => {
            tracing::error!("the log cannot go on: {why}");
            why
        }
    };
    regions.iter().for_each(|r| r.tip.end(&why));
    // Whoever is still queued is told only now, so that it finds the reason.
    drop(requests);
    drop(committer);
    drop(lock);
    if let Some(closing) = closing {
        let _ = closing.send(());
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    format!("raft-engine panicked: {text}")
}

/// A child that is being started holds copies of all files for a moment, the lock of a log that was just closed among them.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

fn open_engine(options: &EmbeddedOptions, dir: &Path, seen: &Arc<Seen>) -> Result<Engine, String> {
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        let files = Arc::new(WatchedFiles(seen.clone()));
        match Engine::open_with_file_system(config(options, dir)?, files) {
            Ok(engine) => return Ok(engine),
            Err(e) if e.to_string().contains("lock file") && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => {
                let mend = "Restore it from a backup, or move the folder away";
                return Err(format!("the log cannot be opened: {e}. {mend}"));
            }
        }
    }
}

fn prepare(
    options: EmbeddedOptions,
    clock: Arc<dyn Clock>,
    metrics: EmbeddedMetrics,
    seen: Arc<Seen>,
) -> Result<Opened, String> {
    let dir = log_dir(&options.dir);
    std::fs::create_dir_all(&dir).map_err(|e| format!("the folder cannot be made: {e}"))?;
    let lock = lock(&options.dir)?;
    remove_unborn_file(&dir)?;
    let engine = open_engine(&options, &dir, &seen)?;
    if seen.sync_failed() {
        return Err("an fsync failed while the log was opened".to_owned());
    }
    let engine = Arc::new(engine);
    let torn = tell_cuts(&seen, &metrics);
    let count = regions(options.partitions);
    let (collector, is_new) = collector(&engine, &options, torn)?;
    let mut store = Store {
        starts: vec![Start::default(); count],
        table: Table::default(),
        table_news: true,
        size: file_sizes(&dir).map_err(|e| format!("its files cannot be listed: {e}"))?.values().sum(),
        consumers: None,
        clock: clock.clone(),
        metrics: metrics.clone(),
        engine: engine.clone(),
        seen,
        collector,
        options,
    };
    let firsts = recover(&mut store)?;
    if is_new || torn {
        write_identity(&mut store, is_new)?;
    }
    let positions = recover_positions(&store)?;
    let cache = store.options.cache / store.options.partitions as usize;
    let views: Arc<[Region]> =
        firsts.iter().zip(&store.starts).map(|(first, s)| Region::new(*first, s.next, cache)).collect();
    metrics.size.set(i64::try_from(store.size).unwrap_or(i64::MAX));
    let reader = Reader { engine, regions: views.clone(), metrics };
    let positions = Arc::new(Mutex::new(positions));
    let max_batch = store.options.max_batch;
    Ok(Opened { committer: Committer { store, regions: views, positions, clock, max_batch }, reader, lock })
}

fn config(options: &EmbeddedOptions, dir: &Path) -> Result<Config, String> {
    Ok(Config {
        dir: dir.to_str().ok_or("the path is not UTF-8, which raft-engine needs")?.to_owned(),
        recovery_mode: RecoveryMode::TolerateTailCorruption,
        recovery_threads: 2,
        // The records are compressed already.
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(options.file_size()),
        // Only `purge_expired_files` goes by it, which is never called; above what is retained it would rewrite nothing.
        purge_threshold: ReadableSize(options.retain_size.saturating_mul(2)),
        // A file that retention removes is free on the disk at once.
        enable_log_recycle: false,
        ..Config::default()
    })
}

/// Takes the folder for this process.
fn lock(dir: &Path) -> Result<File, String> {
    let path = dir.join("lock");
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(|e| format!("the file `lock` in it cannot be opened: {e}"))?;
    let until = Instant::now() + LOCK_PATIENCE;
    let mut locked = file.try_lock();
    while matches!(locked, Err(TryLockError::WouldBlock)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
            return Err(format!(
                "the log is open in {holder}; an embedded log belongs to one process. Stop that one, or use Kafka"
            ));
        }
        Err(TryLockError::Error(e)) => return Err(format!("the file `lock` in it cannot be locked: {e}")),
    }
    // Only for the message above: what counts is the lock.
    let _ = file.set_len(0);
    let _ = file.seek(SeekFrom::Start(0));
    let _ = write!(file, "process {}", std::process::id());
    Ok(file)
}

/// Removes a newest file that never got its header: a disk was full, and then the process died. With it there the one
/// before would not be the last, and its end would not be tolerated.
fn remove_unborn_file(dir: &Path) -> Result<(), String> {
    /// Shorter than raft-engine's header.
    const UNBORN_LEN: u64 = 64;
    let files = std::fs::read_dir(dir).map_err(|e| format!("its files cannot be listed: {e}"))?;
    let names = files.flatten().map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "raftlog"));
    let mut names: Vec<_> = names.collect();
    names.sort();
    if let [.., _, newest] = names.as_slice()
        && newest.metadata().is_ok_and(|m| m.len() < UNBORN_LEN)
    {
        tracing::info!(file = %newest.display(), "removing a file that was never written");
        std::fs::remove_file(newest).map_err(|e| format!("{} cannot be removed: {e}", newest.display()))?;
    }
    Ok(())
}

/// Tells and counts what was cut; whether there was any.
fn tell_cuts(seen: &Seen, metrics: &EmbeddedMetrics) -> bool {
    let cuts = seen.cuts();
    for cut in &cuts {
        tracing::warn!(
            file = %cut.file.display(), kept = cut.kept, bytes = cut.bytes,
            "the log ended in a torn batch of {} bytes, which was cut off: a write that was not finished, or damage",
            cut.bytes
        );
        metrics.torn_tails.inc();
        metrics.torn_bytes.inc_by(cut.bytes);
    }
    !cuts.is_empty()
}

/// The collector number, and whether the log is new.
fn collector(engine: &Engine, options: &EmbeddedOptions, torn: bool) -> Result<(u64, bool), String> {
    // 0 is kept for records that may come twice.
    let random = || rand::random_range(1..=u64::MAX);
    let Some(stored) = engine.get(META, KEY_LOG) else {
        if engine.raft_groups().iter().any(|g| engine.last_index(*g).is_some()) {
            return Err("it has records but does not say what log it is. Restore it from a backup".to_owned());
        }
        return Ok((random(), true));
    };
    let identity = Identity::decode(&stored)?;
    if identity.partitions != options.partitions {
        return Err(format!(
            "the log has {} partitions and log.partitions is {}; the number is fixed when a log is made. Set it back, \
             or begin with a new folder",
            identity.partitions, options.partitions
        ));
    }
    Ok((if torn { random() } else { identity.collector }, false))
}

/// Finds where each region stands; returns their first offsets.
fn recover(store: &mut Store) -> Result<Vec<u64>, String> {
    let count = store.starts.len();
    if let Some(stored) = store.engine.get(META, KEY_FILES) {
        store.table =
            Table::decode(&stored, count).ok_or("its table of files is damaged. Restore it from a backup")?;
    }
    let (first_file, last_file) = store.engine.file_span(LogQueue::Append);
    let newest = store.table.rows().back().map_or_else(|| store.starts.clone(), |row| row.starts.clone());
    let oldest = store.table.rows().front().map(|row| (row.file, row.starts.clone()));
    let mut firsts = Vec::with_capacity(count);
    for (region, newest) in newest.iter().enumerate() {
        let start = store.recover_start(region, *newest);
        let first = store.engine.first_index(region_id(region)).map_or(start.next, |index| index - 1);
        let expected = oldest.as_ref().map_or(0, |(_, starts)| starts[region].next);
        tell_lost(store, region, first.saturating_sub(expected) + newest.next.saturating_sub(start.next));
        store.starts[region] = start;
        firsts.push(first);
    }
    store.table.ends_with(last_file);
    let starts = store.starts.clone();
    if store.table.rows().is_empty() {
        let begin: Vec<Start> =
            starts.iter().zip(&firsts).map(|(s, first)| Start { next: *first, ..*s }).collect();
        store.table.began(first_file, &begin);
    }
    store.table.began(last_file, &starts);
    if oldest.is_some_and(|(file, _)| first_file < file) {
        // The last process died between removing records and freeing their files.
        store.purge();
    }
    Ok(firsts)
}

fn tell_lost(store: &Store, region: usize, lost: u64) {
    if lost > 0 {
        let (partition, stream) = (super::partition_of_region(region), super::stream_of_region(region));
        tracing::error!(
            partition,
            ?stream,
            lost,
            "{lost} records that should be in the log are not: files are missing"
        );
        store.metrics.lost.inc_by(lost);
    }
}

/// Writes what the log is. A log that exists already opens on a full disk too: the next commit is tried then.
fn write_identity(store: &mut Store, is_new: bool) -> Result<(), String> {
    store.table_news = true;
    let starts = store.starts.clone();
    match store.write(&mut LogBatch::default(), &starts) {
        Ok(()) => Ok(()),
        Err(super::store::Refusal::Full(why)) if !is_new => {
            tracing::warn!("the log's new collector number is not saved: {why}");
            Ok(())
        }
        Err(super::store::Refusal::Full(why) | super::store::Refusal::Broken(why)) => Err(why),
    }
}

/// The saved positions. One beyond the end of the log belongs to records that were cut; it is set back to the end.
fn recover_positions(store: &Store) -> Result<Positions, String> {
    let mut positions = Positions::new();
    let range = ([KEY_POSITION], [KEY_POSITION + 1]);
    let scan = store.engine.scan_raw_messages(META, Some(&range.0), Some(&range.1), false, |key, value| {
        let parsed = || -> Option<((usize, String), u64)> {
            let (region, consumer) = key.get(1..)?.split_first_chunk()?;
            let consumer = std::str::from_utf8(consumer).ok()?.to_owned();
            Some((
                (u32::from_be_bytes(*region) as usize, consumer),
                u64::from_le_bytes(value.try_into().ok()?),
            ))
        };
        positions.extend(parsed());
        true
    });
    scan.map_err(|e| format!("the positions in it cannot be read: {e}"))?;
    positions.retain(|(region, _), _| *region < store.starts.len());
    for ((region, consumer), next) in &mut positions {
        let end = store.starts[*region].next;
        if *next > end && *next != NOT_READ {
            let partition = super::partition_of_region(*region);
            tracing::error!(
                partition,
                consumer,
                saved = *next,
                end,
                "a consumer had read beyond what is now the end of the log; it goes on at the end"
            );
            *next = end;
        }
    }
    Ok(positions)
}
