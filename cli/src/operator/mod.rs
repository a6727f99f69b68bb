//! The operator's listener: joining, the cluster's status, its policy. And the joining node's side of the same talk.
//!
//! It is apart from the public listener because who reaches it may change the cluster: it has no accounts, so it listens on
//! loopback or on a network that the operator trusts (`--insecure`).
//!
//! What this deliberately does not do: decide. Plans and refusals are the leader's, and joined nodes become voters by its rules.

mod backup;
mod door;
mod events;
mod inspect;
mod join;
mod members;
mod noted;
mod profile;
mod service_keys;
mod tokens;
mod version;
mod views;
mod waiting;

pub use backup::{HeldView, backup_routes};
pub use door::let_in;
pub use events::relay_routes;
pub use inspect::{AuditPage, ScanView};
pub use join::ask_to_join;
pub use members::Asked;
pub use service_keys::service_named;
pub use tokens::{JoinTokens, TokenView};
pub use version::Raise;
pub use views::{Join, Joined, MemberView, NewServiceKey, StatusView, parse_hex, place};
pub use waiting::{Order, WaitingView, wait};

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::entities::{Operation, Policy};
use holdfast_raft::node::{Consistency, JoinRequest, ManageError, Node, Unavailable};
use holdfast_raft::plan::Refusal;
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::sandbox_server;
use serde_json::{Value, json};

use crate::observe::Serving;

use noted::By;

/// The longest body that the operator's listener reads, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// A refusal: status and one line.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Refused {
        Refused(rejection.status(), rejection.body_text())
    }
}

impl From<Unavailable> for Refused {
    fn from(error: Unavailable) -> Refused {
        Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<ManageError> for Refused {
    fn from(error: ManageError) -> Refused {
        let status = match &error {
            // This one stays as it is, whenever it asks, and knows it by this status, which no other refusal of a join has.
            ManageError::Refused(Refusal::NewcomerTooOld { .. }) => StatusCode::CONFLICT,
            // Who joins asks again: what is refused now will not be for ever.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused(status, error.to_string())
    }
}

/// The routes of the operator's listener. `serving`: whether the public one takes requests. `sandbox`: the built-in provider, where one runs beside the node; its book is shown.
pub fn router(node: Node, serving: Serving, sandbox: Option<Arc<Sandbox>>, tokens: Arc<JoinTokens>) -> Router {
    let book = sandbox.map(sandbox_server::book);
    Router::new()
        .route("/cluster/status", get(status))
        .route("/cluster/join", post(join))
        .route("/cluster/plan", post(members::plan))
        .route("/cluster/change", post(members::change))
        .route("/cluster/version", get(version::look))
        .route("/cluster/raise", post(version::raise))
        .route("/cluster/policy", get(policy).put(set_policy))
        .route("/cluster/service-keys", post(service_keys::register))
        .route("/events/rows", get(events::rows))
        .route("/audit", post(inspect::audit))
        .route("/verify", post(inspect::scan))
        .route("/debug/profile", get(profile::profile))
        .merge(version::next_routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(Extension(tokens.clone()))
        .layer(Extension(serving))
        .with_state(node.clone())
        .merge(tokens::routes(tokens, node))
        .merge(book.unwrap_or_default())
}

async fn status(State(node): State<Node>, Extension(serving): Extension<Serving>) -> Json<StatusView> {
    let status = StatusView::from(node.status());
    Json(StatusView { ready: status.ready && serving.get(), ..status })
}

async fn join(
    State(node): State<Node>,
    by: By,
    Extension(tokens): Extension<Arc<JoinTokens>>,
    body: Result<Json<Join>, JsonRejection>,
) -> Result<Json<Joined>, Refused> {
    let Json(join) = body?;
    let instance = parse_hex(&join.instance)
        .ok_or_else(|| Refused(StatusCode::BAD_REQUEST, "instance: not 32 hex digits".into()))?;
    if !tokens.lets_in(join.token.as_deref(), instance) {
        let message = "a token of this node is needed, which no other node has used: holdfast cluster token";
        return Err(Refused(StatusCode::FORBIDDEN, message.into()));
    }
    let Join { peer_addr, http_addr, intent, versions, .. } = join;
    let request = JoinRequest { instance, peer_addr, http_addr, intent, versions };
    let known: BTreeSet<_> = node.status().members.into_iter().map(|(id, _, _)| id).collect();
    let admitted = node.admit(request).await?;
    // Who did not hear the answer asks again, and is no second member.
    if !known.contains(&admitted.node_id) {
        by.ended(&node, Operation::AddMember, Some(admitted.node_id), true).await;
    }
    Ok(Json(Joined { cluster_id: format!("{:032x}", admitted.cluster_id), node_id: admitted.node_id }))
}

async fn policy(State(node): State<Node>) -> Result<Json<Policy>, Refused> {
    Ok(Json(node.read(Consistency::Linearizable, |state| Ok(state.meta().policy.clone())).await?))
}

/// Changes the rules that the body names and leaves the others.
async fn set_policy(
    State(node): State<Node>,
    by: By,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Policy>, Refused> {
    let Json(changes) = body?;
    let current = node.read(Consistency::Linearizable, |state| Ok(state.meta().policy.clone())).await?;
    let policy = changed(&current, changes).map_err(|message| Refused(StatusCode::BAD_REQUEST, message))?;
    by.asks(&node, Operation::SetPolicy, None).await?;
    let command = Command::SetPolicy(policy.clone());
    let answer = node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await?;
    match answer.outcome.settled {
        Ok(_) => Ok(Json(policy)),
        Err(refusal) => Err(Refused(StatusCode::BAD_REQUEST, format!("the ledger refuses this: {}", refusal.code()))),
    }
}

/// `current` with the members of `changes` in place of its own.
fn changed(current: &Policy, changes: Value) -> Result<Policy, String> {
    let Value::Object(changes) = changes else {
        return Err("a JSON object of policy fields is expected".into());
    };
    let mut merged = serde_json::to_value(current).map_err(|error| error.to_string())?;
    for (name, value) in changes {
        match merged.get_mut(&name) {
            Some(slot) => *slot = value,
            None => return Err(format!("{name}: no such rule")),
        }
    }
    serde_json::from_value(merged).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_changes_only_what_is_named() {
        let policy = changed(&Policy::default(), json!({ "locks_per_user_max": 7 })).unwrap();
        assert_eq!(policy, Policy { locks_per_user_max: 7, ..Policy::default() });
        assert!(changed(&policy, json!({ "lock_ttl": 7 })).unwrap_err().contains("lock_ttl"));
        assert!(changed(&policy, json!({ "lock_ttl_ms": -7 })).is_err());
        assert!(changed(&policy, json!([])).is_err());
    }
}
