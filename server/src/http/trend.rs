//! The trend of one point in buckets: minimum and maximum are kept, so a peak cannot vanish.

use super::points::{SpanQuery, quoted};
use super::{App, Failure, Who};
use ::storage::Limits;
use ::storage::output::Format;
use axum::Extension;
use axum::extract::{Query, State as Extract};
use axum::response::Response;
use model::time::rfc3339;

/// Buckets of a trend unless asked otherwise, and at most.
const BUCKETS: (i64, i64) = (600, 5000);

/// `GET /api/v1/trend`.
pub async fn trend(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Query(query): Query<SpanQuery>,
) -> Result<Response, Failure> {
    query.check(&app, &who)?;
    let (from, to) = query.span(app.clock.now())?;
    let buckets = query.px.unwrap_or(BUCKETS.0).clamp(1, BUCKETS.1);
    let width = ((to - from) / buckets).max(1);
    // Bad values are counted, never averaged: `n` is the number of readings with a value that is fit to be shown.
    let sql = format!(
        "SELECT min(time) AS t, min(v) AS min, max(v) AS max, avg(v) AS avg, count(v) AS n, count(*) - count(v) AS bad, \
         bit_or(status) AS status FROM (SELECT time, status, CASE WHEN (status & {bad}) = 0 THEN value END AS v, \
         (CAST(time AS BIGINT) - {from}) / {width} AS bucket FROM readings WHERE site = {site} AND point = {point} AND \
         time >= '{from_text}' AND time <= '{to_text}') GROUP BY bucket ORDER BY t",
        bad = model::status::BAD | model::status::MISSING,
        site = quoted(&query.site),
        point = quoted(&query.point),
        from_text = rfc3339(from),
        to_text = rfc3339(to)
    );
    let stream = app.storage()?.query(&sql, Limits::default()).await.map_err(Failure::internal)?;
    super::sql::answer(stream, Format::Json).await
}
