//! The rules of one partition: reads readings and ticks in order, decides, makes the transitions durable, snapshots.
//!
//! - Owns the tick of its partition: one a second when nothing else came.
//! - An activation is a record: when the wanted rules or catalog differ from those in force, it is appended, and comes into
//!   force when it is read again, so a replay judges each reading by the version that was in force at its offset.
//! - A snapshot is taken shard by shard between batches, when `rules/schedule.rs` says so, and only of offsets whose transitions are
//!   durable. A pass over all shards that an activation interrupts is thrown away. Shards that are overdue are taken one a turn, without
//!   waiting for a batch: a partition that rests would come to one a tick.

use super::{Reader, Shared};
use crate::snapshots::{Generation, SnapshotStore};
use crate::versions::Version;
use ::rules::{At, Evaluator};
use model::record::Activation;
use model::{Entry, Micros, Record, Stream, Transition};
use schedule::Schedule;
use std::sync::Arc;
use std::time::Duration;
use stream::{Append, LogError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod again;
mod schedule;

/// Silence of a partition after which its owner writes a tick.
const TICK: Duration = Duration::from_secs(1);

/// How often a snapshot pass begins.
pub const SNAPSHOT_EVERY: Micros = 30 * model::time::SECOND;

/// What the runner of a partition needs beside [`Shared`].
pub struct RulesRunner {
    shared: Shared,
    partition: u32,
    snapshots: Arc<dyn SnapshotStore>,
    wanted: watch::Receiver<Arc<Version>>,
    schedule: Schedule,
    evaluator: Evaluator,
    active: Arc<Version>,
    /// Hashes of activations appended and not yet read again.
    appended: Option<(String, String)>,
    pass: Option<Pass>,
    saving: Option<JoinHandle<Result<u64, String>>>,
}

/// A snapshot under way.
struct Pass {
    from: u64,
    shards: Vec<Vec<u8>>,
}

/// Where a partition's rules go on.
pub struct Restored {
    runner: RulesRunner,
    next: u64,
}

impl RulesRunner {
    /// Loads the newest snapshot of the partition; where it cannot be used, goes on where it stood with what is open by the log; or
    /// begins with the wanted version at the start of the log.
    ///
    /// # Errors
    /// A sentence, when the snapshot store cannot be read or written.
    pub async fn restore(
        shared: Shared,
        partition: u32,
        snapshots: Arc<dyn SnapshotStore>,
        wanted: watch::Receiver<Arc<Version>>,
        every: Micros,
    ) -> Result<Restored, String> {
        let (every, partitions) =
            (Duration::from_micros(every.max(0).unsigned_abs()), shared.log.partitions());
        let begin = |evaluator, active, next| {
            let runner = Self {
                shared: shared.clone(),
                partition,
                snapshots: snapshots.clone(),
                wanted: wanted.clone(),
                schedule: Schedule::new(every, partition, partitions, Instant::now()),
                evaluator,
                active,
                appended: None,
                pass: None,
                saving: None,
            };
            Restored { runner, next }
        };
        let wanted = wanted.borrow().clone().of_partition(partition);
        let (version, from) = match snapshots.load(partition).await? {
            Some(generation) => {
                let version = Self::version_of(&generation, &wanted, partition);
                let (program, catalog) = (version.program.clone(), version.catalog.clone());
                match Evaluator::restore(program, catalog, &generation.shards) {
                    Ok((evaluator, next)) => {
                        super::behind::reach(&shared, Stream::Readings, partition, "the rules", next).await?;
                        return Ok(begin(evaluator, version, next));
                    }
                    Err(e) => tracing::warn!(partition, "the snapshot cannot be used: {e}"),
                }
                (version, Some(generation.next))
            }
            // One that is damaged or gone: then the log knows how far there was one.
            None => {
                let position = shared.log.position("rules", Stream::Readings, partition).await;
                (wanted, position.map_err(|e| e.to_string())?)
            }
        };
        let (mut restored, withdrawn) = match from {
            Some(from) => {
                super::behind::reach(&shared, Stream::Readings, partition, "the rules", from).await?;
                let again = again::Again { shared: &shared, partition, from };
                let (evaluator, withdrawn) = again.evaluator(&version).await?;
                (begin(evaluator, version, from), withdrawn)
            }
            None => {
                let bounds = shared.log.bounds(Stream::Readings, partition).await;
                let first = bounds.map_err(|e| e.to_string())?.first;
                let evaluator = Evaluator::new(version.program.clone(), version.catalog.clone());
                (begin(evaluator, version, first), Vec::new())
            }
        };
        if !restored.runner.write(withdrawn, &CancellationToken::new()).await {
            return Err(format!("partition {partition}: what the rules withdraw cannot be written"));
        }
        // The first version is written down before anything is judged by it: a replay must use the same one.
        restored.runner.save_generation(restored.next, Vec::new()).await?;
        Ok(restored)
    }

    /// The version a snapshot was taken under; the wanted one where this program cannot read its texts.
    fn version_of(generation: &Generation, wanted: &Arc<Version>, partition: u32) -> Arc<Version> {
        if wanted.rules_text == generation.rules && wanted.catalog_text == generation.catalog {
            return wanted.clone(); // compiled already
        }
        match Version::from_texts(&generation.rules, &generation.catalog) {
            Ok(version) => Arc::new(version),
            Err(e) => {
                tracing::error!(partition, "the rules and catalog of the snapshot cannot be read: {e}");
                wanted.clone()
            }
        }
    }
}

impl Restored {
    /// Runs until `stop` is cancelled and the stream is drained, or the log is broken.
    pub async fn run(self, stop: CancellationToken) {
        let Restored { mut runner, next } = self;
        let mut reader =
            Reader::new(runner.shared.clone(), "rules", Stream::Readings, runner.partition, next);
        loop {
            runner.want(&stop).await;
            let is_shard_due = runner.is_shard_due();
            let patience = if is_shard_due { Duration::ZERO } else { TICK };
            let Some(entries) = reader.entries(patience, &stop).await else { break };
            if entries.is_empty() && !is_shard_due {
                runner.tick().await;
                continue;
            }
            if !entries.is_empty() && !runner.judge(&reader, &entries, &stop).await {
                return;
            }
            runner.snapshot_step(&reader).await;
        }
        runner.finish(&reader).await;
    }
}

impl RulesRunner {
    async fn tick(&self) {
        let append = Append { bytes: Record::Tick.encode(), origin: Some(crate::versions::NO_ORIGIN) };
        if let Err(e) = self.shared.log.append(Stream::Readings, self.partition, vec![append]).await {
            tracing::warn!(partition = self.partition, "no tick: {e}");
        }
    }

    /// Appends an activation where the wanted version is not the one in force.
    async fn want(&mut self, stop: &CancellationToken) {
        let wanted = self.wanted.borrow_and_update().clone().of_partition(self.partition);
        let hashes = (wanted.rules_hash.clone(), wanted.catalog_hash.clone());
        let active = (&self.active.rules_hash, &self.active.catalog_hash);
        if (&hashes.0, &hashes.1) == active || self.appended.as_ref() == Some(&hashes) || stop.is_cancelled()
        {
            return;
        }
        // One record, whatever changes: no reading is judged by new rules and the old catalog.
        let bytes = Record::Activation(wanted.activation(&self.active)).encode();
        let append = Append { bytes, origin: Some(crate::versions::NO_ORIGIN) };
        match self.shared.log.append(Stream::Readings, self.partition, vec![append]).await {
            Ok(_) => self.appended = Some(hashes),
            Err(e) => tracing::warn!(partition = self.partition, "activation not written, trying again: {e}"),
        }
    }

    /// Judges entries and makes what was decided durable. False when the log is broken.
    async fn judge(&mut self, reader: &Reader, entries: &[Entry], stop: &CancellationToken) -> bool {
        let mut out = Vec::new();
        for entry in entries {
            let at = At { offset: entry.offset, appended: entry.appended, origin: entry.origin };
            match reader.decode(entry) {
                Some(Record::Readings { runs, readings }) => {
                    self.evaluator.readings(at, &runs, &readings, &mut out)
                }
                Some(Record::Positions { run, positions }) => {
                    self.evaluator.positions(at, &run, &positions, &mut out)
                }
                Some(Record::Activation(activation)) => self.activate(at, activation, &mut out),
                Some(Record::Tick) => self.evaluator.tick(at, &mut out),
                // Whatever else came lets time pass; only a tick confirms a jump of the clock.
                _ => self.evaluator.other(at, &mut out),
            }
        }
        let newest = entries.last().map_or(0, |e| e.appended);
        let now = self.shared.clock.now();
        self.shared.lag.set(self.partition, (now - newest).max(0), now);
        if self.evaluator.needs_tick(newest) {
            self.tick().await;
        }
        self.write(out, stop).await
    }

    fn activate(&mut self, at: At, activation: Activation, out: &mut Vec<Transition>) {
        match self.active.after(&activation) {
            Ok(version) => {
                self.active = Arc::new(version);
                self.pass = None;
                self.schedule.begin_anew(Instant::now());
                self.evaluator.activate(at, self.active.program.clone(), self.active.catalog.clone(), out);
                tracing::info!(partition = self.partition, rules = self.active.rules_hash, "activated");
            }
            Err(e) => {
                tracing::error!(hash = activation.hash, "an activation cannot be read and is ignored: {e}");
                self.evaluator.other(at, out);
            }
        }
    }

    async fn write(&self, transitions: Vec<Transition>, stop: &CancellationToken) -> bool {
        if transitions.is_empty() {
            return true;
        }
        for t in &transitions {
            self.shared.metrics.transitions.with_label_values(&[t.to.as_str()]).inc();
        }
        let bytes = Record::Transitions(transitions).encode();
        let mut pause = super::RETRY.0;
        loop {
            let append = Append { bytes: bytes.clone(), origin: None };
            match self.shared.log.append(Stream::Transitions, self.partition, vec![append]).await {
                Ok(_) => return true,
                Err(LogError::Broken(e)) => {
                    tracing::error!(partition = self.partition, "transitions not written: {e}");
                    return false;
                }
                Err(e) if stop.is_cancelled() => {
                    // They are decided again after the restart, with the same ids.
                    tracing::error!(
                        partition = self.partition,
                        "stopping before transitions are written: {e}"
                    );
                    return false;
                }
                Err(e) => {
                    tracing::warn!(partition = self.partition, "transitions not written, trying again: {e}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(super::RETRY.1);
                }
            }
        }
    }

    fn is_shard_due(&self) -> bool {
        let is_saving = self.saving.as_ref().is_some_and(|saving| !saving.is_finished());
        !is_saving && self.schedule.is_due(self.evaluator.shards(), Instant::now())
    }

    /// One shard, when one is due: the evaluator stands still for one shard only.
    async fn snapshot_step(&mut self, reader: &Reader) {
        if !self.saved(reader).await || !self.is_shard_due() {
            return;
        }
        let begin = || Pass { from: reader.next(), shards: Vec::new() };
        let mut pass = self.pass.take().unwrap_or_else(begin);
        pass.shards.push(self.evaluator.snapshot(pass.shards.len()));
        if !self.schedule.taken(self.evaluator.shards(), Instant::now()) {
            self.pass = Some(pass);
            return;
        }
        // Packing and fsync go beside the evaluator, which stands still only while one shard is copied.
        let (store, partition) = (self.snapshots.clone(), self.partition);
        let generation = self.generation(pass.from, pass.shards);
        self.saving = Some(tokio::spawn(async move {
            let next = generation.next;
            store.save(partition, generation).await.map(|()| next)
        }));
    }

    /// Whether no snapshot is being written; tells the log once one is.
    async fn saved(&mut self, reader: &Reader) -> bool {
        match &self.saving {
            None => return true,
            Some(saving) if !saving.is_finished() => return false,
            Some(_) => {}
        }
        let Some(saving) = self.saving.take() else { return true };
        match saving.await {
            Ok(Ok(next)) => reader.save(next).await,
            Ok(Err(e)) => tracing::warn!(partition = self.partition, "snapshot not saved: {e}"),
            Err(e) => tracing::warn!(partition = self.partition, "snapshot not saved: {e}"),
        }
        true
    }

    fn generation(&self, next: u64, shards: Vec<Vec<u8>>) -> Generation {
        let (rules, catalog) = (self.active.rules_text.clone(), self.active.catalog_text.clone());
        Generation { rules, catalog, next, shards }
    }

    async fn save_generation(&mut self, next: u64, mut shards: Vec<Vec<u8>>) -> Result<(), String> {
        if shards.is_empty() {
            shards = (0..self.evaluator.shards()).map(|i| self.evaluator.snapshot(i)).collect();
        }
        self.snapshots.save(self.partition, self.generation(next, shards)).await
    }

    async fn finish(&mut self, reader: &Reader) {
        if let Some(saving) = self.saving.take() {
            let _ = saving.await; // a newer one is written now
        }
        match self.save_generation(reader.next(), Vec::new()).await {
            Ok(()) => reader.save(reader.next()).await,
            Err(e) => tracing::warn!(partition = self.partition, "snapshot not saved at the end: {e}"),
        }
    }
}
