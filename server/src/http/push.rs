//! Readings pushed by HTTP: answered with success only once they are durable.

use super::{App, BODY_LEN_MAX, Failure, Who};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ingest::push::{Answer, Precision};
use ingest::{Delivery, Refusal, SinkError};
use serde::Deserialize;

/// `POST /api/v1/readings`: a JSON array.
pub async fn json(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Answer>, Failure> {
    limited(&who)?;
    let body = whole(&app, body).await?;
    match app.sources.push().decode_json(&body) {
        Ok(delivery) => accept(&app, delivery).await.map(Json),
        Err(refusal) => {
            let said = refusal.sample.clone();
            app.sources.push().refuse(refusal).await;
            Err(Failure::bad(said))
        }
    }
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
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    limited(&who)?;
    let body = whole(&app, body).await?;
    let precision = query.precision.as_deref().unwrap_or("ns");
    let precision = Precision::of_word(precision)
        .ok_or_else(|| Failure::bad(format!("precision is `{precision}`, expected ns, us, ms or s")))?;
    let answer = accept(&app, app.sources.push().decode_lines(&body, precision)).await?;
    // The good lines are durable; that some were refused is said as InfluxDB says a partial write.
    if answer.refused.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok((StatusCode::BAD_REQUEST, Json(answer)).into_response())
}

/// A token of some sites could push readings of others: it may not push.
fn limited(who: &Who) -> Result<(), Failure> {
    if who.sees_all() {
        return Ok(());
    }
    Err(Failure(StatusCode::FORBIDDEN, "this token is limited to some sites".to_owned()))
}

/// The body, or why it did not come whole; that counts as a refusal.
async fn whole(app: &App, body: Result<Bytes, BytesRejection>) -> Result<Bytes, Failure> {
    let rejection = match body {
        Ok(body) => return Ok(body),
        Err(rejection) => rejection,
    };
    let status = rejection.status();
    let (reason, sample) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ("oversize", format!("the body is larger than {} MiB: send it in parts", BODY_LEN_MAX >> 20))
        }
        _ => ("truncated", rejection.body_text()),
    };
    app.sources.push().refuse(Refusal { reason, count: 1, sample: sample.clone() }).await;
    Err(Failure(status, sample))
}

async fn accept(app: &App, delivery: Delivery) -> Result<Answer, Failure> {
    app.sources.push().accept(delivery).await.map_err(|e| match e {
        SinkError::Retry(why) => Failure::unavailable(format!("not taken now, send it again: {why}")),
        SinkError::Closed => Failure::unavailable("firedamp is stopping, send it again"),
    })
}
