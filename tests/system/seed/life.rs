//! The lives of one history: the whole pipeline of the server on models, started, killed at a point or broken by a second writer,
//! and started again, until all that the devices sent is stored, judged and told.

use super::alarms::{Bureau, SeedAlarms};
use super::devices::{Device, LENGTH, POINTS, SITES};
use super::lake::{SeedLake, SeedSnapshots};
use super::log::{Early, SeedLog};
use super::world::{Death, World};
use alerts::{AlarmStore, Dispatcher, MemoryStore, Receiver, Way};
use firedamp::edge::EdgeOptions;
use firedamp::pipeline::{Drained, Parts, Pipeline};
use firedamp::runners::aside::Aside;
use firedamp::snapshots::MemorySnapshots;
use firedamp::versions::Version;
use model::time::{DAY, MINUTE, SECOND};
use model::{Catalog, Clock, Micros, Problems, Severity, Stream};
use prometheus::Registry;
use rules::RuleFile;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use storage::{Options, Planted, Storage};
use stream::{Log, MemoryLog};
use tokio::sync::watch;

/// When every history begins: an early morning in Shanxi, so that no local day ends in it.
pub const START: Micros = 1_795_478_400 * SECOND;
pub const PARTITIONS: u32 = 2;

/// Beside those of the longwall.
const RULES: &str = r#"
[[rule]]
name = "co-lasting"
kind = "limit"
select = { quantity = "co" }
level = [{ name = "alarm", on = ">= 24", off = "< 20", on_delay = "25s", off_delay = "15s", severity = "yellow" }]

[[rule]]
name = "quiet"
kind = "silent"
select = { kind = "mine" }
level = [{ name = "silent", after = "25s", severity = "blue" }]

[[rule]]
name = "fault"
kind = "status"
select = { kind = "mine" }
any = ["sensor_fault"]
level = [{ name = "fault", severity = "blue" }]
"#;

/// In force from the middle on.
const LATER: &str = r#"
[[rule]]
name = "hot"
kind = "limit"
select = { quantity = "temperature" }
level = [{ name = "alarm", on = ">= 20", off = "< 18", severity = "yellow" }]
"#;

/// A mistake planted on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mistakes {
    pub early: Option<Early>,
    pub storage: Option<Planted>,
    pub alarms: Option<alerts::store::Mistake>,
}

/// What outlives the processes.
pub struct Stage {
    pub seed: u64,
    pub world: World,
    pub log: SeedLog,
    pub lake: SeedLake,
    pub alarms: SeedAlarms,
    pub snapshots: SeedSnapshots,
    pub bureau: Bureau,
    pub devices: Vec<Arc<Device>>,
    pub catalog: Arc<Catalog>,
    versions: [Arc<Version>; 2],
    mistakes: Mistakes,
    /// Whether parts are slow and fail, and a second process may write the table.
    pub rough: bool,
}

/// How a life ended.
#[derive(Debug)]
enum End {
    Died,
    /// A part that the process cannot do without gave up: it ends, and is started again.
    Broke(String),
    Settled,
    Stuck(String),
}

impl Stage {
    pub fn new(seed: u64, rough: bool, mistakes: Mistakes) -> Self {
        let world = World::new(seed, START, rough);
        let mut problems = Problems::default();
        let sites = model::catalog::sites_from_csv("s", SITES, &mut problems);
        let points = model::catalog::points_from_csv("p", POINTS, &mut problems);
        let catalog = Arc::new(Catalog::build(sites, points, PARTITIONS, &mut problems));
        let file = |name: &str, text: &str| RuleFile { name: name.into(), text: text.into() };
        let first = vec![file("longwall.toml", crate::stand::RULES), file("rules.toml", RULES)];
        let second = [first.clone(), vec![file("later.toml", LATER)]].concat();
        let (_, wrong) = rules::Program::compile(&second, &catalog);
        assert_eq!((problems.errors(), wrong.errors()), (0, 0), "{problems} {wrong}");
        let clock: Arc<dyn Clock> = Arc::new(world.clone());
        let log = SeedLog::new(MemoryLog::new(PARTITIONS, 7, clock), world.clone(), mistakes.early);
        let bureau = Bureau { world: world.clone(), told: Arc::default() };
        let store = MemoryStore::new(vec![receiver(&bureau)]).with_places(catalog.clone());
        if let Some(mistake) = mistakes.alarms {
            store.plant(mistake);
        }
        Self {
            seed,
            log,
            lake: SeedLake { inner: Arc::default(), world: world.clone() },
            alarms: SeedAlarms { inner: store, world: world.clone(), taken: Arc::default() },
            snapshots: SeedSnapshots { inner: MemorySnapshots::default(), world: world.clone() },
            devices: Device::all(seed, START),
            versions: [&first, &second].map(|rules| Arc::new(Version::of_all(rules, &catalog))),
            rough,
            bureau,
            catalog,
            world,
            mistakes,
        }
    }

