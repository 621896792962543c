//! Speaks to the running server, so that commands need not open folders it holds.

use super::Stop;
use crate::config::Config;
use anyhow::{Context, anyhow};
use reqwest::Method;
use std::time::Duration;

/// The API of the server a configuration describes, when one runs there.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client when the server answers; `None` when nobody listens.
    pub async fn find(config: &Config) -> Result<Option<Self>, Stop> {
        let scheme = if config.server.tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}", config.server.listen);
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .build()
            .map_err(|e| anyhow!(e))?;
        let token = std::env::var("FIREDAMP_TOKEN").ok();
        let client = Self { http, base, token };
        match client.http.get(format!("{}/health/live", client.base)).send().await {
            Ok(answer) if answer.status().is_success() => Ok(Some(client)),
            Ok(answer) => Err(anyhow!("{} answers {}, is it firedamp?", client.base, answer.status()).into()),
            Err(e) if e.is_connect() => Ok(None),
            Err(e) => Err(anyhow!(e).context(format!("{} does not answer", client.base)).into()),
        }
    }

    /// One request; a refusal by the server is wrong use, with its own words.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: String,
        media: &str,
    ) -> Result<Vec<u8>, Stop> {
        let mut request =
            self.http.request(method.clone(), format!("{}{path}", self.base)).header("accept", accept);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if method != Method::GET {
            request = request.header("content-type", media).body(body);
        }
        let answer = request.send().await.with_context(|| format!("{}{path}", self.base))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|e| anyhow!(e))?.to_vec();
        if status.is_success() {
            return Ok(bytes);
        }
        let said: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let said = said["error"].as_str().unwrap_or("no reason given");
        let hint = if status.as_u16() == 401 { "; put a token into FIREDAMP_TOKEN" } else { "" };
        if status.is_client_error() {
            Err(Stop::Input(format!("{said}{hint}")))
        } else {
            Err(anyhow!("{status}: {said}").into())
        }
    }

    /// A GET with a JSON answer.
    pub async fn get(&self, path: &str) -> Result<serde_json::Value, Stop> {
        let bytes = self.ask(Method::GET, path, "application/json", String::new(), "").await?;
        serde_json::from_slice(&bytes).map_err(|e| anyhow!(e).into())
    }

    /// A POST of JSON with a JSON answer.
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, Stop> {
        let bytes =
            self.ask(Method::POST, path, "application/json", body.to_string(), "application/json").await?;
        serde_json::from_slice(&bytes).map_err(|e| anyhow!(e).into())
    }
}
