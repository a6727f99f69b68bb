//! How far the events have come on their way to the stream.

use axum::extract::State;
use axum::response::Response;
use holdfast_raft::node::Consistency;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Onlooker;
use crate::app::App;
use crate::error::Fault;
use crate::headers::json;

/// The outbox on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Outbox)]
#[serde(rename_all = "camelCase")]
struct OutboxView {
    /// The number of the last event.
    last_event: u64,
    /// The stream has every event up to this one.
    acknowledged: u64,
    /// Events that the stream has not got yet.
    waiting: u64,
    /// The first event that is still kept.
    first_kept: u64,
    /// At so many waiting events there is an alert …
    soft_max: u64,
    /// … and at so many no new lock is taken on.
    hard_max: u64,
}

/// `GET /api/operator/outbox`: how far the events have come on their way to the stream.
#[utoipa::path(
    get, path = "/api/operator/outbox", tag = "operators", security(("session" = ["operator-read"])),
    responses((status = 200, description = "The outbox", body = OutboxView))
)]
pub async fn show(State(app): State<App>, _: Onlooker) -> Result<Response, Fault> {
    let seen = app.read(Consistency::Stale, |state| Ok(state.meta().clone())).await?;
    let meta = seen.value;
    let view = OutboxView {
        last_event: meta.event_seq,
        acknowledged: meta.outbox_acked,
        waiting: meta.event_seq.saturating_sub(meta.outbox_acked),
        first_kept: meta.outbox_first,
        soft_max: meta.policy.outbox_events_soft_max,
        hard_max: meta.policy.outbox_events_hard_max,
    };
    Ok(json(StatusCode::OK, &view, seen.index))
}
