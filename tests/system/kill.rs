//! `kill -9` of the binary at twenty moments, all before the last readings are sent: nothing acknowledged is lost, nothing is stored or raised twice,
//! and the transitions are those of an undisturbed judgement of the same log. A moment is what the process has come to, never a time, so
//! that it is the same on any machine. The moments are drawn from a seed, which is printed; `FIREDAMP_SEED` gives another.

use crate::once::{entries, judged, log_of, version};
use crate::stand::*;
use model::{Stream, To};
use rand::{Rng, SeedableRng};
use simulator::{Columns, ReplayOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::firedamp::Firedamp;
use tests::webhook::Webhook;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const KILLS: usize = 20;
/// The file is played in so many parts: one that each process begins with, and one that is left when the last kill comes.
const PARTS: usize = KILLS + 1;
const PART_ROWS: usize = (ROWS as usize).div_ceil(PARTS);
/// What counts readings on their way: on disk in the log, read by the rules, committed to the table.
const COUNTED: [&str; 3] = [
    "firedamp_edge_rows_total{",
    "firedamp_consumer_rows_total{consumer=\"rules\"",
    "firedamp_storage_readings_stored_total ",
];
const PATIENCE: Duration = Duration::from_secs(60);

/// What a process has come to, since it was launched, when it is killed.
#[derive(Debug)]
enum Moment {
    /// It has said so many lines, or has read something: while it starts.
    Said(usize),
    /// So many readings by one of [`COUNTED`].
    Readings(&'static str, usize),
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_and_double_nothing() {
    let Some(file) = longwall() else { return };
    let (broker, webhook) = (tests::mosquitto::start(), Webhook::start().await);
    let options = over_mqtt(&broker.url, start());
    let source = options.source_toml("longwall", &file, ([127, 0, 0, 1], 0).into(), Duration::ZERO).unwrap();
    let mut firedamp = prepare(&config("partitions = 2", &source, &webhook));
    // With what the libraries say: the more lines a start has, the more moments.
    firedamp.set("RUST_LOG", "info");
    firedamp.start().await;
    let seed = crate::seed::number("FIREDAMP_SEED").unwrap_or_else(|| rand::rng().random());
    println!("FIREDAMP_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let (released, says) = (Arc::new(Semaphore::new(0)), said(&firedamp));
    let mut said_before = 0;
    let played = tokio::spawn(play(parts(&file, firedamp.folder()), options, released.clone()));
    for kill in 1..=KILLS {
        released.add_permits(1);
        let moment = match random.random_range(0..=COUNTED.len()) {
            0 => Moment::Said(random.random_range(0..=says)),
            n => Moment::Readings(COUNTED[n - 1], random.random_range(1..=PART_ROWS * COLUMNS.len())),
        };
        println!("kill {kill} at {moment:?}");
        until(&firedamp, &moment, said_before).await;
        firedamp.kill9();
        said_before = said(&firedamp);
        firedamp.launch(&[]);
    }
    released.add_permits(1);
    firedamp.until_ready().await;
    assert_eq!(played.await.unwrap(), ROWS as u64);
    settled(&firedamp, ROWS * 4).await;
    let alarms = assert_longwall(&firedamp).await;
    assert_told(&webhook).await;
    firedamp.stop();
    assert_eq!(
        undisturbed(&firedamp).await,
        alarms,
        "the same ids as one judgement of the log without a kill"
    );
}

/// The file in its parts, each with a header.
fn parts(file: &Path, folder: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(file).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let parts = rows.chunks(PART_ROWS).enumerate().map(|(n, rows)| {
        let part = folder.join(format!("part-{n}.csv"));
        std::fs::write(&part, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
        part
    });
    parts.collect()
}

/// Plays each part once it is released; how many rows that were.
async fn play(parts: Vec<PathBuf>, mut options: ReplayOptions, released: Arc<Semaphore>) -> u64 {
    let mut rows = 0;
    for part in parts {
        released.acquire().await.unwrap().forget();
        let report = simulator::replay(&part, &options, CancellationToken::new()).await.unwrap();
        assert!(report.complete, "{report:?}");
        rows += report.rows;
        if let Columns::Wide { start, step, .. } = &mut options.columns {
            *start += step.as_micros() as i64 * report.rows as i64;
        }
    }
    rows
}

/// Lines that were said by all processes so far.
fn said(firedamp: &Firedamp) -> usize {
    std::fs::read_to_string(firedamp.folder().join("firedamp.log")).unwrap().lines().count()
}

/// What the process counts by a metric; nothing while its API is not served.
async fn counted(firedamp: &Firedamp, metric: &str) -> usize {
    let Ok(answer) = reqwest::get(firedamp.url("/metrics")).await else { return 0 };
    let text = answer.text().await.unwrap_or_default();
    let values = text.lines().filter(|line| line.starts_with(metric)).filter_map(|l| l.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum::<f64>() as usize
}

/// Waits for the moment; `before` lines were said before the process was launched.
async fn until(firedamp: &Firedamp, moment: &Moment, before: usize) {
    let end = Instant::now() + PATIENCE;
    loop {
        let has_come = match moment {
            Moment::Said(lines) => {
                said(firedamp) >= before + lines || counted(firedamp, COUNTED[0]).await > 0
            }
            Moment::Readings(metric, readings) => counted(firedamp, metric).await >= *readings,
        };
        if has_come {
            return;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for {moment:?}");
        tokio::time::sleep(Duration::from_millis(1)).await; // a part is read within some tens of them
    }
}

/// Ids of the transitions that open an alarm of rule `ch4` when the whole log is judged once from its start.
async fn undisturbed(firedamp: &tests::firedamp::Firedamp) -> Vec<String> {
    let log = log_of(firedamp, 2);
    let mut opened = Vec::new();
    for partition in 0..2 {
        let first = version(SITES, POINTS, RULES, 2).of_partition(partition);
        let out = judged(&entries(&log, Stream::Readings, partition).await, first).unwrap();
        let mut on: BTreeMap<String, usize> = BTreeMap::new();
        for t in out.iter().filter(|t| t.rule == "ch4") {
            let levels = on.entry(t.point.clone()).or_default();
            match t.to {
                To::On => {
                    if *levels == 0 {
                        opened.push(t.id.to_string());
                    }
                    *levels += 1;
                }
                _ => *levels -= 1,
            }
        }
    }
    opened.sort();
    opened
}
