//! Signed tickets: who gets them, and what the door says of them.

use holdfast_ledger::command::Command;
use serde_json::{Value, json};

use crate::client::{Client, a_ticket_and_a_buyer};
use crate::server::World;

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

/// A buyer, his complete order, and its ticket.
async fn bought() -> (Client, String, String) {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    buyer.pay(&order, "tok_visa").await.is(201);
    (buyer, order, ticket)
}

async fn verify(token: &str) -> Value {
    let sent = nobody().post("/api/tickets/verify", json!({"token": token})).await.is(200).body;
    let asked = nobody().get(&format!("/api/tickets/verify?token={token}")).await.is(200).body;
    assert_eq!(sent, asked);
    sent
}

#[tokio::test]
async fn a_bought_ticket_is_good_and_says_which_it_is() {
    let (mut buyer, order, ticket) = bought().await;
    let tickets = buyer.get(&format!("/api/orders/{order}/tickets")).await.is(200).body;
    let signed = &tickets[0];
    assert_eq!((&signed["ticketId"], &signed["price"]), (&json!(ticket), &json!(20)));
    let token = signed["token"].as_str().unwrap();
    let verified = verify(token).await;
    assert_eq!((&verified["valid"], &verified["orderId"]), (&json!(true), &json!(order)));
    assert_eq!((&verified["ticketId"], &verified["title"]), (&json!(ticket), &json!("concert")));
    assert!(verified["completedAtIndex"].as_u64().unwrap() > 0);
    let again = buyer.get(&format!("/api/orders/{order}/tickets")).await.is(200).body;
    assert_eq!(again[0]["token"], json!(token), "the same ticket is the same text");
}

#[tokio::test]
async fn a_signed_ticket_comes_as_an_image_and_as_a_file() {
    let (mut buyer, order, ticket) = bought().await;
    let signed = buyer.get(&format!("/api/orders/{order}/tickets")).await.is(200).body;
    let image = buyer.get(signed[0]["qr"].as_str().unwrap()).await.is(200);
    assert_eq!(image.header("content-type"), "image/svg+xml");
    assert!(image.text.contains("<svg"));
    let file = buyer.get(signed[0]["file"].as_str().unwrap()).await.is(200);
    assert_eq!(file.text, signed[0]["token"].as_str().unwrap());
    assert!(file.header("content-disposition").contains(&ticket));
    let folder = format!("/api/orders/{order}/tickets");
    buyer.get(&format!("{folder}/{ticket}.exe")).await.is(404);
    buyer.get(&format!("{folder}/{ticket}")).await.is(404);
    buyer.get(&format!("{folder}/x.svg")).await.is(400);
    Client::new().await.get(&format!("{folder}/{ticket}.svg")).await.is(401);
    nobody().get(&folder).await.is(401);
}

#[tokio::test]
async fn an_order_that_is_not_complete_has_no_tickets() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let answer = buyer.get(&format!("/api/orders/{order}/tickets")).await.is(409);
    assert_eq!(answer.code(), "order_not_complete");
}

#[tokio::test]
async fn a_refunded_ticket_is_not_good_any_more() {
    let (mut buyer, order, _) = bought().await;
    let path = format!("/api/orders/{order}/tickets");
    let token = buyer.get(&path).await.is(200).body[0]["token"].as_str().unwrap().to_string();
    buyer.until(&format!("/api/orders/{order}"), |answer| answer.body["status"] == "complete").await;
    refund(&order).await;
    let verified = verify(&token).await;
    assert_eq!((&verified["valid"], &verified["reason"]), (&json!(false), &json!("refunded")));
    assert_eq!(buyer.get(&path).await.is(409).code(), "order_refunded");
}

/// Asks for a refund, once the money has been captured.
async fn refund(order: &str) {
    use holdfast_ledger::command::{Actor, Submitted};
    let command = Command::RequestRefund { order: order.parse().unwrap() };
    for _ in 0..500 {
        let submitted = Submitted { actor: Actor::System, idempotency: None, command: command.clone() };
        let answer = World::shared().node.propose(submitted).await.expect("a lone node leads");
        if answer.outcome.settled.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the order is never refundable");
}

#[tokio::test]
async fn what_is_no_ticket_of_ours_is_not_good() {
    let (mut buyer, order, _) = bought().await;
    let token =
        buyer.get(&format!("/api/orders/{order}/tickets")).await.is(200).body[0]["token"].as_str().unwrap().to_string();
    for bad in ["", "x", "a.b.c", "%20"] {
        assert_eq!(verify(bad).await["reason"], "malformed", "{bad}");
    }
    let (head, signature) = token.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    assert_eq!(verify(&format!("{head}.{turned}")).await["reason"], "forged");
    let session = buyer.cookie.as_ref().unwrap().split_once('=').unwrap().1.to_string();
    assert_eq!(verify(&session).await["reason"], "forged", "a session is no ticket");
    let mut thief = nobody().with("authorization", format!("Bearer {token}"));
    thief.get("/api/orders").await.is(401);
}
