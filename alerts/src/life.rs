//! The life of an alarm as a pure function: [`step`] takes an alarm as it stands and a transition, and gives the alarm after it,
//! the event, and the reason. Every pair of state and transition is defined:
//!
//! | the latch of the transition's level | on | off | withdrawn |
//! |---|---|---|---|
//! | no active alarm | opens: raised | nothing (`not on`) | nothing (`not on`) |
//! | active, level off | level on: changed | nothing (`not on`) | nothing (`not on`) |
//! | active, level on | turns real, changes severity, one more meets its condition, or its words are newer: changed, else nothing (`is on`) | level off: changed, or cleared when it was the last | the same, and marked withdrawn when it was the last |
//!
//! What is shown is the highest level that is real; one decided while calibrating is shown only where no other is on, and stands
//! beside a real one without being told. An alarm that rises (a higher level, a worse severity, real at last, or one more that meets
//! its condition) is unacknowledged again: nobody has seen that yet.

mod act;

pub use act::{Act, What, act, unshelved};

use crate::EventKind;
use model::transition::Marks;
use model::{Alarm, AlarmState, Micros, Place, Severity, To, Transition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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

    /// From the number it is stored as.
    pub fn stored(n: i64) -> Option<Self> {
        [Class::Live, Class::Late, Class::Drill].into_iter().find(|c| *c as i64 == n)
    }
}

/// A level that is on, or the highest one that was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LevelOn {
    /// Place in its ladder, 0 the mildest.
    pub rank: u32,
    /// As the rule decided it.
    pub severity: Severity,
    /// Decided while calibrating and not yet real.
    pub calibrating: bool,
    /// Reported by the mine with a bad value.
    #[serde(default)]
    pub unconfirmed: bool,
}

impl LevelOn {
    fn of(t: &Transition) -> Self {
        let Marks { calibrating, unconfirmed, .. } = t.marks;
        Self { rank: t.rank, severity: t.severity, calibrating, unconfirmed }
    }

    /// Order of what is shown: real before calibrating, then by rank.
    fn weight(&self) -> (bool, u32) {
        (!self.calibrating, self.rank)
    }
}

/// Who was told of an alarm, and what they know.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Names of the receivers.
    pub receivers: BTreeSet<String>,
    /// The level and severity they were last told; `None` once they know that it is over.
    pub shown: Option<(String, Severity)>,
}

/// How long nobody has acknowledged an alarm, and what was done about that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// When it began to run.
    pub since: Micros,
    /// The decision that it began with: the routes of that time press.
    pub begun: Micros,
    /// Whom the routes escalate to up to so many microseconds after it began was told. Once there may be other routes it is less than zero,
    /// [`Clock::marked`] turned around.
    pub escalated: Micros,
    /// The same of reminders.
    pub reminded: Micros,
    /// When to look again; `None` while the routes have nobody more.
    pub next: Option<Micros>,
}

impl Clock {
    /// Up to when it was escalated, and whether by routes that may be others now.
    pub fn marked(&self) -> (Micros, bool) {
        if self.escalated < 0 { (-1 - self.escalated, true) } else { (self.escalated, false) }
    }

    /// To be looked at, by routes that may be others.
    #[must_use]
    pub fn looked_at(self, now: Micros) -> Self {
        Self { next: Some(now), escalated: self.escalated.min(-1 - self.escalated), ..self }
    }
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
    pub top: (String, LevelOn),
    /// Who was told of it.
    pub told: Told,
    /// Runs while nobody has acknowledged it.
    pub clock: Option<Clock>,
    /// Changed while notifications were held.
    pub held: bool,
    /// The newest transition that changed it.
    pub last_transition: String,
    /// Partition clock of that transition: the same in every replay.
    pub decided: Micros,
}

impl Row {
    /// Whether it was ever more than an episode of a calibration.
    pub fn is_real(&self) -> bool {
        !self.top.1.calibrating
    }

