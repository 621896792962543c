//! What batches and actions do in one transaction, whatever the tables: alarms, journal, shelves and messages change together or not at all.

use super::{ShelfKey, Shelves, Tables, text};
use crate::flood::Floods;
use crate::journal::{Checkpoint, Entry, Head, Signer};
use crate::life::{self, Changed, Class, Row, Step, Why};
use crate::tell::{self, Untold};
use crate::{
    AlarmEvent, Counts, EventKind, Happened, OnShelf, OutboxRow, OwnAlarm, Places, Routes, StoreError,
    TransitionBatch, own,
};
use model::{AlarmState, Micros, Transition};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

mod acting;
mod sending;
mod telling;

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
/// Transitions of one batch that are asked and written for together.
const TOGETHER: usize = 512;
/// Alarms one flush presses for; the next one takes more.
const PRESS_TAKE: usize = 1_000;
/// A clock starts with the first delivery, and at the latest so long after: a receiver that does not answer does not stop it.
pub const CLOCK_LATEST: Micros = model::time::MINUTE;
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

/// What a transaction has decided and not yet written: many rows go in one statement.
#[derive(Default)]
struct Unwritten {
    /// Alarms as they stand, each once, in the order they came.
    rows: Vec<(Arc<Row>, String)>,
    /// Where each of them is, by id.
    by_id: HashMap<String, usize>,
    entries: Vec<Entry>,
    /// Drills apart.
    messages: [Vec<OutboxRow>; 2],
}

impl Unwritten {
    fn put(&mut self, row: Arc<Row>, alarm: String) {
        match self.by_id.get(&row.alarm.id) {
            Some(n) => self.rows[*n] = (row, alarm),
            None => {
                self.by_id.insert(row.alarm.id.clone(), self.rows.len());
                self.rows.push((row, alarm));
            }
        }
    }

    fn row(&self, id: &str) -> Option<Row> {
        self.by_id.get(id).map(|n| Row::clone(&self.rows[*n].0))
    }

