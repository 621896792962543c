//! Where alarms lie. What a batch does is decided once ([`Work`]), over a few reads and writes ([`Tables`]) that databases and memory
//! each provide inside one transaction.

use crate::flood::Flood;
use crate::journal::{Entry, Head};
use crate::life::{Class, Row};
use crate::{Counts, OnShelf, OutboxRow, Routes, StoreError};
use async_trait::async_trait;
use model::Micros;
use std::collections::BTreeMap;
use std::sync::Arc;

pub mod conformance;
mod memory;
mod sql;
mod work;

pub use memory::{MemoryStore, Mistake};
pub use sql::{SqlJournal, SqlStore};
pub use work::DIGEST_LATE;
use work::{KEEP_DELIVERED, REMEMBER, Work};

/// The reads and writes of one transaction.
#[async_trait]
pub(crate) trait Tables: Send {
    async fn position(&mut self, partition: u32) -> Result<u64, StoreError>;
    async fn set_position(&mut self, partition: u32, next: u64, held: bool) -> Result<(), StoreError>;
    /// Remembers ids; false for each that was there.
    async fn remember(&mut self, ids: &[String], at: Micros) -> Result<Vec<bool>, StoreError>;
    /// Removes at most `limit` of each: ids remembered before, messages delivered before.
    async fn forget(
        &mut self,
        ids_before: Micros,
        delivered_before: Micros,
        limit: i64,
    ) -> Result<(), StoreError>;
    /// What is active of these.
    async fn active(&mut self, keys: &[ShelfKey]) -> Result<Vec<Row>, StoreError>;
    async fn row(&mut self, id: &str) -> Result<Option<Row>, StoreError>;
    /// Alarms whose clock has come to its next time, but of partitions that are held: whether these are still on is not known.
    async fn due(&mut self, now: Micros, limit: usize) -> Result<Vec<Row>, StoreError>;
    /// Starts the clock of an alarm that would start later.
    async fn start_clock(&mut self, id: &str, now: Micros) -> Result<(), StoreError>;
    /// All clocks are to be looked at.
    async fn look_at_clocks(&mut self, now: Micros) -> Result<(), StoreError>;
    async fn held(&mut self, partition: u32) -> Result<Vec<Row>, StoreError>;
    /// Keeps alarms, each of them once, with [`Row::alarm`] as [`text`].
    async fn put(&mut self, rows: &[(Arc<Row>, String)]) -> Result<(), StoreError>;
    /// The newest entry of the journal.
    async fn head(&mut self) -> Result<Head, StoreError>;
    /// Adds entries that are chained to the newest.
    async fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError>;
    /// All that is on the shelf: few.
    async fn shelves(&mut self) -> Result<Shelves, StoreError>;
    /// Puts it on the shelf, or takes it off.
    async fn set_shelf(&mut self, key: &ShelfKey, shelf: Option<&OnShelf>) -> Result<(), StoreError>;
    async fn rose_after(&mut self, id: &str, seq: i64) -> Result<bool, StoreError>;
    /// Adds messages in their order; one whose key is there changes nothing. Gives how many are new.
    async fn send(&mut self, messages: &[OutboxRow]) -> Result<u64, StoreError>;
    /// How much each receiver was told lately.
    async fn floods(&mut self) -> Result<Vec<(String, Flood)>, StoreError>;
    async fn set_flood(&mut self, receiver: &str, flood: &Flood) -> Result<(), StoreError>;
    /// Puts alarms on the lists of receivers, by receiver and id; one that is there stays once.
    async fn list(&mut self, listed: &[(String, String)]) -> Result<(), StoreError>;
    /// Takes what is on the list of a receiver.
    async fn listed_take(&mut self, receiver: &str, limit: usize) -> Result<Vec<Row>, StoreError>;
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

/// Rule, point id and class: what a shelf is of.
pub(crate) type ShelfKey = (String, i64, Class);

/// What is on the shelf.
pub(crate) type Shelves = BTreeMap<ShelfKey, OnShelf>;

/// Clocks were looked at by these routes at this time.
#[derive(Clone, Debug)]
struct Looked {
    routes: Arc<Routes>,
    at: Micros,
}

impl Looked {
    /// Whether all clocks are to be looked at: for the first time, by other routes than before, or since the wall clock went back.
    fn is_due(before: Option<&Self>, routes: &Arc<Routes>, now: Micros) -> bool {
        before.is_none_or(|b| !Arc::ptr_eq(&b.routes, routes) || now < b.at)
    }
}

/// Tries after which a message that nobody takes keeps no order with lists any more.
const TRIED: u32 = 3;

/// What became of a try.
pub(crate) enum Settled<'a> {
    Delivered { now: Micros },
    Again { error: &'a str, next_at: Micros },
    Dead { error: &'a str, now: Micros },
}

/// As alarms are stored.
fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("alarms are plain data with text keys")
}
