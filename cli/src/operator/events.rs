//! The outbox row by row, for a comparison with the stream, and how far the relay has come.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use holdfast_events::check::{OutboxRows, RowPage, Rows};
use holdfast_events::outbox::NodeOutbox;
use holdfast_events::relay::{Status, StatusWatch};
use holdfast_raft::node::Node;
use serde::Deserialize;

use super::Refused;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsQuery {
    after: u64,
}

/// `GET /events/rows?after=N`: rows after a number, as this node has applied them.
pub async fn rows(State(node): State<Node>, Query(query): Query<RowsQuery>) -> Result<Json<RowPage>, Refused> {
    let page = OutboxRows(&NodeOutbox::new(node)).page(query.after).await;
    page.map(Json).map_err(|error| Refused(StatusCode::SERVICE_UNAVAILABLE, error))
}

/// The relay's part of the listener; `None` where this node relays nowhere.
pub fn relay_routes(watch: Option<StatusWatch>) -> Router {
    Router::new().route("/events/relay", get(relay)).with_state(watch)
}

/// `GET /events/relay`: `null` where this node relays nowhere.
async fn relay(State(watch): State<Option<StatusWatch>>) -> Json<Option<Status>> {
    Json(watch.map(|watch| watch.status()))
}
