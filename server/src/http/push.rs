//! Readings pushed by HTTP: answered with success only once they are durable.

use super::{App, Failure, Who};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Query, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::Json;
use ingest::{Delivery, SinkError, push};
use serde::Deserialize;
use serde_json::json;

/// `POST /api/v1/readings`: a JSON array.
pub async fn json(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Response, Failure> {
    limited(&who)?;
    let delivery = push::decode_json(app.sources.push(), &body).map_err(Failure::bad)?;
    let answer = counts(&delivery);
    accept(&app, delivery).await?;
    Ok(Json(answer).into_response())
}

/// Query of the line protocol.
#[derive(Deserialize)]
pub struct LinesQuery {
    precision: Option<String>,
}

/// `POST /api/v1/write`: InfluxDB line protocol.
pub async fn lines(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Query(query): Query<LinesQuery>,
    body: Bytes,
) -> Result<Response, Failure> {
    limited(&who)?;
    let precision = query.precision.as_deref().unwrap_or("ns");
    let precision = push::Precision::parse(precision)
        .ok_or_else(|| Failure::bad(format!("precision is `{precision}`, expected ns, us, ms or s")))?;
    let delivery = push::decode_lines(app.sources.push(), &body, precision);
    let answer = counts(&delivery);
    let refused = !delivery.refused.is_empty();
    accept(&app, delivery).await?;
    // The good lines are durable; that some were refused is said as InfluxDB says a partial write.
    if refused { Ok((StatusCode::BAD_REQUEST, Json(answer)).into_response()) } else { Ok(StatusCode::NO_CONTENT.into_response()) }
}

/// A token of some sites could push readings of others: it may not push.
fn limited(who: &Who) -> Result<(), Failure> {
    if who.sees_all() { Ok(()) } else { Err(Failure(StatusCode::FORBIDDEN, "this token is limited to some sites".to_owned())) }
}

fn counts(delivery: &Delivery) -> serde_json::Value {
    let refused: Vec<_> = delivery
        .refused
        .iter()
        .map(|r| json!({ "reason": r.reason, "count": r.count, "first": r.sample }))
        .collect();
    json!({ "accepted": delivery.readings.len(), "unknown": delivery.unknown.len(), "refused": refused })
}

async fn accept(app: &App, delivery: Delivery) -> Result<(), Failure> {
    let context = app.sources.push();
    context.sink.accept(&context.info, delivery).await.map_err(|e| match e {
        SinkError::Retry(why) => Failure::unavailable(format!("not taken now, send it again: {why}")),
        SinkError::Closed => Failure::unavailable("firedamp is stopping, send it again"),
    })
}
