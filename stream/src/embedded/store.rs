//! What the committer writes to: raft-engine with the key-values, the table of files, room and retention.
//!
//! Key-values lie in region 1: `log` (version, partitions, collector), `files` (the table), `p` + region + consumer (a
//! position). They are written anew whenever retention removes files, since raft-engine keeps a file as long as a single
//! key-value in it is alive.

use super::Engine;
use super::committer::Positions;
use super::entry::{Slot, unpack};
use super::files::Seen;
use super::reader::region_id;
use super::table::{Row, Start, Table, Wish};
use super::{EmbeddedOptions, RESERVE_MIN};
use crate::metrics::EmbeddedMetrics;
use crate::view::Region;
use crate::{LogError, NOT_READ};
use model::{Clock, Micros};
use raft_engine::internals::LogQueue;
use raft_engine::{Command, LogBatch};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The region of the key-values.
pub const META: u64 = 1;
pub const KEY_LOG: &[u8] = b"log";
pub const KEY_FILES: &[u8] = b"files";
pub const KEY_POSITION: u8 = b'p';

/// Why a batch was not written.
#[derive(Debug)]
pub enum Refusal {
    /// The disk is full; nothing of it is there.
    Full(String),
    /// The log ends.
    Broken(String),
}

/// See the module.
pub struct Store {
    pub engine: Arc<Engine>,
    pub seen: Arc<Seen>,
    pub options: EmbeddedOptions,
    pub collector: u64,
    /// Where the regions stand, what is being written included.
    pub starts: Vec<Start>,
    pub table: Table,
    /// The table has news that are not in the log yet.
    pub table_news: bool,
    pub size: u64,
    /// Who reads, as of the last trim: room is made for an append without waiting for the next one.
    pub consumers: Option<Vec<String>>,
    pub clock: Arc<dyn Clock>,
    pub metrics: EmbeddedMetrics,
}

impl Store {
    /// Whether there is room for so many bytes; the reason when not.
    pub fn room(
        &mut self,
        bytes: u64,
        positions: &Mutex<Positions>,
        regions: &[Region],
    ) -> Result<Result<(), String>, String> {
        let dir = self.options.dir.display().to_string();
        match self.options.free_space.of(&self.options.dir) {
            Ok(free) => {
                self.metrics.free.set(i64::try_from(free).unwrap_or(i64::MAX));
                let reserve = self.options.disk_reserve.max(RESERVE_MIN);
                if free < reserve + bytes {
                    self.metrics.refused_disk.inc();
                    return Ok(Err(format!(
                        "{free} bytes are free on the file system of {dir} and {reserve} are kept free; free some \
                         space there, or set a smaller log.disk_reserve"
                    )));
                }
            }
            // Writing finds out; that is handled too.
            Err(e) => tracing::warn!(dir, "the free space is not known: {e}"),
        }
        if self.size + bytes > self.options.retain_size {
            if let Some(consumers) = self.consumers.clone() {
                // A refusal to trim is no error here: the size says the rest.
                let _ = self.trim(consumers, Micros::MIN, positions, regions)?;
            }
            if self.size + bytes > self.options.retain_size {
                self.metrics.refused_retention.inc();
                return Ok(Err(format!(
                    "{dir} holds {} bytes of log.retain_size = {}, and not every consumer has read the oldest of it; \
                     it goes on when they have, or with a larger log.retain_size",
                    self.size, self.options.retain_size
                )));
            }
        }
        Ok(Ok(()))
    }

    /// Asserts that the next record of a region follows its last one in raft-engine too.
    pub fn check_no_hole(&self, region: usize, start: &Start) -> Result<(), String> {
        match self.engine.last_index(region_id(region)) {
            Some(last) if last != start.next => Err(format!(
                "region {region} ends at index {last} where {} was expected; nothing was written",
                start.next
            )),
            _ => Ok(()),
        }
    }

