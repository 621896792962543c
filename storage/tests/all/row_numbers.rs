//! `readings.row`, the number of a reading in its record, by which a transition's id is found again from the table.

use crate::rig::*;
use ::model::{Origin, PointId, ReadingsBuilder, Record};
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt};
use std::path::Path;

const ROWS: &str = "SELECT \"offset\", row, site, point, value FROM readings ORDER BY \"offset\", row";

/// One record of several runs.
fn runs(runs: &[(&str, &[Row<'_>])]) -> Record {
    let mut readings = ReadingsBuilder::default();
    for (site, point, seconds, value) in runs.iter().flat_map(|(_, rows)| *rows) {
        readings.push(PointId::of(site, point), at(*seconds), *value, 0);
    }
    let runs = runs.iter().map(|(source, rows)| run(source, rows.len())).collect();
    Record::Readings { runs, readings: readings.finish() }
}

/// Rows that are left out (unknown, repeated) or come later (late ones, which are looked up) leave the numbers of the others
/// as they were, in the tail, in files, and after merging.
#[tokio::test]
async fn numbers_are_those_of_the_record_whatever_became_of_its_neighbours() {
    let mut rig = Rig::new();
    rig.options.compact_files = 2;
    let storage = rig.open().await;
    let first = runs(&[
        ("east", &[("M1", "T1", 5.0, 1.0), ("M1", "T2", 5.0, 2.0)]),
        ("west", &[("M2", "T1", 5.0, 3.0), ("M9", "T9", 5.0, 9.0), ("M2", "T2", 5.0, 4.0)]),
        ("north", &[("M3", "T1", 5.0, 5.0)]),
    ]);
    storage.push(&entry(0), first).await.unwrap();
    let mut expected =
        vec!["0 0 M1 T1 1.0", "0 1 M1 T2 2.0", "0 2 M2 T1 3.0", "0 4 M2 T2 4.0", "0 5 M3 T1 5.0"];
    assert_eq!(sql(&storage, ROWS).await, expected);
    storage.flush().await.unwrap();
    assert_eq!(sql(&storage, ROWS).await, expected);
    // Repeated, late, new, repeated, new; then a run that begins behind them.
    let second = runs(&[
        (
            "east",
            &[
                ("M1", "T1", 5.0, 1.0),
                ("M1", "T1", 4.0, 6.0),
                ("M1", "T1", 6.0, 7.0),
                ("M1", "T2", 5.0, 2.0),
                ("M1", "T2", 6.0, 8.0),
            ],
        ),
        ("north", &[("M3", "T1", 5.0, 5.0), ("M3", "T1", 6.0, 9.0)]),
    ]);
    storage.push(&entry(1), second).await.unwrap();
    expected.extend(["1 1 M1 T1 6.0", "1 2 M1 T1 7.0", "1 4 M1 T2 8.0", "1 6 M3 T1 9.0"]);
    assert_eq!(sql(&storage, ROWS).await, expected);
    storage.flush().await.unwrap();
    assert_eq!(sql(&storage, ROWS).await, expected);
    assert!(storage.maintain().await.unwrap().merged >= 2);
    assert_eq!(sql(&storage, ROWS).await, expected);
    assert_eq!(sql(&rig.open().await, ROWS).await, expected);
}

/// A record larger than what is sealed at once is cut; its numbers go on.
#[tokio::test]
async fn numbers_go_on_where_a_record_is_cut() {
    const ROWS: usize = 150_000;
    let rig = Rig::new();
    let storage = rig.open().await;
    let rows: Vec<Row<'_>> = (0..ROWS)
        .map(|i| if i == 70_000 { ("M9", "T9", 0.0, 0.0) } else { ("M1", "T1", i as f64, i as f64) })
        .collect();
    storage.push(&entry(0), readings("east", &rows)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(count(&storage, "readings").await, ROWS as i64 - 1);
        assert_eq!(count(&storage, "readings WHERE CAST(row AS DOUBLE) IS DISTINCT FROM value").await, 0);
        storage.flush().await.unwrap();
    }
}

async fn copy_into(from: &dyn ObjectStore, to: &dyn ObjectStore) {
    let files: Vec<_> = from.list(None).try_collect().await.unwrap();
    assert!(!files.is_empty());
    for file in files {
        let bytes = from.get(&file.location).await.unwrap().bytes().await.unwrap();
        to.put(&file.location, bytes.into()).await.unwrap();
    }
}

/// A lake of a version that had no column `row` opens; rows of before have none, and both kinds are merged.
#[tokio::test]
async fn a_lake_of_the_version_before_opens_and_goes_on() {
    let mut rig = Rig::new();
    rig.options.compact_files = 2;
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lake-before-row");
    copy_into(&LocalFileSystem::new_with_prefix(old).unwrap(), &*rig.store).await;
    let rows = "SELECT point, value, row FROM readings ORDER BY time, point";
    let before = ["T1 0.5 ", "T2 1.2 ", "T1 0.5 ", "T2 1.2 "];
    assert_eq!(sql(&rig.read_only().await, rows).await, before);

    let storage = rig.open().await;
    let (partition, next) =
        (0..2).map(|p| (p, storage.next_offset(p))).max_by_key(|(_, next)| *next).unwrap();
    assert!(next > 0, "the old offsets are known");
    // Later on the same day.
    let new = readings("push", &[("M1", "T1", 45_000.0, 1.0), ("M1", "T2", 45_000.0, 2.0)]);
    storage.push(&entry_of(partition, next, Origin { collector: 7, sequence: 1 }), new).await.unwrap();
    storage.flush().await.unwrap();
    let after = [&before[..], &["T1 1.0 0", "T2 2.0 1"]].concat();
    assert_eq!(sql(&storage, rows).await, after);
    assert!(storage.maintain().await.unwrap().merged >= 3);
    assert_eq!(sql(&storage, rows).await, after);
    assert_eq!(sql(&rig.open().await, rows).await, after);
    assert_eq!(sql(&rig.read_only().await, rows).await, after);
}

/// Bytes of each column in the files of `readings`, and their rows.
async fn column_bytes(rig: &Rig) -> (std::collections::BTreeMap<String, i64>, i64) {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let (mut columns, mut rows) = (std::collections::BTreeMap::new(), 0);
    for name in rig.store.names().await.iter().filter(|n| n.starts_with("readings/day=")) {
        let bytes = rig.store.get(&name.as_str().into()).await.unwrap().bytes().await.unwrap();
        let reader = SerializedFileReader::new(bytes).unwrap();
        rows += reader.metadata().file_metadata().num_rows();
        for column in reader.metadata().row_groups().iter().flat_map(|g| g.columns()) {
            *columns.entry(column.column_path().string()).or_default() += column.compressed_size();
        }
    }
    (columns, rows)
}

/// Sites whose gateways send their points in one order, in records whose runs come in a random one; now and then a point is
/// left out, so the numbers of those behind it move.
#[tokio::test]
async fn numbers_cost_little() {
    use ::rand::Rng;
    use ::rand::seq::SliceRandom;
    let (sites, points): (usize, usize) = (20, 50);
    let rig = Rig::new();
    *rig.catalog.write().unwrap() = std::sync::Arc::new(catalog(sites, points));
    let storage = rig.open().await;
    let mut rng = <::rand::rngs::StdRng as ::rand::SeedableRng>::seed_from_u64(7);
    let codes: Vec<(String, String)> = (0..sites * points)
        .map(|i| (format!("M{}", 1 + i / points), format!("T{}", 1 + i % points)))
        .collect();
    let mut values = vec![50i32; codes.len()];
    for second in 0..300 {
        let mut order: Vec<usize> = (0..sites).collect();
        order.shuffle(&mut rng);
        let mut parts: Vec<Vec<Row<'_>>> = Vec::new();
        for site in order {
            let mut rows = Vec::new();
            for i in site * points..(site + 1) * points {
                if rng.random_bool(0.002) {
                    continue;
                }
                values[i] += rng.random_range(-1..=1);
                let jitter = f64::from(rng.random_range(0..20)) / 1000.0;
                rows.push((
                    codes[i].0.as_str(),
                    codes[i].1.as_str(),
                    f64::from(second) + jitter,
                    f64::from(values[i]) / 100.0,
                ));
            }
            parts.push(rows);
        }
        let parts: Vec<(&str, &[Row<'_>])> = parts.iter().map(|rows| ("east", &rows[..])).collect();
        storage.push(&entry(second as u64), runs(&parts)).await.unwrap();
    }
    storage.flush().await.unwrap();
    let (columns, rows) = column_bytes(&rig).await;
    let each = columns["row"] as f64 / rows as f64;
    assert!(each < 0.9, "{each} bytes a reading of {columns:?}");
}
