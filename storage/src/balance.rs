//! What came in against what is stored, exactly: the sums of `arrivals` in the table, and of the tail.
//!
//! received = accepted + refused, accepted = stored + duplicate + quarantined + pending. Pending is what was taken and is
//! not yet committed. A reading released from quarantine was received when it came the first time: releasing takes it out
//! of quarantined and puts it into stored or duplicate.

use crate::error::StorageError;
use crate::schema::Table;
use crate::storage::{Inner, Storage};
use crate::tail::{Arrival, ArrivalKind};
use ahash::AHashMap;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Files summed side by side.
const FILES_AT_ONCE: usize = 8;

/// The balance of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceBalance {
    /// Name of the source.
    pub name: String,
    /// Everything that came.
    pub received: i64,
    /// What was not refused at the edge.
    pub accepted: i64,
    /// What was.
    pub refused: i64,
    /// Rows in the tables.
    pub stored: i64,
    /// Rows that were there already.
    pub duplicate: i64,
    /// Rows that cannot be attributed.
    pub quarantined: i64,
    /// Rows taken and not yet committed.
    pub pending: i64,
}

impl SourceBalance {
    /// Whether both sums hold; they always do unless rows were lost.
    pub fn is_balanced(&self) -> bool {
        self.received == self.accepted + self.refused
            && self.accepted == self.stored + self.duplicate + self.quarantined + self.pending
    }

    fn add(&mut self, sums: &Sums) {
        match sums.kind {
            ArrivalKind::Refused => {
                self.refused += sums.rows;
                self.received += sums.rows;
                return;
            }
            ArrivalKind::Released => self.quarantined -= sums.rows,
            ArrivalKind::Readings | ArrivalKind::Positions | ArrivalKind::Quarantine => {
                self.received += sums.rows;
                self.accepted += sums.rows;
            }
        }
        self.stored += sums.stored;
        self.duplicate += sums.duplicate;
        self.quarantined += sums.quarantined;
        self.pending += sums.pending;
    }
}

/// Sums over rows of `arrivals` of one source and kind.
#[derive(Clone, Copy, Debug)]
struct Sums {
    kind: ArrivalKind,
    rows: i64,
    stored: i64,
    duplicate: i64,
    quarantined: i64,
    pending: i64,
}

impl Sums {
    fn none(kind: ArrivalKind) -> Self {
        Self { kind, rows: 0, stored: 0, duplicate: 0, quarantined: 0, pending: 0 }
    }

    fn pending(arrival: &Arrival) -> Self {
        let rows = arrival.rows as i64;
        let pending = if arrival.kind == ArrivalKind::Refused { 0 } else { rows };
        Self { rows, pending, ..Self::none(arrival.kind) }
    }
}

/// Sums of the files of `arrivals`, which never change.
#[derive(Default)]
pub struct Cache {
    files: AHashMap<String, Arc<Vec<(String, Sums)>>>,
}

impl Storage {
    /// The balance of every source, by name.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn balance(&self) -> Result<Vec<SourceBalance>, StorageError> {
        Ok(self.balance_at().await?.0)
    }

    /// The balance of every source, and the next offset of each partition that it stands for: what the log holds from
    /// there on is not in it.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn balance_at(&self) -> Result<(Vec<SourceBalance>, BTreeMap<u32, u64>), StorageError> {
        let mut by_source: BTreeMap<String, SourceBalance> = BTreeMap::new();
        let mut add = |name: &str, sums: &Sums| {
            if !by_source.contains_key(name) {
                let new = SourceBalance { name: name.to_owned(), ..SourceBalance::default() };
                by_source.insert(name.to_owned(), new);
            }
            by_source.get_mut(name).expect("it was just put there").add(sums);
        };
        let next;
        let view = {
            let state = self.inner.state();
            for arrival in state.generations().flat_map(|g| &g.arrivals) {
                add(&arrival.source, &Sums::pending(arrival));
            }
            next = state.next_offsets();
            if state.is_others {
                return Ok((Vec::new(), next));
            }
            state.view.clone()
        };
        let paths: Vec<String> = view.files(Table::Arrivals).files.iter().map(|f| f.path.clone()).collect();
        for sums in self.inner.sums(&view, paths).await? {
            for (source, sums) in sums.iter() {
                add(source, sums);
            }
        }
        Ok((by_source.into_values().collect(), next))
    }
}

impl Inner {
    async fn sums(
        &self,
        view: &Arc<crate::view::View>,
        paths: Vec<String>,
    ) -> Result<Vec<Arc<Vec<(String, Sums)>>>, StorageError> {
        let mut cache = self.balance_cache.lock().await;
        let unknown: Vec<String> = paths.iter().filter(|p| !cache.files.contains_key(*p)).cloned().collect();
        let read = |path: String| async move {
            let columns = ["source", "kind", "rows", "stored", "duplicate", "quarantined"];
            let mut rows = self.engine.scan_file(view, Table::Arrivals, &path, &columns).await?;
            let mut sums = AHashMap::new();
            while let Some(batch) = rows.next().await {
                sum(&batch?, &mut sums);
            }
            let sums = sums.into_iter().map(|((source, _), sums)| (source, sums)).collect();
            Ok::<_, StorageError>((path, Arc::new(sums)))
        };
        let new: Vec<_> = futures::stream::iter(unknown.into_iter().map(read))
            .buffer_unordered(FILES_AT_ONCE)
            .try_collect()
            .await?;
        let there: HashSet<&String> = paths.iter().collect();
        cache.files.retain(|path, _| there.contains(path));
        cache.files.extend(new);
        Ok(cache.files.values().cloned().collect())
    }
}

fn sum(batch: &RecordBatch, into: &mut AHashMap<(String, &'static str), Sums>) {
    let (source, kind) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
    let number = |i: usize| batch.column(i).as_primitive::<Int64Type>();
    let (rows, stored, duplicate, quarantined) = (number(2), number(3), number(4), number(5));
    for row in 0..batch.num_rows() {
        // A kind that a later version may add is no reading.
        let Some(kind) = ArrivalKind::parse(kind.value(row)) else { continue };
        let sums =
            into.entry((source.value(row).to_owned(), kind.as_str())).or_insert_with(|| Sums::none(kind));
        sums.rows += rows.value(row);
        sums.stored += stored.value(row);
        sums.duplicate += duplicate.value(row);
        sums.quarantined += quarantined.value(row);
    }
}