    /// Writes and syncs. `before`: where the regions stood before this batch.
    pub fn write(&mut self, batch: &mut LogBatch, before: &[Start]) -> Result<(), Refusal> {
        if self.table_news {
            // The identity goes along, so that it lies in the newest files: losing an old one does not lose it.
            self.put_identity(batch).map_err(Refusal::Broken)?;
            let put = batch.put(META, KEY_FILES.to_vec(), self.table.encode());
            put.map_err(|e| Refusal::Broken(e.to_string()))?;
        }
        let result = self.engine.write(batch, true);
        if self.seen.sync_failed() {
            return Err(Refusal::Broken("an fsync failed; what was not acknowledged may be lost".to_owned()));
        }
        match result {
            Ok(len) => {
                self.size += len as u64;
                self.metrics.size.set(i64::try_from(self.size).unwrap_or(i64::MAX));
                let (_, file) = self.engine.file_span(LogQueue::Append);
                self.table_news = self.table.began(file, before);
                Ok(())
            }
            Err(e) if is_full(&e) => {
                self.metrics.refused_disk.inc();
                Err(Refusal::Full(format!("the file system of {} is full", self.options.dir.display())))
            }
            Err(e) => Err(Refusal::Broken(format!("the log cannot be written: {e}"))),
        }
    }

    /// Adds a position to a batch.
    pub fn put_position(&self, batch: &mut LogBatch, key: &(usize, String), next: u64) -> Result<(), String> {
        let mut name = vec![KEY_POSITION];
        name.extend_from_slice(&(key.0 as u32).to_be_bytes());
        name.extend_from_slice(key.1.as_bytes());
        batch.put(META, name, next.to_le_bytes().to_vec()).map_err(|e| e.to_string())
    }

    fn put_identity(&self, batch: &mut LogBatch) -> Result<(), String> {
        let identity = Identity { partitions: self.options.partitions, collector: self.collector };
        batch.put(META, KEY_LOG.to_vec(), identity.encode()).map_err(|e| e.to_string())
    }

    /// Removes whole files that are beyond age or size and that every consumer has read.
    pub fn trim(
        &mut self,
        consumers: Vec<String>,
        older_than: Micros,
        positions: &Mutex<Positions>,
        regions: &[Region],
    ) -> Result<Result<(), LogError>, String> {
        let positions = positions.lock().expect("no code panics while it holds the positions").clone();
        let read: Vec<u64> = (0..regions.len())
            .map(|region| {
                let position = |c: &String| positions.get(&(region, c.clone())).copied().unwrap_or(0);
                consumers.iter().map(position).min().unwrap_or(NOT_READ)
            })
            .collect();
        self.consumers = Some(consumers);
        let sizes = match file_sizes(&log_dir(&self.options.dir)) {
            Ok(sizes) => sizes,
            Err(e) => {
                return Ok(Err(LogError::Unavailable(format!("the files of the log cannot be listed: {e}"))));
            }
        };
        let (_, file) = self.engine.file_span(LogQueue::Append);
        let now = Row { file, starts: self.starts.clone() };
        let aged = self.options.retain_age.map_or(Micros::MIN, |age| self.clock.now().saturating_sub(age));
        let size_max = self.options.retain_size.saturating_sub(self.options.file_size());
        let wish = Wish { read: &read, older_than: older_than.max(aged), sizes: &sizes, size_max };
        let result = match self.table.cut(&wish, &now) {
            Some(row) if row.starts.iter().zip(regions).any(|(s, r)| s.next > r.bounds().0) => {
                self.begin_with(row, &positions, regions)
            }
            _ => Ok(()),
        };
        self.size = file_sizes(&log_dir(&self.options.dir)).map_or(self.size, |sizes| sizes.values().sum());
        self.metrics.size.set(i64::try_from(self.size).unwrap_or(i64::MAX));
        match result {
            Ok(()) => Ok(Ok(())),
            Err(Refusal::Full(why)) => Ok(Err(LogError::Full(why))),
            Err(Refusal::Broken(why)) => Err(why),
        }
    }

