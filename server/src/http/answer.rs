//! Answers that are not what was asked for: one shape, with what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A failure with its status and a sentence.
#[derive(Debug)]
pub struct Failure(pub StatusCode, pub String);

impl Failure {
    /// The request is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    /// There is no such thing, or the caller may not know of it.
    pub fn missing(message: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, message.into())
    }

    /// Not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, message.into())
    }

    /// Something of ours failed.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        tracing::error!("{message}");
        Self(StatusCode::INTERNAL_SERVER_ERROR, message.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

/// Any path that is no route.
pub async fn not_found() -> Failure {
    Failure::missing("there is no such path; /api/v1/openapi.json lists them")
}
