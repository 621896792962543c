//! An entry as raft-engine keeps it: a protobuf `BytesValue` of
//! `index u64, append time i64, collector u64, sequence u64, record`, little-endian. Collector [`OWN`]: the log's own, whose
//! sequence is the offset.

use super::{own_origin, place};
use crate::{Append, LogError};
use model::{Entry, Micros, Origin};
use protobuf::well_known_types::BytesValue;
use raft_engine::MessageExt;

/// Version of this format and of the layout around it.
pub const VERSION: u32 = 1;
/// Stands for the log's own collector; 0 is a real one (records that may come twice).
const OWN: u64 = u64::MAX;
const HEAD: usize = 32;

/// Entries of the log.
pub struct Wire;

impl MessageExt for Wire {
    type Entry = BytesValue;

    fn index(e: &BytesValue) -> u64 {
        e.value.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b))
    }
}

/// The entry of a record at an index.
pub fn encode(index: u64, appended: Micros, append: &Append) -> BytesValue {
    let origin = append.origin.unwrap_or(Origin { collector: OWN, sequence: 0 });
    let mut value = Vec::with_capacity(HEAD + append.bytes.len());
    value.extend_from_slice(&index.to_le_bytes());
    value.extend_from_slice(&appended.to_le_bytes());
    value.extend_from_slice(&origin.collector.to_le_bytes());
    value.extend_from_slice(&origin.sequence.to_le_bytes());
    value.extend_from_slice(&append.bytes);
    let mut entry = BytesValue::new();
    entry.value = value;
    entry
}

/// The entry as readers get it.
///
/// # Errors
/// When raft-engine gives back what was never written.
pub fn decode(partition: u32, raw: BytesValue, collector: u64) -> Result<Entry, LogError> {
    let bytes = bytes::Bytes::from(raw.value);
    if bytes.len() < HEAD {
        return Err(LogError::Broken(format!("an entry of partition {partition} is {} bytes short", HEAD - bytes.len())));
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the length was checked"));
    let (index, appended) = (number(0), number(8) as Micros);
    let origin = match number(16) {
        OWN => own_origin(collector, index),
        collector => Origin { collector, sequence: number(24) },
    };
    Ok(Entry { offset: place(partition, index), appended, origin, bytes: bytes.slice(HEAD..) })
}
