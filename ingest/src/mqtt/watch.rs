//! What operators see of an MQTT source: its health, made of what its links say, and what the broker says it dropped.

use crate::metrics::SourceMetrics;
use crate::{Context, Health};
use model::Micros;
use model::time::MINUTE;
use std::sync::{Arc, Mutex, RwLock};

/// Topic under which Mosquitto counts messages that it dropped, for all its clients together.
pub(super) const DROPPED_TOPIC: &str = "$SYS/broker/publish/messages/dropped";
/// How long a loss at the broker stands in the health after the last one.
const DROPPED_SHOWN_FOR: Micros = 10 * MINUTE;

/// What a link may have to say; each is empty when there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// Why it is not connected; `None` when it is.
    pub(super) down: Option<String>,
    /// Topics that the broker refuses.
    pub(super) topics: String,
    /// The log does not take readings.
    pub(super) held: String,
    /// The broker lost messages.
    pub(super) dropped: String,
}

/// The notes of all links of a source, shown as its health.
pub(super) struct Board {
    links: Mutex<Vec<Notes>>,
    health: Arc<RwLock<Health>>,
}

impl Board {
    pub(super) fn new(context: &Context, links: usize) -> Self {
        let notes = Notes { down: Some("connecting".to_owned()), ..Notes::default() };
        let this = Self { links: Mutex::new(vec![notes; links]), health: context.health.clone() };
        this.show(&this.links.lock().expect("no holder panics"));
        this
    }

    /// Changes the notes of one link.
    pub(super) fn note(&self, link: usize, change: impl FnOnce(&mut Notes)) {
        let mut links = self.links.lock().expect("no holder panics");
        let before = links[link].clone();
        change(&mut links[link]);
        if links[link] != before {
            self.show(&links);
        }
    }

    /// Something came at this time.
    pub(super) fn heard(&self, at: Micros) {
        self.health.write().expect("no holder panics").last = Some(at);
    }

    /// All links ended.
    pub(super) fn stopped(&self) {
        let mut health = self.health.write().expect("no holder panics");
        health.up = false;
        "stopped".clone_into(&mut health.message);
    }

    fn show(&self, links: &[Notes]) {
        let mut said: Vec<&str> = Vec::new();
        for notes in links {
            let all = [notes.down.as_deref().unwrap_or_default(), &notes.topics, &notes.held, &notes.dropped];
            said.extend(all.into_iter().filter(|text| !text.is_empty()));
        }
        said.dedup();
        let mut health = self.health.write().expect("no holder panics");
        health.up = links.iter().all(|notes| notes.down.is_none());
        health.message = said.join("; ");
        health.lost =
            links.iter().map(|notes| &notes.dropped).find(|d| !d.is_empty()).cloned().unwrap_or_default();
    }
}

/// What the broker says about messages that it dropped.
#[derive(Debug, Default)]
pub(super) struct BrokerDrops {
    /// Its counter as last seen.
    seen: Option<u64>,
    /// Dropped since firedamp watches.
    total: u64,
    last: Micros,
}

impl BrokerDrops {
    /// Takes the broker's counter. Its first value says nothing about us; a smaller one means that the broker restarted.
    pub(super) fn take(&mut self, payload: &[u8], now: Micros, metrics: &SourceMetrics) {
        let text = std::str::from_utf8(payload).unwrap_or_default();
        let Ok(count) = text.trim().parse::<u64>() else { return };
        let grown = match self.seen.replace(count) {
            None => 0,
            Some(before) if count < before => count,
            Some(before) => count - before,
        };
        if grown > 0 {
            self.total += grown;
            self.last = now;
            metrics.broker_dropped.inc_by(grown);
            tracing::error!(grown, "the broker dropped messages of its clients");
        }
    }

    /// What to show now.
    pub(super) fn shown(&self, now: Micros) -> String {
        if self.total == 0 || now - self.last > DROPPED_SHOWN_FOR {
            return String::new();
        }
        format!(
            "the broker dropped {} messages of its clients: raise its max_queued_messages, or find which client is slow",
            self.total
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, NOW};

    #[test]
    fn the_brokers_losses_are_counted_from_when_we_watch() {
        let fixture = Fixture::new(0);
        let metrics = fixture.context.metrics.source("test");
        let mut drops = BrokerDrops::default();
        drops.take(b"40", NOW, &metrics);
        assert_eq!((metrics.broker_dropped.get(), drops.shown(NOW)), (0, String::new()));
        drops.take(b"43", NOW, &metrics);
        drops.take(b"2", NOW, &metrics); // restarted
        drops.take(b"nonsense", NOW, &metrics);
        assert_eq!(metrics.broker_dropped.get(), 5);
        assert!(drops.shown(NOW).contains("dropped 5 messages"));
        assert_eq!(drops.shown(NOW + DROPPED_SHOWN_FOR + 1), "");
    }

    #[test]
    fn health_is_up_when_all_links_are_and_says_all_that_is_wrong_once() {
        let fixture = Fixture::new(0);
        let board = Board::new(&fixture.context, 2);
        assert_eq!((fixture.health().up, &*fixture.health().message), (false, "connecting"));
        board.note(0, |n| n.down = None);
        assert!(!fixture.health().up);
        board.note(1, |n| n.down = None);
        board.note(1, |n| n.topics = "broker refuses `a`".to_owned());
        board.note(1, |n| n.held = "log full".to_owned());
        assert_eq!((fixture.health().up, &*fixture.health().message), (true, "broker refuses `a`; log full"));
    }
}
