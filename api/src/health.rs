//! Whether this process is alive, whether it may be sent requests, and which build it is.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use crate::app::App;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// `GET /livez`: the process answers. Needs no leader.
pub async fn live() -> Response {
    axum::Json(Health { status: "ok" }).into_response()
}

/// `GET /readyz`: a leader is known, this node has caught up, its storage is fine and it is not stopping.
pub async fn ready(State(app): State<App>) -> Response {
    if app.node.status().ready {
        axum::Json(Health { status: "ready" }).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, axum::Json(Health { status: "not ready" })).into_response()
    }
}

/// `GET /version`
pub async fn version() -> Response {
    #[derive(Serialize)]
    struct Version {
        name: &'static str,
        version: &'static str,
    }
    axum::Json(Version { name: "holdfast", version: env!("CARGO_PKG_VERSION") }).into_response()
}
