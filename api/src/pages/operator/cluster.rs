//! How the cluster stands: who leads, and how far everybody is.

use askama::Template;
use axum::response::Response;
use http::Uri;
use serde::Deserialize;

use super::Desk;
use crate::pages::chrome::{Chrome, ok};
use crate::pages::money::Count;
use crate::pages::problem::Problem;
use crate::pages::visit::Visit;
use crate::pages::when::Moment;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    cluster_id: String,
    node_id: u64,
    leader: Option<u64>,
    term: u64,
    last_log_index: Count,
    committed_index: Count,
    applied_index: Count,
    ready: bool,
    has_quorum: bool,
    members: Vec<Member>,
    ledger: Ledger,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    node_id: u64,
    http_addr: String,
    voter: bool,
    leader: bool,
    live: Option<bool>,
    lag_entries: Option<Count>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ledger {
    lineage: u64,
    now: Moment,
    tickets: Count,
    tickets_sold: Count,
    locks_live: Count,
    orders: Count,
    orders_complete: Count,
    users: Count,
    event_seq: Count,
}

#[derive(Template)]
#[template(path = "operator_cluster.html")]
struct ClusterPage {
    chrome: Chrome,
    desk: Desk,
    cluster: Cluster,
}

impl ClusterPage {
    /// The leader has said who answers it, and they are too few; else it could not be asked.
    fn leader_is_known_to_be_alone(&self) -> bool {
        self.cluster.members.iter().any(|member| member.live.is_some())
    }

    fn leader(&self) -> String {
        self.cluster.leader.map_or("None".into(), |node| format!("Node {node}"))
    }
}

/// `GET /operator`
pub async fn show(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let (chrome, desk) = Desk::new(&visit, "cluster", &uri)?;
    let cluster = visit.api.get("/api/operator/cluster").json().await?;
    ok(&ClusterPage { chrome, desk, cluster })
}
