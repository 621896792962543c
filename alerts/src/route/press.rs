//! Whom routes press while nobody acknowledges an alarm: `escalate` tells others, once; `repeat` tells those who were told, again and again.
//!
//! The routes that take the alarm as it stands press for it, at the time of the decision that its clock ([`crate::life::Clock`]) began with,
//! and a roster is who is on duty when it is pressed. Which times are over follows from the clock alone, so that a process that was away makes up for it: each
//! step once, and one reminder.

use super::names::Names;
use super::{Route, Routes, Target};
use crate::life::Clock;
use model::time::{MINUTE, SECOND, show_duration};
use model::toml_file::Section;
use model::{Alarm, Micros};
use std::collections::{BTreeMap, BTreeSet};

/// Shortest times, of both.
const AFTER_MIN: Micros = SECOND;
const REPEAT_MIN: Micros = MINUTE;

/// One step of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Press {
    /// After so long others are told.
    Escalate(Micros, Vec<Target>),
    /// After so long, and so long again, those whom the route told are reminded.
    Repeat(Micros),
}

/// Who is pressed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pressed {
    /// So long after the clock began, microseconds.
    pub after: Micros,
    /// They are reminded; else told for the first time, or told as the next level.
    pub again: bool,
    /// Numbers of the receivers.
    pub receivers: BTreeSet<usize>,
    /// Numbers of rosters that have nobody on duty then.
    pub holes: BTreeSet<usize>,
}

impl Press {
    /// The last time that is over and was not pressed at.
    fn over(&self, clock: &Clock, elapsed: Micros) -> Option<Micros> {
        let (last, done) = match self {
            Press::Escalate(after, _) => (*after, clock.escalated),
            Press::Repeat(every) => (elapsed / every * every, clock.reminded),
        };
        (done < last && last <= elapsed).then_some(last)
    }

    /// The first time that was not pressed at.
    fn next(&self, clock: &Clock) -> Option<Micros> {
        match self {
            Press::Escalate(after, _) => Some(*after).filter(|after| *after > clock.escalated),
            Press::Repeat(every) => Some((clock.reminded / every + 1) * every),
        }
    }

    /// As it is said of a route.
    pub fn text(&self) -> String {
        match self {
            Press::Escalate(after, _) => format!("not acknowledged for {}", show_duration(*after)),
            Press::Repeat(every) => format!("not acknowledged, every {}", show_duration(*every)),
        }
    }
}

impl Routes {
    /// A clock with the next time at which somebody is pressed.
    pub fn wound(&self, alarm: &Alarm, clock: Clock) -> Clock {
        let presses = self.took(alarm, clock.begun).into_iter().flat_map(|route| &route.presses);
        let next = presses.filter_map(|press| press.next(&clock)).min();
        Clock { next: next.map(|after| clock.since + after), ..clock }
    }

    /// Who is pressed now, in the order of the times that are over; whoever was pressed before is not again. By other routes, also a step
    /// whose time was over before: those it names of whom nobody was `told`.
    pub fn pressed(
        &self,
        alarm: &Alarm,
        clock: &Clock,
        told: &BTreeSet<String>,
        now: Micros,
    ) -> Vec<Pressed> {
        let (subject, (mark, _)) = (self.subject(alarm, now), clock.marked());
        let knows = |target: &Target| {
            self.may_stand_for(*target).iter().any(|n| told.contains(&self.receivers[*n].name))
        };
        let mut out: BTreeMap<(Micros, bool), Pressed> = BTreeMap::new();
        for route in self.took(alarm, clock.begun) {
            for press in &route.presses {
                let Some(after) = press.over(clock, now - clock.since) else { continue };
                let (again, to) = match press {
                    Press::Escalate(_, to) => (false, to),
                    Press::Repeat(_) => (true, &route.to),
                };
                let pressed = out.entry((after, again)).or_default();
                (pressed.after, pressed.again) = (after, again);
                let is_new = |target: &&Target| again || after > mark || !knows(target);
                for target in to.iter().filter(is_new) {
                    let reached = self.reach(*target, &subject, now);
                    pressed.receivers.extend(reached.receivers.iter().map(|(receiver, _)| *receiver));
                    pressed.holes.extend(reached.hole);
                }
            }
        }
        out.into_values().collect()
    }
}

/// Reads `escalate` and `repeat`; each that is not there is that of the route above.
pub(super) fn presses(s: &Section<'_>, above: &[Press], names: &Names<'_>) -> Vec<Press> {
    let is_step = |press: &&Press| matches!(press, Press::Escalate(..));
    let mut out = Vec::new();
    for step in s.tables("escalate") {
        if !step.has("after") {
            step.missing("after", "\"5min\"");
        }
        if !step.has("to") {
            step.missing("to", "[\"city\"]");
        }
        let (after, to) = (time(&step, "after", AFTER_MIN), names.targets(&step));
        step.finish_ref();
        out.extend(after.zip(to).map(|(after, to)| Press::Escalate(after, to)));
    }
    if !s.has("escalate") {
        out.extend(above.iter().filter(is_step).cloned());
    }
    match s.has("repeat") {
        true => out.extend(time(s, "repeat", REPEAT_MIN).map(Press::Repeat)),
        false => out.extend(above.iter().filter(|press| !is_step(press)).cloned()),
    }
    out
}

/// A time that is long enough; `None` where it cannot be used, which is told.
fn time(s: &Section<'_>, key: &'static str, min: Micros) -> Option<Micros> {
    let given = s.duration(key)?;
    if given.value < min {
        let (is, min) = (show_duration(given.value), show_duration(min));
        s.file().error_at(given.at, format!("`{key}` is {is}, the shortest is {min}"), "");
        return None;
    }
    Some(given.value)
}

/// Receivers and rosters that steps of a route name.
pub(super) fn named(route: &Route) -> impl Iterator<Item = &Target> {
    route.presses.iter().flat_map(|press| match press {
        Press::Escalate(_, to) => to.as_slice(),
        Press::Repeat(_) => &[],
    })
}
