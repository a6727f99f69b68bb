//! Whether this process is alive, whether it may be sent requests, and which build it is.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

#[derive(Serialize, ToSchema)]
struct Health {
    status: &'static str,
}

/// `GET /livez`: the process answers. Needs no leader.
#[utoipa::path(get, path = "/livez", tag = "cluster", responses((status = 200, description = "Done", body = Health)))]
pub async fn live() -> Response {
    axum::Json(Health { status: "ok" }).into_response()
}

/// `GET /readyz`: a leader is known, this node has caught up, its storage is fine and it is not stopping.
#[utoipa::path(
    get, path = "/readyz", tag = "cluster",
    responses(
        (status = 200, description = "Done", body = Health),
        (status = 503, description = "Not ready", body = Health),
    )
)]
pub async fn ready(State(app): State<App>) -> Response {
    if app.node.status().ready {
        axum::Json(Health { status: "ready" }).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, axum::Json(Health { status: "not ready" })).into_response()
    }
}

#[derive(Serialize, ToSchema)]
struct Version {
    name: &'static str,
    version: &'static str,
}

/// `GET /version`: which build this is.
#[utoipa::path(
    get, path = "/version", tag = "cluster",
    responses((status = 200, description = "Done", body = Version))
)]
pub async fn version() -> Response {
    axum::Json(Version { name: "holdfast", version: env!("CARGO_PKG_VERSION") }).into_response()
}
