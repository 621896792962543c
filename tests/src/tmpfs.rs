//! A small file system of its own, to be filled to the last byte.

use std::path::Path;
use std::process::Command;

/// A mounted tmpfs; unmounted when it is dropped.
#[derive(Debug)]
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// Mounts one of so many MiB. `None`, and said so, where this user may not mount.
    ///
    /// # Panics
    /// When no folder can be made to mount it on.
    pub fn mount(mib: u64) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "firedamp-test"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(o) if o.status.success() => Some(Self(dir)),
            why => {
                eprintln!("SKIPPED: no tmpfs can be mounted here (needs root): {why:?}");
                None
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
