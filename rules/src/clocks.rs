//! How far the clocks of an evaluator may move by themselves, and what is late by them.

use model::time::{Micros, SECOND};
use std::sync::Arc;

/// How far ahead a record may pull the clock without a tick.
pub const JUMP: Micros = 60 * SECOND;
/// What is older than this when it is appended corrects history only.
pub const LATE_AFTER: Micros = 120 * SECOND;

/// The clock of a source marked replay: the newest event time of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReplayClock {
    pub source: Arc<str>,
    pub now: Micros,
}
