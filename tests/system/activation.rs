//! The rules of a partition by themselves, on a log in memory: versions that change under way, snapshots that cannot be used.

use firedamp::runners::rules::RulesRunner;
use firedamp::runners::{RunnerMetrics, Shared, aside::Aside, own::OwnAlarms};
use firedamp::snapshots::{MemorySnapshots, SnapshotStore};
use firedamp::versions::Version;
use model::record::Activated;
use model::time::{MINUTE, SECOND};
use model::{ManualClock, Micros, PointId, ReadingsBuilder, Record, Run, Stream, Transition};
use std::sync::Arc;
use std::time::Duration;
use stream::{Append, Log, MemoryLog};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const START: Micros = 1_795_478_400 * SECOND;
const PERCENT: &str = "M1,T1,face,ch4,%,0,4,T1,1s";
const ALARM: &str = "[[rule]]\nname = \"face\"\nkind = \"limit\"\nselect = { quantity = \"ch4\" }\n\
                     level = [{ name = \"alarm\", on = \">= 1.0\", off = \"< 1.0\" }]\n";

fn version(rules: &str, points: &str) -> Arc<Version> {
    let points = format!("site,point,name,quantity,unit,low,high,place,period\n{points}\n");
    crate::once::version("site,name,kind,region\nM1,East,mine,140100\n", &points, rules, 1)
}

struct Mine {
    log: Arc<dyn Log>,
    clock: Arc<ManualClock>,
    snapshots: Arc<MemorySnapshots>,
}

impl Mine {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let log = Arc::new(MemoryLog::new(1, 7, clock.clone()));
        Self { log, clock, snapshots: Arc::default() }
    }

    /// Appends a reading of T1 measured and received at `s` seconds.
    async fn reading(&self, s: i64, value: f64) {
        let time = START + s * SECOND;
        self.clock.set(time);
        let mut readings = ReadingsBuilder::default();
        readings.push(PointId::of("M1", "T1"), time, value, 0);
        let runs = vec![Run { source: "s".into(), received: time, rows: 1, flags: 0 }];
        let bytes = Record::Readings { runs, readings: readings.finish() }.encode();
        self.log.append(Stream::Readings, 0, vec![Append { bytes, origin: None }]).await.unwrap();
    }

    /// Lives until all that is in the log is judged and a snapshot is taken.
    async fn live(&self, wanted: &Arc<Version>) {
        let metrics = RunnerMetrics::register(&prometheus::Registry::new()).unwrap();
        let (log, clock, own) = (self.log.clone(), self.clock.clone(), OwnAlarms::queue().0);
        let shared = Shared::new(log, clock, metrics, Aside(None), own);
        let (_keep, wanted) = watch::channel(wanted.clone());
        let snapshots: Arc<dyn SnapshotStore> = self.snapshots.clone();
        let restored = RulesRunner::restore(shared, 0, snapshots, wanted, MINUTE).await.unwrap();
        let stop = CancellationToken::new();
        let rules = tokio::spawn(restored.run(stop.clone()));
        tokio::time::sleep(Duration::from_secs(3)).await; // of the paused clock: it moves when all is read
        stop.cancel();
        rules.await.unwrap();
    }

    async fn records(&self, stream: Stream) -> Vec<Record> {
        let entries = self.log.read(stream, 0, 0, usize::MAX).await.unwrap();
        entries.iter().map(|e| e.decode().unwrap()).collect()
    }

    async fn told(&self) -> Vec<Transition> {
        let transitions = |r| if let Record::Transitions(t) = r { t } else { Vec::new() };
        self.records(Stream::Transitions).await.into_iter().flat_map(transitions).collect()
    }

    async fn shown(&self) -> Vec<String> {
        let line = |t: &Transition| format!("{} {} {}", t.rule, t.to.as_str(), (t.time - START) / SECOND);
        self.told().await.iter().map(line).collect()
    }
}

/// Rules and catalog that change together are one record: no reading is judged by the one and not the other.
#[tokio::test(start_paused = true)]
async fn rules_and_catalog_change_together() {
    let mine = Mine::new();
    mine.reading(0, 0.3).await;
    mine.live(&version(ALARM, PERCENT)).await;
    let ppm = version(
        &ALARM.replace("kind", "unit = \"ppm\"\nkind").replace("1.0", "10000"),
        &PERCENT.replace("%,0,4", "ppm,0,40000"),
    );
    mine.live(&ppm).await;
    mine.reading(9, 9999.0).await;
    mine.reading(10, 10_000.0).await;
    mine.live(&ppm).await;
    let activations = mine.records(Stream::Readings).await.into_iter().filter_map(|r| match r {
        Record::Activation(activation) => Some(activation.what),
        _ => None,
    });
    assert_eq!(activations.collect::<Vec<_>>(), [Activated::Whole]);
    assert_eq!(mine.shown().await, ["face on 10"]);
    // What changes alone is written alone.
    let rules = version(ALARM, PERCENT).of_partition(0);
    assert_eq!(rules.activation(&version("", PERCENT).of_partition(0)).what, Activated::Rules);
    let other = version(ALARM, &PERCENT.replace("0,4", "0,10")).of_partition(0);
    assert_eq!(rules.activation(&other).what, Activated::Catalog);
}

/// Where a snapshot cannot be used what is open is adopted: not raised anew, ended by a good reading, withdrawn where nothing judges it.
#[tokio::test(start_paused = true)]
async fn open_alarms_survive_a_snapshot_that_cannot_be_used() {
    for (gone, renamed) in [(false, false), (true, false), (true, true)] {
        let mut mine = Mine::new();
        let face = version(ALARM, PERCENT);
        mine.reading(0, 1.2).await;
        mine.live(&face).await;
        assert_eq!(mine.shown().await, ["face on 0"]);
        if gone {
            mine.snapshots = Arc::default();
        } else {
            let mut taken = mine.snapshots.load(0).await.unwrap().unwrap();
            taken.shards[0][0] = 99; // a format of another release
            mine.snapshots.save(0, taken).await.unwrap();
        }
        mine.reading(5, 1.3).await;
        mine.reading(10, 0.5).await;
        let wanted = if renamed { version(&ALARM.replace("face", "roof"), PERCENT) } else { face };
        mine.live(&wanted).await;
        let expected: &[&str] = match renamed {
            true => &["face on 0", "face withdrawn 0", "roof on 5", "roof off 10"],
            false => &["face on 0", "face off 10"],
        };
        assert_eq!(mine.shown().await, expected, "snapshot gone: {gone}");
        let mut ids: Vec<_> = mine.told().await.iter().map(|t| t.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), expected.len(), "each step has an id of its own");
    }
}
