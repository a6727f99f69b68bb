//! Keys of services: registering the public half of one with the cluster.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use holdfast_ledger::command::{Actor, Command, Service, Submitted};
use holdfast_ledger::entities::Operation;
use holdfast_raft::node::Node;
use holdfast_services::key::service_name;
use serde_json::{Value, json};

use super::noted::By;
use super::{NewServiceKey, Refused};

/// The service of a name.
pub fn service_named(name: &str) -> Option<Service> {
    [Service::Payments, Service::Notifications].into_iter().find(|service| service_name(*service) == name)
}

pub async fn register(
    State(node): State<Node>,
    by: By,
    body: Result<Json<NewServiceKey>, JsonRejection>,
) -> Result<Json<Value>, Refused> {
    let Json(key) = body?;
    let bad = |message: &str| Refused(StatusCode::BAD_REQUEST, message.into());
    let service = service_named(&key.service).ok_or_else(|| bad("service: payments or notifications"))?;
    let public_key = bytes(&key.public_key).ok_or_else(|| bad("public_key: not 64 hex digits"))?;
    by.asks(&node, Operation::RegisterServiceKey, None).await?;
    let command = Command::RegisterServiceKey { service, key_id: key.key_id, public_key };
    let answer = node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await?;
    match answer.outcome.settled {
        Ok(_) => Ok(Json(json!({ "log_index": answer.outcome.decided_at }))),
        Err(refusal) => Err(bad(&format!("the ledger refuses this: {}", refusal.code()))),
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let is_hex = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| (0..64).step_by(2).filter_map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect())
}
