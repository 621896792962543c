//! What no test from outside can bring about: a failed fsync, damage that only the inside shows.

use super::files::Seen;
use super::*;
use crate::conformance::{read_all, records};
use model::SystemClock;

fn options(dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions { dir: dir.to_owned(), partitions: 2, disk_reserve: 0, ..EmbeddedOptions::default() }
}

#[tokio::test]
async fn a_failed_fsync_ends_the_log_and_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Seen::default());
    let clock = Arc::new(SystemClock);
    let log = open::open_watched(options(dir.path()), clock, &Registry::new(), seen.clone()).unwrap();
    log.append(Stream::Readings, 0, records(&["a"])).await.unwrap();
    seen.fail_next_sync();
    let waiting = log.wait(Stream::Readings, 1, 0);
    let (failed, waited) = tokio::join!(log.append(Stream::Readings, 0, records(&["b"])), waiting);
    for result in [failed.map(drop), waited] {
        assert!(matches!(&result, Err(LogError::Broken(why)) if why.contains("fsync")), "{result:?}");
    }
    let after = log.append(Stream::Readings, 1, records(&["c"])).await;
    assert!(matches!(&after, Err(LogError::Broken(why)) if why.contains("fsync")), "{after:?}");
    assert_eq!(read_all(&log, Stream::Readings, 0, 0).await.len(), 1, "what was durable can still be read");
    drop(log);
    let log = EmbeddedLog::open(options(dir.path()), Arc::new(SystemClock), &Registry::new()).unwrap();
    assert!(log.bounds(Stream::Readings, 0).await.unwrap().next >= 1);
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let open = |o| EmbeddedLog::open(o, Arc::new(SystemClock), &Registry::new()).unwrap_err().to_string();
    let none = open(EmbeddedOptions { partitions: 0, ..options(dir.path()) });
    assert!(none.contains("log.partitions is 0"), "{none}");
    let tiny = open(EmbeddedOptions { retain_size: 1000, ..options(dir.path()) });
    assert!(tiny.contains("log.retain_size"), "{tiny}");
}
