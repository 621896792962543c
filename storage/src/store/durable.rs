//! A local folder whose files survive a power cut: written under a temporary name, fsynced, then renamed (or linked, when
//! the name must be new), and the directory fsynced. `object_store`'s own local store does not fsync.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Half-written files are removed when they are older.
const UNFINISHED_AGE: Duration = Duration::from_secs(86_400);

/// The store. See the module.
#[derive(Debug)]
pub struct DurableFolder {
    inner: LocalFileSystem,
    temporary: AtomicU64,
}

impl DurableFolder {
    /// Opens `folder`, making it when it is not there.
    ///
    /// # Errors
    /// When it cannot be made or is no folder.
    pub fn open(folder: &str) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        remove_unfinished(FsPath::new(folder));
        let inner = LocalFileSystem::new_with_prefix(folder).map_err(std::io::Error::other)?;
        Ok(Self { inner, temporary: AtomicU64::new(0) })
    }

    /// A name beside `path` that listings of the store leave out (`#` and digits mark an unfinished upload there).
    fn temporary_beside(&self, path: &FsPath) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        let count = self.temporary.fetch_add(1, Ordering::Relaxed);
        name.push(format!("#{}{count:06}", std::process::id()));
        name.into()
    }
}

impl fmt::Display for DurableFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable{}", self.inner)
    }
}

/// Removes what a process that was killed left half written, once it is a day old: another process may be writing now.
fn remove_unfinished(folder: &FsPath) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_unfinished(&path);
            continue;
        }
        let name = entry.file_name();
        let unfinished =
            name.to_string_lossy().rsplit_once('#').is_some_and(|(_, end)| end.parse::<u64>().is_ok());
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if unfinished && age.is_some_and(|age| age > UNFINISHED_AGE) {
            let _ = fs::remove_file(path); // it does no harm where it stays
        }
    }
}

fn failed(path: &FsPath, source: std::io::Error) -> Error {
    let text = path.display().to_string();
    if source.kind() == std::io::ErrorKind::AlreadyExists {
        return Error::AlreadyExists { path: text, source: source.into() };
    }
    let source = std::io::Error::new(source.kind(), format!("{text}: {source}"));
    Error::Generic { store: "folder", source: source.into() }
}

fn write_durably(
    path: &FsPath,
    temporary: &FsPath,
    payload: &PutPayload,
    create: bool,
) -> std::io::Result<()> {
    let parent = path.parent().ok_or_else(|| std::io::Error::other("the path has no folder"))?;
    if !parent.exists() {
        fs::create_dir_all(parent)?;
        // The new folder's own entry must survive too.
        if let Some(above) = parent.parent() {
            File::open(above)?.sync_all()?;
        }
    }
    let mut file = File::create(temporary)?;
    crate::background::write_synced(&mut file, payload.iter().map(|part| &part[..]))?;
    if create {
        fs::hard_link(temporary, path)?;
        fs::remove_file(temporary)?;
    } else {
        fs::rename(temporary, path)?;
    }
    File::open(parent)?.sync_all()
}

/// The Delta library relies on the order of names, which object stores keep and folders do not.
fn in_order(list: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
    let all = list.try_collect::<Vec<ObjectMeta>>().map_ok(|mut all| {
        all.sort_by(|a, b| a.location.cmp(&b.location));
        stream::iter(all.into_iter().map(Ok))
    });
    all.try_flatten_stream().boxed()
}

#[async_trait]
impl ObjectStore for DurableFolder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create = match &options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, options).await,
        };
        let path = self.inner.path_to_filesystem(location)?;
        let temporary = self.temporary_beside(&path);
        let write = move || {
            let result = write_durably(&path, &temporary, &payload, create);
            if result.is_err() {
                let _ = fs::remove_file(&temporary); // it may never have been made
            }
            result.map_err(|e| failed(&path, e))
        };
        tokio::task::spawn_blocking(write)
            .await
            .map_err(|e| Error::Generic { store: "folder", source: e.into() })??;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        in_order(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        in_order(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn a_name_is_given_once_and_unfinished_files_are_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableFolder::open(folder.path().to_str().unwrap()).unwrap();
        let path = Path::from("t/_delta_log/1.json");
        let new = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&path, "a".into(), new()).await.unwrap();
        let again = store.put_opts(&path, "b".into(), new()).await.unwrap_err();
        assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "a");
        store.put(&path, "c".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "c");
        fs::write(store.temporary_beside(&folder.path().join("t/_delta_log/2.json")), "half").unwrap();
        for name in ["10", "9", "2"] {
            store.put(&Path::from(format!("t/{name}")), "x".into()).await.unwrap();
        }
        let names: Vec<String> =
            store.list(None).map_ok(|m| m.location.to_string()).try_collect().await.unwrap();
        assert_eq!(names, ["t/10", "t/2", "t/9", "t/_delta_log/1.json"]);
        let left = fs::read_dir(folder.path().join("t/_delta_log")).unwrap().count();
        assert_eq!(left, 2, "what was put leaves nothing beside it");
    }
}
