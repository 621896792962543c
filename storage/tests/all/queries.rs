//! SQL: limits, refusals, pruning, outputs, and rows seen exactly once while commits are made.

use crate::rig::*;
use ::model::Record;
use std::time::Duration;
use storage::output::{Format, write};
use storage::{Limits, QueryError, Storage};

async fn filled(rig: &Rig) -> Storage {
    let storage = rig.open().await;
    storage
        .push(&entry(0), readings("east", &[("M1", "T1", 0.0, 0.5), ("M2", "T2", 0.25, f64::NAN)]))
        .await
        .unwrap();
    storage.flush().await.unwrap();
    storage.push(&entry(1), readings("east", &[("M1", "T1", 1.0, 1.5)])).await.unwrap();
    storage
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let rig = Rig::new();
    let storage = filled(&rig).await;
    for text in [
        "INSERT INTO readings SELECT * FROM readings",
        "DELETE FROM readings",
        "UPDATE readings SET value = 0",
        "DROP TABLE readings",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "COPY readings TO '/tmp/x.csv'",
        "COPY (SELECT 1) TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN ANALYZE INSERT INTO readings SELECT * FROM readings",
        "BEGIN",
    ] {
        let error = try_sql(&storage, text).await.unwrap_err();
        assert!(matches!(error, QueryError::ReadOnly(_) | QueryError::Sql(_)), "{text}: {error}");
    }
    for text in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "SELECT x FROM readings",
    ] {
        assert!(matches!(try_sql(&storage, text).await.unwrap_err(), QueryError::Sql(_)), "{text}");
    }
    assert_eq!(count(&storage, "readings").await, 3);
}

#[tokio::test]
async fn the_tables_describe_themselves() {
    let rig = Rig::new();
    let storage = filled(&rig).await;
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    let expected =
        ["arrivals", "events", "person_positions", "points", "quarantine", "readings", "sites", "stats_5min"];
    assert_eq!(sql(&storage, tables).await, expected);
    assert_eq!(
        sql(&storage, "SELECT arrow_typeof(time) FROM readings LIMIT 1").await,
        ["Timestamp(µs, \"UTC\")"]
    );
    let join = "SELECT r.point, p.quantity, s.region FROM readings r JOIN points p USING (site, point) \
                JOIN sites s ON s.site = r.site WHERE r.value > 1";
    assert_eq!(sql(&storage, join).await, ["T1 ch4 140100"]);
    assert!(sql(&storage, "SHOW TABLES").await.len() >= 7);
}

