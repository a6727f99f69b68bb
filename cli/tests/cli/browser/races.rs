//! Several at once: for one ticket, in two tabs, against an operator, and over the death of a leader.

use holdfast_cli::client::Ask;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Shop, pay};
use crate::support::browser::{DESK, NO_SCRIPTS};

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_race_joins_the_line_and_gets_what_is_released() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("The last seat", "50.00").await;
    let faster = shop.account("faster@shop.example").await;
    let (browser, _) = shop.buyer(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await;
    let order = shop.lock(&ticket, &faster).await;
    // The page hears of it without being asked for again.
    browser.wait_for("Held by another buyer").await;
    browser.css("#join-line").await.click().await.expect("a click");
    browser.wait_for("number 1").await;
    shop.ask(Ask::new(Method::DELETE, format!("/api/orders/{order}")).by(&faster), 204).await;
    browser.wait_for("It is your turn").await;
    // Meanwhile it is nobody else's.
    let refused = shop.ask(Ask::post("/api/orders", json!({ "ticketId": ticket })).by(&faster), 400).await;
    assert_eq!(refused["errors"][0]["code"], "ticket_reserved");
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    pay(&browser, "tok_visa").await;
    browser.wait_for("The ticket is yours").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_that_comes_too_late_is_told_who_was_faster() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("The last seat", "50.00").await;
    let faster = shop.account("faster@shop.example").await;
    let (browser, _) = shop.buyer(NO_SCRIPTS).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    let buy = browser.css("#buy").await;
    shop.lock(&ticket, &faster).await;
    buy.click().await.expect("a click");
    browser.wait_for("Held by another buyer").await;
    assert!(browser.has("#join-line").await);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_of_one_buyer_make_one_order() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("Two tabs", "12.00").await;
    let (browser, email) = shop.buyer(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await;
    browser.second_tab(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    let order = browser.path().await;
    browser.first_tab().await;
    // Whether this tab has heard of the other's order or not, it leads to the same one.
    browser.reload().await;
    browser.press("Go on to pay").await;
    browser.wait_for("Time left to pay").await;
    let path = |whole: String| whole.split('?').next().unwrap_or_default().to_string();
    assert_eq!(path(browser.path().await), path(order));
    pay(&browser, "tok_visa").await;
    browser.wait_for("The ticket is yours").await;
    let account = shop.account(&email).await;
    let orders = shop.ask(Ask::get("/api/orders").by(&account), 200).await;
    assert_eq!(orders.as_array().map(Vec::len), Some(1), "{orders}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_banned_while_on_the_page_is_out_and_loses_the_lock() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("Not for you", "50.00").await;
    let operator = shop.account("operator@shop.example").await;
    shop.make_operator(&operator).await;
    let (browser, email) = shop.buyer(DESK).await;
    let banned = shop.account(&email).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    shop.ask(Ask::post(format!("/api/operator/users/{}/ban", banned.id), json!({})).by(&operator), 200).await;
    // The page ends by itself, and nobody is signed in on it any more.
    browser.wait_for("Sign in").await;
    assert!(!browser.has("#pay").await);
    let free = shop.ask(Ask::get(format!("/api/tickets/{ticket}")), 200).await;
    assert_eq!(free["status"], "available", "{free}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_between_lock_and_pay() {
    let mut shop = Shop::open(3).await;
    let ticket = shop.ticket("Fail-over", "99.00").await;
    let leader = shop.cluster.wait_for_leader().await.expect("a leader");
    let other = (leader + 1) % 3;
    let site = shop.cluster.urls()[other].clone();
    let mut browser = shop.visitor(DESK).await;
    browser.at(&site);
    browser.go("/auth/signup").await;
    browser.fill("Email", "steady@shop.example").await;
    browser.fill("Password", super::PASSWORD).await;
    browser.css("main form button").await.click().await.expect("a click");
    browser.wait_for("Sign out").await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    let order = browser.path().await;
    shop.cluster.kill(leader);
    pay(&browser, "tok_visa").await;
    // Without a leader the page says that sales pause; nothing is lost by asking again.
    let shown = ["The ticket is yours", "pause", "Your bank is being asked"];
    browser.wait_until("a decision or a pause", |said| shown.iter().any(|words| said.contains(words))).await;
    shop.cluster.wait_for_leader().await.expect("another leader");
    if !browser.says("The ticket is yours").await {
        browser.go(order.split('?').next().unwrap_or_default()).await;
        browser
            .wait_until("payable, being paid or paid", |said| {
                ["Time left to pay", "Your bank is being asked", "The ticket is yours"]
                    .iter()
                    .any(|words| said.contains(words))
            })
            .await;
        if browser.has("#pay").await {
            pay(&browser, "tok_visa").await;
        }
    }
    browser.wait_for("The ticket is yours").await;
    let account = shop.account("steady@shop.example").await;
    let orders = shop.ask(Ask::get("/api/orders").by(&account), 200).await;
    let complete = |order: &&Value| order["status"] == "complete";
    assert_eq!(orders.as_array().map(|orders| orders.iter().filter(complete).count()), Some(1), "{orders}");
    browser.close().await;
}
