//! Sites, people, sources.

use super::{App, Failure, Who};
use crate::people::Count;
use crate::sources::SourceState;
use ::alerts::AlarmFilter;
use axum::extract::{Path, State as Extract};
use axum::{Extension, Json};
use model::people::Position;
use model::time::rfc3339;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `GET /api/v1/sites`.
pub async fn list(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
) -> Result<Json<Vec<Value>>, Failure> {
    let alarms = app.alarms.list(&AlarmFilter { limit: usize::MAX, ..AlarmFilter::default() }).await;
    let mut active: BTreeMap<String, usize> = BTreeMap::new();
    for alarm in alarms.map_err(Failure::internal)? {
        *active.entry(alarm.site).or_default() += 1;
    }
    let people: BTreeMap<String, Count> =
        app.live.people(|p| p.counts().into_iter().map(|c| (c.site.clone(), c)).collect());
    let (catalog, last) = app.live.all();
    let mut newest: Vec<Option<i64>> = vec![None; catalog.sites().len()];
    let mut points = vec![0usize; catalog.sites().len()];
    for (ix, last) in last.iter().enumerate() {
        let site = catalog.site_ix_of(ix as u32) as usize;
        points[site] += 1;
        newest[site] = newest[site].max(last.map(|l| l.time));
    }
    let rows = catalog.sites().iter().enumerate().filter(|(_, site)| who.sees(site)).map(|(i, site)| {
        let count = people.get(&site.code);
        json!({
            "site": site.code, "name": site.name, "kind": site.kind, "region": site.region, "state": site.state,
            "lon": site.lon, "lat": site.lat, "points": points[i], "alarms": active.get(&site.code).unwrap_or(&0),
            "last": newest[i].map(rfc3339), "people": count.map(shown),
        })
    });
    Ok(Json(rows.collect()))
}

fn shown(count: &Count) -> Value {
    let Count { site, below, uncertain, as_of, areas } = count;
    json!({ "site": site, "below": below, "uncertain": uncertain, "as_of": rfc3339(*as_of), "areas": areas })
}

/// `GET /api/v1/people`.
pub async fn people(Extract(app): Extract<App>, Extension(who): Extension<Who>) -> Json<Vec<Value>> {
    let catalog = app.sources.context().catalog();
    let counts = app.live.people(crate::people::People::counts);
    Json(counts.iter().filter(|c| who.sees_code(&catalog, &c.site)).map(shown).collect())
}

/// `GET /api/v1/people/{site}`.
pub async fn cards(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Path(site): Path<String>,
) -> Result<Json<Vec<Value>>, Failure> {
    if !who.sees_code(&app.sources.context().catalog(), &site) {
        return Err(Failure::missing(format!("there is no site `{site}`")));
    }
    let card = |p: &Position| {
        json!({
            "card": p.card, "name": p.name, "area": p.area, "station": p.station, "time": rfc3339(p.time),
            "presence": p.presence, "entered": p.entered.map(rfc3339),
        })
    };
    Ok(Json(app.live.people(|people| people.below(&site).into_iter().map(card).collect())))
}

/// `GET /api/v1/sources`.
pub async fn sources(Extract(app): Extract<App>) -> Json<Vec<SourceState>> {
    Json(app.sources.states())
}
