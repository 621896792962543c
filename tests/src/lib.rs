//! Starters of real components for tests: brokers, Python environments, a browser, receivers, the built `firedamp` itself.
//!
//! What every starter promises:
//! - it listens on loopback, on a port reserved for this process ([`free_port`]), with a data folder of its own;
//! - `start()` returns when the component answers, never after a fixed wait, and panics with the tail of the
//!   component's log when it does not;
//! - dropping the value kills the component's process group by id; should the test binary die first, the kernel
//!   kills it (`setpriv --pdeathsig`), so nothing outlives a test run;
//! - when the test is failing, the drop prints the tail of the log and keeps the data folder, saying where.
//!
//! All of it is blocking and works from plain and from tokio tests alike. What has to be installed is installed by
//! `tests/install`; a missing component is an error that says so.

pub mod alertmanager;
pub mod browser;
mod cache;
pub mod firedamp;
pub mod kafka;
pub mod minio;
pub mod mosquitto;
pub mod mqtt;
pub mod peers;
mod ports;
pub mod postgres;
mod process;
pub mod python;
pub mod tmpfs;
pub mod webhook;

pub use ports::{free_port, listens};
pub use process::{LogTail, Process};

use std::time::{Duration, Instant};

/// How long a component may take until it answers; generous, because two cores may be shared with a build.
pub const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Asks `probe` again and again until it gives a value; panics with `what` when `timeout` has passed.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    match poll(timeout, || Ok::<_, std::convert::Infallible>(probe())) {
        Ok(Some(value)) => value,
        Ok(None) => panic!("waited {timeout:?} in vain: {what}"),
    }
}

/// As [`wait_for`], for async tests: the task yields between two questions, so the runtime goes on.
#[track_caller]
pub fn wait_for_async<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        let until = Instant::now() + timeout;
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            assert!(Instant::now() < until, "{at}: waited {timeout:?} in vain: {what}");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Time between two questions of a wait.
const POLL: Duration = Duration::from_millis(20);

/// The loop below both waits: `None` after the time-out, the probe's own error at once.
fn poll<T, E>(timeout: Duration, mut probe: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let until = Instant::now() + timeout;
    loop {
        if let Some(value) = probe()? {
            return Ok(Some(value));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}
