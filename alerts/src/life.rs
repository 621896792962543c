//! The life of an alarm as a pure function: [`step`] takes an alarm as it stands and a transition, and gives the alarm after it
//! and the event, with its reason. Every pair of state and transition is defined:
//!
//! | the latch of the transition's level | on | off | withdrawn |
//! |---|---|---|---|
//! | no active alarm | opens: raised | nothing (`not on`) | nothing (`not on`) |
//! | active, level off | level on: changed | nothing (`not on`) | nothing (`not on`) |
//! | active, level on | turns real or changes severity: changed, else nothing (`is on`) | level off: changed, or cleared when it was the last | the same, and marked withdrawn when it was the last |

use crate::EventKind;
use model::transition::Marks;
use model::{Alarm, AlarmState, Micros, Severity, To, Transition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Alarms of one (rule, point) that must not mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Class {
    /// Decided as it happened.
    Live = 0,
    /// Found in late or historical readings.
    Late = 1,
    /// From a drill.
    Drill = 2,
}

impl Class {
    /// The class a transition belongs to.
    pub fn of(marks: &Marks) -> Self {
        if marks.simulated {
            Class::Drill
        } else if marks.late {
            Class::Late
        } else {
            Class::Live
        }
    }
}

/// A level that is on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LevelOn {
    /// Place in its ladder, 0 the mildest.
    pub rank: u32,
    /// As the rule decided it.
    pub severity: Severity,
    /// Decided while calibrating and not yet real.
    pub calibrating: bool,
}

/// The highest level an alarm reached.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Top {
    /// Name of the level.
    pub name: String,
    /// Its place in the ladder.
    pub rank: u32,
    /// Its severity.
    pub severity: Severity,
}

/// An alarm as the store keeps it.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// What lists show.
    pub alarm: Alarm,
    /// Live, late or drill.
    pub class: Class,
    /// Point id.
    pub point_id: i64,
    /// Partition of its transitions.
    pub partition: u32,
    /// Levels that are on, by name.
    pub levels: BTreeMap<String, LevelOn>,
    /// The highest level it reached, shown after closing.
    pub top: Top,
    /// Somebody was told of it.
    pub told: bool,
    /// Changed while notifications were held.
    pub held: bool,
    /// The newest transition that changed it.
    pub last_transition: String,
    /// When it last changed, event time.
    pub changed: Micros,
}

/// What a transition did.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// The alarm after it, and the event.
    Event(Box<Row>, EventKind),
    /// Nothing, and why.
    Nothing(&'static str),
}

/// The next state of an alarm.
pub fn step(active: Option<Row>, t: &Transition) -> Step {
    let Some(mut row) = active else {
        return match t.to {
            To::On => open(t),
            To::Off | To::Withdrawn => Step::Nothing("not on"),
        };
    };
    let on = row.levels.get(&t.level).cloned();
    match (t.to, on) {
        (To::On, None) => {
            row.levels.insert(t.level.clone(), level(t));
            touched(row, t, EventKind::Changed)
        }
        (To::On, Some(old)) if old == level(t) => Step::Nothing("is on"),
        (To::On, Some(_)) => {
            row.levels.insert(t.level.clone(), level(t));
            touched(row, t, EventKind::Changed)
        }
        (To::Off | To::Withdrawn, None) => Step::Nothing("not on"),
        (to, Some(_)) => {
            row.levels.remove(&t.level);
            if !row.levels.is_empty() {
                return touched(row, t, EventKind::Changed);
            }
            row.alarm.state = AlarmState::Closed;
            row.alarm.closed = Some(t.time);
            row.alarm.withdrawn = to == To::Withdrawn;
            touched(row, t, EventKind::Cleared)
        }
    }
}

fn level(t: &Transition) -> LevelOn {
    LevelOn { rank: t.rank, severity: t.severity, calibrating: t.marks.calibrating }
}

fn open(t: &Transition) -> Step {
    let class = Class::of(&t.marks);
    let alarm = Alarm {
        id: t.id.to_string(),
        site: t.site.clone(),
        point: t.point.clone(),
        rule: t.rule.clone(),
        level: t.level.clone(),
        state: AlarmState::Active,
        acked: false,
        severity: t.severity,
        opened: t.time,
        closed: None,
        changed: t.time,
        peak: t.value,
        withdrawn: false,
        acked_by: None,
        acked_at: None,
        reason: t.reason.clone(),
        marks: t.marks,
    };
    let row = Row {
        alarm,
        class,
        point_id: t.point_id.0,
        partition: t.offset.partition,
        levels: BTreeMap::from([(t.level.clone(), level(t))]),
        top: Top { name: t.level.clone(), rank: t.rank, severity: t.severity },
        told: false,
        held: false,
        last_transition: String::new(),
        changed: t.time,
    };
    let mut row = row;
    if class == Class::Late {
        // A late-found episode is never live: it is recorded as one that is over.
        row.alarm.state = AlarmState::Closed;
        row.alarm.closed = Some(t.time);
        row.levels.clear();
    }
    touched(row, t, if class == Class::Late { EventKind::Late } else { EventKind::Raised })
}

/// What every step that changed something writes down.
fn touched(mut row: Row, t: &Transition, kind: EventKind) -> Step {
    row.last_transition = t.id.to_string();
    row.changed = t.time;
    row.alarm.changed = t.time;
    row.alarm.reason.clone_from(&t.reason);
    row.alarm.marks = t.marks;
    // Real as soon as one of its levels is.
    row.alarm.marks.calibrating = match row.alarm.state {
        AlarmState::Active => row.levels.values().all(|l| l.calibrating),
        AlarmState::Closed => t.marks.calibrating && !row.told,
    };
    if t.to == To::On && t.rank >= row.top.rank {
        row.top = Top { name: t.level.clone(), rank: t.rank, severity: t.severity };
    }
    let on = row.levels.iter().max_by_key(|(_, l)| l.rank).map(|(name, l)| (name.clone(), l.severity));
    (row.alarm.level, row.alarm.severity) = on.unwrap_or_else(|| (row.top.name.clone(), row.top.severity));
    row.alarm.peak = peak(row.alarm.peak, t);
    Step::Event(Box::new(row), kind)
}

/// The rule says how far the value went while a level was on; where it does not, the value that raised the highest level.
fn peak(now: Option<f64>, t: &Transition) -> Option<f64> {
    t.peak.or(if t.to == To::On { t.value.or(now) } else { now })
}
