//! Tests of rules that a user writes: series of readings and of positions of people, and what must come of them. The format stands in `docs/rule-tests.md`.
//!
//! A test has its own catalog and begins at [`START`]; its readings are judged by the same program and evaluator as live
//! ones, with the ticks of [`crate::Paced`]. The transitions of every rule that is looked at must be exactly those expected.

mod people;
mod read;
mod run;

pub use read::{TestFile, read};
pub use run::{Coverage, Outcome, run};

use model::time::{DAY, Micros};
use model::{Catalog, PointId, To};
use std::sync::Arc;

/// When every test begins: 2026-01-01T00:00:00Z.
pub const START: Micros = 20_454 * DAY;

/// A test.
#[derive(Clone, Debug)]
pub struct RuleTest {
    /// Name.
    pub name: String,
    /// Where it stands.
    pub place: (String, usize, usize),
    catalog: Arc<Catalog>,
    series: Vec<Series>,
    people: Vec<people::Series>,
    expect: Vec<Expect>,
    /// Rules looked at beside those of which transitions are expected, and where they are named.
    also: Vec<(String, (usize, usize))>,
    end: Micros,
}

/// Readings of one point, as they are written: they are made when the test runs, so that a folder of tests is no memory full of rows.
#[derive(Clone, Debug)]
struct Series {
    point: PointId,
    /// Event time of the first step.
    start: Micros,
    step: Micros,
    /// How much later than measured they come.
    delay: Micros,
    values: String,
}

/// What must be.
#[derive(Clone, Debug)]
struct Expect {
    at: Micros,
    rule: String,
    level: String,
    site: Option<String>,
    point: Option<String>,
    what: What,
    place: (usize, usize),
}

#[derive(Clone, PartialEq, Debug)]
enum What {
    /// A transition, with its value and marks where they are said.
    Becomes { to: To, value: Option<f64>, marks: Option<Vec<String>> },
    /// The level at that time, after everything that came at it.
    Is { on: bool },
}

/// `15s`, `2min`, `1.5s` after the start.
fn shown(time: Micros) -> String {
    model::time::show_duration(time - START)
}
