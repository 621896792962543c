//! Where alarms lie. What a batch does is decided once ([`Work`]), over a few reads and writes ([`Tables`]) that SQLite and memory
//! each provide inside one transaction.

use crate::life::{self, Class, Row, Step};
use crate::receiver::Receiver;
use crate::{AckOutcome, AlarmEvent, EventKind, OutboxRow, OwnAlarm, StoreError, TransitionBatch, own, tell};
use async_trait::async_trait;
use model::{AlarmState, Micros, Transition};

pub mod conformance;
mod memory;
mod sqlite;

pub use memory::{MemoryStore, Mistake};
pub use sqlite::SqliteStore;

/// Transition ids are remembered this long: a rule that is judged again repeats what its snapshot did not cover, minutes.
const REMEMBER: Micros = 30 * model::time::DAY;

/// The reads and writes of one transaction.
#[async_trait]
pub(crate) trait Tables: Send {
    async fn position(&mut self, partition: u32) -> Result<u64, StoreError>;
    async fn set_position(&mut self, partition: u32, next: u64) -> Result<(), StoreError>;
    /// Remembers an id; false when it was there.
    async fn remember(&mut self, id: &str, at: Micros) -> Result<bool, StoreError>;
    async fn forget(&mut self, before: Micros) -> Result<(), StoreError>;
    async fn active(&mut self, rule: &str, point_id: i64, class: Class) -> Result<Option<Row>, StoreError>;
    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError>;
    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError>;
    async fn put(&mut self, row: &Row) -> Result<(), StoreError>;
    /// Adds an event and gives its number.
    async fn event(
        &mut self,
        row: &Row,
        kind: EventKind,
        at: Micros,
        by: &str,
        note: &str,
    ) -> Result<i64, StoreError>;
    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError>;
    /// Adds a message; one whose key is there changes nothing.
    async fn send(&mut self, message: &OutboxRow) -> Result<(), StoreError>;
}

/// What batches and actions do, over any tables.
pub(crate) struct Work<'a, T> {
    pub tables: &'a mut T,
    pub receivers: &'a [Receiver],
}

impl<T: Tables> Work<'_, T> {
    /// A batch of transitions.
    pub async fn apply(&mut self, batch: &TransitionBatch) -> Result<Vec<AlarmEvent>, StoreError> {
        let mut events = Vec::new();
        let mut digest = Vec::new();
        if !batch.hold {
            self.release(batch.partition, batch.now, &mut digest).await?;
        }
        let known = self.tables.position(batch.partition).await?;
        if batch.next > known {
            for t in &batch.transitions {
                let event = self.transition(t, batch.now, batch.hold).await?;
                if let Some((event, row)) = event {
                    if row.class == Class::Late {
                        digest.push(row);
                    }
                    events.push(event);
                }
            }
            self.tables.set_position(batch.partition, batch.next).await?;
            self.tables.forget(batch.now - REMEMBER).await?;
        }
        for message in tell::digest(self.receivers, &digest, batch.now) {
            self.tables.send(&message).await?;
        }
        Ok(events)
    }

    /// One of firedamp's own alarms; no position moves.
    pub async fn own(&mut self, alarm: &OwnAlarm, now: Micros) -> Result<Option<AlarmEvent>, StoreError> {
        Ok(self.transition(&alarm.transition(now), now, false).await?.map(|(event, _)| event))
    }

    async fn transition(
        &mut self,
        t: &Transition,
        now: Micros,
        hold: bool,
    ) -> Result<Option<(AlarmEvent, Row)>, StoreError> {
        if !self.tables.remember(&t.id.to_string(), now).await? {
            return Ok(None);
        }
        let class = Class::of(&t.marks);
        // A late-found episode is a row of its own; what ends it has nothing to end.
        let active = if class == Class::Late {
            None
        } else {
            self.tables.active(&t.rule, t.point_id.0, class).await?
        };
        let Step::Event(mut row, kind) = life::step(active, t) else { return Ok(None) };
        if hold && class == Class::Live {
            row.held = true;
        } else {
            self.tell(&mut row, kind, now).await?;
        }
        self.tables.put(&row).await?;
        let seq = self.tables.event(&row, kind, now, "rules", "").await?;
        Ok(Some((AlarmEvent { seq, event: kind, alarm: row.alarm.clone(), at: now }, *row)))
    }

    async fn tell(&mut self, row: &mut Row, kind: EventKind, now: Micros) -> Result<(), StoreError> {
        let (messages, told) = tell::event(self.receivers, row, kind, now);
        for message in &messages {
            self.tables.send(message).await?;
        }
        row.told |= told == tell::Told::Written;
        Ok(())
    }

    /// What was held goes out: open alarms as they stand, what rose and fell as a digest.
    async fn release(
        &mut self,
        partition: u32,
        now: Micros,
        digest: &mut Vec<Row>,
    ) -> Result<(), StoreError> {
        for mut row in self.tables.held(partition).await? {
            row.held = false;
            if tell::rose_and_fell(&row) {
                digest.push(row.clone());
            } else {
                let open = row.alarm.state == AlarmState::Active;
                self.tell(&mut row, if open { EventKind::Changed } else { EventKind::Cleared }, now).await?;
            }
            self.tables.put(&row).await?;
        }
        Ok(())
    }

    /// Acknowledges one alarm.
    pub async fn acknowledge(
        &mut self,
        id: &str,
        by: &str,
        note: &str,
        seen_seq: Option<i64>,
        now: Micros,
    ) -> Result<AckOutcome, StoreError> {
        let outcome = |outcome| Ok(AckOutcome { id: id.to_owned(), outcome });
        let Some(mut row) = self.tables.row(id).await? else { return outcome("gone") };
        if row.alarm.acked {
            return outcome("already");
        }
        if let Some(seq) = seen_seq
            && self.tables.rose_after(id, seq).await?
        {
            return outcome("changed");
        }
        row.alarm.acked = true;
        row.alarm.acked_by = Some(by.to_owned());
        row.alarm.acked_at = Some(now);
        self.tables.put(&row).await?;
        self.tables.event(&row, EventKind::Acknowledged, now, by, note).await?;
        outcome("acked")
    }

    /// Closes one of firedamp's own alarms by hand.
    pub async fn clear(
        &mut self,
        id: &str,
        by: &str,
        note: &str,
        now: Micros,
    ) -> Result<AckOutcome, StoreError> {
        let outcome = |outcome| Ok(AckOutcome { id: id.to_owned(), outcome });
        let Some(row) = self.tables.row(id).await? else { return outcome("gone") };
        if row.alarm.state == AlarmState::Closed {
            return outcome("already");
        }
        let Some(what) = row.alarm.rule.strip_prefix("firedamp/").filter(|_| row.alarm.site == own::SITE)
        else {
            return outcome("active");
        };
        let reason = format!("closed by {by}{}{note}", if note.is_empty() { "" } else { ": " });
        let (key, severity) = (row.alarm.point.clone(), row.alarm.severity);
        let off = OwnAlarm { what: what.to_owned(), key, severity, reason, on: false };
        self.own(&off, now).await?;
        outcome("cleared")
    }
}

/// The alarm about a receiver that could not be told.
pub(crate) fn dead_letter(receiver: &str, key: &str, error: &str) -> OwnAlarm {
    OwnAlarm {
        what: "dead-letter".to_owned(),
        key: receiver.to_owned(),
        severity: model::Severity::Orange,
        reason: format!("receiver `{receiver}` was not told, message {key} is given up: {error}"),
        on: true,
    }
}
