//! The right-hand column of 1.8: what the original did wrong, where HTTP shows it and no other file has its row.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::{Client, a_ticket_and_a_buyer};
use crate::server::World;

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

#[tokio::test]
async fn d1_of_many_buyers_at_once_exactly_one_wins() {
    let ticket = Client::new().await.ticket("20").await;
    let buyers = join_all((0..40).map(|_| Client::new())).await;
    let asked = buyers.into_iter().map(|mut buyer| {
        let ticket = ticket.clone();
        async move { buyer.post("/api/orders", json!({"ticketId": ticket})).await }
    });
    let answers = join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for lost in answers.into_iter().filter(|answer| answer.status != 201) {
        lost.fails(400, "Ticket is already reserved", None);
    }
}

#[tokio::test]
async fn d6_every_version_of_an_order_is_in_its_history() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    buyer.post(&format!("/api/orders/{order}/extend"), json!({})).await.is(200);
    buyer.pay(&order, "tok_visa").await.is(201);
    let history = buyer.get(&format!("/api/orders/{order}/history")).await.is(200).body;
    let versions: Vec<_> =
        history.as_array().unwrap().iter().map(|change| change["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (0..versions.len() as u64).collect::<Vec<_>>());
    let shown = buyer.get(&format!("/api/orders/{order}")).await.body;
    assert_eq!(shown["version"].as_u64(), versions.last().copied());
}

#[tokio::test]
async fn d9_a_cancelled_order_is_cancelled_once() {
    let world = World::hasty();
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&world.url).await;
    let order = buyer.order(&ticket).await;
    buyer.delete(&format!("/api/orders/{order}")).await.is(204);
    // Another lock, taken later, has run out: so the cancelled one's time has passed as well.
    let (other, mut somebody) = a_ticket_and_a_buyer(&world.url).await;
    let later = somebody.order(&other).await;
    somebody.until(&format!("/api/orders/{later}"), |answer| answer.body["status"] == "cancelled").await;
    let history = buyer.get(&format!("/api/orders/{order}/history")).await.is(200).body;
    let events: Vec<_> = history.as_array().unwrap().iter().map(|change| &change["event"]).collect();
    assert_eq!(events, ["order:created", "order:cancelled"]);
}

#[tokio::test]
async fn d10_a_seller_cannot_buy_his_own_ticket() {
    let mut seller = Client::new().await;
    let ticket = seller.ticket("20").await;
    let answer = seller.post("/api/orders", json!({"ticketId": ticket})).await.is(400);
    assert_eq!(answer.code(), "own_ticket");
}

#[tokio::test]
async fn d11_prices_are_exact() {
    let mut seller = Client::new().await;
    for price in ["19.99", "0.01", "1.1", "4.35", "1001.10", "99999999.99"] {
        let body = format!(r#"{{"title":"concert","price":{price}}}"#);
        let answer =
            seller.send_raw("POST", "/api/tickets", Some(("application/json", body.into_bytes()))).await.is(201);
        let exact = price.trim_end_matches('0');
        assert!(answer.text.contains(&format!("\"price\":{exact},")), "{answer:?}");
    }
}

#[tokio::test]
async fn d12_r3_a_price_that_changed_after_the_buyer_saw_it_is_409_with_both_prices() {
    let mut seller = Client::new().await;
    let ticket = seller.ticket("20").await;
    let mut buyer = Client::new().await;
    seller.put(&format!("/api/tickets/{ticket}"), json!({"title": "concert", "price": "25.50"})).await.is(200);
    let lost = buyer.post("/api/orders", json!({"ticketId": ticket, "price": "20.00"})).await.is(409);
    assert_eq!(lost.code(), "price_changed");
    assert_eq!((&lost.body["seenPrice"], &lost.body["price"]), (&json!(20), &json!(25.5)));
    let lost = buyer.post("/api/orders", json!({"ticketId": ticket, "version": 0})).await.is(409);
    assert_eq!((lost.code(), &lost.body["price"]), ("price_changed", &json!(25.5)));
    buyer.post("/api/orders", json!({"ticketId": ticket, "max_price": 25})).await.is(409);
    buyer.post("/api/orders", json!({"ticketId": ticket, "price": 25.5, "version": 1})).await.is(400);
    let won = buyer.post("/api/orders", json!({"ticketId": ticket, "max_price": 30})).await.is(201);
    assert_eq!(won.body["ticket"]["price"], json!(25.5), "a ceiling is not a price");
}

#[tokio::test]
async fn d12_a_version_is_refused_only_when_the_price_changed() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    buyer.delete(&format!("/api/orders/{order}")).await.is(204);
    // Locked and released: the version is another one, the price is not.
    let mut other = Client::new().await;
    other.post("/api/orders", json!({"ticketId": ticket, "version": 0})).await.is(201);
}

#[tokio::test]
async fn d15_codes_tell_apart_what_the_statuses_do_not() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let path = format!("/api/orders/{order}");
    assert_eq!(nobody().get(&path).await.is(401).code(), "not_signed_in");
    assert_eq!(Client::new().await.get(&path).await.is(401).code(), "not_owner");
}

#[tokio::test]
async fn d17_a_malformed_id_names_its_field_on_every_route() {
    let mut user = Client::new().await;
    let edit = json!({"title": "x", "price": 5});
    let answers = [
        (user.get("/api/tickets/x").await, "id"),
        (user.put("/api/tickets/x", edit).await, "id"),
        (user.delete("/api/tickets/x").await, "id"),
        (user.get("/api/tickets/x/history").await, "id"),
        (user.get("/api/orders/x").await, "orderId"),
        (user.delete("/api/orders/x").await, "orderId"),
        (user.post("/api/orders/x/extend", json!({})).await, "orderId"),
        (user.get("/api/payments/x").await, "id"),
        (user.get("/api/tickets?seller=x").await, "seller"),
    ];
    for (answer, field) in answers {
        assert_eq!((answer.status, answer.body["errors"][0]["field"].as_str()), (400, Some(field)), "{answer:?}");
        assert_eq!(answer.code(), "malformed_id");
    }
}

#[tokio::test]
async fn d18_a_ticket_is_off_the_list_the_moment_it_is_ordered() {
    let mut seller = Client::new().await;
    let mut buyer = Client::new().await;
    let me = seller.get("/api/users/currentuser").await.body["currentUser"]["id"].as_str().unwrap().to_string();
    let path = format!("/api/tickets?seller={me}");
    for _ in 0..10 {
        let ticket = seller.ticket("20").await;
        assert_eq!(nobody().get(&path).await.body[0]["id"], json!(ticket));
        buyer.order(&ticket).await;
        assert_eq!(nobody().get(&path).await.body, json!([]));
    }
}

#[tokio::test]
async fn d19_the_countdown_needs_no_clock_of_the_clients() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let path = format!("/api/orders/{order}");
    let first = buyer.get(&path).await.is(200).body;
    assert!(first["serverTime"].as_str().unwrap().ends_with('Z'));
    // It runs down although nothing happens in the ledger.
    let left = |body: &Value| body["expiresInSeconds"].as_u64().unwrap();
    let later = buyer.until(&path, |answer| left(&answer.body) < left(&first)).await;
    assert_eq!(later.body["expiresAt"], first["expiresAt"]);
}
