//! A purchase, from the first look to the ticket, and the ways in which it ends otherwise.

use holdfast_cli::client::Ask;
use serde_json::json;

use super::{PASSWORD, Shop, pay};
use crate::support::browser::DESK;

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_signs_up_on_the_way_and_buys() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("Row A, seat 7", "20.00").await;
    let browser = shop.visitor(DESK).await;
    browser.go("/").await;
    browser.press("Row A, seat 7").await;
    browser.wait_for_path(|path| path == format!("/tickets/{ticket}"), "the ticket").await;
    browser.wait_for("$20.00").await;
    browser.css("#buy").await.click().await.expect("a click");
    // He has no account: signing up brings him back to what he was buying.
    browser.wait_for_path(|path| path.starts_with("/auth/sign"), "signing up").await;
    if browser.path().await.starts_with("/auth/signin") {
        browser.press("Sign up").await;
        browser.wait_for_path(|path| path.starts_with("/auth/signup"), "signing up").await;
    }
    browser.fill("Email", "newcomer@shop.example").await;
    browser.fill("Password", PASSWORD).await;
    browser.css("main form button").await.click().await.expect("a click");
    browser.wait_for_path(|path| path.starts_with(&format!("/tickets/{ticket}")), "the ticket again").await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for_path(|path| path.starts_with("/orders/"), "the order").await;
    browser.wait_for("Time left to pay").await;
    // The countdown counts.
    let shown = browser.css("#countdown .count").await.text().await.expect("text");
    browser.wait_until("the countdown counts", |said| !said.contains(&shown)).await;
    pay(&browser, "tok_visa").await;
    browser.wait_for("The ticket is yours").await;
    assert!(browser.css("img.qr").await.attr("src").await.expect("an attribute").is_some());
    // The signed ticket is good for whoever checks it.
    let path = browser.run("return document.querySelector('.pass a[download]').getAttribute('href')").await;
    assert!(path.as_str().is_some_and(|path| path.ends_with(".jws")), "{path}");
    browser.go("/orders").await;
    browser.wait_for("Row A, seat 7").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_frees_the_ticket_and_the_next_one_pays() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("Row B, seat 1", "35.50").await;
    let (browser, _) = shop.buyer(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    pay(&browser, "tok_chargeDeclined").await;
    browser.wait_for("The payment was declined").await;
    browser.wait_for("Nothing was charged").await;
    browser.press("Back to Row B, seat 1").await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    pay(&browser, "tok_visa").await;
    browser.wait_for("The ticket is yours").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_price_is_asked_about_before_anything_is_held() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("Row C, seat 3", "20.00").await;
    let (browser, email) = shop.buyer(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.wait_for("$20.00").await;
    // What the page shows stays as it was: as if the stream of changes were late.
    browser.run("document.querySelector('#price').closest('[data-live]').removeAttribute('data-live')").await;
    let raised = json!({ "title": "Row C, seat 3", "price": "25.00" });
    shop.ask(Ask::put(format!("/api/tickets/{ticket}"), raised).by(&shop.seller), 200).await;
    browser.run("document.querySelector('input[name=price]').value = '20.00'").await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.css("dialog[open]").await;
    browser.wait_for("The price has changed").await;
    for words in ["$20.00", "$25.00", "Nothing is held"] {
        browser.wait_for(words).await;
    }
    let account = shop.account(&email).await;
    let orders = shop.ask(Ask::get("/api/orders").by(&account), 200).await;
    assert_eq!(orders, json!([]));
    browser.css("#buy-anyway").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    browser.wait_for("$25.00").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lock_says_so_and_shows_no_card_field() {
    let shop = Shop::open(1).await;
    shop.rule(json!({ "lock_ttl_ms": 4_000 })).await;
    let ticket = shop.ticket("Row D, seat 4", "20.00").await;
    let (browser, _) = shop.buyer(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    assert!(browser.has("#pay").await);
    browser.wait_for("Order expired").await;
    assert!(!browser.has("#pay").await && !browser.has("input[name=token]").await);
    browser.wait_for("Nothing was charged").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_time_is_given_once_the_countdown_follows_and_then_it_is_over() {
    let shop = Shop::open(1).await;
    shop.rule(json!({ "lock_ttl_ms": 8_000, "lock_extension_ms": 16_000 })).await;
    let ticket = shop.ticket("Row E, seat 5", "20.00").await;
    let (browser, email) = shop.buyer(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    let left = async || {
        let left = browser.run("return Number(document.querySelector('#countdown .count').dataset.left)").await;
        left.as_u64().expect("seconds")
    };
    let before = left().await;
    browser.press("I need more time").await;
    browser.wait_for("You have more time").await;
    let after = left().await;
    assert!(before <= 8 && after > before, "{before} s, then {after} s");
    let account = shop.account(&email).await;
    let order = shop.ask(Ask::get("/api/orders").by(&account), 200).await[0]["id"].as_str().expect("an id").to_string();
    let refused = shop.ask(Ask::post(format!("/api/orders/{order}/extend"), json!({})).by(&account), 409).await;
    assert_eq!(refused["errors"][0]["code"], "extensions_used_up", "{refused}");
    // Nobody reloads the page: it says by itself that time is over.
    browser.wait_for("Order expired").await;
    assert!(!browser.has("#pay").await);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_confirm_at_his_bank_goes_there_and_comes_back() {
    let shop = Shop::open(1).await;
    let tickets = [shop.ticket("Row G, seat 7", "20.00").await, shop.ticket("Row G, seat 8", "30.00").await];
    let (browser, _) = shop.buyer(DESK).await;
    for (ticket, answer) in tickets.iter().zip(["Yes, it is me", "No, it is not"]) {
        browser.go(&format!("/tickets/{ticket}")).await;
        browser.css("#buy").await.click().await.expect("a click");
        browser.wait_for("Time left to pay").await;
        let order = browser.path().await;
        pay(&browser, "tok_3ds").await;
        browser.wait_for("Your bank wants you to confirm").await;
        browser.press("Go to the bank").await;
        browser.wait_for("Sandbox bank").await;
        browser.press(answer).await;
        browser.wait_for_path(|path| path == order, "the order again").await;
        match answer {
            "Yes, it is me" => browser.wait_for("The ticket is yours").await,
            _ => {
                browser.wait_for("The payment was declined").await;
                browser.wait_for("You were not confirmed as the owner of the card").await;
            }
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_takes_its_time_is_waited_for_on_the_page() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("Row F, seat 6", "20.00").await;
    let (browser, _) = shop.buyer(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    pay(&browser, "tok_slow").await;
    browser.wait_for("The ticket is yours").await;
    browser.close().await;
}
