//! What every kind of notifier promises, a function a promise, each against its real counterpart on loopback:
//! - delivered is said once the counterpart has the message, and only then;
//! - every try carries the same key and the same bytes;
//! - messages sent side by side are each answered for themselves;
//! - what will never be taken is refused for good, what can be mended is to be tried again;
//! - a counterpart that is away, closes, answers garbage or never reads is to be tried again, in time, and delays no other receiver.

use crate::bureau::PATIENCE;
use crate::misbehaving::Misbehaving;
use crate::telling::{EPISODE, apply, start, waiting};
use alerts::{AlarmStore, MemoryStore, Message, Receiver, SendError, Settings, TransitionBatch, conformance};
use async_trait::async_trait;
use futures::future::join_all;
use model::{Origin, To, Transition, TransitionId};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod alertmanager;
mod email;
mod kafka;
mod mqtt;
mod webhook;

/// A message that is not taken, and by which settings.
#[derive(Clone)]
pub struct Hopeless {
    pub settings: Arc<dyn Settings>,
    pub message: Message,
}

/// The other end of a kind of notifier.
#[async_trait]
pub trait Counterpart: Send {
    /// Settings of the same kind for whatever listens at a port of loopback.
    fn at(&self, port: u16, timeout: Duration) -> Arc<dyn Settings>;

    /// Settings that reach it.
    fn settings(&self) -> Arc<dyn Settings>;

    /// Asserts that since it was asked last it took just these messages, those of one alarm in this order.
    async fn took(&mut self, messages: &[Message]);

    /// It is away.
    async fn stop(&mut self);

    /// It is back at the same place.
    async fn start_again(&mut self);

    /// Messages that it will never take.
    fn refused(&mut self) -> Vec<Hopeless>;

    /// Messages that it does not take until something is mended.
    fn mendable(&mut self) -> Vec<Hopeless>;
}

/// All promises.
pub async fn suite(counterpart: &mut impl Counterpart) {
    delivered_is_what_it_has_in_the_same_bytes_at_every_try(counterpart).await;
    side_by_side_each_is_answered_for_itself(counterpart).await;
    what_will_never_be_taken_is_told_apart(counterpart).await;
    it_comes_back(counterpart).await;
    whoever_misbehaves_is_tried_again_in_time(counterpart).await;
    whoever_misbehaves_delays_nobody_else(counterpart).await;
}

/// How long one that misbehaves is waited for.
const SHORT: Duration = Duration::from_secs(1);

/// The messages of an alarm that opens, rises, falls and ends, as they lie in the outbox one after the other.
pub async fn episode(settings: &Arc<dyn Settings>) -> Vec<Message> {
    let store = MemoryStore::new(vec![Receiver::new("good", settings.clone())]);
    let store = store.with_places(conformance::places());
    let mut out = Vec::new();
    for (next, step) in (1..).zip(&EPISODE) {
        apply(&store, next, std::slice::from_ref(step)).await;
        out.push(due(&store, 1).await.remove(0));
        store.delivered(&out[out.len() - 1].key, 1).await.unwrap();
    }
    out
}

async fn due(store: &MemoryStore, n: usize) -> Vec<Message> {
    let due = store.outbox_due("good", i64::MAX, n).await.unwrap();
    assert_eq!(due.len(), n);
    due
}

fn of_rule(rule: String, reason: String) -> Transition {
    let t = conformance::transition(1, "alarm", To::On, 1.1);
    let origin = Origin { collector: 4, sequence: 1 };
    Transition { id: TransitionId::of(&rule, t.point_id, "alarm", origin, 0, 0), rule, reason, ..t }
}

/// A message that says that each of these transitions happened.
pub async fn messages(settings: &Arc<dyn Settings>, transitions: Vec<Transition>) -> Vec<Message> {
    let (store, n) = (MemoryStore::new(vec![Receiver::new("good", settings.clone())]), transitions.len());
    let batch = TransitionBatch { partition: 0, next: 1, transitions, now: 1, hold: false };
    store.apply(batch).await.unwrap();
    due(&store, n).await
}

/// The message of an alarm with so long a reason.
pub async fn large(settings: &Arc<dyn Settings>, len: usize) -> Message {
    messages(settings, vec![of_rule("large".to_owned(), "x".repeat(len))]).await.remove(0)
}

