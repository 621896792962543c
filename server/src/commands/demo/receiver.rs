//! The demo's receiver: a bureau's end of the webhook, which checks the signature, shows each message and remembers how long
//! it took from the device's reading to here.

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, Mac};
use model::{Clock, SystemClock, time};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// The demo's own secret; the receiver lives and dies with the process.
pub const SECRET: &str = "demo";

#[derive(Default)]
struct Seen {
    keys: BTreeSet<String>,
    latencies_ms: Vec<f64>,
}

/// A listening receiver.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    show: bool,
}

impl Receiver {
    /// Starts on a free port of loopback.
    pub async fn start(show: bool) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("the demo's receiver")?;
        let this = Self { address: listener.local_addr()?, seen: Arc::default(), show };
        let router = Router::new().route("/", post(take)).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(this)
    }

    /// Different messages received, and the times from device read to here in ascending order, milliseconds.
    pub fn seen(&self) -> (u64, Vec<f64>) {
        let seen = self.seen.lock().expect("no holder of this lock panics");
        let mut latencies = seen.latencies_ms.clone();
        latencies.sort_by(f64::total_cmp);
        (seen.keys.len() as u64, latencies)
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let signature = header("x-firedamp-signature").strip_prefix("sha256=").and_then(|s| hex::decode(s).ok());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(&body);
    if signature.is_none_or(|s| mac.verify_slice(&s).is_err()) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(message) = serde_json::from_slice::<serde_json::Value>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let now = SystemClock.now();
    let alarm = &message["alarm"];
    let read = alarm[if message["event"] == "cleared" { "closed" } else { "changed" }].as_str();
    let read = read.or(alarm["opened"].as_str()).and_then(|t| time::parse(t).ok());
    let first = {
        let mut seen = receiver.seen.lock().expect("no holder of this lock panics");
        let first = seen.keys.insert(header("idempotency-key").to_owned());
        if let Some(read) = read.filter(|_| first) {
            seen.latencies_ms.push((now - read) as f64 / 1e3);
        }
        first
    };
    if first && receiver.show {
        let text = |key: &str| alarm[key].as_str().unwrap_or("").to_owned();
        // Whoever reads may have enough of it; the demo goes on.
        let _ = writeln!(
            std::io::stdout(),
            "bureau told: {:<8} {:<7} {} {} {} {}: {}",
            message["event"].as_str().unwrap_or(""),
            text("severity"),
            text("site"),
            text("point"),
            text("rule"),
            text("level"),
            text("reason")
        );
    }
    StatusCode::OK
}
