//! The open part of the tail: records as they came.

use crate::names::Names;
use model::{Micros, Readings};
use std::sync::Arc;

/// Bytes of a row in the open part: the record's columns and its dense index.
const ROW_BYTES: usize = 8 + 8 + 8 + 4 + 4;

/// Rows of one run of one record.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Dense index of each row.
    pub dense: Arc<[u32]>,
    /// The rows.
    pub rows: Readings,
    /// Who sent them.
    pub source: Arc<str>,
    /// Partition of the record.
    pub partition: u32,
    /// Offset of the record.
    pub offset: u64,
}

/// The open part: cheap to clone for a query.
#[derive(Clone, Debug)]
pub struct Open {
    /// Names that the dense indexes point into.
    pub names: Arc<Names>,
    /// In the order they came.
    pub segments: Vec<Segment>,
    rows: usize,
}

impl Open {
    /// Empty.
    pub fn new(names: Arc<Names>) -> Self {
        Self { names, segments: Vec::new(), rows: 0 }
    }

    /// Adds rows.
    pub fn push(&mut self, segment: Segment) {
        debug_assert_eq!(segment.dense.len(), segment.rows.len());
        self.rows += segment.rows.len();
        self.segments.push(segment);
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Memory, about.
    pub fn bytes(&self) -> usize {
        self.rows * ROW_BYTES + self.segments.len() * size_of::<Segment>()
    }

    /// Earliest and latest time.
    pub fn times(&self) -> Option<(Micros, Micros)> {
        let times = || self.segments.iter().flat_map(|s| s.rows.time.iter().copied());
        Some((times().min()?, times().max()?))
    }
}
