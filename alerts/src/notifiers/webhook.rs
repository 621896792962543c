//! Webhook: POST of the JSON in the outbox, with `Idempotency-Key` and `X-Firedamp-Signature: sha256=<hex HMAC-SHA256 of the body>`.
//! 2xx is delivered. 400, 410, 413 and 422 say that this message will never be taken; everything else is tried again.

use super::{Message, Notifier, SendError};
use async_trait::async_trait;
use hmac::{Hmac, Mac};
use model::keys::{KeyDoc, key};
use model::secret::{Secret, read_secret};
use model::toml_file::Section;
use sha2::Sha256;
use std::time::Duration;

/// Settings of a webhook.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Where to POST.
    pub url: String,
    /// Key of the signature; none: unsigned.
    pub secret: Option<Secret>,
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
    key("timeout", "duration", "\"10s\"", "longest time of one try"),
];

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<WebhookOptions> {
    let url = s.need_str("url", "\"http://127.0.0.1:9000/alarms\"");
    let secret = s.has("secret").then(|| read_secret(s, "secret"));
    let timeout =
        s.duration("timeout").map_or(Duration::from_secs(10), |d| Duration::from_micros(d.value as u64));
    let url = url?;
    if reqwest::Url::parse(url.value).is_ok_and(|u| matches!(u.scheme(), "http" | "https")) {
        let secret = match secret {
            None => None,
            Some(read) => Some(read?),
        };
        return Some(WebhookOptions { url: url.value.to_owned(), secret, timeout });
    }
    s.file().error_at(url.at, format!("`{}` is no http or https address", url.value), "");
    None
}

/// Sends by HTTP.
pub struct Webhook {
    options: WebhookOptions,
    client: reqwest::Client,
}

impl Webhook {
    /// A client of its own, so that a slow receiver holds no connection of another.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(options: WebhookOptions) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .timeout(options.timeout)
            .connect_timeout(options.timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(2)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { options, client })
    }
}

/// The value of the signature header.
pub fn signature(secret: &Secret, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[async_trait]
impl Notifier for Webhook {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut request = self
            .client
            .post(&self.options.url)
            .header("content-type", "application/json")
            .header("idempotency-key", &message.key)
            .body(message.body.clone());
        if let Some(secret) = &self.options.secret {
            request = request.header("x-firedamp-signature", signature(secret, &message.body));
        }
        let answer = request.send().await.map_err(|e| SendError::Retry(cause(&e)))?;
        let status = answer.status();
        match status.as_u16() {
            200..=299 => Ok(()),
            400 | 410 | 413 | 422 => Err(SendError::Refused(format!("the receiver answered {status}"))),
            _ => Err(SendError::Retry(format!("the receiver answered {status}"))),
        }
    }
}

/// The innermost cause: "connection refused" rather than "error sending request".
fn cause(e: &dyn std::error::Error) -> String {
    let mut cause = e;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
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
