//! What a bank may say besides yes, and what an operator may want of it.

use std::time::Duration;

use serde_json::json;

use super::{House, Money};
use crate::support::PATIENCE;
use crate::support::stripe::Stripe;

/// The buyer has time to begin to pay.
const LOCK_MS: u64 = 6_000;

async fn house_with_bank() -> House {
    let dir = tempfile::tempdir().expect("a folder");
    let bank = Stripe::bank(dir.path()).await;
    House::start(dir, bank).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_buyer_loses_his_ticket_to_the_next_and_pays_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let stripe = Stripe::start(dir.path()).await;
    let house = House::start(dir, stripe).await;
    let declined = house.people.lock_one().await;
    let reply = declined.pay("tok_chargeDeclined").await.expect("answered");
    assert_eq!((reply.status, reply.code()), (402, "payment_declined"), "{reply:?}");
    declined.until("cancelled").await;
    let next = house.people.lock(&declined.ticket).await;
    assert_eq!(next.pay("tok_visa").await.expect("paid").status, 201);
    next.settled("captured").await;
    house.audit(&[(&declined, Money::Declined), (&next, Money::Taken)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_at_a_slow_bank_past_his_deadline_but_inside_the_grace_gets_his_ticket() {
    let house = house_with_bank().await;
    house.people.rule(json!({ "lock_ttl_ms": LOCK_MS, "payment_grace_ms": 120_000 })).await;
    let asked = house.people.lock_one().await;
    // What the lock alone would have lasted, counted from a moment after it began.
    let lock_is_over = tokio::time::Instant::now() + Duration::from_millis(LOCK_MS);
    asked.pay("tok_3dsNever");
    let waits = asked.payment_until("sent to his bank", |payment| payment["nextAction"]["url"].is_string()).await;
    let url = waits["nextAction"]["url"].as_str().expect("where his bank asks him").to_string();
    tokio::time::sleep_until(lock_is_over).await;
    assert_eq!(asked.shown().await["status"], "awaiting:payment", "the grace keeps the ticket for him");
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().expect("a client");
    let answer = http.post(&url).form(&[("answer", "yes")]).send().await.expect("his bank answers");
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    asked.until("complete").await;
    asked.settled("captured").await;
    house.audit(&[(&asked, Money::Taken)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gives_the_money_back_once() {
    let house = house_with_bank().await;
    let (kept, given_back) = (house.people.lock_one().await, house.people.lock_one().await);
    for bought in [&kept, &given_back] {
        assert_eq!(bought.pay("tok_visa").await.expect("paid").status, 201);
        bought.settled("captured").await;
    }
    house.people.refund(&given_back.order).await;
    given_back.settled("refunded").await;
    assert_eq!(given_back.shown().await["status"], "complete");
    house.audit(&[(&kept, Money::Taken), (&given_back, Money::GivenBack)]).await;
}
