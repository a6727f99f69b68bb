//! An authorisation that comes when the lock is lost: what it is worth depends on whether somebody else has the ticket by then.

use serde_json::json;

use super::{House, Money};
use crate::support::WAIT;
use crate::support::people::Locked;
use crate::support::stripe::{Caught, Moment, Step, Stripe};

/// The buyer has time to begin to pay, and the test need not wait long until his lock is over.
const LOCK_MS: u64 = 6_000;

/// A buyer whose lock ran out while his bank was asked; the bank has not answered yet.
async fn out_of_time(house: &House) -> (Locked, Caught) {
    house.people.rule(json!({ "lock_ttl_ms": LOCK_MS, "payment_grace_ms": 1 })).await;
    let late = house.people.lock_one().await;
    let trap = house.stripe.trap_for(&late.order, Step::Confirm, Moment::Arrived);
    late.pay("tok_visa");
    let caught = tokio::time::timeout(WAIT, trap).await.expect("the bank is asked").expect("the proxy runs");
    late.until("cancelled").await;
    // Whoever comes next has all the time that he needs.
    house.people.rule(json!({ "lock_ttl_ms": 900_000, "payment_grace_ms": 120_000 })).await;
    (late, caught)
}

async fn house() -> House {
    let dir = tempfile::tempdir().expect("a folder");
    let stripe = Stripe::start(dir.path()).await;
    House::start(dir, stripe).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_after_the_ticket_was_sold_to_another_is_voided_and_never_captured() {
    let house = house().await;
    let (late, caught) = out_of_time(&house).await;
    let other = house.people.lock(&late.ticket).await;
    assert_eq!(other.pay("tok_visa").await.expect("paid").status, 201);
    other.settled("captured").await;
    drop(caught);
    late.settled("voided").await;
    assert_eq!(
        (late.shown().await["status"].as_str(), other.shown().await["status"].as_str()),
        (Some("cancelled"), Some("complete"))
    );
    house.audit(&[(&late, Money::LetGo), (&other, Money::Taken)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_after_the_lock_ran_out_is_honoured_while_the_ticket_is_free() {
    let house = house().await;
    let (late, caught) = out_of_time(&house).await;
    drop(caught);
    late.until("complete").await;
    late.settled("captured").await;
    house.audit(&[(&late, Money::Taken)]).await;
}
