//! The file system that raft-engine writes to: the machine's, watched for two things that raft-engine does not tell.
//!
//! - A torn tail that is cut at opening. raft-engine allocates ahead, so after every kill the last file ends in zeros;
//!   cutting those loses nothing and is not told. Anything else that is cut is.
//! - A failed fsync. raft-engine panics on it; here it is noted and the committer, which asks after each write, ends the
//!   log without having acknowledged anything.

use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission};
use std::io::{Read, Result, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

type Inner = DefaultFileSystem;

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Torn tails: file, length that was kept, bytes that were cut.
    cuts: Mutex<Vec<Cut>>,
    sync_failed: AtomicBool,
    /// Makes the next fsyncs fail, so that a test can see what happens then.
    fail_syncs: AtomicU64,
}

/// A torn tail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    pub file: PathBuf,
    pub kept: u64,
    pub bytes: u64,
}

impl Seen {
    /// The torn tails cut so far.
    pub fn cuts(&self) -> Vec<Cut> {
        self.cuts.lock().expect("no code panics while it holds the list").clone()
    }

    /// Whether an fsync failed: what was written since the last good one may be lost, whatever a later one says.
    pub fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::SeqCst)
    }

    #[cfg(test)]
    pub fn fail_next_sync(&self) {
        self.fail_syncs.store(1, Ordering::SeqCst);
    }
}

/// See the module.
pub struct WatchedFiles(pub Arc<Seen>);

/// A file of [`WatchedFiles`].
pub struct WatchedHandle {
    inner: Arc<<Inner as FileSystem>::Handle>,
    path: PathBuf,
    seen: Arc<Seen>,
}

impl WatchedFiles {
    fn handle(&self, inner: <Inner as FileSystem>::Handle, path: &Path) -> WatchedHandle {
        WatchedHandle { inner: Arc::new(inner), path: path.to_owned(), seen: self.0.clone() }
    }
}

impl Handle for WatchedHandle {
    /// Only opening calls this, to cut a tail; a writer goes another way.
    fn truncate(&self, offset: usize) -> Result<()> {
        let bytes = data_len_from(&self.path, offset as u64)?;
        if bytes > 0 {
            let cut = Cut { file: self.path.clone(), kept: offset as u64, bytes };
            self.seen.cuts.lock().expect("no code panics while it holds the list").push(cut);
        }
        self.inner.truncate(offset)
    }

    fn file_size(&self) -> Result<usize> {
        self.inner.file_size()
    }

    fn sync(&self) -> Result<()> {
        let injected =
            self.seen.fail_syncs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        let result = match injected {
            Ok(_) => Err(std::io::Error::other("injected")),
            Err(_) => self.inner.sync(),
        };
        if let Err(e) = result {
            tracing::error!(file = %self.path.display(), "fsync failed: {e}");
            self.seen.sync_failed.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Length of what stands after `offset` up to the last byte that is not zero.
fn data_len_from(path: &Path, offset: u64) -> Result<u64> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut block = vec![0; 64 << 10];
    let (mut at, mut data) = (0u64, 0u64);
    loop {
        let len = file.read(&mut block)?;
        if len == 0 {
            return Ok(data);
        }
        if let Some(last) = block[..len].iter().rposition(|b| *b != 0) {
            data = at + last as u64 + 1;
        }
        at += len as u64;
    }
}

impl FileSystem for WatchedFiles {
    type Handle = WatchedHandle;
    type Reader = <Inner as FileSystem>::Reader;
    type Writer = <Inner as FileSystem>::Writer;

    fn create<P: AsRef<Path>>(&self, path: P) -> Result<WatchedHandle> {
        Ok(self.handle(Inner {}.create(&path)?, path.as_ref()))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> Result<WatchedHandle> {
        Ok(self.handle(Inner {}.open(&path, permission)?, path.as_ref()))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> Result<()> {
        Inner {}.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> Result<()> {
        Inner {}.rename(from, to)
    }

    fn new_reader(&self, handle: Arc<WatchedHandle>) -> Result<Self::Reader> {
        Inner {}.new_reader(handle.inner.clone())
    }

    fn new_writer(&self, handle: Arc<WatchedHandle>) -> Result<Self::Writer> {
        Inner {}.new_writer(handle.inner.clone())
    }
}
