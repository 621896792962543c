//! The conformance suite on both stores, and a file that is opened again.

use alerts::{AlarmFilter, AlarmStore, MemoryStore, SqliteStore, conformance};
use model::To;
use prometheus::Registry;

async fn sqlite(dir: &tempfile::TempDir) -> SqliteStore {
    let file = dir.path().join(format!("{}.db", rand::random::<u64>()));
    SqliteStore::open(&format!("sqlite:{}", file.display()), conformance::receivers(), &Registry::new())
        .await
        .unwrap()
}

#[tokio::test]
async fn memory_keeps_all_promises() {
    conformance::suite(async || MemoryStore::new(conformance::receivers())).await;
}

#[tokio::test]
async fn sqlite_keeps_all_promises() {
    let dir = tempfile::tempdir().unwrap();
    conformance::suite(|| sqlite(&dir)).await;
}

#[tokio::test]
async fn a_file_is_opened_again_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("alarms.db").display());
    let open =
        || async { SqliteStore::open(&url, conformance::receivers(), &Registry::new()).await.unwrap() };
    let on = conformance::transition(1, "alarm", To::On, 1.1);
    let batch =
        |next, transitions| alerts::TransitionBatch { partition: 0, next, transitions, now: 1, hold: false };
    open().await.apply(batch(1, vec![on.clone()])).await.unwrap();
    let store = open().await;
    assert_eq!(store.position(0).await.unwrap(), 1);
    assert!(store.apply(batch(2, vec![on])).await.unwrap().is_empty());
    assert_eq!(store.list(&AlarmFilter::default()).await.unwrap().len(), 1);
    assert_eq!(store.outbox_due("county", i64::MAX, 9).await.unwrap().len(), 1);
}
