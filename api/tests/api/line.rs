//! The fair line for a locked ticket, as its buyers meet it.

use serde_json::json;

use crate::client::{Client, NO_SUCH_ID, a_ticket_and_a_buyer};
use crate::server::World;

#[tokio::test]
async fn the_next_in_line_is_offered_the_ticket_and_nobody_else_gets_it() {
    let url = &World::shared().url;
    let (ticket, mut holder) = a_ticket_and_a_buyer(url).await;
    let order = holder.order(&ticket).await;
    let (mut first, mut second) = (Client::new().await, Client::new().await);
    let lost = first.post("/api/orders", json!({"ticketId": ticket})).await.is(400);
    assert_eq!((lost.code(), &lost.body["line"]), ("ticket_reserved", &json!(format!("/api/tickets/{ticket}/line"))));
    assert!(lost.body["reservedUntil"].is_string() && !lost.header("retry-after").is_empty());

    let line = format!("/api/tickets/{ticket}/line");
    let joined = first.post(&line, json!({})).await.is(201).body;
    assert_eq!(
        (&joined["status"], &joined["position"], &joined["lineLength"]),
        (&json!("waiting"), &json!(1), &json!(1))
    );
    assert_eq!(second.post(&line, json!({})).await.is(201).body["position"], json!(2));
    assert_eq!(second.post(&line, json!({})).await.is(201).body["lineLength"], json!(2), "asked twice it is one place");

    holder.delete(&format!("/api/orders/{order}")).await.is(204);
    let offered = first.get(&line).await.is(200).body;
    assert_eq!((&offered["status"], &offered["ticketStatus"]), (&json!("offered"), &json!("offered")));
    assert!(offered["position"].is_null() && offered["offerExpiresInSeconds"].as_u64().unwrap() > 0);
    assert_eq!(second.get(&line).await.is(200).body["position"], json!(2), "the one with the offer still counts");
    let kept = second.post("/api/orders", json!({"ticketId": ticket})).await.is(400);
    assert_eq!(kept.code(), "ticket_reserved");
    first.order(&ticket).await;
    assert_eq!(first.get(&line).await.is(200).body["status"], "none");
}

#[tokio::test]
async fn who_leaves_lets_the_next_one_up() {
    let (ticket, mut holder) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = holder.order(&ticket).await;
    let line = format!("/api/tickets/{ticket}/line");
    let (mut first, mut second) = (Client::new().await, Client::new().await);
    first.post(&line, json!({})).await.is(201);
    second.post(&line, json!({})).await.is(201);
    let places = first.get("/api/line").await.is(200).body;
    assert_eq!((&places[0]["ticketId"], &places[0]["title"]), (&json!(ticket), &json!("concert")));
    holder.delete(&format!("/api/orders/{order}")).await.is(204);
    first.delete(&line).await.is(204);
    assert_eq!(second.get(&line).await.is(200).body["status"], "offered");
    assert_eq!(first.delete(&line).await.is(404).code(), "place_not_found");
    assert_eq!(first.get("/api/line").await.is(200).body, json!([]));
}

#[tokio::test]
async fn only_what_somebody_has_is_waited_for() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let line = format!("/api/tickets/{ticket}/line");
    assert_eq!(buyer.post(&line, json!({})).await.is(409).code(), "ticket_available");
    buyer.post(&format!("/api/tickets/{NO_SUCH_ID}/line"), json!({})).await.is(404);
    buyer.get("/api/tickets/x/line").await.is(400);
    Client::anonymous(&World::shared().url).post(&line, json!({})).await.is(401);
}

#[tokio::test]
async fn a_ticket_says_until_when_it_is_held_and_how_many_wait() {
    let (ticket, mut holder) = a_ticket_and_a_buyer(&World::shared().url).await;
    let path = format!("/api/tickets/{ticket}");
    let mut nobody = Client::anonymous(&World::shared().url);
    let mut events = nobody.follow(&format!("{path}/events"), None).await;
    assert!(nobody.get(&path).await.body.get("reservedUntil").is_none());
    let order = holder.order(&ticket).await;
    let held = nobody.get(&path).await.body;
    let expires = holder.get(&format!("/api/orders/{order}")).await.body["expiresAt"].clone();
    assert_eq!(held["reservedUntil"], expires);
    assert!(held["reservedForSeconds"].as_u64().unwrap() > 800);
    Client::new().await.post(&format!("{path}/line"), json!({})).await.is(201);
    let told = events.until(|event| event.data["lineLength"] == 1).await;
    assert_eq!((&told.data["status"], &told.data["reservedUntil"]), (&json!("locked"), &expires));
    holder.delete(&format!("/api/orders/{order}")).await.is(204);
    events.until(|event| event.data["status"] == "offered").await;
}
