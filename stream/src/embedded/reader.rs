//! The thread that reads records from the files.
//!
//! All reads of one log go through one thread of its own, because raft-engine keeps the last block it read per thread
//! and under a key that does not name the log: a thread that read two logs could be handed records of the other one.
//!
//! A record whose bytes are damaged on disk is handed out empty, so that its reader sets it aside with its offset as it
//! does with any record it cannot decode, and goes on.

use super::Engine;
use super::entry::{HEADER_LEN, Slot, unpack};
use crate::LogError;
use crate::metrics::EmbeddedMetrics;
use crate::view::Region;
use bytes::Bytes;
use model::{Entry, Offset, Origin};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Records looked up at once, so that a long backlog of small ones takes little memory.
const RECORDS_MAX: u64 = 4096;

/// What the thread is asked.
#[derive(Debug)]
pub enum ReadRequest {
    /// Records of a region.
    Read(Wanted, oneshot::Sender<Result<Vec<Entry>, LogError>>),
    /// Ends the thread; answers once it let go of the engine.
    Stop(oneshot::Sender<()>),
}

/// Records of region number `region` from `from` on, before `end`.
#[derive(Debug)]
pub struct Wanted {
    pub region: usize,
    pub partition: u32,
    pub from: u64,
    pub end: u64,
    pub max_bytes: usize,
}

/// The number of a region in raft-engine; 1 is that of the key-values.
pub fn region_id(region: usize) -> u64 {
    region as u64 + 2
}

/// See the module.
pub struct Reader {
    pub engine: Arc<Engine>,
    pub regions: Arc<[Region]>,
    pub metrics: EmbeddedMetrics,
}

impl Reader {
    /// Reads until told to stop or nobody is left to ask.
    pub fn run(self, mut requests: mpsc::Receiver<ReadRequest>) {
        while let Some(request) = requests.blocking_recv() {
            match request {
                ReadRequest::Read(wanted, answer) => {
                    let read = || self.read(&wanted);
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
                    let panicked = || LogError::Broken("raft-engine panicked while it read".to_owned());
                    // Whoever asked may have gone; nothing is lost by that.
                    let _ = answer.send(result.unwrap_or_else(|_| Err(panicked())));
                }
                ReadRequest::Stop(answer) => {
                    drop(self);
                    let _ = answer.send(());
                    return;
                }
            }
        }
    }

    fn read(&self, wanted: &Wanted) -> Result<Vec<Entry>, LogError> {
        let (from, id) = (wanted.from, region_id(wanted.region));
        let count = (wanted.end - from).min(wanted.max_bytes as u64 / HEADER_LEN as u64 + 1).min(RECORDS_MAX);
        let mut stored = Vec::new();
        let indexes = (from + 1, from + 1 + count);
        let result = self.engine.fetch_entries_to::<Slot>(
            id,
            indexes.0,
            indexes.1,
            Some(wanted.max_bytes),
            &mut stored,
        );
        let mut entries: Vec<Entry> =
            stored.into_iter().map_while(|s| unpack(wanted.partition, s)).map(|(_, e)| e).collect();
        if let Err(e) = result
            && entries.is_empty()
        {
            let (first, _) = self.regions[wanted.region].bounds();
            if from < first {
                return Err(LogError::Gone { partition: wanted.partition, wanted: from, first });
            }
            if let raft_engine::Error::Io(e) = e {
                return Err(LogError::Unavailable(format!("the files of the log cannot be read: {e}")));
            }
            entries.push(self.damaged(wanted, &e));
        }
        self.metrics.read_disk.inc_by(entries.len() as u64);
        Ok(entries)
    }

    fn damaged(&self, wanted: &Wanted, e: &raft_engine::Error) -> Entry {
        let (partition, number) = (wanted.partition, wanted.from);
        tracing::error!(partition, offset = number, "a record is damaged on disk and handed out empty: {e}");
        self.metrics.damaged.inc();
        // Its append time is lost with it; the one before is as late as anything before it.
        let before = number.checked_sub(1).and_then(|n| {
            let stored = self.engine.get_entry::<Slot>(region_id(wanted.region), n + 1).ok()??;
            unpack(partition, stored)
        });
        let appended = before.map_or(0, |(header, _)| header.appended);
        let origin = Origin { collector: 0, sequence: 0 };
        Entry { offset: Offset { partition, number }, appended, origin, bytes: Bytes::new() }
    }
}
