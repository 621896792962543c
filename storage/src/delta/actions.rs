//! The actions of a commit and their bytes.

use super::{Change, FileMeta, NewFile};
use crate::schema::{DAY_COLUMN, day_text};
use deltalake_core::kernel::{Action, Add, CommitInfo, Remove, Transaction};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Key of `commitInfo` that holds the commit's id.
const ID: &str = "firedampCommit";

/// The actions of `change`; removed files are described as they stand in `files`.
pub fn of(change: &Change, now_ms: i64, files: &BTreeMap<String, Arc<FileMeta>>) -> Vec<Action> {
    let info = CommitInfo {
        timestamp: Some(now_ms),
        operation: Some(change.operation.to_owned()),
        operation_parameters: Some(HashMap::new()),
        is_blind_append: Some(change.remove.is_empty()),
        engine_info: Some(concat!("firedamp/", env!("CARGO_PKG_VERSION")).to_owned()),
        info: HashMap::from([(ID.to_owned(), json!(change.id))]),
        ..CommitInfo::default()
    };
    let mut out = vec![Action::CommitInfo(info)];
    for txn in &change.txns {
        out.push(Action::Txn(Transaction::new_with_last_update(&txn.app, txn.after, Some(now_ms))));
    }
    for path in &change.remove {
        out.push(Action::Remove(remove(path, files.get(path).map(Arc::as_ref), now_ms, change.data_change)));
    }
    out.extend(change.add.iter().map(|file| Action::Add(add(file, now_ms, change.data_change))));
    out
}

fn add(file: &NewFile, now_ms: i64, data_change: bool) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: HashMap::from([(DAY_COLUMN.to_owned(), Some(day_text(file.day)))]),
        size: file.size as i64,
        modification_time: now_ms,
        data_change,
        stats: Some(file.stats.clone()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

fn remove(path: &str, meta: Option<&FileMeta>, now_ms: i64, data_change: bool) -> Remove {
    Remove {
        path: path.to_owned(),
        data_change,
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(meta.is_some()),
        partition_values: meta.map(|m| HashMap::from([(DAY_COLUMN.to_owned(), m.day.map(day_text))])),
        size: meta.map(|m| m.size as i64),
        ..Remove::default()
    }
}

/// One JSON object a line.
pub fn encode(actions: &[Action]) -> Vec<u8> {
    let mut out = Vec::with_capacity(actions.len() * 600);
    for action in actions {
        serde_json::to_writer(&mut out, action).expect("actions are plain data with text keys");
        out.push(b'\n');
    }
    out
}

/// Whether these actions are the commit with this id.
pub fn has_id(actions: &[Action], id: &str) -> bool {
    actions
        .iter()
        .any(|a| matches!(a, Action::CommitInfo(info) if info.info.get(ID).is_some_and(|v| v == id)))
}
