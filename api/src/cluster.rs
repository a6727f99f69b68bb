//! What this node knows of its cluster, for people and for load balancers.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::headers::json;

#[derive(Serialize, ToSchema)]
#[schema(as = Cluster)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    cluster_id: String,
    node_id: u64,
    leader: Option<u64>,
    term: u64,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    ready: bool,
    members: Vec<MemberView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    node_id: u64,
    http_addr: String,
    peer_addr: String,
    voter: bool,
}

/// `GET /api/cluster`: read-only, by this node's own knowledge; the leader may have changed since.
#[utoipa::path(
    get, path = "/api/cluster", tag = "cluster",
    responses((status = 200, description = "Done", body = StatusView))
)]
pub async fn status(State(app): State<App>) -> Response {
    let status = app.node.status();
    let member = |(node_id, record, voter): (u64, holdfast_raft::types::NodeRecord, bool)| MemberView {
        node_id,
        http_addr: record.http_addr,
        peer_addr: record.peer_addr,
        voter,
    };
    let view = StatusView {
        // 128 bits are more than a JSON number holds.
        cluster_id: format!("{:032x}", status.cluster_id),
        node_id: status.node_id,
        leader: status.leader,
        term: status.term,
        last_log_index: status.last_log_index,
        committed_index: status.committed_index,
        applied_index: status.applied_index,
        ready: status.ready,
        members: status.members.into_iter().map(member).collect(),
    };
    json(StatusCode::OK, &view, status.applied_index)
}
