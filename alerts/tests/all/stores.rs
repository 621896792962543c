//! The conformance suite on both stores; a file that is opened again, by two at once, of a newer format, or that is none.

use alerts::{
    AlarmFilter, AlarmStore, MemoryStore, SqlStore, StoreError, TransitionBatch, conformance, journal,
};
use conformance::seen_by;
use model::{To, Transition};
use prometheus::Registry;
use std::path::Path;
use std::sync::Arc;

async fn open(file: &Path) -> Result<SqlStore, StoreError> {
    let store =
        SqlStore::open(&format!("sqlite:{}", file.display()), conformance::receivers(), &Registry::new())
            .await?;
    Ok(store.with_places(conformance::places()))
}

fn batch(next: u64, transitions: Vec<Transition>) -> TransitionBatch {
    TransitionBatch { partition: 0, next, transitions, now: next as i64, hold: false }
}

#[tokio::test]
async fn memory_keeps_all_promises() {
    conformance::suite(async || {
        MemoryStore::new(conformance::receivers()).with_places(conformance::places())
    })
    .await;
}

#[tokio::test]
async fn sqlite_keeps_all_promises() {
    let dir = tempfile::tempdir().unwrap();
    let mut n = 0;
    let fresh = || {
        n += 1;
        let file = dir.path().join(format!("{n}.db"));
        async move { open(&file).await.unwrap() }
    };
    conformance::suite(fresh).await;
}

#[tokio::test]
async fn a_file_is_opened_again_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("below").join("alarms.db");
    let on = conformance::transition(1, "alarm", To::On, 1.1);
    open(&file).await.unwrap().apply(batch(1, vec![on.clone()])).await.unwrap();
    let store = open(&file).await.unwrap();
    assert_eq!(store.position(0).await.unwrap(), 1);
    assert!(store.apply(batch(2, vec![on])).await.unwrap().is_empty());
    assert_eq!(store.list(&AlarmFilter::default()).await.unwrap().len(), 1);
    assert_eq!(store.outbox_due("county", i64::MAX, 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_write_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alarms.db");
    let (rules, operators) = (Arc::new(open(&file).await.unwrap()), Arc::new(open(&file).await.unwrap()));
    let applying = tokio::spawn(async move {
        for n in 1..=200 {
            let to = if n % 2 == 1 { To::On } else { To::Off };
            rules.apply(batch(n, vec![conformance::transition(n, "alarm", to, 1.1)])).await.unwrap();
        }
    });
    let ids: Vec<String> =
        (1..=200).map(|n| conformance::transition(n, "alarm", To::On, 1.1).id.to_string()).collect();
    for chunk in ids.chunks(5) {
        operators.act(chunk, &seen_by("wang"), 1).await.unwrap();
    }
    applying.await.unwrap();
    operators.act(&ids, &seen_by("li"), 2).await.unwrap();
    let all = operators.list(&AlarmFilter { all: true, ..AlarmFilter::default() }).await.unwrap();
    assert_eq!((all.len(), all.iter().filter(|a| a.acked).count()), (100, 100));
    let events = operators.events_after(0, 1000).await.unwrap();
    assert!(
        events.iter().zip(1..).all(|(e, seq)| e.seq == seq),
        "numbers without a hole, as no message was tried"
    );
    assert_eq!(events.len(), 300);
}

#[tokio::test]
async fn a_newer_file_and_one_that_is_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alarms.db");
    drop(open(&file).await.unwrap());
    let url = format!("sqlite:{}", file.display());
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    let error = open(&file).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Format(e) if e.contains("made by a newer one") && e.contains("alarms.db")),
        "{error}"
    );
    let none = dir.path().join("none.db");
    std::fs::write(&none, "this is a text and no database, long enough to have a header".repeat(9)).unwrap();
    let error = open(&none).await.unwrap_err().to_string();
    assert!(error.contains("none.db") && error.contains("not a database"), "{error}");
}

#[tokio::test]
async fn a_file_of_the_release_before_is_opened_and_its_events_are_chained() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alarms.db");
    let before = include_str!("../../migrations/0001_alarms.sql");
    let url = format!("sqlite:{}?mode=rwc", file.display());
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let applied = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMP \
                   NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)";
    // As firedamp wrote them before there was a journal.
    let alarm = "{\"id\":\"0123456789abcdef0123456789abcdef\",\"site\":\"M1\",\"point\":\"T1\",\"region\":\"140100\",\"site_name\":\"\",\
                 \"point_name\":\"\",\"quantity\":\"ch4\",\"unit\":\"%\",\"rule\":\"ch4\",\"level\":\"alarm\",\"state\":\"active\",\"acked\":false,\
                 \"severity\":\"yellow\",\"opened\":\"1970-01-01T00:00:01.000Z\",\"closed\":null,\"changed\":\"1970-01-01T00:00:01.000Z\",\
                 \"peak\":1.1,\"withdrawn\":false,\"acked_by\":null,\"acked_at\":null,\"reason\":\"1.1 >= 1\",\"marks\":{}}";
    let id = &alarm[7..39];
    for sql in [before.to_owned(), applied.to_owned()] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    let done = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (1, 'alarms', 1, ?, 1)";
    let checksum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, before.as_bytes());
    sqlx::query(done).bind(checksum.as_ref()).execute(&mut connection).await.unwrap();
    for event in ["raised", "acknowledged"] {
        let sql = "INSERT INTO events (alarm_id, event, rose, at, by, note, alarm) VALUES (?, ?, 1, 5, 'rules', '', ?)";
        sqlx::query(sql).bind(id).bind(event).bind(alarm).execute(&mut connection).await.unwrap();
    }
    let row = "INSERT INTO alarms (id, class, rule, point_id, site, region, severity, partition_no, active, opened, held, last_transition, \
               decided, told, top, levels, alarm) VALUES (?, 0, 'ch4', 1, 'M1', '140100', 2, 0, 1, 1000000, 0, '', 0, \
               '{\"receivers\":[],\"shown\":null}', '[\"alarm\",{\"rank\":0,\"severity\":\"yellow\",\"calibrating\":false}]', '{}', ?)";
    sqlx::query(row).bind(id).bind(alarm).execute(&mut connection).await.unwrap();
    <sqlx::SqliteConnection as sqlx::Connection>::close(connection).await.unwrap();

    let store = open(&file).await.unwrap();
    let head = journal::verify(&store, &[], |_| ()).await.unwrap().unwrap();
    assert_eq!(head.seq, 2);
    assert_eq!(store.get(&id[..6]).await.unwrap().unwrap().rule, "ch4");
    let done = store.act(&[id.to_owned()], &seen_by("wang"), 9).await.unwrap();
    assert_eq!((done[0].outcome, store.history(id).await.unwrap().len()), ("acked", 3));
    drop(store);
    // Opened again nothing is chained anew.
    let store = open(&file).await.unwrap();
    assert_eq!(journal::verify(&store, &[], |_| ()).await.unwrap().unwrap().seq, 3);
}
