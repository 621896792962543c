//! The rules of a partition whose snapshot cannot be used: damaged, of a format that is read no more, or gone.
//!
//! What was decided before the offset to go on at is durable in the log. So nothing is decided there a second time: what came in the
//! longest window is read again for what rules remember, and the levels that are open by the log's transitions are adopted. Levels
//! open since before the oldest transition that the log still has are not found here; an operator must close their alarms.

use super::super::Shared;
use crate::versions::{NO_ORIGIN, Version};
use ::rules::{At, Evaluator, OpenLevels};
use model::{Entry, Micros, Offset, Record, Stream, Transition};
use stream::{Bounds, LogError};

/// Bytes read at once.
const READ_BYTES: usize = 2 << 20;

/// One partition, read up to where its rules go on.
pub(super) struct Again<'a> {
    pub shared: &'a Shared,
    pub partition: u32,
    /// The offset to go on at.
    pub from: u64,
}

impl Again<'_> {
    /// An evaluator at `from` under `version`, and what is withdrawn because that version does not judge it.
    ///
    /// # Errors
    /// A sentence, when the log cannot be read.
    pub async fn evaluator(&self, version: &Version) -> Result<(Evaluator, Vec<Transition>), String> {
        let failed = |e: LogError| format!("partition {}: {e}", self.partition);
        let open = self.open().await.map_err(failed)?;
        let mut evaluator = Evaluator::new(version.program.clone(), version.catalog.clone());
        let now = self.warm_up(&mut evaluator, version.program.remembers()).await.map_err(failed)?;
        let offset = Offset { partition: self.partition, number: self.from };
        let mut out = Vec::new();
        evaluator.adopt(At { offset, appended: now, origin: NO_ORIGIN }, &open, &mut out);
        let (partition, from) = (self.partition, self.from);
        tracing::warn!(partition, from, "{} open levels are adopted from the log", open.len());
        Ok((evaluator, out))
    }

    /// What is open by the transitions of records before `from`.
    async fn open(&self) -> Result<OpenLevels, LogError> {
        let mut open = OpenLevels::default();
        let Bounds { first, next } = self.shared.log.bounds(Stream::Transitions, self.partition).await?;
        let mut at = first;
        while at < next {
            let entries = self.shared.log.read(Stream::Transitions, self.partition, at, READ_BYTES).await?;
            let Some(last) = entries.last() else { break };
            at = last.offset.number + 1;
            for entry in &entries {
                // What cannot be decoded is set aside and told by the alerts, which read the same.
                let Ok(Record::Transitions(transitions)) = entry.decode() else { continue };
                transitions.iter().filter(|t| t.offset.number < self.from).for_each(|t| open.note(t));
            }
        }
        Ok(open)
    }

    /// Judges what lies at most `remembers` back, for what is remembered only; the append time it ends at.
    async fn warm_up(&self, evaluator: &mut Evaluator, remembers: Micros) -> Result<Micros, LogError> {
        let first = self.shared.log.bounds(Stream::Readings, self.partition).await?.first;
        let Some(last) = self.entry(self.from.saturating_sub(1).max(first)).await? else {
            return Ok(self.shared.clock.now());
        };
        let since = last.appended.saturating_sub(remembers);
        let (mut low, mut high) = (first, self.from);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle).await? {
                Some(entry) if entry.appended < since => low = middle + 1,
                _ => high = middle,
            }
        }
        let mut unheard = Vec::new();
        while low < self.from {
            let entries = self.shared.log.read(Stream::Readings, self.partition, low, READ_BYTES).await?;
            let Some(last) = entries.last() else { break };
            low = last.offset.number + 1;
            for entry in entries.iter().filter(|e| e.offset.number < self.from) {
                let at = At { offset: entry.offset, appended: entry.appended, origin: entry.origin };
                match entry.decode() {
                    Ok(Record::Readings { runs, readings }) => {
                        evaluator.readings(at, &runs, &readings, &mut unheard)
                    }
                    Ok(Record::Positions { run, positions }) => {
                        evaluator.positions(at, &run, &positions, &mut unheard)
                    }
                    Ok(Record::Tick) => evaluator.tick(at, &mut unheard),
                    _ => evaluator.other(at, &mut unheard),
                }
                unheard.clear();
            }
        }
        Ok(last.appended)
    }

    /// The first entry at an offset or behind it.
    async fn entry(&self, at: u64) -> Result<Option<Entry>, LogError> {
        let mut entries = self.shared.log.read(Stream::Readings, self.partition, at, 1).await?;
        Ok(if entries.is_empty() { None } else { Some(entries.swap_remove(0)) })
    }
}
