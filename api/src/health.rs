//! Whether this process is alive, whether it may be sent requests, and which build it is.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use holdfast_raft::node::Node;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

#[derive(Serialize, ToSchema)]
struct Health {
    status: &'static str,
    /// What the answer rests on; only with `verbose`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

/// One thing that a node needs to serve.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthCheck)]
struct Check {
    name: &'static str,
    ok: bool,
    /// What it means.
    about: &'static str,
}

/// `GET /livez`: the process answers. Needs no leader.
#[utoipa::path(get, path = "/livez", tag = "cluster", responses((status = 200, description = "Done", body = Health)))]
pub async fn live() -> Response {
    axum::Json(Health { status: "ok", checks: Vec::new() }).into_response()
}

/// `GET /readyz`: a leader is known, this node has caught up, its storage is fine and it is not stopping. With `?verbose`
/// the answer says which of these hold.
#[utoipa::path(
    get, path = "/readyz", tag = "cluster",
    params(("verbose" = Option<bool>, Query, description = "Say what the answer rests on")),
    responses(
        (status = 200, description = "Done", body = Health),
        (status = 503, description = "Not ready", body = Health),
    )
)]
pub async fn ready(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    // Whoever is asked here serves.
    readiness(&app.node, true, query.as_deref())
}

/// The answer of `/readyz` for a node; `serves`: whether its public listener takes requests; `query` may ask for `verbose`.
pub fn readiness(node: &Node, serves: bool, query: Option<&str>) -> Response {
    let has = node.readiness();
    let verbose =
        query.unwrap_or_default().split('&').any(|part| matches!(part, "verbose" | "verbose=" | "verbose=true"));
    let checks = [
        Check { name: "running", ok: has.running, about: "this node is not stopping" },
        Check { name: "storage", ok: has.storage, about: "no fault of the storage, no broken invariant" },
        Check { name: "leader", ok: has.leader, about: "a leader was heard of lately" },
        Check { name: "caught_up", ok: has.caught_up, about: "nearly all that is committed is applied here" },
        Check {
            name: "serving",
            ok: serves,
            about: "the cluster knows this node's key, and its public listener serves",
        },
    ];
    let checks = if verbose { Vec::from(checks) } else { Vec::new() };
    match has.is_ready() && serves {
        true => axum::Json(Health { status: "ready", checks }).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, axum::Json(Health { status: "not ready", checks })).into_response(),
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
