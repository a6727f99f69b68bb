//! What operators see and do, and that nobody else does.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::Settings;
use holdfast_events::broker::{Message, PullSettings, SharedBroker, StartAt, StreamSettings, ledger_stream};
use holdfast_events::memory::Memory;
use holdfast_events::outbox::NodeOutbox;
use holdfast_events::overview::Overview;
use holdfast_events::relay::{self, Relay};
use holdfast_ledger::entities::Roles;
use serde_json::{Value, json};

use crate::client::{Client, NO_SUCH_ID, a_ticket_and_a_buyer};
use crate::pages::Browser;
use crate::server::{World, settings};

const ROUTES: [(&str, &str); 9] = [
    ("GET", "/api/operator/cluster"),
    ("GET", "/api/operator/outbox"),
    ("GET", "/api/operator/events"),
    ("GET", "/api/operator/invariants"),
    ("GET", "/api/operator/webhooks"),
    ("GET", "/api/operator/service-keys"),
    ("POST", "/api/operator/invariants"),
    ("POST", "/api/operator/users/fffe00000000000000000000/ban"),
    ("POST", "/api/operator/orders/fffe00000000000000000000/release"),
];

#[tokio::test]
async fn nobody_else_gets_in_and_who_may_look_does_not_act() {
    let mut user = Client::new().await;
    let mut onlooker = Client::with_roles(Roles { seller: true, operator_read: true, operator_admin: false }).await;
    for (method, path) in ROUTES {
        let mut nobody = Client::anonymous(&World::shared().url);
        assert_eq!(nobody.send(method, path, None).await.is(401).code(), "not_signed_in", "{method} {path}");
        assert_eq!(user.send(method, path, None).await.is(403).code(), "forbidden", "{method} {path}");
        let looks = onlooker.send(method, path, None).await;
        assert_eq!(looks.status, if method == "GET" { 200 } else { 403 }, "{method} {path}: {looks:?}");
    }
}

#[tokio::test]
async fn the_cluster_shows_its_leader_its_members_and_what_the_ledger_holds() {
    let mut operator = Client::operator().await;
    Client::new().await.ticket("20").await;
    let cluster = operator.get("/api/operator/cluster").await.is(200).body;
    assert_eq!((&cluster["hasQuorum"], &cluster["leader"]), (&json!(true), &cluster["nodeId"]));
    let member = &cluster["members"][0];
    assert_eq!((&member["live"], &member["leader"], &member["lagEntries"]), (&json!(true), &json!(true), &json!(0)));
    assert!(cluster["ledger"]["tickets"].as_u64().unwrap() > 0);
    let mut events = operator.follow("/api/operator/cluster/events", None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["nodeId"]), ("cluster", &cluster["nodeId"]));
    let users = |cluster: &Value| cluster["ledger"]["users"].as_u64().unwrap();
    let before = users(&first.data);
    Client::new().await;
    events.until(|event| users(&event.data) > before).await;
}

#[tokio::test]
async fn an_operator_releases_a_lock_once() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let mut operator = Client::operator().await;
    let path = format!("/api/operator/orders/{order}");
    assert_eq!(operator.get(&path).await.is(200).body["status"], "created");
    let released = operator.post(&format!("{path}/release"), json!({})).await.is(200).body;
    assert_eq!((&released["status"], &released["reason"]), (&json!("cancelled"), &json!("operator")));
    assert_eq!(operator.post(&format!("{path}/release"), json!({})).await.is(409).code(), "order_cancelled");
    assert_eq!(buyer.get(&format!("/api/tickets/{ticket}")).await.body["status"], "available");
    operator.post(&format!("/api/operator/orders/{NO_SUCH_ID}/release"), json!({})).await.is(404);
    operator.get("/api/operator/orders/x").await.is(400);
}

#[tokio::test]
async fn an_operator_refunds_what_was_captured() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let mut operator = Client::operator().await;
    let path = format!("/api/operator/orders/{order}/refund");
    assert_eq!(operator.post(&path, json!({})).await.is(409).code(), "not_refundable");
    let payment = buyer.pay(&order, "tok_visa").await.is(201).id();
    let payment = format!("/api/payments/{payment}");
    buyer.until(&payment, |answer| answer.body["status"] == "captured").await;
    operator.post(&path, json!({})).await.is(202);
    buyer.until(&payment, |answer| answer.body["status"] == "refunded").await;
}

