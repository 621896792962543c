//! A bureau's end of the webhook on a real socket: keeps every body by its key, checks signatures, and can misbehave.

use alerts::notifiers::webhook::{WebhookSettings, signature};
use alerts::{AlarmStore, Receiver};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::secret::Secret;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

/// How a bureau answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Takes everything.
    Good,
    /// Takes each message at its second try.
    RefusesFirst(StatusCode),
    /// Takes nothing.
    Always(StatusCode),
    /// Says it has taken it, in an answer that never ends.
    Endless,
}

/// Key and bytes of a message.
type Taken = (String, Vec<u8>);

/// What came, by key and in order.
#[derive(Clone)]
pub struct Bureau {
    manner: Arc<Mutex<Manner>>,
    pub bodies: Arc<Mutex<BTreeMap<String, Vec<Bytes>>>>,
    pub order: Arc<Mutex<Vec<(String, serde_json::Value)>>>,
    /// What was taken, until somebody takes it away.
    pub taken: Arc<Mutex<Vec<Taken>>>,
}

pub const SECRET: &str = "s";

/// Nothing that works takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

impl Bureau {
    /// One that does not yet listen.
    pub fn new(manner: Manner) -> Self {
        let manner = Arc::new(Mutex::new(manner));
        Self { manner, bodies: Arc::default(), order: Arc::default(), taken: Arc::default() }
    }

    /// Listens on a free port and gives its address.
    pub async fn start(manner: Manner) -> (Self, String) {
        let (this, listener) = (Self::new(manner), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let url = format!("http://{}/", listener.local_addr().unwrap());
        this.serve(&Handle::current(), listener);
        (this, url)
    }

    /// Serves whoever comes here, as long as the runtime lives.
    pub fn serve(&self, runtime: &Handle, listener: std::net::TcpListener) {
        let router = Router::new().route("/", post(take)).with_state(self.clone());
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
    }

    pub fn becomes(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Events of one alarm in the order they were taken.
    pub fn events_of(&self, alarm: &str) -> Vec<String> {
        let order = self.order.lock().unwrap();
        let of = order.iter().filter(|(_, m)| m["alarm"]["id"] == alarm);
        of.map(|(_, m)| m["event"].as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that no key came with two contents.
    pub fn assert_one_content_a_key(&self) {
        for (key, bodies) in &*self.bodies.lock().unwrap() {
            assert!(bodies.windows(2).all(|w| w[0] == w[1]), "key {key} came with two contents");
        }
    }
}

async fn take(State(bureau): State<Bureau>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let expected = signature(&Secret::new(SECRET), &body);
    assert_eq!(headers["x-firedamp-signature"].to_str().unwrap(), expected);
    let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let tries = {
        let mut bodies = bureau.bodies.lock().unwrap();
        let seen = bodies.entry(key.clone()).or_default();
        seen.push(body.clone());
        seen.len()
    };
    let manner = *bureau.manner.lock().unwrap();
    match manner {
        Manner::RefusesFirst(status) if tries == 1 => return (status, "not now").into_response(),
        Manner::Always(status) => return (status, "no").into_response(),
        _ => {
            bureau.taken.lock().unwrap().push((key.clone(), body.to_vec()));
            bureau.order.lock().unwrap().push((key, message));
        }
    }
    if manner == Manner::Endless {
        let chunks =
            futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096])));
        return Body::from_stream(chunks).into_response();
    }
    StatusCode::OK.into_response()
}

/// Settings of a webhook with the secret of the bureau.
pub fn settings(url: &str, timeout: Duration) -> WebhookSettings {
    WebhookSettings { url: url.to_owned(), secret: Some(Secret::new(SECRET)), ca: None, timeout }
}

/// A webhook receiver with these.
pub fn receiver(name: &str, url: &str) -> Receiver {
    Receiver::new(name, Arc::new(settings(url, Duration::from_secs(2))))
}

/// Waits until nothing is pending.
pub async fn until_told(store: &dyn AlarmStore) {
    let told = async || (store.counts().await.unwrap().pending == 0).then_some(());
    tests::wait_for_async("nothing is pending", PATIENCE, told).await;
}
