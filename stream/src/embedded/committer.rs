//! The one thread that writes.
//!
//! It takes whatever is queued, writes it as one batch with one fsync, and only then shows it to readers and answers.
//! There is no artificial delay: while an fsync runs the next batch gathers. Order of one commit: room on disk and within
//! retention, offsets and append times, hole check, write, fsync, show, answer.
//!
//! raft-engine panics when a region has a hole, after the hole is on disk, and at every opening from then on. So indexes
//! are compared with raft-engine's own before each write, and a difference ends the log instead.

use super::entry::{Header, Slot, pack};
use super::reader::region_id;
use super::store::{Refusal, Store};
use super::table::Start;
use crate::view::Region;
use crate::{Append, LogError};
use model::{Clock, Entry, Micros, Offset, Origin};
use raft_engine::LogBatch;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Requests of one commit; with the bytes it keeps a commit short.
const COMMIT_REQUESTS_MAX: usize = 4096;

/// Saved positions: what consumers see, and what retention goes by.
pub type Positions = BTreeMap<(usize, String), u64>;

/// What the thread is asked. Whoever asked may be gone when the answer comes.
#[derive(Debug)]
pub enum Request {
    Append(AppendRequest),
    Save(SaveRequest),
    Trim { consumers: Vec<String>, older_than: Micros, answer: Answer<()> },
    Close { answer: oneshot::Sender<()> },
}

pub type Answer<T> = oneshot::Sender<Result<T, LogError>>;

#[derive(Debug)]
pub struct AppendRequest {
    pub region: usize,
    pub records: Vec<Append>,
    pub answer: Answer<u64>,
}

#[derive(Debug)]
pub struct SaveRequest {
    pub region: usize,
    pub consumer: String,
    pub next: u64,
    pub answer: Answer<()>,
}

/// One commit.
#[derive(Default)]
struct Work {
    appends: Vec<AppendRequest>,
    saves: Vec<SaveRequest>,
    bytes: usize,
}

/// See the module.
pub struct Committer {
    pub store: Store,
    pub regions: Arc<[Region]>,
    pub positions: Arc<Mutex<Positions>>,
    pub clock: Arc<dyn Clock>,
    pub max_batch: usize,
}

/// Entries of one region in a commit, with its first offset for each append.
#[derive(Default)]
struct Staged {
    entries: Vec<Entry>,
    stored: Vec<protobuf::well_known_types::BytesValue>,
}

