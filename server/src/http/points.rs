//! Points with their last value, and the readings of one point.

use super::{App, Failure, Who};
use ::storage::Limits;
use ::storage::output::Format;
use axum::extract::{Query, State as Extract};
use axum::response::Response;
use axum::{Extension, Json};
use model::time::{self, rfc3339};
use model::{Micros, status};
use serde::Deserialize;
use serde_json::{Value, json};

/// Query of the list.
#[derive(Deserialize)]
pub struct ListQuery {
    site: Option<String>,
    quantity: Option<String>,
    limit: Option<usize>,
}

/// Points a list gives unless asked otherwise.
const LIMIT: usize = 10_000;

/// `GET /api/v1/points`.
pub async fn list(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Query(query): Query<ListQuery>,
) -> Json<Vec<Value>> {
    let (catalog, last) = app.live.all();
    let now = app.clock.now();
    let wanted = |want: &Option<String>, is: &str| want.as_deref().is_none_or(|w| w == is);
    let rows = catalog.points().iter().zip(last).enumerate().filter_map(|(ix, (point, last))| {
        let fits = wanted(&query.site, &point.site) && wanted(&query.quantity, &point.quantity);
        if !fits || !who.sees(catalog.site_of(ix as u32)) {
            return None;
        }
        Some(json!({
            "site": point.site, "point": point.code, "name": point.name, "quantity": point.quantity,
            "unit": point.unit, "place": point.place, "low": point.low, "high": point.high,
            "period_s": point.period.map(|p| p as f64 / 1e6),
            "value": last.map(|l| l.value).filter(|v| v.is_finite()),
            "status": last.map(|l| l.status), "quality": last.map(|l| status::names(l.status)),
            "time": last.map(|l| rfc3339(l.time)), "age_s": last.map(|l| (now - l.received) as f64 / 1e6),
        }))
    });
    Json(rows.take(query.limit.unwrap_or(LIMIT)).collect())
}

/// Query of a history or trend.
#[derive(Deserialize)]
pub struct SpanQuery {
    pub(super) site: String,
    pub(super) point: String,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
    pub(super) px: Option<i64>,
}

impl SpanQuery {
    /// The span asked for, the last hour by default.
    pub(super) fn span(&self, now: Micros) -> Result<(Micros, Micros), Failure> {
        let time = |text: &Option<String>, default| match text {
            Some(text) => time::parse(text).map_err(Failure::bad),
            None => Ok(default),
        };
        let to = time(&self.to, now)?;
        let from = time(&self.from, to - 3600 * time::SECOND)?;
        if from < to { Ok((from, to)) } else { Err(Failure::bad("`from` is not before `to`")) }
    }

    /// Refuses a point the caller may not see.
    pub(super) fn check(&self, app: &App, who: &Who) -> Result<(), Failure> {
        let catalog = app.sources.context().catalog();
        if who.sees_code(&catalog, &self.site) {
            return Ok(());
        }
        Err(Failure::missing(format!("there is no point `{}` of site `{}`", self.point, self.site)))
    }
}

/// A text as SQL writes it.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `GET /api/v1/history`.
pub async fn history(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Query(query): Query<SpanQuery>,
) -> Result<Response, Failure> {
    query.check(&app, &who)?;
    let (from, to) = query.span(app.clock.now())?;
    let limit = query.limit.unwrap_or(LIMIT as u64);
    let sql = format!(
        "SELECT time, value, status FROM readings WHERE site = {} AND point = {} AND time >= '{}' AND time <= '{}' \
         ORDER BY time LIMIT {limit}",
        quoted(&query.site),
        quoted(&query.point),
        rfc3339(from),
        rfc3339(to)
    );
    let stream = app.storage()?.query(&sql, Limits::default()).await.map_err(Failure::internal)?;
    super::sql::answer(stream, Format::Json).await
}
