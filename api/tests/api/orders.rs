//! Rows O1 to O16 as far as HTTP shows them, and what the contract adds to orders.

use serde_json::{Value, json};

use crate::client::{Client, NO_SUCH_ID, a_ticket_and_a_buyer};
use crate::server::World;

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

#[tokio::test]
async fn o1_ordering_needs_somebody_signed_in() {
    nobody().post("/api/orders", json!({"ticketId": NO_SUCH_ID})).await.fails(401, "Not authorized", None);
}

#[tokio::test]
async fn o2_ordering_without_a_ticket_id_is_400() {
    let mut buyer = Client::new().await;
    for body in [json!({}), json!({"ticketId": ""}), json!({"ticketId": "x"}), json!({"ticketId": 5})] {
        let answer = buyer.post("/api/orders", body).await;
        answer.fails(400, "TicketId must be provided", Some("ticketId"));
    }
}

#[tokio::test]
async fn o3_ordering_an_unknown_ticket_is_404() {
    let answer = Client::new().await.post("/api/orders", json!({"ticketId": NO_SUCH_ID})).await;
    assert_eq!(answer.fails(404, "Not Found", None).code(), "ticket_not_found");
}

#[tokio::test]
async fn o4_ordering_a_reserved_ticket_is_400_and_says_when_to_come_back() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let answer = Client::new().await.post("/api/orders", json!({"ticketId": ticket})).await;
    let answer = answer.fails(400, "Ticket is already reserved", None);
    assert_eq!(answer.code(), "ticket_reserved");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=900).contains(&seconds), "{answer:?}");
    assert!(answer.body["reservedUntil"].as_str().unwrap().ends_with('Z'));
    // The same user's second tab is told which order is his.
    let own = buyer.post("/api/orders", json!({"ticketId": ticket})).await;
    let own = own.fails(400, "Ticket is already reserved", None);
    assert_eq!((own.code(), &own.body["orderId"]), ("ticket_reserved_by_you", &json!(order)));
}

#[tokio::test]
async fn o4_a_sold_ticket_is_400_as_well() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    buyer.pay(&order, "tok_visa").await.is(201);
    let answer = Client::new().await.post("/api/orders", json!({"ticketId": ticket})).await;
    assert_eq!(answer.fails(400, "Ticket is already reserved", None).code(), "ticket_sold");
}

#[tokio::test]
async fn o5_ordering_reserves_the_ticket_for_fifteen_minutes() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let answer = buyer.post("/api/orders", json!({"ticketId": ticket})).await.is(201);
    let order = &answer.body;
    let user = buyer.get("/api/users/currentuser").await.body["currentUser"]["id"].clone();
    assert_eq!((&order["status"], &order["userId"], &order["version"]), (&json!("created"), &user, &json!(0)));
    assert_eq!(order["ticket"], json!({"id": ticket, "title": "concert", "price": 20, "version": 1}));
    assert_eq!(order["tickets"], json!([order["ticket"]]));
    assert_eq!(order["total"], json!(20));
    let expires_at = order["expiresAt"].as_str().unwrap();
    assert!(expires_at.ends_with('Z') && expires_at.len() == 24, "{expires_at}");
    assert!((899..=900).contains(&order["expiresInSeconds"].as_u64().unwrap()), "{order}");
    assert!(!answer.header("log-index").is_empty() && answer.header("etag") == "\"0\"");
}

