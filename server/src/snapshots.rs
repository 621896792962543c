//! Snapshots of the rules, by partition: all shards of one pass and the texts they belong to, replaced as a whole.

use async_trait::async_trait;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// One whole snapshot of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Text of the rules in force.
    pub rules: Arc<str>,
    /// Text of the catalog in force.
    pub catalog: Arc<str>,
    /// Offset to go on from at the latest.
    pub next: u64,
    /// The shards, each with the offset it stands for.
    pub shards: Vec<Vec<u8>>,
}

/// Where snapshots lie.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// Replaces the snapshot of a partition; the old one stays until the new one is durable.
    async fn save(&self, partition: u32, generation: Generation) -> Result<(), String>;
    /// The newest snapshot of a partition.
    async fn load(&self, partition: u32) -> Result<Option<Generation>, String>;
}

/// A folder with one file a partition. One snapshot is packed at a time, at low priority: the path has the cores first.
#[derive(Clone, Debug)]
pub struct FolderSnapshots {
    folder: PathBuf,
    packing: Arc<tokio::sync::Mutex<()>>,
}

impl FolderSnapshots {
    /// In a folder that is made when the first snapshot is kept.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, packing: Arc::default() }
    }
}

const MAGIC: &[u8; 8] = b"fdsnap01";

#[async_trait]
impl SnapshotStore for FolderSnapshots {
    async fn save(&self, partition: u32, generation: Generation) -> Result<(), String> {
        let path = self.folder.join(format!("{partition}.snapshot"));
        let _packing = self.packing.lock().await;
        let write = move || write_durably(&path, &encode(&generation));
        storage::background::run("snapshot", write).await?.map_err(|e| e.to_string())
    }

    async fn load(&self, partition: u32) -> Result<Option<Generation>, String> {
        let path = self.folder.join(format!("{partition}.snapshot"));
        match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", path.display())),
            Ok(bytes) => match decode(&bytes) {
                Some(generation) => Ok(Some(generation)),
                None => {
                    tracing::warn!(
                        "{} is damaged or of another version; the log is judged again",
                        path.display()
                    );
                    Ok(None)
                }
            },
        }
    }
}

/// Writes a file so that after a crash either the old or the new content is there.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    storage::background::write_synced(&mut file, [bytes])?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(dir)?.sync_all()
}

/// Magic, BLAKE3 of the rest (32 bytes), then zstd of: next u64, and each part as length u64 and bytes.
fn encode(generation: &Generation) -> Vec<u8> {
    let mut body = generation.next.to_le_bytes().to_vec();
    let texts = [generation.rules.as_bytes(), generation.catalog.as_bytes()];
    for part in texts.into_iter().chain(generation.shards.iter().map(Vec::as_slice)) {
        body.extend_from_slice(&(part.len() as u64).to_le_bytes());
        body.extend_from_slice(part);
    }
    let packed = zstd::bulk::compress(&body, 1).expect("compressing to memory cannot fail");
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(blake3::hash(&packed).as_bytes());
    out.extend_from_slice(&packed);
    out
}

fn decode(bytes: &[u8]) -> Option<Generation> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (len, rest) = rest.split_first_chunk::<8>()?;
    let (hash, packed) = rest.split_first_chunk::<32>()?;
    if blake3::hash(packed).as_bytes() != hash {
        return None;
    }
    let body = zstd::bulk::decompress(packed, usize::try_from(u64::from_le_bytes(*len)).ok()?).ok()?;
    let (next, mut rest) = body.split_first_chunk::<8>()?;
    let mut parts = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<8>() {
        let (part, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        parts.push(part.to_vec());
        rest = after;
    }
    let mut parts = parts.into_iter();
    let rules = String::from_utf8(parts.next()?).ok()?.into();
    let catalog = String::from_utf8(parts.next()?).ok()?.into();
    Some(Generation { rules, catalog, next: u64::from_le_bytes(*next), shards: parts.collect() })
}

/// Snapshots in memory: the model, whose content survives a simulated crash.
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots(Arc<Mutex<HashMap<u32, Generation>>>);

#[async_trait]
impl SnapshotStore for MemorySnapshots {
    async fn save(&self, partition: u32, generation: Generation) -> Result<(), String> {
        self.0.lock().expect("no holder of this lock panics").insert(partition, generation);
        Ok(())
    }

    async fn load(&self, partition: u32) -> Result<Option<Generation>, String> {
        Ok(self.0.lock().expect("no holder of this lock panics").get(&partition).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn conforms(store: &dyn SnapshotStore) {
        assert_eq!(store.load(3).await.unwrap(), None);
        let first = Generation {
            rules: "[]".into(),
            catalog: "{}".into(),
            next: 7,
            shards: vec![vec![1; 4000], vec![]],
        };
        store.save(3, first.clone()).await.unwrap();
        let second = Generation { next: 9, shards: vec![vec![2]], ..first.clone() };
        store.save(4, first.clone()).await.unwrap();
        store.save(3, second.clone()).await.unwrap();
        assert_eq!(store.load(3).await.unwrap(), Some(second));
        assert_eq!(store.load(4).await.unwrap(), Some(first));
    }

    #[tokio::test]
    async fn both_stores_keep_the_newest() {
        conforms(&MemorySnapshots::default()).await;
        let dir = tempfile::tempdir().unwrap();
        conforms(&FolderSnapshots::new(dir.path().to_owned())).await;
    }

    #[tokio::test]
    async fn a_damaged_snapshot_is_no_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderSnapshots::new(dir.path().to_owned());
        let generation =
            Generation { rules: "[]".into(), catalog: "{}".into(), next: 7, shards: vec![vec![1; 400]] };
        store.save(0, generation).await.unwrap();
        let file = dir.path().join("0.snapshot");
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(store.load(0).await.unwrap(), None);
    }
}
