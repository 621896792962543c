//! Alarms: list, one, its history, and what people do with them. Actions carry ids and answer per id; what the caller may not see is
//! not there.

use super::{App, Failure, Who};
use crate::acting::Asked;
use ::alerts::journal::Entry;
use ::alerts::{Act, AlarmFilter, OnShelf, Outcome};
use axum::extract::{Path, Query, State as Extract};
use axum::http::Uri;
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

/// `GET /api/v1/alarms/{id}/history`.
pub async fn history(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Vec<Entry>>, Failure> {
    let Json(alarm) = one(Extract(app.clone()), Extension(who), Path(id)).await?;
    app.alarms.history(&alarm.id).await.map(Json).map_err(Failure::internal)
}

/// `GET /api/v1/shelved`.
pub async fn shelved(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
) -> Result<Json<Vec<OnShelf>>, Failure> {
    let mut shelved = app.alarms.shelved().await.map_err(Failure::internal)?;
    let catalog = app.sources.context().catalog();
    shelved.retain(|s| who.sees_code(&catalog, &s.site));
    Ok(Json(shelved))
}

/// Body of an action: the ids, the newest event that was seen, and what the action asks for.
#[derive(Deserialize)]
pub struct Action {
    ids: Vec<String>,
    seen_seq: Option<i64>,
    #[serde(flatten)]
    asked: Asked,
}

/// Most alarms of one action.
const IDS_MAX: usize = 1000;

/// `POST /api/v1/alarms/{action}`: acknowledges, shelves, disposes, ...; an action that needs a reason is refused without one.
pub async fn act(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    uri: Uri,
    Json(action): Json<Action>,
) -> Result<Json<Value>, Failure> {
    let now = app.clock.now();
    let Action { ids, seen_seq, asked } = action;
    let word = uri.path().rsplit('/').next().unwrap_or_default();
    let what = asked.what(word, app.config.alerts.shelve_max, now).map_err(Failure::bad)?;
    let (ids, hidden) = visible(&app, &who, &ids).await?;
    let act = Act { what, by: who.name.clone(), note: asked.note, seen_seq };
    answer(app.alarms.act(&ids, &act, now).await.map_err(Failure::internal)?, hidden)
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
            Some(alarm) if who.sees_code(&catalog, &alarm.site) => seen.push(alarm.id),
            _ => hidden.push(id.clone()),
        }
    }
    Ok((seen, hidden))
}

fn answer(done: Vec<Outcome>, hidden: Vec<String>) -> Result<Json<Value>, Failure> {
    let mut results: Vec<Value> = done.into_iter().map(|d| json!(d)).collect();
    results.extend(hidden.into_iter().map(|id| json!({ "id": id, "outcome": "gone" })));
    Ok(Json(json!({ "results": results })))
}
