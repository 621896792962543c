//! Where alarms lie. What a batch does is decided once ([`Work`]), over a few reads and writes ([`Tables`]) that SQLite and memory
//! each provide inside one transaction.

use crate::life::{self, Changed, Class, Row, Step, Why};
use crate::tell::{self, Untold};
use crate::{
    AckOutcome, AlarmEvent, Counts, EventKind, OutboxRow, OwnAlarm, Places, Routes, StoreError,
    TransitionBatch, own,
};
use async_trait::async_trait;
use model::{AlarmState, Micros, To, Transition};

pub mod conformance;
mod memory;
mod sqlite;

pub use memory::{MemoryStore, Mistake};
pub use sqlite::SqliteStore;

/// Transition ids are remembered this long: a rule that is judged again repeats what its snapshot did not cover, minutes.
const REMEMBER: Micros = 30 * model::time::DAY;
/// What was delivered is kept this long to be looked at; what was given up stays.
const KEEP_DELIVERED: Micros = 30 * model::time::DAY;
/// Late-found episodes wait this long for others: a back-fill brings many.
pub const DIGEST_LATE: Micros = 5 * model::time::MINUTE;
/// What rose and fell during a hold waits this long for the other partitions to catch up.
pub const DIGEST_RELEASED: Micros = 10 * model::time::SECOND;
/// A digest waits no longer than this for a partition that is still held.
pub const DIGEST_HELD_MAX: Micros = 10 * model::time::MINUTE;
/// Alarms one flush takes; the rest goes with the next.
const DIGEST_TAKE: usize = 5_000;
/// Messages kept until they are written together.
const UNWRITTEN_MAX: usize = 512;
/// Rows one flush removes, so that no transaction is long.
const REMOVE: i64 = 5_000;

/// The reads and writes of one transaction.
#[async_trait]
pub(crate) trait Tables: Send {
    async fn position(&mut self, partition: u32) -> Result<u64, StoreError>;
    async fn set_position(&mut self, partition: u32, next: u64, held: bool) -> Result<(), StoreError>;
    /// Remembers an id; false when it was there.
    async fn remember(&mut self, id: &str, at: Micros) -> Result<bool, StoreError>;
    /// Removes at most `limit` of each: ids remembered before, messages delivered before.
    async fn forget(
        &mut self,
        ids_before: Micros,
        delivered_before: Micros,
        limit: i64,
    ) -> Result<(), StoreError>;
    async fn active(&mut self, rule: &str, point_id: i64, class: Class) -> Result<Option<Row>, StoreError>;
    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError>;
    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError>;
    async fn put(&mut self, row: &Row) -> Result<(), StoreError>;
    /// Number of the newest event.
    async fn last_seq(&mut self) -> Result<i64, StoreError>;
    /// Adds an event and gives its number.
    async fn event(&mut self, row: &Row, event: &NewEvent<'_>) -> Result<i64, StoreError>;
    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError>;
    /// Adds messages in their order; one whose key is there changes nothing. Gives how many are new.
    async fn send(&mut self, messages: &[OutboxRow]) -> Result<u64, StoreError>;
    async fn digest_add(&mut self, id: &str, now: Micros, due: Micros) -> Result<(), StoreError>;
    /// Takes what waits for the digest when any of it is due; with `held_before`, even while a partition is held if it was
    /// added before.
    async fn digest_take(
        &mut self,
        now: Micros,
        held_before: Micros,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
    /// Settles a pending message (`next_at` none: given up), and gives it.
    async fn settle(&mut self, key: &str, end: &Settled<'_>) -> Result<Option<OutboxRow>, StoreError>;
    /// Gives up what was tried and is too old.
    async fn expire(
        &mut self,
        receiver: &str,
        created_before: Micros,
        now: Micros,
    ) -> Result<Vec<OutboxRow>, StoreError>;
    async fn add(&mut self, more: &Counts) -> Result<(), StoreError>;
}

/// An event to be written.
pub(crate) struct NewEvent<'a> {
    pub kind: EventKind,
    pub rose: bool,
    pub at: Micros,
    pub by: &'a str,
    pub note: &'a str,
}

/// What became of a try.
pub(crate) enum Settled<'a> {
    Delivered { now: Micros },
    Again { error: &'a str, next_at: Micros },
    Dead { error: &'a str, now: Micros },
}

/// Who ends an alarm by hand, and how.
pub(crate) struct Hand<'a> {
    pub by: &'a str,
    pub note: &'a str,
    pub now: Micros,
    /// Alarms of rules too, as withdrawn.
    pub orphans: bool,
}

/// What batches and actions do, over any tables.
pub(crate) struct Work<'a, T> {
    pub tables: &'a mut T,
    pub routes: &'a Routes,
    pub places: &'a dyn Places,
    /// What each transition did, for the metrics.
    pub did: Vec<Why>,
    /// What nobody was told of, for the metrics.
    pub untold: Untold,
    /// What the sums grow by at the end.
    pub more: Counts,
    /// A message was written.
    pub written: bool,
    /// Messages to be written, drills apart, and not too many at once.
    unwritten: [Vec<OutboxRow>; 2],
}

impl<'a, T: Tables> Work<'a, T> {
    pub fn new(tables: &'a mut T, routes: &'a Routes, places: &'a dyn Places) -> Self {
        Self {
            tables,
            routes,
            places,
            did: Vec::new(),
            untold: Untold::default(),
            more: Counts::default(),
            written: false,
            unwritten: Default::default(),
        }
    }

