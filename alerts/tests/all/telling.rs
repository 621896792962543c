//! Receivers that answer 500, hang, close, answer garbage, or never end: each message arrives, with one content a key, in the order
//! of its alarm, and no receiver delays another.

use crate::bureau::{Bureau, Manner, PATIENCE, receiver, until_told};
use crate::misbehaving::{Misbehaving, raw};
use alerts::{AlarmFilter, AlarmStore, Dispatcher, MemoryStore, Receiver, TransitionBatch, conformance};
use axum::http::StatusCode;
use model::{Clock, SystemClock, To};
use prometheus::Registry;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub fn start(store: &MemoryStore, receivers: Vec<Receiver>) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let clock = Arc::new(SystemClock);
    let dispatcher = Dispatcher::new(Arc::new(store.clone()), receivers, clock, &Registry::new()).unwrap();
    (stop.clone(), tokio::spawn(dispatcher.run(stop)))
}

pub async fn apply(store: &MemoryStore, next: u64, steps: &[(u64, &str, To)]) {
    let transitions =
        steps.iter().map(|(n, level, to)| conformance::transition(*n, level, *to, 1.1)).collect();
    store
        .apply(TransitionBatch { partition: 0, next, transitions, now: SystemClock.now(), hold: false })
        .await
        .unwrap();
}

/// Raised, changed, cleared.
pub const EPISODE: [(u64, &str, To); 4] =
    [(1, "alarm", To::On), (2, "cut", To::On), (3, "cut", To::Off), (4, "alarm", To::Off)];

fn episode_id() -> String {
    conformance::transition(1, "alarm", To::On, 1.1).id.to_string()
}

/// Names of those for whom messages wait, and how many.
pub async fn waiting(store: &MemoryStore) -> Vec<(String, u64)> {
    store.backlog().await.unwrap().into_iter().map(|b| (b.receiver, b.pending)).collect()
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_misbehaves_delays_nobody_and_gets_all_in_order_later() {
    let (good, good_url) = Bureau::start(Manner::Good).await;
    let (flaky, flaky_url) = Bureau::start(Manner::RefusesFirst(StatusCode::INTERNAL_SERVER_ERROR)).await;
    let (endless, endless_url) = Bureau::start(Manner::Endless).await;
    let misbehaving = Misbehaving::start().await;
    let mut receivers = misbehaving.ports.map(|(name, port)| receiver(name, &url(port))).to_vec();
    receivers.extend([
        receiver("good", &good_url),
        receiver("flaky", &flaky_url),
        receiver("endless", &endless_url),
    ]);
    let store = MemoryStore::new(receivers.clone());
    let (stop, running) = start(&store, receivers);
    apply(&store, 1, &EPISODE).await;
    let id = episode_id();
    for bureau in [&good, &flaky, &endless] {
        let arrived = async || (bureau.events_of(&id).len() == 4).then_some(());
        tests::wait_for_async("all four arrived", PATIENCE, arrived).await;
        assert_eq!(bureau.events_of(&id), ["raised", "changed", "changed", "cleared"]);
        bureau.assert_one_content_a_key();
    }
    assert!(flaky.bodies.lock().unwrap().values().all(|tries| tries.len() == 2));
    let delivered = async || (store.counts().await.unwrap().delivered == 12).then_some(());
    tests::wait_for_async("12 are delivered", PATIENCE, delivered).await;
    assert_eq!(waiting(&store).await, misbehaving.waiting(4));
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_refusal_for_good_is_a_dead_letter_told_by_another() {
    let (strict, strict_url) = Bureau::start(Manner::Always(StatusCode::UNPROCESSABLE_ENTITY)).await;
    let (other, other_url) = Bureau::start(Manner::Good).await;
    let receivers = vec![receiver("strict", &strict_url), receiver("other", &other_url)];
    let store = MemoryStore::new(receivers.clone());
    let (stop, running) = start(&store, receivers);
    apply(&store, 1, &EPISODE[..1]).await;
    until_told(&store).await;
    let own =
        store.list(&AlarmFilter { site: Some("firedamp".into()), ..AlarmFilter::default() }).await.unwrap();
    assert_eq!(own.len(), 1);
    assert!(
        own[0].reason.contains("`strict`") && own[0].reason.contains("422 Unprocessable Entity: no"),
        "{}",
        own[0].reason
    );
    assert_eq!(other.events_of(&own[0].id), ["raised"]);
    assert_eq!(strict.bodies.lock().unwrap().len(), 1, "its own channel is not used to tell it");
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.sent, counts.delivered, counts.dead), (3, 2, 1));
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_due_at_the_stop_still_goes_out_and_what_waits_stays() {
    let (good, good_url) = Bureau::start(Manner::Good).await;
    let (sick, sick_url) = Bureau::start(Manner::Always(StatusCode::SERVICE_UNAVAILABLE)).await;
    let receivers = vec![receiver("good", &good_url), receiver("sick", &sick_url)];
    let store = MemoryStore::new(receivers.clone());
    let (stop, running) = start(&store, receivers.clone());
    apply(&store, 1, &EPISODE).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(good.events_of(&episode_id()).len(), 4);
    assert_eq!(store.counts().await.unwrap().pending, 4, "of the other nothing is lost");
    sick.becomes(Manner::Good);
    let (stop, running) = start(&store, receivers);
    until_told(&store).await;
    assert_eq!(sick.events_of(&episode_id()), ["raised", "changed", "changed", "cleared"]);
    sick.assert_one_content_a_key();
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (target, target_url) = Bureau::start(Manner::Good).await;
    let port = raw(move |mut socket| {
        let answer =
            format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {target_url}\r\ncontent-length: 0\r\n\r\n");
        async move {
            let mut some = [0; 4096];
            let _ = socket.read(&mut some).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let redirect = url(port);
    let webhook = receiver("moved", &redirect).settings.connect().unwrap();
    let store = MemoryStore::new(vec![receiver("moved", &redirect)]);
    apply(&store, 1, &EPISODE[..1]).await;
    let message = store.outbox_due("moved", i64::MAX, 1).await.unwrap().remove(0);
    let error = webhook.send(&message).await.unwrap_err();
    assert!(
        matches!(&error, alerts::SendError::Retry(e) if e.contains("not followed: write that address into `url`")),
        "{error:?}"
    );
    assert!(target.bodies.lock().unwrap().is_empty());
}
