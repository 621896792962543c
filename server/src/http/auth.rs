//! Who asks, and may they. Tokens are compared in constant time; the page keeps a session in a cookie (HttpOnly,
//! SameSite=Strict); whatever changes something must come from our own origin.

use super::{App, Failure};
use crate::config::{Role, TokenConfig};
use ::alerts::Happened;
use ahash::AHashMap;
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use model::{Catalog, Micros, Site};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};
use subtle::ConstantTimeEq;

const COOKIE: &str = "firedamp";
/// A shift.
const SESSION_MAX: Micros = 12 * 3600 * model::time::SECOND;
/// Sessions kept; the oldest goes.
const SESSIONS_MAX: usize = 10_000;

/// The caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Who {
    /// For the journal.
    pub name: String,
    /// What it may do.
    pub role: Role,
    regions: Vec<String>,
    sites: Vec<String>,
}

impl Who {
    fn of(token: &TokenConfig) -> Self {
        let (regions, sites) = (token.regions.clone(), token.sites.clone());
        Self { name: token.name.clone(), role: token.role, regions, sites }
    }

    fn local() -> Self {
        Self { name: "local".to_owned(), role: Role::Admin, regions: Vec::new(), sites: Vec::new() }
    }

    /// Whether the caller sees everything.
    pub fn sees_all(&self) -> bool {
        self.regions.is_empty() && self.sites.is_empty()
    }

    /// Whether the caller sees a site.
    pub fn sees(&self, site: &Site) -> bool {
        self.sees_all()
            || self.sites.contains(&site.code)
            || self.regions.iter().any(|r| site.region.starts_with(r.as_str()))
    }

    /// Whether the caller sees the site of this code; firedamp's own alarms have a site of no catalog and are for those who
    /// see everything.
    pub fn sees_code(&self, catalog: &Catalog, code: &str) -> bool {
        self.sees_all() || catalog.site(code).is_some_and(|site| self.sees(site))
    }
}

/// Sessions of pages, by the hash of their secret.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<Known>>);

/// Who signed on when, by the hash of the session's secret.
type Known = AHashMap<[u8; 32], (Who, Micros)>;

impl Sessions {
    fn open(&self, who: Who, now: Micros) -> String {
        let secret = hex::encode(rand::random::<[u8; 32]>());
        let mut sessions = self.0.lock().expect("no holder of this lock panics");
        sessions.retain(|_, (_, since)| now - *since < SESSION_MAX);
        if sessions.len() < SESSIONS_MAX {
            sessions.insert(digest(&secret), (who, now));
        }
        secret
    }

    fn find(&self, secret: &str, now: Micros) -> Option<Who> {
        let sessions = self.0.lock().expect("no holder of this lock panics");
        sessions
            .get(&digest(secret))
            .filter(|(_, since)| now - *since < SESSION_MAX)
            .map(|(who, _)| who.clone())
    }

    fn close(&self, secret: &str) {
        self.0.lock().expect("no holder of this lock panics").remove(&digest(secret));
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Lets a request through to its handler, with [`Who`] as an extension, or refuses it.
pub async fn gate(
    Extract((app, role)): Extract<(App, Option<Role>)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let headers = request.headers();
    check_origin(&app, request.method(), headers)?;
    if let Some(role) = role {
        let who = identify(&app, headers)?;
        if who.role < role {
            let message = format!("{} has the role {:?}, this needs {role:?}", who.name, who.role);
            return Err(Failure(StatusCode::FORBIDDEN, message));
        }
        request.extensions_mut().insert(who);
    }
    Ok(next.run(request).await)
}

fn check_origin(app: &App, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if app.config.server.tokens.is_empty() && !["127.0.0.1", "localhost", "[::1]", ""].contains(&name) {
        let message = format!("host `{host}` is no loopback name, and there are no tokens");
        return Err(Failure(StatusCode::FORBIDDEN, message));
    }
    let Some(origin) = headers.get(header::ORIGIN).and_then(|o| o.to_str().ok()) else { return Ok(()) };
    let same = origin.split_once("://").is_some_and(|(_, o)| o == host);
    if same || method == Method::GET {
        Ok(())
    } else {
        Err(Failure(StatusCode::FORBIDDEN, format!("origin `{origin}` is not this server")))
    }
}

fn identify(app: &App, headers: &HeaderMap) -> Result<Who, Failure> {
    let tokens = &app.config.server.tokens;
    if tokens.is_empty() {
        return Ok(Who::local());
    }
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|h| h.to_str().ok())
        .and_then(|h| h.strip_prefix("Bearer "));
    let who = match bearer {
        Some(given) => by_token(tokens, given),
        None => cookie(headers).and_then(|secret| app.sessions.find(secret, app.clock.now())),
    };
    who.ok_or_else(|| {
        Failure(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer TOKEN`, or sign on".to_owned())
    })
}

fn by_token(tokens: &[TokenConfig], given: &str) -> Option<Who> {
    let given = digest(given);
    let mut found = None;
    for token in tokens {
        // All are compared, each in constant time: the time says nothing about how near a guess was.
        if bool::from(digest(token.secret.expose()).ct_eq(&given)) {
            found = Some(Who::of(token));
        }
    }
    found
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies
        .split(';')
        .filter_map(|c| c.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, v)| v)
}

/// The body of a sign-on.
#[derive(Deserialize)]
pub struct SignOn {
    token: String,
}

/// `POST /api/v1/session`.
pub async fn sign_on(Extract(app): Extract<App>, Json(body): Json<SignOn>) -> Result<Response, Failure> {
    let who = by_token(&app.config.server.tokens, &body.token);
    let who = who.ok_or_else(|| Failure(StatusCode::UNAUTHORIZED, "this token is not known".to_owned()))?;
    let (answer, now) = (describe(&who), app.clock.now());
    let [note, detail] = [(); 2].map(|()| String::new());
    let happened = Happened { event: "signed_on", by: who.name.clone(), note, detail };
    // Who signs on to see why the database is not there must get in.
    if let Err(e) = app.alarms.record(happened, now).await {
        tracing::warn!(who = %who.name, "signed on, and the journal was not written: {e}");
    }
    let secret = app.sessions.open(who, now);
    let secure = if app.config.server.tls.is_some() { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200{secure}");
    Ok(([(header::SET_COOKIE, cookie)], Json(answer)).into_response())
}

/// `DELETE /api/v1/session`.
pub async fn sign_off(Extract(app): Extract<App>, headers: HeaderMap) -> Response {
    if let Some(secret) = cookie(&headers) {
        app.sessions.close(secret);
    }
    let gone = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, gone)], Json(json!({}))).into_response()
}

/// `GET /api/v1/whoami`.
pub async fn whoami(Extension(who): Extension<Who>) -> Json<serde_json::Value> {
    Json(describe(&who))
}

fn describe(who: &Who) -> serde_json::Value {
    let role = format!("{:?}", who.role).to_lowercase();
    json!({ "name": who.name, "role": role, "regions": who.regions, "sites": who.sites })
}
