//! How a record lies in raft-engine: a protobuf `BytesValue` of
//!
//! ```text
//! index u64 = offset + 1 | append time i64 | collector u64 | sequence u64 | own sequence that follows u64 | record
//! ```
//! all little-endian. The index comes first because raft-engine asks for it; the own sequence is carried along so that
//! the last entry of a region alone tells where to go on.

use bytes::Bytes;
use model::{Entry, Micros, Offset, Origin};
use protobuf::well_known_types::BytesValue;
use raft_engine::MessageExt;

/// Length of what stands before the record.
pub const HEADER_LEN: usize = 40;

/// Tells raft-engine the index of an entry.
#[derive(Debug, Clone)]
pub struct Slot;

impl MessageExt for Slot {
    type Entry = BytesValue;

    fn index(e: &BytesValue) -> u64 {
        e.value.first_chunk().map_or(0, |index| u64::from_le_bytes(*index))
    }
}

/// What stands before the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub index: u64,
    pub appended: Micros,
    pub origin: Origin,
    pub own_next: u64,
}

pub fn pack(header: &Header, record: &[u8]) -> BytesValue {
    let mut value = Vec::with_capacity(HEADER_LEN + record.len());
    value.extend_from_slice(&header.index.to_le_bytes());
    value.extend_from_slice(&header.appended.to_le_bytes());
    value.extend_from_slice(&header.origin.collector.to_le_bytes());
    value.extend_from_slice(&header.origin.sequence.to_le_bytes());
    value.extend_from_slice(&header.own_next.to_le_bytes());
    value.extend_from_slice(record);
    BytesValue { value, ..BytesValue::default() }
}

/// `None`: too short to be one of ours.
pub fn unpack(partition: u32, stored: BytesValue) -> Option<(Header, Entry)> {
    let value = Bytes::from(stored.value);
    let word = |i: usize| -> Option<[u8; 8]> { value.get(i * 8..i * 8 + 8)?.try_into().ok() };
    let header = Header {
        index: u64::from_le_bytes(word(0)?),
        appended: i64::from_le_bytes(word(1)?),
        origin: Origin { collector: u64::from_le_bytes(word(2)?), sequence: u64::from_le_bytes(word(3)?) },
        own_next: u64::from_le_bytes(word(4)?),
    };
    let offset = Offset { partition, number: header.index.checked_sub(1)? };
    let bytes = value.slice(HEADER_LEN..);
    Some((header, Entry { offset, appended: header.appended, origin: header.origin, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_and_a_short_one_is_none() {
        let origin = Origin { collector: 7, sequence: 3 };
        let header = Header { index: 5, appended: -1, origin, own_next: 4 };
        let stored = pack(&header, b"record");
        assert_eq!(Slot::index(&stored), 5);
        let (back, entry) = unpack(2, stored).unwrap();
        assert_eq!((back, entry.offset.number, &entry.bytes[..]), (header, 4, &b"record"[..]));
        assert!(unpack(2, BytesValue { value: vec![1; HEADER_LEN - 1], ..BytesValue::default() }).is_none());
    }
}
