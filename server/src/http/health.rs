//! Health, metrics, balance, reload.

use super::{App, Failure, Who};
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use prometheus::{Encoder, TextEncoder};
use serde_json::{Value, json};

/// `GET /health/live`.
pub async fn live() -> &'static str {
    "ok\n"
}

/// `GET /health/ready`.
pub async fn ready(Extract(app): Extract<App>) -> Response {
    let (ready, parts) = app.readiness.look().await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "parts": parts }))).into_response()
}

/// `GET /metrics`.
pub async fn metrics(Extract(app): Extract<App>) -> Result<Response, Failure> {
    let mut out = Vec::new();
    TextEncoder::new().encode(&app.registry.gather(), &mut out).map_err(Failure::internal)?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], out).into_response())
}

/// `GET /api/v1/balance`.
pub async fn balance(Extract(app): Extract<App>) -> Result<Json<crate::balance::Balance>, Failure> {
    let balance = crate::balance::of(app.storage()?, &app.log).await;
    balance.map(Json).map_err(|e| Failure::internal(format!("{e:#}")))
}

/// `POST /api/v1/reload`.
pub async fn reload(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
) -> Result<Json<Value>, Failure> {
    tracing::info!(by = who.name, "reload asked for");
    match app.active.reload(&app.config, true).await {
        Ok(()) => Ok(Json(json!({ "reloaded": true }))),
        Err(problems) => Err(Failure::bad(format!("nothing has changed:\n{problems}"))),
    }
}
