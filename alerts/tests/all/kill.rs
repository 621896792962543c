//! The process is killed at random moments while it takes batches and tells a bureau: afterwards alarms, positions and messages are
//! those of a run that nothing disturbed, byte for byte; a message may have come twice, never with two contents.

use crate::bureau::{Bureau, Manner, receiver, until_told};
use alerts::{AlarmFilter, AlarmStore, Dispatcher, MemoryStore, SqlStore, TransitionBatch, conformance};
use model::{PointId, SystemClock, To, Transition, TransitionId};
use prometheus::Registry;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const BATCHES: u64 = 600;
const KILLS: u32 = 20;
/// Batches before a kill: with fewer than this every time, at least twelve kills come before the end.
const BATCHES_MAX: usize = 50;
/// Name database and bureau to the child; without them the child's test does nothing.
const DATABASE: &str = "FIREDAMP_TEST_KILL_DATABASE";
const BUREAU: &str = "FIREDAMP_TEST_KILL_BUREAU";

/// What record `k` of the log decided: seven points go on, up, down and off in turn.
fn decided(k: u64) -> Transition {
    let (point, step) = (k % 7, k / 7 % 4);
    let (level, to) =
        [("alarm", To::On), ("cut", To::On), ("cut", To::Off), ("alarm", To::Off)][step as usize];
    let name = format!("T{point}");
    let point_id = PointId::of("M1", &name);
    let origin = model::Origin { collector: 9, sequence: k };
    let id = TransitionId::of("ch4", point_id, level, origin, 0, 0);
    Transition { id, point: name, point_id, ..conformance::transition(k + 1, level, to, 1.1) }
}

fn batch(next: u64, transitions: Vec<Transition>) -> TransitionBatch {
    TransitionBatch { partition: 0, next, transitions, now: next as i64, hold: false }
}

/// Runs in a process of its own, started by the test below and killed: goes on where the store stands, with a few transitions
/// repeated, as rules do after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(database), Ok(bureau)) = (std::env::var(DATABASE), std::env::var(BUREAU)) else { return };
    let receivers = vec![receiver("bureau", &bureau)];
    let store = Arc::new(SqlStore::open(&database, receivers.clone(), &Registry::new()).await.unwrap());
    let stop = CancellationToken::new();
    let dispatcher =
        Dispatcher::new(store.clone(), receivers, Arc::new(SystemClock), &Registry::new()).unwrap();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    println!("ready");
    let from = store.position(0).await.unwrap();
    let mut again: Vec<Transition> = (from.saturating_sub(5)..from).map(decided).collect();
    for k in from..BATCHES {
        again.push(decided(k));
        store.apply(batch(k + 1, std::mem::take(&mut again))).await.unwrap();
        println!("taken {k}");
    }
    until_told(&*store).await;
    stop.cancel();
    running.await.unwrap();
    println!("done");
}

/// Runs the child until it is killed while it takes the batch after so many, or to its end. Whether it came to its end.
fn run(database: &str, bureau: &str, batches: Option<usize>) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(DATABASE, database)
        .env(BUREAU, bureau)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ready = lines.by_ref().any(|l| l.contains("ready"));
    assert!(ready, "the child did not start: {:?}", child.wait());
    if let Some(batches) = batches {
        lines.by_ref().filter(|l| l.contains("taken")).take(batches).for_each(drop);
        child.kill().unwrap();
    }
    let done = lines.any(|l| l.contains("done"));
    child.wait().unwrap();
    done
}

async fn undisturbed(url: &str) -> (Vec<model::Alarm>, BTreeMap<String, Vec<u8>>) {
    let model = MemoryStore::new(vec![receiver("bureau", url)]);
    for k in 0..BATCHES {
        model.apply(batch(k + 1, vec![decided(k)])).await.unwrap();
    }
    let mut bodies = BTreeMap::new();
    loop {
        let due = model.outbox_due("bureau", i64::MAX, 100).await.unwrap();
        if due.is_empty() {
            break;
        }
        for message in due {
            model.delivered(&message.key, 0).await.unwrap();
            bodies.insert(message.key, message.body);
        }
    }
    (model.list(&AlarmFilter { all: true, ..AlarmFilter::default() }).await.unwrap(), bodies)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_goes_on_as_if_nothing_had_been() {
    let dir = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", Path::new(dir.path()).join("alarms.db").display());
    let (bureau, url) = Bureau::start(Manner::Good).await;
    let seed: u64 =
        std::env::var("FIREDAMP_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("FIREDAMP_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    let mut kill = true;
    while kill {
        let batches = random.random_range(0..BATCHES_MAX);
        let (database, url) = (database.clone(), url.clone());
        let done = tokio::task::spawn_blocking(move || run(&database, &url, Some(batches))).await.unwrap();
        kills += u32::from(!done);
        kill = !done && kills < KILLS;
    }
    let (to_end, at) = (database.clone(), url.clone());
    assert!(
        tokio::task::spawn_blocking(move || run(&to_end, &at, None)).await.unwrap(),
        "the last run comes to its end"
    );
    println!("killed {kills} times");
    assert!(kills >= 12, "it came to its end too soon");

    let store = SqlStore::open(&database, Vec::new(), &Registry::new()).await.unwrap();
    let (alarms, bodies) = undisturbed(&url).await;
    assert_eq!(store.position(0).await.unwrap(), BATCHES);
    assert_eq!(store.list(&AlarmFilter { all: true, ..AlarmFilter::default() }).await.unwrap(), alarms);
    bureau.assert_one_content_a_key();
    let came: BTreeMap<String, Vec<u8>> =
        bureau.bodies.lock().unwrap().iter().map(|(k, b)| (k.clone(), b[0].to_vec())).collect();
    assert_eq!(came.len(), bodies.len());
    assert!(came == bodies, "another content than that of the undisturbed run");
    let counts = store.counts().await.unwrap();
    assert_eq!(
        (counts.sent, counts.delivered, counts.pending),
        (bodies.len() as u64, bodies.len() as u64, 0)
    );
}
