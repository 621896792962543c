//! What takes seconds beside the path of readings, so that alarms go first: computing on threads of low priority, and large files that
//! reach the disk piece by piece. An alarm waits for several small syncs, of the log and of the alarm store, and each of them for what the
//! disk was given before. The files of the table are made so, and the server packs and writes the snapshots of the rules so too.

use std::fs::File;
use std::io::Write;
use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
use tokio::sync::oneshot;

/// Of 0 to 99; about nice 9, an eighth of what the path gets where both want a core.
const PRIORITY: u8 = 25;

/// Gives the calling thread, which must not be one of the path, the low priority. What cannot be had is no error: then it competes.
pub fn lower_priority() {
    let priority = ThreadPriorityValue::try_from(PRIORITY).map(ThreadPriority::Crossplatform);
    match priority.map(set_current_thread_priority) {
        Ok(Ok(())) => {}
        other => tracing::debug!("the priority of a background thread stays as it is: {other:?}"),
    }
}

/// Computes on a thread of its own, which stands back.
///
/// # Errors
/// A sentence, when the thread cannot be started or panics.
pub async fn run<T: Send + 'static>(
    name: &str,
    compute: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let after_path = || {
        lower_priority();
        compute()
    };
    run_beside(name, after_path).await
}

/// Computes on a thread of its own with the priority of the path: what others wait for.
///
/// # Errors
/// As [`run`].
pub async fn run_beside<T: Send + 'static>(
    name: &str,
    compute: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, result) = oneshot::channel();
    let work = move || {
        let _ = done.send(compute()); // nobody waits any more
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|e| format!("no thread: {e}"))?;
    result.await.map_err(|_| format!("{name} panicked"))
}

/// Bytes of a file that are on disk before the next ones are written: a hundredth of a second of a slow disk.
const PIECE: usize = 1 << 20;

/// Writes bytes to the end of a new file, and has them on disk when it returns.
///
/// # Errors
/// What the system says.
pub fn write_synced<'b>(file: &mut File, parts: impl IntoIterator<Item = &'b [u8]>) -> std::io::Result<()> {
    let mut unsynced = 0;
    for part in parts {
        for piece in part.chunks(PIECE) {
            file.write_all(piece)?;
            unsynced += piece.len();
            if unsynced >= PIECE {
                file.sync_data()?;
                unsynced = 0;
            }
        }
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_of_large_and_small_parts_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let parts: Vec<Vec<u8>> =
            [3, 0, super::PIECE + 5, 1, 2 * super::PIECE].iter().map(|n| vec![*n as u8; *n]).collect();
        let mut file = std::fs::File::create(&path).unwrap();
        super::write_synced(&mut file, parts.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), parts.concat());
    }

    /// How nice the calling thread is; `None` where there is no /proc.
    fn nice() -> Option<i32> {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
        // Field 19 of stat(5), counted behind the name in parentheses.
        stat.rsplit(')').next()?.split_whitespace().nth(16)?.parse().ok()
    }

    #[tokio::test]
    async fn what_is_computed_comes_back_and_a_panic_is_an_error() {
        let (own, background) = (nice(), super::run("nice", nice).await.unwrap());
        // A test that runs nicer than that already has nothing to give up.
        assert!(background > own || own >= Some(9), "{background:?}, and the path {own:?}");
        assert_eq!(
            super::run("falls", || panic!("as it should")).await,
            Err::<(), _>("falls panicked".to_owned())
        );
    }
}