    /// The version in force at first.
    pub fn first_version(&self) -> &Arc<Version> {
        &self.versions[0]
    }

    /// Lives through everything; each life dies at its own point, those after the last one at none.
    ///
    /// # Errors
    /// What did not go on by itself.
    pub fn live(&self, deaths: &[Death]) -> Result<(), String> {
        for i in 0..100 {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let runtime = runtime.map_err(|e| e.to_string())?;
            let end = runtime.block_on(async {
                let died = self.world.begin(deaths.get(i).copied());
                let end = tokio::select! {
                    biased;
                    () = died.cancelled() => End::Died,
                    end = self.life() => end,
                };
                self.world.end(Duration::from_millis(self.world.draw(200..8000)));
                end
            });
            drop(runtime);
            self.log.inner.crash();
            self.alarms.inner.crash();
            self.one_active_alarm()?;
            match end {
                End::Settled => return Ok(()),
                End::Stuck(why) => return Err(why),
                End::Died => {}
                End::Broke(why) => tracing::debug!(seed = self.seed, "a process ended: {why}"),
            }
        }
        Err("a hundred lives were not enough".to_owned())
    }

    fn one_active_alarm(&self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
        let active =
            runtime.block_on(self.alarms.inner.list(&Default::default())).map_err(|e| e.to_string())?;
        let mut keys: Vec<(&str, &str, &str)> =
            active.iter().map(|a| (&*a.rule, &*a.site, &*a.point)).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|two| two[0] == two[1]) {
            None => Ok(()),
            Some(two) => Err(format!("two active alarms of {:?}", two[0])),
        }
    }

    async fn life(&self) -> End {
        let changes_in = START + LENGTH / 2 - self.world.now();
        let (versions, _) = watch::channel(self.versions[usize::from(changes_in <= 0)].clone());
        let main = match self.start(&versions, true).await {
            Ok(main) => main,
            Err(e) => return End::Broke(e),
        };
        let (storage, pipeline) = main;
        for device in &self.devices {
            tokio::spawn(device.clone().send(self.world.clone(), pipeline.edge.clone()));
        }
        let log: Arc<dyn Log> = Arc::new(self.log.clone());
        let clock: Arc<dyn Clock> = Arc::new(self.world.clone());
        let consumers = &["rules", "storage", "alerts"];
        let stop = pipeline.not_storing.clone();
        tokio::spawn(firedamp::trim::run(log, consumers, 2 * MINUTE, clock, pipeline.own.clone(), stop));
        let later = self.versions[1].clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(changes_in.max(0) as u64)).await;
            versions.send_replace(later);
            std::future::pending::<()>().await; // the sender stays, as in the server
        });
        let broken = pipeline.not_storing.clone();
        tokio::select! {
            biased;
            () = broken.cancelled() => End::Broke("the pipeline".to_owned()),
            _ = self.intrude() => unreachable!("an intruder never ends"),
            settled = self.settle(&storage) => match settled {
                Err(why) => End::Stuck(why),
                Ok(()) => self.stop(pipeline).await,
            },
        }
    }

    async fn stop(&self, pipeline: Pipeline) -> End {
        match pipeline.stop(Duration::from_secs(60)).await {
            Drained::Clean => {
                self.log.inner.reopen();
                End::Settled
            }
            Drained::Cut => End::Stuck("a calm pipeline did not drain".to_owned()),
        }
    }

    /// A second process that writes the same table, in some lives, after some time: a mistake that operators make.
    async fn intrude(&self) {
        if self.rough && self.world.draw(0..4) == 0 {
            tokio::time::sleep(Duration::from_secs(self.world.draw(5..240))).await;
            let (versions, _) = watch::channel(self.versions[0].clone());
            // Where it cannot be started it would be tried again; once is enough here.
            if let Ok((_storage, pipeline)) = self.start(&versions, false).await {
                pipeline.not_storing.cancelled().await;
            }
        }
        std::future::pending::<()>().await;
    }

    async fn start(
        &self,
        versions: &watch::Sender<Arc<Version>>,
        whole: bool,
    ) -> Result<(Storage, Pipeline), String> {
        let (registry, clock) = (Registry::new(), Arc::new(self.world.clone()) as Arc<dyn Clock>);
        let catalog = Arc::new(RwLock::new(self.catalog.clone()));
        let options = Options {
            // Queries and encoding on the one thread of the simulation.
            query_threads: 0,
            compact_files: 3,
            checkpoint_every: 20,
            keep_removed: MINUTE,
            planted: self.mistakes.storage,
            ..Options::default()
        };
        let lake = Some(Arc::new(self.lake.clone()) as _);
        let storage = Storage::open(options, lake, catalog.clone(), clock.clone(), &registry).await;
        let storage = storage.map_err(|e| e.to_string())?;
        let alarms: Arc<dyn AlarmStore> = Arc::new(self.alarms.clone());
        let way = Way { receiver: receiver(&self.bureau), notifier: Arc::new(self.bureau.clone()) };
        let dispatcher = Dispatcher::with(alarms.clone(), vec![way], clock.clone(), &registry);
        let dispatcher = dispatcher.map_err(|e| e.to_string())?.seeded(self.seed);
        let log: Arc<dyn Log> = Arc::new(self.log.clone());
        let pipeline = Pipeline::start(Parts {
            edge_log: log.clone(),
            log,
            forwarder: None,
            storage: Some(storage.clone()),
            flush: Duration::from_secs(5),
            alarms,
            dispatcher: whole.then_some(dispatcher),
            snapshots: whole.then(|| Arc::new(self.snapshots.clone()) as _),
            snapshot_every: 10 * SECOND,
            version: versions.subscribe(),
            catalog,
            clock,
            edge: EdgeOptions {
                linger: Duration::from_millis(5),
                unknown: firedamp::config::Unknown::Quarantine,
                retention: 90 * DAY,
            },
            aside: Aside(None),
            registry,
        })
        .await?;
        Ok((storage, pipeline))
    }

    /// Waits until the devices have sent everything and all of it is stored, judged and told.
    async fn settle(&self, storage: &Storage) -> Result<(), String> {
        let started = self.world.now();
        while !self.devices.iter().all(|d| d.is_done()) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.world.now() > START + 2 * LENGTH {
                return Err("the devices cannot send".to_owned());
            }
        }
        self.world.calm();
        let end = self.world.now() + 30 * MINUTE;
        while self.world.now() < end {
            let counts = self.alarms.counts().await.map_err(|e| e.to_string())?;
            let mut settled = counts.pending == 0 && self.alarms.told_by(started) < self.world.now();
            for p in 0..PARTITIONS {
                let bounds = |s| self.log.bounds(s, p);
                let judged = bounds(Stream::Transitions).await.map_err(|e| e.to_string())?.next;
                let read = bounds(Stream::Readings).await.map_err(|e| e.to_string())?.next;
                let position = self.alarms.position(p).await.map_err(|e| e.to_string())?;
                settled &= storage.next_offset(p) + 2 >= read
                    && position >= judged
                    && storage.next_event_offset(p) >= judged;
            }
            if settled {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err("what was sent is not stored, judged and told after half an hour of calm".to_owned())
    }
}

fn receiver(bureau: &Bureau) -> Receiver {
    Receiver {
        severity: Severity::Blue,
        deadline: Duration::from_secs(86_400),
        ..Receiver::new("bureau", Arc::new(bureau.clone()))
    }
}
