//! Undecodable records are set aside with their offset, whole, and the stream goes on.

use model::Entry;
use model::record::DecodeError;
use std::path::PathBuf;

/// A folder of files `<partition>-<offset>.record`; nothing is kept where there is none (simulation).
#[derive(Clone, Debug)]
pub struct Aside(pub Option<PathBuf>);

impl Aside {
    /// Keeps the bytes and says so in the log.
    pub fn keep(&self, entry: &Entry, why: &DecodeError) {
        let (partition, number) = (entry.offset.partition, entry.offset.number);
        let Some(dir) = &self.0 else {
            return tracing::error!(partition, number, "{why}");
        };
        let file = dir.join(format!("{partition}-{number}.record"));
        let kept = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&file, &entry.bytes));
        match kept {
            Ok(()) => tracing::error!(partition, number, "{why}; kept in {}", file.display()),
            Err(e) => tracing::error!(partition, number, "{why}; could not be kept: {e}"),
        }
    }
}
