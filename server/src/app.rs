//! The composition root: from a configuration to a running process, part by part, each handed only what it needs.

use crate::config::{Config, Loaded, LogKind, Unknown};
use crate::edge::EdgeOptions;
use crate::heartbeat::Heartbeat;
use crate::http;
use crate::keeper::Keeper;
use crate::pipeline::{Drained, Parts, Pipeline};
use crate::readiness::Readiness;
use crate::registration::{self, Registrar};
use crate::reload::{self, Active};
use crate::runners::{aside::Aside, rules::SNAPSHOT_EVERY};
use crate::same_log;
use crate::snapshots::{FolderSnapshots, SnapshotStore};
use crate::source_watch;
use crate::sources::Sources;
use crate::trim;
use ::alerts::{AlarmStore, Dispatcher, RoutesInForce, SqlStore};
use ::storage::Storage;
use anyhow::{Context, anyhow};
use model::{Catalog, Clock, SystemClock};
use prometheus::Registry;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use stream::{EmbeddedLog, EmbeddedOptions, Forwarder, KafkaLog, KafkaOptions, Log};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// What one process does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub enum ProcessRole {
    /// Reads devices into the log.
    Ingest,
    /// Judges.
    Rules,
    /// Writes the table.
    Storage,
    /// Carries alarms and tells.
    Alerts,
    /// Serves the API and the page.
    Server,
}

impl ProcessRole {
    /// All roles: one process does everything.
    pub fn all() -> BTreeSet<Self> {
        [Self::Ingest, Self::Rules, Self::Storage, Self::Alerts, Self::Server].into()
    }
}

/// A running process.
pub struct App {
    /// Address of the API, in the role server.
    pub address: Option<SocketAddr>,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The alarm store.
    pub alarms: Arc<dyn AlarmStore>,
    /// The table, in the role storage.
    pub storage: Option<Storage>,
    log: Arc<dyn Log>,
    sources: Sources,
    serving: Option<http::Serving>,
    stop: CancellationToken,
    drain: std::time::Duration,
}

