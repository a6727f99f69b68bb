//! A node that belongs to no cluster yet: it waits to be told to begin one or to join one.
//!
//! Nothing is stored and no peer is let in. The operator's listener says that the node waits, and takes one order; the public one
//! says that the process lives and is not ready. So a deployment starts all its nodes alike, and the one-time
//! `holdfast cluster init` makes a cluster of them: no restart can begin a second one.

use std::os::fd::AsFd;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use axum::{Json, Router};
use holdfast_api::server;
use holdfast_raft::transport::tls::Tls;
use holdfast_raft::types::Intent;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::{Refused, let_in};
use crate::failure::Failure;
use crate::settings::{JOIN_ADDRESSES_MAX, host_and_port};
use crate::stop::raised;

/// Who waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingView {
    /// The random id of its data folder, 32 hex digits.
    pub instance: String,
    pub peer_addr: String,
    pub http_addr: String,
}

/// What a waiting node is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Order {
    /// Begin a cluster, as its only voter.
    Init,
    /// Join the cluster that answers at one of these operator addresses.
    Welcome { join: Vec<String>, intent: Intent, token: Option<String> },
}

#[derive(Clone)]
struct Waiting {
    view: WaitingView,
    /// Room for one: whoever comes second is told so.
    orders: mpsc::Sender<Order>,
}

/// Serves both listeners until an order comes; they stay open and belong to the node from then on.
pub async fn wait(
    public: &TcpListener,
    operator: &TcpListener,
    tls: Option<Tls>,
    view: WaitingView,
) -> Result<Order, Failure> {
    let (orders, mut ordered) = mpsc::channel(1);
    let (stop, stopping) = watch::channel(false);
    let complain = |error: std::io::Error| Failure::cannot_start(format!("waiting for an order: {error}"));
    let shared = |listener: &TcpListener| {
        TcpListener::from_std(std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?))
    };
    let operator = server::serve_members(
        tls,
        shared(operator).map_err(complain)?,
        operator_routes(Waiting { view, orders }),
        raised(stopping.clone()),
    );
    let public = server::serve(shared(public).map_err(complain)?, public_routes(), raised(stopping));
    let served = tokio::spawn(async move { tokio::join!(operator, public) });
    let order = ordered.recv().await;
    stop.send_replace(true);
    // The order is answered before the node goes on.
    let _ = served.await;
    order.ok_or_else(|| Failure::cannot_start("waiting for an order: the listener has ended"))
}

fn operator_routes(waiting: Waiting) -> Router {
    Router::new()
        .route("/cluster/waiting", get(|State(waiting): State<Waiting>| async move { Json(waiting.view) }))
        .route("/cluster/order", post(order))
        .fallback(|| async {
            let body = json!({ "error": "this node belongs to no cluster yet: `holdfast cluster init` or `add`", "code": "waiting" });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        })
        .with_state(waiting)
        .layer(axum::middleware::from_fn(let_in))
        .layer(from_fn(super::let_in))
}

fn public_routes() -> Router {
    let not_ready = || async { (StatusCode::SERVICE_UNAVAILABLE, "waiting for `holdfast cluster init` or `add`\n") };
    Router::new().route("/livez", get(|| async { "ok\n" })).fallback(not_ready)
}

/// `POST /cluster/order`.
async fn order(
    State(waiting): State<Waiting>,
    body: Result<Json<Order>, JsonRejection>,
) -> Result<Json<Value>, Refused> {
    let Json(order) = body?;
    if let Order::Welcome { join, .. } = &order {
        let bad = |failure: Failure| Refused(StatusCode::BAD_REQUEST, failure.to_string());
        if join.is_empty() || join.len() > JOIN_ADDRESSES_MAX {
            return Err(Refused(StatusCode::BAD_REQUEST, format!("join: 1 to {JOIN_ADDRESSES_MAX} addresses")));
        }
        join.iter().try_for_each(|address| host_and_port("join", address)).map_err(bad)?;
    }
    let told_already = |_| Refused(StatusCode::CONFLICT, "this node has been told already".into());
    waiting.orders.try_send(order).map_err(told_already)?;
    Ok(Json(json!({ "accepted": true })))
}