/// Each of `sent` was taken with its key and payload; those of one alarm in their order.
pub fn assert_same(mut taken: Vec<(String, Vec<u8>)>, sent: &[Message], payload: fn(&Message) -> &[u8]) {
    let alarm = |key: &str| sent.iter().find(|m| m.key == *key).map(|m| m.alarm.clone());
    taken.sort_by_key(|(key, _)| alarm(key));
    let mut sent: Vec<&Message> = sent.iter().collect();
    sent.sort_by_key(|m| Some(m.alarm.clone()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let taken: Vec<_> = taken.iter().map(|(key, bytes)| (key.clone(), text(bytes))).collect();
    let sent: Vec<_> = sent.iter().map(|m| (m.key.clone(), text(payload(m)))).collect();
    assert_eq!(taken, sent);
}

/// What lies in the outbox below the line with a topic or a key.
pub fn below_the_line(message: &Message) -> &[u8] {
    let line = message.body.iter().position(|b| *b == b'\n').unwrap();
    &message.body[line + 1..]
}

async fn delivered_is_what_it_has_in_the_same_bytes_at_every_try(counterpart: &mut impl Counterpart) {
    let settings = counterpart.settings();
    let notifier = settings.connect().unwrap();
    for message in episode(&settings).await {
        for _ in 0..2 {
            notifier.send(&message).await.unwrap();
            counterpart.took(std::slice::from_ref(&message)).await;
        }
    }
    let contents = async || episode(&settings).await.into_iter().map(|m| (m.key, m.body)).collect::<Vec<_>>();
    assert_eq!(contents().await, contents().await, "a key stands for one content");
}

async fn side_by_side_each_is_answered_for_itself(counterpart: &mut impl Counterpart) {
    let settings = counterpart.settings();
    let notifier = settings.connect().unwrap();
    let rules = (0..alerts::notifiers::PARALLEL).map(|n| of_rule(format!("rule {n}"), "x".to_owned()));
    let messages = messages(&settings, rules.collect()).await;
    // Often enough for packet ids to come round where a broker grants few.
    for _ in 0..5 {
        for sent in join_all(messages.iter().map(|m| notifier.send(m))).await {
            sent.unwrap();
        }
        counterpart.took(&messages).await;
    }
}

async fn what_will_never_be_taken_is_told_apart(counterpart: &mut impl Counterpart) {
    for Hopeless { settings, message } in counterpart.refused() {
        let error = settings.connect().unwrap().send(&message).await.unwrap_err();
        assert!(matches!(error, SendError::Refused(_)), "{settings:?}: {error:?}");
    }
    for Hopeless { settings, message } in counterpart.mendable() {
        let error = settings.connect().unwrap().send(&message).await.unwrap_err();
        assert!(matches!(error, SendError::Retry(_)), "{settings:?}: {error:?}");
    }
    counterpart.took(&[]).await;
}

async fn it_comes_back(counterpart: &mut impl Counterpart) {
    let settings = counterpart.settings();
    let notifier = settings.connect().unwrap();
    let episode = episode(&settings).await;
    notifier.send(&episode[0]).await.unwrap();
    counterpart.took(&episode[..1]).await;
    counterpart.stop().await;
    for _ in 0..2 {
        let error = notifier.send(&episode[0]).await.unwrap_err();
        assert!(matches!(error, SendError::Retry(_)), "{error:?}");
    }
    counterpart.start_again().await;
    let takes = async || notifier.send(&episode[0]).await.ok();
    tests::wait_for_async("it takes messages again", PATIENCE, takes).await;
    counterpart.took(&episode[..1]).await;
}

async fn whoever_misbehaves_is_tried_again_in_time(counterpart: &mut impl Counterpart) {
    let misbehaving = Misbehaving::start().await;
    for (name, port) in misbehaving.ports {
        let settings = counterpart.at(port, SHORT);
        let message = episode(&settings).await.remove(0);
        let notifier = settings.connect().unwrap();
        for _ in 0..2 {
            let began = Instant::now();
            let error = notifier.send(&message).await.unwrap_err();
            assert!(matches!(error, SendError::Retry(_)), "{name}: {error:?}");
            assert!(began.elapsed() < SHORT * 8, "{name}: {:?}, {error:?}", began.elapsed());
        }
    }
    counterpart.took(&[]).await;
}

/// Longer than the good one may take: whoever waits for one that hangs is found.
const LONG: Duration = Duration::from_secs(40);

async fn whoever_misbehaves_delays_nobody_else(counterpart: &mut impl Counterpart) {
    let misbehaving = Misbehaving::start().await;
    let bad = misbehaving.ports.map(|(name, port)| Receiver::new(name, counterpart.at(port, LONG)));
    let good = Receiver::new("good", counterpart.settings());
    let receivers: Vec<Receiver> = bad.into_iter().chain([good]).collect();
    let store = MemoryStore::new(receivers.clone()).with_places(conformance::places());
    let (stop, running) = start(&store, receivers);
    let began = Instant::now();
    apply(&store, 1, &EPISODE).await;
    let delivered = async || (store.counts().await.unwrap().delivered >= 4).then_some(());
    tests::wait_for_async("the good one has all four", PATIENCE, delivered).await;
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.delivered, counts.dead), (4, 0), "nothing is said delivered that nobody took");
    assert_eq!(waiting(&store).await, misbehaving.waiting(4));
    counterpart.took(&episode(&counterpart.settings()).await).await;
    stop.cancel();
    running.await.unwrap();
}
