//! Alarms: from transitions to a bureau that was told. One writer, one transaction a batch, an outbox in the same transaction.
//!
//! - [`life`]: the pure state machines: alarm × transition -> alarm, event, reason; alarm × what a person does -> the same.
//! - [`journal`]: every event in a chain of hashes, and what proves that nothing in it was changed.
//! - [`store`]: where alarms, events and outbox lie: SQLite or PostgreSQL ([`SqlStore`]), or memory ([`MemoryStore`], the model), one
//!   [`conformance`] suite for both.
//! - [`route`]: the tree that decides who is told, and rosters of people on duty.
//! - [`tell`]: who is told what, and the rendered bytes: one content a key, forever.
//! - [`Dispatcher`]: sends the outbox, one task a receiver, with back-off, deadline and dead letters.
//!
//! An alarm is one (rule, point) from its first level to the end of its last. A transition id seen before changes nothing, so a
//! replay is harmless. What is decided while calibrating is recorded and not told; what is late is recorded as a closed
//! episode and told in a digest; what is simulated goes to drill receivers only. While the rules catch up nothing is told;
//! then open alarms go out as they stand, and what rose and fell meanwhile as one digest.

mod catch_up;
mod dispatcher;
mod flood;
pub mod journal;
pub mod life;
mod metrics;
pub mod notifiers;
mod own;
mod places;
mod receiver;
pub mod route;
pub mod store;
pub mod tell;

pub use catch_up::CatchUp;
pub use dispatcher::{Dispatcher, ReceiverError, Way};
pub use life::{Act, What};
pub use notifiers::{Message, Notifier, SendError, Settings};
pub use own::OwnAlarm;
pub use places::{NoPlaces, Places};
pub use receiver::{Receiver, receiver_keys};
pub use route::{Routes, RoutesInForce};
pub use store::conformance;
pub use store::{MemoryStore, SqlJournal, SqlStore};

use async_trait::async_trait;
use journal::{Checkpoint, Entry, Head, Journal, Signer};
use model::{Alarm, Micros, Severity, Shelved, Transition};
use serde::Serialize;
use tokio::sync::watch;

/// Transitions of one partition, in order, and where its reader stands after them.
#[derive(Clone, Debug)]
pub struct TransitionBatch {
    /// Partition of the log.
    pub partition: u32,
    /// The offset read next.
    pub next: u64,
    /// What was decided.
    pub transitions: Vec<Transition>,
    /// Wall time.
    pub now: Micros,
    /// The rules are catching up: record, tell later.
    pub hold: bool,
}

/// What happened to an alarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It opened.
    Raised,
    /// A level went on or off, or it turned out real.
    Changed,
    /// All its levels are off.
    Cleared,
    /// Somebody acknowledged it.
    Acknowledged,
    /// Recorded from late readings, as a closed episode.
    Late,
    /// Somebody wrote a remark.
    Commented,
    /// Somebody put it aside.
    Shelved,
    /// It is back from there.
    Unshelved,
    /// A higher level presses for it.
    Urged,
    /// Cause and measure were reported.
    Disposed,
    /// A second person verified them.
    ClosedOut,
    /// They were not enough.
    Returned,
    /// Nobody acknowledged it in time: the next ones are told.
    Escalated,
}

impl EventKind {
    /// As stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Changed => "changed",
            Self::Cleared => "cleared",
            Self::Acknowledged => "acknowledged",
            Self::Late => "late",
            Self::Commented => "commented",
            Self::Shelved => "shelved",
            Self::Unshelved => "unshelved",
            Self::Urged => "urged",
            Self::Disposed => "disposed",
            Self::ClosedOut => "closed_out",
            Self::Returned => "returned",
            Self::Escalated => "escalated",
        }
    }
}

/// One event of the alarm list, in the order it happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AlarmEvent {
    /// Its number in the journal; grows over all alarms.
    pub seq: i64,
    /// What happened.
    pub event: EventKind,
    /// The alarm after it.
    pub alarm: Alarm,
    /// Wall time.
    pub at: Micros,
}

/// Fewest digits of an id that stand for it.
pub const ID_DIGITS_MIN: usize = 6;

/// Which alarms a list has.
#[derive(Clone, Debug)]
pub struct AlarmFilter {
    /// Closed ones too.
    pub all: bool,
    /// Only this site.
    pub site: Option<String>,
    /// Only this severity.
    pub severity: Option<Severity>,
    /// Only this region: six digits, or the first two or four for a province or a city.
    pub region: Option<String>,
    /// Only what stands behind this alarm in the list: the last one of the page before.
    pub after: Option<String>,
    /// Most alarms.
    pub limit: usize,
}

impl Default for AlarmFilter {
    fn default() -> Self {
        Self { all: false, site: None, severity: None, region: None, after: None, limit: usize::MAX }
    }
}

/// What an action did to one alarm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outcome {
    /// The alarm.
    pub id: String,
    /// What was done ([`Act::done`]), or why nothing was: `gone` (there is none), `changed` (it rose after what the caller had seen),
    /// else a word of the tables in [`life`].
    pub outcome: &'static str,
}

/// What a person put aside: all that a rule says of a point.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
pub struct OnShelf {
    /// Rule name.
    pub rule: String,
    /// Site code.
    pub site: String,
    /// Point code.
    pub point: String,
    /// Who, why and until when.
    #[serde(flatten)]
    pub shelved: Shelved,
}

/// Something that happened and is about no alarm: configuration, rules, who signed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happened {
    /// What, one word.
    pub event: &'static str,
    /// Who did it.
    pub by: String,
    /// What there is to say.
    pub note: String,
    /// More about it, a JSON object; empty where there is nothing.
    pub detail: String,
}

