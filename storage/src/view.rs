//! What a query is pinned to: the files of all tables at one instant, and the rows of the tail after exactly these.

use crate::delta::Snapshot;
use crate::schema::{TABLES, Table};
use crate::tail::{Arrival, Chunk, Event, Generation, Open, PositionRow, QuarantineRow};
use arrow::array::RecordBatch;
use std::sync::Arc;

/// The files of all tables at one instant.
#[derive(Clone, Debug, Default)]
pub struct View {
    snapshots: [Arc<Snapshot>; TABLES],
}

impl View {
    /// Files of a table.
    pub fn files(&self, table: Table) -> &Arc<Snapshot> {
        &self.snapshots[table as usize]
    }

    /// The same view with other files of one table.
    #[must_use]
    pub fn with(&self, table: Table, snapshot: Arc<Snapshot>) -> Self {
        let mut this = self.clone();
        this.snapshots[table as usize] = snapshot;
        this
    }
}

/// Readings of the tail.
#[derive(Clone, Debug, Default)]
pub struct TailReadings {
    /// Sealed.
    pub chunks: Vec<Arc<Chunk>>,
    /// Not yet sealed.
    pub open: Vec<Open>,
}

impl TailReadings {
    /// Adds those of a generation.
    pub fn add(&mut self, generation: &Generation) {
        self.chunks.extend(generation.chunks.iter().cloned());
        if generation.open.rows() > 0 {
            self.open.push(generation.open.clone());
        }
    }
}

/// Rows of the tail for one table.
#[derive(Clone, Debug)]
pub enum Tail {
    /// None, or not asked for.
    Empty,
    /// Readings.
    Readings(Arc<TailReadings>),
    /// Rows of another table.
    Batches(Vec<RecordBatch>),
}

impl Tail {
    /// Rows of a table in these generations.
    pub fn of(table: Table, generations: &[&Generation]) -> Self {
        fn all<T>(
            generations: &[&Generation],
            rows: fn(&Generation) -> &[T],
            batch: fn(&[T]) -> RecordBatch,
        ) -> Tail {
            let rows = generations.iter().map(|g| rows(g)).filter(|r| !r.is_empty());
            Tail::Batches(rows.map(batch).collect())
        }
        match table {
            Table::Readings => {
                let mut tail = TailReadings::default();
                for generation in generations {
                    tail.add(generation);
                }
                Tail::Readings(Arc::new(tail))
            }
            Table::Positions => all(generations, |g| &g.positions, PositionRow::to_batch),
            Table::Quarantine => all(generations, |g| &g.quarantine, QuarantineRow::to_batch),
            Table::Arrivals => all(generations, |g| &g.arrivals, Arrival::to_batch),
            Table::Events => all(generations, |g| &g.events, Event::to_batch),
            Table::Stats => Tail::Empty,
        }
    }
}

/// View and tail that belong together.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// Files.
    pub view: Arc<View>,
    /// Rows of the tail, by table.
    pub tail: [Tail; TABLES],
}
