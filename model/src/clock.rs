//! The clock as a seam: only the edge of the system reads it, and tests decide it.

use crate::time::Micros;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Tells the present time. `rules` never gets one: it learns the time from the log.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Microseconds since 1970, UTC.
    fn now(&self) -> Micros;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the wall clock
    fn now(&self) -> Micros {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map(|d| d.as_micros() as Micros).unwrap_or(0)
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at `t`.
    pub fn at(t: Micros) -> Self {
        Self(Arc::new(AtomicI64::new(t)))
    }

    /// Sets it, backwards too: a wall clock may do that.
    pub fn set(&self, t: Micros) {
        self.0.store(t, Ordering::SeqCst);
    }

    /// Moves it ahead and returns the new time.
    pub fn advance(&self, by: Micros) -> Micros {
        self.0.fetch_add(by, Ordering::SeqCst) + by
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        self.0.load(Ordering::SeqCst)
    }
}
