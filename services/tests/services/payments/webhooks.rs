//! Webhooks: hints that are checked, taken once, and never believed.

use std::sync::Arc;

use axum::Router;
use holdfast_ledger::entities::Policy;
use holdfast_services::client::{Api, InProcess};
use holdfast_services::payments::provider::Standing;
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::webhook::{TOLERANCE_S, Webhooks, sign};
use holdfast_services::system_clock;
use serde_json::{Value, json};

use super::world::World;

const SECRET: &[u8] = b"whsec_test";

struct Endpoint(InProcess<Router, axum::body::Body>);

impl Endpoint {
    async fn post(&self, body: &str, signature: &str) -> (u16, String) {
        let request = http::Request::post("/webhooks/stripe").header("stripe-signature", signature);
        let answer = self.0.call(request.body(body.to_string().into()).unwrap()).await.unwrap();
        let said: Value = serde_json::from_slice(answer.body()).unwrap();
        (answer.status().as_u16(), said["result"].as_str().unwrap_or_default().to_string())
    }

    /// Posts an event with a good signature of now.
    async fn tell(&self, id: &str, event_type: &str, payment: &str) -> (u16, String) {
        let body = event(id, event_type, payment);
        self.post(&body, &sign(SECRET, body.as_bytes(), now_s())).await
    }
}

fn now_s() -> u64 {
    system_clock()() / 1_000
}

fn event(id: &str, event_type: &str, payment: &str) -> String {
    json!({ "id": id, "type": event_type, "data": { "object": { "id": "pi_1", "metadata": { "payment": payment } } } })
        .to_string()
}

#[tokio::test]
async fn a_webhook_has_its_payment_looked_at_and_comes_to_nothing_the_second_time() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    // Nobody sweeps: only webhooks point at the payment.
    let saga = world.saga(bank.clone());
    let endpoint = Endpoint(InProcess::new(Webhooks::new(saga, SECRET, system_clock()).routes()));
    let (mut buyer, _, payment) = world.paid_with("tok_visa").await;
    // Out of order: the charge's end is told before its beginning.
    let told = endpoint.tell("evt_3", "payment_intent.succeeded", &payment).await;
    assert_eq!(told, (200, "looked at".into()));
    buyer.settled(&payment, "captured").await;
    let steps = bank.charges()[0].requests;
    assert_eq!(endpoint.tell("evt_3", "payment_intent.succeeded", &payment).await, (200, "seen before".into()));
    for (id, late) in [("evt_1", "payment_intent.created"), ("evt_2", "payment_intent.amount_capturable_updated")] {
        assert_eq!(endpoint.tell(id, late, &payment).await, (200, "looked at".into()));
    }
    assert_eq!(bank.charges()[0].requests, steps, "nothing more is asked of the bank");
    assert_eq!((bank.charges()[0].standing, bank.charges()[0].captures), (Standing::Captured, 1));
}

#[tokio::test]
async fn a_webhook_that_says_more_than_is_true_changes_nothing() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    let saga = world.saga(bank.clone());
    let endpoint = Endpoint(InProcess::new(Webhooks::new(saga, SECRET, system_clock()).routes()));
    let (mut buyer, order, payment) = world.paid_with("tok_3dsNever").await;
    assert_eq!(endpoint.tell("evt_1", "payment_intent.succeeded", &payment).await, (200, "looked at".into()));
    assert_eq!(buyer.order_status(&order).await, "awaiting:payment");
    assert_eq!(bank.charges()[0].standing, Standing::Waits);
    let (unknown, none) = ("0000000000000fff00000000", "");
    let told = endpoint.tell("evt_2", "payment_intent.succeeded", unknown).await;
    assert_eq!(told, (200, "no payment of this ledger".into()));
    assert_eq!(endpoint.tell("evt_3", "charge.updated", none).await, (200, "not about a payment of ours".into()));
}

#[tokio::test]
async fn a_webhook_with_a_bad_or_old_signature_is_refused() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    let saga = world.saga(bank.clone());
    let endpoint = Endpoint(InProcess::new(Webhooks::new(saga, SECRET, system_clock()).routes()));
    let (_, _, payment) = world.paid_with("tok_visa").await;
    let body = event("evt_1", "payment_intent.succeeded", &payment);
    let old = sign(SECRET, body.as_bytes(), now_s() - TOLERANCE_S - 5);
    for bad in ["", "t=1,v1=00", &sign(b"whsec_other", body.as_bytes(), now_s()), &old] {
        assert_eq!(endpoint.post(&body, bad).await.0, 400, "{bad}");
    }
    let nonsense = "{";
    assert_eq!(endpoint.post(nonsense, &sign(SECRET, nonsense.as_bytes(), now_s())).await.0, 400);
    assert!(bank.charges().is_empty(), "none of them is worth a look");
}
