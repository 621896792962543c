//! What the writer holds in memory, behind one short lock: the tail, the offsets, what it takes to tell new readings from
//! repeated ones, and the view that queries are pinned to.

mod lookup;

use crate::dedupe::Newest;
use crate::error::StorageError;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::quarantine::Strangers;
use crate::schema::Table;
use crate::tail::{
    Arrival, ArrivalKind, Event, Generation, Numbers, PositionRow, QuarantineRow, Segment, Suspect,
};
use crate::view::{Pinned, Tail, View};
use crate::writer::{readings_app, transitions_app};
use lookup::Lookup;
use model::record::{Quarantined, run_flags};
use model::status::{MISSING, NO_DEVICE_TIME};
use model::{Catalog, Entry, PointId, Readings, ReadingsBuilder, Record, Run, Transition};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Reason of a reading whose point id no catalog has named.
const UNKNOWN_ID: &str = "point id not in the catalog";

/// See the module.
pub struct State {
    /// The catalog that the names were made from.
    pub catalog: Arc<Catalog>,
    /// Points that may stand in the tail.
    pub names: Arc<Names>,
    /// Newest times.
    pub newest: Newest,
    /// What is being pushed into.
    pub current: Generation,
    /// What is to be committed, oldest first: the first may be under way.
    pub sealed: VecDeque<Arc<Generation>>,
    /// Files that queries see.
    pub view: Arc<View>,
    /// Why this writer takes nothing more.
    pub stopped: Option<String>,
    /// The tables are another log's: nothing in them is of this process.
    pub is_others: bool,
    /// Who came to quarantine.
    pub strangers: Strangers,
    /// Rows of released readings taken.
    pub released: u64,
    /// Offset each table has come to by itself, where a crash left it ahead of `arrivals`.
    ahead: HashMap<(Table, u32), u64>,
    next: BTreeMap<u32, u64>,
    next_event: BTreeMap<u32, u64>,
    seen: HashMap<(u32, u64), u64>,
    lookup: Lookup,
    metrics: Metrics,
}

/// Where the tables stand at the start.
#[derive(Default)]
pub struct Start {
    /// Next offset of each partition of readings: from `arrivals`.
    pub next: BTreeMap<u32, u64>,
    /// Next offset of each partition of transitions.
    pub next_event: BTreeMap<u32, u64>,
    /// Next offset that each table has.
    pub ahead: HashMap<(Table, u32), u64>,
    /// Last sequence of each (partition, collector).
    pub seen: HashMap<(u32, u64), u64>,
}

impl State {
    /// At the start of a writer or reader.
    pub fn new(
        catalog: Arc<Catalog>,
        newest: Newest,
        names: Arc<Names>,
        view: View,
        start: Start,
        metrics: Metrics,
    ) -> Self {
        Self {
            catalog,
            newest,
            current: Generation::new(1, names.clone()),
            names,
            sealed: VecDeque::new(),
            view: Arc::new(view),
            stopped: None,
            is_others: false,
            strangers: Strangers::default(),
            released: 0,
            ahead: start.ahead,
            next: start.next,
            next_event: start.next_event,
            seen: start.seen,
            lookup: Lookup::default(),
            metrics,
        }
    }

    /// Goes on from where the tables stand now; whether there was nothing to lose.
    pub fn restart(&mut self, start: Start, newest: &Newest) -> bool {
        if !self.sealed.is_empty() || self.current.has_rows() {
            return false;
        }
        self.current = Generation::new(self.current.number + 1, self.names.clone());
        (self.next, self.next_event) = (start.next, start.next_event);
        (self.ahead, self.seen) = (start.ahead, start.seen);
        self.newest.raise(newest.floor());
        self.newest.note_futures_of(newest);
        true
    }

