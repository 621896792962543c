//! The alarm store in memory: the model. What a transaction did is kept as a whole or not at all; [`MemoryStore::crash`] ends
//! the simulated process, what was committed stays.

use super::{Looked, Shelves, TRIED, Work, text};
use crate::flood::Flood;
use crate::journal::{Checkpoint, Entry, Head, Journal, NOTHING, Signer};
use crate::life::Row;
use crate::receiver::Receiver;
use crate::tell::LIST;
use crate::*;
use model::AlarmState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

mod tables;

/// A planted mistake, so that a test can show that it would be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// A transition id seen before is taken again.
    ForgetsIds,
    /// Alarms are committed first and the outbox in a second step.
    OutboxOutside,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SentState {
    Pending,
    Delivered(Micros),
    Dead,
}

#[derive(Clone, Debug)]
struct Sent {
    row: OutboxRow,
    state: SentState,
}

/// An alarm and its number in the order of coming.
type Numbered = (u64, Arc<Row>);

#[derive(Clone, Default, Debug)]
struct State {
    rows: BTreeMap<String, Numbered>,
    remembered: HashMap<String, Micros>,
    journal: Vec<Arc<Entry>>,
    shelves: Shelves,
    outbox: Vec<Arc<Sent>>,
    digest: BTreeMap<String, (Micros, Micros)>,
    floods: BTreeMap<String, Flood>,
    listed: BTreeSet<(String, String)>,
    positions: HashMap<u32, (u64, bool)>,
    totals: Counts,
    mistake: Option<Mistake>,
    later: Vec<OutboxRow>,
    looked: Option<Looked>,
}