    /// Whether somebody has to acknowledge it.
    pub fn is_waiting(&self) -> bool {
        let a = &self.alarm;
        a.state == AlarmState::Active && !a.acked && !a.is_shelved() && !a.marks.calibrating
    }
}

/// Why a transition did what it did: the word in logs and metrics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    /// The first level went on.
    Opened,
    /// A late-found episode was recorded.
    FoundLate,
    /// A further level went on.
    LevelOn,
    /// A level that is on changed its severity.
    Severity,
    /// An episode born in calibration turned out real.
    TurnedReal,
    /// One more meets the condition of a level that is on.
    Further,
    /// The words of a level that is on are newer.
    Updated,
    /// A level went off, others are on.
    LevelOff,
    /// The last level went off.
    LastOff,
    /// The last level ended because its rule or point is gone.
    LastWithdrawn,
    /// The level that is on went on again: nothing.
    IsOn,
    /// The level that ended was not on: nothing.
    NotOn,
    /// The id was taken before: nothing.
    Repeated,
}

impl Why {
    /// All of them.
    pub const ALL: [Why; 13] = [
        Why::Opened,
        Why::FoundLate,
        Why::LevelOn,
        Why::Severity,
        Why::TurnedReal,
        Why::Further,
        Why::Updated,
        Why::LevelOff,
        Why::LastOff,
        Why::LastWithdrawn,
        Why::IsOn,
        Why::NotOn,
        Why::Repeated,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Opened => "opened",
            Why::FoundLate => "found_late",
            Why::LevelOn => "level_on",
            Why::Severity => "severity",
            Why::TurnedReal => "turned_real",
            Why::Further => "further",
            Why::Updated => "updated",
            Why::LevelOff => "level_off",
            Why::LastOff => "last_off",
            Why::LastWithdrawn => "last_withdrawn",
            Why::IsOn => "is_on",
            Why::NotOn => "not_on",
            Why::Repeated => "repeated",
        }
    }
}

/// An alarm after a transition that changed it.
#[derive(Clone, PartialEq, Debug)]
pub struct Changed {
    /// The alarm.
    pub row: Row,
    /// What happened.
    pub event: EventKind,
    /// Why.
    pub why: Why,
    /// It is worse than before: whoever acts on what he saw before acts on something else.
    pub rose: bool,
}

/// What a transition did.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// The alarm changed.
    Event(Box<Changed>),
    /// Nothing.
    Nothing(Why),
}

/// The next state of an alarm.
pub fn step(active: Option<Row>, t: &Transition) -> Step {
    let Some(row) = active else {
        return match t.to {
            To::On => open(t),
            To::Off | To::Withdrawn => Step::Nothing(Why::NotOn),
        };
    };
    let on = row.levels.get(&t.level).cloned();
    match (t.to, on) {
        (To::On, None) => on_with(row, t, Why::LevelOn),
        (To::On, Some(_)) if t.marks.further => on_with(row, t, Why::Further),
        (To::On, Some(_)) if t.marks.update => on_with(row, t, Why::Updated),
        // What turned real does not become a calibration's again.
        (To::On, Some(old)) if old == LevelOn::of(t) || (!old.calibrating && t.marks.calibrating) => {
            Step::Nothing(Why::IsOn)
        }
        (To::On, Some(old)) if old.calibrating => on_with(row, t, Why::TurnedReal),
        (To::On, Some(_)) => on_with(row, t, Why::Severity),
        (To::Off | To::Withdrawn, None) => Step::Nothing(Why::NotOn),
        (_, Some(_)) => off(row, t),
    }
}

