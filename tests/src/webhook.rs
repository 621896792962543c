//! A bureau's end of the webhook: keeps every request with its headers, and can refuse.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One message as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// `Idempotency-Key`.
    pub key: String,
    /// `X-Firedamp-Signature`.
    pub signature: String,
    /// The body.
    pub body: Bytes,
    /// When it came.
    pub at: Instant,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a webhook sends JSON")
    }
}

#[derive(Default, Debug)]
struct Inner {
    received: Vec<Received>,
    refuse: usize,
}

/// A listening receiver; it ends with the runtime of its test.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where it listens.
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Webhook {
    /// Starts on a free port.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
        let url = format!("http://{}/alarms", listener.local_addr().expect("it is bound"));
        let this = Self { url, inner: Arc::default() };
        let router = Router::new().route("/alarms", post(take)).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    /// The next so many requests are answered with 500.
    pub fn refuse(&self, n: usize) {
        self.inner.lock().expect("no holder of this lock panics").refuse = n;
    }

    /// Everything that came so far, refused ones too.
    pub fn received(&self) -> Vec<Received> {
        self.inner.lock().expect("no holder of this lock panics").received.clone()
    }

    /// The one content of each key.
    ///
    /// # Panics
    /// When a key came with two contents.
    pub fn contents(&self) -> BTreeMap<String, Bytes> {
        let mut contents: BTreeMap<String, Bytes> = BTreeMap::new();
        for message in self.received() {
            let first = contents.entry(message.key.clone()).or_insert_with(|| message.body.clone());
            assert_eq!(*first, message.body, "key {} stands for two contents", message.key);
        }
        contents
    }
}

async fn take(State(webhook): State<Webhook>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let header = |name: &str| headers.get(name).and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned();
    let (key, signature) = (header("idempotency-key"), header("x-firedamp-signature"));
    let received = Received { key, signature, body, at };
    let mut inner = webhook.inner.lock().expect("no holder of this lock panics");
    inner.received.push(received);
    if inner.refuse > 0 {
        inner.refuse -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    StatusCode::OK
}