#[tokio::test]
async fn an_operator_bans_and_unbans() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    buyer.order(&ticket).await;
    let user = buyer.user_id().await;
    let mut operator = Client::operator().await;
    let path = format!("/api/operator/users/{user}");
    let shown = operator.get(&path).await.is(200).body;
    assert_eq!(
        (&shown["banned"], &shown["locksLive"], &shown["roles"]),
        (&json!(false), &json!(1), &json!(["seller"]))
    );
    let banned = operator.post(&format!("{path}/ban"), json!({})).await.is(200).body;
    assert_eq!((&banned["banned"], &banned["locksLive"], &banned["sessions"]), (&json!(true), &json!(0), &json!(0)));
    buyer.get("/api/orders").await.is(401);
    assert_eq!(operator.post(&format!("{path}/unban"), json!({})).await.is(200).body["banned"], json!(false));
    operator.post(&format!("/api/operator/users/{NO_SUCH_ID}/ban"), json!({})).await.is(404);
}

#[tokio::test]
async fn roles_are_given_and_taken() {
    let mut user = Client::new().await;
    let path = format!("/api/operator/users/{}/roles", user.user_id().await);
    let mut operator = Client::operator().await;
    let changed = operator.put(&path, json!({"roles": ["operator-read"]})).await.is(200).body;
    assert_eq!(changed["roles"], json!(["operator-read"]));
    user.get("/api/orders").await.is(401);
    let answer = operator.put(&path, json!({"roles": ["king"]})).await.is(400);
    assert_eq!(answer.body["errors"][0]["field"], "roles");
    operator.put(&path, json!({"roles": "seller"})).await.is(400);
}

#[tokio::test]
async fn a_webhooks_secret_is_shown_once() {
    let mut operator = Client::operator().await;
    let body = json!({"url": "https://example.com/hook", "eventTypes": ["order:completed"]});
    let made = operator.post("/api/operator/webhooks", body).await.is(201).body;
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    let path = format!("/api/operator/webhooks/{}", made["id"].as_str().unwrap());
    let listed = operator.get("/api/operator/webhooks").await.is(200);
    assert!(listed.text.contains("example.com/hook") && !listed.text.contains(secret));
    let changed = operator.put(&path, json!({"url": "https://example.com/other"})).await.is(200).body;
    assert_eq!((&changed["url"], changed.get("secret")), (&json!("https://example.com/other"), None));
    let renewed = operator.put(&path, json!({"url": "https://example.com/other", "newSecret": true})).await.is(200);
    assert_ne!(renewed.body["secret"].as_str().unwrap(), secret);
    operator.delete(&path).await.is(204);
    operator.delete(&path).await.is(404);
    for (bad, field) in [(json!({}), "url"), (json!({"url": "ftp://x"}), "url")] {
        let answer = operator.post("/api/operator/webhooks", bad).await.is(400);
        assert_eq!(answer.body["errors"][0]["field"], field);
    }
    let unknown = json!({"url": "https://example.com", "eventTypes": ["order:eaten"]});
    assert_eq!(operator.post("/api/operator/webhooks", unknown).await.is(400).body["errors"][0]["field"], "eventTypes");
}

