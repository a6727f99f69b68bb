//! The cross-cutting rows X1 to X13, and section 6: errors, idempotency, freshness, limits, health.

use holdfast_ledger::command::Service;
use holdfast_services::key::ServiceKey;
use serde_json::json;

use crate::client::{Client, NO_SUCH_ID, a_ticket_and_a_buyer, new_email};
use crate::server::{World, limited, service_key};

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

#[tokio::test]
async fn x2_every_error_has_the_one_body() {
    let path = format!("/api/tickets/{NO_SUCH_ID}");
    let answer = nobody().with("x-request-id", "my-request.1").get(&path).await.is(404);
    let expected = json!({
        "type": "urn:holdfast:problem:ticket_not_found", "title": "Not Found", "status": 404, "detail": "Not Found",
        "instance": path, "errors": [{"message": "Not Found", "code": "ticket_not_found"}], "requestId": "my-request.1"
    });
    assert_eq!(answer.body, expected);
    assert!(answer.header("content-type").starts_with("application/json"));
    assert_eq!(answer.header("x-request-id"), "my-request.1");
    let problem = nobody().with("accept", "application/problem+json").get(&path).await.is(404);
    assert_eq!(problem.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn x3_several_bad_fields_are_named_at_once() {
    let answer = Client::new().await.post("/api/tickets", json!({})).await.is(400);
    let fields: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["title", "price"]);
}

#[tokio::test]
async fn x6_every_method_on_an_unknown_path_is_404() {
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for path in ["/api/nothing", "/api/tickets/x/y/z", "/api/users", "/api/payments/x/refund"] {
            nobody().send(method, path, None).await.fails(404, "Not Found", None);
        }
    }
    nobody().send("PATCH", "/api/tickets", None).await.fails(404, "Not Found", None);
    nobody().send("GET", "/api/users/signup", None).await.fails(404, "Not Found", None);
}

#[tokio::test]
async fn x8_malformed_json_is_400_with_a_code() {
    for body in ["{", "{\"email\": }", "nul", "[]", "\"text\"", "{\"a\":1}}"] {
        let json = Some(("application/json", body.as_bytes().to_vec()));
        let answer = nobody().send_raw("POST", "/api/users/signup", json).await;
        assert_eq!(answer.fails(400, "Something went wrong", None).code(), "malformed_json", "{body}");
    }
}

#[tokio::test]
async fn x11_checks_come_in_the_order_401_400_404_domain() {
    let path = format!("/api/tickets/{NO_SUCH_ID}");
    nobody().put(&path, json!({})).await.is(401);
    let mut user = Client::new().await;
    user.put(&path, json!({})).await.is(400);
    user.put(&path, json!({"title": "x", "price": 1})).await.is(404);
    let (ticket, _) = a_ticket_and_a_buyer(&World::shared().url).await;
    user.put(&format!("/api/tickets/{ticket}"), json!({"title": "x", "price": 1})).await.is(401);
}

#[tokio::test]
async fn x13_ids_and_versions_are_plain_members() {
    let answer = Client::new().await.post("/api/tickets", json!({"title": "x", "price": 1})).await.is(201);
    assert!(answer.body.get("_id").is_none() && answer.body.get("__v").is_none());
    assert!(answer.body["id"].is_string() && answer.body["version"].is_u64());
}

