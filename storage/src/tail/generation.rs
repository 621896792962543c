//! What was pushed between two flushes: the rows of all tables, the accounts of every run, and the offsets they stand for.

use super::{Arrival, Chunk, Event, Numbers, Open, PositionRow, QuarantineRow, SEAL_ROWS, Segment};
use crate::names::Names;
use model::{Micros, Readings, ReadingsBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A reading that may be in the table or the tail already; see `dedupe`.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// Its point.
    pub dense: u32,
    /// Its status word.
    pub status: i32,
    /// Its time.
    pub time: Micros,
    /// Its value; NaN where missing.
    pub value: f64,
    /// Its run, as a place in [`Generation::arrivals`].
    pub arrival: u32,
    /// Its number in the record.
    pub number: u32,
    /// Its table row was committed before a crash: only its account is to be made again.
    pub committed: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Counts up from 1 in a process.
    pub number: u64,
    /// Sealed readings.
    pub chunks: Vec<Arc<Chunk>>,
    /// Readings not yet sealed.
    pub open: Open,
    /// Readings not yet decided.
    pub suspects: Vec<Suspect>,
    /// Every run of rows.
    pub arrivals: Vec<Arrival>,
    /// People's positions.
    pub positions: Vec<PositionRow>,
    /// Quarantined rows.
    pub quarantine: Vec<QuarantineRow>,
    /// Transitions.
    pub events: Vec<Event>,
    /// Next offset of each partition of the stream of readings.
    pub ends: BTreeMap<u32, u64>,
    /// Next offset of each partition of the stream of transitions.
    pub event_ends: BTreeMap<u32, u64>,
    /// Last sequence of each (partition, collector).
    pub seen: BTreeMap<(u32, u64), u64>,
    chunk_bytes: usize,
}

impl Generation {
    /// Empty.
    pub fn new(number: u64, names: Arc<Names>) -> Self {
        Self {
            number,
            chunks: Vec::new(),
            open: Open::new(names),
            suspects: Vec::new(),
            arrivals: Vec::new(),
            positions: Vec::new(),
            quarantine: Vec::new(),
            events: Vec::new(),
            ends: BTreeMap::new(),
            event_ends: BTreeMap::new(),
            seen: BTreeMap::new(),
            chunk_bytes: 0,
        }
    }

    /// Whether nothing was pushed, not even a tick.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.event_ends.is_empty()
    }

    /// Whether it holds rows for any table.
    pub fn has_rows(&self) -> bool {
        !self.arrivals.is_empty() || !self.events.is_empty()
    }

    /// Readings in it that are to be stored, the undecided ones left out.
    pub fn readings(&self) -> usize {
        self.open.rows() + self.chunks.iter().map(|c| c.rows()).sum::<usize>()
    }

    /// Memory, about.
    pub fn bytes(&self) -> usize {
        self.chunk_bytes
            + self.open.bytes()
            + self.suspects.len() * size_of::<Suspect>()
            + self.arrivals.len() * (size_of::<Arrival>() + 16)
            + self.positions.len() * (size_of::<PositionRow>() + 100)
            + self.quarantine.len() * (size_of::<QuarantineRow>() + 64)
            + self.events.len() * (size_of::<Event>() + 300)
    }

    /// Adds readings of one run, sealing the open part as often as it is full.
    pub fn push(&mut self, mut segment: Segment) {
        loop {
            let room = SEAL_ROWS - self.open.rows();
            let len = segment.rows.len();
            if len <= room {
                if len > 0 {
                    self.open.push(segment);
                }
                break;
            }
            if room > 0 {
                self.open.push(Segment {
                    dense: segment.dense[..room].into(),
                    rows: segment.rows.slice(0, room),
                    ..segment.clone()
                });
                segment.dense = segment.dense[room..].into();
                segment.numbers = segment.numbers.after(room);
                segment.rows = segment.rows.slice(room, len - room);
            }
            self.seal();
        }
        if self.open.rows() == SEAL_ROWS {
            self.seal();
        }
    }

    /// Seals the open part.
    pub fn seal(&mut self) {
        if let Some(chunk) = Chunk::seal(&self.open) {
            self.chunk_bytes += chunk.bytes();
            self.chunks.push(Arc::new(chunk));
        }
        self.open = Open::new(self.open.names.clone());
    }

    /// Goes over to new names, which know every point of the old ones.
    pub fn rename(&mut self, names: &Arc<Names>) {
        self.seal();
        let old = std::mem::replace(&mut self.open.names, names.clone());
        for suspect in &mut self.suspects {
            suspect.dense =
                names.ix(old.id(suspect.dense)).expect("new names know every point of the old ones");
        }
    }

    /// Applies what was decided of the first `duplicate.len()` suspects.
    pub fn decide(&mut self, duplicate: &[bool]) {
        let decided: Vec<Suspect> = self.suspects.drain(..duplicate.len()).collect();
        let mut rest = decided.iter().zip(duplicate).peekable();
        while let Some((first, _)) = rest.peek() {
            let at = first.arrival;
            let (mut dense, mut numbers, mut rows) = (Vec::new(), Vec::new(), ReadingsBuilder::default());
            while let Some((suspect, duplicate)) = rest.next_if(|(s, _)| s.arrival == at) {
                let arrival = &mut self.arrivals[at as usize];
                if *duplicate {
                    arrival.duplicate += 1;
                    continue;
                }
                arrival.stored += 1;
                if !suspect.committed {
                    dense.push(suspect.dense);
                    numbers.push(suspect.number);
                    rows.push(
                        model::PointId(self.open.names.id(suspect.dense)),
                        suspect.time,
                        suspect.value,
                        suspect.status,
                    );
                }
            }
            let arrival = &self.arrivals[at as usize];
            let (source, partition, offset) = (arrival.source.clone(), arrival.partition, arrival.offset);
            let rows: Readings = rows.finish();
            let numbers = Numbers::Each(numbers.into());
            self.push(Segment { dense: dense.into(), rows, numbers, source, partition, offset });
        }
    }
}
