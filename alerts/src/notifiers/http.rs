//! What channels over HTTP share: the client, the address as configured, and what an answer means. 2xx is delivered. 400, 410, 413,
//! 415 and 422 say that this message will never be taken; everything else is tried again, a wrong token and a redirect too: those
//! are mended at the receiver or in the configuration, and then nothing must be lost.

use super::{PARALLEL, SendError};
use model::toml_file::{Located, Section};
use reqwest::{Client, RequestBuilder, Response, redirect};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longest part that is read of an answer to what was sent: the rest is of no use.
const ANSWER_MAX: usize = 16 << 10;
/// Longest answer to a question.
const ASKED_MAX: usize = 1 << 20;
/// Characters of an answer that are shown.
const SHOWN_MAX: usize = 200;
/// Longest time of making a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The address, checked; `instead` says how to prove who one is, since that must not stand in it.
pub(super) fn read_url(s: &Section<'_>, url: &Located<&str>, instead: &str) -> Option<String> {
    let error = |message: String, help: &str| s.file().error_at(url.at, message, help);
    match reqwest::Url::parse(url.value) {
        Ok(u) if !u.username().is_empty() || u.password().is_some() => error(
            "`url` holds a user or a password".to_owned(),
            &format!("secrets stand in the environment or in a file; {instead}"),
        ),
        Ok(u) if matches!(u.scheme(), "http" | "https") && u.has_host() => return Some(url.value.to_owned()),
        _ => error(format!("`{}` is no http or https address", url.value), ""),
    }
    None
}

/// A client of its own, so that a slow receiver holds no connection of another.
pub(super) fn client(ca: Option<&[u8]>, timeout: Duration) -> Result<Client, String> {
    let ca = ca.map_or_else(|| Ok(Vec::new()), reqwest::Certificate::from_pem_bundle);
    Client::builder()
        .tls_certs_merge(ca.map_err(|e| cause(&e))?)
        .timeout(timeout)
        .connect_timeout(timeout.min(CONNECT_MAX))
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(PARALLEL)
        .build()
        .map_err(|e| e.to_string())
}

/// Sends a request and says what its answer means.
pub(super) async fn send(request: RequestBuilder) -> Result<(), SendError> {
    exchange(request, ANSWER_MAX).await.map(drop)
}

/// Asks for JSON.
pub(super) async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, SendError> {
    let answer = exchange(request, ASKED_MAX).await?;
    serde_json::from_slice(&answer).map_err(|e| SendError::Retry(format!("the answer cannot be read: {e}")))
}

async fn exchange(request: RequestBuilder, len_max: usize) -> Result<Vec<u8>, SendError> {
    let answer = request.send().await.map_err(|e| SendError::Retry(cause(&e)))?;
    let status = answer.status();
    let target = answer.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
    let said = read_some(answer, len_max).await;
    if status.is_success() {
        return Ok(said);
    }
    let said = show(&said);
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

/// The beginning of an answer. It is read so that the connection can be used again; one that does not end is left.
async fn read_some(mut answer: Response, len_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len_max {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(len_max - bytes.len())]),
            // The status has come, and it counts.
            Ok(None) | Err(_) => break,
        }
    }
    bytes
}

fn show(answer: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(answer).chars().take(SHOWN_MAX).collect();
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
