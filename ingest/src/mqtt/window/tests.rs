//! Order and durability, with a sink that does as it is told.

use super::*;
use crate::testing::{Fixture, Mood};
use crate::{DeliveryBuilder, Sink, SourceInfo};
use async_trait::async_trait;
use futures::FutureExt;
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn window(fixture: &Fixture) -> Window {
    Window::new(&fixture.context, &fixture.context.metrics.source("test"))
}

fn push(window: &mut Window, fixture: &Fixture, n: u16) {
    let mut builder = DeliveryBuilder::new(&fixture.context);
    builder.reading("M1", "T1", None, f64::from(n), 0);
    window.push(builder.finish(), vec![Ack::test(n)], 1, 10);
}

fn values(deliveries: &[Delivery]) -> Vec<f64> {
    deliveries.iter().map(|d| d.readings.value[0]).collect()
}

/// Whether the window waits, after everything that can run has run.
async fn nothing_yet(window: &mut Window) -> bool {
    for _ in 0..100 {
        if window.next().now_or_never().is_some() {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

#[tokio::test]
async fn acknowledged_in_order_only_after_durable() {
    let fixture = Fixture::new(0);
    let mut window = window(&fixture);
    fixture.sink.set(Mood::Stall);
    (1..=3).for_each(|n| push(&mut window, &fixture, n));
    assert!(nothing_yet(&mut window).await, "acknowledged before durable");
    assert_eq!((fixture.sink.calls(), window.messages(), window.bytes()), (3, 3, 30));
    fixture.sink.set(Mood::Take);
    for n in 1..=3 {
        assert_eq!(window.next().await, Step::Acks(vec![Ack::test(n)]));
    }
    assert_eq!(values(&fixture.sink.taken()), [1.0, 2.0, 3.0]);
    assert!(window.is_empty() && window.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_full_log_is_asked_again_in_order_and_later_messages_wait_behind() {
    let fixture = Fixture::new(0);
    let mut window = window(&fixture);
    fixture.sink.set(Mood::Retry);
    push(&mut window, &fixture, 1);
    push(&mut window, &fixture, 2);
    assert_eq!(window.next().await, Step::Held("told so".to_owned()));
    push(&mut window, &fixture, 3);
    assert_eq!(window.next().await, Step::Held("told so".to_owned()), "held again after the back-off");
    fixture.sink.set(Mood::Take);
    for n in 1..=3 {
        assert_eq!(window.next().await, Step::Acks(vec![Ack::test(n)]));
    }
    assert_eq!(values(&fixture.sink.taken()), [1.0, 2.0, 3.0]);
}

#[tokio::test]
async fn acknowledgements_of_a_lost_connection_are_thrown_away_but_the_readings_are_kept() {
    let fixture = Fixture::new(0);
    let mut window = window(&fixture);
    fixture.sink.set(Mood::Stall);
    push(&mut window, &fixture, 1);
    assert!(nothing_yet(&mut window).await);
    assert_eq!(window.forget_acks(), 1);
    push(&mut window, &fixture, 2);
    fixture.sink.set(Mood::Take);
    assert_eq!(window.next().await, Step::Acks(vec![]));
    assert_eq!(window.next().await, Step::Acks(vec![Ack::test(2)]));
    assert_eq!(fixture.sink.rows(), 2);
}

#[tokio::test]
async fn a_closed_sink_ends_it_without_an_acknowledgement() {
    let fixture = Fixture::new(0);
    let mut window = window(&fixture);
    fixture.sink.set(Mood::Closed);
    push(&mut window, &fixture, 1);
    assert_eq!(window.next().await, Step::Closed);
    assert!(window.is_idle() && !window.is_empty());
}

#[tokio::test]
async fn a_message_without_readings_is_acknowledged_in_its_turn() {
    let fixture = Fixture::new(0);
    let mut window = window(&fixture);
    fixture.sink.set(Mood::Stall);
    push(&mut window, &fixture, 1);
    window.push(DeliveryBuilder::new(&fixture.context).finish(), vec![Ack::test(2)], 1, 0);
    assert!(nothing_yet(&mut window).await);
    fixture.sink.set(Mood::Take);
    assert_eq!(window.next().await, Step::Acks(vec![Ack::test(1)]));
    assert_eq!(window.next().await, Step::Acks(vec![Ack::test(2)]));
    assert_eq!(fixture.sink.calls(), 1);
}

/// Takes each delivery after its own delay and refuses it first as often as it is told.
struct Moody {
    plan: Vec<(u64, u32)>,
    refused: Mutex<Vec<u32>>,
    taken: Mutex<Vec<u64>>,
}

#[async_trait]
impl Sink for Moody {
    async fn accept(&self, _: &SourceInfo, delivery: Delivery) -> Result<(), SinkError> {
        let n = delivery.readings.value[0] as u64;
        let (delay, refusals) = self.plan[n as usize];
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let mut refused = self.refused.lock().unwrap();
        if refused[n as usize] < refusals {
            refused[n as usize] += 1;
            return Err(SinkError::Retry("later".to_owned()));
        }
        self.taken.lock().unwrap().push(n);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However slow and unwilling the sink: each is taken once, each acknowledged once, in order, after it was taken.
    #[test]
    fn each_once_and_in_order(plan in proptest::collection::vec((0u64..4, 0u32..2), 1..20)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut fixture = Fixture::new(0);
            let n = plan.len();
            let sink = Arc::new(Moody { plan, refused: Mutex::new(vec![0; n]), taken: Mutex::default() });
            fixture.context.sink = sink.clone();
            let mut window = window(&fixture);
            (0..n as u16).for_each(|i| push(&mut window, &fixture, i));
            let mut acked = Vec::new();
            while !window.is_empty() {
                let next = tokio::time::timeout(Duration::from_secs(60), window.next());
                if let Step::Acks(acks) = next.await.expect("a window that holds something ends its wait") {
                    acked.extend(acks);
                    assert!(sink.taken.lock().unwrap().contains(&(acked.len() as u64 - 1)), "acknowledged before durable");
                }
            }
            let want: Vec<Ack> = (0..n as u16).map(Ack::test).collect();
            assert_eq!(acked, want);
            let mut taken = sink.taken.lock().unwrap().clone();
            taken.sort_unstable();
            assert_eq!(taken, (0..n as u64).collect::<Vec<_>>());
        });
    }
}