    /// The last write of every transaction.
    pub async fn finish(&mut self) -> Result<(), StoreError> {
        self.write().await?;
        if self.more != Counts::default() {
            self.tables.add(&self.more).await?;
        }
        Ok(())
    }

    /// A batch of transitions.
    pub async fn apply(&mut self, batch: &TransitionBatch) -> Result<Vec<AlarmEvent>, StoreError> {
        let mut events = Vec::new();
        if !batch.hold {
            self.release(batch.partition, batch.now).await?;
        }
        let known = self.tables.position(batch.partition).await?;
        if batch.next > known {
            for t in &batch.transitions {
                events.extend(self.transition(t, batch.now, batch.hold).await?);
            }
        }
        self.tables.set_position(batch.partition, batch.next.max(known), batch.hold).await?;
        Ok(events)
    }

    /// One of firedamp's own alarms; no position moves, and nothing repeats it, so its id needs not to be remembered.
    pub async fn own(&mut self, alarm: &OwnAlarm, now: Micros) -> Result<Option<AlarmEvent>, StoreError> {
        let seq = self.tables.last_seq().await? + 1;
        self.take(&alarm.transition(seq, now), now, false, "firedamp", "").await
    }

    async fn transition(
        &mut self,
        t: &Transition,
        now: Micros,
        hold: bool,
    ) -> Result<Option<AlarmEvent>, StoreError> {
        if !self.tables.remember(&t.id.to_string(), now).await? {
            self.did.push(Why::Repeated);
            return Ok(None);
        }
        self.take(t, now, hold, "rules", "").await
    }

    async fn take(
        &mut self,
        t: &Transition,
        now: Micros,
        hold: bool,
        by: &str,
        note: &str,
    ) -> Result<Option<AlarmEvent>, StoreError> {
        let class = Class::of(&t.marks);
        // A late-found episode is a row of its own; what ends it has nothing to end.
        let active = if class == Class::Late {
            None
        } else {
            self.tables.active(&t.rule, t.point_id.0, class).await?
        };
        let new = active.is_none();
        let (mut row, kind, why, rose) = match life::step(active, t) {
            Step::Nothing(why) => {
                self.did.push(why);
                return Ok(None);
            }
            Step::Event(changed) => {
                let Changed { row, event, why, rose } = *changed;
                (row, event, why, rose)
            }
        };
        self.did.push(why);
        if new {
            row.alarm.place = self.places.place(&row.alarm.site, &row.alarm.point);
        }
        self.count(&row, kind);
        if hold {
            row.held = class != Class::Late;
        } else {
            self.tell(&mut row, now).await?;
        }
        if class == Class::Late && row.is_real() {
            self.tables.digest_add(&row.alarm.id, now, now + DIGEST_LATE).await?;
        }
        self.tables.put(&row).await?;
        let seq = self.tables.event(&row, &NewEvent { kind, rose, at: now, by, note }).await?;
        Ok(Some(AlarmEvent { seq, event: kind, alarm: row.alarm, at: now }))
    }

    /// Drills, late-found episodes and firedamp's own are not counted.
    fn count(&mut self, row: &Row, kind: EventKind) {
        if row.class != Class::Live || row.alarm.site == own::SITE {
            return;
        }
        match kind {
            EventKind::Raised => self.more.raised += 1,
            EventKind::Cleared if row.alarm.withdrawn => self.more.withdrawn += 1,
            EventKind::Cleared => self.more.cleared += 1,
            EventKind::Changed | EventKind::Acknowledged | EventKind::Late => {}
        }
    }

    async fn tell(&mut self, row: &mut Row, now: Micros) -> Result<(), StoreError> {
        let messages = tell::event(self.routes, row, now, &mut self.untold);
        self.send(messages).await
    }