#[tokio::test]
async fn r7_the_same_idempotency_key_gets_the_same_order() {
    let (ticket, buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let mut keyed = buyer.with("idempotency-key", "\"order-1\"");
    let first = keyed.post("/api/orders", json!({"ticketId": ticket})).await.is(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = keyed.post("/api/orders", json!({ "ticketId" : ticket })).await.is(201);
    assert_eq!((again.id(), again.header("idempotency-replayed")), (first.id(), "true"));
    assert_eq!(again.header("log-index"), first.header("log-index"));
    let bare = buyer.with("idempotency-key", "order-1").post("/api/orders", json!({"ticketId": ticket})).await;
    assert_eq!(bare.is(201).id(), first.id());
    // The same key with another body is refused; another user's same key is another key.
    let other = Client::new().await.ticket("5").await;
    let reused = keyed.post("/api/orders", json!({"ticketId": other})).await.is(422);
    assert_eq!(reused.code(), "idempotency_key_reused");
    let somebody = Client::new().await.with("idempotency-key", "order-1");
    somebody.clone().post("/api/orders", json!({"ticketId": other})).await.is(201);
}

#[tokio::test]
async fn r8_a_refusal_is_replayed_as_well() {
    let (ticket, mut holder) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = holder.order(&ticket).await;
    let mut keyed = Client::new().await.with("idempotency-key", "k");
    keyed.post("/api/orders", json!({"ticketId": ticket})).await.is(400);
    holder.delete(&format!("/api/orders/{order}")).await.is(204);
    let answer = keyed.post("/api/orders", json!({"ticketId": ticket})).await.is(400);
    assert_eq!(answer.code(), "ticket_reserved", "the first decision stands");
}

#[tokio::test]
async fn a_malformed_idempotency_key_is_400() {
    let (ticket, buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    for key in ["\"", "\"\"", &"k".repeat(256), "clé"] {
        let answer = buyer.with("idempotency-key", key).post("/api/orders", json!({"ticketId": ticket})).await.is(400);
        assert_eq!(answer.code(), "invalid_idempotency_key");
    }
    buyer.with("idempotency-key", "k".repeat(255)).post("/api/orders", json!({"ticketId": ticket})).await.is(201);
}

#[tokio::test]
async fn log_index_names_the_state_and_min_index_waits_for_it() {
    let mut seller = Client::new().await;
    let made = seller.post("/api/tickets", json!({"title": "x", "price": 1})).await.is(201);
    let index: u64 = made.header("log-index").parse().expect("every write has an index");
    let path = format!("/api/tickets/{}", made.id());
    for mut reader in [nobody(), nobody().with("min-index", index.to_string())] {
        let read = reader.get(&path).await.is(200);
        assert!(read.header("log-index").parse::<u64>().unwrap() >= index);
    }
    nobody().get(&format!("{path}?min-index={index}")).await.is(200);
    nobody().get(&format!("{path}?consistency=stale")).await.is(200);
    nobody().get(&format!("{path}?consistency=linearizable")).await.is(200);
    assert_eq!(
        nobody().get(&format!("{path}?consistency=maybe")).await.is(400).body["errors"][0]["field"],
        "consistency"
    );
    nobody().with("min-index", "soon").get(&path).await.is(400);
    let ahead = nobody().with("min-index", u64::MAX.to_string()).get(&path).await.is(400);
    assert_eq!(ahead.code(), "min_index_ahead");
}

#[tokio::test]
async fn d16_requests_beyond_the_limit_are_429() {
    let url = World::shared().with(limited(5));
    let mut client = Client::anonymous(&url);
    for left in (0..5).rev() {
        let answer = client.get("/api/users/currentuser").await.is(200);
        assert_eq!(answer.header("ratelimit-policy"), "\"address\";q=5;w=3600");
        assert!(answer.header("ratelimit").starts_with(&format!("\"address\";r={left};t=")), "{answer:?}");
    }
    let answer = client.get("/api/users/currentuser").await.is(429);
    assert_eq!(answer.code(), "rate_limited");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn a_service_has_a_budget_of_its_own() {
    let url = World::shared().with(limited(5));
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signed_by = |key: ServiceKey| {
        Client::anonymous(&url).with("authorization", format!("Bearer {}", key.token("holdfast", now_s)))
    };
    let (mut crowd, mut service) = (Client::anonymous(&url), signed_by(service_key()));
    for _ in 0..5 {
        crowd.get("/api/tickets").await.is(200);
    }
    crowd.get("/api/tickets").await.is(429);
    // What a crowd at the same address has used up does not stop the service …
    for left in (0..10).rev() {
        let answer = service.get("/api/services/payments").await.is(200);
        assert!(answer.header("ratelimit").starts_with(&format!("\"service\";r={left};")), "{answer:?}");
    }
    // … its own budget does, and nobody gets one by saying that he is a service.
    assert_eq!(service.get("/api/services/payments").await.is(429).code(), "rate_limited");
    let mut forger = signed_by(ServiceKey::from_seed(Service::Payments, &[99; 32]));
    assert!(forger.get("/api/services/payments").await.is(429).header("ratelimit").starts_with("\"address\""));
}

#[tokio::test]
async fn d16_one_loopback_address_may_sign_up_hundreds_in_development() {
    for _ in 0..300 {
        let body = json!({"email": new_email(), "password": "passw0rd"});
        nobody().post("/api/users/signup", body).await.is(201);
    }
}

#[tokio::test]
async fn writes_from_other_sites_are_refused() {
    let user = Client::new().await;
    let body = || json!({"title": "x", "price": 1});
    let cross = user.with("sec-fetch-site", "cross-site").post("/api/tickets", body()).await.is(403);
    assert_eq!(cross.code(), "cross_site");
    user.with("origin", "https://evil.example").post("/api/tickets", body()).await.is(403);
    user.with("origin", "null").post("/api/tickets", body()).await.is(403);
    user.with("origin", user.url.clone()).post("/api/tickets", body()).await.is(201);
    let form = Some(("application/x-www-form-urlencoded", b"title=x&price=1".to_vec()));
    user.clone().send_raw("POST", "/api/tickets", form).await.is(415);
}

#[tokio::test]
async fn health_version_and_cluster_are_public() {
    nobody().get("/livez").await.is(200);
    nobody().get("/readyz").await.is(200);
    assert_eq!(nobody().get("/version").await.is(200).body["name"], "holdfast");
    let cluster = nobody().get("/api/cluster").await.is(200).body;
    assert_eq!(cluster["leader"], cluster["nodeId"]);
    assert_eq!((cluster["members"].as_array().unwrap().len(), &cluster["ready"]), (1, &json!(true)));
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_date() {
    let one = nobody().get("/livez").await;
    let two = nobody().with("x-request-id", "bad id\u{7f}".trim_end_matches('\u{7f}')).get("/livez").await;
    assert!(!one.header("x-request-id").is_empty() && !one.header("date").is_empty());
    assert_ne!(two.header("x-request-id"), "bad id", "only a harmless id is taken over");
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}
