//! The HTTP API and the page. Every route stands in one table ([`routes`]) with its role, from which the router, the
//! authorisation and the OpenAPI description are made: none of them can forget a route.
//!
//! Without TLS and a token only loopback is bound (the configuration refuses anything else). With tokens each request needs
//! one, as `Authorization: Bearer` or as the session cookie of the page; without tokens everybody on loopback is admin, and
//! the `Host` must be a loopback name, so that a page of elsewhere cannot reach in through a name of its own.

use crate::config::{Config, Role};
use crate::live::Live;
use crate::readiness::Readiness;
use crate::registration::Registrar;
use crate::reload::Active;
use crate::sources::Sources;
use ::alerts::AlarmStore;
use ::storage::Storage;
use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;
use model::Clock;
use prometheus::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use stream::Log;
use tokio_util::sync::CancellationToken;

mod alarms;
mod answer;
mod auth;
mod events;
mod health;
mod openapi;
mod page;
mod points;
mod push;
mod routes;
mod sites;
mod sql;
mod trend;
mod unknown;

pub use answer::Failure;
pub use auth::Who;

/// Largest request body: an hour of 30 s readings of a large mine as JSON.
const BODY_LEN_MAX: usize = 16 << 20;

/// What the handlers reach.
#[derive(Clone)]
pub struct State {
    /// The configuration.
    pub config: Arc<Config>,
    /// Last values and people.
    pub live: Arc<Live>,
    /// Whether this process does its work.
    pub readiness: Readiness,
    /// The alarm store.
    pub alarms: Arc<dyn AlarmStore>,
    /// The table, in the role storage.
    pub storage: Option<Storage>,
    /// Registers points, in the role storage.
    pub registrar: Option<Arc<Registrar>>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The sources.
    pub sources: Sources,
    /// Rules and catalog in force.
    pub active: Arc<Active>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// All metrics.
    pub registry: Registry,
}

impl State {
    /// The table, or why there is none.
    fn storage(&self) -> Result<&Storage, Failure> {
        self.storage.as_ref().ok_or_else(no_storage)
    }

    /// What registers points, or why there is none.
    fn registrar(&self) -> Result<&Registrar, Failure> {
        self.registrar.as_deref().ok_or_else(no_storage)
    }
}

fn no_storage() -> Failure {
    Failure::unavailable("this process has not the role storage")
}

/// One route of the API.
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path as axum writes it.
    pub path: &'static str,
    /// Lowest role that may use it; `None`: anybody who reaches the address.
    pub role: Option<Role>,
    /// What it does, one sentence.
    pub summary: &'static str,
    /// Query parameters: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// Media types of the body; empty: none.
    pub body: &'static [&'static str],
    /// Media types of the answer.
    pub answer: &'static [&'static str],
    /// The handler.
    pub handler: fn() -> MethodRouter<App>,
}

/// State of the router: what handlers reach, sessions and streams.
#[derive(Clone)]
pub struct App {
    state: State,
    sessions: auth::Sessions,
    hub: events::Hub,
}

impl std::ops::Deref for App {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

/// The listening server.
pub struct Serving {
    /// Address it listens on.
    pub address: SocketAddr,
    handle: axum_server::Handle<SocketAddr>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    stop: CancellationToken,
}

impl Serving {
    /// Takes no more connections, ends the event streams, waits a second for what is under way.
    pub async fn stop(self) {
        self.stop.cancel();
        self.handle.graceful_shutdown(Some(std::time::Duration::from_secs(1)));
        if let Ok(Err(e)) = self.task.await {
            tracing::warn!("the API did not end cleanly: {e}");
        }
    }
}

/// Binds and serves.
///
/// # Errors
/// When the address cannot be bound or the TLS files cannot be read.
pub async fn serve(state: State) -> anyhow::Result<Serving> {
    let listen = state.config.server.listen;
    let tls = state.config.server.tls.clone();
    let stop = CancellationToken::new();
    let app = router(state, stop.clone());
    let listener =
        std::net::TcpListener::bind(listen).with_context(|| format!("{listen} cannot be bound"))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let handle = axum_server::Handle::new();
    let service = app.into_make_service();
    let task = match tls {
        None => {
            let server = axum_server::from_tcp(listener)?.handle(handle.clone());
            tokio::spawn(server.serve(service))
        }
        Some(tls) => {
            let config = axum_server::tls_rustls::RustlsConfig::from_pem_file(&tls.cert, &tls.key).await;
            let config =
                config.with_context(|| format!("TLS of {} and {}", tls.cert.display(), tls.key.display()))?;
            let server = axum_server::from_tcp_rustls(listener, config)?.handle(handle.clone());
            tokio::spawn(server.serve(service))
        }
    };
    Ok(Serving { address, handle, task, stop })
}

/// The router of all routes.
pub fn router(state: State, stop: CancellationToken) -> Router {
    let hub = events::Hub::start(&state, stop);
    let app = App { state, sessions: auth::Sessions::default(), hub };
    let mut router = Router::new();
    for route in routes::all() {
        let gate = from_fn_with_state((app.clone(), route.role), auth::gate);
        router = router.route(route.path, (route.handler)().route_layer(gate));
    }
    router
        .fallback(answer::not_found)
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(from_fn(page::headers))
        .with_state(app)
}