    async fn send(&mut self, messages: Vec<OutboxRow>) -> Result<(), StoreError> {
        for message in messages {
            self.unwritten[usize::from(message.drill)].push(message);
        }
        if self.unwritten.iter().any(|u| u.len() >= UNWRITTEN_MAX) { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let [live, drill] = std::mem::take(&mut self.unwritten);
        let new = self.tables.send(&live).await?;
        self.more.sent += new;
        self.written |= new + self.tables.send(&drill).await? > 0;
        Ok(())
    }

    /// What was held goes out: open alarms as they stand, what rose and fell with the next digest.
    async fn release(&mut self, partition: u32, now: Micros) -> Result<(), StoreError> {
        for mut row in self.tables.held(partition).await? {
            row.held = false;
            self.tell(&mut row, now).await?;
            if tell::rose_and_fell(&row) {
                self.tables.digest_add(&row.alarm.id, now, now + DIGEST_RELEASED).await?;
            }
            self.tables.put(&row).await?;
        }
        Ok(())
    }

    /// Digests whose time has come; old rows go.
    pub async fn flush(&mut self, now: Micros) -> Result<(), StoreError> {
        let rows = self.tables.digest_take(now, now - DIGEST_HELD_MAX, DIGEST_TAKE).await?;
        let messages = tell::digest(self.routes, &rows, now, &mut self.untold);
        self.send(messages).await?;
        self.tables.forget(now - REMEMBER, now - KEEP_DELIVERED, REMOVE).await
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
        let event = NewEvent { kind: EventKind::Acknowledged, rose: false, at: now, by, note };
        self.tables.event(&row, &event).await?;
        outcome("acked")
    }

    /// Ends an alarm by hand: one of firedamp's own, or an orphan.
    pub async fn end(&mut self, id: &str, hand: &Hand<'_>) -> Result<AckOutcome, StoreError> {
        let outcome = |outcome| Ok(AckOutcome { id: id.to_owned(), outcome });
        let Some(row) = self.tables.row(id).await? else { return outcome("gone") };
        if row.alarm.state == AlarmState::Closed {
            return outcome("already");
        }
        let is_own = row.alarm.site == own::SITE;
        if !is_own && !hand.orphans {
            return outcome("active");
        }
        let (by, note) = (hand.by, hand.note);
        let reason = format!("closed by {by}{}{note}", if note.is_empty() { "" } else { ": " });
        let what = row.alarm.rule.strip_prefix("firedamp/").unwrap_or(&row.alarm.rule).to_owned();
        let off =
            OwnAlarm { what, key: row.alarm.point.clone(), severity: row.alarm.severity, reason, on: false };
        for (name, level) in &row.levels {
            let seq = self.tables.last_seq().await? + 1;
            let t = Transition {
                rule: row.alarm.rule.clone(),
                site: row.alarm.site.clone(),
                point_id: model::PointId(row.point_id),
                level: name.clone(),
                rank: level.rank,
                to: if is_own { To::Off } else { To::Withdrawn },
                marks: row.alarm.marks,
                ..off.transition(seq, hand.now)
            };
            self.take(&t, hand.now, false, by, note).await?;
        }
        outcome("cleared")
    }

    /// The receiver took it.
    pub async fn delivered(&mut self, key: &str, now: Micros) -> Result<(), StoreError> {
        if let Some(row) = self.tables.settle(key, &Settled::Delivered { now }).await?
            && !row.drill
        {
            self.more.delivered += 1;
        }
        Ok(())
    }

    /// The receiver did not take it.
    pub async fn failed(
        &mut self,
        key: &str,
        error: &str,
        next_at: Option<Micros>,
        now: Micros,
    ) -> Result<(), StoreError> {
        let Some(next_at) = next_at else {
            let dead = self.tables.settle(key, &Settled::Dead { error, now }).await?;
            return self.buried(dead.as_slice(), error, now).await;
        };
        self.tables.settle(key, &Settled::Again { error, next_at }).await.map(|_| ())
    }

    /// Gives up what is too old.
    pub async fn expire(
        &mut self,
        receiver: &str,
        created_before: Micros,
        now: Micros,
    ) -> Result<u64, StoreError> {
        let dead = self.tables.expire(receiver, created_before, now).await?;
        self.buried(&dead, "not delivered within its deadline", now).await?;
        Ok(dead.len() as u64)
    }

    /// Dead letters are counted, and are an alarm, unless they told of a receiver's own trouble.
    async fn buried(&mut self, dead: &[OutboxRow], error: &str, now: Micros) -> Result<(), StoreError> {
        self.more.dead += dead.iter().filter(|d| !d.drill).count() as u64;
        let loud = dead.iter().filter(|d| !d.quiet).count();
        let Some(first) = dead.iter().find(|d| !d.quiet) else { return Ok(()) };
        let (name, key) = (&first.receiver, &first.key);
        let what = if loud == 1 {
            format!("message {key} is given up")
        } else {
            format!("{loud} messages are given up, {key} first")
        };
        let reason = format!("receiver `{name}` was not told, {what}: {error}");
        self.own(&OwnAlarm::about_receiver(own::DEAD_LETTER, name, reason, true), now).await.map(|_| ())
    }
}