impl App {
    /// Starts everything `roles` ask for. Nothing is taken from a device before all parts stand.
    ///
    /// # Errors
    /// What could not be started, with its place and cause.
    #[allow(clippy::too_many_lines)] // the parts of a process, in order, each handed only what it needs
    pub async fn start(
        config: Config,
        loaded: Loaded,
        roles: &BTreeSet<ProcessRole>,
    ) -> anyhow::Result<Self> {
        let has = |role| roles.contains(&role);
        // Sources resolve their own paths (an inbox, a certificate): all of a configuration's are below its folder.
        let folder = Config::resolve(&config.file, ".");
        std::env::set_current_dir(&folder).with_context(|| folder.display().to_string())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let registry = Registry::new();
        let stop = CancellationToken::new();
        let mut steps = Steps::begin();
        let Logs { edge: edge_log, log, forwarder, identity } =
            open_logs(&config, &clock, &registry, roles).await?;
        steps.done("log opened");
        let catalog = Arc::new(RwLock::new(loaded.catalog.clone()));
        let (versions, wanted) = watch::channel(loaded.version.clone());

        let storage = if has(ProcessRole::Storage) {
            let storage = open_table(&config, &catalog, &clock, &registry).await?;
            // To judge and to alarm goes before to store: a table that is not this log's ends only the storing.
            if let Err(why) = same_log::check(&storage, &log, identity).await? {
                storage.refuse(format!("the table at {}: {why}", config.storage.url)).await;
            }
            Some(storage)
        } else {
            None
        };
        steps.done("table opened");
        let routes = RoutesInForce::new(loaded.routes.clone());
        let alarms = open_alarms(&config, &catalog, &routes, &registry).await?;
        let dispatcher = has(ProcessRole::Alerts)
            .then(|| Dispatcher::new(alarms.clone(), config.receivers.clone(), clock.clone(), &registry))
            .transpose()
            .context("a receiver cannot be set up")?;
        let snapshots: Option<Arc<dyn SnapshotStore>> = has(ProcessRole::Rules)
            .then(|| Arc::new(FolderSnapshots::new(config.data_dir.join("rules"))) as Arc<dyn SnapshotStore>);

        let trimmed = edge_log.clone();
        let pipeline = Pipeline::start(Parts {
            edge_log,
            log: log.clone(),
            forwarder,
            storage: storage.clone(),
            flush: config.storage.flush,
            alarms: alarms.clone(),
            dispatcher,
            snapshots,
            snapshot_every: SNAPSHOT_EVERY,
            version: wanted,
            catalog: catalog.clone(),
            clock: clock.clone(),
            edge: EdgeOptions {
                linger: config.log.linger,
                unknown: config.catalog.unknown,
                retention: config.storage.retain.readings,
            },
            aside: Aside(Some(config.data_dir.join("undecodable"))),
            registry: registry.clone(),
        })
        .await
        .map_err(|e| anyhow!(e))?;
        steps.done("rules restored");
        // What a table that is another log's says was last is not of this process.
        if let Some(storage) = storage.clone().filter(|s| s.stopped().is_none()) {
            // Beside the path: a day of readings takes longer to look through than a start may.
            let (live, now, stop) = (pipeline.live.clone(), clock.now(), stop.clone());
            let restored = async move { crate::restore::live(&storage, &live, now).await };
            tokio::spawn(async move { stop.run_until_cancelled(restored).await });
        }

        let (reloaded, changes) = mpsc::unbounded_channel();
        if has(ProcessRole::Alerts) {
            let keeper = Keeper::new(&config, alarms.clone(), clock.clone(), loaded.hashes.clone(), changes);
            tokio::spawn(keeper.run(stop.clone()));
        }
        let active = Arc::new(Active::new(loaded, catalog.clone(), routes, versions, reloaded));
        let config = Arc::new(config);
        let metrics = ingest::metrics::Metrics::register(&registry).context("metrics of the sources")?;
        let sources = Sources::new(&config, pipeline.edge.clone(), catalog, clock.clone(), metrics);
        let readiness = Readiness {
            log: log.clone(),
            lag: has(ProcessRole::Rules).then(|| pipeline.lag.clone()),
            alarms: alarms.clone(),
            broken: pipeline.not_storing.clone(),
            clock: clock.clone(),
        };
        if let Some(beat) = config.server.heartbeat.clone() {
            let (readiness, own) = (readiness.clone(), pipeline.own.clone());
            let beat = Heartbeat::new(beat, readiness, own, clock.clone(), &registry);
            tokio::spawn(beat.map_err(|e| anyhow!("the heartbeat: {e}"))?.run(stop.clone()));
        } else {
            pipeline.own.clear("heartbeat", "watcher", "no watcher is configured".to_owned());
        }
        let registrar = storage.clone().map(|storage| {
            let push = sources.context().clone();
            Arc::new(Registrar::new(config.clone(), active.clone(), storage, push))
        });
        if let Some(registrar) = registrar.clone().filter(|_| config.catalog.unknown != Unknown::Refuse) {
            let registers = config.catalog.unknown == Unknown::Register;
            let watch = registration::watch::Watch::new(registrar, pipeline.own.clone(), registers);
            tokio::spawn(watch.run(log.clone(), stop.clone()));
        }
        let state = http::State {
            config: config.clone(),
            live: pipeline.live.clone(),
            readiness,
            alarms: alarms.clone(),
            storage: storage.clone(),
            registrar,
            log: log.clone(),
            sources: sources.clone(),
            active: active.clone(),
            clock: clock.clone(),
            registry: registry.clone(),
        };
        let serving = if has(ProcessRole::Server) { Some(http::serve(state).await?) } else { None };
        tokio::spawn(reload::watch(config.clone(), active, pipeline.own.clone(), stop.clone()));
        let (retain, own) = (config.log.retain_age, pipeline.own.clone());
        let consumers: &[&str] = match config.log.kind {
            LogKind::Embedded => &["rules", "storage", "alerts"],
            LogKind::Kafka => &[trim::FORWARDER],
        };
        tokio::spawn(trim::run(trimmed, consumers, retain, clock.clone(), own, stop.clone()));
        if has(ProcessRole::Ingest) {
            let names: Vec<String> = sources.states().into_iter().map(|s| s.name).collect();
            source_watch::end_those_of_others(&*alarms, &names, &pipeline.own).await;
            sources.start();
            let (own, stop) = (pipeline.own.clone(), stop.clone());
            tokio::spawn(source_watch::run(sources.clone(), clock.clone(), own, stop));
        }
        let address = serving.as_ref().map(|s| s.address);
        Ok(Self {
            address,
            pipeline,
            alarms,
            storage,
            log,
            sources,
            serving,
            stop,
            drain: config.server.drain,
        })
    }

    /// Cancelled when a part that cannot be done without is broken.
    pub fn broken(&self) -> CancellationToken {
        self.pipeline.broken.clone()
    }

    /// What came in against what is stored.
    ///
    /// # Errors
    /// When log or table cannot be read.
    pub async fn balance(&self) -> anyhow::Result<crate::balance::Balance> {
        let storage = self.storage.as_ref().context("this process has not the role storage")?;
        crate::balance::of(storage, &self.log).await
    }

    /// Waits until everything that was accepted is judged, told and stored, then commits; for a demo that ends.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let storage = self.storage.as_ref().context("this process has not the role storage")?;
        let end = tokio::time::Instant::now() + self.drain;
        while tokio::time::Instant::now() < end && !self.is_settled(storage).await? {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        storage.flush().await.context("the table cannot be written")?;
        Ok(())
    }

