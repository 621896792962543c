//! The journal: every event of an alarm, of who handles it and of who was told, in the order it happened. Entries are never changed or
//! removed, are numbered without a hole, and the hash of each covers the one before: [`Chain`] finds a changed byte, a removed entry,
//! and, by a [`Checkpoint`] that was kept elsewhere, an end that was cut off or a journal that was written anew.
//!
//! The hash is SHA-256 over: the hash before (32 bytes, zeros for the first), number and time as i64 little-endian, one byte that is 1
//! where the alarm rose, then each of the texts event, alarm id, by, note, detail and alarm, its length in bytes as u64 little-endian
//! before it.

mod checkpoint;

pub use checkpoint::{Checkpoint, CheckpointError, Signer};

use crate::StoreError;
use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use model::Micros;
use model::time::rfc3339;
use serde::{Serialize, Serializer};

/// A hash of the chain.
pub type Hash = [u8; 32];

/// What stands before the first entry.
pub const NOTHING: Head = Head { seq: 0, hash: [0; 32] };

/// Entries read at once.
const PAGE: usize = 10_000;

/// Number and hash of the newest entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its number.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Entry {
    /// Grows by one an entry.
    pub seq: i64,
    /// Wall time.
    #[serde(serialize_with = "time_out")]
    pub at: Micros,
    /// What happened: `raised`, `acknowledged`, `delivered`, ...
    pub event: String,
    /// The alarm it is about; empty where it is about none.
    pub alarm_id: String,
    /// Whether the alarm was worse after it.
    pub rose: bool,
    /// Who did it: a person, `rules`, `firedamp`, or the name of a receiver.
    pub by: String,
    /// What they said.
    pub note: String,
    /// What caused it, JSON: the transition, or the message and what became of it. Empty where note says all.
    #[serde(serialize_with = "json_out")]
    pub detail: String,
    /// The alarm after it, JSON; empty where the alarm is as before.
    #[serde(serialize_with = "json_out")]
    pub alarm: String,
    /// Covers all of it and the hash of the entry before.
    #[serde(serialize_with = "hash_out")]
    pub hash: Hash,
}

fn time_out<S: Serializer>(time: &Micros, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&rfc3339(*time))
}

fn hash_out<S: Serializer>(hash: &Hash, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&hex::encode(hash))
}

/// As what it is, not as a text that holds it.
fn json_out<S: Serializer>(text: &str, s: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<serde_json::Value>(text).unwrap_or_default().serialize(s)
}

impl Entry {
    /// The hash it must have after this one.
    pub fn hash_after(&self, before: &Hash) -> Hash {
        let mut hash = Context::new(&SHA256);
        hash.update(before);
        hash.update(&self.seq.to_le_bytes());
        hash.update(&self.at.to_le_bytes());
        hash.update(&[u8::from(self.rose)]);
        for text in [&self.event, &self.alarm_id, &self.by, &self.note, &self.detail, &self.alarm] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Stands for one that cannot be read: no hash fits it.
    pub(crate) fn unreadable() -> Self {
        let [event, alarm_id, by, note, detail, alarm] = [(); 6].map(|()| String::new());
        let event = event + "unreadable";
        Self { seq: 0, at: 0, event, alarm_id, rose: false, by, note, detail, alarm, hash: [0; 32] }
    }

    /// Numbered and chained to the newest.
    #[must_use]
    pub fn after(self, head: Head) -> Self {
        let entry = Self { seq: head.seq + 1, ..self };
        Self { hash: entry.hash_after(&head.hash), ..entry }
    }

    /// Where it stands once it is the newest.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// Where a journal is not what was written, and what shows it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    /// Numbers are missing.
    #[error("entries {from} to {to} are missing")]
    Missing {
        /// The first of them.
        from: i64,
        /// The last.
        to: i64,
    },
    /// An entry is not what its hash says.
    #[error("entry {seq} ({event}, {}) does not agree with its hash: it was changed, or the hash of the entry before it", rfc3339(*at))]
    Changed {
        /// Its number.
        seq: i64,
        /// Its time as it stands there.
        at: Micros,
        /// What it says happened.
        event: String,
    },
    /// The journal ends before an entry that was signed.
    #[error("the journal ends with entry {end}, but entry {signed} was signed: entries {} to {signed} at least were cut off", end + 1)]
    Cut {
        /// Its last entry.
        end: i64,
        /// The signed one.
        signed: i64,
    },
    /// All agrees, but not with what was signed.
    #[error(
        "entry {seq} is not the one that was signed: it or an entry before it was changed, and the hashes after it made anew"
    )]
    Rewritten {
        /// The signed one.
        seq: i64,
    },
    /// The list says something else of an alarm than its newest entry, or does not have it.
    #[error("alarm {id} is not in the list as its newest entry, {seq}, says")]
    Listed {
        /// The alarm.
        id: String,
        /// Its newest entry; 0 where it has none.
        seq: i64,
    },
}

/// Looks through entries in their order.
#[derive(Clone, Debug)]
pub struct Chain {
    head: Head,
}

impl Default for Chain {
    fn default() -> Self {
        Self { head: NOTHING }
    }
}

impl Chain {
    /// The next entry.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&mut self, entry: &Entry) -> Result<(), Broken> {
        let expected = self.head.seq + 1;
        if entry.seq > expected {
            return Err(Broken::Missing { from: expected, to: entry.seq - 1 });
        }
        if entry.seq < expected || entry.hash != entry.hash_after(&self.head.hash) {
            return Err(Broken::Changed { seq: entry.seq, at: entry.at, event: entry.event.clone() });
        }
        self.head = entry.head();
        Ok(())
    }

    /// The newest entry that was looked at.
    pub fn head(&self) -> Head {
        self.head
    }
}

/// Where a journal is read.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Entries after a number, oldest first.
    async fn journal(&self, after: i64, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// An alarm that the list shows otherwise than its newest entry, or not at all, and the number of that entry; 0 where it has none.
    async fn unlike_journal(&self) -> Result<Option<(String, i64)>, StoreError>;
}

/// Looks through the whole journal of a store, against checkpoints whose signatures hold, and at the list of alarms. `seen` is told how
/// many entries were looked at. Gives the newest entry.
///
/// # Errors
/// When the store cannot be read; inside, where it is not what was written.
pub async fn verify(
    store: &(impl Journal + ?Sized),
    checkpoints: &[Checkpoint],
    mut seen: impl FnMut(i64),
) -> Result<Result<Head, Broken>, StoreError> {
    let mut signed: Vec<&Checkpoint> = checkpoints.iter().collect();
    signed.sort_by_key(|c| c.seq);
    let (mut chain, mut signed) = (Chain::default(), signed.into_iter().peekable());
    loop {
        let page = store.journal(chain.head().seq, PAGE).await?;
        for entry in &page {
            if let Err(broken) = chain.check(entry) {
                return Ok(Err(broken));
            }
            while let Some(checkpoint) = signed.next_if(|c| c.seq <= entry.seq) {
                if checkpoint.seq == entry.seq && checkpoint.hash != entry.hash {
                    return Ok(Err(Broken::Rewritten { seq: entry.seq }));
                }
            }
        }
        seen(chain.head().seq);
        if page.is_empty() {
            break;
        }
    }
    if let Some(checkpoint) = signed.last() {
        return Ok(Err(Broken::Cut { end: chain.head().seq, signed: checkpoint.seq }));
    }
    if let Some((id, seq)) = store.unlike_journal().await? {
        return Ok(Err(Broken::Listed { id, seq }));
    }
    Ok(Ok(chain.head()))
}

#[cfg(test)]
mod tests;
