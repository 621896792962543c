//! Whether this process does its work now: what `/health/ready` answers and what the heartbeat goes by.

use crate::runners::Lag;
use alerts::AlarmStore;
use serde_json::{Value, json};
use std::sync::Arc;
use stream::Log;
use tokio_util::sync::CancellationToken;

/// Rules farther behind than this are not ready: alarms would come late.
const LAG_MAX: model::Micros = 10 * model::time::SECOND;

/// The parts that are looked at.
#[derive(Clone)]
pub struct Readiness {
    /// Must answer.
    pub log: Arc<dyn Log>,
    /// Must be small.
    pub lag: Lag,
    /// Must answer.
    pub alarms: Arc<dyn AlarmStore>,
    /// Must not be cancelled.
    pub broken: CancellationToken,
}

impl Readiness {
    /// Whether all is well, and each part by itself.
    pub async fn look(&self) -> (bool, Value) {
        let lag = (0..self.log.partitions()).map(|p| self.lag.of(p)).max().unwrap_or(0);
        let judged = self.log.partitions() > 0 && lag < LAG_MAX;
        let log = self.log.bounds(model::Stream::Readings, 0).await.is_ok();
        let alarms = self.alarms.position(0).await.is_ok();
        let storage = !self.broken.is_cancelled();
        let lag_s = if lag == i64::MAX { Value::Null } else { json!(lag as f64 / 1e6) };
        let parts =
            json!({ "log": log, "rules": judged, "alarms": alarms, "storage": storage, "lag_s": lag_s });
        (log && judged && alarms && storage, parts)
    }
}
