//! The pipeline on models, under a paused clock: that its parts are wired to each other.

use super::*;
use crate::config::Unknown;
use crate::snapshots::{Generation, MemorySnapshots};
use ::rules::RuleFile;
use ingest::{Delivery, Sink, SourceInfo};
use model::time::SECOND;
use model::{ManualClock, PointId, Problems, ReadingsBuilder};
use std::sync::Mutex;
use stream::MemoryLog;
use tokio::time::Instant;

/// A pipeline that takes, judges and alarms, and keeps snapshots in `snapshots`.
async fn start(
    [edge_log, log]: [&Arc<dyn Log>; 2],
    clock: &ManualClock,
    version: watch::Receiver<Arc<Version>>,
    catalog: Catalog,
    snapshots: Arc<dyn SnapshotStore>,
    snapshot_every: Micros,
) -> Pipeline {
    let parts = Parts {
        edge_log: edge_log.clone(),
        log: log.clone(),
        forwarder: None,
        storage: None,
        flush: Duration::from_secs(5),
        alarms: Arc::new(::alerts::MemoryStore::new(Vec::new())),
        dispatcher: None,
        snapshots: Some(snapshots),
        snapshot_every,
        version,
        catalog: Arc::new(RwLock::new(Arc::new(catalog))),
        clock: Arc::new(clock.clone()),
        edge: EdgeOptions {
            linger: Duration::from_millis(5),
            unknown: Unknown::Quarantine,
            retention: model::time::DAY,
        },
        aside: Aside(None),
        registry: Registry::new(),
    };
    Pipeline::start(parts).await.unwrap()
}

/// One mine of so many points in so many partitions.
fn mine(points: usize, partitions: u32) -> Catalog {
    let mut problems = Problems::default();
    let sites =
        model::catalog::sites_from_csv("s", "site,name,kind,region\nM,Mine,mine,140100\n", &mut problems);
    let mut text = "site,point,name,quantity,unit,low,high,place,period\n".to_owned();
    (0..points).for_each(|i| text += &format!("M,P{i},,ch4,%,0,4,,1s\n"));
    let points = model::catalog::points_from_csv("p", &text, &mut problems);
    Catalog::build(sites, points, partitions, &mut problems)
}

/// How long the answer to a second delivery takes where rules read from `log` are two seconds behind, and to a third once they are not.
async fn answered_after(edge_log: &Arc<dyn Log>, log: &Arc<dyn Log>, of_log: &ManualClock) -> [Duration; 2] {
    let now = ManualClock::at(1_000 * SECOND);
    of_log.set(998 * SECOND);
    let catalog = mine(1, 1);
    let (_versions, wanted) = watch::channel(Arc::new(Version::of_all(&[], &catalog)));
    let snapshots = Arc::new(MemorySnapshots::default());
    let pipeline = start([edge_log, log], &now, wanted, catalog, snapshots, 30 * SECOND).await;
    let (source, mut took) = (SourceInfo { name: "gateway".into(), flags: 0 }, Vec::new());
    for _ in 0..3 {
        let mut readings = ReadingsBuilder::with_capacity(1);
        readings.push(PointId::of("M", "P0"), now.now(), 0.5, 0);
        let delivery = Delivery { received: now.now(), readings: readings.finish(), ..Delivery::default() };
        let asked = Instant::now();
        pipeline.edge.accept(&source, delivery).await.unwrap();
        took.push(asked.elapsed());
        // Ticks come, and with them the next word of how far the rules are behind.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(pipeline.lag.of(0), now.now() - of_log.now());
        if took.len() == 2 {
            of_log.set(now.now());
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }
    assert_eq!(pipeline.stop(Duration::from_secs(10)).await, Drained::Clean);
    [took[1], took[2]]
}

#[tokio::test(start_paused = true)]
async fn rules_that_are_behind_hold_the_answers_of_the_edge_that_writes_their_log_and_of_no_other() {
    let clock = ManualClock::default();
    let log = || -> Arc<dyn Log> { Arc::new(MemoryLog::new(1, 7, Arc::new(clock.clone()))) };
    let [same, other] = [log(), log()];
    let [held, let_go] = answered_after(&same, &same, &clock).await;
    assert!(held >= Duration::from_millis(250) && let_go < Duration::from_millis(50), "{held:?} {let_go:?}");
    let [held, _] = answered_after(&other, &log(), &clock).await;
    assert!(held < Duration::from_millis(50), "rules of another log: {held:?}");
}

/// Snapshots that are forgotten; when each was saved is not.
#[derive(Default)]
struct Times(Mutex<Vec<(u32, Instant)>>);

#[async_trait::async_trait]
impl SnapshotStore for Times {
    async fn save(&self, partition: u32, _: Generation) -> Result<(), String> {
        self.0.lock().unwrap().push((partition, Instant::now()));
        Ok(())
    }

    async fn load(&self, _: u32) -> Result<Option<Generation>, String> {
        Ok(None)
    }
}

/// When snapshots of a partition were saved while nothing but ticks came for half a minute, each eight seconds; the first of all rules are
/// those that were written before anything was judged. With `activations` the rules change each second. And how many records there are.
async fn saved(points: usize, partitions: u32, activations: bool) -> (Vec<Vec<Duration>>, u64) {
    let clock = ManualClock::at(1_000 * SECOND);
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(partitions, 7, Arc::new(clock.clone())));
    let catalog = mine(points, partitions);
    let version = |name: &str| {
        let rules = [RuleFile { name: name.to_owned(), text: String::new() }];
        Arc::new(Version::of_all(&rules, &catalog))
    };
    let two = ["a", "b"].map(version);
    let (versions, wanted) = watch::channel(two[0].clone());
    let (times, began) = (Arc::new(Times::default()), Instant::now());
    let pipeline = start([&log, &log], &clock, wanted, mine(1, 1), times.clone(), 8 * SECOND).await;
    for second in 1..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if activations {
            versions.send_replace(two[second % 2].clone());
        }
    }
    let records = log.bounds(model::Stream::Readings, 0).await.unwrap().next;
    let all = times.0.lock().unwrap().clone();
    assert_eq!(pipeline.stop(Duration::from_secs(10)).await, Drained::Clean);
    let of = |p: u32| all.iter().filter(|(of, _)| *of == p).map(|(_, at)| *at - began).collect();
    ((0..partitions).map(of).collect(), records)
}

#[tokio::test(start_paused = true)]
async fn snapshots_of_partitions_follow_each_other_and_no_activation_puts_them_off() {
    let s = Duration::from_secs;
    let (of, _) = saved(1, 8, false).await;
    for (p, at) in (0..).zip(&of) {
        let wanted = [s(0), s(p + 1), s(p + 9), s(p + 17)];
        let in_time = at.iter().zip(wanted).all(|(at, wanted)| *at >= wanted && *at < wanted + s(2));
        assert!(at.len() >= 4 && in_time, "partition {p}: {at:?}");
    }
    let (of, _) = saved(1, 8, true).await;
    assert!(of.iter().all(|at| at.len() >= 4), "{of:?}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_rests_takes_its_shards_in_time_and_ticks_once_a_second() {
    let (of, records) = saved(16 * 4096, 1, false).await;
    let seconds: Vec<u64> = of[0].iter().map(Duration::as_secs).collect();
    // A shard a tick would take a pass 16 seconds.
    assert!(seconds.len() >= 4 && seconds[1] < 4 && seconds[2] < 12, "{seconds:?}");
    assert!((25..=31).contains(&records), "{records} ticks in half a minute");
}
