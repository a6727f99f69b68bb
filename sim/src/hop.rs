//! The way from a client to a node's router: one message there, one back, over the simulated network.
//!
//! The router itself is the real one; only the bytes of HTTP and TCP are left out. A message may be lost, and a node may die
//! between the two. Operators reach a node in the same way.

use axum::Router;
use axum::body::Body;
use holdfast_ledger::command::Submitted;
use holdfast_ledger::version::{NEXT, Version};
use holdfast_raft::identity::Place;
use holdfast_raft::node::{Answer, JoinRequest, ManageError, Node, Unavailable};
use holdfast_raft::types::NodeId;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use madsim::net::Endpoint;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

use crate::restore::{self, Kept};

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCall {
    pub method: String,
    pub path: String,
    /// The session token.
    pub token: Option<String>,
    pub idempotency_key: Option<String>,
    pub body: String,
}

/// A node's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAnswer {
    pub status: u16,
    pub log_index: Option<u64>,
    /// A new session token.
    pub token: Option<String>,
    /// The remembered answer to an earlier request with this key.
    pub replayed: bool,
    /// Where the next page of a list begins.
    pub next_cursor: Option<String>,
    pub body: String,
}

/// A folder without a place asks a member for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit(pub JoinRequest);

/// An operator proposes a command of the system's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propose(pub Submitted);

/// An operator takes this node out of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove(pub NodeId);

/// An operator hands leadership to this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer(pub NodeId);

/// An operator raises the cluster's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseVersion;

/// An operator backs up what this node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackUp;

impl madsim::net::rpc::Request for BackUp {
    type Response = Result<Kept, String>;
    const ID: u64 = 7;
}

impl madsim::net::rpc::Request for RaiseVersion {
    type Response = Result<Version, ManageError>;
    const ID: u64 = 6;
}

impl madsim::net::rpc::Request for HttpCall {
    type Response = HttpAnswer;
    const ID: u64 = 1;
}

impl madsim::net::rpc::Request for Admit {
    type Response = Result<Place, ManageError>;
    const ID: u64 = 2;
}

impl madsim::net::rpc::Request for Propose {
    type Response = Result<Answer, Unavailable>;
    const ID: u64 = 3;
}

impl madsim::net::rpc::Request for Remove {
    type Response = Result<(), ManageError>;
    const ID: u64 = 4;
}

impl madsim::net::rpc::Request for Transfer {
    type Response = Result<(), ManageError>;
    const ID: u64 = 5;
}

/// Answers what comes to `endpoint`, as long as this node of the simulation lives.
pub fn serve(endpoint: &Endpoint, node: Node, router: Router) {
    endpoint.add_rpc_handler(move |call: HttpCall| answer(router.clone(), call));
    let member = node.clone();
    endpoint.add_rpc_handler(move |Admit(request)| {
        let member = member.clone();
        async move { member.admit(request).await }
    });
    let member = node.clone();
    endpoint.add_rpc_handler(move |Remove(node_id)| {
        let member = member.clone();
        async move { member.remove(node_id).await }
    });
    let member = node.clone();
    endpoint.add_rpc_handler(move |Transfer(to)| {
        let member = member.clone();
        async move { member.transfer_leader(to).await }
    });
    let member = node.clone();
    endpoint.add_rpc_handler(move |RaiseVersion| {
        let member = member.clone();
        async move { member.raise(NEXT.map(|next| next.versions.max), None).await.map(|plan| plan.version) }
    });
    let member = node.clone();
    endpoint.add_rpc_handler(move |BackUp| {
        let member = member.clone();
        async move { restore::back_up(&member).await }
    });
    endpoint.add_rpc_handler(move |Propose(submitted)| {
        let node = node.clone();
        async move { node.propose(submitted).await }
    });
}

async fn answer(router: Router, call: HttpCall) -> HttpAnswer {
    let mut request = Request::builder().method(call.method.as_str()).uri(call.path);
    request = request.header("content-type", "application/json");
    if let Some(token) = call.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some(key) = call.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Body::from(call.body)).expect("clients send well-formed requests");
    let response: Response<Body> = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    let status = response.status().as_u16();
    let text = |headers: &HeaderMap, name: &str| Some(headers.get(name)?.to_str().ok()?.to_string());
    let headers = response.headers().clone();
    let cookie = text(&headers, "set-cookie");
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    HttpAnswer {
        status,
        log_index: text(&headers, "log-index").and_then(|index| index.parse().ok()),
        token: cookie.and_then(|cookie| Some(cookie.split_once('=')?.1.split(';').next()?.to_string())),
        replayed: headers.contains_key("idempotency-replayed"),
        next_cursor: text(&headers, "x-next-cursor"),
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}
