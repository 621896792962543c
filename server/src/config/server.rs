//! `[server]`: where the API listens, its TLS and its tokens. Without TLS and a token only loopback is bound.

use super::Config;
use crate::heartbeat::HeartbeatConfig;
use model::keys::{KeyDoc, key};
use model::secret::{Secret, read_secret};
use model::toml_file::Section;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a token may do; each includes the ones before it, except that an analyst reads SQL and an operator acts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Sees.
    Viewer,
    /// Sees and asks SQL.
    Analyst,
    /// Acknowledges alarms, registers points, pushes readings.
    Operator,
    /// Changes rules and catalog.
    Engineer,
    /// Everything.
    Admin,
}

/// Words of the roles, lowest first.
pub const ROLES: [&str; 5] = ["viewer", "analyst", "operator", "engineer", "admin"];

/// `[[server.token]]`.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Who it is, for the journal.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Region prefixes it sees; empty: all.
    pub regions: Vec<String>,
    /// Site codes it sees; empty: all.
    pub sites: Vec<String>,
    /// The secret.
    pub secret: Secret,
}

/// `server.tls`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address to bind.
    pub listen: SocketAddr,
    /// TLS, if any.
    pub tls: Option<Tls>,
    /// Tokens.
    pub tokens: Vec<TokenConfig>,
    /// How long a shutdown may drain.
    pub drain: Duration,
    /// Where a watcher outside is told that this process works.
    pub heartbeat: Option<HeartbeatConfig>,
}

/// Keys of `[server]`.
pub const KEYS: &[KeyDoc] = &[
    key(
        "listen",
        "address",
        "\"127.0.0.1:8460\"",
        "address of the API; anything but loopback needs `tls` and a token",
    ),
    key("tls.cert", "path", "", "PEM file of the certificate chain"),
    key("tls.key", "path", "", "PEM file of the private key"),
    key("token.name", "text", "-", "who the token stands for, in `[[server.token]]`"),
    key("token.role", "`viewer`, `analyst`, `operator`, `engineer` or `admin`", "-", "what it may do"),
    key("token.secret", "{ env } or { file }", "-", "the token itself, sent as `Authorization: Bearer ...`"),
    key("token.regions", "list of texts", "", "region prefixes it is limited to"),
    key("token.sites", "list of texts", "", "site codes it is limited to"),
    key("drain", "duration", "\"20s\"", "how long a shutdown may take to write down what is under way"),
    key(
        "heartbeat.url",
        "text",
        "",
        "a watcher outside, which alarms when no POST comes any more; nothing is sent while this process is not ready",
    ),
    key("heartbeat.every", "duration", "\"30s\"", "how often it is told"),
];

/// Reads the section; `None` when it has an error.
pub fn read(path: &Path, section: Option<Section<'_>>) -> Option<ServerConfig> {
    let mut config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 8460)),
        tls: None,
        tokens: Vec::new(),
        drain: Duration::from_secs(20),
        heartbeat: None,
    };
    let Some(s) = section else { return Some(config) };
    let listen = s.str("listen");
    if let Some(listen) = &listen {
        match listen.value.parse() {
            Ok(address) => config.listen = address,
            Err(_) => {
                let message = format!("`server.listen` is `{}`, no address with a port", listen.value);
                s.file().error_at(listen.at, message, "write for example \"127.0.0.1:8460\"");
            }
        }
    }
    if let Some(tls) = s.table("tls") {
        let (cert, key) = (tls.need_str("cert", "\"server.pem\""), tls.need_str("key", "\"server.key\""));
        if let (Some(cert), Some(key)) = (cert, key) {
            config.tls =
                Some(Tls { cert: Config::resolve(path, cert.value), key: Config::resolve(path, key.value) });
        }
        tls.finish();
    }
    for token in s.tables("token") {
        config.tokens.extend(read_token(&token));
        token.finish();
    }
    if let Some(heartbeat) = s.table("heartbeat") {
        config.heartbeat = read_heartbeat(&heartbeat);
        heartbeat.finish();
    }
    config.drain = s.duration("drain").map_or(config.drain, |v| Duration::from_micros(v.value as u64));
    if !config.listen.ip().is_loopback() && (config.tls.is_none() || config.tokens.is_empty()) {
        let at = listen.map_or(s.at(), |l| l.at);
        let message =
            format!("`server.listen` {} is not loopback and there is no TLS or no token", config.listen);
        s.file().error_at(
            at,
            message,
            "add `tls = { cert, key }` and a [[server.token]], or listen on 127.0.0.1",
        );
    }
    s.finish();
    Some(config)
}

fn read_heartbeat(s: &Section<'_>) -> Option<HeartbeatConfig> {
    let every = s.duration("every");
    if let Some(every) = every.as_ref().filter(|e| e.value < model::time::SECOND) {
        s.file().error_at(every.at, "`server.heartbeat.every` is shorter than one second", "");
    }
    let every = every.map_or(Duration::from_secs(30), |v| Duration::from_micros(v.value.unsigned_abs()));
    let url = s.need_str("url", "\"https://watcher.example/beat\"")?;
    match reqwest::Url::parse(url.value) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {
            Some(HeartbeatConfig { url: url.value.to_owned(), every })
        }
        _ => {
            let message = "`server.heartbeat.url` is no address with http or https";
            s.file().error_at(url.at, message, "write for example \"https://watcher.example/beat\"");
            None
        }
    }
}

fn read_token(s: &Section<'_>) -> Option<TokenConfig> {
    let name = s.need_str("name", "\"centre\"");
    if !s.has("role") {
        s.missing("role", "\"operator\"");
    }
    if !s.has("secret") {
        s.missing("secret", "{ env = \"FIREDAMP_TOKEN\" }");
    }
    let role = s.one_of("role", &ROLES);
    let secret = read_secret(s, "secret");
    let texts = |list: Option<Vec<model::toml_file::Located<&str>>>| -> Vec<String> {
        list.unwrap_or_default().iter().map(|t| t.value.to_owned()).collect()
    };
    let (regions, sites) = (texts(s.strs("regions")), texts(s.strs("sites")));
    let role = match role?.value {
        "viewer" => Role::Viewer,
        "analyst" => Role::Analyst,
        "operator" => Role::Operator,
        "engineer" => Role::Engineer,
        _ => Role::Admin,
    };
    Some(TokenConfig { name: name?.value.to_owned(), role, regions, sites, secret: secret? })
}