    fn is_full(&self) -> bool {
        self.rows.len().max(self.entries.len()) >= TOGETHER
            || self.messages.iter().any(|m| m.len() >= TOGETHER)
    }
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
    /// What is on the shelf, once it was asked for.
    shelves: Option<Shelves>,
    /// What is active of rules and points that were asked for.
    known: HashMap<ShelfKey, Option<Arc<Row>>>,
    /// How much each receiver was told lately, once somebody is told.
    floods: Option<Floods>,
    unwritten: Unwritten,
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
            shelves: None,
            known: HashMap::new(),
            floods: None,
            unwritten: Unwritten::default(),
        }
    }

    /// The last write of every transaction.
    pub async fn finish(&mut self) -> Result<(), StoreError> {
        self.write().await?;
        for (receiver, flood) in self.floods.as_mut().map(Floods::changed).unwrap_or_default() {
            self.tables.set_flood(&receiver, &flood).await?;
        }
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
            for some in batch.transitions.chunks(TOGETHER) {
                events.extend(self.transitions(some, batch.now, batch.hold).await?);
            }
        }
        self.tables.set_position(batch.partition, batch.next.max(known), batch.hold).await?;
        Ok(events)
    }

    /// One of firedamp's own alarms; no position moves, and nothing repeats it, so its id needs not to be remembered.
    pub async fn own(&mut self, alarm: &OwnAlarm, now: Micros) -> Result<Option<AlarmEvent>, StoreError> {
        let seq = self.head().await?.seq + 1;
        let alarm = OwnAlarm { reason: plain(&alarm.reason), ..alarm.clone() };
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

    async fn shelves(&mut self) -> Result<&Shelves, StoreError> {
        if self.shelves.is_none() {
            self.shelves = Some(self.tables.shelves().await?);
        }
        Ok(self.shelves.get_or_insert_default())
    }

    async fn set_shelf(&mut self, key: ShelfKey, shelf: Option<OnShelf>) -> Result<(), StoreError> {
        self.tables.set_shelf(&key, shelf.as_ref()).await?;
        self.shelves().await?;
        let shelves = self.shelves.get_or_insert_default();
        match shelf {
            Some(shelf) => shelves.insert(key, shelf),
            None => shelves.remove(&key),
        };
        Ok(())
    }

    /// Adds an entry to the journal and gives its number.
    async fn append(&mut self, entry: Entry) -> Result<i64, StoreError> {
        let entry = entry.after(self.head().await?);
        let head = entry.head();
        self.head = Some(head);
        self.unwritten.entries.push(entry);
        Ok(head.seq)
    }

    /// Keeps an alarm as it is after these events, and gives the number of the first.
    async fn keep(&mut self, row: &Row, new: Vec<NewEvent<'_>>) -> Result<i64, StoreError> {
        let row = Row { clock: row.clock.filter(|_| row.is_waiting()), ..row.clone() };
        let alarm = text(&row.alarm);
        let first = self.head().await?.seq + 1;
        for NewEvent { kind, rose, at, by, note, detail } in new {
            let (alarm_id, alarm) = (row.alarm.id.clone(), alarm.clone());
            self.append(Entry { alarm_id, rose, detail, alarm, ..entry(kind.as_str(), by, note, at) })
                .await?;
        }
        let row = Arc::new(row);
        let (key, is_active) = (shelf_key(&row), row.alarm.state == AlarmState::Active);
        // One that is over may be changed while another of its rule and point is active.
        let was = |known: &Option<Arc<Row>>| known.as_ref().is_some_and(|k| k.alarm.id == row.alarm.id);
        if is_active || self.known.get(&key).is_some_and(was) {
            self.known.insert(key, is_active.then(|| row.clone()));
        }
        self.unwritten.put(row, alarm);
        self.write_some().await?;
        Ok(first)
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

    /// Some transitions of a batch: what is asked of the tables for each is asked for all at once.
    async fn transitions(
        &mut self,
        some: &[Transition],
        now: Micros,
        hold: bool,
    ) -> Result<Vec<AlarmEvent>, StoreError> {
        let ids: Vec<String> = some.iter().map(|t| t.id.to_string()).collect();
        let new = self.tables.remember(&ids, now).await?;
        let keys = some.iter().map(|t| (t.rule.clone(), t.point_id.0, Class::of(&t.marks)));
        self.know(keys.collect()).await?;
        let mut events = Vec::new();
        for (t, is_new) in some.iter().zip(new) {
            if is_new {
                events.extend(self.take(t, now, hold, "rules", "").await?);
            } else {
                self.did.push(Why::Repeated);
            }
        }
        Ok(events)
    }

    /// Asks what is active of these, all at once. A late-found episode is never active.
    async fn know(&mut self, keys: BTreeSet<ShelfKey>) -> Result<(), StoreError> {
        // What was known is written, so that it can be asked for again: a transaction keeps no more than some.
        self.write().await?;
        self.known.clear();
        let keys: Vec<ShelfKey> = keys.into_iter().filter(|(_, _, class)| *class != Class::Late).collect();
        let rows = self.tables.active(&keys).await?;
        self.known.extend(keys.into_iter().map(|key| (key, None)));
        self.known.extend(rows.into_iter().map(|row| (shelf_key(&row), Some(Arc::new(row)))));
        Ok(())
    }

    async fn active(&mut self, key: &ShelfKey) -> Result<Option<Row>, StoreError> {
        if let Some(known) = self.known.get(key) {
            return Ok(known.as_deref().cloned());
        }
        let row = self.tables.active(std::slice::from_ref(key)).await?.pop();
        self.known.insert(key.clone(), row.clone().map(Arc::new));
        Ok(row)
    }

    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError> {
        match self.unwritten.row(id) {
            Some(row) => Ok(Some(row)),
            None => self.tables.row(id).await,
        }
    }

    /// Whether the alarm rose after this entry.
    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError> {
        let rose = |e: &Entry| e.rose && e.seq > seq && e.alarm_id == id;
        Ok(self.unwritten.entries.iter().any(rose) || self.tables.rose_after(id, seq).await?)
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
            self.active(&(t.rule.clone(), t.point_id.0, class)).await?
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
        let back = self.shelve(&mut row, new, rose, now).await?;
        self.count(&row, kind);
        if hold {
            row.held = class != Class::Late;
        } else {
            self.tell(&mut row, t.decided, now).await?;
        }
        if class == Class::Late && row.is_real() {
            self.tables.digest_add(&row.alarm.id, now, now + DIGEST_LATE).await?;
        }
        let event = NewEvent { kind, rose, at: now, by, note, detail: cause(t) };
        let back = back.then(|| NewEvent::of(EventKind::Unshelved, now, by, "it rose"));
        let seq = self.keep(&row, std::iter::once(event).chain(back).collect()).await?;
        Ok(Some(AlarmEvent { seq, event: kind, alarm: row.alarm, at: now }))
    }

    /// Keeps an alarm that changed on the shelf, or takes it off: what rises was not put aside. Whether it is back.
    async fn shelve(
        &mut self,
        row: &mut Row,
        new: bool,
        rose: bool,
        now: Micros,
    ) -> Result<bool, StoreError> {
        if new && row.class != Class::Late {
            let key = shelf_key(row);
            // One whose time is over holds nothing, though nobody has taken it away yet.
            let shelf = self.shelves().await?.get(&key).filter(|shelf| shelf.shelved.until > now);
            row.alarm.shelved = shelf.map(|shelf| shelf.shelved.clone());
        }
        let Some(shelf) = &row.alarm.shelved else { return Ok(false) };
        let is_real = !row.alarm.marks.calibrating;
        let opens_worse = is_real && (row.alarm.severity < shelf.severity || shelf.calibrating);
        let is_worse = if new { opens_worse } else { rose };
        let is_over = row.alarm.state == AlarmState::Closed;
        if is_worse || (is_over && shelf.one_shot) {
            self.set_shelf(shelf_key(row), None).await?;
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

    /// Writes once enough has come together.
    async fn write_some(&mut self) -> Result<(), StoreError> {
        if self.unwritten.is_full() { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let Unwritten { rows, entries, messages: [live, drill], .. } = std::mem::take(&mut self.unwritten);
        self.tables.put(&rows).await?;
        self.tables.append(&entries).await?;
        let listed = self.floods.as_mut().map(|f| std::mem::take(&mut f.listed)).unwrap_or_default();
        self.tables.list(&listed).await?;
        let new = self.tables.send(&live).await?;
        self.more.sent += new;
        self.written |= new + self.tables.send(&drill).await? > 0;
        Ok(())
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

/// What a receiver answers may hold a NUL, which PostgreSQL takes in no text and reads in no JSON.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn shelf_key(row: &Row) -> ShelfKey {
    (row.alarm.rule.clone(), row.point_id, row.class)
}

/// What makes a step of an alarm traceable: the transition, the version of the rules, and the record that decided.
fn cause(t: &Transition) -> String {
    json!({
        "transition": t.id.to_string(), "level": t.level, "to": t.to.as_str(), "value": t.value, "version": t.version,
        "partition": t.offset.partition, "offset": t.offset.number,
    })
    .to_string()
}
