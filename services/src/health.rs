//! What a service says of itself: `/livez`, `/readyz`, and its metrics as Prometheus text at `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Samples of histograms are gathered into their buckets so often, also while nobody asks for them: until then each takes memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Upper bounds of the buckets of every histogram, in seconds.
const BUCKETS_S: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];

/// What a service needs, and whether it has it at the moment. Clones are handles to the same one.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Readiness {
    /// A service that needs all of these and has none yet.
    pub fn new(needs: &[&'static str]) -> Readiness {
        Readiness(Arc::new(Mutex::new(needs.iter().map(|need| (*need, false)).collect())))
    }

    pub fn set(&self, need: &'static str, has: bool) {
        self.0.lock().expect("no panic while needs are noted").insert(need, has);
    }

    /// What is missing.
    pub fn missing(&self) -> Vec<&'static str> {
        let needs = self.0.lock().expect("no panic while needs are noted");
        needs.iter().filter(|(_, has)| !**has).map(|(need, _)| *need).collect()
    }
}

/// Collects the metrics of this process from now on. Once a process; a second time they stay with the first. Must be called
/// inside the runtime.
pub fn install_metrics() -> PrometheusHandle {
    let builder = PrometheusBuilder::new().set_buckets(BUCKETS_S).expect("the buckets are not empty");
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    // A second recorder would be a second call: the first one keeps collecting.
    let _ = metrics::set_global_recorder(recorder);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            upkeep.run_upkeep();
        }
    });
    handle
}

/// The routes. Free of sockets: merge them into others, and put them on a listener.
pub fn routes(metrics: PrometheusHandle, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    match readiness.missing() {
        missing if missing.is_empty() => (StatusCode::OK, "ok".to_string()),
        missing => (StatusCode::SERVICE_UNAVAILABLE, format!("missing: {}", missing.join(", "))),
    }
}

async fn render(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}
