//! The sources at work: starts each with its context, keeps their health, stops them together.

use crate::config::Config;
use crate::edge::Edge;
use ingest::metrics::Metrics;
use ingest::push::PushSource;
use ingest::{Context, Health, Source, SourceInfo};
use model::{Catalog, Clock};
use std::sync::{Arc, Mutex, RwLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// All sources of the configuration.
#[derive(Clone)]
pub struct Sources(Arc<Inner>);

struct Inner {
    list: Vec<Entry>,
    push_context: Context,
    push: PushSource,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Entry {
    kind: &'static str,
    context: Context,
    source: Mutex<Option<Box<dyn Source>>>,
}

/// A source as operators see it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SourceState {
    /// Name in the configuration.
    pub name: String,
    /// Protocol.
    pub kind: &'static str,
    /// Its health.
    #[serde(flatten)]
    pub health: Health,
}

impl Sources {
    /// Prepares the sources of a configuration, and one named `push` for what comes by HTTP.
    pub fn new(
        config: &Config,
        edge: Arc<Edge>,
        catalog: Arc<RwLock<Arc<Catalog>>>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let context = |info: SourceInfo| Context {
            info,
            catalog: catalog.clone(),
            clock: clock.clone(),
            sink: edge.clone(),
            health: Arc::default(),
            metrics: metrics.clone(),
        };
        let entry = |c: &crate::config::SourceSlot| Entry {
            kind: c.kind,
            context: context(c.info.clone()),
            source: Mutex::new(c.take()),
        };
        let list = config.sources.iter().map(entry).collect();
        let push_context = context(SourceInfo { name: "push".into(), flags: 0 });
        let push = PushSource::new(push_context.clone());
        Self(Arc::new(Inner {
            list,
            push_context,
            push,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Starts all.
    pub fn start(&self) {
        for entry in &self.0.list {
            let source = entry.source.lock().expect("no holder of this lock panics").take();
            if let Some(source) = source {
                self.0.tasks.spawn(source.run(entry.context.clone(), self.0.stop.clone()));
            }
        }
    }

    /// The context of readings pushed by HTTP.
    pub fn context(&self) -> &Context {
        &self.0.push_context
    }

    /// Takes readings pushed by HTTP.
    pub fn push(&self) -> &PushSource {
        &self.0.push
    }

    /// Name, kind and health of each.
    pub fn states(&self) -> Vec<SourceState> {
        let state = |entry: &Entry| SourceState {
            name: entry.context.info.name.to_string(),
            kind: entry.kind,
            health: entry.context.health.read().expect("no holder of this lock panics").clone(),
        };
        self.0.list.iter().map(state).collect()
    }

    /// Tells all to stop and waits until each has finished what it had under way.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}
