//! An MQTT broker in this process, for the demo and for tests: rumqttd, MQTT 3.1.1, on a free port of 127.0.0.1 only.
//!
//! It runs in a thread of its own with a runtime of its own. [`Broker::stop`] (or dropping it) closes the port and all
//! connections and ends that thread. rumqttd's router thread holds a sender to itself and therefore stays parked, with what
//! it had in memory (at most some 40 MiB), until the process ends. It forgets everything when it stops, and a subscriber
//! that is away for long loses what no longer fits: it is for showing, not for running.

use anyhow::{Context, bail};
use rumqttd::protocol::v4::V4;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::pin;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// rumqttd cannot be asked which port it took, so a free one is found first; another process may take it in between.
const TRIES: usize = 10;
const SEGMENT_BYTES: usize = 4 << 20;
const SEGMENTS: usize = 8;
const PAYLOAD_MAX: usize = 4 << 20;
const CONNECTIONS_MAX: usize = 1024;

/// A broker at work; dropping it stops it.
#[derive(Debug)]
pub struct Broker {
    addr: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port could be bound.
    pub async fn start() -> anyhow::Result<Self> {
        let mut last = None;
        for _ in 0..TRIES {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
            let addr = free.local_addr()?;
            drop(free);
            match Self::on(addr).await {
                Ok(broker) => return Ok(broker),
                Err(e) => last = Some(e),
            }
        }
        Err(last.expect("it was tried")).with_context(|| format!("the broker found no port in {TRIES} tries"))
    }

    async fn on(addr: SocketAddr) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (bound, told) = oneshot::channel();
        let ends = stop.clone();
        let thread = std::thread::Builder::new()
            .name("mqtt-broker".to_owned())
            .spawn(move || serve(addr, &ends, bound))
            .context("the broker got no thread")?;
        let broker = Self { addr, stop, thread: Some(thread) };
        told.await.context("the broker's thread ended")??;
        Ok(broker)
    }

    /// `mqtt://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the port and all connections.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
            if !matches!(joined, Ok(true)) {
                tracing::error!("the broker's thread ended badly");
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn serve(addr: SocketAddr, stop: &CancellationToken, bound: oneshot::Sender<anyhow::Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let _ = bound.send(Err(e).context("the broker got no runtime"));
            return;
        }
    };
    runtime.block_on(async {
        let router = Router::new(0, router());
        let mut server = Server::new(settings(addr), router.spawn(), V4);
        let mut serving = pin!(server.start(LinkType::Remote));
        // The first poll binds and then waits for a connection, or fails.
        let first = std::future::poll_fn(|cx| {
            Poll::Ready(match serving.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => Some("it ended at once".to_owned()),
                Poll::Ready(Err(e)) => Some(e.to_string()),
                Poll::Pending => None,
            })
        });
        let told = match first.await {
            Some(why) => {
                let _ = bound.send(refused(addr, &why));
                return;
            }
            None => bound.send(Ok(())),
        };
        if told.is_err() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            ended = serving => tracing::error!("the broker on {addr} ended: {ended:?}"),
        }
    });
    // Dropping the runtime drops the connections.
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn refused(addr: SocketAddr, why: &str) -> anyhow::Result<()> {
    bail!("the broker cannot listen on {addr}: {why}")
}

fn router() -> RouterConfig {
    RouterConfig {
        max_connections: CONNECTIONS_MAX,
        max_outgoing_packet_count: 200,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS,
        ..RouterConfig::default()
    }
}

fn settings(addr: SocketAddr) -> ServerSettings {
    ServerSettings {
        name: "firedamp-simulator".to_owned(),
        listen: addr,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 5000,
            max_payload_size: PAYLOAD_MAX,
            max_inflight_count: 500,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}
