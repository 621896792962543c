//! The pipeline on one page: how edge, log, rules, alarms and storage meet, in the order of the path of a reading.
//!
//! Everything it runs on is handed in as a trait object, so the same code runs on real parts and, in the seeded
//! simulation, on models in memory under a paused clock.

use crate::edge::{Brake, Edge, EdgeMetrics, EdgeOptions};
use crate::live::Live;
use crate::runners::rules::{Restored, RulesRunner};
use crate::runners::{self, Lag, RunnerMetrics, Shared, aside::Aside, own::OwnAlarms};
use crate::snapshots::SnapshotStore;
use crate::versions::Version;
use crate::watchdog;
use ::alerts::{AlarmStore, Dispatcher};
use ::storage::Storage;
use model::{Catalog, Clock, Micros};
use prometheus::Registry;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use stream::{Forwarder, Log};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(test)]
mod tests;

/// What a pipeline runs on.
pub struct Parts {
    /// Where the edge appends: the collector's own log.
    pub edge_log: Arc<dyn Log>,
    /// Where rules, storage and alerts read: the same log, or Kafka behind a forwarder.
    pub log: Arc<dyn Log>,
    /// The forwarder between the two, where they differ.
    pub forwarder: Option<Forwarder>,
    /// The table, in the role storage.
    pub storage: Option<Storage>,
    /// How often it commits.
    pub flush: Duration,
    /// The alarm store.
    pub alarms: Arc<dyn AlarmStore>,
    /// Sends what the alarm store has to tell, in the role alerts.
    pub dispatcher: Option<Dispatcher>,
    /// Snapshots of the rules, in the role rules.
    pub snapshots: Option<Arc<dyn SnapshotStore>>,
    /// How often they are taken.
    pub snapshot_every: Micros,
    /// Rules and catalog wanted; a change is activated through the log.
    pub version: watch::Receiver<Arc<Version>>,
    /// The catalog in force at the edge.
    pub catalog: Arc<RwLock<Arc<Catalog>>>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Options of the edge.
    pub edge: EdgeOptions,
    /// Where undecodable records go.
    pub aside: Aside,
    /// All metrics.
    pub registry: Registry,
}

