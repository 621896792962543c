//! What the demo prints at its end: the balance, alarms, notifications, and the time from device read to delivered notification.

use super::receiver::Receiver;
use crate::app::App;
use crate::balance::Balance;
use serde::Serialize;
use std::fmt::Write;

/// Times in milliseconds; absent when nothing was delivered.
#[derive(Serialize)]
pub struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

/// The demo's result.
#[derive(Serialize)]
pub struct Summary {
    #[serde(flatten)]
    balance: Balance,
    alarms_raised: u64,
    alarms_cleared: u64,
    notifications_sent: u64,
    notifications_delivered: u64,
    latency_ms: Latency,
}

/// Everything that was handed over is stored first, so that nothing is pending.
pub async fn of(app: &App, receiver: &Receiver) -> anyhow::Result<Summary> {
    app.settle().await?;
    let counts = super::alarm_counts(&app.alarms).await?;
    let (delivered, latencies) = receiver.seen();
    let at = |q: f64| latencies.get(((latencies.len() as f64 - 1.0) * q).round().max(0.0) as usize).copied();
    Ok(Summary {
        balance: app.balance().await?,
        alarms_raised: counts.raised,
        alarms_cleared: counts.cleared,
        notifications_sent: counts.sent,
        notifications_delivered: delivered,
        latency_ms: Latency { p50: at(0.5), p99: at(0.99), max: latencies.last().copied() },
    })
}

impl Summary {
    /// For people.
    pub fn text(&self) -> String {
        let c = &self.balance.counts;
        let mut out = String::new();
        let _ = writeln!(
            out,
            "\nreadings: {} received = {} accepted + {} refused; {} stored, {} duplicate, {} quarantined, {} pending",
            c.received, c.accepted, c.refused, c.stored, c.duplicate, c.quarantined, c.pending
        );
        let _ = writeln!(out, "alarms:   {} raised, {} cleared", self.alarms_raised, self.alarms_cleared);
        let _ = writeln!(
            out,
            "told:     {} sent, {} delivered",
            self.notifications_sent, self.notifications_delivered
        );
        if let (Some(p50), Some(p99), Some(max)) =
            (self.latency_ms.p50, self.latency_ms.p99, self.latency_ms.max)
        {
            let _ =
                writeln!(out, "from device read to told: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms");
        }
        out
    }
}
