//! Unknown points: listed with their last value; registered by one request, which releases their readings into history.

use super::{App, Failure, Who};
use axum::extract::State as Extract;
use axum::{Extension, Json};
use serde_json::{Value, json};

/// `GET /api/v1/unknown`.
pub async fn list(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
) -> Result<Json<Value>, Failure> {
    let unknown = app.storage()?.quarantined(app.config.storage.limits).await.map_err(Failure::internal)?;
    let catalog = app.sources.context().catalog();
    let rows: Vec<_> = unknown.into_iter().filter(|u| who.sees_code(&catalog, &u.site)).collect();
    Ok(Json(json!(rows)))
}

/// `POST /api/v1/unknown/register`.
pub async fn register(
    Extract(app): Extract<App>,
    Extension(who): Extension<Who>,
    Json(point): Json<crate::registration::NewPoint>,
) -> Result<Json<Value>, Failure> {
    if !who.sees_all() {
        return Err(Failure(
            axum::http::StatusCode::FORBIDDEN,
            "this token is limited to some sites".to_owned(),
        ));
    }
    tracing::info!(by = who.name, site = point.site, point = point.point, "point registered");
    let released = app.registrar()?.register(std::slice::from_ref(&point)).await;
    let released = released.map_err(|e| Failure::bad(format!("{e:#}")))?;
    Ok(Json(json!({ "registered": true, "released": released })))
}
