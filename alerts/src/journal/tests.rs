//! What is forged is found, and where; checkpoints.

use super::*;
use crate::life::{Act, What};
use crate::store::{MemoryStore, SqlJournal, SqlStore, conformance};
use crate::{AlarmStore, TransitionBatch};
use model::To;
use sqlx::{Connection, SqliteConnection};
use std::path::Path;

/// Alarms that come and go, acknowledged and told.
async fn filled(store: &dyn AlarmStore) {
    for n in 1..=20u64 {
        let to = if n % 2 == 1 { To::On } else { To::Off };
        let transitions = vec![conformance::transition(n, "alarm", to, 1.1)];
        store
            .apply(TransitionBatch { partition: 0, next: n + 1, transitions, now: n as i64, hold: false })
            .await
            .unwrap();
    }
    let first = conformance::transition(1, "alarm", To::On, 1.1).id.to_string();
    store.act(&[first], &Act::new(What::Acknowledge, "wang").with_note("seen"), 30).await.unwrap();
    for message in store.outbox_due("county", 1000, 5).await.unwrap() {
        store.delivered(&message.key, 40).await.unwrap();
    }
}

async fn open(file: &Path) -> SqlStore {
    let url = format!("sqlite:{}", file.display());
    SqlStore::open(&url, conformance::receivers(), &prometheus::Registry::new()).await.unwrap()
}

/// What is found in a copy of the file that somebody changed with this SQL.
async fn found(file: &Path, sql: &str, checkpoints: &[Checkpoint]) -> Result<Head, Broken> {
    let copy = file.with_extension("copy");
    std::fs::copy(file, &copy).unwrap();
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", copy.display())).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let journal = SqlJournal::open(&format!("sqlite:{}", copy.display())).await.unwrap();
    let found = verify(&journal, checkpoints, |_| ()).await.unwrap();
    drop(journal);
    // To open it for writing mends nothing.
    let store = open(&copy).await;
    assert_eq!(verify(&store, checkpoints, |_| ()).await.unwrap(), found, "{sql}");
    drop(store);
    for end in ["copy", "copy-wal", "copy-shm"] {
        let _ = std::fs::remove_file(file.with_extension(end));
    }
    found
}

#[tokio::test]
async fn whatever_is_changed_is_found_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alarms.db");
    let store = open(&file).await;
    filled(&store).await;
    let head = store.head().await.unwrap();
    let signer = Signer::from_secret(&"07".repeat(32)).unwrap();
    let signed = [signer.sign(head, 1)];
    drop(store);
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    assert_eq!(found(&file, "SELECT 1", &signed).await, Ok(head));
    // Each column of each entry, by as little as can be.
    for seq in 1..=head.seq {
        for set in [
            "at = at + 1",
            "event = event || ' '",
            "alarm_id = substr(alarm_id, 2)",
            "rose = 1 - rose",
            "by = by || 'x'",
            "note = note || 'x'",
            "detail = substr(detail, 2) || 'x'",
            "alarm = replace(alarm, '1.1', '1.2') || ' '",
            "hash = x'01' || substr(hash, 2)",
            "hash = x''",
            "note = x'ff'",
        ] {
            let sql = format!("UPDATE journal SET {set} WHERE seq = {seq}");
            let got = found(&file, &sql, &[]).await;
            assert!(matches!(got, Err(Broken::Changed { seq: at, .. }) if at == seq), "{sql}: {got:?}");
        }
        let got = found(&file, &format!("DELETE FROM journal WHERE seq = {seq}"), &signed).await;
        let cut = Broken::Cut { end: seq - 1, signed: seq };
        assert_eq!(got, Err(if seq == head.seq { cut } else { Broken::Missing { from: seq, to: seq } }));
    }
    // A text that moves from one column into the next.
    let moved = "UPDATE journal SET by = by || substr(note, 1, 1), note = substr(note, 2) WHERE note <> ''";
    assert!(matches!(found(&file, moved, &[]).await, Err(Broken::Changed { .. })));
    // Closed up again after one is removed.
    let closed = "DELETE FROM journal WHERE seq = 5; UPDATE journal SET seq = seq - 1 WHERE seq > 5";
    assert!(matches!(found(&file, closed, &[]).await, Err(Broken::Changed { seq: 5, .. })));
    let blank = "UPDATE journal SET note = 'nothing' WHERE seq = 5; UPDATE journal SET hash = x''";
    assert!(matches!(found(&file, blank, &[]).await, Err(Broken::Changed { seq: 1, .. })));
    for set in
        ["active = 1 - active", "site = 'other'", "region = '1'", "severity = 3 - severity", "rule = 'x'"]
    {
        let hidden = format!("UPDATE alarms SET {set} WHERE n = 3");
        assert!(matches!(found(&file, &hidden, &[]).await, Err(Broken::Listed { .. })), "{hidden}");
    }
    let gone = "DELETE FROM alarms WHERE n = 2";
    assert!(matches!(found(&file, gone, &[]).await, Err(Broken::Listed { seq: 4, .. })));
    let list = "UPDATE alarms SET alarm = replace(alarm, '\"acked\":true', '\"acked\":false') WHERE n = 1";
    assert!(matches!(found(&file, list, &[]).await, Err(Broken::Listed { seq: 21, .. })));
}

