//! The load at the sink: whole sites, one reading a point, in the same order again and again, as a gateway's batches are.

use crate::setup::SITE_POINTS;
use firedamp::edge::Edge;
use ingest::{Delivery, Sink, SourceInfo};
use model::{Clock, PointId, Readings, ReadingsBuilder, SystemClock};
use simulator::FloodPlan;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Tasks that hand over.
const HANDS: usize = 2;
/// Deliveries that each has under way.
const WINDOW: usize = 16;
/// Pause before what was not taken is handed over again, and before a limit is looked at again.
const PAUSE: Duration = Duration::from_millis(1);

/// Sites ready to be handed over, and what was taken so far.
pub struct Feed {
    sites: Vec<(SourceInfo, Vec<PointId>)>,
    accepted: AtomicU64,
}

/// How fast and how long.
#[derive(Clone)]
pub struct Pace {
    /// Readings a second in all; 0: as fast as they are taken.
    pub rate: f64,
    /// When it ends.
    pub stop_at: Instant,
    /// Readings that may be handed over in all since the feed was made.
    pub limit: watch::Receiver<u64>,
}

impl Pace {
    /// Without a limit.
    #[must_use]
    pub fn free(rate: f64, seconds: f64) -> Self {
        let stop_at = Instant::now() + Duration::from_secs_f64(seconds);
        Self { rate, stop_at, limit: watch::channel(u64::MAX).1 }
    }
}

impl Feed {
    /// The first so many sites of a plan.
    #[must_use]
    pub fn new(plan: &FloodPlan, sites: usize) -> Arc<Self> {
        let site = |s: usize| {
            let info = SourceInfo { name: format!("s{s}").into(), flags: 0 };
            let points = s * SITE_POINTS..((s + 1) * SITE_POINTS).min(plan.points);
            (info, points.map(|p| PointId::of(&plan.site(s), &plan.point(p))).collect())
        };
        Arc::new(Self { sites: (0..sites).map(site).collect(), accepted: AtomicU64::new(0) })
    }

    /// Readings that are durable.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Hands over until the time is up and everything under way is answered, by tasks of their own.
    pub fn pour(self: &Arc<Self>, edge: &Arc<Edge>, pace: &Pace) -> JoinSet<()> {
        let mut hands = JoinSet::new();
        for hand in 0..HANDS {
            hands.spawn(self.clone().hand(hand, edge.clone(), pace.clone()));
        }
        hands
    }

    async fn hand(self: Arc<Self>, hand: usize, edge: Arc<Edge>, pace: Pace) {
        let (began, before) = (Instant::now(), self.accepted());
        let share = 1.0 / HANDS as f64;
        let (mut sent, mut round) = (0u64, 0u64);
        let mut under_way = JoinSet::new();
        loop {
            for (site, (info, points)) in self.sites.iter().enumerate().skip(hand).step_by(HANDS) {
                while (before as f64 * share + sent as f64) >= *pace.limit.borrow() as f64 * share
                    && Instant::now() < pace.stop_at
                {
                    tokio::time::sleep(PAUSE).await;
                }
                if pace.rate > 0.0 {
                    let due = began + Duration::from_secs_f64(sent as f64 / (pace.rate * share));
                    tokio::time::sleep_until(due.min(pace.stop_at).into()).await;
                }
                if Instant::now() >= pace.stop_at {
                    while under_way.join_next().await.is_some() {}
                    return;
                }
                sent += points.len() as u64;
                under_way.spawn(self.clone().deliver(
                    edge.clone(),
                    info.clone(),
                    values(points, site, round),
                ));
                if under_way.len() >= WINDOW {
                    under_way.join_next().await;
                }
            }
            round += 1;
        }
    }

    async fn deliver(self: Arc<Self>, edge: Arc<Edge>, info: SourceInfo, delivery: Delivery) {
        let n = delivery.readings.len() as u64;
        while edge.accept(&info, delivery.clone()).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        self.accepted.fetch_add(n, Ordering::Relaxed);
    }
}

/// One reading a point, as of now.
#[must_use]
pub fn values(points: &[PointId], site: usize, round: u64) -> Delivery {
    let now = SystemClock.now();
    let mut b = ReadingsBuilder::with_capacity(points.len());
    for (p, id) in points.iter().enumerate() {
        // Methane-like: a base of its own, slow waves; one point in ten thousand goes over now and then.
        let value = 0.3 + ((p as u64 * 7 + round * 3) % 41) as f64 / 100.0;
        let over = p == 0 && site.is_multiple_of(10) && round % 20 == 7;
        b.push(*id, now, if over { 1.2 } else { value }, 0);
    }
    delivery(now, b.finish())
}

/// Readings that were read just now.
#[must_use]
pub fn delivery(received: model::Micros, readings: Readings) -> Delivery {
    Delivery { received, readings, ..Delivery::default() }
}
