//! Webhooks: signed, tried again, let go, and never a way into our own network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use holdfast_services::notifications::SentLog;
use holdfast_services::notifications::webhooks::sign;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One request that a receiver got.
#[derive(Clone)]
struct Got {
    headers: HeaderMap,
    body: Bytes,
}

/// A receiver whose answers are a script, then 204.
#[derive(Clone)]
struct Receiver {
    script: Arc<Vec<u16>>,
    asked: Arc<AtomicUsize>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    async fn start(script: &[u16]) -> (Receiver, String) {
        let receiver = Receiver { script: Arc::new(script.to_vec()), asked: Arc::default(), got: Arc::default() };
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        tokio::spawn(serve(listener, router));
        (receiver, url)
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    receiver.got.lock().unwrap().push(Got { headers, body });
    let number = receiver.asked.fetch_add(1, Ordering::Relaxed);
    match receiver.script.get(number) {
        Some(302) => Redirect::temporary("/elsewhere").into_response(),
        Some(status) => StatusCode::from_u16(*status).expect("a status").into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn serve(listener: tokio::net::TcpListener, router: Router) {
    while let Ok((connection, _)) = listener.accept().await {
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let connection = hyper_util::rt::TokioIo::new(connection);
        tokio::spawn(async move {
            // A client that goes away ends its connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(connection, service).await;
        });
    }
}

/// A service with one endpoint, and nobody to write to.
async fn started(url: &str, event_types: &[&str], allow_private: bool) -> (Routes, Running) {
    let routes = Routes::with_buyer("Floor");
    let endpoint = json!({
        "id": id(8).to_string(), "url": url, "secret": SECRET, "eventTypes": event_types,
        "createdAt": "2023-11-14T00:00:00.000Z",
    });
    routes.set("GET /api/services/webhooks", 200, json!([endpoint]));
    let post = Arc::new(Letterbox::default());
    let running = Running::start(&routes, post, SentLog::memory(100), allow_private).await;
    (routes, running)
}

/// As [`started`], for events of this moment: old ones are let go.
fn now(mut event: Event) -> Event {
    event.time_ms = system_clock()();
    event
}

#[tokio::test]
async fn an_endpoint_gets_what_it_asked_for_signed() {
    let (receiver, url) = Receiver::start(&[]).await;
    let (_, mut running) = started(&url, &["order:created"], true).await;
    running.publish(&now(expired())).await;
    running.publish(&now(locked())).await;
    until("the event", || !receiver.got().is_empty()).await;
    running.end().await;
    let got = receiver.got();
    assert_eq!(got.len(), 1, "order:cancelled was not asked for");
    let header = |name: &str| got[0].headers[name].to_str().expect("ASCII").to_string();
    let timestamp: u64 = header("webhook-timestamp").parse().expect("seconds");
    assert_eq!(header("webhook-signature"), sign(SECRET, &header("webhook-id"), timestamp, &got[0].body).0);
    assert!(timestamp.abs_diff(system_clock()() / 1_000) < 300, "receivers refuse what is older");
    assert_eq!(header("content-type"), "application/json");
    let body: Value = serde_json::from_slice(&got[0].body).expect("JSON");
    assert_eq!((&body["type"], &body["version"]), (&json!("order:created"), &json!(0)));
    assert_eq!(body["id"], json!(header("webhook-id")));
    assert_eq!(body["data"]["id"], json!(order().to_string()));
}

#[tokio::test]
async fn what_is_not_taken_comes_again_under_the_same_id_and_holds_up_nothing() {
    let (receiver, url) = Receiver::start(&[500]).await;
    let (_, mut running) = started(&url, &[], true).await;
    running.publish(&now(locked())).await;
    until("the first try", || !receiver.got().is_empty()).await;
    let mut other = now(refunded());
    other.seq = 2;
    running.publish(&other).await;
    until("both are taken", || receiver.got().len() >= 3).await;
    running.end().await;
    let ids: Vec<String> =
        receiver.got().iter().map(|got| got.headers["webhook-id"].to_str().expect("ASCII").to_string()).collect();
    assert_eq!(ids, ["c1:0:1", "c1:0:2", "c1:0:1"]);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_removed() {
    let (receiver, url) = Receiver::start(&[410]).await;
    let (routes, mut running) = started(&url, &[], true).await;
    let removal = format!("DELETE /api/services/webhooks/{}", id(8));
    routes.set(removal.clone(), 204, json!(null));
    running.publish(&now(locked())).await;
    until("the removal", || routes.asked().contains(&removal)).await;
    running.end().await;
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (receiver, url) = Receiver::start(&[302]).await;
    let (_, mut running) = started(&url, &[], true).await;
    running.publish(&now(locked())).await;
    until("the second try", || receiver.got().len() >= 2).await;
    running.end().await;
    assert_eq!(receiver.got().len(), 2, "the second is the same request again, not one to elsewhere");
}

#[tokio::test]
async fn an_address_of_our_own_network_is_never_connected_to() {
    let counters = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&counters);
    for (host, outcome) in [("127.0.0.1", "refused"), ("localhost", "later"), ("[::1]", "refused")] {
        let (receiver, url) = Receiver::start(&[]).await;
        let url = url.replace("127.0.0.1", host);
        let (_, mut running) = started(&url, &[], false).await;
        let count = || {
            let counter = format!("holdfast_webhooks_total{{outcome=\"{outcome}\"}} ");
            let text = counters.handle().render();
            text.lines().find_map(|line| line.strip_prefix(&counter)?.parse::<u64>().ok()).unwrap_or(0)
        };
        let before = count();
        running.publish(&now(locked())).await;
        until("it is put off", || count() > before).await;
        running.end().await;
        assert!(receiver.got().is_empty(), "{host}");
    }
}

#[tokio::test]
async fn what_is_older_than_three_days_is_let_go() {
    let (receiver, url) = Receiver::start(&[]).await;
    let (_, mut running) = started(&url, &[], true).await;
    running.publish(&locked()).await;
    let mut young = now(refunded());
    young.seq = 2;
    running.publish(&young).await;
    until("the young one", || !receiver.got().is_empty()).await;
    running.end().await;
    assert_eq!(receiver.got()[0].headers["webhook-id"], "c1:0:2");
    assert_eq!(receiver.got().len(), 1);
}
