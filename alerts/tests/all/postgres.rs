//! The same promises on PostgreSQL, a real server: the conformance suite, two processes that write, a server that is killed, and a journal
//! that somebody changed.

use alerts::{
    AlarmFilter, AlarmStore, OwnAlarm, SqlJournal, SqlStore, StoreError, TransitionBatch, conformance,
    journal,
};
use model::{Severity, To, Transition};
use prometheus::Registry;
use std::sync::Arc;
use tests::postgres;

async fn open(url: &str) -> Result<SqlStore, StoreError> {
    let store = SqlStore::open(url, conformance::receivers(), &Registry::new()).await?;
    Ok(store.with_places(conformance::places()))
}

fn batch(next: u64, transitions: Vec<Transition>) -> TransitionBatch {
    TransitionBatch { partition: 0, next, transitions, now: next as i64, hold: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_all_promises() {
    let server = postgres::start();
    conformance::suite(async || open(&server.database()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_write_one_database_and_what_is_changed_in_it_is_found() {
    let server = postgres::start();
    let url = server.database();
    let (one, other) = tokio::join!(open(&url), open(&url));
    let (one, other) = (Arc::new(one.unwrap()), other.unwrap());
    let on = |n| conformance::transition(n, "alarm", if n % 2 == 1 { To::On } else { To::Off }, 1.1);
    let applying = tokio::spawn(async move {
        for n in 1..=100 {
            one.apply(batch(n, vec![on(n)])).await.unwrap();
        }
    });
    let ids: Vec<String> = (1..=100).map(|n| on(n).id.to_string()).collect();
    for chunk in ids.chunks(5) {
        other.act(chunk, &conformance::seen_by("wang"), 1).await.unwrap();
    }
    applying.await.unwrap();
    other.act(&ids, &conformance::seen_by("li"), 2).await.unwrap();
    let all = other.list(&AlarmFilter { all: true, ..AlarmFilter::default() }).await.unwrap();
    assert_eq!((all.len(), all.iter().filter(|a| a.acked).count()), (50, 50));
    let read = SqlJournal::open(&url).await.unwrap();
    assert_eq!(journal::verify(&read, &[], |_| ()).await.unwrap().unwrap().seq, 150);
    let database = url.rsplit('/').next().unwrap();
    server.sql(database, "UPDATE alarms SET site = 'M9' WHERE n = (SELECT max(n) FROM alarms)");
    let broken = journal::verify(&read, &[], |_| ()).await.unwrap().unwrap_err();
    assert!(matches!(&broken, journal::Broken::Listed { .. }), "{broken}");
    server.sql(database, "UPDATE journal SET note = 'x' WHERE seq = 42");
    let broken = journal::verify(&read, &[], |_| ()).await.unwrap().unwrap_err();
    assert!(matches!(&broken, journal::Broken::Changed { seq: 42, .. }), "{broken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_and_is_found_again() {
    let mut server = postgres::start();
    let store = open(&server.database()).await.unwrap();
    let on = conformance::transition(1, "alarm", To::On, 1.1);
    store.apply(batch(1, vec![on.clone()])).await.unwrap();
    server.kill9();
    let cut = conformance::transition(2, "cut", To::On, 1.6);
    let gone = store.apply(batch(2, vec![cut.clone()])).await.unwrap_err();
    assert!(matches!(gone, StoreError::Database(_)), "{gone}");
    server.start_again();
    let events = store.apply(batch(2, vec![on, cut])).await.unwrap();
    assert_eq!(events.len(), 1, "the first was taken before");
    let due = store.outbox_due("county", i64::MAX, 9).await.unwrap();
    assert_eq!(due.len(), 1);
    // What a receiver answers may hold what PostgreSQL takes in no text.
    store.failed(&due[0].key, "no\0", Some(9), 9).await.unwrap();
    let said = store.history(&due[0].alarm).await.unwrap();
    assert_eq!(said.last().unwrap().note, "no\u{fffd}");
    let reason = "500: no\0".to_owned();
    let own = OwnAlarm { what: "x".into(), key: String::new(), severity: Severity::Yellow, reason, on: true };
    store.raise_own(own, 10).await.unwrap();
    assert_eq!(journal::verify(&store, &[], |_| ()).await.unwrap().unwrap().seq, 4);
}

#[tokio::test]
async fn what_is_wrong_with_an_address_is_told_without_its_password() {
    let server = postgres::start();
    let url = server.database();
    for (wrong, part) in [
        (url.replace("not%20a%20secret", "hidden"), "password authentication failed"),
        (format!("{url}x").replace("not%20a%20secret", "hidden"), "failed"),
        (format!("postgres://firedamp:hidden@127.0.0.1:{}/x", tests::free_port()), "refused"),
        ("postgres://firedamp:hidden@[/x".to_owned(), "address cannot be read"),
    ] {
        let error = open(&wrong).await.unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("hidden"), "{error}");
    }
    // A database of a newer firedamp.
    drop(open(&url).await.unwrap());
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', true, '', 0)";
    server.sql(url.rsplit('/').next().unwrap(), newer);
    let error = open(&url).await.unwrap_err().to_string();
    assert!(error.contains("made by a newer one") && error.contains("127.0.0.1"), "{error}");
}
