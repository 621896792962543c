//! The pipeline under a seed: the server's own pipeline on models of log, object store, alarm store, snapshots and receiver, on a
//! paused clock and one thread. A seed draws what devices send, where processes die, what is slow and what fails; at the end the
//! balance, the order, the ids, the alarms and the messages must be those of an undisturbed run.
//!
//! `FIREDAMP_SEED=17` runs one seed; `FIREDAMP_SEEDS=5000` runs so many.

use life::{Mistakes, Stage};
use log::Early;
use std::collections::BTreeMap;
use storage::Planted;
use world::{Death, POINTS};

mod alarms;
mod devices;
mod expected;
mod forged;
mod judge;
mod lake;
mod life;
mod log;
mod told;
mod world;

/// Processes that die in one history.
const DEATHS: usize = 6;
/// How often each point must have been the end of a process.
const OFTEN: u32 = 20;
/// Histories of the test: enough that every point is met often enough, and some more.
const SEEDS: u64 = 110;

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// Where the processes of a seed die: the points in turn, so that each comes up equally often; in one history those that are
/// passed seldom last, since the life before must be long.
fn deaths(seed: u64) -> Vec<Death> {
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(seed ^ 0xDEAD);
    // Steps of five: no history has two neighbours, of which the second would come too late.
    let nth = |i: usize| (seed as usize * DEATHS + i) * 5 % POINTS.len();
    let mut points: Vec<usize> = (0..DEATHS).map(nth).collect();
    points.sort_unstable();
    let death = |i: usize| Death { point: POINTS[i].0, n: random.random_range(1..=POINTS[i].1) };
    points.into_iter().map(death).collect()
}

/// Lives through a seed and judges it.
fn history(seed: u64, mistakes: Mistakes) -> Result<Stage, String> {
    let stage = Stage::new(seed, true, mistakes);
    stage.live(&deaths(seed))?;
    let episodes = judge::judge(&stage)?;
    let undisturbed = Stage::new(seed, false, Mistakes::default());
    undisturbed.live(&[])?;
    let wanted = judge::judge(&undisturbed).map_err(|e| format!("even undisturbed: {e}"))?;
    let differ: Vec<_> = episodes.symmetric_difference(&wanted).collect();
    if differ.is_empty() {
        Ok(stage)
    } else {
        Err(format!("not the alarms of an undisturbed run: {differ:?}"))
    }
}

fn run(seed: u64) -> Stage {
    let again = format!("FIREDAMP_SEED={seed} cargo test --workspace --test system -- seed::every");
    history(seed, Mistakes::default()).unwrap_or_else(|e| panic!("seed {seed}: {e}\nagain: {again}"))
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("FIREDAMP_SEED") {
        run(seed);
        return;
    }
    let seeds = number("FIREDAMP_SEEDS").unwrap_or(SEEDS);
    let met: BTreeMap<&str, u32> = POINTS.iter().map(|(p, _)| (*p, 0)).collect();
    let met = std::sync::Mutex::new(met);
    let half = |first: u64| {
        for seed in (first..seeds).step_by(2) {
            for (point, n) in run(seed).world.deaths() {
                *met.lock().unwrap().entry(point).or_default() += n;
            }
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(|| half(0));
        half(1);
    });
    let met = met.into_inner().unwrap();
    println!("{seeds} seeds; processes that died at each point: {met:#?}");
    assert!(met.values().all(|n| *n >= OFTEN), "some points were met too seldom: {met:#?}");
}

#[test]
fn a_seed_is_one_history() {
    let [one, again] = [3, 3].map(|seed| run(seed).world.fingerprint());
    assert_eq!(one, again);
    assert_ne!(one, run(4).world.fingerprint());
}

/// A test of the tests above: each mistake is found within some seeds.
fn is_found(mistakes: Mistakes) {
    for seed in 0..60 {
        if let Err(why) = history(seed, mistakes) {
            println!("{mistakes:?} is found by seed {seed}: {}", &why[..why.len().min(300)]);
            return;
        }
    }
    panic!("{mistakes:?} is found by none of 60 seeds");
}

#[test]
fn acknowledging_before_it_is_durable_is_found() {
    is_found(Mistakes { early: Some(Early::Readings), ..Mistakes::default() });
}

#[test]
fn a_snapshot_before_its_transitions_are_durable_is_found() {
    is_found(Mistakes { early: Some(Early::Transitions), ..Mistakes::default() });
}

#[test]
fn skipping_the_dedup_is_found() {
    is_found(Mistakes { storage: Some(Planted::SkipDedup), ..Mistakes::default() });
}

#[test]
fn committing_without_comparing_the_offset_is_found() {
    is_found(Mistakes { storage: Some(Planted::CommitWithoutComparing), ..Mistakes::default() });
}

#[test]
fn an_outbox_outside_the_transaction_is_found() {
    is_found(Mistakes { alarms: Some(alerts::store::Mistake::OutboxOutside), ..Mistakes::default() });
}

#[test]
fn taking_a_transition_twice_is_found() {
    is_found(Mistakes { alarms: Some(alerts::store::Mistake::ForgetsIds), ..Mistakes::default() });
}
