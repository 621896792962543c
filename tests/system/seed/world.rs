//! The world of one seed: time, chance, and the points at which a process may die. It outlives the processes in it.
//!
//! Everything random comes from one generator in the order of the calls, and the tokio clock is paused on one thread, so a seed
//! is one history: [`World::fingerprint`] says whether two were the same.

use model::{Clock, Micros};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Every point at which a process may die, and how often it is passed in a life of some minutes, about; the seldom ones last.
pub const POINTS: [(&str, u64); 22] = [
    ("append readings: before", 60),
    ("append readings: after", 60),
    ("append transitions: before", 6),
    ("append transitions: after", 6),
    ("save position: before", 60),
    ("save position: after", 60),
    ("save snapshot: before", 8),
    ("save snapshot: after", 8),
    ("apply transitions: before", 6),
    ("apply transitions: after", 6),
    ("note delivery: before", 4),
    ("note delivery: after", 4),
    ("send message: before", 4),
    ("send message: after", 4),
    ("put data: before", 30),
    ("put data: after", 30),
    ("commit table: before", 30),
    ("commit table: after", 30),
    ("note failure: before", 1),
    ("note failure: after", 1),
    ("delete file: before", 2),
    ("delete file: after", 2),
];

/// A process that dies at the `n`-th time it passes a point.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    pub point: &'static str,
    pub n: u64,
}

#[derive(Debug)]
struct State {
    random: StdRng,
    /// Wall time when the present life began, and when that was on the tokio clock.
    began: (Micros, Option<Instant>),
    /// The runtime of the present life.
    runtime: Option<Id>,
    death: Option<Death>,
    passed: u64,
    died: CancellationToken,
    deaths: BTreeMap<&'static str, u32>,
    /// Slow and failing parts.
    rough: bool,
    /// What fails until when.
    failing: BTreeMap<&'static str, Micros>,
    fingerprint: blake3::Hasher,
}

/// One history. A cheap clone.
#[derive(Clone, Debug)]
pub struct World(Arc<Mutex<State>>);

impl World {
    /// A world at `start` in which parts are slow and fail, if `rough`.
    pub fn new(seed: u64, start: Micros, rough: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: StdRng::seed_from_u64(seed),
            began: (start, None),
            runtime: None,
            death: None,
            passed: 0,
            died: CancellationToken::new(),
            deaths: BTreeMap::new(),
            rough,
            failing: BTreeMap::new(),
            fingerprint: blake3::Hasher::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// A process begins, inside its runtime; the token says when it has died.
    pub fn begin(&self, death: Option<Death>) -> CancellationToken {
        let mut state = self.state();
        state.began.1 = Some(Instant::now());
        state.runtime = Some(Handle::current().id());
        (state.death, state.passed, state.died) = (death, 0, CancellationToken::new());
        state.failing.clear();
        state.died.clone()
    }

    /// The process is gone; the next one begins `pause` later. Called inside its runtime, at its end.
    pub fn end(&self, pause: Duration) {
        let at = self.now() + pause.as_micros() as Micros;
        self.state().began = (at, None);
    }

    /// Nothing is slow and nothing fails any more.
    pub fn calm(&self) {
        let mut state = self.state();
        (state.rough, state.death) = (false, None);
    }

    pub fn draw<T>(&self, range: impl rand::distr::uniform::SampleRange<T>) -> T
    where
        T: rand::distr::uniform::SampleUniform,
    {
        self.state().random.random_range(range)
    }

    /// How often a process died at each point.
    pub fn deaths(&self) -> BTreeMap<&'static str, u32> {
        self.state().deaths.clone()
    }

    /// Makes bytes a part of the history.
    pub fn note(&self, bytes: &[u8]) {
        self.state().fingerprint.update(bytes);
    }

    /// Equal for equal histories.
    pub fn fingerprint(&self) -> String {
        self.state().fingerprint.finalize().to_hex().to_string()
    }

    /// Whether the caller runs in the present life. The Delta library writes checkpoints from a thread of its own, for which the
    /// life waits: there is no paused clock there, and nothing happens.
    fn is_here(&self) -> bool {
        let here = Handle::try_current().map(|handle| handle.id()).ok();
        here.is_some() && here == self.state().runtime
    }

    /// Passes a point: dies there for ever, if it is the time.
    pub async fn pass(&self, point: &'static str) {
        debug_assert!(POINTS.iter().any(|(p, _)| *p == point), "{point}");
        if !self.is_here() {
            return;
        }
        let now = self.now();
        let gone = {
            let mut state = self.state();
            state.fingerprint.update(point.as_bytes()).update(&now.to_le_bytes());
            if let Some(death) = state.death.filter(|d| d.point == point) {
                state.passed += 1;
                if state.passed == death.n {
                    *state.deaths.entry(point).or_default() += 1;
                    state.died.cancel();
                }
            }
            state.died.is_cancelled()
        };
        if gone {
            // The runtime is dropped under it.
            std::future::pending::<()>().await;
        }
    }

    /// A call of a part: perhaps slow, perhaps failing for a while. `Err` says that it fails now.
    pub async fn call(&self, part: &'static str, point: &'static str) -> Result<(), String> {
        self.pass(point).await;
        if !self.is_here() {
            return Ok(());
        }
        let now = self.now();
        let (slow, fails) = {
            let mut state = self.state();
            if !state.rough {
                return Ok(());
            }
            let slow = if state.random.random_ratio(1, 40) { state.random.random_range(1..3000) } else { 0 };
            // So many calls between two failures: a receiver is called seldom.
            let calls = if part.ends_with("receiver") { 20 } else { 400 };
            if state.random.random_ratio(1, calls) {
                let until = now + state.random.random_range(1..20_000_000);
                state.failing.insert(part, until);
            }
            (slow, state.failing.get(part).is_some_and(|until| now < *until))
        };
        if slow > 0 {
            tokio::time::sleep(Duration::from_millis(slow)).await;
        }
        if fails { Err(format!("{part}: as the seed asked")) } else { Ok(()) }
    }
}

impl Clock for World {
    fn now(&self) -> Micros {
        let (at, since) = self.state().began;
        at + since.map_or(0, |s| s.elapsed().as_micros() as Micros)
    }
}
