//! Which other sites' scripts may read our answers: those that the operator has listed, and no others (the Fetch
//! standard's CORS protocol). A listed origin is trusted with the cookie; there is no `*`.

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::app::App;

/// Answer headers that a script of a listed origin may read.
const EXPOSED: &str = "ETag, Link, Location, Log-Index, Idempotency-Replayed, RateLimit, RateLimit-Policy, Retry-After, \
                       X-Next-Cursor, X-Request-Id";
/// Request headers that it may send.
const ALLOWED: &str = "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, \
                       Min-Index, X-Request-Id";
const METHODS: &str = "GET, POST, PUT, DELETE";
/// How long a browser may remember the answer to its question, in seconds.
const MAX_AGE_S: &str = "600";

/// The origin of a request, if it is listed. Pages are for browsers that come to us; only the API is for other sites.
pub fn listed_origin(app: &App, parts: &Parts) -> Option<HeaderValue> {
    let path = parts.uri.path();
    let origin = parts.headers.get(header::ORIGIN)?;
    let is_open = path.starts_with("/api/") || path.starts_with("/.well-known/");
    let is_listed = || app.settings.cors_origins.iter().any(|listed| origin.as_bytes() == listed.as_bytes());
    (is_open && is_listed()).then(|| origin.clone())
}

/// The answer to a browser that asks whether it may send what it is about to send.
pub fn preflight(parts: &Parts) -> Option<Response> {
    let asks = parts.method == Method::OPTIONS && parts.headers.contains_key("access-control-request-method");
    asks.then(|| {
        let headers: [(HeaderName, HeaderValue); 3] = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS)),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED)),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S)),
        ];
        (StatusCode::NO_CONTENT, headers).into_response()
    })
}

/// Lets `origin` read an answer.
pub fn allow(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}
