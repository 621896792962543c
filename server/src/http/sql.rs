//! `POST /api/v1/sql`: the body is SQL, the answer's form follows `Accept`.

use super::{App, Failure, Who};
use ::storage::output::{Format, OutputError, write};
use ::storage::{QueryError, QueryStream};
use axum::Extension;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Answers a query.
pub async fn ask(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    sql: String,
) -> Result<Response, Failure> {
    if !who.sees_all() {
        let message = "SQL sees all sites; this token is limited to some".to_owned();
        return Err(Failure(StatusCode::FORBIDDEN, message));
    }
    let accept = headers.get(header::ACCEPT).and_then(|h| h.to_str().ok()).unwrap_or("application/json");
    let format = Format::from_accept(accept)
        .ok_or_else(|| Failure(StatusCode::NOT_ACCEPTABLE, format!("no answer as `{accept}`")))?;
    let rows = app.storage()?.query(&sql, app.config.storage.limits).await.map_err(failure)?;
    answer(rows, format).await
}

/// A whole answer: it is bounded by the limits of the query, and an error in its middle must not look like its end.
pub(super) async fn answer(rows: QueryStream, format: Format) -> Result<Response, Failure> {
    let mut bytes = Vec::new();
    write(rows, format, &mut bytes).await.map_err(|e| match e {
        OutputError::Query(e) => failure(e),
        OutputError::Write(e) => Failure::internal(e),
    })?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], Body::from(bytes)).into_response())
}

fn failure(e: QueryError) -> Failure {
    match e {
        QueryError::Storage(e) => Failure::internal(e),
        wrong => Failure::bad(wrong.to_string()),
    }
}
