//! The account after the sign-up: address, password, sessions, mails, its end, and the first operator.

use holdfast_api::new_operator_token;
use holdfast_ledger::command::Command;
use holdfast_ledger::id::{RequestId, UserId};
use holdfast_ledger::outcome::Reply;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use serde_json::{Value, json};

use crate::client::{Answer, Client, PASSWORD, new_email};
use crate::server::{World, limited};
use crate::tokens::{Claims, sign};

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

/// Somebody new: his address, his id and his client.
async fn somebody() -> (String, UserId, Client) {
    let (email, mut client) = (new_email(), nobody());
    let body = json!({"email": email, "password": PASSWORD});
    let id = client.post("/api/users/signup", body).await.is(201).id().parse().expect("an id");
    (email, id, client)
}

async fn sign_in(email: &str, password: &str) -> (Client, Answer) {
    let mut client = nobody();
    let answer = client.post("/api/users/signin", json!({"email": email, "password": password})).await;
    (client, answer)
}

/// The token of a mail, as a node signs it for the notifications service.
fn mailed(purpose: &str, user: UserId, request: RequestId) -> String {
    sign(
        &Claims { audience: &format!("holdfast/{purpose}"), ..Claims::good() },
        json!({"sub": user, "request": request}),
    )
}

async fn request(command: Command) -> RequestId {
    match World::shared().as_system(command).await {
        Reply::Request { request, .. } => request,
        other => panic!("a request is answered with its id: {other:?}"),
    }
}

#[tokio::test]
async fn the_account_is_shown_to_its_owner_alone() {
    let (email, id, mut client) = somebody().await;
    let shown = client.get("/api/users/me").await.is(200).body;
    assert_eq!((&shown["id"], &shown["email"], &shown["verified"]), (&json!(id), &json!(email), &json!(false)));
    assert_eq!(shown["roles"], json!(["buyer", "seller"]));
    let current = client.get("/api/users/currentuser").await.body;
    assert_eq!(current["currentUser"]["roles"], shown["roles"]);
    nobody().get("/api/users/me").await.fails(401, "Not authorized", None);
}

#[tokio::test]
async fn another_address_takes_the_password_and_is_the_one_to_sign_in_with() {
    let (email, _, mut client) = somebody().await;
    let other = new_email();
    let body = |password: &str| json!({"email": other, "password": password});
    client.put("/api/users/me/email", body("wrong")).await.fails(400, "This is not your password", Some("password"));
    client.put("/api/users/me/email", json!({})).await.fails(400, "Email must be valid", Some("email"));
    let shown = client.put("/api/users/me/email", body(PASSWORD)).await.is(200).body;
    assert_eq!(shown["email"], json!(other));
    sign_in(&email, PASSWORD).await.1.is(400);
    sign_in(&other, PASSWORD).await.1.is(200);
    // The session goes on: the address is not what it was opened with.
    client.get("/api/orders").await.is(200);
    let (taken, _, _) = somebody().await;
    let body = json!({"email": taken, "password": PASSWORD});
    client.put("/api/users/me/email", body).await.fails(400, "Email in use", Some("email"));
}

#[tokio::test]
async fn another_password_ends_every_session_but_the_one_that_asked() {
    let (email, _, mut here) = somebody().await;
    let (mut elsewhere, _) = sign_in(&email, PASSWORD).await;
    let body = |password: &str, new: &str| json!({"password": password, "newPassword": new});
    here.put("/api/users/me/password", body("wrong", "tr0ub4dor")).await.is(400);
    let short = here.put("/api/users/me/password", body(PASSWORD, "x")).await;
    short.fails(400, "Password must be between 4 and 20 characters", Some("newPassword"));
    let before = here.clone();
    here.put("/api/users/me/password", body(PASSWORD, "tr0ub4dor")).await.is(200);
    here.get("/api/orders").await.is(200);
    before.clone().get("/api/orders").await.is(401);
    elsewhere.get("/api/orders").await.is(401);
    elsewhere.post("/api/users/refresh", json!({})).await.is(401);
    sign_in(&email, PASSWORD).await.1.is(400);
    sign_in(&email, "tr0ub4dor").await.1.is(200);
}

