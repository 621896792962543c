//! Metrics of store and dispatcher: registered once, label values resolved at construction, zero from the start.

use crate::Routes;
use crate::life::Why;
use crate::tell::Untold;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::collections::BTreeMap;

/// Metrics of the store.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Seconds of a transaction, waiting for the writer included.
    pub commit_seconds: Histogram,
    transitions: BTreeMap<Why, IntCounter>,
    untold: IntCounter,
    listed: IntCounter,
    holes: IntCounterVec,
}

impl StoreMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered twice.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let buckets = prometheus::exponential_buckets(0.000_1, 2.0, 16)?;
        let opts = HistogramOpts::new("firedamp_alerts_commit_seconds", "seconds of a transaction on alarms");
        let commit_seconds = Histogram::with_opts(opts.buckets(buckets))?;
        registry.register(Box::new(commit_seconds.clone()))?;
        let opts = Opts::new("firedamp_alerts_transitions_total", "transitions taken, by what they did");
        let by_why = IntCounterVec::new(opts, &["did"])?;
        registry.register(Box::new(by_why.clone()))?;
        let transitions =
            Why::ALL.into_iter().map(|why| (why, by_why.with_label_values(&[why.as_str()]))).collect();
        let untold = IntCounter::new(
            "firedamp_alerts_untold_total",
            "times an alarm opened, rose or went into a digest and the routes named nobody",
        )?;
        registry.register(Box::new(untold.clone()))?;
        let listed = IntCounter::new(
            "firedamp_alerts_listed_total",
            "messages to a receiver in a flood that were told as part of a list instead",
        )?;
        registry.register(Box::new(listed.clone()))?;
        let opts = Opts::new(
            "firedamp_alerts_roster_holes_total",
            "times a roster had nobody on duty and its fallback was told",
        );
        let holes = IntCounterVec::new(opts, &["roster"])?;
        registry.register(Box::new(holes.clone()))?;
        Ok(Self { commit_seconds, transitions, untold, listed, holes })
    }

    /// A row for each roster: a counter that is there before its first count shows that count.
    pub fn expect(&self, routes: &Routes) {
        for roster in routes.roster_names() {
            self.holes.with_label_values(&[roster]);
        }
    }

    /// Counts what nobody was told of in a committed transaction.
    pub fn untold(&self, untold: &Untold) {
        self.untold.inc_by(untold.alarms);
        self.listed.inc_by(untold.listed);
        for roster in &untold.holes {
            self.holes.with_label_values(&[roster]).inc();
        }
    }

    /// Counts what the transitions of a committed transaction did.
    pub fn count(&self, did: &[Why]) {
        for why in did {
            if let Some(counter) = self.transitions.get(why) {
                counter.inc();
            }
        }
    }
}

/// Metrics of the dispatcher.
#[derive(Clone, Debug)]
pub struct TellMetrics {
    /// Seconds from the outbox row to its delivery.
    pub seconds: Histogram,
    /// Messages still to be delivered, by receiver.
    pub pending: IntGaugeVec,
    /// Age of the oldest of them in seconds, by receiver.
    pub oldest: IntGaugeVec,
    tries: IntCounterVec,
}

/// Tries of one receiver, by outcome.
#[derive(Clone, Debug)]
pub struct Tries {
    /// Taken.
    pub delivered: IntCounter,
    /// To be tried again.
    pub retry: IntCounter,
    /// Given up.
    pub dead: IntCounter,
}

impl TellMetrics {
    /// Registers the metrics with a row for each receiver.
    ///
    /// # Errors
    /// When they are registered twice.
    pub fn register(registry: &Registry, receivers: &[String]) -> prometheus::Result<Self> {
        let opts =
            Opts::new("firedamp_alerts_tries_total", "tries to deliver a message, by receiver and outcome");
        let tries = IntCounterVec::new(opts, &["receiver", "outcome"])?;
        let opts = Opts::new("firedamp_alerts_pending", "messages still to be delivered, by receiver");
        let pending = IntGaugeVec::new(opts, &["receiver"])?;
        let opts = Opts::new(
            "firedamp_alerts_oldest_pending_seconds",
            "age of the oldest undelivered message, by receiver",
        );
        let oldest = IntGaugeVec::new(opts, &["receiver"])?;
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 20)?;
        let opts =
            HistogramOpts::new("firedamp_alerts_delivery_seconds", "seconds from the outbox to the receiver");
        let seconds = Histogram::with_opts(opts.buckets(buckets))?;
        registry.register(Box::new(tries.clone()))?;
        registry.register(Box::new(pending.clone()))?;
        registry.register(Box::new(oldest.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        let this = Self { seconds, pending, oldest, tries };
        for receiver in receivers {
            this.tries(receiver);
            this.backlog(receiver, 0, 0);
        }
        Ok(this)
    }

    /// The counters of one receiver.
    pub fn tries(&self, receiver: &str) -> Tries {
        let of = |outcome: &str| self.tries.with_label_values(&[receiver, outcome]);
        Tries { delivered: of("delivered"), retry: of("retry"), dead: of("dead") }
    }

    /// What waits for one receiver.
    pub fn backlog(&self, receiver: &str, pending: u64, oldest_seconds: i64) {
        self.pending.with_label_values(&[receiver]).set(pending as i64);
        self.oldest.with_label_values(&[receiver]).set(oldest_seconds);
    }
}
