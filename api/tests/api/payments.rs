//! Rows P1 to P8: paying, declines, repeats, and what becomes of money that comes too late.

use std::time::Duration;

use holdfast_api::Settings;
use holdfast_services::payments::provider::Standing;
use holdfast_services::payments::sandbox::ChargeLine;
use serde_json::json;

use crate::client::{Answer, Client, NO_SUCH_ID, a_ticket_and_a_buyer};
use crate::server::{World, settings};

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

/// The bank's lines about an order.
fn charges(world: &World, order: &str) -> Vec<ChargeLine> {
    world.sandbox.charges().into_iter().filter(|charge| charge.intent_id.contains(order)).collect()
}

/// Waits until the payment stands at `status`.
async fn settled(buyer: &mut Client, payment: &str, status: &str) -> Answer {
    buyer.until(&format!("/api/payments/{payment}"), |answer| answer.body["status"] == status).await
}

#[tokio::test]
async fn p1_paying_needs_somebody_signed_in() {
    nobody().pay(NO_SUCH_ID, "tok_visa").await.fails(401, "Not authorized", None);
}

#[tokio::test]
async fn p2_paying_without_token_or_order_is_400() {
    let mut buyer = Client::new().await;
    buyer.pay(NO_SUCH_ID, "").await.fails(400, "Invalid value", Some("token"));
    buyer.pay("", "tok_visa").await.fails(400, "Invalid value", Some("orderId"));
    let both = buyer.post("/api/payments", json!({})).await.is(400);
    assert_eq!(both.body["errors"].as_array().unwrap().len(), 2);
    buyer.pay("not-an-id", "tok_visa").await.fails(400, "Invalid value", Some("orderId"));
    buyer.pay(NO_SUCH_ID, "no token").await.fails(400, "Invalid value", Some("token"));
}

#[tokio::test]
async fn p3_paying_an_unknown_order_is_404() {
    Client::new().await.pay(NO_SUCH_ID, "tok_visa").await.fails(404, "Not Found", None);
}

#[tokio::test]
async fn p4_paying_somebody_elses_order_is_401() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let answer = Client::new().await.pay(&order, "tok_visa").await;
    assert_eq!(answer.fails(401, "Not authorized", None).code(), "not_owner");
    assert!(charges(World::shared(), &order).is_empty());
}

#[tokio::test]
async fn p5_paying_a_cancelled_order_is_400() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    buyer.delete(&format!("/api/orders/{order}")).await.is(204);
    let answer = buyer.pay(&order, "tok_visa").await;
    assert_eq!(answer.fails(400, "Cannot pay for an cancelled order", None).code(), "order_cancelled");
    assert!(charges(World::shared(), &order).is_empty());
}

#[tokio::test]
async fn p6_paying_returns_201_and_charges_the_locked_price_in_whole_cents() {
    let world = World::shared();
    // 19.99 * 100 is not a whole number in floating point (row D11).
    let ticket = Client::new().await.ticket("19.99").await;
    let mut buyer = Client::new().await;
    let order = buyer.order(&ticket).await;
    let paid = buyer.pay(&order, "tok_visa").await.is(201);
    assert_eq!((&paid.body["orderId"], &paid.body["orderStatus"]), (&json!(order), &json!("complete")));
    assert_eq!(paid.body["amountMinor"], json!(1999));
    assert!(!paid.text.contains("tok_visa"), "a token is never shown");
    settled(&mut buyer, &paid.id(), "captured").await;
    let charges = charges(world, &order);
    assert_eq!(charges.len(), 1);
    assert_eq!((charges[0].amount_minor, charges[0].standing), (1999, Standing::Captured));
    let sold = nobody().get(&format!("/api/tickets/{ticket}")).await;
    assert_eq!((&sold.body["status"], &sold.body["orderId"]), (&json!("sold"), &json!(order)));
}

