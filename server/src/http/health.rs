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

/// Rules farther behind than this are not ready: alarms would come late.
const LAG_MAX: model::Micros = 10 * model::time::SECOND;

/// `GET /health/ready`.
pub async fn ready(Extract(app): Extract<App>) -> Response {
    let lag = (0..app.log.partitions()).map(|p| app.lag.of(p)).max().unwrap_or(0);
    let judged = app.log.partitions() > 0 && lag < LAG_MAX;
    let log = app.log.bounds(model::Stream::Readings, 0).await.is_ok();
    let alarms = app.alarms.position(0).await.is_ok();
    let parts = json!({
        "log": log, "rules": judged, "alarms": alarms, "storage": !app.broken.is_cancelled(),
        "lag_s": if lag == i64::MAX { Value::Null } else { json!(lag as f64 / 1e6) },
    });
    let ready = log && judged && alarms && !app.broken.is_cancelled();
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
    match app.active.reload(&app.config) {
        Ok(()) => Ok(Json(json!({ "reloaded": true }))),
        Err(problems) => Err(Failure::bad(format!("nothing has changed:\n{problems}"))),
    }
}