#[tokio::test]
async fn what_was_written_anew_is_found_by_a_checkpoint() {
    let (original, forged) = [(); 2].map(|()| MemoryStore::new(conformance::receivers())).into();
    for store in [&original, &forged] {
        filled(store).await;
    }
    let more = |by: &str| Act::new(What::Comment, by);
    let first = [conformance::transition(1, "alarm", To::On, 1.1).id.to_string()];
    original.act(&first, &more("li"), 50).await.unwrap();
    forged.act(&first, &more("nobody"), 50).await.unwrap();
    let signer = Signer::from_secret(&"07".repeat(32)).unwrap();
    let head = original.head().await.unwrap();
    let checkpoint = signer.sign(head, 1_234_567);
    assert_eq!(verify(&original, std::slice::from_ref(&checkpoint), |_| ()).await.unwrap(), Ok(head));
    let found = verify(&forged, std::slice::from_ref(&checkpoint), |_| ()).await.unwrap();
    assert_eq!(found, Err(Broken::Rewritten { seq: head.seq }));

    let json = checkpoint.to_json();
    assert_eq!(Checkpoint::read(&json, &[[9; 32], signer.key()]).as_ref(), Ok(&checkpoint));
    let other = Signer::from_secret(&"08".repeat(32)).unwrap();
    let error = Checkpoint::read(&json, &[other.key()]).unwrap_err();
    assert!(error.to_string().contains("signed by another key"), "{error}");
    let later = json.replace(&format!("\"seq\":{}", head.seq), &format!("\"seq\":{}", head.seq - 1));
    assert_eq!(Checkpoint::read(&later, &[]), Err(CheckpointError::Signature(head.seq - 1)));
    for wrong in ["", "{}", &json.replace("\"hash\":\"", "\"hash\":\"zz")] {
        assert!(matches!(Checkpoint::read(wrong, &[]), Err(CheckpointError::Form(_))), "{wrong}");
    }
    assert!(Signer::from_secret("07").is_err());
    assert!(!format!("{signer:?}").contains("0707"), "the secret is never shown");
}

/// The first entry's hash, computed by hand with another program: the format is what the head of this file says.
#[test]
fn the_hash_is_the_one_that_is_described() {
    let [alarm_id, detail, alarm] = [(); 3].map(|()| String::new());
    let entry = Entry {
        seq: 0,
        at: 1_700_000_000_000_000,
        event: "commented".into(),
        alarm_id,
        rose: true,
        by: "王".into(),
        note: "ok".into(),
        detail,
        alarm,
        hash: [0; 32],
    };
    assert_eq!(
        hex::encode(entry.after(NOTHING).hash),
        "240e9b88bd27ccac6d8b89f120f6f511ac29cca252662012404a164962a346cd"
    );
}