#[tokio::test]
async fn invariants_are_checked_on_a_serving_node() {
    let mut operator = Client::operator().await;
    operator.post("/api/operator/invariants", json!({})).await.is(202);
    let checked = operator.until("/api/operator/invariants", |answer| !answer.body["last"].is_null()).await.body;
    let last = &checked["last"];
    assert_eq!((&last["holds"], &last["findings"]), (&json!(true), &json!([])));
    assert!(last["rows"].as_u64().unwrap() > 0);
    assert!(last["logIndex"].as_u64().unwrap() > 0 && last["stateHash"].as_str().unwrap().len() == 32);
    let again = operator.post("/api/operator/invariants", json!({})).await.is(429);
    assert!(again.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn the_outbox_is_shown() {
    let mut operator = Client::operator().await;
    let outbox = operator.get("/api/operator/outbox").await.is(200).body;
    let number = |name: &str| outbox[name].as_u64().unwrap();
    assert_eq!(number("waiting"), number("lastEvent") - number("acknowledged"));
}

/// A message under this subject, of which nothing else matters.
fn letter(subject: &str) -> Message {
    Message { subject: subject.into(), headers: vec![(Cow::Borrowed("ce-id"), "1".into())], body: "{}".into() }
}

#[tokio::test]
async fn who_follows_the_events_is_shown_and_so_is_a_broker_that_is_away() {
    const EVENTS: &str = "/api/operator/events";
    const PAGE: &str = "/operator/outbox";
    let mut operator = Client::operator().await;
    let none = operator.get(EVENTS).await.is(200).body;
    assert_eq!((&none["broker"], &none["relay"], &none["consumers"]), (&json!("none"), &Value::Null, &json!([])));
    let browser = Browser::operator().await;
    browser.get(PAGE).await.is(200).has("No broker");

    let memory = Memory::new(1, 1_000_000);
    let broker: SharedBroker = Arc::new(memory.clone());
    let relay = Relay::new(NodeOutbox::new(World::shared().node.clone()), broker.clone(), relay::Settings::default());
    let events = Some(Arc::new(Overview::new(broker.clone(), relay.watch())));
    let _relaying = tokio::spawn(async move { relay.run().await });
    let url = World::shared().with(Settings { events, ..settings() });
    let (mut operator, browser) = (operator.at(&url), browser.at_another(&url));
    let relays = |answer: &Value| answer["relay"]["phase"] == "relaying" && answer["stream"]["last"].as_u64() > Some(0);
    let seen = operator.until(EVENTS, |answer| relays(&answer.body)).await.body;
    assert_eq!((&seen["broker"], &seen["consumers"], &seen["deadLetters"]), (&json!("here"), &json!([]), &json!(0)));
    assert_eq!(seen["stream"]["name"], json!(ledger_stream(0)));
    browser.get(PAGE).await.is(200).has("It relays.").has("Nobody follows");

    let connection = broker.connect().await.unwrap();
    let pull = PullSettings {
        durable: Some("mailer".into()),
        filter: None,
        start: StartAt::First,
        ack_wait: Duration::from_secs(600),
        ack_pending_max: 10,
    };
    let pull = connection.pull(&ledger_stream(0), pull).await.unwrap();
    assert_eq!(pull.fetch(2, Duration::ZERO).await.unwrap().len(), 2);
    connection.ensure(&StreamSettings::dead()).await.unwrap();
    for subject in ["dead.v1.mailer", "redo.v1.mailer"] {
        let _ = connection.publish("LEDGER_DEAD", letter(subject), None).await.unwrap().await.unwrap();
    }
    let mailer = |answer: &Value| answer["consumers"][0]["deadLetters"] == 1;
    let seen = operator.until(EVENTS, |answer| mailer(&answer.body)).await.body;
    let consumer = &seen["consumers"][0];
    assert_eq!((&consumer["name"], &consumer["ackPending"]), (&json!("mailer"), &json!(2)), "{seen}");
    assert_eq!((&consumer["lastDelivered"], &consumer["redelivered"]), (&json!(2), &json!(0)), "{seen}");
    assert_eq!(seen["deadLetters"], 1, "a replay on its way is no letter: {seen}");
    browser.get(PAGE).await.is(200).has("<code>mailer</code>").has("1 event could not be handled");

    memory.stop();
    let seen = operator.until(EVENTS, |answer| answer.body["broker"] == "away").await.body;
    assert!(seen["trouble"].is_string() && seen["relay"].is_object(), "{seen}");
    browser.get(PAGE).await.is(200).has("The broker does not answer");
}

#[tokio::test]
async fn a_ticket_is_watched_and_no_longer() {
    let (ticket, mut watcher) = a_ticket_and_a_buyer(&World::shared().url).await;
    let path = format!("/api/tickets/{ticket}/watch");
    assert_eq!(watcher.get(&path).await.is(200).body["watching"], json!(false));
    for _ in 0..2 {
        watcher.post(&path, json!({})).await.is(204);
    }
    assert_eq!(watcher.get(&path).await.is(200).body["watching"], json!(true));
    assert_eq!(watcher.get("/api/watches").await.is(200).body[0]["id"], json!(ticket));
    watcher.delete(&path).await.is(204);
    assert_eq!(watcher.get("/api/watches").await.is(200).body, json!([]));
    watcher.post(&format!("/api/tickets/{NO_SUCH_ID}/watch"), json!({})).await.is(404);
    Client::anonymous(&World::shared().url).post(&path, json!({})).await.is(401);
}

#[tokio::test]
async fn locks_and_orders_are_found() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let order = buyer.order(&ticket).await;
    let user = buyer.user_id().await;
    let email = buyer.get("/api/users/currentuser").await.body["currentUser"]["email"].as_str().unwrap().to_string();
    let mut operator = Client::operator().await;
    for q in [&order, &ticket, &user, &email] {
        let found = operator.get(&format!("/api/operator/orders?q={q}&status=created")).await.is(200).body;
        assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &json!(order)), "{q}");
        let locks = operator.get(&format!("/api/operator/locks?q={q}")).await.is(200).body;
        assert_eq!(locks[0]["id"], json!(order), "{q}");
    }
    let newest = operator.get("/api/operator/orders?limit=1").await.is(200);
    assert_eq!(newest.body.as_array().unwrap().len(), 1);
    buyer.delete(&format!("/api/orders/{order}")).await.is(204);
    let of_user = async |operator: &mut Client, status: &str| {
        let path = format!("/api/operator/orders?q={user}&status={status}");
        operator.get(&path).await.is(200).body.as_array().unwrap().len()
    };
    assert_eq!((of_user(&mut operator, "created").await, of_user(&mut operator, "cancelled").await), (0, 1));
    assert_eq!(operator.get(&format!("/api/operator/locks?q={order}")).await.is(200).body, json!([]));
    assert_eq!(operator.get("/api/operator/orders?q=nobody@nowhere.com").await.is(200).body, json!([]));
    assert_eq!(operator.get("/api/operator/orders?status=eaten").await.is(400).body["errors"][0]["field"], "status");
}

