//! Traces: a purchase is one trace, from the request through the log entry and the broker to the services.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use holdfast_api::server;
use holdfast_cli::client::{Ask, Client};
use holdfast_cli::estate::{Estate, EstatePlan};
use holdfast_cli::tools;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{PATIENCE, WAIT, plan, program};

/// A collector: whatever comes to `/v1/traces`.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn start() -> (Collector, String) {
        let collector = Collector::default();
        let kept = collector.clone();
        let take = move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("the protocol");
            let resources = request.resource_spans.into_iter();
            let spans = resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
            kept.0.lock().expect("no panic").extend(spans);
            async {}
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let routes = Router::new().route("/v1/traces", post(take));
        tokio::spawn(server::serve(listener, routes, std::future::pending()));
        (collector, url)
    }

    /// The spans of the trace that has all of these names, once there is one.
    async fn trace(&self, names: &[&str]) -> Vec<Span> {
        let started = Instant::now();
        loop {
            let spans = self.0.lock().expect("no panic").clone();
            let traces: BTreeSet<&[u8]> = spans.iter().map(|span| span.trace_id.as_slice()).collect();
            for trace in traces {
                let own: Vec<Span> = spans.iter().filter(|span| span.trace_id == trace).cloned().collect();
                if names.iter().all(|name| own.iter().any(|span| span.name == *name)) {
                    return own;
                }
            }
            let known: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
            assert!(started.elapsed() < WAIT, "no trace has {names:?}: {known:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_one_trace_from_the_request_to_the_services() {
    let dir = tempfile::tempdir().expect("a folder");
    let (collector, url) = Collector::start().await;
    let otlp = vec!["--otlp".to_string(), url];
    let mut nodes = plan(dir.path(), 3);
    nodes.flags.extend(otlp.clone());
    let outbox = ["--outbox".to_string(), dir.path().join("mail").display().to_string()];
    let estate = EstatePlan {
        nodes,
        broker: tools::find("nats-server", &program()).expect("the test tools"),
        payments: (1, otlp.clone()),
        notifications: (1, [otlp, outbox.to_vec()].concat()),
    };
    let mut estate = Estate::start(estate).await.expect("everything starts");
    let client = Client::new(&estate.cluster.urls(), PATIENCE).expect("a client");
    let seller = client.account("seller@test.example", "password", 0).await.expect("an account");
    let buyer = client.account("buyer@test.example", "password", 1).await.expect("an account");
    let ticket = Ask::post("/api/tickets", json!({ "title": "Traced", "price": "20.00" })).by(&seller);
    let ticket = client.send(ticket).await.expect("an answer").expect(201, "a ticket").expect("a ticket");
    // At a node that does not lead: the request and its entry are measured by two processes.
    let leader = estate.cluster.wait_for_leader().await.expect("a leader");
    let order = Ask::post("/api/orders", json!({ "ticketId": ticket["id"] })).by(&buyer).at(leader + 1).key("traced");
    let order = client.send(order).await.expect("an answer").expect(201, "an order").expect("an order");
    let pay = json!({ "orderId": order["id"], "token": "tok_visa" });
    let paid = client.send(Ask::post("/api/payments", pay).by(&buyer).at(leader + 1)).await.expect("an answer");
    assert!(matches!(paid.status, 201 | 202), "{}", paid.body);

    let stages = ["log entry", "queue", "append", "sync", "commit", "apply"];
    let placed = collector.trace(&[&stages[..], &["POST /api/orders", "notifications order:created"]].concat()).await;
    let root = placed.iter().find(|span| span.name == "log entry").expect("the root");
    assert!(root.parent_span_id.is_empty());
    let others = placed.iter().filter(|span| span.name != "log entry");
    for span in others {
        assert_eq!(span.parent_span_id, root.span_id, "{span:?}");
    }
    // The answer to a payment waits for its end, which is another entry than the one that asked the bank.
    collector.trace(&["log entry", "POST /api/payments"]).await;
    let asked = collector.trace(&["log entry", "payments payment:requested"]).await;
    assert!(asked.iter().all(|span| span.start_time_unix_nano <= span.end_time_unix_nano));
    estate.stop();
}
