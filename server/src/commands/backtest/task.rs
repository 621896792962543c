//! What a backtest is given, and what the judges say back: the task, what was seen, how far it has come.

use super::super::Stop;
use super::{files, table};
use model::time::Micros;
use model::{Catalog, Transition};
use rules::{Program, RuleFile};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is judged, and by what.
pub struct Task {
    /// Rules, and with --against the others.
    pub versions: Vec<Vec<RuleFile>>,
    pub catalog: Catalog,
    pub times: Range<Micros>,
    pub source: Source,
}

/// Where the readings come from.
pub enum Source {
    Files(files::Files),
    Table(Box<table::Table>),
}

impl Task {
    /// The versions compiled for a catalog: that of a partition, or all.
    pub fn programs(&self, catalog: &Catalog) -> Vec<Arc<Program>> {
        self.versions.iter().map(|files| Program::compile(files, catalog).0).collect()
    }
}

/// What is known at the end, beside the transitions.
#[derive(Default)]
pub struct Seen {
    pub readings: u64,
    /// Left out: of points that are not in the catalog.
    pub unknown: u64,
    /// Left out: before 2000 or after 2100.
    pub wild: u64,
    pub unnumbered: u64,
    /// Positions left out: stored before their row and their snapshot were.
    pub unplaced: u64,
    pub first: Option<Micros>,
    pub last: Option<Micros>,
}

impl Seen {
    /// Takes notice of times.
    pub fn times(&mut self, times: &[Micros]) {
        let (min, max) = (times.iter().min().copied(), times.iter().max().copied());
        self.first = [self.first, min].into_iter().flatten().min();
        self.last = self.last.max(max);
    }

    /// What was left out, a sentence each.
    pub fn left_out(&self) -> Vec<String> {
        let all = [
            (self.unknown, "readings of points that are not in the catalog"),
            (self.wild, "readings of times before 2000 or after 2100"),
            (self.unplaced, "positions of people stored before the table held what was a snapshot"),
        ];
        let some = all.into_iter().filter(|(n, _)| *n > 0);
        some.map(|(n, what)| format!("left out: {n} {what}")).collect()
    }
}

/// What takes the transitions as they are decided: by which version, and which.
pub type Decided<'a> = &'a mut (dyn FnMut(usize, &[Transition]) -> Result<(), Stop> + Send);

/// Says on standard error how far it has come, every two seconds.
pub struct Progress {
    began: Instant,
    told: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(2);

    /// Nothing was told yet.
    pub fn new() -> Self {
        let now = Instant::now();
        Self { began: now, told: now }
    }

    /// How long it has taken.
    pub fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// So many readings of this pass are done.
    pub fn step(&mut self, pass: &str, readings: u64, at: impl FnOnce() -> String) {
        if self.told.elapsed() >= Self::EVERY {
            self.told = Instant::now();
            eprintln!(
                "backtest: {pass} {readings} readings after {:.0} s, {}",
                self.took().as_secs_f64(),
                at()
            );
        }
    }
}
