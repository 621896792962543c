//! `[alerts]`: where alarms lie, who is told, how long one may be put aside, and who signs the journal.

use super::Config;
use ::alerts::journal::Signer;
use model::keys::{KeyDoc, key};
use model::secret::read_secret;
use model::time::{MINUTE, Micros};
use model::toml_file::Section;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `[alerts]`.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// URL of the alarm database.
    pub database: String,
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
    key("database", "text", "\"sqlite:<data.dir>/alarms.db\"", "alarm database"),
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
        database: format!("sqlite:{}", data_dir.join("alarms.db").display()),
        routes: None,
        shelve_max: 8 * 60 * MINUTE,
        signer: None,
        checkpoint: 60 * MINUTE,
    };
    let Some(s) = section else { return out };
    if let Some(url) = s.str("database") {
        match url.value.strip_prefix("sqlite:") {
            Some(file) => out.database = format!("sqlite:{}", Config::resolve(path, file).display()),
            None => {
                let help = "write `sqlite:data/alarms.db`; PostgreSQL comes with the work on alarms";
                s.file().error_at(url.at, format!("`{}` is no alarm database", url.value), help);
            }
        }
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