    async fn is_settled(&self, storage: &Storage) -> anyhow::Result<bool> {
        for p in 0..self.log.partitions() {
            // Ticks come all the time; what was there when we looked is what counts.
            let readings = self.log.bounds(model::Stream::Readings, p).await?.next;
            let judged = self.log.bounds(model::Stream::Transitions, p).await?.next;
            if storage.next_offset(p) + 2 < readings || self.alarms.position(p).await? < judged {
                return Ok(false);
            }
        }
        let counts = self.alarms.counts().await?;
        Ok(counts.pending == 0)
    }

    /// Ends every source; what they handed over is answered.
    pub async fn stop_sources(&self) {
        self.sources.stop().await;
    }

    /// Stops taking, drains, and says which of the two came first: the end or the deadline.
    pub async fn stop(self) -> Drained {
        self.stop.cancel();
        if let Some(serving) = self.serving {
            serving.stop().await;
        }
        self.sources.stop().await;
        self.pipeline.stop(self.drain).await
    }
}

/// Says which steps of a start take long.
pub struct Steps(std::time::Instant);

impl Steps {
    /// The first step begins.
    pub fn begin() -> Self {
        Self(std::time::Instant::now())
    }

    /// A step is done, and the next begins.
    pub fn done(&mut self, what: &str) {
        let seconds = self.0.elapsed().as_secs_f64();
        self.0 = std::time::Instant::now();
        if seconds > 0.2 {
            tracing::info!("{what}, in {seconds:.1} s");
        }
    }
}

async fn open_table(
    config: &Config,
    catalog: &Arc<RwLock<Arc<Catalog>>>,
    clock: &Arc<dyn Clock>,
    registry: &Registry,
) -> anyhow::Result<Storage> {
    let opened = Storage::open(config.storage.clone(), None, catalog.clone(), clock.clone(), registry).await;
    opened.with_context(|| format!("the table at {} cannot be opened", config.storage.url))
}

async fn open_alarms(
    config: &Config,
    catalog: &Arc<RwLock<Arc<Catalog>>>,
    routes: &RoutesInForce,
    registry: &Registry,
) -> anyhow::Result<Arc<dyn AlarmStore>> {
    let url = config.alerts.database.expose();
    let store = SqlStore::open(url, config.receivers.clone(), registry).await;
    let store = store.context("the alarm database cannot be opened")?;
    Ok(Arc::new(store.with_places(catalog.clone()).with_routes(routes.clone())))
}

struct Logs {
    /// The collector's own.
    edge: Arc<dyn Log>,
    /// What rules, storage and alerts read.
    log: Arc<dyn Log>,
    forwarder: Option<Forwarder>,
    /// The number of `log`, in the role storage.
    identity: u64,
}

async fn open_logs(
    config: &Config,
    clock: &Arc<dyn Clock>,
    registry: &Registry,
    roles: &BTreeSet<ProcessRole>,
) -> anyhow::Result<Logs> {
    let c = &config.log;
    let embedded = || -> anyhow::Result<Arc<dyn Log>> {
        let options = EmbeddedOptions {
            dir: c.dir.clone(),
            partitions: c.partitions,
            retain_size: c.retain_size,
            disk_reserve: c.disk_reserve,
            ..EmbeddedOptions::default()
        };
        let log = EmbeddedLog::open(options, clock.clone(), registry);
        Ok(Arc::new(log.with_context(|| format!("the log in {} cannot be opened", c.dir.display()))?))
    };
    if c.kind == LogKind::Embedded {
        let log = embedded()?;
        let identity = same_log::of_folder(&c.dir)?;
        return Ok(Logs { edge: log.clone(), log, forwarder: None, identity });
    }
    let kafka = c.kafka.as_ref().context("log.kafka is missing")?;
    let brokers = kafka.brokers.join(",");
    let options = KafkaOptions {
        brokers: brokers.clone(),
        topic: kafka.topic.clone(),
        partitions: c.partitions,
        settings: kafka.settings(),
        ..KafkaOptions::default()
    };
    let log = KafkaLog::open(options, registry).await;
    let log = log.with_context(|| format!("Kafka at {brokers} cannot be used"))?;
    let identity = match roles.contains(&ProcessRole::Storage) {
        true => same_log::of_topic(&log.cluster().await?, &kafka.topic),
        false => 0,
    };
    let log: Arc<dyn Log> = Arc::new(log);
    if !roles.contains(&ProcessRole::Ingest) {
        return Ok(Logs { edge: log.clone(), log, forwarder: None, identity });
    }
    let own = embedded()?;
    let forwarder = Forwarder::new(own.clone(), log.clone(), registry).context("metrics of the forwarder")?;
    Ok(Logs { edge: own, log, forwarder: Some(forwarder), identity })
}
