//! Back-off, and a receiver that is down for a while, on a clock that only the test moves: it is asked gently, its trouble is an
//! alarm for the others, all that waited comes once it is back, and a seed repeats its run.

use super::*;
use crate::{AlarmFilter, MemoryStore, TransitionBatch, conformance};
use async_trait::async_trait;
use model::time::MINUTE;
use model::{ManualClock, To, Transition};
use prometheus::Registry;
use rand::SeedableRng;
use std::sync::Mutex;

#[test]
fn back_off_grows_and_ends_at_the_deadline() {
    let retry = SendError::Retry("down".into());
    let end = 3600 * SECOND;
    assert_eq!(next_try(0, end, 0, 0.5, &retry), Some(SECOND / 2));
    assert_eq!(next_try(0, end, 0, 1.5, &retry), Some(3 * SECOND / 2));
    assert_eq!(next_try(0, end, 3, 1.0, &retry), Some(8 * SECOND));
    assert_eq!(next_try(0, end, 40, 1.0, &retry), Some(300 * SECOND));
    assert_eq!(next_try(end - SECOND, end, 40, 1.0, &retry), Some(end), "the last try is at the deadline");
    assert_eq!(next_try(end, end, 40, 1.0, &retry), None);
    assert_eq!(next_try(0, end, 0, 1.0, &SendError::Refused("no".into())), None);
}

/// Answers as `says` does at this moment, and writes down when it was asked for what.
struct Scripted {
    says: fn(Micros, &OutboxRow) -> Result<(), SendError>,
    clock: ManualClock,
    asked: Arc<Mutex<Vec<(Micros, String)>>>,
}

#[async_trait]
impl Notifier for Scripted {
    async fn send(&self, message: &OutboxRow) -> Result<(), SendError> {
        let now = self.clock.now();
        self.asked.lock().unwrap().push((now, message.key.clone()));
        (self.says)(now, message)
    }
}

/// Two receivers, `county` scripted, `office` taking everything.
struct World {
    store: MemoryStore,
    clock: ManualClock,
    county: Delivery,
    office: Delivery,
    asked: Arc<Mutex<Vec<(Micros, String)>>>,
}

impl World {
    fn new(seed: u64, says: fn(Micros, &OutboxRow) -> Result<(), SendError>) -> Self {
        let receivers = conformance::receivers();
        let store = MemoryStore::new(receivers.clone());
        let clock = ManualClock::at(0);
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let metrics = TellMetrics::register(&Registry::new(), &[]).unwrap();
        let delivery = |i: usize, says, asked: Arc<Mutex<Vec<_>>>| {
            let notifier = Arc::new(Scripted { says, clock: clock.clone(), asked });
            let way = Way { receiver: receivers[i].clone(), notifier };
            let random = StdRng::seed_from_u64(seed + i as u64);
            Delivery::new(Arc::new(store.clone()), way, Arc::new(clock.clone()), &metrics, random)
        };
        let county = delivery(0, says, asked.clone());
        let office = delivery(1, |_, _| Ok(()), Arc::default());
        Self { store, clock, county, office, asked }
    }

    async fn raise(&self, alarms: u64) {
        let transitions = (1..=alarms).map(on).collect();
        let batch =
            TransitionBatch { partition: 0, next: 1, transitions, now: self.clock.now(), hold: false };
        self.store.apply(batch).await.unwrap();
    }

    /// Lives until a moment, looking twice a second.
    async fn live(&mut self, until: Micros) {
        while self.clock.now() < until {
            for delivery in [&mut self.county, &mut self.office] {
                // Answers may come at once or later; here a round is answered before the next one is sent.
                delivery.fill().await.unwrap();
                while let Some(answer) = delivery.under_way.next().await {
                    delivery.settle(answer).await;
                    delivery.fill().await.unwrap();
                }
            }
            self.clock.advance(SECOND / 2);
        }
    }

    async fn own(&self) -> Vec<model::Alarm> {
        let filter = AlarmFilter { site: Some("firedamp".into()), all: true, ..AlarmFilter::default() };
        self.store.list(&filter).await.unwrap()
    }
}

fn on(n: u64) -> Transition {
    let rule = format!("rule {n}");
    let t = conformance::transition(n, "alarm", To::On, 1.1);
    let origin = model::Origin { collector: 4, sequence: n };
    Transition { id: model::TransitionId::of(&rule, t.point_id, "alarm", origin, 0, 0), rule, ..t }
}

