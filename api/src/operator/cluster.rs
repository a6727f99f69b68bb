//! The cluster as an operator sees it: who leads, how far each node has come, what the ledger holds.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::state::Meta;
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::{Consistency, Progress, Status};
use holdfast_raft::types::NodeRecord;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Onlooker;
use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::headers::json;
use crate::live::{self, Frame, Reader, ResumeQuery, Watched};
use crate::openapi::Time;
use crate::time::{Rfc3339, rfc3339};

/// How often a stream of the cluster looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The cluster on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = ClusterReport)]
#[serde(rename_all = "camelCase")]
struct ClusterView {
    cluster_id: String,
    /// The node that answers.
    node_id: u64,
    leader: Option<u64>,
    term: u64,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    ready: bool,
    /// Most of the voters have answered the leader within an election time-out.
    has_quorum: bool,
    members: Vec<MemberView>,
    ledger: LedgerView,
}

/// A member of the cluster, as the leader knows it.
#[derive(Serialize, ToSchema)]
#[schema(as = MemberReport)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    node_id: u64,
    http_addr: String,
    peer_addr: String,
    voter: bool,
    leader: bool,
    /// It has answered the leader within an election time-out; `null` where the leader cannot be asked.
    live: Option<bool>,
    /// Entries that it is behind the leader's log.
    lag_entries: Option<u64>,
}

/// What the ledger holds.
#[derive(Serialize, ToSchema)]
#[schema(as = LedgerReport)]
#[serde(rename_all = "camelCase")]
struct LedgerView {
    lineage: u16,
    log_index: u64,
    #[schema(value_type = Time)]
    now: Rfc3339,
    tickets: u64,
    tickets_sold: u64,
    tickets_withdrawn: u64,
    locks_live: u64,
    orders: u64,
    orders_live: u64,
    orders_complete: u64,
    users: u64,
    payments_open: u64,
    event_seq: u64,
}

impl LedgerView {
    fn new(meta: &Meta) -> LedgerView {
        LedgerView {
            lineage: meta.lineage,
            log_index: meta.index,
            now: rfc3339(meta.now_ms),
            tickets: meta.tickets,
            tickets_sold: meta.tickets_sold,
            tickets_withdrawn: meta.tickets_withdrawn,
            locks_live: meta.locks_live,
            orders: meta.orders,
            orders_live: meta.orders_live,
            orders_complete: meta.orders_complete,
            users: meta.users,
            payments_open: meta.payments_open,
            event_seq: meta.event_seq,
        }
    }
}

/// Whether most of the voters answer the leader.
fn answers(progress: &Progress, members: &[(u64, NodeRecord, bool)]) -> bool {
    let voters = members.iter().filter(|(_, _, votes)| *votes);
    let live = voters.clone().filter(|(node_id, _, _)| progress.live.contains(node_id)).count();
    live * 2 > voters.count()
}

impl ClusterView {
    fn new(status: Status, progress: Option<&Progress>, meta: &Meta) -> ClusterView {
        let leader = progress.map(|progress| progress.leader).or(status.leader);
        let member = |(node_id, record, voter): (u64, NodeRecord, bool)| MemberView {
            node_id,
            http_addr: record.http_addr,
            peer_addr: record.peer_addr,
            voter,
            leader: leader == Some(node_id),
            live: progress.map(|progress| progress.live.contains(&node_id)),
            lag_entries: progress.and_then(|progress| progress.lag_entries.get(&node_id).copied()),
        };
        ClusterView {
            cluster_id: format!("{:032x}", status.cluster_id),
            node_id: status.node_id,
            leader,
            term: status.term,
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            ready: status.ready,
            has_quorum: progress.is_some_and(|progress| answers(progress, &status.members)),
            members: status.members.into_iter().map(member).collect(),
            ledger: LedgerView::new(meta),
        }
    }
}

/// `GET /api/operator/cluster`: who leads, how far each node has come, what the ledger holds. Answered without a quorum too,
/// by this node's own knowledge.
#[utoipa::path(
    get, path = "/api/operator/cluster", tag = "operators", security(("session" = ["operator-read"])),
    responses((status = 200, description = "The cluster", body = ClusterView))
)]
pub async fn show(State(app): State<App>, _: Onlooker) -> Result<Response, Fault> {
    let progress = app.node.progress().await.ok();
    let status = app.node.status();
    let meta = app.read(Consistency::Stale, |state| Ok(state.meta().clone())).await?.value;
    Ok(json(StatusCode::OK, &ClusterView::new(status, progress.as_ref(), &meta), meta.index))
}

/// `GET /api/operator/cluster/events`: the same as server-sent events, about once a second while it changes.
#[utoipa::path(
    get, path = "/api/operator/cluster/events", tag = "operators", security(("session" = ["operator-read"])),
    params(ResumeQuery),
    responses(
        (status = 200, description = "Goes on until the reader leaves", body = String, content_type = "text/event-stream"),
    )
)]
pub async fn follow(State(app): State<App>, _: Onlooker, reader: Reader) -> Result<Response, Fault> {
    Ok(live::respond(app, reader, ClusterWatched { progress: None, told: None }))
}

struct ClusterWatched {
    progress: Option<Progress>,
    told: Option<Frame>,
}

impl Watched for ClusterWatched {
    async fn prepare(&mut self, app: &App) {
        self.progress = app.node.progress().await.ok();
    }

    fn look(&mut self, app: &App, state: &Ledger) -> Result<Vec<Frame>, StoreError> {
        let view = ClusterView::new(app.node.status(), self.progress.as_ref(), state.meta());
        let frame = Frame::new("cluster", Some(state.meta().index), &view);
        let is_known = self.told.replace(frame.clone()).as_ref() == Some(&frame);
        Ok(if is_known { Vec::new() } else { vec![frame] })
    }

    fn look_every(&self) -> Duration {
        LOOK_EVERY
    }

    fn rest(&self) -> Duration {
        LOOK_EVERY
    }
}