#[tokio::test]
async fn p6_a_declined_payment_is_402_and_frees_the_ticket() {
    for (token, code) in [
        ("tok_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclined", "generic_decline"),
        ("tok_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("tok_nonsense", "resource_missing"),
    ] {
        let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
        let order = buyer.order(&ticket).await;
        let answer = buyer.pay(&order, token).await.is(402);
        assert_eq!((answer.code(), &answer.body["declineCode"]), ("payment_declined", &json!(code)));
        let shown = buyer.get(&format!("/api/orders/{order}")).await.is(200);
        assert_eq!((&shown.body["status"], &shown.body["reason"]), (&json!("cancelled"), &json!("payment_failed")));
        Client::new().await.order(&ticket).await;
    }
}

#[tokio::test]
async fn p6_a_slow_bank_is_202_with_location_and_then_complete() {
    let world = World::shared();
    let impatient = world.with(Settings { payment_wait: Duration::from_millis(100), ..settings() });
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&impatient).await;
    let order = buyer.order(&ticket).await;
    let pending = buyer.pay(&order, "tok_slow_1000").await.is(202);
    assert_eq!(pending.header("location"), format!("/api/payments/{}", pending.id()));
    assert!(pending.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(
        (&pending.body["status"], &pending.body["orderStatus"]),
        (&json!("requested"), &json!("awaiting:payment"))
    );
    // Meanwhile the order can neither be given up (row R5) nor paid twice.
    let answer = buyer.delete(&format!("/api/orders/{order}")).await.is(409);
    assert_eq!(answer.code(), "payment_in_progress");
    assert_eq!(buyer.pay(&order, "tok_visa").await.is(202).id(), pending.id());
    settled(&mut buyer, &pending.id(), "captured").await;
    assert_eq!(buyer.pay(&order, "tok_visa").await.is(201).id(), pending.id());
    assert_eq!(charges(world, &order).len(), 1);
}

#[tokio::test]
async fn p6_a_capture_that_fails_leaves_the_order_complete_for_an_operator() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let paid = buyer.pay(&order, "tok_captureFails").await.is(201);
    let failed = settled(&mut buyer, &paid.id(), "capture_failed").await;
    assert_eq!((&failed.body["orderStatus"], &failed.body["failure"]), (&json!("complete"), &json!("capture_failed")));
}

#[tokio::test]
async fn p6_card_numbers_are_refused_at_the_door() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let body = json!({ "token": "tok_visa", "orderId": order });
    let keyed = buyer.with("idempotency-key", "4242424242424242").post("/api/payments", body).await.is(400);
    assert_eq!(keyed.code(), "raw_card_number");
    let named = buyer.with("x-request-id", "4242424242424242").get("/api/orders").await.is(200);
    assert_ne!(named.header("x-request-id"), "4242424242424242");
    for card in ["4242424242424242", "4242 4242 4242 4242", "378282246310005"] {
        let answer = buyer.pay(&order, card).await.is(400);
        assert_eq!(answer.code(), "raw_card_number");
        assert!(!answer.text.contains(card), "a card number is not even repeated");
    }
    assert_eq!(buyer.get(&format!("/api/orders/{order}")).await.body["status"], "created");
}

#[tokio::test]
async fn a_payment_is_shown_to_its_buyer_only() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let payment = buyer.pay(&order, "pm_card_visa").await.is(201).id();
    let path = format!("/api/payments/{payment}");
    assert_eq!(buyer.get(&path).await.is(200).id(), payment);
    Client::new().await.get(&path).await.is(401);
    nobody().get(&path).await.is(401);
    buyer.get(&format!("/api/payments/{NO_SUCH_ID}")).await.is(404);
    buyer.get("/api/payments/x").await.is(400);
}

#[tokio::test]
async fn d2_paying_twice_is_one_payment_and_one_charge() {
    let world = World::shared();
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&world.url).await;
    let order = buyer.order(&ticket).await;
    let first = buyer.pay(&order, "tok_visa").await.is(201);
    let again = buyer.pay(&order, "tok_mastercard").await.is(201);
    assert_eq!(first.id(), again.id());
    settled(&mut buyer, &first.id(), "captured").await;
    let lines = charges(world, &order);
    assert_eq!((lines.len(), lines[0].standing), (1, Standing::Captured));
}

