//! Ways to tell. A notifier is one file and one line in [`kinds`]; all behave as one to the dispatcher: what is said is rendered
//! once ([`Settings::render`]) into the outbox, in the transaction of the alarm; these bytes go out as they are, with the key, at
//! every try; and the answer says delivered, try again, or never.

use crate::OutboxRow;
use async_trait::async_trait;
use model::keys::KeyDoc;
use model::toml_file::Section;
use model::{Alarm, Micros, Severity};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

pub mod alertmanager;
pub mod email;
mod http;
pub mod kafka;
pub mod mqtt;
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
    /// `raised`, `changed`, `cleared`, `escalated`, `reminded`, `digest`, `list` or `checkpoint`.
    pub event: &'a str,
    /// The alarm; of a digest or a list all of this part.
    pub alarms: &'a [&'a Alarm],
    /// When it was decided.
    pub time: Micros,
    /// The level and severity that those who hear of the alarm were told last; `None` where they hear of it for the first time.
    /// In a database restored from a backup it may differ for one key: only for channels that send none.
    pub before: Option<(&'a str, Severity)>,
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

    /// The notifier; it waits for nobody.
    ///
    /// # Errors
    /// A sentence, when the settings cannot be used.
    fn connect(&self) -> Result<Arc<dyn Notifier>, String>;
}

/// A kind of notifier.
pub struct Kind {
    /// Its word in the configuration.
    pub name: &'static str,
    /// Read by people, not by a system.
    pub people: bool,
    /// Its keys.
    pub keys: &'static [KeyDoc],
    /// Reads its settings; problems are told through the section.
    pub read: fn(&Section<'_>) -> Option<Arc<dyn Settings>>,
}

/// All kinds, a line each.
pub fn kinds() -> &'static [Kind] {
    &[
        Kind { name: "webhook", people: false, keys: webhook::KEYS, read: webhook::read },
        Kind { name: "email", people: true, keys: email::KEYS, read: email::read },
        Kind { name: "mqtt", people: false, keys: mqtt::KEYS, read: mqtt::read },
        Kind { name: "kafka", people: false, keys: kafka::KEYS, read: kafka::read },
        Kind { name: "alertmanager", people: false, keys: alertmanager::KEYS, read: alertmanager::read },
    ]
}

/// Shortest and longest time of one try.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Reads `timeout`; `None` where it cannot be used, which is told.
fn read_timeout(s: &Section<'_>, default: Duration) -> Option<Duration> {
    let Some(given) = s.duration("timeout") else { return Some(default) };
    let timeout = Duration::from_micros(given.value.max(0).unsigned_abs());
    if !TIMEOUTS.contains(&timeout) {
        let shown = model::time::show_duration(given.value);
        s.file().error_at(given.at, format!("`timeout` is {shown}, outside 1s to 1h"), "");
        return None;
    }
    Some(timeout)
}

/// What stands for a value that no alarm of a message has, or that those of a digest do not share.
const NONE: &str = "-";

/// What all alarms of a notice have, else [`NONE`].
fn common<'a>(alarms: &[&'a Alarm], of: impl Fn(&'a Alarm) -> &'a str) -> &'a str {
    let mut values = alarms.iter().map(|a| of(a));
    let first = values.next().unwrap_or_default();
    if first.is_empty() || values.any(|v| v != first) { NONE } else { first }
}

/// The JSON of a notice below a line of what a channel needs beside it (a topic, a key): in the outbox too that is the same at
/// every try, whatever the configuration has become meanwhile.
fn below(line: &str, json: &str) -> Vec<u8> {
    format!("{line}\n{json}").into_bytes()
}

/// Takes both apart again.
fn apart(body: &[u8]) -> Result<(&str, &[u8]), SendError> {
    let line = body.iter().position(|b| *b == b'\n').map(|end| (&body[..end], &body[end + 1..]));
    let read = line.and_then(|(line, json)| Some((std::str::from_utf8(line).ok()?, json)));
    // A receiver that was of another kind when this was written.
    read.ok_or_else(|| SendError::Refused("the message was written for another kind of receiver".to_owned()))
}