const DOWN: Micros = 10 * MINUTE;

fn down(now: Micros, _: &OutboxRow) -> Result<(), SendError> {
    if now < DOWN { Err(SendError::Retry("503".to_owned())) } else { Ok(()) }
}

#[tokio::test]
async fn a_receiver_that_is_down_is_asked_gently_and_told_of() {
    let mut world = World::new(1, down);
    world.raise(50).await;
    world.live(50 * SECOND).await;
    assert!(world.own().await.is_empty(), "not yet worth an alarm");
    assert_eq!(world.store.counts().await.unwrap().delivered, 50, "the other has them all");
    world.live(4 * MINUTE).await;
    let alarms = world.own().await;
    let shown: Vec<_> = alarms.iter().map(|a| (a.rule.as_str(), a.point.as_str(), a.closed)).collect();
    assert_eq!(shown, [("firedamp/receiver-down", "county", None)]);
    assert_eq!(world.store.counts().await.unwrap().delivered, 51, "the other is told of it");
    world.live(DOWN + PAUSE_DOWN_MAX * 3 / 2 + SECOND).await;
    let counts = world.store.counts().await.unwrap();
    assert_eq!((counts.pending, counts.dead), (0, 0), "what waited is there within the longest pause");
    assert!(world.own().await[0].closed.is_some(), "and the alarm about it ends by itself");
    let asked = world.asked.lock().unwrap();
    let while_down = asked.iter().filter(|(at, _)| *at < DOWN).count();
    assert!((12..40).contains(&while_down), "asked {while_down} times in ten minutes");
    let back = asked.iter().find(|(at, _)| *at >= DOWN).unwrap().0;
    assert!(asked.iter().all(|(at, _)| *at <= back + SECOND), "once it is back nothing waits");
}

#[tokio::test]
async fn a_seed_repeats_its_run() {
    let run = async |seed| {
        let mut world = World::new(seed, down);
        world.raise(20).await;
        world.live(DOWN + MINUTE).await;
        world.asked.lock().unwrap().clone()
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

#[tokio::test]
async fn one_message_that_fails_keeps_no_other_back() {
    let poison = |_: Micros, m: &OutboxRow| {
        if String::from_utf8_lossy(&m.body).contains("\"rule 1\"") {
            Err(SendError::Retry("500".to_owned()))
        } else {
            Ok(())
        }
    };
    let mut world = World::new(1, poison);
    world.raise(50).await;
    world.live(SECOND).await;
    assert_eq!(world.store.counts().await.unwrap().delivered, 99);
    // After its deadline it is given up, and that is told.
    world.live(world.county.deadline() + 10 * MINUTE).await;
    let counts = world.store.counts().await.unwrap();
    // The other heard of a receiver that took nothing any more, and of the dead letter.
    assert_eq!((counts.delivered, counts.dead, counts.pending), (99 + 2, 1, 0));
    let own: Vec<String> = world.own().await.into_iter().map(|a| a.rule).collect();
    assert_eq!(own, ["firedamp/dead-letter", "firedamp/receiver-down"]);
}

#[tokio::test]
async fn what_reaches_only_some_addresses_is_delivered_and_told() {
    let mut world =
        World::new(1, |_, _| Err(SendError::Partly("li@example.org: 550 no such user".to_owned())));
    world.raise(1).await;
    world.live(SECOND).await;
    let counts = world.store.counts().await.unwrap();
    assert_eq!((counts.delivered, counts.pending), (3, 0), "the other was told of both");
    let own = world.own().await;
    assert_eq!(own[0].rule, "firedamp/address-refused");
    assert!(own[0].reason.contains("li@example.org"), "{}", own[0].reason);
}

#[tokio::test]
async fn a_clock_set_back_silences_nobody() {
    let mut world = World::new(1, |_, _| Ok(()));
    world.clock.set(100 * MINUTE);
    world.raise(1).await;
    world.live(100 * MINUTE + SECOND).await;
    world.clock.set(MINUTE);
    let later = TransitionBatch {
        partition: 0,
        next: 2,
        transitions: vec![on(2)],
        now: world.clock.now(),
        hold: false,
    };
    world.store.apply(later).await.unwrap();
    world.live(MINUTE + SECOND).await;
    assert_eq!(world.store.counts().await.unwrap().delivered, 4);
}
