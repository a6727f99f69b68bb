//! Keys under which services sign who they are.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use holdfast_ledger::command::{Command, Service};
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Onlooker, Operator};
use crate::app::App;
use crate::error::Fault;
use crate::headers::json;
use crate::openapi::Time;
use crate::router::PathText;
use crate::time::{Rfc3339, rfc3339};
use crate::token::base64url_encode;

/// The public half of a service's key.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceKey)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    key_id: String,
    /// `payments` or `notifications`.
    service: &'static str,
    /// Ed25519, base64url.
    public_key: String,
    #[schema(value_type = Time)]
    registered_at: Rfc3339,
}

/// `GET /api/operator/service-keys`: the public halves of all services' keys. They are registered on the operator listener.
#[utoipa::path(
    get, path = "/api/operator/service-keys", tag = "operators", security(("session" = ["operator-read"])),
    responses((status = 200, description = "All of them", body = Vec<KeyView>))
)]
pub async fn list(State(app): State<App>, _: Onlooker) -> Result<Response, Fault> {
    let seen = app.read(Consistency::Linearizable, query::service_keys).await?;
    let view = |(key_id, key): (String, holdfast_ledger::entities::ServiceKey)| KeyView {
        key_id,
        service: match key.service {
            Service::Payments => "payments",
            Service::Notifications => "notifications",
        },
        public_key: base64url_encode(&key.public_key),
        registered_at: rfc3339(key.registered_ms),
    };
    let views: Vec<_> = seen.value.into_iter().map(view).collect();
    Ok(json(StatusCode::OK, &views, seen.index))
}

/// `DELETE /api/operator/service-keys/:key`: whoever signs with it is nobody from now on.
#[utoipa::path(
    delete, path = "/api/operator/service-keys/{key}", tag = "operators", security(("session" = ["operator-admin"])),
    responses((status = 204, description = "Revoked"))
)]
pub async fn revoke(
    State(app): State<App>,
    Operator(caller): Operator,
    PathText(key_id): PathText,
) -> Result<Response, Fault> {
    app.propose(caller.actor(), None, Command::RevokeServiceKey { key_id }).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}
