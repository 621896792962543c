//! `kill -9` of the binary at twenty moments, all while readings still come: nothing acknowledged is lost, nothing is stored or raised twice,
//! and the transitions are those of an undisturbed judgement of the same log. The moments are drawn from a seed, which is printed;
//! `FIREDAMP_SEED` gives another.

use crate::once::{entries, judged, log_of, version};
use crate::stand::*;
use model::{Stream, To};
use rand::{Rng, SeedableRng};
use simulator::Speed;
use std::collections::BTreeMap;
use std::time::Duration;
use tests::webhook::Webhook;
use tokio_util::sync::CancellationToken;

const KILLS: usize = 20;
/// Between two kills, milliseconds: from before it reads anything to well after.
const PAUSE_MS: std::ops::Range<u64> = 50..900;
/// So long the file is played: longer than the kills take, on a machine half as fast too.
const PLAYED: Duration = Duration::from_millis(2 * KILLS as u64 * (PAUSE_MS.start + PAUSE_MS.end) / 2);

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_and_double_nothing() {
    let Some(file) = longwall() else { return };
    let (broker, webhook) = (tests::mosquitto::start(), Webhook::start().await);
    let mut options = over_mqtt(&broker.url, start());
    options.speed = Speed::Times(ROWS as f64 * STEP.as_secs_f64() / PLAYED.as_secs_f64());
    let source = options.source_toml("longwall", &file, ([127, 0, 0, 1], 0).into(), Duration::ZERO).unwrap();
    let mut firedamp = prepare(&config("partitions = 2", &source, &webhook));
    firedamp.start().await;
    let seed = crate::seed::number("FIREDAMP_SEED").unwrap_or_else(|| rand::rng().random());
    println!("FIREDAMP_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let played =
        tokio::spawn(async move { simulator::replay(&file, &options, CancellationToken::new()).await });
    for kill in 1..=KILLS {
        // How many readings lie between two moments does not matter.
        tokio::time::sleep(Duration::from_millis(random.random_range(PAUSE_MS))).await;
        assert!(!played.is_finished(), "kill {kill} comes when nothing is sent any more");
        firedamp.kill9();
        firedamp.launch(&[]);
    }
    firedamp.until_ready().await;
    let report = played.await.unwrap().unwrap();
    assert!(report.complete, "{report:?}");
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
