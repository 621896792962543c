//! What batches and actions do in one transaction, whatever the tables: alarms, journal, shelves and messages change together or not at all.

use super::{Settled, ShelfKey, Tables, text};
use crate::journal::{Checkpoint, Entry, Head, Signer};
use crate::life::{self, Act, Changed, Class, Row, Step, What, Why};
use crate::tell::{self, Untold};
use crate::{
    AlarmEvent, Counts, EventKind, Happened, OutboxRow, Outcome, OwnAlarm, Places, Routes, StoreError,
    TransitionBatch, own,
};
use model::{AlarmState, Micros, To, Transition};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Transition ids are remembered this long: a rule that is judged again repeats what its snapshot did not cover, minutes.
pub(super) const REMEMBER: Micros = 30 * model::time::DAY;
/// What was delivered is kept this long to be looked at; what was given up stays.
pub(super) const KEEP_DELIVERED: Micros = 30 * model::time::DAY;
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

/// An event to be written.
struct NewEvent<'a> {
    kind: EventKind,
    rose: bool,
    at: Micros,
    by: &'a str,
    note: &'a str,
    detail: String,
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
    /// The newest entry of the journal, once it was asked for.
    head: Option<Head>,
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
            head: None,
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
        let seq = self.head().await?.seq + 1;
        self.take(&alarm.transition(seq, now), now, false, "firedamp", "").await
    }

    async fn head(&mut self) -> Result<Head, StoreError> {
        let head = match self.head {
            Some(head) => head,
            None => self.tables.head().await?,
        };
        self.head = Some(head);
        Ok(head)
    }

    /// Adds an entry to the journal and gives its number.
    async fn append(&mut self, entry: Entry) -> Result<i64, StoreError> {
        let entry = entry.after(self.head().await?);
        self.tables.append(&entry).await?;
        self.head = Some(entry.head());
        Ok(entry.seq)
    }

    async fn event(&mut self, row: &Row, new: NewEvent<'_>) -> Result<i64, StoreError> {
        self.append(Entry {
            alarm_id: row.alarm.id.clone(),
            rose: new.rose,
            detail: new.detail,
            alarm: text(&row.alarm),
            ..entry(new.kind.as_str(), new.by, new.note, new.at)
        })
        .await
    }

    /// Signs the newest entry.
    pub async fn checkpoint(&mut self, signer: &Signer, now: Micros) -> Result<Checkpoint, StoreError> {
        let checkpoint = signer.sign(self.head().await?, now);
        self.send(tell::checkpoint(self.routes.receivers(), &checkpoint, now)).await?;
        let signed = Entry { detail: checkpoint.to_json(), ..entry("signed", "firedamp", "", now) };
        self.append(signed).await?;
        Ok(checkpoint)
    }

    /// Writes down what is about no alarm.
    pub async fn record(&mut self, what: &Happened, now: Micros) -> Result<(), StoreError> {
        let entry = Entry { detail: what.detail.clone(), ..entry(what.event, &what.by, &what.note, now) };
        self.append(entry).await.map(|_| ())
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
        let back = self.shelve(&mut row, new, rose).await?;
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
        let detail = cause(t);
        let seq = self.event(&row, NewEvent { kind, rose, at: now, by, note, detail }).await?;
        if back {
            self.event(&row, NewEvent::of(EventKind::Unshelved, now, by, "it rose")).await?;
        }
        Ok(Some(AlarmEvent { seq, event: kind, alarm: row.alarm, at: now }))
    }

    /// Keeps an alarm that changed on the shelf, or takes it off: what rises was not put aside. Whether it is back.
    async fn shelve(&mut self, row: &mut Row, new: bool, rose: bool) -> Result<bool, StoreError> {
        if new && row.class != Class::Late {
            row.alarm.shelved = self.tables.shelf(shelf_key(row)).await?;
        }
        let Some(shelf) = &row.alarm.shelved else { return Ok(false) };
        let is_worse = if new { row.alarm.severity < shelf.severity } else { rose };
        let is_over = row.alarm.state == AlarmState::Closed;
        if is_worse || (is_over && shelf.one_shot) {
            self.tables.set_shelf(shelf_key(row), None).await?;
        }
        let back = life::unshelved(&row.alarm).filter(|_| is_worse);
        Ok(back.map(|alarm| row.alarm = alarm).is_some())
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
            _ => {}
        }
    }

    /// Nobody is told of what is on the shelf; who was told before hears its end.
    async fn tell(&mut self, row: &mut Row, now: Micros) -> Result<(), StoreError> {
        if row.alarm.is_shelved() {
            return Ok(());
        }
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

    /// Digests and shelves whose time has come; old rows go.
    pub async fn flush(&mut self, now: Micros) -> Result<(), StoreError> {
        for (rule, point_id, class) in self.tables.shelves_over(now, DIGEST_TAKE).await? {
            self.tables.set_shelf((&rule, point_id, class), None).await?;
            if let Some(mut row) = self.tables.active(&rule, point_id, class).await? {
                let by = NewEvent::of(EventKind::Unshelved, now, "firedamp", "its time is over");
                self.unshelve(&mut row, by).await?;
            }
        }
        let rows = self.tables.digest_take(now, now - DIGEST_HELD_MAX, DIGEST_TAKE).await?;
        let messages = tell::digest(self.routes, &rows, now, &mut self.untold);
        self.send(messages).await?;
        self.tables.forget(now - REMEMBER, now - KEEP_DELIVERED, REMOVE).await
    }

    /// Back from the shelf, and told as it stands now.
    async fn unshelve(&mut self, row: &mut Row, event: NewEvent<'_>) -> Result<(), StoreError> {
        let Some(alarm) = life::unshelved(&row.alarm) else { return Ok(()) };
        row.alarm = alarm;
        if !row.held {
            self.tell(row, event.at).await?;
        }
        self.tables.put(row).await?;
        self.event(row, event).await.map(|_| ())
    }

    /// Somebody does something with alarms.
    pub async fn act_all(
        &mut self,
        ids: &[String],
        act: &Act,
        now: Micros,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut out = Vec::with_capacity(ids.len());
        for id in ids {
            out.push(self.act(id, act, now).await?);
        }
        Ok(out)
    }

    async fn act(&mut self, id: &str, act: &Act, now: Micros) -> Result<Outcome, StoreError> {
        let outcome = |outcome| Ok(Outcome { id: id.to_owned(), outcome });
        let Some(mut row) = self.tables.row(id).await? else { return outcome("gone") };
        if matches!(act.what, What::Clear | What::Withdraw) {
            return outcome(self.end(&row, act, now).await?);
        }
        let (alarm, kind) = match life::act(&row.alarm, act, now) {
            Ok(acted) => acted,
            Err(why) => return outcome(why),
        };
        if let Some(seq) = act.seen_seq
            && self.tables.rose_after(id, seq).await?
        {
            return outcome("changed");
        }
        let event = NewEvent { detail: act.detail(), ..NewEvent::of(kind, now, &act.by, &act.note) };
        if act.what == What::Unshelve {
            self.tables.set_shelf(shelf_key(&row), None).await?;
            self.unshelve(&mut row, event).await?;
            return outcome(act.done());
        }
        row.alarm = alarm;
        if matches!(act.what, What::Shelve { .. }) {
            self.tables.set_shelf(shelf_key(&row), row.alarm.shelved.as_ref()).await?;
        }
        self.tables.put(&row).await?;
        self.event(&row, event).await?;
        outcome(act.done())
    }

    /// Ends an alarm by hand: one of firedamp's own, or an orphan.
    async fn end(&mut self, row: &Row, act: &Act, now: Micros) -> Result<&'static str, StoreError> {
        if row.alarm.state == AlarmState::Closed {
            return Ok("already");
        }
        let is_own = row.alarm.site == own::SITE;
        if !is_own && act.what != What::Withdraw {
            return Ok("active");
        }
        let (by, note) = (&act.by, &act.note);
        let reason = format!("closed by {by}{}{note}", if note.is_empty() { "" } else { ": " });
        let what = row.alarm.rule.strip_prefix("firedamp/").unwrap_or(&row.alarm.rule).to_owned();
        let off =
            OwnAlarm { what, key: row.alarm.point.clone(), severity: row.alarm.severity, reason, on: false };
        for (name, level) in &row.levels {
            let seq = self.head().await?.seq + 1;
            let t = Transition {
                rule: row.alarm.rule.clone(),
                site: row.alarm.site.clone(),
                point_id: model::PointId(row.point_id),
                level: name.clone(),
                rank: level.rank,
                to: if is_own { To::Off } else { To::Withdrawn },
                marks: row.alarm.marks,
                ..off.transition(seq, now)
            };
            self.take(&t, now, false, by, note).await?;
        }
        Ok(act.done())
    }

    /// The receiver took it.
    pub async fn delivered(&mut self, key: &str, now: Micros) -> Result<(), StoreError> {
        let Some(row) = self.tables.settle(key, &Settled::Delivered { now }).await? else { return Ok(()) };
        self.more.delivered += u64::from(!row.drill);
        self.tried(&row, "delivered", "", now).await
    }

    /// Writes down what became of a try.
    async fn tried(
        &mut self,
        message: &OutboxRow,
        event: &str,
        error: &str,
        now: Micros,
    ) -> Result<(), StoreError> {
        let OutboxRow { key, attempts, body, .. } = message;
        let content = hex::encode(Sha256::digest(body));
        let detail = json!({ "key": key, "attempts": attempts, "sha256": content }).to_string();
        let by = &message.receiver;
        let entry = Entry { alarm_id: message.alarm.clone(), detail, ..entry(event, by, error, now) };
        self.append(entry).await.map(|_| ())
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
        let again = self.tables.settle(key, &Settled::Again { error, next_at }).await?;
        match again {
            Some(message) => self.tried(&message, "failed", error, now).await,
            None => Ok(()),
        }
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
        for message in dead {
            self.tried(message, "given_up", error, now).await?;
        }
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

impl<'a> NewEvent<'a> {
    fn of(kind: EventKind, at: Micros, by: &'a str, note: &'a str) -> Self {
        Self { kind, rose: false, at, by, note, detail: String::new() }
    }
}

/// An entry that is about no alarm and not yet chained.
fn entry(event: &str, by: &str, note: &str, at: Micros) -> Entry {
    let [event, by, note] = [event, by, note].map(str::to_owned);
    let [alarm_id, detail, alarm] = [(); 3].map(|()| String::new());
    Entry { seq: 0, at, event, alarm_id, rose: false, by, note, detail, alarm, hash: [0; 32] }
}

fn shelf_key(row: &Row) -> ShelfKey<'_> {
    (&row.alarm.rule, row.point_id, row.class)
}

/// What makes a step of an alarm traceable: the transition, the version of the rules, and the record that decided.
fn cause(t: &Transition) -> String {
    json!({
        "transition": t.id.to_string(), "level": t.level, "to": t.to.as_str(), "value": t.value, "version": t.version,
        "partition": t.offset.partition, "offset": t.offset.number,
    })
    .to_string()
}