    /// Removes everything before `row` and frees the files.
    fn begin_with(&mut self, row: Row, positions: &Positions, regions: &[Region]) -> Result<(), Refusal> {
        let mut batch = LogBatch::with_capacity(regions.len() + positions.len() + 2);
        for (at, (region, start)) in regions.iter().zip(&row.starts).enumerate() {
            let (first, _) = region.bounds();
            if first < start.next {
                batch.add_command(region_id(at), Command::Compact { index: start.next + 1 });
                region.begins_at(start.next);
                self.metrics.of(super::stream_of_region(at)).trimmed.inc_by(start.next - first);
            }
        }
        for (key, next) in positions {
            self.put_position(&mut batch, key, *next).map_err(Refusal::Broken)?;
        }
        self.table.begin_with(row);
        self.table_news = true;
        let starts = self.starts.clone();
        self.write(&mut batch, &starts)?;
        self.purge();
        Ok(())
    }

    /// Frees the files in which nothing is alive.
    pub fn purge(&self) {
        // Not `purge_expired_files`: that one rewrites what is alive in old files, seconds of it. This one begins a new
        // file and removes those before the oldest alive.
        self.engine.purge_manager().must_purge_all_stale();
    }

    /// Where a region stands, as far as its entries tell; the table tells the rest.
    pub fn recover_start(&self, region: usize, from_table: Start) -> Start {
        let id = region_id(region);
        let (Some(first), Some(last)) = (self.engine.first_index(id), self.engine.last_index(id)) else {
            return from_table;
        };
        // The newest entry that can be read. Each unreadable one after it took one sequence at most.
        for index in (first..=last).rev() {
            let stored = self.engine.get_entry::<Slot>(id, index);
            if let Ok(Some(stored)) = stored
                && let Some((header, _)) = unpack(0, stored)
            {
                let own_next = (header.own_next + (last - index)).max(from_table.own_next);
                return Start { next: last, own_next, appended: header.appended.max(from_table.appended) };
            }
        }
        Start {
            next: last,
            own_next: from_table.own_next + (last - first + 1),
            appended: from_table.appended,
        }
    }
}

/// What the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub partitions: u32,
    pub collector: u64,
}

/// Version of the folder.
const FORMAT: u32 = 1;

impl Identity {
    fn encode(self) -> Vec<u8> {
        let mut out = FORMAT.to_le_bytes().to_vec();
        out.extend_from_slice(&self.partitions.to_le_bytes());
        out.extend_from_slice(&self.collector.to_le_bytes());
        out
    }

    /// # Errors
    /// A sentence that says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let damaged = || "what the log says about itself is damaged".to_owned();
        let (format, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let format = u32::from_le_bytes(*format);
        if format != FORMAT {
            return Err(format!("its format is {format}, this firedamp reads {FORMAT}"));
        }
        let (partitions, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let collector = rest.try_into().map_err(|_| damaged())?;
        Ok(Self { partitions: u32::from_le_bytes(*partitions), collector: u64::from_le_bytes(collector) })
    }
}

fn is_full(e: &raft_engine::Error) -> bool {
    match e {
        raft_engine::Error::Io(e) => e.kind() == std::io::ErrorKind::StorageFull,
        raft_engine::Error::TryAgain(_) => true,
        _ => false,
    }
}

/// Where raft-engine's files lie.
pub fn log_dir(dir: &Path) -> std::path::PathBuf {
    dir.join("log")
}

/// Sizes of the files by number; those of the rewrite queue count with the newest, since they are not trimmed.
pub fn file_sizes(dir: &Path) -> std::io::Result<BTreeMap<u64, u64>> {
    let mut sizes = BTreeMap::new();
    for file in std::fs::read_dir(dir)? {
        let file = file?;
        let path = file.path();
        let number = match path.extension().and_then(|e| e.to_str()) {
            Some("raftlog") => path.file_stem().and_then(|s| s.to_str()?.parse().ok()).unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
        *sizes.entry(number).or_default() += file.metadata()?.len();
    }
    Ok(sizes)
}