    /// The offset that the consumer of readings goes on from.
    pub fn next(&self, partition: u32) -> u64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }

    /// The offsets that the consumer of readings goes on from, by partition; 0 where there is none.
    pub fn next_offsets(&self) -> std::collections::BTreeMap<u32, u64> {
        self.next.iter().map(|(partition, next)| (*partition, *next)).collect()
    }

    /// Whether records of this collector were stored.
    pub fn knows(&self, collector: u64) -> bool {
        self.seen.keys().any(|(_, c)| *c == collector)
    }

    /// The offset that the consumer of transitions goes on from.
    pub fn next_event(&self, partition: u32) -> u64 {
        self.next_event.get(&partition).copied().unwrap_or(0)
    }

    /// Memory of the tail.
    pub fn tail_bytes(&self) -> usize {
        self.generations().map(Generation::bytes).sum()
    }

    /// Whether some reading is still to be looked up.
    pub fn has_suspects(&self) -> bool {
        self.generations().any(|g| !g.suspects.is_empty())
    }

    /// Sees a new catalog.
    pub fn set_catalog(&mut self, catalog: &Arc<Catalog>) {
        if Arc::ptr_eq(catalog, &self.catalog) {
            return;
        }
        let names = Arc::new(Names::build(catalog, &self.names));
        self.newest.rename(&self.names, &names);
        self.current.rename(&names);
        for sealed in self.sealed.iter_mut().filter(|g| !g.suspects.is_empty()) {
            Arc::make_mut(sealed).rename(&names);
        }
        self.lookup = Lookup::default();
        self.names = names;
        self.catalog = catalog.clone();
    }

    /// Whether the record was dealt with before; if not, its offset is noted.
    fn skip(&mut self, entry: &Entry) -> bool {
        let (partition, number) = (entry.offset.partition, entry.offset.number);
        if number < self.next(partition) {
            self.metrics.skipped_behind.inc();
            return true;
        }
        self.next.insert(partition, number + 1);
        self.current.ends.insert(partition, number + 1);
        if entry.origin.collector == 0 {
            return false;
        }
        let key = (partition, entry.origin.collector);
        if self.seen.get(&key).is_some_and(|last| *last >= entry.origin.sequence) {
            self.metrics.skipped_repeated.inc();
            return true;
        }
        self.seen.insert(key, entry.origin.sequence);
        self.current.seen.insert(key, entry.origin.sequence);
        false
    }

    /// Takes a record of the stream of readings.
    ///
    /// # Errors
    /// [`StorageError::Stopped`].
    pub fn push(&mut self, entry: &Entry, record: Record) -> Result<(), StorageError> {
        self.check_running()?;
        if self.skip(entry) {
            return Ok(());
        }
        self.metrics.records.inc();
        match record {
            Record::Readings { runs, readings } => {
                let mut from = 0;
                for (number, run) in runs.iter().enumerate() {
                    let rows = readings.slice(from, run.rows as usize);
                    self.push_run(entry, number as u32, run, rows, from as u32);
                    from += run.rows as usize;
                }
            }
            Record::Positions { run, positions } => {
                let mut arrival = arrival(entry, 0, &run, ArrivalKind::Positions);
                arrival.stored = positions.rows.len() as u64;
                arrival.rows = arrival.stored;
                let snapshot = positions.snapshot.as_ref();
                arrival.snapshot = snapshot
                    .map(|s| serde_json::to_string(s).expect("a snapshot is plain data").into_boxed_str());
                if !self.is_ahead(Table::Positions, entry) {
                    let row = |(row, position)| PositionRow {
                        position,
                        source: arrival.source.clone(),
                        partition: arrival.partition,
                        offset: arrival.offset,
                        row,
                    };
                    self.current.positions.extend((0..).zip(positions.rows).map(row));
                }
                self.current.arrivals.push(arrival);
            }
            Record::Quarantine { run, rows } => {
                let mut arrival = arrival(entry, 0, &run, ArrivalKind::Quarantine);
                arrival.rows = rows.len() as u64;
                arrival.quarantined = arrival.rows;
                arrival.reason = rows.first().map(|r| r.reason.as_str()).unwrap_or_default().into();
                for row in rows {
                    self.quarantine(entry, &arrival, row, false);
                }
                self.current.arrivals.push(arrival);
            }
            Record::Refused(totals) => {
                for (number, total) in totals.into_iter().enumerate() {
                    let run =
                        Run { source: total.source.into(), received: total.received, rows: 0, flags: 0 };
                    let mut arrival = arrival(entry, number as u32, &run, ArrivalKind::Refused);
                    arrival.rows = total.count;
                    arrival.reason = total.reason.into();
                    self.current.arrivals.push(arrival);
                }
            }
            // Their offset is noted; transitions come by `push_events`.
            Record::Tick | Record::Activation(_) | Record::Transitions(_) => {}
        }
        Ok(())
    }

    /// Whether the table has the rows of this record already.
    fn is_ahead(&self, table: Table, entry: &Entry) -> bool {
        self.ahead.get(&(table, entry.offset.partition)).is_some_and(|next| entry.offset.number < *next)
    }

    fn quarantine(&mut self, entry: &Entry, arrival: &Arrival, row: Quarantined, released: bool) {
        self.strangers.note(&row);
        if self.is_ahead(Table::Quarantine, entry) {
            return;
        }
        self.current.quarantine.push(QuarantineRow {
            row,
            released,
            source: arrival.source.clone(),
            received: arrival.received,
            appended: arrival.appended,
            partition: arrival.partition,
            offset: arrival.offset,
        });
    }

    /// `first` is the number in the record of the run's first row.
    fn push_run(&mut self, entry: &Entry, number: u32, run: &Run, rows: Readings, first: u32) {
        let released = run.flags & run_flags::RELEASED != 0;
        let kind = if released { ArrivalKind::Released } else { ArrivalKind::Readings };
        let mut arrival = arrival(entry, number, run, kind);
        arrival.rows = rows.len() as u64;
        let (rows, dense, numbers) = match self.lookup.find(&self.names, &rows.point) {
            Ok(dense) => (rows, dense, Numbers::From(first)),
            Err(found) => self.set_unknown_aside(entry, &mut arrival, &rows, first, &found),
        };
        if released {
            self.note_released(entry, &arrival, &rows, &dense);
        }
        let committed = self.is_ahead(Table::Readings, entry);
        let at = self.current.arrivals.len() as u32;
        let suspects = self.current.suspects.len();
        let mut kept: Vec<u32> = Vec::new();
        for (row, d) in dense.iter().enumerate() {
            let (time, value, status) = (rows.time[row], rows.value[row], rows.status[row]);
            if status & NO_DEVICE_TIME != 0 || (!committed && self.newest.is_new(*d, time, status)) {
                kept.push(row as u32);
            } else {
                self.current.suspects.push(Suspect {
                    dense: *d,
                    status,
                    time,
                    value,
                    arrival: at,
                    number: numbers.at(row),
                    committed,
                });
            }
        }
        self.metrics.suspects.inc_by((self.current.suspects.len() - suspects) as u64);
        arrival.stored = kept.len() as u64;
        let (source, partition, offset) = (arrival.source.clone(), arrival.partition, arrival.offset);
        self.current.arrivals.push(arrival);
        if committed {
            return; // rows without a device time are in the table, the others are suspects now
        }
        let all = Segment { dense, rows, numbers, source, partition, offset };
        let segment = if kept.len() == all.rows.len() { all } else { pick(&all, &kept) };
        self.current.push(segment);
    }

    /// Rows whose id no catalog has named go to quarantine under their id; the others are left.
    fn set_unknown_aside(
        &mut self,
        entry: &Entry,
        arrival: &mut Arrival,
        rows: &Readings,
        first: u32,
        found: &[Option<u32>],
    ) -> (Readings, Arc<[u32]>, Numbers) {
        let mut dense = Vec::with_capacity(rows.len());
        let mut numbers = Vec::with_capacity(rows.len());
        let mut known = ReadingsBuilder::with_capacity(rows.len());
        for (row, found) in found.iter().enumerate() {
            let (point, time, value, status) = rows.row(row);
            if let Some(d) = found {
                dense.push(*d);
                numbers.push(first + row as u32);
                known.push(point, time, value, status);
                continue;
            }
            arrival.quarantined += 1;
            arrival.reason = UNKNOWN_ID.into();
            self.metrics.unknown_id.inc();
            let value = (status & MISSING == 0).then_some(value);
            let point = format!("#{}", point.0);
            let reason = UNKNOWN_ID.to_owned();
            let row = Quarantined { site: String::new(), point, time, value, status, reason };
            self.quarantine(entry, arrival, row, false);
        }
        (known.finish(), dense.into(), Numbers::Each(numbers.into()))
    }

    fn note_released(&mut self, entry: &Entry, arrival: &Arrival, rows: &Readings, dense: &[u32]) {
        self.released += dense.len() as u64;
        for (row, d) in dense.iter().enumerate() {
            let (_, time, value, status) = rows.row(row);
            let row = Quarantined {
                site: self.names.site(self.names.site_of(*d)).to_owned(),
                point: self.names.code(*d).to_owned(),
                time,
                value: (status & MISSING == 0).then_some(value),
                status,
                reason: "released".to_owned(),
            };
            self.quarantine(entry, arrival, row, true);
        }
    }

    /// Takes transitions of the stream of transitions; those in `known` are there already.
    ///
    /// # Errors
    /// [`StorageError::Stopped`].
    pub fn push_events(
        &mut self,
        entry: &Entry,
        transitions: Vec<Transition>,
        known: &[bool],
    ) -> Result<(), StorageError> {
        self.check_running()?;
        let (partition, offset) = (entry.offset.partition, entry.offset.number);
        if offset < self.next_event(partition) {
            self.metrics.skipped_behind.inc();
            return Ok(());
        }
        self.next_event.insert(partition, offset + 1);
        self.current.event_ends.insert(partition, offset + 1);
        let new = transitions.into_iter().zip(known).filter(|(_, known)| !**known);
        self.current.events.extend(new.map(|(transition, _)| Event { transition, partition, offset }));
        Ok(())
    }

    /// Refuses when this writer has stopped.
    ///
    /// # Errors
    /// [`StorageError::Stopped`].
    pub fn check_running(&self) -> Result<(), StorageError> {
        self.stopped.as_ref().map_or(Ok(()), |why| Err(StorageError::Stopped(why.clone())))
    }

    /// Throws the tail away and takes nothing more; what is committed of each partition is where it stands.
    pub fn stop(&mut self, why: String, committed: impl Fn(Table, String) -> u64) {
        for (partition, next) in &mut self.next {
            *next = committed(Table::Arrivals, readings_app(*partition));
        }
        for (partition, next) in &mut self.next_event {
            *next = committed(Table::Events, transitions_app(*partition));
        }
        self.metrics.stopped.set(1);
        self.sealed.clear();
        self.current = Generation::new(self.current.number + 1, self.names.clone());
        self.stopped = Some(why);
    }

    /// Begins a new generation; the old one is to be committed.
    pub fn cut(&mut self) {
        let next = Generation::new(self.current.number + 1, self.names.clone());
        self.sealed.push_back(Arc::new(std::mem::replace(&mut self.current, next)));
    }

    /// The generations of the tail, oldest first.
    pub fn generations(&self) -> impl Iterator<Item = &Generation> + Clone {
        self.sealed.iter().map(Arc::as_ref).chain([&self.current])
    }

    /// View and tail as they stand, the tail only of some tables.
    pub fn pin(&self, tables: &[Table]) -> Pinned {
        let generations: Vec<&Generation> = self.generations().collect();
        let tail =
            Table::ALL.map(|t| if tables.contains(&t) { Tail::of(t, &generations) } else { Tail::Empty });
        Pinned { view: self.view.clone(), tail }
    }

    /// Shows the size of the tail.
    pub fn show(&self) {
        self.metrics.tail_bytes.set(self.tail_bytes() as i64);
        self.metrics.tail_rows.set(self.generations().map(|g| g.readings() as i64).sum());
    }
}

fn arrival(entry: &Entry, number: u32, run: &Run, kind: ArrivalKind) -> Arrival {
    Arrival {
        kind,
        source: run.source.clone(),
        partition: entry.offset.partition,
        offset: entry.offset.number,
        run: number,
        received: run.received,
        appended: entry.appended,
        origin: entry.origin,
        rows: 0,
        stored: 0,
        duplicate: 0,
        quarantined: 0,
        reason: "".into(),
        snapshot: None,
        flags: run.flags,
    }
}

fn pick(all: &Segment, kept: &[u32]) -> Segment {
    let mut picked = ReadingsBuilder::with_capacity(kept.len());
    for row in kept {
        let (point, time, value, status): (PointId, _, _, _) = all.rows.row(*row as usize);
        picked.push(point, time, value, status);
    }
    Segment {
        dense: kept.iter().map(|row| all.dense[*row as usize]).collect(),
        rows: picked.finish(),
        numbers: Numbers::Each(kept.iter().map(|row| all.numbers.at(*row as usize)).collect()),
        ..all.clone()
    }
}