/// Alarms in memory; clones are the same store, as processes share a database.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    routes: RoutesInForce,
    places: Arc<dyn Places>,
    state: Arc<Mutex<State>>,
    /// One writer: a transaction works on a copy, and no other may come between.
    writer: Arc<tokio::sync::Mutex<()>>,
    changed: watch::Sender<u64>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(receivers: Vec<Receiver>) -> Self {
        let (places, changed) = (Arc::new(NoPlaces), watch::Sender::new(0));
        Self {
            routes: RoutesInForce::new(Arc::new(Routes::of_receivers(receivers))),
            places,
            state: Arc::default(),
            writer: Arc::default(),
            changed,
        }
    }

    /// Writes names and regions of `places` into alarms that open from now on.
    #[must_use]
    pub fn with_places(self, places: Arc<dyn Places>) -> Self {
        Self { places, ..self }
    }

    /// With routes that may be replaced, instead of the receivers' own keys.
    #[must_use]
    pub fn with_routes(self, routes: RoutesInForce) -> Self {
        Self { routes, ..self }
    }

    /// Plants a mistake.
    pub fn plant(&self, mistake: Mistake) {
        self.lock().mistake = Some(mistake);
    }

    /// The process ends: what was not committed is gone.
    pub fn crash(&self) {
        let mut state = self.lock();
        (state.later, state.looked) = (Vec::new(), None);
    }

    /// The second step of the planted outbox outside the transaction.
    async fn late_outbox(&self) {
        let _writer = self.writer.lock().await;
        let mut state = self.lock();
        let later = std::mem::take(&mut state.later);
        state.outbox.extend(later.into_iter().map(|row| Arc::new(Sent { row, state: SentState::Pending })));
        drop(state); // whoever is woken reads it
        self.changed.send_modify(|n| *n += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Runs a transaction: on a copy, which replaces the state when it succeeds.
    async fn transact<R>(
        &self,
        work: impl AsyncFnOnce(&mut Work<'_, State>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let _writer = self.writer.lock().await;
        let mut copy = self.lock().clone();
        let routes = self.routes.get();
        let mut todo = Work::new(&mut copy, &routes, &*self.places);
        let result = work(&mut todo).await?;
        todo.finish().await?;
        let written = todo.written;
        *self.lock() = copy;
        if written {
            self.changed.send_modify(|n| *n += 1);
        }
        Ok(result)
    }
}

fn event_of(entry: &Entry) -> Result<AlarmEvent, StoreError> {
    let wrong = |e: serde_json::Error| StoreError::Format(e.to_string());
    let event = serde_json::from_str(&format!("\"{}\"", entry.event)).map_err(wrong)?;
    let alarm = serde_json::from_str(&entry.alarm).map_err(wrong)?;
    Ok(AlarmEvent { seq: entry.seq, event, alarm, at: entry.at })
}

/// Order of the list, the first first.
fn listed((n, row): &Numbered) -> (bool, Micros, u64) {
    (row.alarm.state != AlarmState::Active, -row.alarm.opened, u64::MAX - n)
}

#[async_trait]
impl Journal for MemoryStore {
    async fn journal(&self, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let state = self.lock();
        let after = state.journal.iter().skip(usize::try_from(after).unwrap_or(0));
        Ok(after.take(limit).map(|entry| (**entry).clone()).collect())
    }

    async fn unlike_journal(&self) -> Result<Option<(String, i64)>, StoreError> {
        let state = self.lock();
        let mut newest: BTreeMap<&str, &Entry> = BTreeMap::new();
        newest.extend(state.journal.iter().filter(|e| !e.alarm.is_empty()).map(|e| (&*e.alarm_id, &**e)));
        let of = |id: &str| state.rows.get(id).map(|(_, row)| text(&row.alarm));
        let unlike = newest.iter().find(|(id, entry)| of(id).as_ref() != Some(&entry.alarm));
        let lacking = || state.rows.keys().find(|id| !newest.contains_key(id.as_str()));
        let unlike = unlike.map(|(id, entry)| ((*id).to_owned(), entry.seq));
        Ok(unlike.or_else(|| lacking().map(|id| (id.clone(), 0))))
    }
}

#[async_trait]
impl AlarmStore for MemoryStore {
    async fn position(&self, partition: u32) -> Result<u64, StoreError> {
        Ok(self.lock().positions.get(&partition).map_or(0, |(next, _)| *next))
    }

    async fn apply(&self, batch: TransitionBatch) -> Result<Vec<AlarmEvent>, StoreError> {
        let events = self.transact(async |work| work.apply(&batch).await).await?;
        if self.lock().mistake == Some(Mistake::OutboxOutside) {
            // Long enough that a process can die in between.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            self.late_outbox().await;
        }
        Ok(events)
    }

    async fn act(&self, ids: &[String], act: &Act, now: Micros) -> Result<Vec<Outcome>, StoreError> {
        self.transact(async |work| work.act_all(ids, act, now).await).await
    }

    async fn record(&self, happened: Happened, now: Micros) -> Result<(), StoreError> {
        self.transact(async |work| work.record(&happened, now).await).await
    }

    async fn checkpoint(&self, signer: &Signer, now: Micros) -> Result<Checkpoint, StoreError> {
        self.transact(async |work| work.checkpoint(signer, now).await).await
    }

    async fn history(&self, id: &str) -> Result<Vec<Entry>, StoreError> {
        let state = self.lock();
        Ok(state.journal.iter().filter(|e| e.alarm_id == id).map(|entry| (**entry).clone()).collect())
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.lock().journal.last().map_or(NOTHING, |entry| entry.head()))
    }

    async fn shelved(&self) -> Result<Vec<OnShelf>, StoreError> {
        let mut all: Vec<OnShelf> = self.lock().shelves.values().cloned().collect();
        all.sort_by_key(|shelf| shelf.shelved.until);
        Ok(all)
    }

    async fn list(&self, filter: &AlarmFilter) -> Result<Vec<Alarm>, StoreError> {
        let state = self.lock();
        let after = match &filter.after {
            None => None,
            Some(id) => match state.rows.get(id) {
                Some(row) => Some(listed(row)),
                None => return Ok(Vec::new()),
            },
        };
        let wanted = |row: &&Numbered| {
            let a = &row.1.alarm;
            (filter.all || a.state == AlarmState::Active)
                && filter.site.as_ref().is_none_or(|s| *s == a.site)
                && filter.severity.is_none_or(|s| s == a.severity)
                && filter.region.as_ref().is_none_or(|r| a.place.region.starts_with(r))
                && after.is_none_or(|after| listed(row) > after)
        };
        let mut rows: Vec<&Numbered> = state.rows.values().filter(wanted).collect();
        rows.sort_by_key(|row| listed(row));
        Ok(rows.into_iter().take(filter.limit).map(|(_, row)| row.alarm.clone()).collect())
    }

    async fn get(&self, id: &str) -> Result<Option<Alarm>, StoreError> {
        let state = self.lock();
        let mut begin = state.rows.iter().filter(|(other, _)| other.starts_with(id));
        let one = begin.next().filter(|_| id.len() >= ID_DIGITS_MIN && begin.next().is_none());
        Ok(one.map(|(_, (_, row))| row.alarm.clone()))
    }

    async fn events_after(&self, seq: i64, limit: usize) -> Result<Vec<AlarmEvent>, StoreError> {
        let state = self.lock();
        let after = state.journal.iter().skip(usize::try_from(seq).unwrap_or(0));
        after.filter(|entry| !entry.alarm.is_empty()).take(limit).map(|entry| event_of(entry)).collect()
    }

    async fn raise_own(&self, alarm: OwnAlarm, now: Micros) -> Result<(), StoreError> {
        self.transact(async |work| work.own(&alarm, now).await).await.map(|_| ())
    }

    async fn outbox_due(
        &self,
        receiver: &str,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let state = self.lock();
        // Alarms that have an earlier message, and those that have one that was not tried in vain.
        let (mut before, mut fresh): (HashSet<&str>, HashSet<&str>) = Default::default();
        let mut out = Vec::new();
        for sent in
            state.outbox.iter().filter(|s| s.state == SentState::Pending && s.row.receiver == receiver)
        {
            let alarm = sent.row.alarm.as_str();
            let waits =
                before.contains(alarm) || fresh.contains(LIST) || (alarm == LIST && !fresh.is_empty());
            before.insert(alarm);
            if sent.row.attempts < TRIED {
                fresh.insert(alarm);
            }
            if (alarm.is_empty() || !waits) && sent.row.next_at <= now && out.len() < limit {
                out.push(sent.row.clone());
            }
        }
        Ok(out)
    }

    async fn delivered(&self, key: &str, now: Micros) -> Result<(), StoreError> {
        self.transact(async |work| work.delivered(key, now).await).await
    }

    async fn failed(
        &self,
        key: &str,
        error: &str,
        next_at: Option<Micros>,
        now: Micros,
    ) -> Result<(), StoreError> {
        self.transact(async |work| work.failed(key, error, next_at, now).await).await
    }

    async fn expire(&self, receiver: &str, created_before: Micros, now: Micros) -> Result<u64, StoreError> {
        self.transact(async |work| work.expire(receiver, created_before, now).await).await
    }

    async fn revive(&self, receiver: &str, now: Micros) -> Result<(), StoreError> {
        let _writer = self.writer.lock().await;
        for sent in &mut self.lock().outbox {
            if sent.state == SentState::Pending && sent.row.receiver == receiver && sent.row.next_at > now {
                Arc::make_mut(sent).row.next_at = now;
            }
        }
        self.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    async fn flush(&self, now: Micros) -> Result<(), StoreError> {
        let routes = self.routes.get();
        let anew = Looked::is_due(self.lock().looked.as_ref(), &routes, now);
        self.transact(async |work| work.flush(now, anew).await).await?;
        self.lock().looked = Some(Looked { routes, at: now });
        Ok(())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let mut by: BTreeMap<String, Backlog> = BTreeMap::new();
        for sent in self.lock().outbox.iter().filter(|s| s.state == SentState::Pending) {
            let (receiver, oldest) = (sent.row.receiver.clone(), sent.row.created);
            let entry = by.entry(receiver.clone()).or_insert(Backlog { receiver, pending: 0, oldest });
            entry.pending += 1;
            entry.oldest = entry.oldest.min(oldest);
        }
        Ok(by.into_values().collect())
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let totals = self.lock().totals;
        Ok(Counts { pending: totals.sent.saturating_sub(totals.delivered + totals.dead), ..totals })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