#[tokio::test]
async fn d2_payments_at_once_are_one_charge() {
    let world = World::shared();
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&world.url).await;
    let order = buyer.order(&ticket).await;
    let pays = (0..8).map(|_| {
        let (mut buyer, order) = (buyer.clone(), order.clone());
        async move { buyer.pay(&order, "tok_slow_50").await.is(201).id() }
    });
    let ids = futures_util::future::join_all(pays).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(charges(world, &order).len(), 1);
}

#[tokio::test]
async fn d2_two_workers_at_once_charge_once() {
    let world = World::shared();
    let second = tokio::spawn(crate::server::carry_payments(world.app(), world.sandbox.clone()));
    for token in ["tok_visa", "tok_slow_100", "tok_slow_20", "tok_mastercard"] {
        let (ticket, mut buyer) = a_ticket_and_a_buyer(&world.url).await;
        let order = buyer.order(&ticket).await;
        let payment = buyer.pay(&order, token).await.is(201).id();
        settled(&mut buyer, &payment, "captured").await;
        let lines = charges(world, &order);
        assert_eq!((lines.len(), lines[0].standing), (1, Standing::Captured));
        assert_eq!(lines[0].amount_minor, 2000);
    }
    second.abort();
}

#[tokio::test]
async fn d3_money_that_comes_after_the_seat_was_sold_is_voided() {
    let world = World::hasty();
    let (ticket, mut late) = a_ticket_and_a_buyer(&world.url).await;
    let lost = late.order(&ticket).await;
    let waiting = {
        let (mut late, lost) = (late.clone(), lost.clone());
        tokio::spawn(async move { late.pay(&lost, "tok_slow_6000").await })
    };
    late.until(&format!("/api/orders/{lost}"), |answer| answer.body["status"] == "cancelled").await;
    let mut quick = Client::signed_up(&world.url).await;
    let won = quick.order(&ticket).await;
    quick.pay(&won, "tok_visa").await.is(201);
    let answer = waiting.await.unwrap().is(409);
    assert_eq!(answer.code(), "order_expired");
    let payment = answer.body["paymentId"].as_str().unwrap().to_string();
    settled(&mut late, &payment, "voided").await;
    assert_eq!(charges(world, &lost)[0].standing, Standing::Voided);
    let sold = quick.get(&format!("/api/tickets/{ticket}")).await;
    assert_eq!(sold.body["orderId"], json!(won));
    assert_eq!(late.get(&format!("/api/orders/{lost}")).await.body["status"], "cancelled");
}

#[tokio::test]
async fn r1_money_that_comes_late_completes_where_the_seat_is_still_free() {
    let world = World::hasty();
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&world.url).await;
    let order = buyer.order(&ticket).await;
    buyer.pay(&order, "tok_slow_3500").await.is(201);
    let history = buyer.get(&format!("/api/orders/{order}/history")).await.is(200).body;
    let events: Vec<_> = history.as_array().unwrap().iter().map(|change| change["event"].as_str().unwrap()).collect();
    assert!(events.contains(&"order:cancelled") && events.contains(&"order:reinstated"), "{events:?}");
    assert_eq!(buyer.get(&format!("/api/orders/{order}")).await.body["status"], "complete");
}

#[tokio::test]
async fn d4_paying_after_the_lock_ran_out_is_refused_and_nothing_is_charged() {
    let world = World::hasty();
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&world.url).await;
    let order = buyer.order(&ticket).await;
    buyer.until(&format!("/api/orders/{order}"), |answer| answer.body["status"] == "cancelled").await;
    let answer = buyer.pay(&order, "tok_visa").await;
    assert_eq!(answer.fails(400, "Cannot pay for an cancelled order", None).code(), "order_expired");
    assert!(charges(world, &order).is_empty());
}

#[tokio::test]
async fn d5_a_paid_order_cannot_be_cancelled() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    buyer.pay(&order, "tok_visa").await.is(201);
    assert_eq!(buyer.delete(&format!("/api/orders/{order}")).await.is(409).code(), "order_complete");
    assert_eq!(buyer.get(&format!("/api/orders/{order}")).await.body["status"], "complete");
}
