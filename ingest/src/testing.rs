//! What tests of sources need: a context with a small catalog, a clock that stands, and a sink that takes, refuses or stalls
//! as told and keeps what it took. Public because integration tests and other crates use it too.

use crate::metrics::Metrics;
use crate::{Context, Delivery, Health, Sink, SinkError, SourceInfo};
use async_trait::async_trait;
use model::catalog::{Place, Point, Site};
use model::{Catalog, Clock, ManualClock, Micros, Problems};
use std::sync::{Arc, Mutex, RwLock};
use tokio::sync::watch;

/// The time at which the clock of a [`Fixture`] stands: 2026-11-24T00:00:00Z.
pub const NOW: Micros = 1_795_478_400_000_000;

/// What a [`ScriptSink`] does with the next delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Takes it.
    Take,
    /// Says [`SinkError::Retry`].
    Retry,
    /// Waits until the mood changes.
    Stall,
    /// Says [`SinkError::Closed`].
    Closed,
}

/// A sink in memory.
pub struct ScriptSink {
    /// With the number of the call that brought it: a sink keeps the order of calls.
    taken: Mutex<Vec<(u64, Delivery)>>,
    rows: watch::Sender<u64>,
    mood: watch::Sender<Mood>,
    /// Calls of `accept` so far.
    calls: watch::Sender<u64>,
}

impl Default for ScriptSink {
    fn default() -> Self {
        Self {
            taken: Mutex::default(),
            rows: watch::Sender::new(0),
            mood: watch::Sender::new(Mood::Take),
            calls: watch::Sender::new(0),
        }
    }
}

impl ScriptSink {
    /// From now on.
    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// What it took so far, in the order of the calls.
    pub fn taken(&self) -> Vec<Delivery> {
        let mut taken = self.taken.lock().expect("no holder panics").clone();
        taken.sort_by_key(|(call, _)| *call);
        taken.into_iter().map(|(_, delivery)| delivery).collect()
    }

    /// Readings, unknown ones, positions and refusals it took so far.
    pub fn rows(&self) -> u64 {
        *self.rows.borrow()
    }

    /// Waits until it took at least `n` rows.
    pub async fn wait_rows(&self, n: u64) {
        self.rows.subscribe().wait_for(|rows| *rows >= n).await.expect("the sender lives in self");
    }

    /// Waits until `accept` was called at least `n` times.
    pub async fn wait_calls(&self, n: u64) {
        self.calls.subscribe().wait_for(|calls| *calls >= n).await.expect("the sender lives in self");
    }

    /// Calls of `accept` so far.
    pub fn calls(&self) -> u64 {
        *self.calls.borrow()
    }
}

#[async_trait]
impl Sink for ScriptSink {
    async fn accept(&self, _: &SourceInfo, delivery: Delivery) -> Result<(), SinkError> {
        let mut call = 0;
        self.calls.send_modify(|n| {
            *n += 1;
            call = *n;
        });
        let mut mood = self.mood.subscribe();
        let now = *mood.wait_for(|m| *m != Mood::Stall).await.map_err(|_| SinkError::Closed)?;
        match now {
            Mood::Retry => Err(SinkError::Retry("told so".to_owned())),
            Mood::Closed => Err(SinkError::Closed),
            Mood::Take | Mood::Stall => {
                let refused: u64 = delivery.refused.iter().map(|r| r.count).sum();
                let positions = delivery.positions.as_ref().map_or(0, |p| p.rows.len());
                let rows = (delivery.readings.len() + delivery.unknown.len() + positions) as u64 + refused;
                self.taken.lock().expect("no holder panics").push((call, delivery));
                self.rows.send_modify(|n| *n += rows);
                Ok(())
            }
        }
    }
}

/// A context and the parts of it that a test moves.
pub struct Fixture {
    /// For the source.
    pub context: Context,
    /// Its clock, standing at [`NOW`].
    pub clock: ManualClock,
    /// Its sink.
    pub sink: Arc<ScriptSink>,
}

impl Fixture {
    /// Site `M1` with points `T1` to `T3`, source `test`.
    pub fn new(flags: u8) -> Self {
        let clock = ManualClock::at(NOW);
        let sink = Arc::new(ScriptSink::default());
        let context = Context {
            info: SourceInfo { name: "test".into(), flags },
            catalog: Arc::new(RwLock::new(Arc::new(catalog(&["T1", "T2", "T3"])))),
            clock: Arc::new(clock.clone()) as Arc<dyn Clock>,
            sink: sink.clone(),
            health: Arc::new(RwLock::new(Health::default())),
            metrics: Arc::new(Metrics::default()),
        };
        Self { context, clock, sink }
    }

    /// Replaces the catalog: site `M1` with these points.
    pub fn set_catalog(&self, points: &[&str]) {
        *self.context.catalog.write().expect("no holder panics") = Arc::new(catalog(points));
    }

    /// Health of the source now.
    pub fn health(&self) -> Health {
        self.context.health.read().expect("no holder panics").clone()
    }
}

fn catalog(points: &[&str]) -> Catalog {
    let site = Site { code: "M1".into(), kind: "mine".into(), region: "140100".into(), ..Site::default() };
    let point = |code: &&str| Point {
        site: "M1".into(),
        code: (*code).to_owned(),
        quantity: "ch4".into(),
        unit: "%".into(),
        ..Point::default()
    };
    let points = points.iter().map(|p| (point(p), Place::default())).collect();
    let mut problems = Problems::default();
    let catalog = Catalog::build(vec![(site, Place::default())], points, 4, &mut problems);
    assert!(problems.0.is_empty(), "{problems}");
    catalog
}
