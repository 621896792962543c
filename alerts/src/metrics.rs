//! Metrics of the dispatcher.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

/// Counters by receiver, zero from the start.
#[derive(Clone, Debug)]
pub struct TellMetrics {
    /// Tries by receiver and outcome: `delivered`, `retry`, `dead`.
    pub tries: IntCounterVec,
    /// Seconds from the outbox row to its delivery.
    pub seconds: Histogram,
}

impl TellMetrics {
    /// Registers the metrics with a row for each receiver.
    ///
    /// # Errors
    /// When they are registered twice.
    pub fn register(registry: &Registry, receivers: &[crate::Receiver]) -> prometheus::Result<Self> {
        let opts =
            Opts::new("firedamp_alerts_tries_total", "tries to deliver a message, by receiver and outcome");
        let tries = IntCounterVec::new(opts, &["receiver", "outcome"])?;
        for receiver in receivers {
            for outcome in ["delivered", "retry", "dead"] {
                tries.with_label_values(&[receiver.name.as_str(), outcome]);
            }
        }
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 20)?;
        let opts =
            HistogramOpts::new("firedamp_alerts_delivery_seconds", "seconds from the outbox to the receiver");
        let seconds = Histogram::with_opts(opts.buckets(buckets))?;
        registry.register(Box::new(tries.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { tries, seconds })
    }
}