/// One stage: told to stop by its token, done when its tasks are.
#[derive(Default)]
struct Stage {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Stage {
    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A pipeline at work.
pub struct Pipeline {
    /// The sink of all sources.
    pub edge: Arc<Edge>,
    /// Last values and people.
    pub live: Arc<Live>,
    /// How far the rules are behind.
    pub lag: Lag,
    /// firedamp's own alarms.
    pub own: OwnAlarms,
    /// Cancelled when a part that cannot be done without is broken.
    pub broken: CancellationToken,
    /// Cancelled when nothing more is stored; rules and alarms go on.
    pub not_storing: CancellationToken,
    forwarding: Stage,
    deciding: Stage,
    alarming: Stage,
    telling: Stage,
    storing: Stage,
    committing: Stage,
    logs: [Arc<dyn Log>; 2],
}

/// The rules of all partitions, side by side: with a million points each takes a good part of a second.
async fn restore(
    shared: &Shared,
    snapshots: &Arc<dyn SnapshotStore>,
    version: &watch::Receiver<Arc<Version>>,
    every: Micros,
) -> Result<Vec<Restored>, String> {
    let one = |p| RulesRunner::restore(shared.clone(), p, snapshots.clone(), version.clone(), every);
    let restoring: Vec<_> = (0..shared.log.partitions()).map(|p| tokio::spawn(one(p))).collect();
    let mut restored = Vec::new();
    for rules in restoring {
        restored.push(rules.await.map_err(|e| e.to_string())??);
    }
    Ok(restored)
}

/// Carries the collector's log on; a pipeline whose forwarder ended is broken.
async fn forward(forwarder: Forwarder, stop: CancellationToken, broken: CancellationToken) {
    if let Err(e) = forwarder.run(stop).await {
        tracing::error!("the forwarder ended: {e}");
        broken.cancel();
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drained {
    /// Everything under way was written down.
    Clean,
    /// The deadline came first; the rest is in the log and goes on at the next start.
    Cut,
}

impl Pipeline {
    /// Starts the stages from the last to the first, so that each finds its reader at work.
    ///
    /// # Errors
    /// A sentence, when a part cannot be read or a metric stands twice.
    pub async fn start(parts: Parts) -> Result<Self, String> {
        let edge_metrics = EdgeMetrics::register(&parts.registry).map_err(|e| e.to_string())?;
        let (own, own_queue) = OwnAlarms::queue();
        let partitions = parts.log.partitions();
        let metrics = RunnerMetrics::register(&parts.registry).map_err(|e| e.to_string())?;
        let (log, clock) = (parts.log.clone(), parts.clock.clone());
        let shared = Shared::new(log, clock, metrics, parts.aside.clone(), own.clone());
        let lag = shared.lag.clone();
        let live = Live::new(parts.catalog.clone());
        let broken = CancellationToken::new();
        let [forwarding, deciding, alarming, telling, storing, committing] = <[Stage; 6]>::default();

        let alarms = parts.dispatcher.is_some().then_some(&*parts.alarms);
        if let Some(storage) = parts.storage.as_ref().filter(|s| s.stopped().is_some()) {
            shared.not_storing.cancel();
            runners::storage::tell_stopped(&shared, storage);
        }
        let storing_into = parts.storage.as_ref().filter(|_| !shared.not_storing.is_cancelled());
        runners::behind::reach_all(&shared, storing_into, alarms).await?;
        if let Some(storage) = &parts.storage {
            store(&shared, storage, &live, parts.flush, &storing, &committing);
        }
        if let Some(dispatcher) = parts.dispatcher {
            for p in 0..partitions {
                let held = runners::alerts::hold(&*parts.alarms, p, parts.clock.now()).await;
                let from = (p, held.map_err(|e| e.to_string())?);
                let (s, a) = (shared.clone(), parts.alarms.clone());
                let judged_here = parts.snapshots.is_some();
                alarming.tasks.spawn(runners::alerts::run(s, a, from, judged_here, alarming.stop.clone()));
            }
            telling.tasks.spawn(dispatcher.run(telling.stop.clone()));
        }
        let (alarms, clock) = (parts.alarms.clone(), parts.clock.clone());
        telling.tasks.spawn(runners::own::run(alarms, clock, own_queue, telling.stop.clone()));
        if let Some(snapshots) = &parts.snapshots {
            let restored = restore(&shared, snapshots, &parts.version, parts.snapshot_every).await?;
            for rules in restored {
                deciding.tasks.spawn(rules.run(deciding.stop.clone()));
            }
            telling.tasks.spawn(watchdog::run(shared.clone(), partitions, deciding.stop.clone()));
        }
        if let Some(forwarder) = parts.forwarder {
            forwarding.tasks.spawn(forward(forwarder, forwarding.stop.clone(), broken.clone()));
        }
        let rules = parts.snapshots.is_some().then(|| lag.clone());
        let reads_same = Arc::ptr_eq(&parts.edge_log, &parts.log);
        let table = parts.storage.map(|storage| (storage, shared.storing_lag.clone()));
        let brake = Brake::by(rules.filter(|_| reads_same), table.filter(|_| reads_same), parts.clock);
        let edge = Edge::start(&parts.edge_log, parts.edge, parts.catalog, edge_metrics, &own, brake);
        let logs = [parts.edge_log, parts.log];
        Ok(Self {
            edge,
            live,
            lag,
            own,
            broken,
            not_storing: shared.not_storing,
            forwarding,
            deciding,
            alarming,
            telling,
            storing,
            committing,
            logs,
        })
    }

    /// Stops in the order of the path, each stage draining what the one before wrote. The sources must have ended.
    pub async fn stop(self, deadline: Duration) -> Drained {
        let drain = async {
            self.edge.close();
            self.forwarding.end().await;
            self.deciding.end().await;
            self.alarming.end().await;
            self.storing.end().await;
            self.committing.end().await;
            self.telling.end().await;
        };
        let drained = match tokio::time::timeout(deadline, drain).await {
            Ok(()) => Drained::Clean,
            Err(_) => Drained::Cut,
        };
        for log in &self.logs {
            if let Err(e) = log.close().await {
                tracing::warn!("the log did not close cleanly: {e}");
            }
        }
        drained
    }
}

/// Starts what carries both streams into the table and commits and maintains it.
fn store(
    shared: &Shared,
    storage: &Storage,
    live: &Arc<Live>,
    flush: Duration,
    storing: &Stage,
    committing: &Stage,
) {
    let both = || (shared.clone(), storage.clone());
    for p in 0..shared.log.partitions() {
        let (s, t) = both();
        storing.tasks.spawn(runners::storage::readings(s, t, live.clone(), p, storing.stop.clone()));
        let (s, t) = both();
        storing.tasks.spawn(runners::storage::events(s, t, p, storing.stop.clone()));
    }
    let (s, t) = both();
    storing.tasks.spawn(runners::storage::maintenance(s, t, storing.stop.clone()));
    let (s, t) = both();
    committing.tasks.spawn(runners::storage::commits(s, t, flush, committing.stop.clone()));
}
