//! Ways to tell. A notifier is one file and one line in [`kinds`]; all behave as one to the dispatcher: what is said is rendered
//! once ([`Settings::render`]) into the outbox, in the transaction of the alarm; these bytes go out as they are, with the key, at
//! every try; and the answer says delivered, try again, or never.

use crate::OutboxRow;
use async_trait::async_trait;
use model::keys::KeyDoc;
use model::toml_file::Section;
use model::{Alarm, Micros};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

pub mod email;
pub mod webhook;

/// Messages on their way to one receiver at once.
pub const PARALLEL: usize = 8;

/// What goes out.
pub type Message = OutboxRow;

/// What is to be said, before it is put in the words of a channel.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Idempotency key.
    pub key: &'a str,
    /// `raised`, `changed`, `cleared` or `digest`.
    pub event: &'a str,
    /// The alarm; of a digest all of this part.
    pub alarms: &'a [&'a Alarm],
    /// When it was decided.
    pub time: Micros,
    /// The same as JSON.
    pub json: &'a str,
}

/// Why a message was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// Try again later.
    #[error("{0}")]
    Retry(String),
    /// It will never be taken as it is.
    #[error("refused for good: {0}")]
    Refused(String),
    /// It is delivered, but not to all of the addresses that the receiver stands for.
    #[error("delivered in part: {0}")]
    Partly(String),
}

/// Sends messages to one receiver.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Returns once the receiver has taken the message.
    async fn send(&self, message: &Message) -> Result<(), SendError>;
}

/// Settings of a notifier, read and checked.
pub trait Settings: Send + Sync + Debug {
    /// The bytes that lie in the outbox: a function of the notice and the settings only, so that a key stands for one content.
    fn render(&self, notice: &Notice<'_>) -> Vec<u8>;

    /// The notifier; nothing is connected yet.
    ///
    /// # Errors
    /// A sentence, when the settings cannot be used.
    fn connect(&self) -> Result<Arc<dyn Notifier>, String>;
}

/// A kind of notifier.
pub struct Kind {
    /// Its word in the configuration.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [KeyDoc],
    /// Reads its settings; problems are told through the section.
    pub read: fn(&Section<'_>) -> Option<Arc<dyn Settings>>,
}

/// All kinds, a line each.
pub fn kinds() -> &'static [Kind] {
    &[
        Kind { name: "webhook", keys: webhook::KEYS, read: webhook::read },
        Kind { name: "email", keys: email::KEYS, read: email::read },
    ]
}

/// Reads `ca`: a file of certificates, PEM, that are trusted beside the usual ones; a relative path is below the folder of the
/// configuration. The outer `None`: it is there and cannot be used, which is told.
fn read_ca(s: &Section<'_>) -> Option<Option<Vec<u8>>> {
    let Some(path) = s.str("ca") else { return Some(None) };
    let (config, ..) = s.file().place(path.at);
    let full = Path::new(&config).parent().unwrap_or(Path::new("")).join(path.value);
    let read = std::fs::read(&full).map_err(|e| e.to_string());
    let read = read.and_then(|pem| match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(pem),
        Ok(_) => Err("it holds no certificate".to_owned()),
        Err(e) => Err(e.to_string()),
    });
    match read {
        Ok(pem) => Some(Some(pem)),
        Err(e) => {
            s.file().error_at(
                path.at,
                format!("certificates of `{}` cannot be read: {e}", path.value),
                "give a file in PEM",
            );
            None
        }
    }
}
