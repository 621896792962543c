//! The open part of the tail: records as they came.

use crate::names::Names;
use model::{Micros, Readings};
use std::sync::Arc;

/// Bytes of a row in the open part: the record's columns and its dense index.
const ROW_BYTES: usize = 8 + 8 + 8 + 4 + 4;

/// Which rows of their record some rows are, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// All from this one on.
    From(u32),
    /// Some: where others were duplicates, or are still to be decided.
    Each(Arc<[u32]>),
}

impl Numbers {
    /// Number in the record of row `i` of these.
    pub fn at(&self, i: usize) -> u32 {
        match self {
            Self::From(first) => first + i as u32,
            Self::Each(numbers) => numbers[i],
        }
    }

    /// Memory beside their own size.
    pub fn bytes(&self) -> usize {
        match self {
            Self::From(_) => 0,
            Self::Each(numbers) => numbers.len() * 4,
        }
    }

    /// The numbers of the rows from `i` on.
    #[must_use]
    pub fn after(&self, i: usize) -> Self {
        match self {
            Self::From(first) => Self::From(first + i as u32),
            Self::Each(numbers) => Self::Each(numbers[i..].into()),
        }
    }
}

/// Rows of one run of one record.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Dense index of each row.
    pub dense: Arc<[u32]>,
    /// The rows.
    pub rows: Readings,
    /// Their numbers in the record.
    pub numbers: Numbers,
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
        let segments: usize = self.segments.iter().map(|s| size_of::<Segment>() + s.numbers.bytes()).sum();
        self.rows * ROW_BYTES + segments
    }

    /// Earliest and latest time.
    pub fn times(&self) -> Option<(Micros, Micros)> {
        let times = || self.segments.iter().flat_map(|s| s.rows.time.iter().copied());
        Some((times().min()?, times().max()?))
    }
}
