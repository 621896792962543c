//! `POST /api/v1/sql`: the body is SQL, the answer's form follows `Accept`.

use super::{App, Failure, Who};
use ::storage::{Limits, QueryError, output};
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
    let (format, media) = form(accept)?;
    let sql_limits = &app.config.server.sql;
    let limits = Limits {
        time: sql_limits.time,
        memory: usize::try_from(sql_limits.memory).unwrap_or(usize::MAX),
        rows: sql_limits.rows,
        ..Limits::default()
    };
    let stream = app.storage()?.query(&sql, limits).await.map_err(failure)?;
    let bytes = output::to_bytes(stream, format).await.map_err(failure)?;
    Ok(([(header::CONTENT_TYPE, media)], Body::from(bytes)).into_response())
}

fn form(accept: &str) -> Result<(output::Format, &'static str), Failure> {
    const FORMS: [(&str, output::Format, &str); 6] = [
        ("text/csv", output::Format::Csv, "text/csv"),
        ("application/x-ndjson", output::Format::Jsonl, "application/x-ndjson"),
        ("application/vnd.apache.arrow.stream", output::Format::Arrow, "application/vnd.apache.arrow.stream"),
        ("application/vnd.apache.parquet", output::Format::Parquet, "application/vnd.apache.parquet"),
        ("application/json", output::Format::Json, "application/json"),
        ("*/*", output::Format::Json, "application/json"),
    ];
    let found = FORMS.iter().find(|(name, ..)| accept.contains(name));
    let found = found.ok_or_else(|| Failure(StatusCode::NOT_ACCEPTABLE, format!("no answer as `{accept}`")))?;
    Ok((found.1, found.2))
}

fn failure(e: QueryError) -> Failure {
    match e {
        QueryError::Internal(e) => Failure::internal(e),
        wrong => Failure::bad(wrong.to_string()),
    }
}