#[tokio::test]
async fn o6_the_list_has_the_callers_orders_only() {
    let url = &World::shared().url;
    let (one, mut buyer) = a_ticket_and_a_buyer(url).await;
    let (two, mut other) = a_ticket_and_a_buyer(url).await;
    let three = Client::new().await.ticket("30").await;
    let mine = [buyer.order(&one).await, buyer.order(&three).await];
    other.order(&two).await;
    buyer.delete(&format!("/api/orders/{}", mine[0])).await.is(204);
    let listed = buyer.get("/api/orders").await.is(200);
    let orders = listed.body.as_array().expect("a bare array");
    let ids: Vec<_> = orders.iter().map(|order| order["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&mine[1], &mine[0]], "newest first");
    assert_eq!((&orders[0]["status"], &orders[1]["status"]), (&json!("created"), &json!("cancelled")));
    assert_eq!(orders[0]["ticket"]["id"], json!(three));
}

#[tokio::test]
async fn o7_the_list_needs_somebody_signed_in() {
    nobody().get("/api/orders").await.fails(401, "Not authorized", None);
}

#[tokio::test]
async fn o8_the_callers_own_order_is_shown() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    assert_eq!(buyer.get(&format!("/api/orders/{order}")).await.is(200).id(), order);
}

#[tokio::test]
async fn o9_somebody_elses_order_is_401() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let answer = Client::new().await.get(&format!("/api/orders/{order}")).await;
    assert_eq!(answer.fails(401, "Not authorized", None).code(), "not_owner");
    nobody().get(&format!("/api/orders/{order}")).await.is(401);
}

#[tokio::test]
async fn o10_an_unknown_order_is_404_and_a_malformed_id_400() {
    let mut buyer = Client::new().await;
    buyer.get(&format!("/api/orders/{NO_SUCH_ID}")).await.fails(404, "Not Found", None);
    buyer.get("/api/orders/abc").await.fails(400, "Something went wrong", Some("orderId"));
    nobody().get("/api/orders/abc").await.is(401);
}

#[tokio::test]
async fn o11_cancelling_is_204_and_frees_the_ticket() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let path = format!("/api/orders/{order}");
    let answer = buyer.delete(&path).await.is(204);
    assert!(answer.text.is_empty() && !answer.header("log-index").is_empty());
    let shown = buyer.get(&path).await.is(200);
    assert_eq!((&shown.body["status"], &shown.body["reason"]), (&json!("cancelled"), &json!("buyer")));
    assert_eq!(shown.body["expiresInSeconds"], json!(0));
    buyer.delete(&path).await.is(204);
    Client::new().await.order(&ticket).await;
}

#[tokio::test]
async fn o12_cancelling_somebody_elses_unknown_or_as_nobody() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    Client::new().await.delete(&format!("/api/orders/{order}")).await.is(401);
    buyer.delete(&format!("/api/orders/{NO_SUCH_ID}")).await.is(404);
    nobody().delete(&format!("/api/orders/{order}")).await.is(401);
    assert_eq!(buyer.get(&format!("/api/orders/{order}")).await.body["status"], "created");
}

#[tokio::test]
async fn o15_a_lock_that_runs_out_cancels_the_order_and_frees_the_ticket() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::hasty().url).await;
    let order = buyer.order(&ticket).await;
    let path = format!("/api/orders/{order}");
    let over = buyer.until(&path, |answer| answer.body["status"] == "cancelled").await;
    assert_eq!(over.body["reason"], "expired");
    Client::signed_up(&World::hasty().url).await.order(&ticket).await;
}

#[tokio::test]
async fn o16_a_paid_order_is_complete() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    buyer.pay(&order, "tok_visa").await.is(201);
    assert_eq!(buyer.get(&format!("/api/orders/{order}")).await.body["status"], "complete");
}

