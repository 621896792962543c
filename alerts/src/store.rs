//! Where alarms lie. What a batch does is decided once ([`Work`]), over a few reads and writes ([`Tables`]) that SQLite and memory
//! each provide inside one transaction.

use crate::journal::{Entry, Head};
use crate::life::{Class, Row};
use crate::{Counts, OutboxRow, StoreError};
use async_trait::async_trait;
use model::{Micros, Shelved};

pub mod conformance;
mod memory;
mod sqlite;
mod work;

pub use memory::{MemoryStore, Mistake};
pub use sqlite::SqliteStore;
pub use work::DIGEST_LATE;
use work::{KEEP_DELIVERED, REMEMBER, Work};

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
    /// The newest entry of the journal.
    async fn head(&mut self) -> Result<Head, StoreError>;
    /// Adds an entry that is chained to the newest.
    async fn append(&mut self, entry: &Entry) -> Result<(), StoreError>;
    async fn shelf(&mut self, key: ShelfKey<'_>) -> Result<Option<Shelved>, StoreError>;
    /// Puts it on the shelf, or takes it off.
    async fn set_shelf(&mut self, key: ShelfKey<'_>, shelf: Option<&Shelved>) -> Result<(), StoreError>;
    /// What has been on the shelf for its time.
    async fn shelves_over(
        &mut self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<(String, i64, Class)>, StoreError>;
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

/// Rule, point id and class: what a shelf is of.
pub(crate) type ShelfKey<'a> = (&'a str, i64, Class);

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
