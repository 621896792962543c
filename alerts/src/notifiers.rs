//! Ways to tell. A notifier is one file and one line in [`kinds`]; all behave as one to the dispatcher: the bytes of the outbox go
//! out as they are, with the key, and the answer says delivered, try again, or never.

use crate::OutboxRow;
use crate::receiver::Receiver;
use async_trait::async_trait;
use model::keys::KeyDoc;
use model::toml_file::Section;
use std::sync::Arc;

pub mod email;
pub mod webhook;

/// What goes out.
pub type Message = OutboxRow;

/// Why a message was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// Try again later.
    #[error("{0}")]
    Retry(String),
    /// It will never be taken as it is.
    #[error("refused for good: {0}")]
    Refused(String),
}

/// Sends messages to one receiver.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Returns once the receiver has taken the message.
    async fn send(&self, message: &Message) -> Result<(), SendError>;
}

/// Settings of a notifier.
#[derive(Clone, Debug)]
pub enum Options {
    /// HTTP POST.
    Webhook(webhook::WebhookOptions),
    /// SMTP.
    Email(email::EmailOptions),
}

/// A kind of notifier.
pub struct Kind {
    /// Its word in the configuration.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [KeyDoc],
    /// Reads its settings.
    pub read: fn(&Section<'_>) -> Option<Options>,
}

/// All kinds, a line each.
pub fn kinds() -> &'static [Kind] {
    &[
        Kind { name: "webhook", keys: webhook::KEYS, read: |s| webhook::read(s).map(Options::Webhook) },
        Kind { name: "email", keys: email::KEYS, read: |s| email::read(s).map(Options::Email) },
    ]
}

/// The notifier of a receiver.
///
/// # Errors
/// A sentence, when its settings cannot be used.
pub fn connect(receiver: &Receiver) -> Result<Arc<dyn Notifier>, String> {
    Ok(match &receiver.options {
        Options::Webhook(options) => Arc::new(webhook::Webhook::new(options.clone())?),
        Options::Email(options) => Arc::new(email::Email::new(options.clone())?),
    })
}
