//! A stop while the store of the table is away: what was not stored stays in the log, and the next process stores it.

use async_trait::async_trait;
use firedamp::live::Live;
use firedamp::runners::{RunnerMetrics, Shared, aside::Aside, own::OwnAlarms, storage as runner};
use futures::stream::BoxStream;
use model::{ManualClock, PointId, ReadingsBuilder, Record, Run, Stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::*;
use prometheus::{IntGauge, Registry};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use storage::{Options, Storage};
use stream::{Append, Log, MemoryLog};
use tokio_util::sync::CancellationToken;

/// A store that fails so many puts from now on.
#[derive(Clone, Debug, Default)]
struct Away(Arc<InMemory>, Arc<AtomicU32>);

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("away")
    }
}

#[async_trait]
impl ObjectStore for Away {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let left = |n: u32| n.checked_sub(1);
        if self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
            return Err(Error::Generic { store: "away", source: "it is away".into() });
        }
        self.0.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        o: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, o).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(at, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// What [`Stand::live`] returns: the storage, its runner, what stops it, and up to when it has read.
type Living = (Storage, tokio::task::JoinHandle<()>, CancellationToken, IntGauge);

struct Stand {
    lake: Away,
    log: MemoryLog,
    clock: Arc<ManualClock>,
    catalog: Arc<RwLock<Arc<model::Catalog>>>,
}

impl Stand {
    /// A process that stores: its tail has room for one record.
    async fn live(&self) -> Living {
        let options = Options { tail_bytes_max: 1, query_threads: 0, ..Options::default() };
        let (lake, registry) = (Arc::new(self.lake.clone()), Registry::new());
        let storage = Storage::open(options, Some(lake), self.catalog.clone(), self.clock.clone(), &registry);
        let storage = storage.await.unwrap();
        let metrics = RunnerMetrics::register(&Registry::new()).unwrap();
        let until = metrics.storing_until.with_label_values(&["0"]);
        let (log, own) = (Arc::new(self.log.clone()), OwnAlarms::queue().0);
        let shared = Shared::new(log, self.clock.clone(), metrics, Aside(None), own);
        let (live, stop) = (Live::new(self.catalog.clone()), CancellationToken::new());
        let run = runner::readings(shared, storage.clone(), live, 0, stop.clone());
        (storage, tokio::spawn(run), stop, until)
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_skipped_when_the_store_comes_back_during_a_stop() {
    let clock = Arc::new(ManualClock::at(1_795_478_400 * model::time::SECOND));
    let version = crate::once::version(
        "site,name,kind,region\nM1,East,mine,140100\n",
        "site,point,name,quantity,unit,low,high,place,period\nM1,T1,face,ch4,%,0,4,T1,1s\n",
        crate::stand::RULES,
        1,
    );
    let catalog = version.of_partition(0).catalog.clone();
    let log = MemoryLog::new(1, 7, clock.clone());
    let stand = Stand { lake: Away::default(), log, clock, catalog: Arc::new(RwLock::new(catalog)) };
    for n in 0..4 {
        let mut readings = ReadingsBuilder::default();
        readings.push(PointId::of("M1", "T1"), 1_795_478_400_000_000 - n, 0.4, 0);
        let runs = vec![Run { source: "s".into(), received: 1_795_478_400_000_000, rows: 1, flags: 0 }];
        let bytes = Record::Readings { runs, readings: readings.finish() }.encode();
        stand.log.append(Stream::Readings, 0, vec![Append { bytes, origin: None }]).await.unwrap();
    }

    let (storage, run, stop, until) = stand.live().await;
    stand.lake.1.store(u32::MAX, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(30)).await;
    stand.clock.advance(660 * model::time::SECOND);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(until.get(), 1_795_478_400, "that it reads nothing more is seen from outside");
    assert!(!run.is_finished() && storage.next_offset(0) < 4, "it tries again and again");
    // The store fails once more, and is back while the process stops.
    stand.lake.1.store(1, Ordering::SeqCst);
    stop.cancel();
    run.await.unwrap();
    storage.flush().await.unwrap();

    let (storage, run, stop, _) = stand.live().await;
    stop.cancel(); // what the log holds is stored before it ends
    run.await.unwrap();
    storage.flush().await.unwrap();
    let stored = storage.balance().await.unwrap();
    assert_eq!(stored.iter().map(|s| s.stored).sum::<i64>(), 4, "{stored:?}");
}