async fn error_of(storage: &Storage, text: &str, limits: Limits) -> QueryError {
    match storage.query(text, limits).await {
        Err(e) => e,
        Ok(rows) => rows.collect_all().await.unwrap_err(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_time_memory_and_rows_are_named() {
    let rig = Rig::new();
    let storage = filled(&rig).await;
    let limits = Limits { rows: 2, ..Limits::default() };
    let error = error_of(&storage, "SELECT * FROM readings", limits).await;
    assert!(
        matches!(error, QueryError::Rows { limit: 2, .. })
            && error.to_string().contains("storage.query.rows"),
        "{error}"
    );
    let two =
        storage.query("SELECT * FROM readings LIMIT 2", limits).await.unwrap().collect_all().await.unwrap();
    assert_eq!(two.iter().map(|b| b.num_rows()).sum::<usize>(), 2);
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    let heavy = "SELECT count(DISTINCT (value * 7919) % 2999999) FROM generate_series(1, 3000000)";
    let error = error_of(&storage, heavy, limits).await;
    assert!(
        matches!(error, QueryError::Memory { .. }) && error.to_string().contains("storage.query.memory"),
        "{error}"
    );
    let limits = Limits { time: Duration::from_millis(150), memory: 64 << 20, ..Limits::default() };
    let long = "SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 3000000) b WHERE a.value + b.value = 7";
    let error = error_of(&storage, long, limits).await;
    assert!(
        matches!(error, QueryError::Time { limit_ms: 150, .. })
            && error.to_string().contains("storage.query.time"),
        "{error}"
    );
}

/// Files of `readings` opened since the last call.
fn opened(rig: &Rig) -> usize {
    let mut paths: Vec<String> = rig.store.opened.lock().unwrap().drain(..).collect();
    paths.sort();
    paths.dedup();
    paths.len()
}

#[tokio::test]
async fn files_that_cannot_hold_a_wanted_row_are_not_opened() {
    let rig = Rig::new();
    let storage = rig.open().await;
    for minute in 0..10u64 {
        let site = if minute % 2 == 0 { "M1" } else { "M2" };
        let seconds = minute as f64 * 60.0;
        storage
            .push(&entry(minute), readings("east", &[(site, "T1", seconds, 1.0), (site, "T2", seconds, 2.0)]))
            .await
            .unwrap();
        storage.flush().await.unwrap();
    }
    let storage = rig.read_only().await;
    opened(&rig);
    for (filter, files) in [
        ("site = 'M1'", 5),
        ("site IN ('M3')", 0),
        ("point = 'T3'", 0),
        ("time >= '2026-11-24T00:08:00Z'", 2),
        ("time >= '2026-11-24T00:02:00Z' AND time < '2026-11-24T00:04:00Z' AND site = 'M1'", 1),
        ("time BETWEEN '2026-11-24T00:02:00Z' AND '2026-11-24T00:02:00Z'", 1),
        ("offset = 7", 1),
        ("day = '2026-11-25'", 0),
        ("value > 5", 0),
    ] {
        // Footers of files once opened are kept: a new reader each time.
        let storage = rig.read_only().await;
        opened(&rig);
        sql(&storage, &format!("SELECT site, point, value FROM readings WHERE {filter}")).await;
        assert_eq!(opened(&rig), files, "{filter}");
    }
    drop(storage);
}

#[tokio::test]
async fn filters_on_the_tail_give_what_they_give_on_the_table() {
    let rig = Rig::new();
    let storage = rig.open().await;
    let points = ["T1", "T2", "T3", "T4"];
    let sites = ["M1", "M2", "M3"];
    // Enough for sealed chunks and an open part.
    let each = 300;
    for number in 0..500u64 {
        let row = |i: usize| {
            (sites[i % 3], points[i / 3 % 4], (number * 20 + i as u64 / 12) as f64, (i % 7) as f64)
        };
        let rows: Vec<_> = (0..each).map(row).collect();
        storage.push(&entry(number), readings("east", &rows)).await.unwrap();
    }
    let questions = [
        "count(*), sum(value) FROM readings",
        "count(*), sum(value) FROM readings WHERE site = 'M2'",
        "count(*), sum(value) FROM readings WHERE site = 'M2' AND point IN ('T1', 'T4')",
        "count(*), sum(value) FROM readings WHERE point = 'T2' AND time > '2026-11-24T01:00:00Z'",
        "count(*), sum(value) FROM readings WHERE site = 'M9' OR time < '2026-11-24T00:00:10Z'",
        "count(*), max(time) FROM readings WHERE NOT site = 'M1' AND value >= 3",
        "count(*), min(CAST(day AS VARCHAR)) FROM readings WHERE day = '2026-11-24' AND source = 'east'",
        "count(DISTINCT offset), 0 FROM readings WHERE offset BETWEEN 3 AND 400",
    ];
    let mut answers = Vec::new();
    for q in questions {
        answers.push(sql(&storage, &format!("SELECT {q}")).await);
    }
    assert_eq!(answers[0][0].split(' ').next(), Some("150000"));
    storage.flush().await.unwrap();
    for (q, answer) in questions.iter().zip(answers) {
        assert_eq!(sql(&storage, &format!("SELECT {q}")).await, answer, "{q}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_seen_once_while_commits_are_made() {
    let mut rig = Rig::new();
    rig.options.query_threads = 1;
    rig.options.compact_files = 2;
    let storage = rig.open().await;
    let pusher = storage.clone();
    let pushing = tokio::spawn(async move {
        for number in 0..300u64 {
            pusher.push(&entry(number), readings("east", &[("M1", "T1", number as f64, 1.0)])).await.unwrap();
            if number % 10 == 9 {
                pusher.flush().await.unwrap();
            }
            if number % 50 == 49 {
                pusher.maintain().await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    let mut last = 0;
    let mut asked = 0;
    while !pushing.is_finished() {
        let answer =
            sql(&storage, "SELECT count(*), count(DISTINCT offset), max(offset) + 1 FROM readings").await;
        let numbers: Vec<i64> = answer[0].split(' ').map(|n| n.parse().unwrap_or(0)).collect();
        assert!(
            numbers[0] == numbers[1] && numbers[0] == numbers[2] && numbers[0] >= last,
            "{answer:?} after {last}"
        );
        last = numbers[0];
        asked += 1;
    }
    pushing.await.unwrap();
    assert!(asked > 3);
    assert_eq!(count(&storage, "readings").await, 300);
}

async fn output(storage: &Storage, text: &str, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    let rows = storage.query(text, Limits::default()).await.unwrap();
    write(rows, format, &mut out).await.unwrap();
    out
}

#[tokio::test]
async fn answers_in_every_format() {
    let rig = Rig::new();
    let storage = filled(&rig).await;
    let text = "SELECT site, point, time, value, status, offset FROM readings ORDER BY time";
    let show = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(
        show(output(&storage, text, Format::Csv).await),
        "site,point,time,value,status,offset\nM1,T1,2026-11-24T00:00:00.000Z,0.5,0,0\n\
         M2,T2,2026-11-24T00:00:00.250Z,,4096,0\nM1,T1,2026-11-24T00:00:01.000Z,1.5,0,1\n"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&output(&storage, text, Format::Json).await).unwrap();
    assert_eq!(json[1]["time"], "2026-11-24T00:00:00.250Z");
    assert_eq!((&json[1]["value"], json.as_array().unwrap().len()), (&serde_json::Value::Null, 3));
    let lines = show(output(&storage, text, Format::JsonLines).await);
    assert_eq!(lines.lines().count(), 3);
    assert!(
        lines.starts_with(
            "{\"site\":\"M1\",\"point\":\"T1\",\"time\":\"2026-11-24T00:00:00.000Z\",\"value\":0.5,"
        ),
        "{lines}"
    );
    let table = show(output(&storage, text, Format::Table).await);
    assert!(
        table.contains("| M1   | T1    | 2026-11-24T00:00:00.000Z | 0.5   |") && table.ends_with("3 rows\n"),
        "{table}"
    );
    let arrow = output(&storage, text, Format::Arrow).await;
    let reader = arrow::ipc::reader::StreamReader::try_new(&arrow[..], None).unwrap();
    assert_eq!(reader.schema().field(0).data_type(), &arrow::datatypes::DataType::Utf8);
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 3);
    let parquet = output(&storage, text, Format::Parquet).await;
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(parquet), 100)
            .unwrap();
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 3);
    let none = "SELECT site, value FROM readings WHERE site = 'M9'";
    assert_eq!(show(output(&storage, none, Format::Csv).await), "site,value\n");
    assert_eq!(show(output(&storage, none, Format::Json).await), "[]\n");
    assert_eq!(show(output(&storage, none, Format::JsonLines).await), "");
    assert_eq!(Format::from_accept("text/csv;q=0.9, */*"), Some(Format::Csv));
    assert_eq!(Format::from_accept("image/png"), None);
    assert_eq!(Format::from_accept(""), Some(Format::Json));
}

/// Who waits for room waits for one piece of what is not committed, and not for all of it.
#[tokio::test]
async fn a_full_tail_is_committed_piece_by_piece() {
    let mut rig = Rig::new();
    (rig.options.flush_bytes, rig.options.tail_bytes_max) = (40_000, 200_000);
    let registry = prometheus::Registry::new();
    let storage = rig.open_counted(&registry).await.unwrap();
    let counted = |name: &str| {
        let all = registry.gather();
        all.iter().find(|m| m.name() == name).unwrap().get_metric()[0].get_counter().get_value()
    };
    let (mut number, mut rows) = (0u64, 0i64);
    let mut push = async || {
        let new: Vec<_> = (0..100).map(|i| ("M1", "T1", (rows + i) as f64, 1.0)).collect();
        storage.push(&entry(number), readings("east", &new)).await.unwrap();
        (number, rows) = (number + 1, rows + 100);
        (number, rows)
    };
    while storage.tail_bytes() < 200_000 {
        push().await;
    }
    let full = storage.tail_bytes();
    assert_eq!(rig.open().await.next_offset(0), 0, "nobody has committed yet");
    let (pushed, rows) = push().await;
    let committed = rig.open().await.next_offset(0);
    assert!(0 < committed && committed < pushed / 2, "{committed} of {pushed}");
    assert!(storage.tail_bytes() > full / 2, "{} of {full}", storage.tail_bytes());
    // It stood back for nobody, since more waited already; the last one, which nothing waits behind, does.
    assert!(counted("firedamp_storage_urgent_commits_total") >= 1.0);
    assert_eq!(count(&storage, "readings").await, rows);
    storage.flush().await.unwrap();
    let urgent = counted("firedamp_storage_urgent_commits_total");
    assert!(urgent >= 3.0 && urgent < counted("firedamp_storage_commits_total"), "{urgent}");
    assert_eq!((rig.open().await.next_offset(0), count(&storage, "readings").await), (pushed, rows));
}

#[tokio::test]
async fn a_full_tail_is_committed_before_more_is_taken() {
    let mut rig = Rig::new();
    rig.options.tail_bytes_max = 200_000;
    let storage = rig.open().await;
    for number in 0..100u64 {
        let rows: Vec<_> = (0..100).map(|i| ("M1", "T1", (number * 100 + i) as f64, 1.0)).collect();
        storage.push(&entry(number), readings("east", &rows)).await.unwrap();
        assert!(storage.tail_bytes() < 210_000);
    }
    assert!(rig.open().await.next_offset(0) > 50);
    assert_eq!(count(&storage, "readings").await, 10_000);
    // Where the commit fails, the record is not taken, and offered again later.
    let full: Vec<_> = (0..7000).map(|i| ("M1", "T1", (10_000 + i) as f64, 1.0)).collect();
    storage.push(&entry(100), readings("east", &full)).await.unwrap();
    let full = storage.fullness();
    assert!(full.is_some_and(|full| full >= 1.0), "{full:?} of {}", storage.tail_bytes());
    rig.store.fail_at(0, Fault::Before, false);
    let error = storage.push(&entry(101), Record::Tick).await.unwrap_err();
    assert!(error.is_transient() && storage.next_offset(0) == 101, "{error}");
    assert_eq!(storage.fullness(), None, "nobody can say when there is room again");
    // To make files of it took less memory than it had, so it is taken without a commit.
    storage.push(&entry(101), Record::Tick).await.unwrap();
    storage.flush().await.unwrap();
    let full = storage.fullness();
    assert!(full.is_some_and(|full| full < 0.1), "{full:?} of {}", storage.tail_bytes());
    assert_eq!((storage.next_offset(0), count(&storage, "readings").await), (102, 17_000));
}
