//! The edge: takes deliveries of all sources, splits them by partition, gathers them into records of about a thousand rows
//! within the linger, and answers each source once its readings are durable.
//!
//! Promises: deliveries of one source enter each partition in the order they were handed over, also when some are refused (see
//! [`Ticket`]); what is answered with `Ok` is in the log, on disk; everything is counted, refusals too, as records in the log.
//! At most [`ROWS_UNDER_WAY_MAX`] rows are under way: beyond that `accept` waits, and that is the back-pressure of the sources.

use ahash::AHashMap;
use async_trait::async_trait;
use ingest::{Delivery, Sink, SinkError, SourceInfo};
use model::ids::partition_of;
use model::people::{Position, Positions};
use model::record::{Quarantined, Refused, UNKNOWN_POINT, run_flags};
use model::{Catalog, Follow, Micros, Readings, ReadingsBuilder, Run};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;
use stream::Log;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::Unknown;
use crate::runners::own::OwnAlarms;
use book::Note;
use full::Full;
use tokio::time::Instant;

mod batcher;
mod book;
mod brake;
mod full;
mod metrics;
#[cfg(test)]
mod tests;

pub use book::{Book, Refusals};
pub use brake::Brake;
pub use metrics::EdgeMetrics;

/// Rows under way between the sources and the log: 16 full records for each of 8 partitions, about 30 MB.
const ROWS_UNDER_WAY_MAX: usize = 1 << 20;
/// A record is closed at this many rows: larger ones gain nothing (measured: 1,000 rows cost a fifth of 100 a row).
const RECORD_ROWS_MAX: usize = 8192;

/// What the edge needs to know.
#[derive(Clone, Debug)]
pub struct EdgeOptions {
    /// How long a record waits for more rows.
    pub linger: Duration,
    /// Policy for unknown points.
    pub unknown: Unknown,
    /// Readings older than this are quarantined.
    pub retention: Micros,
}

/// One delivery's share of one partition.
struct Part {
    run: Run,
    body: Body,
    done: oneshot::Sender<Result<(), SinkError>>,
    ticket: Ticket,
    // Given back when the part is durable or failed.
    _rows: tokio::sync::OwnedSemaphorePermit,
}

/// A place in the line of a source: what it has under way at one time shares it, and it is void once the log refused any of it.
///
/// So the order is kept where one of several deliveries is refused: those handed over before the source could know of it are
/// refused too, else they would stand before the one that is sent again. The line stays void until nothing of it is under way:
/// a delivery refused by one partition is answered only after the others, and until then its source goes on sending.
#[derive(Clone, Default)]
struct Ticket(Arc<AtomicBool>);

/// The line of a source.
#[derive(Default)]
struct Line {
    /// The place of what is under way, gone when nothing is.
    place: Weak<AtomicBool>,
    /// Where its last delivery went.
    partitions: Vec<u32>,
}

impl Ticket {
    fn of(line: &mut Line) -> Self {
        let ticket = line.place.upgrade().map(Self).unwrap_or_default();
        line.place = Arc::downgrade(&ticket.0);
        ticket
    }

