//! All application transactions of a table at a version: from the last checkpoint and the commits after it. The Delta
//! library answers only for one name at a time, and the names of collectors are not known beforehand.

use crate::error::StorageError;
use crate::schema::Table;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use deltalake_core::kernel::Action;
use deltalake_core::logstore::get_actions;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, HashMap};

/// Reads them.
///
/// # Errors
/// When the store does not answer or the log cannot be read.
pub async fn load(
    table: Table,
    store: &dyn ObjectStore,
    version: u64,
) -> Result<HashMap<String, i64>, StorageError> {
    let checkpoint = last_checkpoint(store, version).await?;
    let mut txns = HashMap::new();
    let first = match &checkpoint {
        Some((at, parts)) => {
            for part in parts {
                let bytes = store.get(part).await?.bytes().await?;
                read_checkpoint(bytes, &mut txns).map_err(|e| damaged(table, part, &e))?;
            }
            at + 1
        }
        None => 0,
    };
    for v in first..=version {
        let path = super::version_path(v);
        let bytes = store.get(&path).await?.bytes().await?;
        let actions = get_actions(v, &bytes).map_err(|e| damaged(table, &path, &e.to_string()))?;
        for action in actions {
            if let Action::Txn(txn) = action {
                txns.insert(txn.app_id, txn.version);
            }
        }
    }
    Ok(txns)
}

fn damaged(table: Table, path: &Path, message: &str) -> StorageError {
    let message = format!("its log file {path} cannot be read ({message}); restore the folder from a backup");
    StorageError::Table { table: table.name().into(), message }
}

/// Version and parts of the newest whole checkpoint up to `version`.
async fn last_checkpoint(
    store: &dyn ObjectStore,
    version: u64,
) -> Result<Option<(u64, Vec<Path>)>, StorageError> {
    let mut found: BTreeMap<u64, (usize, Vec<Path>)> = BTreeMap::new();
    let folder = Path::from("_delta_log");
    let mut list = store.list(Some(&folder));
    while let Some(meta) = list.try_next().await? {
        let Some(name) = meta.location.filename() else { continue };
        let Some((at, parts)) = checkpoint_name(name) else { continue };
        if at <= version {
            let entry = found.entry(at).or_insert((parts, Vec::new()));
            if entry.0 == parts {
                entry.1.push(meta.location);
            }
        }
    }
    Ok(found
        .into_iter()
        .rev()
        .find(|(_, (parts, paths))| paths.len() == *parts)
        .map(|(at, (_, paths))| (at, paths)))
}

/// `<version>.checkpoint.parquet` or `<version>.checkpoint.<part>.<parts>.parquet`: version and number of parts.
fn checkpoint_name(name: &str) -> Option<(u64, usize)> {
    let mut words = name.strip_suffix(".parquet")?.split('.');
    let version = words.next()?.parse().ok()?;
    if words.next()? != "checkpoint" {
        return None;
    }
    match (words.next(), words.next(), words.next()) {
        (None, _, _) => Some((version, 1)),
        (Some(_part), Some(parts), None) => Some((version, parts.parse().ok()?)),
        _ => None,
    }
}

fn read_checkpoint(bytes: Bytes, txns: &mut HashMap<String, i64>) -> Result<(), String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| e.to_string())?;
    let schema = builder.parquet_schema();
    let leaves = (0..schema.num_columns()).filter(|i| schema.column(*i).path().parts()[0] == "txn");
    let mask = ProjectionMask::leaves(schema, leaves);
    for batch in builder.with_projection(mask).build().map_err(|e| e.to_string())? {
        let batch = batch.map_err(|e| e.to_string())?;
        let Some(txn) = batch.column_by_name("txn").and_then(|c| c.as_struct_opt()) else { continue };
        let apps = txn.column_by_name("appId").ok_or("its txn has no appId")?;
        let apps =
            arrow::compute::cast(apps, &arrow::datatypes::DataType::Utf8).map_err(|e| e.to_string())?;
        let apps = apps.as_string::<i32>();
        let versions = txn.column_by_name("version").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let versions = versions.ok_or("its txn has no version")?;
        for row in (0..batch.num_rows()).filter(|row| txn.is_valid(*row)) {
            txns.insert(apps.value(row).to_owned(), versions.value(row));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checkpoints() {
        assert_eq!(checkpoint_name("00000000000000000010.checkpoint.parquet"), Some((10, 1)));
        assert_eq!(
            checkpoint_name("00000000000000000010.checkpoint.0000000001.0000000003.parquet"),
            Some((10, 3))
        );
        assert_eq!(checkpoint_name("00000000000000000010.json"), None);
        assert_eq!(checkpoint_name("00000000000000000010.00000000000000000020.compacted.json"), None);
    }
}
