//! The cluster's version: looked at, and raised.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use holdfast_ledger::command::{Actor, Submitted};
use holdfast_ledger::id::TicketId;
use holdfast_ledger::version::{NEXT, Version};
use holdfast_raft::node::Node;
use holdfast_raft::raise::RaisePlan;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::members::Declined;
use super::noted::By;

/// What to raise the version to, or to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    /// `None`: as high as the leader's build knows.
    pub to: Option<Version>,
    /// Only the plan.
    pub dry_run: bool,
}

/// `GET /cluster/version`: what the cluster is at, and what its members know.
pub async fn look(State(node): State<Node>) -> Result<Json<RaisePlan>, Declined> {
    Ok(Json(node.plan_raise(None).await?))
}

/// `POST /cluster/raise`: raises the version, unless its plan refuses it. The entry that raises it is in the audit, with the
/// certificate that was shown: there is nothing between asking and having done it that could go missing.
pub async fn raise(
    State(node): State<Node>,
    by: By,
    body: Result<Json<Raise>, JsonRejection>,
) -> Result<Json<RaisePlan>, Declined> {
    let Json(asked) = body?;
    match asked.dry_run {
        true => Ok(Json(node.plan_raise(asked.to).await?)),
        false => Ok(Json(node.raise(asked.to, by.certificate()).await?)),
    }
}

/// What only the tests' next version can be asked; nothing in a shipped build.
pub fn next_routes() -> Router<Node> {
    if NEXT.is_none() {
        return Router::new();
    }
    Router::new().route("/next/{ticket}", post(next))
}

async fn next(State(node): State<Node>, Path(ticket): Path<String>) -> Result<Json<Value>, Declined> {
    let (Some(next), Ok(ticket)) = (NEXT, ticket.parse::<TicketId>()) else {
        return Ok(Json(json!({ "settled": "no such ticket" })));
    };
    let command = (next.command)(ticket);
    let answer = node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await?;
    Ok(Json(json!({ "settled": format!("{:?}", answer.outcome.settled) })))
}
