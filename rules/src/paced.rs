//! Readings that come without a log: files and tests. They are judged in the order of their times, each as if the log had taken it
//! at the time handed over, with a tick each whole second after all that came up to it: the same evaluator, the same decisions as
//! of a log that took the same readings at the same times.
//!
//! In a gap longer than [`DENSE`] further ticks come once a minute: an on-delay has run out or gone stale long before, and a point
//! silent for longer than an hour is found a minute late at most. In a gap longer than [`WEEK`] they come once an hour, so that a
//! century between two readings costs a second. Times beyond those of a catalog's world, 2000 to 2100, count as its ends.

use crate::compile::Program;
use crate::evaluator::Evaluator;
use crate::reading::At;
use model::people::Positions;
use model::time::{DAY, MINUTE, Micros, SECOND, TIME_MAX, TIME_MIN};
use model::{Catalog, Offset, Origin, Readings, Run, Transition};
use std::sync::Arc;

/// How long into a gap there is a tick each second.
pub const DENSE: Micros = 3600 * SECOND;

/// How long into a gap there is a tick each minute.
pub const WEEK: Micros = 7 * DAY;

/// An evaluator with the ticks of its time.
pub struct Paced {
    evaluator: Evaluator,
    /// When the last readings came, or where it began.
    came: Option<Micros>,
    last_tick: Micros,
    number: u64,
    sequence: u64,
    source: Arc<str>,
}

impl Paced {
    /// Nothing came yet.
    pub fn new(program: Arc<Program>, catalog: Arc<Catalog>, source: &str) -> Self {
        let evaluator = Evaluator::new(program, catalog);
        Self { evaluator, came: None, last_tick: Micros::MIN, number: 0, sequence: 0, source: source.into() }
    }

    /// Judges readings that all come at `came`, no earlier than those before.
    pub fn readings(&mut self, came: Micros, readings: &Readings, out: &mut Vec<Transition>) {
        let (at, run) = self.next(came, readings.len(), out);
        self.evaluator.readings(at, &[run], readings, out);
    }

    /// Judges positions of people that come at `came`, no earlier than what came before.
    pub fn positions(&mut self, came: Micros, positions: &Positions, out: &mut Vec<Transition>) {
        let (at, run) = self.next(came, positions.rows.len(), out);
        self.evaluator.positions(at, &run, positions, out);
    }

    /// Where a record stands that comes at `came`, once the ticks before it were given.
    fn next(&mut self, came: Micros, rows: usize, out: &mut Vec<Transition>) -> (At, Run) {
        let came = came.clamp(TIME_MIN, TIME_MAX);
        self.ticks(came - 1, out);
        // Ids are made of the origin: by its time they do not depend on what was read before.
        self.sequence = (came.max(0) as u64).max(self.sequence + 1);
        let at = self.at(came, Origin { collector: 1, sequence: self.sequence });
        self.came = Some(came);
        (at, Run { source: self.source.clone(), received: came, rows: rows as u32, flags: 0 })
    }

    /// Lets time pass up to `time` and including it.
    pub fn pass(&mut self, time: Micros, out: &mut Vec<Transition>) {
        let time = time.clamp(TIME_MIN, TIME_MAX);
        self.came.get_or_insert(time);
        self.ticks(time, out);
    }

    /// The ticks not yet given up to `until`.
    fn ticks(&mut self, until: Micros, out: &mut Vec<Transition>) {
        let Some(came) = self.came else { return };
        let last = until.div_euclid(SECOND) * SECOND;
        let mut next = whole_second(came).max(self.last_tick.saturating_add(SECOND));
        while next <= until {
            let at = self.at(next, Origin { collector: 0, sequence: 0 });
            self.evaluator.tick(at, out);
            self.last_tick = next;
            next = match next - came {
                // The last one stands right before what ends the gap: no jump of the clock counts without a tick.
                gap if gap > WEEK && next < last => last.min(next + 60 * MINUTE),
                gap if gap > DENSE => next + MINUTE,
                _ => next + SECOND,
            };
        }
    }

    fn at(&mut self, appended: Micros, origin: Origin) -> At {
        let number = self.number;
        self.number += 1;
        At { offset: Offset { partition: 0, number }, appended, origin }
    }
}

/// The first whole second that is not before `time`.
fn whole_second(time: Micros) -> Micros {
    (time + SECOND - 1).div_euclid(SECOND) * SECOND
}
