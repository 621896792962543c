//! `firedamp/log-full`: on while the log does not take readings, off once it has taken some and refused none for [`CALM`].
//!
//! It is raised again every [`AGAIN`] while it lasts: on a disk that is full to the last byte the alarm database cannot keep it
//! either, and it must be there as soon as it can.

use crate::runners::own::OwnAlarms;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// At the limit a small record may go in between two large ones that do not: that is no end yet. A source that was refused comes
/// again only after its pause, so silence shorter than two of the longest says nothing, and the alarm would go off and on.
const CALM: Duration = Duration::from_secs(5);
const _: () = assert!(CALM.as_millis() > 2 * ingest::backoff::SINK_PAUSE_MAX.as_millis());
/// How often it is raised again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct State {
    /// Whether the alarm may be on; true at first, for what an earlier process had raised.
    on: bool,
    refused: Option<Instant>,
    raised: Option<Instant>,
}

/// What the batchers of all partitions share.
#[derive(Debug)]
pub struct Full {
    own: OwnAlarms,
    state: Mutex<State>,
}

impl Full {
    /// Nothing was refused yet.
    pub fn new(own: OwnAlarms) -> Self {
        Self { own, state: Mutex::new(State { on: true, refused: None, raised: None }) }
    }

    /// The log refused an append.
    pub fn refused(&self, why: &str) {
        let now = Instant::now();
        let mut state = self.state.lock().expect("no holder of this lock panics");
        (state.on, state.refused) = (true, Some(now));
        if state.raised.is_some_and(|at| now - at < AGAIN) {
            return;
        }
        if state.raised.replace(now).is_none() {
            tracing::error!("the log does not take readings, the sources hold them back: {why}");
        }
        self.own.raise(
            "log-full",
            "log",
            format!("the log does not take readings, the sources hold them back: {why}"),
        );
    }

    /// The log took one.
    pub fn taken(&self) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        if !state.on || state.refused.is_some_and(|at| at.elapsed() < CALM) {
            return;
        }
        if state.raised.is_some() {
            tracing::info!("the log takes readings again");
        }
        *state = State { on: false, refused: None, raised: None };
        self.own.clear("log-full", "log", "the log takes readings again".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn raised_while_it_lasts_and_ended_once_calm() {
        let (own, mut told) = OwnAlarms::queue();
        let full = Full::new(own);
        full.taken();
        assert!(!told.try_recv().unwrap().on, "what an earlier process raised is ended");
        full.refused("disk");
        full.refused("disk");
        assert!(told.try_recv().unwrap().on);
        assert!(told.try_recv().is_err(), "once a second");
        full.taken();
        assert!(told.try_recv().is_err(), "a small record between large ones is no end");
        tokio::time::advance(AGAIN).await;
        full.refused("disk");
        assert!(told.try_recv().unwrap().on, "again while it lasts");
        tokio::time::advance(CALM).await;
        full.taken();
        assert!(!told.try_recv().unwrap().on);
        full.taken();
        assert!(told.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_flap_while_a_large_record_is_tried_again_and_small_ones_go_in() {
        let (own, mut told) = OwnAlarms::queue();
        let full = Full::new(own);
        for _ in 0..10 {
            full.refused("disk");
            for _ in 0..4 {
                tokio::time::advance(ingest::backoff::SINK_PAUSE_MAX / 4).await;
                full.taken();
            }
        }
        while let Ok(alarm) = told.try_recv() {
            assert!(alarm.on, "{alarm:?}");
        }
        tokio::time::advance(CALM).await;
        full.taken();
        assert!(!told.try_recv().unwrap().on);
    }
}
