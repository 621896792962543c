//! `[alerts]`: where alarms lie, who is told, how long one may be put aside, and who signs the journal.

use super::Config;
use ::alerts::journal::Signer;
use model::keys::{KeyDoc, key};
use model::secret::{Secret, read_secret};
use model::time::{MINUTE, Micros};
use model::toml_file::Section;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// `[alerts]`.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// URL of the alarm database, with the password.
    pub database: Secret,
    /// File of the routes that decide who is told.
    pub routes: Option<PathBuf>,
    /// Longest time on the shelf.
    pub shelve_max: Micros,
    /// Signs checkpoints of the journal, if any.
    pub signer: Option<Arc<Signer>>,
    /// How often.
    pub checkpoint: Micros,
}

/// Its keys.
pub const KEYS: &[KeyDoc] = &[
    key(
        "database",
        "text",
        "\"sqlite:<data.dir>/alarms.db\"",
        "alarm database: a file, or `postgres://USER@HOST:PORT/DATABASE` of a database that exists (PostgreSQL 12 or newer)",
    ),
    key(
        "password",
        "`{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
        "",
        "password of the user of a PostgreSQL database; when absent that of PGPASSWORD or ~/.pgpass",
    ),
    key(
        "routes",
        "path",
        "",
        "file of the routes that decide who is told (`docs/routing.md`); without it the receivers' own keys do",
    ),
    key("shelve_max", "duration", "\"8h\"", "longest time for which an alarm may be shelved"),
    key(
        "signing_key",
        "`{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
        "",
        "64 hex digits, as `openssl rand -hex 32` makes them: the journal's newest entry is signed with it (Ed25519) and told to \
         receivers with `checkpoints`",
    ),
    key("checkpoint", "duration", "\"1h\"", "how often it is signed"),
];

/// Reads the section.
pub fn read(path: &Path, data_dir: &Path, section: Option<Section<'_>>) -> AlertsConfig {
    let mut out = AlertsConfig {
        database: Secret::new(format!("sqlite:{}", data_dir.join("alarms.db").display())),
        routes: None,
        shelve_max: 8 * 60 * MINUTE,
        signer: None,
        checkpoint: 60 * MINUTE,
    };
    let Some(s) = section else { return out };
    if let Some(database) = database(path, &s) {
        out.database = database;
    }
    out.routes = s.str("routes").map(|p| Config::resolve(path, p.value));
    for (name, time) in [("shelve_max", &mut out.shelve_max), ("checkpoint", &mut out.checkpoint)] {
        let Some(given) = s.duration(name) else { continue };
        if given.value <= 0 {
            s.file().error_at(given.at, format!("`{name}` is no time"), "give more than nothing, as \"1h\"");
        } else {
            *time = given.value;
        }
    }
    if s.has("signing_key")
        && let Some(secret) = read_secret(&s, "signing_key")
    {
        match Signer::from_secret(secret.expose()) {
            Ok(signer) => out.signer = Some(Arc::new(signer)),
            Err(e) => s.error(format!("`signing_key`: {e}"), "keep the key where the database is not"),
        }
    }
    s.finish();
    out
}

/// The URL of the database; `None` where there is none or it cannot be used, which is told.
fn database(path: &Path, s: &Section<'_>) -> Option<Secret> {
    let password = s.has("password").then(|| read_secret(s, "password"));
    let of_file = |file: &str| format!("sqlite:{}", Config::resolve(path, file).display());
    let found = s.str("database");
    let url = found.as_ref().map_or("sqlite:", |url| url.value);
    let refused = |message: &str, help: &str| {
        let at = found.as_ref().map_or_else(|| s.at(), |url| url.at);
        s.file().error_at(at, message, help);
        None
    };
    match (url.strip_prefix("sqlite:"), Url::parse(url)) {
        (Some(_), _) if password.is_some() => refused("a file has no password", "leave `password` out"),
        (Some(file), _) => found.is_some().then(|| Secret::new(of_file(file))),
        (None, Ok(url)) if url.password().is_some() => refused(
            "the password stands in the address",
            "write `password = { env = \"FIREDAMP_DATABASE\" }`",
        ),
        (None, Ok(mut url)) if ["postgres", "postgresql"].contains(&url.scheme()) && url.has_host() => {
            if let Some(password) = password {
                url.set_password(Some(password?.expose())).ok()?;
            }
            Some(Secret::new(url))
        }
        _ => refused(
            &format!("`{url}` is no alarm database"),
            "write `sqlite:data/alarms.db` or `postgres://firedamp@127.0.0.1/firedamp`",
        ),
    }
}
