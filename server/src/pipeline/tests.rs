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

/// What a pipeline runs on that takes readings and alarms, and neither judges nor stores.
fn parts(
    [edge_log, log]: [&Arc<dyn Log>; 2],
    clock: &ManualClock,
    version: watch::Receiver<Arc<Version>>,
    catalog: Catalog,
) -> Parts {
    Parts {
        edge_log: edge_log.clone(),
        log: log.clone(),
        forwarder: None,
        storage: None,
        flush: Duration::from_secs(5),
        alarms: Arc::new(::alerts::MemoryStore::new(Vec::new())),
        dispatcher: None,
        snapshots: None,
        snapshot_every: 30 * SECOND,
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
    }
}

/// So many readings of one point, that came now.
fn delivery(readings: i64, now: Micros) -> Delivery {
    let mut rows = ReadingsBuilder::with_capacity(readings as usize);
    (0..readings).for_each(|n| rows.push(PointId::of("M", "P0"), now - n, 0.5, 0));
    Delivery { received: now, readings: rows.finish(), ..Delivery::default() }
}

fn gateway() -> SourceInfo {
    SourceInfo { name: "gateway".into(), flags: 0 }
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

/// How long the answer to a second delivery takes and how long its source is to rest then, where rules read from `log` are two seconds
/// behind, and the same of a third once they are not.
async fn held(edge_log: &Arc<dyn Log>, log: &Arc<dyn Log>, of_log: &ManualClock) -> [[Duration; 2]; 2] {
    let now = ManualClock::at(1_000 * SECOND);
    of_log.set(998 * SECOND);
    let catalog = mine(1, 1);
    let (_versions, wanted) = watch::channel(Arc::new(Version::of_all(&[], &catalog)));
    let snapshots: Arc<dyn SnapshotStore> = Arc::new(MemorySnapshots::default());
    let parts = Parts { snapshots: Some(snapshots), ..parts([edge_log, log], &now, wanted, catalog) };
    let pipeline = Pipeline::start(parts).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let asked = Instant::now();
        pipeline.edge.accept(&gateway(), delivery(1, now.now())).await.unwrap();
        held.push([asked.elapsed(), pipeline.edge.pause(&gateway())]);
        // Ticks come, and with them the next word of how far the rules are behind.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(pipeline.lag.of(0), now.now() - of_log.now());
        if held.len() == 2 {
            of_log.set(now.now());
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }
    assert_eq!(pipeline.stop(Duration::from_secs(10)).await, Drained::Clean);
    [held[1], held[2]]
}

const MOST: Duration = Duration::from_millis(250);
const SOON: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn rules_that_are_behind_hold_the_answers_of_the_edge_that_writes_their_log_and_of_no_other() {
    let clock = ManualClock::default();
    let log = || -> Arc<dyn Log> { Arc::new(MemoryLog::new(1, 7, Arc::new(clock.clone()))) };
    let [same, other] = [log(), log()];
    let [[held, rests], [let_go, goes_on]] = self::held(&same, &same, &clock).await;
    assert!(held >= MOST && let_go < SOON, "{held:?} {let_go:?}");
    assert_eq!([rests, goes_on], [MOST, Duration::ZERO]);
    let [[held, rests], _] = self::held(&other, &log(), &clock).await;
    assert!(held < SOON && rests.is_zero(), "rules of another log: {held:?} {rests:?}");
}

/// How long the source of a hundred readings is to rest while they fill the table's memory, and once they are committed.
async fn rests_for_table(edge_log: &Arc<dyn Log>, log: &Arc<dyn Log>, clock: &ManualClock) -> [Duration; 2] {
    let options = ::storage::Options { query_threads: 0, tail_bytes_max: 1_000, ..Default::default() };
    let lake: Arc<dyn object_store::ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let (catalog, of_table) = (Arc::new(RwLock::new(Arc::new(mine(1, 1)))), Registry::new());
    let table =
        Storage::open(options, Some(lake), catalog, Arc::new(clock.clone()), &of_table).await.unwrap();
    let (_versions, wanted) = watch::channel(Arc::new(Version::of_all(&[], &mine(1, 1))));
    // Nothing is committed meanwhile unless the test does.
    let flush = Duration::from_secs(3600);
    let parts = parts([edge_log, log], clock, wanted, mine(1, 1));
    let pipeline = Pipeline::start(Parts { storage: Some(table.clone()), flush, ..parts }).await.unwrap();
    pipeline.edge.accept(&gateway(), delivery(1, clock.now())).await.unwrap();
    let readings = delivery(100, clock.now()).readings;
    let runs = vec![model::Run { source: "other".into(), received: clock.now(), rows: 100, flags: 0 }];
    let bytes = model::Record::Readings { runs, readings }.encode();
    log.append(model::Stream::Readings, 0, vec![stream::Append { bytes, origin: None }]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(table.fullness().is_some_and(|full| full > 1.0), "{:?}", table.fullness());
    let full = pipeline.edge.pause(&gateway());
    table.flush().await.unwrap();
    let free = pipeline.edge.pause(&gateway());
    assert_eq!(pipeline.stop(Duration::from_secs(10)).await, Drained::Clean);
    [full, free]
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_full_rests_the_sources_of_the_edge_that_writes_its_log_and_of_no_other() {
    let clock = ManualClock::at(1_795_478_400 * SECOND);
    let log = || -> Arc<dyn Log> { Arc::new(MemoryLog::new(1, 7, Arc::new(clock.clone()))) };
    let [same, other] = [log(), log()];
    assert_eq!(rests_for_table(&same, &same, &clock).await, [MOST, Duration::ZERO]);
    assert_eq!(rests_for_table(&other, &log(), &clock).await, [Duration::ZERO; 2]);
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
    let (snapshots, snapshot_every) = (Some(times.clone() as Arc<dyn SnapshotStore>), 8 * SECOND);
    let parts = Parts { snapshots, snapshot_every, ..parts([&log, &log], &clock, wanted, mine(1, 1)) };
    let pipeline = Pipeline::start(parts).await.unwrap();
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

/// Clocks were running when the process went: whether their alarms are over is in the log, and nobody is pressed before that is read.
#[tokio::test(start_paused = true)]
async fn nobody_is_pressed_at_a_start_for_what_may_be_over() {
    use ::alerts::{AlarmStore, MemoryStore, Routes, RoutesInForce, TransitionBatch, conformance};
    let clock = ManualClock::at(1_000 * SECOND);
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(1, 7, Arc::new(clock.clone())));
    let text = "to = \"county\"\n[[escalate]]\nafter = \"1s\"\nto = \"province\"\n";
    let routes = Routes::parse("r".as_ref(), text, &conformance::receivers(), &mut Problems::default());
    let routes = RoutesInForce::new(Arc::new(routes.unwrap()));
    let store = MemoryStore::new(conformance::receivers()).with_routes(routes);
    let transitions = vec![conformance::transition(1, "alarm", model::To::On, 1.1)];
    store.apply(TransitionBatch { partition: 0, next: 1, transitions, now: 0, hold: false }).await.unwrap();
    let alarms: Arc<dyn AlarmStore> = Arc::new(store.clone());
    let dispatcher = Dispatcher::with(alarms.clone(), Vec::new(), Arc::new(clock.clone()), &Registry::new());
    let catalog = mine(1, 1);
    let (_versions, wanted) = watch::channel(Arc::new(Version::of_all(&[], &catalog)));
    let parts = Parts { alarms, dispatcher: dispatcher.ok(), ..parts([&log, &log], &clock, wanted, catalog) };
    let pipeline = Pipeline::start(parts).await.unwrap();
    let pressed = async || store.outbox_due("province", Micros::MAX, 9).await.unwrap().len();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(pressed().await, 0, "nothing was heard of the rules yet");
    clock.set(1_030 * SECOND);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pressed().await, 1, "nothing more comes: it stands");
    pipeline.stop(Duration::from_secs(5)).await;
}
