//! Receivers that answer 500, hang, close, or take it: each message arrives, with one content a key, and no receiver delays another.

use alerts::notifiers::{Options, webhook::WebhookOptions};
use alerts::{AlarmStore, Dispatcher, MemoryStore, Receiver, TransitionBatch, conformance};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use model::secret::Secret;
use model::{Clock, Severity, SystemClock, To};
use prometheus::Registry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Default)]
struct Bureau {
    bodies: Arc<Mutex<HashMap<String, Vec<Bytes>>>>,
    refuse_first: bool,
}

async fn take(State(bureau): State<Bureau>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let signature = alerts::notifiers::webhook::signature(&Secret::new("s"), &body);
    assert_eq!(headers["x-firedamp-signature"].to_str().unwrap(), signature);
    let mut bodies = bureau.bodies.lock().unwrap();
    let seen = bodies.entry(key).or_default();
    seen.push(body);
    if bureau.refuse_first && seen.len() == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}

async fn serve(bureau: Bureau) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(take)).with_state(bureau);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn receiver(name: &str, url: String) -> Receiver {
    let options = WebhookOptions { url, secret: Some(Secret::new("s")), timeout: Duration::from_secs(2) };
    Receiver {
        name: name.to_owned(),
        drill: false,
        severity: Severity::Blue,
        sites: Vec::new(),
        deadline: Duration::from_secs(60),
        options: Options::Webhook(options),
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_or_fails_delays_nobody_and_each_key_has_one_content() {
    let (good, flaky) = (Bureau::default(), Bureau { refuse_first: true, ..Bureau::default() });
    // Accepts connections and never answers.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receivers = vec![
        receiver("hangs", format!("http://{}/", hanging.local_addr().unwrap())),
        receiver("good", serve(good.clone()).await),
        receiver("flaky", serve(flaky.clone()).await),
    ];
    let store = Arc::new(MemoryStore::new(receivers.clone()));
    let stop = CancellationToken::new();
    let dispatcher =
        Dispatcher::new(store.clone(), receivers, Arc::new(SystemClock), &Registry::new()).unwrap();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    let transitions = vec![
        conformance::transition(1, "alarm", To::On, 1.1),
        conformance::transition(2, "cut", To::On, 1.6),
    ];
    store
        .apply(TransitionBatch { partition: 0, next: 1, transitions, now: SystemClock.now(), hold: false })
        .await
        .unwrap();
    let arrived = async {
        loop {
            let all = |b: &Bureau, tries| {
                b.bodies.lock().unwrap().values().filter(|v| v.len() >= tries).count() == 2
            };
            if all(&good, 1) && all(&flaky, 2) && store.counts().await.unwrap().delivered == 4 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), arrived)
        .await
        .expect("both messages reach both receivers that answer");
    for bodies in flaky.bodies.lock().unwrap().values() {
        assert!(bodies.windows(2).all(|w| w[0] == w[1]));
    }
    stop.cancel();
    running.await.unwrap();
}
