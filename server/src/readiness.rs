//! Whether this process does its work now: what `/health/ready` answers and what the heartbeat goes by.
//!
//! Promises: each part is asked anew; rules that have ended or hang are not ready, though they were not behind when they last
//! said so; a role that this process has not is not asked for.

use crate::runners::Lag;
use alerts::AlarmStore;
use model::{Clock, Micros};
use serde_json::{Value, json};
use std::sync::Arc;
use stream::Log;
use tokio_util::sync::CancellationToken;

/// Rules farther behind than this, or not heard of for so long (ten ticks), are not ready: alarms would come late.
const LAG_MAX: Micros = 10 * model::time::SECOND;

/// The parts that are looked at.
#[derive(Clone)]
pub struct Readiness {
    /// Must answer.
    pub log: Arc<dyn Log>,
    /// Must be small and fresh, in the role rules.
    pub lag: Option<Lag>,
    /// Must answer.
    pub alarms: Arc<dyn AlarmStore>,
    /// Must not be cancelled.
    pub broken: CancellationToken,
    /// Says how fresh.
    pub clock: Arc<dyn Clock>,
}

impl Readiness {
    /// Whether all is well, and each part by itself; a part that is not here is null.
    pub async fn look(&self) -> (bool, Value) {
        let lag = self.lag.as_ref().map(|lag| self.behind(lag));
        let judged = lag.map(|lag| lag < LAG_MAX);
        let log = self.log.bounds(model::Stream::Readings, 0).await.is_ok();
        let alarms = self.alarms.position(0).await.is_ok();
        let storage = !self.broken.is_cancelled();
        let lag_s = lag.filter(|lag| *lag < Micros::MAX).map(|lag| lag as f64 / 1e6);
        let parts =
            json!({ "log": log, "rules": judged, "alarms": alarms, "storage": storage, "lag_s": lag_s });
        (log && judged != Some(false) && alarms && storage, parts)
    }

    /// How far the partition that is worst is behind, or how long nothing was heard of it.
    fn behind(&self, lag: &Lag) -> Micros {
        let now = self.clock.now();
        let of = |p| lag.of(p).max(now - lag.seen(p));
        (0..self.log.partitions()).map(of).max().unwrap_or(Micros::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::{RunnerMetrics, Shared, aside::Aside, own::OwnAlarms, rules::RulesRunner};
    use crate::snapshots::MemorySnapshots;
    use crate::versions::Version;
    use std::time::Duration;
    use stream::{Fault, MemoryLog};
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep};

    /// The wall clock of a test on tokio's paused one.
    #[derive(Debug)]
    struct Elapsed(Instant);

    impl Clock for Elapsed {
        fn now(&self) -> Micros {
            1_795_478_400 * model::time::SECOND + self.0.elapsed().as_micros() as Micros
        }
    }

    /// Rules of one partition at work, and what looks at them.
    struct Bench {
        log: MemoryLog,
        readiness: Readiness,
        stop: CancellationToken,
        rules: JoinHandle<()>,
    }

    impl Bench {
        async fn start() -> Self {
            let clock: Arc<dyn Clock> = Arc::new(Elapsed(Instant::now()));
            let log = MemoryLog::new(1, 7, clock.clone());
            let stop = CancellationToken::new();
            let metrics = RunnerMetrics::register(&prometheus::Registry::new()).unwrap();
            let own = OwnAlarms::queue().0;
            let shared = Shared::new(Arc::new(log.clone()), clock.clone(), metrics, Aside(None), own);
            let lag = shared.lag.clone();
            let catalog = model::Catalog::build(Vec::new(), Vec::new(), 1, &mut Default::default());
            let version = Arc::new(Version::of_all(&[], &Arc::new(catalog)));
            let (_, wanted) = tokio::sync::watch::channel(version);
            let snapshots = Arc::new(MemorySnapshots::default());
            let rules = RulesRunner::restore(shared, 0, snapshots, wanted, Micros::MAX).await.unwrap();
            let readiness = Readiness {
                log: Arc::new(log.clone()),
                lag: Some(lag),
                alarms: Arc::new(alerts::MemoryStore::new(Vec::new())),
                broken: CancellationToken::new(),
                clock,
            };
            let rules = tokio::spawn(rules.run(stop.clone()));
            Self { log, readiness, stop, rules }
        }

        async fn is_ready(&self) -> bool {
            self.readiness.look().await.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rules_that_hang_or_have_ended_are_not_ready() {
        let bench = Bench::start().await;
        assert!(!bench.is_ready().await, "nothing is judged yet");
        sleep(Duration::from_secs(60)).await;
        assert!(bench.is_ready().await, "ticks are enough");
        bench.log.inject(Fault::Slow(Duration::from_secs(40)));
        sleep(Duration::from_secs(20)).await;
        assert!(!bench.is_ready().await, "they hang in an append");
        bench.log.heal();
        sleep(Duration::from_secs(60)).await;
        assert!(bench.is_ready().await, "again at work");
        bench.stop.cancel();
        bench.rules.await.unwrap();
        assert!(bench.readiness.look().await.0, "a moment ago they were");
        sleep(Duration::from_secs(11)).await;
        let (ready, parts) = bench.readiness.look().await;
        assert!(!ready && parts["rules"] == false && parts["lag_s"].as_f64() > Some(10.0), "{parts}");
        let without = Readiness { lag: None, ..bench.readiness };
        let (ready, parts) = without.look().await;
        assert!(ready && parts["rules"].is_null(), "a process without the role: {parts}");
    }
}
