//! The sources at work: starts each with its context, keeps their health, stops them together.

use crate::config::Config;
use crate::edge::{Edge, Refusals};
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
    edge: Arc<Edge>,
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
    /// Its health; in the message also which clocks are ahead.
    #[serde(flatten)]
    pub health: Health,
    /// What was refused since the start, by reason.
    pub refused: Vec<Refusals>,
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
        // There is nothing to connect to: it is up as long as the API is.
        push_context.health.write().expect("no holder of this lock panics").up = true;
        let push = PushSource::new(push_context.clone());
        Self(Arc::new(Inner {
            list,
            push_context,
            push,
            edge,
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

    /// Name, kind, health and refusals of each, and of what is pushed by HTTP.
    pub fn states(&self) -> Vec<SourceState> {
        let pushed = std::iter::once(("http", &self.0.push_context));
        let all = self.0.list.iter().map(|entry| (entry.kind, &entry.context)).chain(pushed);
        all.map(|(kind, context)| self.state(kind, context)).collect()
    }

    fn state(&self, kind: &'static str, context: &Context) -> SourceState {
        let name = context.info.name.to_string();
        let book = self.0.edge.book();
        let mut health = context.health.read().expect("no holder of this lock panics").clone();
        let clock = book.clock(&name, &context.catalog());
        if !clock.is_empty() {
            let before = if health.message.is_empty() { "" } else { "; " };
            health.message.extend([before, &clock]);
        }
        let refused = book.refusals(&name);
        SourceState { name, kind, health, refused }
    }

    /// Name and health of each source that connects or looks by itself.
    pub fn healths(&self) -> Vec<(String, Health)> {
        let health = |c: &Context| c.health.read().expect("no holder of this lock panics").clone();
        self.0.list.iter().map(|e| (e.context.info.name.to_string(), health(&e.context))).collect()
    }

    /// Tells all to stop and waits until each has finished what it had under way.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}
