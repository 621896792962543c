//! Webhook: POST of the JSON in the outbox, with `Idempotency-Key` and `X-Firedamp-Signature: sha256=<hex HMAC-SHA256 of the body>`.
//! 2xx is delivered. 400, 410, 413, 415 and 422 say that this message will never be taken; everything else is tried again, a wrong
//! token and a redirect too: those are mended at the receiver or in the configuration, and then nothing must be lost.

use super::{Message, Notice, Notifier, SendError, Settings, read_ca};
use async_trait::async_trait;
use hmac::{Hmac, Mac};
use model::keys::{KeyDoc, key};
use model::secret::{Secret, read_secret};
use model::toml_file::Section;
use reqwest::StatusCode;
use sha2::Sha256;
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
    key("timeout", "duration", "\"10s\"", "longest time of one try"),
];

/// Longest part of an answer that is read: the rest is of no use.
const ANSWER_MAX: usize = 16 << 10;
/// Characters of an answer that are shown.
const SHOWN_MAX: usize = 200;

/// Reads the settings.
pub fn read(s: &Section<'_>) -> Option<Arc<dyn Settings>> {
    let url = s.need_str("url", "\"http://127.0.0.1:9000/alarms\"");
    let secret = s.has("secret").then(|| read_secret(s, "secret"));
    let timeout = s
        .duration("timeout")
        .map_or(Duration::from_secs(10), |d| Duration::from_micros(d.value.max(0) as u64));
    let ca = read_ca(s);
    let url = url?;
    let error = |message: String, help: &str| s.file().error_at(url.at, message, help);
    match reqwest::Url::parse(url.value) {
        Ok(u) if !u.username().is_empty() || u.password().is_some() => {
            error(
                "`url` holds a user or a password".to_owned(),
                "secrets stand in the environment or in a file; sign with `secret`",
            );
            return None;
        }
        Ok(u) if matches!(u.scheme(), "http" | "https") && u.has_host() => {}
        _ => {
            error(format!("`{}` is no http or https address", url.value), "");
            return None;
        }
    }
    let secret = match secret {
        None => None,
        Some(read) => Some(read?),
    };
    Some(Arc::new(WebhookSettings { url: url.value.to_owned(), secret, ca: ca?, timeout }))
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
        let ca = settings.ca.as_deref().map_or_else(|| Ok(Vec::new()), reqwest::Certificate::from_pem_bundle);
        let client = reqwest::Client::builder()
            .tls_certs_merge(ca.map_err(|e| cause(&e))?)
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(super::PARALLEL)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { settings, client })
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
            .post(&self.settings.url)
            .header("content-type", "application/json")
            .header("idempotency-key", &message.key)
            .body(message.body.clone());
        if let Some(secret) = &self.settings.secret {
            request = request.header("x-firedamp-signature", signature(secret, &message.body));
        }
        let answer = request.send().await.map_err(|e| SendError::Retry(cause(&e)))?;
        judge(answer.status(), answer).await
    }
}

async fn judge(status: StatusCode, answer: reqwest::Response) -> Result<(), SendError> {
    let target = answer.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
    let said = read_some(answer).await;
    if status.is_success() {
        return Ok(());
    }
    let mut text = format!("the receiver answered {status}");
    if let Some(target) = target.filter(|_| status.is_redirection()) {
        text = format!("{text} to {target}, which is not followed: write that address into `url`");
    }
    if !said.is_empty() {
        text = format!("{text}: {said}");
    }
    let never = matches!(status.as_u16(), 400 | 410 | 413 | 415 | 422);
    Err(if never { SendError::Refused(text) } else { SendError::Retry(text) })
}

/// The beginning of an answer as text. It is read so that the connection can be used again; one that does not end is left.
async fn read_some(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(ANSWER_MAX - bytes.len())]),
            // The status has come, and it counts.
            Ok(None) | Err(_) => break,
        }
    }
    let text: String = String::from_utf8_lossy(&bytes).chars().take(SHOWN_MAX).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
