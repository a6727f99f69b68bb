//! The feed of all events: pages, the stream, who may read, and what is gone.

use holdfast_ledger::command::Command;
use holdfast_ledger::entities::{Policy, Roles};
use serde_json::{Value, json};

use crate::client::{Client, PASSWORD};
use crate::server::World;

/// An operator at a server of the test's own, who may look.
async fn onlooker(world: &World) -> Client {
    let mut client = Client::anonymous(&world.url);
    let credentials = json!({"email": "looks@test.com", "password": PASSWORD});
    let user = client.post("/api/users/signup", credentials.clone()).await.is(201).id().parse().unwrap();
    let roles = Roles { seller: false, operator_read: true, operator_admin: false };
    world.as_system(Command::SetRoles { user, roles }).await;
    client.post("/api/users/signin", credentials).await.is(200);
    client
}

fn numbers(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().expect("events");
    events.iter().map(|event| event["seq"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn events_are_read_in_pages_and_what_retention_took_is_gone() {
    let world = World::fresh();
    let mut operator = onlooker(&world).await;
    let mut seller = Client::signed_up(&world.url).await;
    let ticket = seller.ticket("20.00").await;
    let all = operator.get("/api/events").await.is(200).body;
    let count: u64 = all["last"].as_str().unwrap().parse().unwrap();
    assert_eq!(numbers(&all), (1..=count).collect::<Vec<_>>());
    let last = &all["events"][count as usize - 1];
    assert_eq!((&last["type"], &last["subject"]), (&json!("ticket:created"), &json!(ticket)));
    let page = operator.get("/api/events?after=1&limit=1").await.is(200).body;
    assert_eq!(numbers(&page), [2]);
    assert!(numbers(&operator.get(&format!("/api/events?after={count}")).await.is(200).body).is_empty());

    world.as_system(Command::AckOutbox { upto: 2, losses: 0 }).await;
    world.as_system(Command::SetPolicy(Policy { outbox_retention_ms: 0, ..Policy::default() })).await;
    world.as_system(Command::Tick).await;
    let gone = operator.get("/api/events?after=0").await.is(410);
    assert_eq!((gone.code(), &gone.body["firstKept"]), ("events_trimmed", &json!("3")));
    assert_eq!(numbers(&operator.get("/api/events?after=2&limit=1").await.is(200).body), [3]);
    assert_eq!(numbers(&operator.get("/api/events?limit=1").await.is(200).body), [3]);
    operator.with("accept", "text/event-stream").get("/api/events?after=1").await.is(410);
}

#[tokio::test]
async fn the_stream_of_events_goes_on_where_it_broke_off() {
    let world = World::fresh();
    let operator = onlooker(&world).await;
    let mut seller = Client::signed_up(&world.url).await;
    let mut events = operator.follow("/api/events?after=1", None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.id.as_deref(), &first.data["seq"]), (Some("2"), &json!("2")));
    let ticket = seller.ticket("20.00").await;
    let told = events.until(|event| event.data["type"] == "ticket:created").await;
    assert_eq!(told.data["subject"], json!(ticket));
    let other = seller.ticket("30.00").await;
    let mut again = operator.follow("/api/events?after=1", told.id.as_deref()).await;
    assert_eq!(again.next().await.unwrap().data["subject"], json!(other));
}

#[tokio::test]
async fn the_feed_is_for_operators_and_services() {
    let url = &World::shared().url;
    Client::anonymous(url).get("/api/events").await.is(401);
    Client::signed_up(url).await.get("/api/events").await.is(403);
    let mut operator = Client::operator().await;
    for bad in ["after=x", "after=-1", "limit=0", "limit=101"] {
        operator.get(&format!("/api/events?{bad}")).await.is(400);
    }
}
