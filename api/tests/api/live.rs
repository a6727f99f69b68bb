//! Server-sent events: what comes, in which order, from where on, and when a stream ends.

use holdfast_ledger::command::Command;
use serde_json::json;

use crate::client::{Client, NO_SUCH_ID, a_ticket_and_a_buyer};
use crate::server::{World, settings};

#[tokio::test]
async fn a_ticket_is_told_at_once_and_at_every_change() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let nobody = Client::anonymous(&World::shared().url);
    let mut events = nobody.follow(&format!("/api/tickets/{ticket}/events"), None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["status"]), ("ticket", &json!("available")));
    let order = buyer.order(&ticket).await;
    let locked = events.until(|event| event.data["status"] == "locked").await;
    assert_eq!((&locked.data["orderId"], &locked.data["version"]), (&json!(order), &json!(1)));
    let index = |event: &crate::client::Event| event.id.as_ref().unwrap().parse::<u64>().unwrap();
    assert!(index(&locked) > index(&first));
    buyer.delete(&format!("/api/orders/{order}")).await.is(204);
    assert_eq!(events.until(|event| event.data["version"] == 2).await.data["status"], "available");
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let path = format!("/api/tickets/{ticket}/events");
    let nobody = Client::anonymous(&World::shared().url);
    let seen = nobody.follow(&path, None).await.next().await.unwrap().id.unwrap();
    // Nothing has changed since: the first thing to be told is the lock.
    let mut unchanged = nobody.follow(&path, Some(&seen)).await;
    let order = buyer.order(&ticket).await;
    assert_eq!(unchanged.next().await.unwrap().data["status"], "locked");
    // What changed meanwhile is told at once.
    let mut changed = nobody.follow(&path, Some(&seen)).await;
    assert_eq!(changed.next().await.unwrap().data["orderId"], json!(order));
    for bad in ["x", "-1", "1.5"] {
        let answer = nobody.with("last-event-id", bad).get(&path).await.is(400);
        assert_eq!(answer.body["errors"][0]["field"], "Last-Event-ID");
    }
    nobody.with("last-event-id", "999999999").get(&path).await.is(400);
    nobody.clone().get(&format!("/api/tickets/{NO_SUCH_ID}/events")).await.is(404);
}

#[tokio::test]
async fn an_order_is_told_to_its_buyer_alone() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let path = format!("/api/orders/{order}/events");
    let mut events = buyer.follow(&path, None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["status"]), ("order", &json!("created")));
    assert!(first.data["expiresInSeconds"].as_u64().unwrap() > 0);
    buyer.pay(&order, "tok_visa").await.is(201);
    events.until(|event| event.data["status"] == "complete").await;
    Client::new().await.get(&path).await.is(401);
    Client::anonymous(&World::shared().url).get(&path).await.is(401);
}

#[tokio::test]
async fn a_lock_that_runs_out_is_told() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::hasty().url).await;
    let order = buyer.order(&ticket).await;
    let mut events = buyer.follow(&format!("/api/orders/{order}/events"), None).await;
    let over = events.until(|event| event.data["status"] == "cancelled").await;
    assert_eq!((&over.data["reason"], &over.data["expiresInSeconds"]), (&json!("expired"), &json!(0)));
}

#[tokio::test]
async fn all_tickets_are_told_in_order_and_from_an_index_on() {
    let mut seller = Client::new().await;
    let nobody = Client::anonymous(&World::shared().url);
    let mut events = nobody.follow("/api/tickets/events", None).await;
    let ready = events.next().await.unwrap();
    assert_eq!(ready.name, "ready");
    let since = ready.data["logIndex"].to_string();
    let tickets: Vec<String> = vec![seller.ticket("1").await, seller.ticket("2").await];
    let mut resumed = nobody.follow("/api/tickets/events", Some(&since)).await;
    for stream in [&mut events, &mut resumed] {
        for ticket in &tickets {
            let told = stream.until(|event| event.data["id"] == json!(ticket)).await;
            assert_eq!((told.name.as_str(), &told.data["status"]), ("availability", &json!("available")));
        }
    }
}

#[tokio::test]
async fn who_missed_too_much_is_told_to_load_the_list() {
    let mut seller = Client::new().await;
    for batch in 0..3 {
        let rows: Vec<_> = (0..800).map(|n| json!({"title": format!("many {batch} {n}"), "price": 1})).collect();
        seller.post("/api/tickets/bulk", json!(rows)).await.is(200);
    }
    let mut events = Client::anonymous(&World::shared().url).follow("/api/tickets/events", Some("1")).await;
    assert_eq!(events.next().await.unwrap().name, "reset");
}

#[tokio::test]
async fn a_stream_ends_with_its_readers_session() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let path = format!("/api/tickets/{ticket}/events");
    let mut of_banned = buyer.follow(&path, None).await;
    of_banned.next().await.unwrap();
    let me = buyer.get("/api/users/currentuser").await.body["currentUser"]["id"].as_str().unwrap().to_string();
    World::shared().as_system(Command::BanUser { user: me.parse().unwrap() }).await;
    assert_eq!(of_banned.until(|event| event.name == "end").await.data["reason"], "banned");
    assert!(of_banned.next().await.is_none());

    let mut other = Client::new().await;
    let mut of_signed_out = other.follow(&path, None).await;
    of_signed_out.next().await.unwrap();
    other.post("/api/users/signout", json!({})).await.is(200);
    assert_eq!(of_signed_out.until(|event| event.name == "end").await.data["reason"], "signed_out");
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams() {
    let ticket = Client::new().await.ticket("20").await;
    let (url, stop, served) = World::shared().stoppable(settings());
    let mut events = Client::anonymous(&url).follow(&format!("/api/tickets/{ticket}/events"), None).await;
    events.next().await.unwrap();
    stop.send(()).unwrap();
    assert_eq!(events.until(|event| event.name == "end").await.data["reason"], "stopping");
    assert!(events.next().await.is_none());
    tokio::time::timeout(std::time::Duration::from_secs(10), served).await.expect("nothing holds it back").unwrap();
}
