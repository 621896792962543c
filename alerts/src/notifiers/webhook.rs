//! Webhook: POST of the JSON in the outbox, with `Idempotency-Key` and `X-Firedamp-Signature: sha256=<hex HMAC-SHA256 of the body>`.
//! What its answer means stands in `http.rs`.

use super::{Message, Notice, Notifier, SendError, Settings, http, read_timeout};
use async_trait::async_trait;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use model::keys::{KeyDoc, key};
use model::pem::read_certificates;
use model::secret::{Secret, read_secret};
use model::toml_file::Section;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a webhook.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Where to POST.
    pub url: String,
    /// Key of the signature; none: unsigned.
    pub secret: Option<Secret>,
    /// Certificates trusted beside those of the machine, PEM.
    pub ca: Option<Vec<u8>>,
    /// Longest time of one try.
    pub timeout: Duration,
}

/// Keys of a webhook.
pub const KEYS: &[KeyDoc] = &[
    key("url", "text", "-", "where the JSON is POSTed"),
    key(
        "secret",
        "{ env } or { file }",
        "",
        "key of the signature in X-Firedamp-Signature; unsigned when absent",
    ),
    key("ca", "text", "", "file of certificates in PEM that are trusted beside those of the machine"),
    key("timeout", "duration", "\"10s\"", "longest time of one try, from 1s to 1h"),
];

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<Arc<dyn Settings>> {
    let url = s.need_str("url", "\"http://127.0.0.1:9000/alarms\"");
    let secret = s.has("secret").then(|| read_secret(s, "secret"));
    let timeout = read_timeout(s, Duration::from_secs(10));
    let ca = read_certificates(s, "ca");
    let url = http::read_url(s, &url?, "sign with `secret`")?;
    let secret = match secret {
        None => None,
        Some(read) => Some(read?),
    };
    Some(Arc::new(WebhookSettings { url, secret, ca: ca?, timeout: timeout? }))
}

impl Settings for WebhookSettings {
    fn render(&self, notice: &Notice<'_>) -> Vec<u8> {
        notice.json.as_bytes().to_vec()
    }

    fn connect(&self) -> Result<Arc<dyn Notifier>, String> {
        Ok(Arc::new(Webhook::new(self.clone())?))
    }
}

/// Sends by HTTP.
pub struct Webhook {
    settings: WebhookSettings,
    client: reqwest::Client,
}

impl Webhook {
    /// A client of its own, so that a slow receiver holds no connection of another.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: WebhookSettings) -> Result<Self, String> {
        let client = http::client(settings.ca.as_deref(), settings.timeout)?;
        Ok(Self { settings, client })
    }
}

/// The value of the signature header.
pub fn signature(secret: &Secret, body: &[u8]) -> String {
    let key = Key::new(HMAC_SHA256, secret.expose().as_bytes());
    format!("sha256={}", hex::encode(sign(&key, body)))
}

#[async_trait]
impl Notifier for Webhook {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut request = self
            .client
            .post(&self.settings.url)
            .header("content-type", "application/json")
            .header("idempotency-key", &message.key)
            .body(message.body.clone());
        if let Some(secret) = &self.settings.secret {
            request = request.header("x-firedamp-signature", signature(secret, &message.body));
        }
        http::send(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn signature_is_hmac_sha256() {
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(&Secret::new("Jefe"), b"what do ya want for nothing?"), expected);
    }
}
