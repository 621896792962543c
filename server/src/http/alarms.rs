//! Alarms: list, one, acknowledge, clear. Actions carry ids and answer per id; what the caller may not see is not there.

use super::{App, Failure, Who};
use ::alerts::AlarmFilter;
use axum::extract::{Path, Query, State as Extract};
use axum::{Extension, Json};
use model::Alarm;
use serde::Deserialize;
use serde_json::{Value, json};

/// Query of the list.
#[derive(Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    all: bool,
    site: Option<String>,
    region: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// Rows a list gives unless asked otherwise.
const LIMIT: usize = 1000;

/// `GET /api/v1/alarms`.
pub async fn list(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<Alarm>>, Failure> {
    let filter = AlarmFilter {
        all: query.all,
        site: query.site,
        region: query.region,
        after: query.after,
        limit: query.limit.unwrap_or(LIMIT),
        ..AlarmFilter::default()
    };
    let mut alarms = app.alarms.list(&filter).await.map_err(Failure::internal)?;
    let catalog = app.sources.context().catalog();
    alarms.retain(|a| who.sees_code(&catalog, &a.site));
    Ok(Json(alarms))
}

/// `GET /api/v1/alarms/{id}`.
pub async fn one(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Alarm>, Failure> {
    let alarm = app.alarms.get(&id).await.map_err(Failure::internal)?;
    let catalog = app.sources.context().catalog();
    let alarm = alarm.filter(|a| who.sees_code(&catalog, &a.site));
    alarm.map(Json).ok_or_else(|| Failure::missing(format!("there is no alarm `{id}`")))
}

/// Body of an action.
#[derive(Deserialize)]
pub struct Action {
    ids: Vec<String>,
    #[serde(default)]
    note: String,
    seen_seq: Option<i64>,
}

/// Most alarms of one action.
const IDS_MAX: usize = 1000;

/// `POST /api/v1/alarms/ack`.
pub async fn acknowledge(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Json(action): Json<Action>,
) -> Result<Json<Value>, Failure> {
    let (ids, hidden) = visible(&app, &who, &action.ids).await?;
    let now = app.clock.now();
    let done = app.alarms.acknowledge(&ids, &who.name, &action.note, action.seen_seq, now).await;
    answer(done.map_err(Failure::internal)?, hidden)
}

/// `POST /api/v1/alarms/clear`.
pub async fn clear(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Json(action): Json<Action>,
) -> Result<Json<Value>, Failure> {
    let (ids, hidden) = visible(&app, &who, &action.ids).await?;
    let done = app.alarms.clear(&ids, &who.name, &action.note, app.clock.now()).await;
    answer(done.map_err(Failure::internal)?, hidden)
}

/// The ids the caller may act on, and those that are not there for it.
async fn visible(app: &App, who: &Who, ids: &[String]) -> Result<(Vec<String>, Vec<String>), Failure> {
    if ids.is_empty() || ids.len() > IDS_MAX {
        return Err(Failure::bad(format!("`ids` holds {}, from 1 to {IDS_MAX} are taken", ids.len())));
    }
    let catalog = app.sources.context().catalog();
    let (mut seen, mut hidden) = (Vec::new(), Vec::new());
    for id in ids {
        match app.alarms.get(id).await.map_err(Failure::internal)? {
            Some(alarm) if who.sees_code(&catalog, &alarm.site) => seen.push(id.clone()),
            _ => hidden.push(id.clone()),
        }
    }
    Ok((seen, hidden))
}

fn answer(done: Vec<::alerts::AckOutcome>, hidden: Vec<String>) -> Result<Json<Value>, Failure> {
    let mut results: Vec<Value> = done.into_iter().map(|d| json!(d)).collect();
    results.extend(hidden.into_iter().map(|id| json!({ "id": id, "outcome": "gone" })));
    Ok(Json(json!({ "results": results })))
}