    fn is_void(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn refuse(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

enum Body {
    Readings(Readings),
    Quarantine(Vec<Quarantined>),
    Positions(Positions),
    Refused(Refused),
}

/// Finds the points of deliveries.
struct Finder {
    catalog: Arc<Catalog>,
    follow: Follow,
}

/// Rows of a delivery that are of one partition.
enum Rows {
    All,
    Some(Vec<u32>),
}

/// The sink of all sources.
pub struct Edge {
    options: EdgeOptions,
    catalog: Arc<RwLock<Arc<Catalog>>>,
    partitions: u32,
    queues: Vec<mpsc::UnboundedSender<Part>>,
    under_way: Arc<Semaphore>,
    finder: Mutex<Finder>,
    lines: Mutex<AHashMap<Arc<str>, Line>>,
    metrics: EdgeMetrics,
    book: Book,
    brake: Brake,
    // Dropping it ends the batchers.
    _batchers: JoinSet<()>,
}

impl Edge {
    /// Starts one batcher a partition; they end with the edge.
    pub fn start(
        log: &Arc<dyn Log>,
        options: EdgeOptions,
        catalog: Arc<RwLock<Arc<Catalog>>>,
        metrics: EdgeMetrics,
        own: &OwnAlarms,
        brake: Brake,
    ) -> Arc<Self> {
        let partitions = log.partitions();
        let (mut queues, mut batchers) = (Vec::new(), JoinSet::new());
        let full = Arc::new(Full::new(own.clone()));
        for partition in 0..partitions {
            // Unbounded, but never longer than the permits of `under_way` allow: permits are taken before a part is sent.
            let (sender, receiver) = mpsc::unbounded_channel();
            queues.push(sender);
            let to =
                batcher::To { log: log.clone(), partition, metrics: metrics.clone(), full: full.clone() };
            batchers.spawn(batcher::run(to, options.linger, receiver));
        }
        let under_way = Arc::new(Semaphore::new(ROWS_UNDER_WAY_MAX));
        Arc::new(Self {
            options,
            catalog,
            partitions,
            queues,
            under_way,
            finder: Mutex::new(Finder { catalog: Arc::default(), follow: Follow::new(0) }),
            lines: Mutex::default(),
            metrics,
            book: Book::new(own.clone()),
            brake,
            _batchers: batchers,
        })
    }

    /// Takes nothing more; what was taken is written down and answered.
    pub fn close(&self) {
        self.under_way.close();
    }

    /// What was refused and which clocks are ahead, by source.
    pub fn book(&self) -> &Book {
        &self.book
    }

    fn ticket(&self, source: &SourceInfo) -> Ticket {
        let mut lines = self.lines.lock().expect("no holder of this lock panics");
        Ticket::of(lines.entry(source.name.clone()).or_default())
    }

    /// Remembers where the last delivery of a source went.
    fn went(&self, source: &SourceInfo, partitions: &[u32]) {
        let mut lines = self.lines.lock().expect("no holder of this lock panics");
        if let Some(line) = lines.get_mut(&source.name) {
            line.partitions.clear();
            line.partitions.extend_from_slice(partitions);
        }
    }

    fn split(&self, readings: &Readings) -> Vec<(u32, Rows)> {
        let catalog = self.catalog.read().expect("no holder of this lock panics").clone();
        let mut finder = self.finder.lock().expect("no holder of this lock panics");
        if !Arc::ptr_eq(&finder.catalog, &catalog) {
            *finder = Finder { follow: Follow::new(catalog.points().len()), catalog };
        }
        let Finder { catalog, follow } = &mut *finder;
        let partition = |point: &i64| match follow.ix(catalog, model::PointId(*point)) {
            Some(ix) => catalog.partition_of_point(ix),
            // A point that left the catalog between decoding and here still belongs to some partition.
            None => (point.unsigned_abs() % u64::from(self.partitions)) as u32,
        };
        let of: Vec<u32> = readings.point.iter().map(partition).collect();
        match of.first() {
            None => Vec::new(),
            Some(first) if of.iter().all(|p| p == first) => vec![(*first, Rows::All)],
            Some(_) => {
                let mut parts = vec![Vec::new(); self.partitions as usize];
                of.iter().zip(0..).for_each(|(p, row)| parts[*p as usize].push(row));
                let parts = (0..).zip(parts).filter(|(_, rows): &(u32, Vec<u32>)| !rows.is_empty());
                parts.map(|(p, rows)| (p, Rows::Some(rows))).collect()
            }
        }
    }

    /// The shares of a delivery, by partition.
    fn bodies(&self, source: &SourceInfo, delivery: Delivery) -> Vec<(u32, Body, u32)> {
        let mut out = Vec::new();
        let Delivery { received, readings, unknown, positions, refused } = delivery;
        let (readings, old) = self.set_old_aside(source, received, readings);
        if !readings.is_empty() {
            for (partition, rows) in self.split(&readings) {
                let share = match rows {
                    Rows::All => readings.clone(),
                    Rows::Some(rows) => take(&readings, &rows),
                };
                let len = share.len() as u32;
                out.push((partition, Body::Readings(share), len));
            }
        }
        let mut refused: Vec<(String, u64)> =
            refused.into_iter().map(|r| (r.reason.to_owned(), r.count)).collect();
        let mut aside = old;
        match self.options.unknown {
            Unknown::Refuse if !unknown.is_empty() => {
                refused.push((UNKNOWN_POINT.to_owned(), unknown.len() as u64))
            }
            _ => aside.extend(unknown),
        }
        let mut by_partition: std::collections::BTreeMap<u32, Vec<Quarantined>> = Default::default();
        for row in aside {
            by_partition.entry(partition_of(&row.site, self.partitions)).or_default().push(row);
        }
        for (partition, rows) in by_partition {
            let len = rows.len() as u32;
            out.push((partition, Body::Quarantine(rows), len));
        }
        if let Some(positions) = positions {
            self.split_positions(positions, &mut out);
        }
        for (reason, count) in refused {
            let total = Refused { source: source.name.to_string(), reason, count, received };
            out.push((partition_of(&source.name, self.partitions), Body::Refused(total), 0));
        }
        out
    }

    /// A snapshot is of one site; rows that came together may be of several.
    fn split_positions(&self, positions: Positions, out: &mut Vec<(u32, Body, u32)>) {
        let mut push = |partition, positions: Positions| {
            let len = positions.rows.len() as u32;
            out.push((partition, Body::Positions(positions), len));
        };
        if let Some(snapshot) = &positions.snapshot {
            return push(partition_of(&snapshot.site, self.partitions), positions);
        }
        let mut by_partition: std::collections::BTreeMap<u32, Vec<Position>> = Default::default();
        for row in positions.rows {
            by_partition.entry(partition_of(&row.site, self.partitions)).or_default().push(row);
        }
        for (partition, rows) in by_partition {
            push(partition, Positions { rows, snapshot: None });
        }
    }

    /// Readings older than the table keeps cannot be history any more: they go to quarantine with that reason.
    fn set_old_aside(
        &self,
        source: &SourceInfo,
        received: Micros,
        readings: Readings,
    ) -> (Readings, Vec<Quarantined>) {
        let oldest = received - self.options.retention;
        if source.flags & run_flags::REPLAY != 0 || readings.time.iter().all(|t| *t >= oldest) {
            return (readings, Vec::new());
        }
        let catalog = self.catalog.read().expect("no holder of this lock panics").clone();
        let (mut kept, mut old) = (ReadingsBuilder::with_capacity(readings.len()), Vec::new());
        for i in 0..readings.len() {
            let (id, time, value, status) = readings.row(i);
            match catalog.ix(id).filter(|_| time < oldest) {
                None => kept.push(id, time, value, status),
                Some(ix) => old.push(Quarantined {
                    site: catalog.site_of(ix).code.clone(),
                    point: catalog.point(ix).code.clone(),
                    time,
                    value: value.is_finite().then_some(value),
                    status,
                    reason: "older than retention".to_owned(),
                }),
            }
        }
        (kept.finish(), old)
    }
}

fn take(readings: &Readings, rows: &[u32]) -> Readings {
    fn gather<T: Copy>(from: &[T], rows: &[u32]) -> Vec<T> {
        rows.iter().map(|r| from[*r as usize]).collect()
    }
    Readings {
        point: gather(&readings.point, rows).into(),
        time: gather(&readings.time, rows).into(),
        value: gather(&readings.value, rows).into(),
        status: gather(&readings.status, rows).into(),
    }
}

#[async_trait]
impl Sink for Edge {
    async fn accept(&self, source: &SourceInfo, delivery: Delivery) -> Result<(), SinkError> {
        let (received, asked) = (delivery.received, Instant::now());
        let ticket = self.ticket(source);
        if ticket.is_void() {
            // Not held: else a source that never rests would keep its own line void.
            drop(ticket);
            let refused = Err(SinkError::Retry(batcher::BEHIND.to_owned()));
            self.metrics.accepted(source, 0, asked.elapsed(), &refused);
            return refused;
        }
        let note = Note::of(&delivery, self.options.unknown == Unknown::Refuse);
        let bodies = self.bodies(source, delivery);
        let partitions: Vec<u32> = bodies.iter().map(|(partition, ..)| *partition).collect();
        let rows: usize = bodies.iter().map(|(_, _, rows)| (*rows as usize).max(1)).sum();
        // Fair: permits are given in the order asked for, so the parts of two deliveries never cross.
        let wanted = rows.clamp(1, ROWS_UNDER_WAY_MAX) as u32;
        let mut permit =
            self.under_way.clone().acquire_many_owned(wanted).await.map_err(|_| SinkError::Closed)?;
        let mut answers = Vec::with_capacity(bodies.len());
        for (partition, body, rows) in bodies {
            let (done, answer) = oneshot::channel();
            let run = Run { source: source.name.clone(), received, rows, flags: source.flags };
            let share =
                permit.split((rows as usize).max(1).min(permit.num_permits())).expect("not more than it has");
            let part = Part { run, body, done, ticket: ticket.clone(), _rows: share };
            self.queues[partition as usize].send(part).map_err(|_| SinkError::Closed)?;
            answers.push(answer);
        }
        let mut result = Ok(());
        for answer in answers {
            // Every part is waited for, so that a retry does not race with its own first try.
            let answer = answer.await.unwrap_or(Err(SinkError::Closed));
            if result.is_ok() {
                result = answer;
            }
        }
        self.metrics.accepted(source, rows, asked.elapsed(), &result);
        result?;
        let catalog = self.catalog.read().expect("no holder of this lock panics").clone();
        self.book.enter(source, note, &catalog);
        // What waits only for its answer is under way no more: a line that is void must not stay so for it.
        drop(ticket);
        self.went(source, &partitions);
        let hold = self.brake.hold(&partitions);
        if !hold.is_zero() {
            self.metrics.held.inc_by(hold.as_secs_f64());
            tokio::time::sleep(hold).await;
        }
        Ok(())
    }

    fn pause(&self, source: &SourceInfo) -> Duration {
        let lines = self.lines.lock().expect("no holder of this lock panics");
        let pause = lines.get(&source.name).map_or(Duration::ZERO, |line| self.brake.hold(&line.partitions));
        self.metrics.held.inc_by(pause.as_secs_f64());
        pause
    }
}