#[tokio::test]
async fn accounts_are_found_by_address_and_id() {
    let mut user = Client::new().await;
    let (id, me) = (user.user_id().await, user.get("/api/users/currentuser").await.body);
    let email = me["currentUser"]["email"].as_str().unwrap();
    let mut operator = Client::operator().await;
    for q in [email, &email.to_uppercase(), &id] {
        let found = operator.get(&format!("/api/operator/users?q={q}")).await.is(200).body;
        assert!(found.as_array().unwrap().iter().any(|account| account["id"] == json!(id)), "{q}: {found}");
    }
    assert_eq!(operator.get(&format!("/api/operator/users?q={NO_SUCH_ID}")).await.is(200).body, json!([]));
    Client::new().await.user_id().await;
    let page = operator.get("/api/operator/users?limit=2").await.is(200);
    assert!(page.body.as_array().unwrap().len() == 2 && page.header("link").contains("limit=2"));
}

#[tokio::test]
async fn payments_that_hang_are_listed() {
    let mut operator = Client::operator().await;
    assert_eq!(operator.get("/api/operator/payments?openForSeconds=3600").await.is(200).body, json!([]));
    operator.get("/api/operator/payments").await.is(200);
    let answer = operator.get("/api/operator/payments?openForSeconds=soon").await.is(400);
    assert_eq!(answer.body["errors"][0]["field"], "openForSeconds");
}

#[tokio::test]
async fn what_operators_do_is_written_down_in_a_chain() {
    let mut operator = Client::operator().await;
    let (me, user) = (operator.user_id().await, Client::new().await.user_id().await);
    operator.post(&format!("/api/operator/users/{user}/ban"), json!({})).await.is(200);
    operator.post(&format!("/api/operator/users/{user}/unban"), json!({})).await.is(200);
    let rows = operator.get("/api/operator/audit").await.is(200).body;
    let rows = rows.as_array().unwrap();
    let of_user: Vec<_> = rows.iter().filter(|row| row["subject"] == json!(user)).collect();
    assert_eq!(
        of_user.iter().map(|row| row["action"].as_str().unwrap()).collect::<Vec<_>>(),
        ["unban_user", "ban_user"]
    );
    assert!(of_user.iter().all(|row| row["actor"] == json!(me) && row["subjectKind"] == "user"));
    for pair in rows.windows(2) {
        assert_eq!(pair[0]["previousHash"], pair[1]["hash"], "newest first");
    }
}
