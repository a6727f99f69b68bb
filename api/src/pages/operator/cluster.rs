//! How the cluster stands: who leads, and how far everybody is.

use askama::Template;
use axum::response::Response;
use http::Uri;
use serde::Deserialize;

use super::Desk;
use crate::pages::chrome::{Chrome, ok};
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
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
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
    lag_entries: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ledger {
    lineage: u64,
    now: Moment,
    tickets: u64,
    tickets_sold: u64,
    locks_live: u64,
    orders: u64,
    orders_complete: u64,
    users: u64,
    event_seq: u64,
}

#[derive(Template)]
#[template(path = "operator_cluster.html")]
struct ClusterPage {
    chrome: Chrome,
    desk: Desk,
    cluster: Cluster,
}

impl ClusterPage {
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
