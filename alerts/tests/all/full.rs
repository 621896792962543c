//! A full disk under the alarm database: a transaction fails, and the next one works as soon as there is room again. SQLite ends a
//! transaction by itself when the disk is full; a connection that does not know it would refuse every later one.

use alerts::{AlarmFilter, AlarmStore, OwnAlarm, SqlStore, StoreError, conformance};
use model::Severity;
use prometheus::Registry;
use std::io::Write;
use tests::tmpfs::Tmpfs;

async fn raise(store: &SqlStore, key: u64) -> Result<(), StoreError> {
    let alarm = OwnAlarm {
        what: "test".to_owned(),
        key: key.to_string(),
        severity: Severity::Orange,
        reason: "x".repeat(4000),
        on: true,
    };
    store.raise_own(alarm, key as i64).await
}

#[tokio::test]
async fn alarms_are_kept_again_once_a_full_disk_has_room() {
    let Some(disk) = Tmpfs::mount(4) else { return };
    let url = format!("sqlite:{}", disk.path().join("alarms.db").display());
    let store = SqlStore::open(&url, conformance::receivers(), &Registry::new()).await.unwrap();
    raise(&store, 0).await.unwrap();
    let (ballast, mut next) = (disk.path().join("ballast"), 1);
    for _ in 0..3 {
        let mut file = std::fs::File::create(&ballast).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        drop(file);
        // What SQLite had room for in its files still goes in.
        let kept = next;
        while raise(&store, next).await.is_ok() {
            next += 1;
            assert!(next < kept + 1000, "the disk is full");
        }
        for _ in 0..3 {
            assert!(raise(&store, next).await.is_err(), "it stays full");
        }
        assert!(!store.list(&AlarmFilter::default()).await.unwrap().is_empty(), "reading goes on");
        std::fs::remove_file(&ballast).unwrap();
        raise(&store, next).await.expect("there is room again");
        next += 1;
    }
    let kept = store.list(&AlarmFilter { limit: usize::MAX, ..AlarmFilter::default() }).await.unwrap();
    assert_eq!(kept.len() as u64, next, "each is there once");
}