fn open(t: &Transition) -> Step {
    let class = Class::of(&t.marks);
    let late = class == Class::Late;
    let alarm = Alarm {
        id: t.id.to_string(),
        site: t.site.clone(),
        point: t.point.clone(),
        place: Place::default(),
        rule: t.rule.clone(),
        level: t.level.clone(),
        // A late-found episode is never live: it is recorded as one that is over.
        state: if late { AlarmState::Closed } else { AlarmState::Active },
        acked: false,
        severity: t.severity,
        opened: t.time,
        closed: late.then_some(t.time),
        changed: t.time,
        peak: None,
        withdrawn: false,
        acked_by: None,
        acked_at: None,
        reason: String::new(),
        marks: t.marks,
        shelved: None,
        case: None,
    };
    let level = LevelOn::of(t);
    let mut row = Row {
        alarm,
        class,
        point_id: t.point_id.0,
        partition: t.offset.partition,
        levels: BTreeMap::new(),
        top: (t.level.clone(), level.clone()),
        told: Told::default(),
        clock: None,
        held: false,
        last_transition: String::new(),
        decided: t.decided,
    };
    if !late {
        row.levels.insert(t.level.clone(), level);
    }
    touch(&mut row, t);
    let (event, why) =
        if late { (EventKind::Late, Why::FoundLate) } else { (EventKind::Raised, Why::Opened) };
    Step::Event(Box::new(Changed { row, event, why, rose: true }))
}

fn on_with(mut row: Row, t: &Transition, why: Why) -> Step {
    let before = shown(&row).1;
    row.levels.insert(t.level.clone(), LevelOn::of(t));
    touch(&mut row, t);
    let after = shown(&row).1;
    // `Severity` orders the worst first.
    let rose = why == Why::Further
        || after.weight() > before.weight()
        || (after.weight() == before.weight() && after.severity < before.severity);
    if rose && row.alarm.acked {
        (row.alarm.acked, row.alarm.acked_by, row.alarm.acked_at) = (false, None, None);
    }
    Step::Event(Box::new(Changed { row, event: EventKind::Changed, why, rose }))
}

fn off(mut row: Row, t: &Transition) -> Step {
    row.levels.remove(&t.level);
    let last = row.levels.is_empty();
    if last {
        row.alarm.state = AlarmState::Closed;
        row.alarm.closed = Some(t.time);
        row.alarm.withdrawn = t.to == To::Withdrawn;
    }
    touch(&mut row, t);
    let (event, why) = match (last, t.to) {
        (false, _) => (EventKind::Changed, Why::LevelOff),
        (true, To::Withdrawn) => (EventKind::Cleared, Why::LastWithdrawn),
        (true, _) => (EventKind::Cleared, Why::LastOff),
    };
    Step::Event(Box::new(Changed { row, event, why, rose: false }))
}

/// What every step that changed something writes down.
fn touch(row: &mut Row, t: &Transition) {
    row.last_transition = t.id.to_string();
    row.decided = t.decided;
    row.alarm.changed = t.time;
    row.alarm.reason.clone_from(&t.reason);
    row.alarm.peak = peak(row.alarm.peak, t);
    if t.to == To::On && LevelOn::of(t).weight() >= row.top.1.weight() {
        row.top = (t.level.clone(), LevelOn::of(t));
    }
    let (name, level) = shown(row);
    row.alarm.level = name;
    row.alarm.severity = level.severity;
    // What is held is told once for all that happened meanwhile.
    let further = t.marks.further || (row.held && row.alarm.marks.further);
    row.alarm.marks =
        Marks { calibrating: level.calibrating, unconfirmed: level.unconfirmed, further, ..t.marks };
}

/// The highest real level that is on, else the highest; after closing the highest it reached.
fn shown(row: &Row) -> (String, LevelOn) {
    let on = row.levels.iter().max_by_key(|(_, l)| l.weight());
    on.map_or_else(|| row.top.clone(), |(name, level)| (name.clone(), level.clone()))
}

/// The rule says how far the value went while a level was on; where it does not, the value that raised the highest level.
fn peak(now: Option<f64>, t: &Transition) -> Option<f64> {
    t.peak.or(if t.to == To::On { t.value.or(now) } else { now })
}

#[cfg(test)]
mod tests;
