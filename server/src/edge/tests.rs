//! The order of a source where the log refuses: on two partitions, one of which is slow while the other refuses. And answers that are
//! held back while the rules are behind.

use super::*;
use crate::runners::Lag;
use ingest::outlet::Outlet;
use model::{ManualClock, PointId, Record, Stream};
use stream::{Fault, MemoryLog};

/// Two mines, the first in partition 1, the second in partition 0.
const SITES: &str = "site,name,kind,region\nMA,Ash,mine,140100\nMC,Cedar,mine,140200\n";
const POINTS: &str = "site,point,name,quantity,unit,low,high,place,period\nMA,CH4,face,ch4,%,0,4,T1,10s\n\
                      MC,CH4,face,ch4,%,0,4,T1,10s\n";

fn catalog() -> Arc<Catalog> {
    let mut problems = model::Problems::default();
    let sites = model::catalog::sites_from_csv("s", SITES, &mut problems);
    let points = model::catalog::points_from_csv("p", POINTS, &mut problems);
    Arc::new(Catalog::build(sites, points, 2, &mut problems))
}

/// One reading of each of these mines.
fn delivery(sites: &[&str], time: Micros) -> Delivery {
    let mut readings = ReadingsBuilder::with_capacity(sites.len());
    for site in sites {
        readings.push(PointId::of(site, "CH4"), time, 0.5, 0);
    }
    Delivery { received: time, readings: readings.finish(), ..Delivery::default() }
}

/// Times of the readings in a partition, in its order.
async fn times(log: &MemoryLog, partition: u32) -> Vec<Micros> {
    let entries = log.read(Stream::Readings, partition, 0, usize::MAX).await.unwrap();
    let records = entries.iter().map(|e| e.decode().unwrap());
    let of = |record| match record {
        Record::Readings { readings, .. } => readings.time.to_vec(),
        other => panic!("{other:?}"),
    };
    records.flat_map(of).collect()
}

/// An edge over a log, and how far the rules are behind it.
fn edge(log: &MemoryLog) -> (Arc<Edge>, Lag) {
    let options = EdgeOptions {
        linger: Duration::from_millis(5),
        unknown: Unknown::Quarantine,
        retention: model::time::DAY,
    };
    let (own, _) = OwnAlarms::queue();
    let metrics = EdgeMetrics::register(&prometheus::Registry::new()).unwrap();
    let (dynamic, lag): (Arc<dyn Log>, _) = (Arc::new(log.clone()), Lag::new(2));
    let brake = Brake::by(Some(lag.clone()), None, Arc::new(ManualClock::at(0)));
    (Edge::start(&dynamic, options, Arc::new(RwLock::new(catalog())), metrics, &own, brake), lag)
}

type Taken = tokio::task::JoinHandle<Result<(), SinkError>>;

