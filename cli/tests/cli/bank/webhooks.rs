//! The provider's webhooks at a running worker: hints that are checked, taken once, and never believed.

use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_services::payments::webhook::{TOLERANCE_S, sign};
use serde_json::{Value, json};

use super::{House, Money, WEBHOOK_SECRET};
use crate::support::PATIENCE;
use crate::support::people::Locked;
use crate::support::stripe::Stripe;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Posts a body to the worker's listener.
pub async fn post(url: &str, body: &str, signature: &str) -> (u16, String) {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().expect("a client");
    let request = http.post(format!("{url}/webhooks/stripe")).header("stripe-signature", signature);
    let answer = request.body(body.to_string()).send().await.expect("the worker answers");
    let status = answer.status().as_u16();
    let said: Value = answer.json().await.expect("JSON");
    (status, said["result"].as_str().unwrap_or_default().to_string())
}

/// Posts a body that the provider has signed at `time_s`.
pub async fn post_signed(url: &str, body: &str, time_s: u64) -> (u16, String) {
    post(url, body, &sign(WEBHOOK_SECRET.as_bytes(), body.as_bytes(), time_s)).await
}

fn event(id: &str, event_type: &str, payment: &str) -> String {
    let object = json!({ "id": "pi_1", "metadata": { "payment": payment } });
    json!({ "id": id, "type": event_type, "data": { "object": object } }).to_string()
}

async fn payment_of(locked: &Locked) -> String {
    locked.shown().await["paymentId"].as_str().expect("a payment").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_twice_late_out_of_order_and_forged_change_nothing_that_they_should_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let bank = Stripe::bank(dir.path()).await;
    let house = House::start(dir, bank).await;
    let url = house.estate.payments[0].url.clone();
    let (bought, waiting) = (house.people.lock_one().await, house.people.lock_one().await);
    assert_eq!(bought.pay("tok_visa").await.expect("paid").status, 201);
    bought.settled("captured").await;
    waiting.pay("tok_3dsNever");
    waiting.payment_until("sent to his bank", |payment| payment["nextAction"]["url"].is_string()).await;
    let (paid, asked) = (payment_of(&bought).await, payment_of(&waiting).await);
    // The one that waits has its worker ask again all the time; what is counted is what the charge that is over costs.
    let before = house.charge(&bought.order).await;

    // Late, since all of it has happened, and the end is told before the beginning; then each a second time.
    let told = [
        ("evt_3", "payment_intent.succeeded"),
        ("evt_2", "payment_intent.amount_capturable_updated"),
        ("evt_1", "payment_intent.created"),
    ];
    for said in ["looked at", "seen before"] {
        for (id, event_type) in told {
            let answer = post_signed(&url, &event(id, event_type, &paid), now_s()).await;
            assert_eq!(answer, (200, said.to_string()), "{id}");
        }
    }
    // It says more than is true. The payment is in the worker's hand now and then, which asks for it again.
    loop {
        match post_signed(&url, &event("evt_4", "payment_intent.succeeded", &asked), now_s()).await {
            (503, _) => {}
            answer => break assert_eq!(answer, (200, "looked at".to_string())),
        }
    }
    assert_eq!(waiting.shown().await["status"], "awaiting:payment");
    // Nobody's signature, another secret's, an old one, a good one of another body.
    let body = event("evt_5", "payment_intent.succeeded", &asked);
    let forged = sign(b"whsec_other", body.as_bytes(), now_s());
    let moved = sign(WEBHOOK_SECRET.as_bytes(), b"{}", now_s());
    for bad in ["", "t=1,v1=00", &forged, &moved] {
        assert_eq!(post(&url, &body, bad).await.0, 400, "{bad}");
    }
    assert_eq!(post_signed(&url, &body, now_s() - TOLERANCE_S - 5).await.0, 400);
    assert_eq!(waiting.shown().await["status"], "awaiting:payment");
    assert_eq!(house.charge(&bought.order).await, before, "nothing was taken twice");

    // Nobody waits for him any more: what his bank says now is too late.
    house.people.release(&waiting.order).await;
    waiting.settled("voided").await;
    let late = post_signed(&url, &event("evt_6", "payment_intent.succeeded", &asked), now_s()).await;
    assert_eq!(late, (200, "looked at".to_string()));
    house.audit(&[(&bought, Money::Taken), (&waiting, Money::LetGo)]).await;
}
