//! The promises of the table on a real S3-compatible store: the same random logs as in memory, kills of the store and of the
//! writer in the middle of a flush, and writers that commit at the same time, which rests on the store's conditional put.

use crate::exactly_once::{Log, check, check_at_rest, play, steps};
use crate::rig::*;
use ::model::secret::Secret;
use ::model::{Clock, Origin};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;
use proptest::test_runner::{Config, TestRunner};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use storage::{Options, S3, Storage, StorageError};
use tests::minio::{ACCESS_KEY, BUCKET, Minio, SECRET_KEY};

/// Opens the table below `prefix` by its URL, as the binary does.
async fn open(minio: &Minio, rig: &Rig, prefix: &str) -> Storage {
    let s3 = S3 {
        endpoint: Some(minio.endpoint.clone()),
        region: None,
        access_key: Some(ACCESS_KEY.to_owned()),
        secret_key: Some(Secret::new(SECRET_KEY)),
    };
    let options = Options { url: format!("s3://{BUCKET}/{prefix}"), s3, ..rig.options.clone() };
    let clock: Arc<dyn Clock> = Arc::new(rig.clock.clone());
    Storage::open(options, None, rig.catalog.clone(), clock, &prometheus::Registry::new()).await.unwrap()
}

#[test]
fn every_reading_once_whatever_happens_on_minio() {
    let minio = tests::minio::start();
    let cases = AtomicUsize::new(0);
    let fresh = || -> Arc<dyn ObjectStore> {
        let store = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(&minio.endpoint)
            .with_allow_http(true)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .build()
            .unwrap();
        Arc::new(PrefixStore::new(store, format!("case-{}", cases.fetch_add(1, Ordering::Relaxed))))
    };
    let mut runner = TestRunner::new(Config { cases: 3, max_shrink_iters: 20, ..Config::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = runner.run(&steps(), |steps| {
        runtime.block_on(play(Rig::over(fresh()), &steps));
        Ok(())
    });
    run.unwrap_or_else(|e| panic!("{e}"));
}

/// Readings of both partitions, new ones and repeated ones.
fn append_some(log: &mut Log, rng: &mut StdRng) {
    for _ in 0..30 {
        let row = |rng: &mut StdRng| {
            let (point, second) = (rng.random_range(0..3), rng.random_range(0..200));
            (point, second, rng.random_range(0..2), rng.random_range(0..2), rng.random_bool(0.05))
        };
        let rows: Vec<_> = (0..20).map(|_| row(rng)).collect();
        log.append(rng.random_range(0..2), &rows, rng.random_bool(0.1));
    }
}

/// Flushes until it worked. A request of a killed writer may take effect after its successor has read the table: the
/// successor stops, as it must, and is started again.
async fn flush(minio: &Minio, rig: &Rig, prefix: &str, storage: &mut Storage, log: &Log) {
    loop {
        match storage.flush().await {
            Ok(_) => return,
            Err(StorageError::OtherWriter { .. }) => {
                *storage = open(minio, rig, prefix).await;
                log.push_rest(storage).await;
            }
            Err(e) => assert!(e.is_transient(), "{e}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_store_and_writer_lose_nothing_and_double_nothing() {
    const PREFIX: &str = "mine/kills";
    let seed = std::env::var("FIREDAMP_SEED").ok().map_or_else(rand::random, |s| s.parse().unwrap());
    println!("the readings and the moments of the kills: FIREDAMP_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut minio = tests::minio::start();
    let mut rig = Rig::new();
    (rig.options.compact_files, rig.options.checkpoint_every) = (2, 3);
    let mut storage = open(&minio, &rig, PREFIX).await;
    let mut log = Log::default();
    append_some(&mut log, &mut rng);
    log.push_rest(&storage).await;
    let began = Instant::now();
    storage.flush().await.unwrap();
    let a_flush = began.elapsed();
    let (mut round, mut interrupted) = (0, 0);
    // What a flush takes is this machine's, and the next may be faster: until enough were interrupted.
    while round < 12 || interrupted < 5 {
        assert!(round < 100, "{interrupted} of {round} flushes were interrupted");
        append_some(&mut log, &mut rng);
        log.push_rest(&storage).await;
        let flushing = storage.clone();
        let flushing = tokio::spawn(async move { flushing.flush().await });
        tokio::time::sleep(a_flush.mul_f64(rng.random_range(0.0..1.0))).await;
        interrupted += usize::from(!flushing.is_finished());
        if round % 3 != 0 {
            minio.kill9();
        }
        if round % 3 != 1 {
            flushing.abort();
        }
        if round % 3 != 0 {
            tokio::task::block_in_place(|| minio.start_again());
        }
        let ended = flushing.await;
        if round % 3 != 1 {
            storage = open(&minio, &rig, PREFIX).await;
            log.push_rest(&storage).await;
        } else if let Err(e) = ended.unwrap() {
            assert!(e.is_transient(), "{e}");
        }
        check(&storage, &log).await;
        flush(&minio, &rig, PREFIX, &mut storage, &log).await;
        check_at_rest(&storage, &log).await;
        rig.clock.advance(7200 * SECOND);
        storage.maintain().await.unwrap();
        round += 1;
    }
    let storage = open(&minio, &rig, PREFIX).await;
    check_at_rest(&storage, &log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_writers_commit_at_the_same_time_and_none_is_lost() {
    const WRITERS: u32 = 4;
    const COMMITS: u64 = 10;
    let minio = tests::minio::start();
    let mut rig = Rig::new();
    rig.options.compact_files = 4;
    let mut writers = Vec::new();
    for partition in 0..WRITERS {
        let storage = open(&minio, &rig, "mine/writers").await;
        writers.push(tokio::spawn(async move {
            for number in 0..COMMITS {
                let origin = Origin { collector: u64::from(partition) + 1, sequence: number + 1 };
                let row = [("M1", "T1", number as f64, f64::from(partition))];
                let source = format!("s{partition}");
                storage.push(&entry_of(partition, number, origin), readings(&source, &row)).await.unwrap();
                while let Err(e) = storage.flush().await {
                    assert!(e.is_transient(), "{e}");
                }
                if number % 4 == 3 {
                    storage.maintain().await.unwrap();
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let storage = open(&minio, &rig, "mine/writers").await;
    let each = "SELECT value, count(*), count(DISTINCT time) FROM readings GROUP BY value ORDER BY value";
    assert_eq!(sql(&storage, each).await, ["0.0 10 10", "1.0 10 10", "2.0 10 10", "3.0 10 10"]);
    assert_eq!(count(&storage, "arrivals").await, 40);
}
