//! `/metrics`, `/livez`, `/readyz` and `/version` on the operator's listener.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use holdfast_api::health;
use holdfast_events::overview::Overview;
use holdfast_raft::node::Node;
use metrics_exporter_prometheus::PrometheusHandle;

use super::sample::sample;
use super::serving::Serving;

/// The routes, for one node; `overview`: of those who follow its events, if anybody does.
pub fn routes(node: Node, serving: Serving, metrics: PrometheusHandle, overview: Option<Arc<Overview>>) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/version", get(health::version))
        .route("/readyz", get(ready).with_state((node.clone(), serving.clone())))
        .route("/metrics", get(render).with_state((node, serving, metrics, overview)))
}

async fn ready(State((node, serving)): State<(Node, Serving)>, RawQuery(query): RawQuery) -> Response {
    health::readiness(&node, serving.get(), query.as_deref())
}

async fn render(
    State((node, serving, metrics, overview)): State<(Node, Serving, PrometheusHandle, Option<Arc<Overview>>)>,
) -> impl IntoResponse {
    sample(&node, serving.get(), overview.as_deref()).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}