/// A message on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxRow {
    /// Idempotency key: never stands for two contents.
    pub key: String,
    /// Name of the receiver.
    pub receiver: String,
    /// The alarm it tells of; messages of one alarm go out in order. Empty for a digest.
    pub alarm: String,
    /// A drill: not counted.
    pub drill: bool,
    /// Tells of a receiver's own trouble: its loss raises no other alarm.
    pub quiet: bool,
    /// The rendered body, sent as it lies here at every try.
    pub body: Vec<u8>,
    /// Tries so far.
    pub attempts: u32,
    /// When it was written, wall time.
    pub created: Micros,
    /// When to try next.
    pub next_at: Micros,
}

/// Sums over all alarms and messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// Alarms raised, without simulated and late ones.
    pub raised: u64,
    /// Of these: cleared by a good reading.
    pub cleared: u64,
    /// Of these: ended because rule or point is gone.
    pub withdrawn: u64,
    /// Messages written for receivers, without drills.
    pub sent: u64,
    /// Of these: taken by the receiver.
    pub delivered: u64,
    /// Of these: still to be delivered.
    pub pending: u64,
    /// Of these: given up, each with an alarm of its own.
    pub dead: u64,
}

/// What waits for one receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Backlog {
    /// The receiver.
    pub receiver: String,
    /// Messages still to be delivered.
    pub pending: u64,
    /// When the oldest of them was written.
    pub oldest: Micros,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or is not there: hold back and try again.
    #[error("alarm database: {0}")]
    Database(String),
    /// It was made by a newer firedamp, or is no alarm database.
    #[error("alarm database: {0}")]
    Format(String),
}

/// Where alarms lie. One writer; every method that changes something is one transaction, which is durable when it returns. Only
/// [`AlarmStore::delivered`] may become so with the next one.
#[async_trait]
pub trait AlarmStore: Journal {
    /// The offset of stream transitions to read next in a partition.
    async fn position(&self, partition: u32) -> Result<u64, StoreError>;

    /// Takes transitions: alarms, events, outbox and position in one transaction. A batch that ends at or before the
    /// position changes nothing but what is held.
    async fn apply(&self, batch: TransitionBatch) -> Result<Vec<AlarmEvent>, StoreError>;

    /// Somebody does something with alarms. Firedamp's own are cleared by hand, an alarm of a rule only by its rule (`active`). Withdrawn
    /// are those that no rule decides about any more: the caller has made sure that rule or point is gone; a rule that is still there
    /// would raise the alarm anew.
    async fn act(&self, ids: &[String], act: &Act, now: Micros) -> Result<Vec<Outcome>, StoreError>;

    /// Writes down what is about no alarm.
    async fn record(&self, happened: Happened, now: Micros) -> Result<(), StoreError>;

    /// Signs the newest entry, sends that out to receivers with `checkpoints`, and writes it down.
    async fn checkpoint(&self, signer: &Signer, now: Micros) -> Result<Checkpoint, StoreError>;

    /// Entries about one alarm, oldest first.
    async fn history(&self, id: &str) -> Result<Vec<Entry>, StoreError>;

    /// The newest entry of the journal.
    async fn head(&self) -> Result<Head, StoreError>;

    /// What is on the shelf now, by when it comes back.
    async fn shelved(&self) -> Result<Vec<OnShelf>, StoreError>;

    /// Alarms: active ones first, newest first. Asked with the last id of a page it gives the next page.
    async fn list(&self, filter: &AlarmFilter) -> Result<Vec<Alarm>, StoreError>;

    /// One alarm, by its id or by the first digits of it, at least [`ID_DIGITS_MIN`], that no other begins with.
    async fn get(&self, id: &str) -> Result<Option<Alarm>, StoreError>;

    /// Events of alarms after a number, oldest first; other entries of the journal stand between.
    async fn events_after(&self, seq: i64, limit: usize) -> Result<Vec<AlarmEvent>, StoreError>;

    /// Raises or ends one of firedamp's own alarms.
    async fn raise_own(&self, alarm: OwnAlarm, now: Micros) -> Result<(), StoreError>;

    /// Messages of a receiver whose time has come, oldest first; of one alarm only the first that is still to be delivered.
    async fn outbox_due(
        &self,
        receiver: &str,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, StoreError>;

    /// The receiver took it. This is not synced on its own: where the power fails before the next change is durable, the message is
    /// sent again with the same key.
    async fn delivered(&self, key: &str, now: Micros) -> Result<(), StoreError>;

    /// It was not taken; try again at `next_at`, or never (`None`: a dead letter, raised as an alarm in the same
    /// transaction).
    async fn failed(
        &self,
        key: &str,
        error: &str,
        next_at: Option<Micros>,
        now: Micros,
    ) -> Result<(), StoreError>;

    /// Gives up messages of a receiver that were tried and written before `created_before`: dead letters. Gives their number.
    async fn expire(&self, receiver: &str, created_before: Micros, now: Micros) -> Result<u64, StoreError>;

    /// The receiver is there again: all its messages are due now.
    async fn revive(&self, receiver: &str, now: Micros) -> Result<(), StoreError>;

    /// Writes the digests whose time has come, presses for what nobody acknowledged, and removes what is remembered no longer.
    async fn flush(&self, now: Micros) -> Result<(), StoreError>;

    /// What waits, by receiver.
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;

    /// Sums.
    async fn counts(&self) -> Result<Counts, StoreError>;

    /// Changes whenever the outbox may have something new.
    fn changed(&self) -> watch::Receiver<u64>;
}
