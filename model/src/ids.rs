//! Identity: point ids, partitions, places in the log, transition ids. Test vectors stand in `docs/identity.md`
//! and in the tests below; another program must be able to compute the same numbers.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A point on the wire: the first 8 bytes, little-endian, of BLAKE3 over the length of the site code (u32 little-endian),
/// the site code and the point code in UTF-8, as i64 (Delta has no unsigned types).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PointId(pub i64);

impl PointId {
    /// The id of a point without a salt.
    pub fn of(site: &str, point: &str) -> Self {
        Self::salted(site, point, "")
    }

    /// The id of a point whose catalog row carries a salt because its plain id collided with an older point's.
    pub fn salted(site: &str, point: &str, salt: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(site.len() as u32).to_le_bytes());
        hasher.update(site.as_bytes());
        hasher.update(point.as_bytes());
        if !salt.is_empty() {
            hasher.update(&[0]);
            hasher.update(salt.as_bytes());
        }
        Self(i64::from_le_bytes(first8(&hasher.finalize())))
    }
}

fn first8(hash: &blake3::Hash) -> [u8; 8] {
    hash.as_bytes()[..8].try_into().expect("a BLAKE3 hash has 32 bytes")
}

/// The partition of a site: the first 8 bytes of BLAKE3 over the site code as u64 little-endian, modulo `partitions`.
/// `partitions` is fixed when the log is made.
pub fn partition_of(site: &str, partitions: u32) -> u32 {
    let hash = u64::from_le_bytes(first8(&blake3::hash(site.as_bytes())));
    (hash % u64::from(partitions.max(1))) as u32
}

/// A place in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Offset {
    /// Partition of the log.
    pub partition: u32,
    /// Number of the record in it.
    pub number: u64,
}

/// Who first made a record durable, and as which of its records in this partition. Sequences grow without holes, so a
/// consumer that remembers the last one drops what a retry or a forwarder sent twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// Random number of the collector, made with its log. 0: a record that may harmlessly come twice (tick, activation).
    pub collector: u64,
    /// Number in the collector's own log of this partition.
    pub sequence: u64,
}

/// Identity of a transition: independent of when and where it was computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransitionId(pub [u8; 16]);

impl TransitionId {
    /// Hash of rule name, point, level, origin and row of the first reading over, and step number. The rule's version is
    /// not in it. Each text is preceded by its length as u32 little-endian, numbers are little-endian.
    pub fn of(rule: &str, point: PointId, level: &str, first_over: Origin, row: u32, step: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        for text in [rule, level] {
            hasher.update(&(text.len() as u32).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&point.0.to_le_bytes());
        hasher.update(&first_over.collector.to_le_bytes());
        hasher.update(&first_over.sequence.to_le_bytes());
        hasher.update(&row.to_le_bytes());
        hasher.update(&step.to_le_bytes());
        Self(hasher.finalize().as_bytes()[..16].try_into().expect("a BLAKE3 hash has 32 bytes"))
    }
}

impl fmt::Display for TransitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TransitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransitionId({self})")
    }
}

impl std::str::FromStr for TransitionId {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let mut id = [0; 16];
        hex::decode_to_slice(s, &mut id).map_err(|_| format!("`{s}` is not an id of 32 hex digits"))?;
        Ok(Self(id))
    }
}

impl Serialize for TransitionId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TransitionId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `docs/identity.md`, computed there by another implementation of BLAKE3 too.
    #[test]
    fn published_vectors() {
        assert_eq!(PointId::of("M1", "T1").0, 8_247_447_257_533_599_908);
        assert_eq!(PointId::of("620000000001", "62000000000101MN004300001A01").0, -6_811_986_250_555_577_770);
        assert_eq!(PointId::of("矿", "瓦斯").0, -2_773_603_342_776_703_222);
        assert_eq!(PointId::salted("M1", "T1", "2").0, -3_917_098_254_852_472_885);
        assert_eq!(partition_of("M1", 8), 7);
        assert_eq!(partition_of("620000000001", 8), 7);
        let first_over = Origin { collector: 7, sequence: 42 };
        let id = TransitionId::of("ch4-face", PointId::of("M1", "T1"), "alarm", first_over, 3, 0);
        assert_eq!(id.to_string(), "125b7ec33bbe60adf9a9031b50c9baee");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn length_prefix_keeps_sites_apart() {
        assert_ne!(PointId::of("M1", "1T1"), PointId::of("M11", "T1"));
        assert_ne!(PointId::of("M1", "T1"), PointId::salted("M1", "T1", "b"));
    }
}