/// Hands over one reading of each of these mines.
fn hand_over(edge: &Arc<Edge>, sites: &'static [&str], time: Micros) -> Taken {
    let (edge, source) = (edge.clone(), SourceInfo { name: "gateway".into(), flags: 0 });
    tokio::spawn(async move { edge.accept(&source, delivery(sites, time)).await })
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// It is durable at once; only its answer waits, and only while the partition it went into is behind.
#[tokio::test(start_paused = true)]
async fn a_source_is_answered_later_while_the_rules_are_behind() {
    let log = MemoryLog::new(2, 7, Arc::new(ManualClock::at(0)));
    let (edge, lag) = edge(&log);
    let took = async |sites, time| {
        let asked = Instant::now();
        hand_over(&edge, sites, time).await.unwrap().unwrap();
        asked.elapsed()
    };
    let (soon, held) = (Duration::from_millis(50), Duration::from_millis(100));
    assert!(took(&["MA"], 1).await < soon);
    lag.set(1, 900_000, 1);
    let second = hand_over(&edge, &["MA"], 2);
    a_moment().await;
    assert_eq!((times(&log, 1).await, second.is_finished()), (vec![1, 2], false));
    second.await.unwrap().unwrap();
    assert!(took(&["MC"], 3).await < soon, "the rules of its partition are not behind");
    assert!(took(&["MC", "MA"], 4).await >= held);
    assert!((edge.metrics.held.get() - 0.2).abs() < 1e-9);
    log.inject(Fault::Full);
    let refused = hand_over(&edge, &["MA"], 5);
    a_moment().await;
    assert!(refused.is_finished() && refused.await.unwrap().is_err(), "what is sent again is not held too");
    log.heal();
    lag.set(1, 0, 2);
    assert!(took(&["MA"], 5).await < soon, "it lets go");
}

/// One that polls keeps many deliveries under way: their answers do not slow it, so it rests. What it brings is durable at once, and who
/// is asked by others is answered in time however many ask.
#[tokio::test(start_paused = true)]
async fn one_that_polls_rests_while_the_rules_are_behind() {
    let log = MemoryLog::new(2, 7, Arc::new(ManualClock::at(0)));
    let (edge, lag) = edge(&log);
    let mut context = ingest::testing::Fixture::new(0).context;
    context.sink = edge.clone();
    let metrics = context.metrics.source("test");
    let outlet = Outlet::start(context, metrics, Default::default());
    let polls = async |time: Micros, for_seconds: u64| {
        let (began, mut n) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(for_seconds) {
            outlet.rest().await;
            outlet.send(delivery(&["MA"], time + n)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(6)).await;
            n += 1;
            assert_eq!(
                times(&log, 1).await.last(),
                Some(&(time + n - 1)),
                "it is durable while its answer is held"
            );
        }
        n
    };
    let free = polls(0, 1).await;
    assert!(free > 100, "{free}");
    lag.set(1, 3600 * model::time::SECOND, 1);
    let slowed = polls(10_000, 10).await;
    assert!((38..=42).contains(&slowed), "{slowed} in ten seconds");
    let (asked, many) = (Instant::now(), (0..100).map(|n| hand_over(&edge, &["MA"], 20_000 + n)));
    for taken in many.collect::<Vec<_>>() {
        taken.await.unwrap().unwrap();
    }
    assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());
    // A source of another partition does not rest, nor does this one once the rules are there again.
    hand_over(&edge, &["MC"], 1).await.unwrap().unwrap();
    let pause = |name: &str| edge.pause(&SourceInfo { name: name.into(), flags: 0 });
    assert_eq!(
        (pause("gateway"), pause("test") > Duration::ZERO, pause("nobody")),
        (Duration::ZERO, true, Duration::ZERO)
    );
    lag.set(1, 0, 2);
    assert_eq!(pause("test"), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_waits_only_for_its_answer_does_not_keep_a_line_void() {
    let log = MemoryLog::new(2, 7, Arc::new(ManualClock::at(0)));
    let (edge, lag) = edge(&log);
    lag.set(1, 3600 * model::time::SECOND, 1);
    let held = hand_over(&edge, &["MA"], 1);
    a_moment().await;
    log.inject(Fault::Full);
    assert!(hand_over(&edge, &["MC"], 2).await.unwrap().is_err());
    log.heal();
    assert!(hand_over(&edge, &["MC"], 2).await.unwrap().is_ok() && !held.is_finished());
    held.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_delivery_that_one_partition_refused() {
    for behind in [0, 3600 * model::time::SECOND] {
        let log = MemoryLog::new(2, 7, Arc::new(ManualClock::at(0)));
        let (edge, lag) = edge(&log);
        (0..2).for_each(|p| lag.set(p, behind, 1));
        log.inject(Fault::Slow(Duration::from_secs(5)));
        let first = hand_over(&edge, &["MA"], 1);
        a_moment().await; // partition 1 is busy with it for five seconds
        log.inject(Fault::Full);
        let refused = hand_over(&edge, &["MA", "MC"], 2);
        a_moment().await; // partition 0 has refused its share, partition 1 has not come to its own
        assert!(!refused.is_finished() && !first.is_finished());
        log.heal();
        let between = hand_over(&edge, &["MC"], 3).await.unwrap();
        assert!(matches!(between, Err(SinkError::Retry(_))), "it would stand before the one sent again");
        assert!(first.await.unwrap().is_ok());
        assert!(matches!(refused.await.unwrap(), Err(SinkError::Retry(_))));
        for time in [2, 3] {
            assert!(
                hand_over(&edge, &["MA", "MC"], time).await.unwrap().is_ok(),
                "nothing is under way any more"
            );
        }
        assert_eq!([times(&log, 0).await, times(&log, 1).await], [vec![2, 3], vec![1, 2, 3]]);
    }
}
