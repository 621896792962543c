//! From a change of a latch to the transition the log carries. Texts are built here, only when something changed.

use crate::compile::Rule;
use crate::kinds::Machine;
use crate::latch::{Cause, Change};
use crate::level::REPORTED;
use crate::reading::At;
use model::time::Micros;
use model::transition::Marks;
use model::{Catalog, Transition, TransitionId};

/// Why a level is withdrawn.
pub(crate) const GONE: &str =
    "it is not judged any more: its rule, level, point or limit is gone, or its site is idle";

/// Whose level changed.
pub(crate) struct Who<'a> {
    pub rule: &'a Rule,
    pub slot: u32,
    pub level: usize,
    pub ix: u32,
    pub time: Micros,
    pub value: f64,
}

/// Where and when.
pub(crate) struct Context<'a> {
    pub at: At,
    pub clock: Micros,
    pub catalog: &'a Catalog,
    pub simulated: bool,
    pub replay: bool,
}

/// The transition of a change, for the reason that its kind gives.
pub(crate) fn transition(c: &Context<'_>, w: &Who<'_>, machine: &dyn Machine, change: Change) -> Transition {
    let reason = |on| machine.reason(w.slot as usize, w.level, w.value, on);
    said(c, w, change, reason)
}

/// The transition of a change; `reason` says why the level is on, or off.
pub(crate) fn said(
    c: &Context<'_>,
    w: &Who<'_>,
    change: Change,
    reason: impl FnOnce(bool) -> String,
) -> Transition {
    let (point, level) = (c.catalog.point(w.ix), &w.rule.levels[w.level]);
    let point_id = c.catalog.ids()[w.ix as usize];
    let (origin, row) = change.first_over;
    let finite = |v: f64| v.is_finite().then_some(v);
    let reason = match (change.to, change.cause) {
        (model::To::Withdrawn, _) => GONE.to_owned(),
        (_, Cause::CalibrationBegan) => "calibration: it stays active, shown as calibrating".to_owned(),
        (_, Cause::CalibrationEnded) => "calibration is over, it is still active".to_owned(),
        (to, Cause::Decided | Cause::Further | Cause::Update) => reason(to == model::To::On),
    };
    // A late-found episode and a live one that begin with the same reading are two.
    let name = if change.late { format!("{}#late", level.name) } else { level.name.clone() };
    Transition {
        id: TransitionId::of(&w.rule.name, point_id, &name, origin, row, change.step),
        time: w.time,
        decided: c.clock,
        offset: c.at.offset,
        site: point.site.clone(),
        point: point.code.clone(),
        point_id,
        rule: w.rule.name.clone(),
        version: w.rule.version.clone(),
        level: level.name.clone(),
        rank: if level.name == REPORTED { 0 } else { w.level as u32 + 1 },
        to: change.to,
        value: finite(w.value),
        peak: finite(change.peak),
        severity: level.severity,
        reason,
        marks: Marks {
            calibrating: change.calibrating,
            simulated: c.simulated,
            late: change.late,
            unconfirmed: level.name == REPORTED,
            replay: c.replay,
            further: change.cause == Cause::Further,
            update: change.cause == Cause::Update,
        },
    }
}
