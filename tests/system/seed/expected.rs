//! What the alarms and the messages of a history must be: a simple model of the life of an alarm and of who is told what, over the
//! transitions of the log and the batches in which they were taken. It shares no code with the crate `alerts`.

use super::alarms::Taken;
use model::{Alarm, AlarmState, Micros, Severity, To, Transition};
use std::collections::{BTreeMap, BTreeSet};

/// A level as it is shown.
type Shown = (String, Severity);

/// What a list shows of an alarm of a rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape {
    pub key: (String, String, String),
    pub shown: Shown,
    pub opened: Micros,
    pub closed: Option<Micros>,
    pub withdrawn: bool,
    pub late: bool,
}

impl Shape {
    /// An alarm as it lies in the store or came in a message.
    pub fn of(alarm: &Alarm) -> Self {
        Self {
            key: (alarm.rule.clone(), alarm.site.clone(), alarm.point.clone()),
            shown: (alarm.level.clone(), alarm.severity),
            opened: alarm.opened,
            // An active alarm with a time of its end, or the other way round, is like no other.
            closed: alarm.closed.or((alarm.state == AlarmState::Closed).then_some(Micros::MAX)),
            withdrawn: alarm.withdrawn,
            late: alarm.marks.late,
        }
    }
}

/// What was said of an alarm: the event, the alarm as it stood, and when that was decided; a digest is about many and its time
/// is that of the newest.
pub type Said = (String, Shape, Option<String>);

/// An alarm under way.
struct Row {
    id: String,
    shape: Shape,
    partition: u32,
    on: BTreeMap<u32, Shown>,
    top: (u32, Shown),
    decided: Micros,
    held: bool,
    told: Option<Shown>,
    heard: bool,
}

/// By id of the alarm.
#[derive(Default)]
pub struct Expected {
    /// How each alarm stands at the end.
    pub alarms: BTreeMap<String, Shape>,
    /// What happened to each, in order.
    pub events: BTreeMap<String, Vec<&'static str>>,
    /// What was said of each, in order.
    pub said: BTreeMap<String, Vec<Said>>,
    active: BTreeMap<(String, String, String), Row>,
    /// Over, and changed while notifications were held.
    over: Vec<Row>,
    seen: BTreeSet<String>,
}

impl Expected {
    /// Of batches in the order in which they were taken.
    pub fn of(batches: &[Taken]) -> Self {
        let mut this = Self::default();
        for batch in batches {
            if !batch.hold {
                this.release(batch.partition);
            }
            for t in &batch.transitions {
                if this.seen.insert(t.id.to_string()) {
                    this.take(t, batch.hold);
                }
            }
        }
        for row in std::mem::take(&mut this.active).into_values() {
            this.alarms.insert(row.id, row.shape);
        }
        this
    }

    fn take(&mut self, t: &Transition, hold: bool) {
        if t.marks.late {
            if t.to == To::On {
                self.found_late(t);
            }
            return;
        }
        let key = (t.rule.clone(), t.site.clone(), t.point.clone());
        let mut row = match (self.active.remove(&key), t.to) {
            (Some(row), _) => row,
            (None, To::On) => Row::opened_by(t),
            (None, _) => return,
        };
        let event = row.step(t);
        if let Some(event) = event {
            self.events.entry(row.id.clone()).or_default().push(event);
            row.held |= hold;
            if !hold {
                row.tell(&mut self.said);
            }
        }
        if row.shape.closed.is_none() {
            self.active.insert(key, row);
            return;
        }
        self.alarms.insert(row.id.clone(), row.shape.clone());
        if row.held {
            self.over.push(row);
        }
    }

    fn found_late(&mut self, t: &Transition) {
        let mut row = Row::opened_by(t);
        row.step(t);
        row.shape.closed = Some(t.time);
        self.events.insert(row.id.clone(), vec!["late"]);
        self.said.insert(row.id.clone(), vec![("digest".to_owned(), row.shape.clone(), None)]);
        self.alarms.insert(row.id, row.shape);
    }

    /// What was held goes out as it stands; what is over and of which nobody heard, in a digest.
    fn release(&mut self, partition: u32) {
        for row in self.active.values_mut().filter(|row| row.held && row.partition == partition) {
            row.held = false;
            row.tell(&mut self.said);
        }
        for mut row in self.over.extract_if(.., |row| row.partition == partition) {
            row.tell(&mut self.said);
            if !row.heard {
                let said = ("digest".to_owned(), row.shape, None);
                self.said.entry(row.id).or_default().push(said);
            }
        }
    }
}

impl Row {
    fn opened_by(t: &Transition) -> Self {
        let shown = (t.level.clone(), t.severity);
        let shape = Shape {
            key: (t.rule.clone(), t.site.clone(), t.point.clone()),
            shown: shown.clone(),
            opened: t.time,
            closed: None,
            withdrawn: false,
            late: t.marks.late,
        };
        Self {
            id: t.id.to_string(),
            shape,
            partition: t.offset.partition,
            on: BTreeMap::new(),
            top: (t.rank, shown),
            decided: t.decided,
            held: false,
            told: None,
            heard: false,
        }
    }

    /// What the transition does, if anything.
    fn step(&mut self, t: &Transition) -> Option<&'static str> {
        let (new, shown) = (self.on.is_empty(), (t.level.clone(), t.severity));
        match t.to {
            To::On if self.on.get(&t.rank) == Some(&shown) => return None,
            To::On => {
                self.on.insert(t.rank, shown.clone());
                if t.rank >= self.top.0 {
                    self.top = (t.rank, shown);
                }
            }
            _ => _ = self.on.remove(&t.rank)?,
        }
        self.decided = t.decided;
        let highest = self.on.last_key_value();
        self.shape.shown = highest.map_or(&self.top.1, |(_, shown)| shown).clone();
        if highest.is_some() {
            return Some(if new { "raised" } else { "changed" });
        }
        (self.shape.closed, self.shape.withdrawn) = (Some(t.time), t.to == To::Withdrawn);
        Some("cleared")
    }

    fn tell(&mut self, said: &mut BTreeMap<String, Vec<Said>>) {
        let now = self.shape.closed.is_none().then(|| self.shape.shown.clone());
        let event = match (self.heard, &now) {
            (true, Some(_)) if self.told == now => return,
            (true, Some(_)) => "changed",
            (true, None) => "cleared",
            (false, Some(_)) => "raised",
            (false, None) => return,
        };
        let time = model::time::rfc3339(self.decided);
        let what = (event.to_owned(), self.shape.clone(), Some(time));
        said.entry(self.id.clone()).or_default().push(what);
        (self.heard, self.told) = (true, now);
    }
}