impl Committer {
    /// Commits until closed or nobody is left to ask. An error says why the log cannot go on; what was not answered was
    /// not acknowledged. `Some` is answered once everything is let go.
    pub fn run(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Result<Option<oneshot::Sender<()>>, String> {
        let mut closing = None;
        while let Some(first) = requests.blocking_recv() {
            let (work, after) = self.gather(first, requests);
            self.commit(work)?;
            match after {
                Some(Request::Trim { consumers, older_than, answer }) => {
                    let _ = answer.send(self.store.trim(
                        consumers,
                        older_than,
                        &self.positions,
                        &self.regions,
                    )?);
                }
                Some(Request::Close { answer }) => {
                    // What is queued still goes in; from here on senders are refused.
                    requests.close();
                    closing = Some(answer);
                }
                _ => {}
            }
        }
        Ok(closing)
    }

    /// What is queued, as much as one commit takes, and a request of another kind that came then.
    fn gather(&self, first: Request, requests: &mut mpsc::Receiver<Request>) -> (Work, Option<Request>) {
        let mut work = Work::default();
        let mut next = Some(first);
        while let Some(request) = next.take() {
            match request {
                Request::Append(append) => {
                    work.bytes += append.records.iter().map(|r| r.bytes.len()).sum::<usize>();
                    work.appends.push(append);
                }
                Request::Save(save) => work.saves.push(save),
                other => return (work, Some(other)),
            }
            if work.bytes < self.max_batch && work.appends.len() + work.saves.len() < COMMIT_REQUESTS_MAX {
                next = requests.try_recv().ok();
            }
        }
        (work, None)
    }

    fn commit(&mut self, mut work: Work) -> Result<(), String> {
        if !work.appends.is_empty()
            && let Err(why) = self.store.room(work.bytes as u64, &self.positions, &self.regions)?
        {
            refuse(&mut work.appends, &why);
        }
        if work.appends.is_empty() && work.saves.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let before = self.store.starts.clone();
        let mut batch = LogBatch::with_capacity(64);
        let mut staged: BTreeMap<usize, Staged> = BTreeMap::new();
        let now = self.clock.now();
        let firsts: Vec<u64> = work.appends.iter_mut().map(|a| self.stage(a, now, &mut staged)).collect();
        for (region, staged) in &staged {
            self.store.check_no_hole(*region, &before[*region])?;
            let added = batch.add_entries::<Slot>(region_id(*region), &staged.stored);
            added.map_err(|e| format!("a batch of {} bytes cannot be built: {e}", work.bytes))?;
        }
        let saved = self.stage_saves(&work.saves, &mut batch)?;
        if let Err(refusal) = self.store.write(&mut batch, &before) {
            self.store.starts = before;
            return match refusal {
                Refusal::Full(why) => {
                    refuse(&mut work.appends, &why);
                    work.saves
                        .into_iter()
                        .for_each(|s| drop(s.answer.send(Err(LogError::Full(why.clone())))));
                    Ok(())
                }
                Refusal::Broken(why) => Err(why),
            };
        }
        self.store.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        self.show(staged, saved);
        for (append, first) in work.appends.into_iter().zip(firsts) {
            let _ = append.answer.send(Ok(first));
        }
        work.saves.into_iter().for_each(|s| drop(s.answer.send(Ok(()))));
        Ok(())
    }

    /// Gives the records their places; returns the first.
    fn stage(
        &mut self,
        append: &mut AppendRequest,
        now: Micros,
        staged: &mut BTreeMap<usize, Staged>,
    ) -> u64 {
        let start: &mut Start = &mut self.store.starts[append.region];
        let first = start.next;
        let partition = super::partition_of_region(append.region);
        let staged = staged.entry(append.region).or_default();
        for record in std::mem::take(&mut append.records) {
            let origin = record.origin.unwrap_or_else(|| {
                let sequence = start.own_next;
                start.own_next += 1;
                Origin { collector: self.store.collector, sequence }
            });
            // A wall clock may be set back; the log's time is not.
            start.appended = start.appended.max(now);
            let header =
                Header { index: start.next + 1, appended: start.appended, origin, own_next: start.own_next };
            staged.stored.push(pack(&header, &record.bytes));
            let offset = Offset { partition, number: start.next };
            staged.entries.push(Entry { offset, appended: start.appended, origin, bytes: record.bytes });
            start.next += 1;
        }
        first
    }

    /// The positions that move, newest of each.
    fn stage_saves(&self, saves: &[SaveRequest], batch: &mut LogBatch) -> Result<Positions, String> {
        let positions = self.positions.lock().expect("no code panics while it holds the positions");
        let mut moved = Positions::new();
        for save in saves {
            let key = (save.region, save.consumer.clone());
            let saved = moved.get(&key).or_else(|| positions.get(&key)).copied();
            if saved.is_none_or(|saved| saved < save.next) {
                moved.insert(key, save.next);
            }
        }
        for (key, next) in &moved {
            self.store.put_position(batch, key, *next)?;
        }
        Ok(moved)
    }

    /// Shows what is durable to readers and retention.
    fn show(&self, staged: BTreeMap<usize, Staged>, saved: Positions) {
        for (region, staged) in staged {
            let metrics = self.store.metrics.of(super::stream_of_region(region));
            metrics.appended.inc_by(staged.entries.len() as u64);
            metrics.appended_bytes.inc_by(staged.entries.iter().map(|e| e.bytes.len() as u64).sum());
            self.regions[region].extend(staged.entries);
        }
        self.positions.lock().expect("no code panics while it holds the positions").extend(saved);
    }
}

fn refuse(appends: &mut Vec<AppendRequest>, why: &str) {
    for append in appends.drain(..) {
        let _ = append.answer.send(Err(LogError::Full(why.to_owned())));
    }
}
