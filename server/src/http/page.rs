//! The page at `/`, and the headers every answer carries. The parts are compiled in; nothing is fetched from elsewhere.

use super::Failure;
use axum::extract::{Path, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

const INDEX: &str = include_str!("../../../web/index.html");
const PARTS: [(&str, &str, &str); 3] = [
    ("page.js", "text/javascript", include_str!("../../../web/page.js")),
    ("words.js", "text/javascript", include_str!("../../../web/words.js")),
    ("page.css", "text/css", include_str!("../../../web/page.css")),
];

/// Only what the page itself brings may run or be loaded.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// `GET /`.
pub async fn index() -> Html<&'static str> {
    Html(INDEX)
}

/// `GET /page/{file}`.
pub async fn part(Path(file): Path<String>) -> Result<Response, Failure> {
    let part = PARTS.iter().find(|(name, ..)| *name == file);
    let (_, media, text) = part.ok_or_else(|| Failure::missing(format!("there is no `{file}`")))?;
    Ok(([(header::CONTENT_TYPE, *media)], *text).into_response())
}

/// Security headers of every answer.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}