#[tokio::test]
async fn a_change_of_the_password_whose_answer_was_lost_is_answered_again_under_its_key() {
    const PATH: &str = "/api/users/me/password";
    let (email, _, here) = somebody().await;
    let body = json!({"password": PASSWORD, "newPassword": "tr0ub4dor"});
    // The client keeps the token of before: the answer with the new one never came.
    let mut lost = here.with("idempotency-key", "change-1");
    lost.clone().put(PATH, body.clone()).await.is(200);
    lost.get("/api/orders").await.is(401);
    here.clone().put(PATH, body.clone()).await.fails(401, "Not authorized", None);
    here.with("idempotency-key", "change-2").put(PATH, body.clone()).await.is(401);
    let other = json!({"password": PASSWORD, "newPassword": "an0ther-one"});
    lost.clone().put(PATH, other).await.is(401);
    let again = lost.put(PATH, body.clone()).await.is(200);
    assert!(again.header("set-cookie").contains("session="), "{again:?}");
    lost.get("/api/orders").await.is(200);
    // Sent a third time, now under the new token, it is the same request still; with another password it is not.
    lost.put(PATH, body).await.is(200);
    let other = json!({"password": "tr0ub4dor", "newPassword": "an0ther-one"});
    assert_eq!(lost.put(PATH, other).await.is(422).code(), "idempotency_key_reused");
    sign_in(&email, "tr0ub4dor").await.1.is(200);
    // Once the session is over, no key brings it back.
    let over = lost.clone();
    lost.post("/api/users/signout", json!({})).await.is(200);
    over.clone().put(PATH, json!({"password": PASSWORD, "newPassword": "tr0ub4dor"})).await.is(401);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_and_all_at_once() {
    let (email, _, mut here) = somebody().await;
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let mut elsewhere = nobody().with("user-agent", firefox);
    elsewhere.post("/api/users/signin", json!({"email": email, "password": PASSWORD})).await.is(200);
    let listed = here.get("/api/users/me/sessions").await.is(200).body;
    let listed = listed.as_array().unwrap().clone();
    let current: Vec<_> = listed.iter().map(|session| session["current"].as_bool().unwrap()).collect();
    assert_eq!((current, &listed[0]["device"]), (vec![false, true], &json!("Firefox on Linux")));

    let path = |session: &Value| format!("/api/users/me/sessions/{}", session["id"].as_str().unwrap());
    // Somebody else's session is none of one's own, and stays.
    Client::new().await.delete(&path(&listed[0])).await.is(204);
    elsewhere.get("/api/orders").await.is(200);
    here.delete(&path(&listed[0])).await.is(204);
    elsewhere.get("/api/orders").await.is(401);
    here.delete("/api/users/me/sessions/zz").await.is(400);

    let (mut third, _) = sign_in(&email, PASSWORD).await;
    let kept = here.clone();
    let answer = here.delete("/api/users/me/sessions").await.is(204);
    assert!(answer.header("set-cookie").starts_with("session=;"), "{answer:?}");
    kept.clone().get("/api/orders").await.is(401);
    third.get("/api/orders").await.is(401);
}

#[tokio::test]
async fn a_reset_is_answered_alike_whether_there_is_an_account_or_not() {
    let (email, id, _) = somebody().await;
    let (banned, banned_id, _) = somebody().await;
    World::shared().as_system(Command::BanUser { user: banned_id }).await;
    for email in [&email, &new_email(), &banned] {
        let answer = nobody().post("/api/users/reset", json!({ "email": email })).await.is(202);
        assert_eq!((answer.body, answer.headers.get("log-index")), (json!({}), None), "nothing tells them apart");
    }
    nobody().post("/api/users/reset", json!({"email": "no"})).await.fails(400, "Email must be valid", Some("email"));
    let asked = |id: UserId| async move {
        let user = World::shared().node.read(Consistency::Linearizable, |state| query::user(state, id)).await.unwrap();
        user.unwrap().requests
    };
    assert_eq!((asked(id).await, asked(banned_id).await), (1, 0));
    // More mails than the ledger allows at a time: still the same answer.
    for _ in 0..10 {
        nobody().post("/api/users/reset", json!({ "email": email })).await.is(202);
    }
}

#[tokio::test]
async fn a_mailed_link_sets_another_password_once() {
    let (email, user, mut client) = somebody().await;
    let token = mailed("reset", user, request(Command::RequestReset { user }).await);
    let body = |token: &str| json!({"token": token, "password": "tr0ub4dor"});
    let bad = "This link does not work any more; ask for a new one";
    for wrong in ["", "x", "a.b.c", &mailed("verification", user, "000000000000000100000000".parse().unwrap())] {
        nobody().post("/api/users/reset/confirm", body(wrong)).await.fails(400, bad, Some("token"));
    }
    let short = nobody().post("/api/users/reset/confirm", json!({"token": token, "password": "x"})).await;
    short.fails(400, "Password must be between 4 and 20 characters", Some("password"));
    nobody().post("/api/users/reset/confirm", body(&token)).await.is(200);
    client.get("/api/orders").await.is(401);
    sign_in(&email, PASSWORD).await.1.is(400);
    let (mut again, answer) = sign_in(&email, "tr0ub4dor").await;
    answer.is(200);
    assert_eq!(again.get("/api/users/me").await.body["verified"], json!(true), "the mail has arrived");
    let used = nobody().post("/api/users/reset/confirm", body(&token)).await;
    assert_eq!(used.fails(400, bad, Some("token")).code(), "link_invalid");
}

#[tokio::test]
async fn a_reset_that_was_mailed_before_a_ban_is_of_no_use() {
    let (_, user, _) = somebody().await;
    let token = mailed("reset", user, request(Command::RequestReset { user }).await);
    World::shared().as_system(Command::BanUser { user }).await;
    nobody().post("/api/users/reset/confirm", json!({"token": token, "password": "tr0ub4dor"})).await.is(400);
}

#[tokio::test]
async fn a_mailed_link_proves_an_address_until_it_changes() {
    let (_, user, mut client) = somebody().await;
    nobody().post("/api/users/me/verification", json!({})).await.is(401);
    let node = &World::shared().node;
    let before = node.read(Consistency::Linearizable, |state| Ok(state.meta().event_seq)).await.unwrap();
    client.post("/api/users/me/verification", json!({})).await.is(202);
    let find = |state: &_| query::events(state, before, 100);
    let events = node.read(Consistency::Linearizable, find).await.unwrap().events;
    let asked = events.iter().rev().find_map(|event| match &event.body {
        holdfast_ledger::event::EventBody::UserRequest { user: whose, request, .. } if *whose == user => Some(*request),
        _ => None,
    });
    let token = mailed("verification", user, asked.expect("the mail is asked for by an event"));
    nobody().post("/api/users/reset/confirm", json!({"token": token, "password": "tr0ub4dor"})).await.is(400);
    nobody().post("/api/users/verify", json!({ "token": token })).await.is(200);
    assert_eq!(client.get("/api/users/me").await.body["verified"], json!(true));
    nobody().post("/api/users/verify", json!({ "token": token })).await.is(400);
    client.post("/api/users/me/verification", json!({})).await.is(202);
    client.put("/api/users/me/email", json!({"email": new_email(), "password": PASSWORD})).await.is(200);
    assert_eq!(client.get("/api/users/me").await.body["verified"], json!(false));
}

#[tokio::test]
async fn an_erased_account_leaves_its_orders_and_no_name() {
    let (email, user, mut client) = somebody().await;
    let (ticket, _) = crate::client::a_ticket_and_a_buyer(&World::shared().url).await;
    let order = client.order(&ticket).await;
    client.send("DELETE", "/api/users/me", Some(json!({"password": "wrong"}))).await.is(400);
    client.send("DELETE", "/api/users/me", None).await.fails(400, "You must supply a password", Some("password"));
    let kept = client.clone();
    let answer = client.send("DELETE", "/api/users/me", Some(json!({"password": PASSWORD}))).await.is(204);
    assert!(answer.header("set-cookie").starts_with("session=;"), "{answer:?}");
    kept.clone().get("/api/orders").await.is(401);
    sign_in(&email, PASSWORD).await.1.is(400);
    assert_eq!(nobody().get(&format!("/api/tickets/{ticket}")).await.body["status"], "available");
    let find = move |state: &_| Ok((query::personal(state, user)?, query::order(state, order.parse().unwrap())?));
    let (personal, order) = World::shared().node.read(Consistency::Linearizable, find).await.unwrap();
    assert!(personal.is_none() && order.is_some_and(|order| order.user == user));
    nobody().post("/api/users/signup", json!({"email": email, "password": PASSWORD})).await.is(201);
}

#[tokio::test]
async fn tries_of_one_password_are_bounded_whoever_makes_them() {
    let (email, _, _) = somebody().await;
    let url = World::shared().with(limited(1_000));
    let body = |email: &str| json!({"email": email, "password": "wrong"});
    // Unknown addresses are counted like known ones.
    for email in [email, new_email()] {
        let mut statuses = Vec::new();
        for _ in 0..6 {
            statuses.push(Client::anonymous(&url).post("/api/users/signin", body(&email)).await.status);
        }
        assert_eq!(statuses, [400, 400, 400, 400, 400, 429]);
    }
}

#[tokio::test]
async fn the_first_operator_claims_the_role_once_with_the_printed_token() {
    let world = World::fresh();
    let (token, token_hash) = new_operator_token();
    let mut client = Client::signed_up(&world.url).await;
    let claim = |token: &str| json!({ "token": token });
    client.post("/api/users/claim-operator", claim(&token)).await.is(400);
    world.as_system(Command::SetBootstrapToken { token_hash }).await;
    Client::anonymous(&world.url).post("/api/users/claim-operator", claim(&token)).await.is(401);
    let wrong = client.post("/api/users/claim-operator", claim("wrong")).await;
    wrong.fails(400, "This is not the token that was printed", Some("token"));
    let shown = client.post("/api/users/claim-operator", claim(&token)).await.is(200).body;
    assert_eq!(shown["roles"], json!(["buyer", "seller", "operator-read", "operator-admin"]));
    assert_eq!(client.get("/api/users/me").await.is(200).body["roles"], shown["roles"]);
    let late = Client::signed_up(&world.url).await.post("/api/users/claim-operator", claim(&token)).await;
    assert_eq!((late.status, late.code()), (409, "bootstrap_claimed"));
}
