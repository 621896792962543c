//! Finds the dense indexes of a run's points. Batches of one source come in the same order of points again and again: what
//! was found for a column is used again when the same column comes, at one comparison of bytes instead of a look-up a row.
//!
//! Not `model::Follow`, which goes row by row through an order: here the open part of the tail keeps the indexes of each run, and runs
//! with the same column share one array of them. Found by `Follow`, each run would have its own, four bytes a reading.

use crate::names::Names;
use ahash::AHashMap;
use std::sync::Arc;

/// Rows remembered at most, in all; then it begins anew.
const ROWS_MAX: usize = 8 << 20;

/// First id, last id and length: apart enough to find a column, which is then compared whole.
type Key = (i64, i64, usize);
type Ids = Box<[i64]>;
type Dense = Arc<[u32]>;

/// See the module.
#[derive(Default)]
pub struct Lookup {
    known: AHashMap<Key, (Ids, Dense)>,
    rows: usize,
}

impl Lookup {
    /// Dense indexes of `ids`; where one is unknown, what was found of each.
    pub fn find(&mut self, names: &Names, ids: &[i64]) -> Result<Arc<[u32]>, Vec<Option<u32>>> {
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(Arc::new([])) };
        let key = (*first, *last, ids.len());
        if let Some((same, dense)) = self.known.get(&key)
            && **same == *ids
        {
            return Ok(dense.clone());
        }
        let found: Vec<Option<u32>> = ids.iter().map(|id| names.ix(*id)).collect();
        let Some(dense) = found.iter().copied().collect::<Option<Arc<[u32]>>>() else { return Err(found) };
        if self.rows + ids.len() > ROWS_MAX {
            *self = Self::default();
        }
        self.rows += ids.len();
        if let Some((old, _)) = self.known.insert(key, (ids.into(), dense.clone())) {
            self.rows -= old.len();
        }
        Ok(dense)
    }
}