#[tokio::test]
async fn r15_several_tickets_are_locked_all_or_none() {
    let url = &World::shared().url;
    let mut seller = Client::new().await;
    let (a, b, c) = (seller.ticket("10").await, seller.ticket("20.50").await, seller.ticket("30").await);
    let mut buyer = Client::signed_up(url).await;
    let body = |ids: &[&String]| json!({"tickets": ids.iter().map(|id| json!({"ticketId": id})).collect::<Vec<_>>()});
    let order = buyer.post("/api/orders", body(&[&a, &b])).await.is(201);
    assert!(order.body.get("ticket").is_none(), "one ticket would be ambiguous");
    assert_eq!((order.body["tickets"].as_array().unwrap().len(), &order.body["total"]), (2, &json!(30.5)));
    let lost = Client::new().await.post("/api/orders", body(&[&c, &b])).await.is(400);
    assert_eq!((lost.code(), &lost.body["ticketId"]), ("ticket_reserved", &json!(b)));
    let free = nobody().get(&format!("/api/tickets/{c}")).await;
    assert_eq!(free.body["status"], "available", "none of a refused order is locked");
    buyer.post("/api/orders", body(&[&c, &c])).await.is(400);
    buyer.post("/api/orders", json!({"tickets": []})).await.is(400);
    buyer.post("/api/orders", json!({"tickets": "x"})).await.is(400);
    buyer.post("/api/orders", json!({"ticketId": c, "tickets": [{"ticketId": c}]})).await.is(400);
}

#[tokio::test]
async fn a_lock_is_extended_once() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let path = format!("/api/orders/{order}");
    let extended = buyer.post(&format!("{path}/extend"), json!({})).await.is(200);
    assert!(extended.body["expiresInSeconds"].as_u64().unwrap() > 900, "{extended:?}");
    assert_eq!(extended.body["version"], json!(1));
    assert_eq!(buyer.post(&format!("{path}/extend"), json!({})).await.is(409).code(), "extensions_used_up");
    Client::new().await.post(&format!("{path}/extend"), json!({})).await.is(401);
}

#[tokio::test]
async fn the_history_tells_which_entry_decided() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let placed = buyer.post("/api/orders", json!({"ticketId": ticket})).await.is(201);
    let path = format!("/api/orders/{}", placed.id());
    buyer.delete(&path).await.is(204);
    let history = buyer.get(&format!("{path}/history")).await.is(200).body;
    let events: Vec<_> = history.as_array().unwrap().iter().map(|change| &change["event"]).collect();
    assert_eq!(events, ["order:created", "order:cancelled"]);
    assert_eq!(history[0]["logIndex"].to_string(), placed.header("log-index"));
    Client::new().await.get(&format!("{path}/history")).await.is(401);
    // The ticket's own tells a loser which order was first.
    let ticket_history = nobody().get(&format!("/api/tickets/{ticket}/history")).await.is(200).body;
    assert_eq!(ticket_history[1]["orderId"], json!(placed.id()));
}

#[tokio::test]
async fn d16_a_user_may_hold_only_so_many_locks() {
    let url = &World::hasty().url;
    let mut seller = Client::signed_up(url).await;
    let rows: Vec<Value> = (0..4).map(|n| json!({"title": format!("t{n}"), "price": 5})).collect();
    let made = seller.post("/api/tickets/bulk", json!(rows)).await.is(200).body;
    let ids: Vec<Value> = made.as_array().unwrap().iter().map(|line| json!({"ticketId": line["id"]})).collect();
    let mut buyer = Client::signed_up(url).await;
    let answer = buyer.post("/api/orders", json!({"tickets": ids})).await.is(409);
    assert_eq!((answer.code(), &answer.body["max"]), ("too_many_locks", &json!(3)));
}

#[tokio::test]
async fn r19_locks_that_run_out_unpaid_lead_to_a_cool_down() {
    let url = &World::hasty().url;
    let mut seller = Client::signed_up(url).await;
    let mut buyer = Client::signed_up(url).await;
    for _ in 0..2 {
        let ticket = seller.ticket("5").await;
        let order = buyer.order(&ticket).await;
        buyer.until(&format!("/api/orders/{order}"), |answer| answer.body["status"] == "cancelled").await;
    }
    let ticket = seller.ticket("5").await;
    let answer = buyer.post("/api/orders", json!({"ticketId": ticket})).await.is(429);
    assert_eq!(answer.code(), "cooling_down");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 500, "{answer:?}");
}
