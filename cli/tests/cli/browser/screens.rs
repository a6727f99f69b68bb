//! Pictures of every page for `docs/screens/`: `make screens`.

use std::path::{Path, PathBuf};

use holdfast_cli::client::{Account, Ask};
use serde_json::json;

use super::{OPERATOR, Shop, pay, sign_in};
use crate::support::browser::{Browser, DARK, DESK, Device, PHONE};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screens")
}

async fn take(browser: &Browser, name: &str, shape: &str) {
    let picture = browser.picture().await.expect("a picture");
    std::fs::write(folder().join(format!("{name}-{shape}.png")), picture).expect("written");
}

/// A seat of one evening, on sale; the ticket's id.
async fn seat(shop: &Shop, by: &Account, (section, row, seat): (&str, &str, &str), price: &str) -> String {
    let body = json!({
        "title": format!("{section}, row {row}, seat {seat}"), "price": price, "eventName": "The Winter’s Tale",
        "venue": "City Hall", "section": section, "row": row, "seat": seat, "startsAt": "2027-02-14T19:30:00Z",
    });
    let created = shop.ask(Ask::post("/api/tickets", body).by(by), 201).await;
    created["id"].as_str().expect("an id").to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes docs/screens; run by make screens"]
async fn take_pictures_of_every_page() {
    std::fs::create_dir_all(folder()).expect("a folder");
    for (shape, device) in [("light", DESK), ("dark", DARK), ("phone", PHONE)] {
        let shop = Shop::open(1).await;
        for number in ["1", "2", "3", "4"] {
            seat(&shop, &shop.seller, ("Stalls", "C", number), "45.00").await;
        }
        take_buyers(&shop, device, shape).await;
        take_sellers(&shop, device, shape).await;
        take_operators(&shop, device, shape).await;
        take_the_ends(&shop, device, shape).await;
        take_without_a_quorum(device, shape).await;
    }
}

async fn take_buyers(shop: &Shop, device: Device, shape: &str) {
    let free = seat(shop, &shop.seller, ("Gallery", "A", "12"), "28.50").await;
    let held = seat(shop, &shop.seller, ("Box", "B", "3"), "96.00").await;
    let [bought, declined, raised] =
        ["5", "6", "7"].map(|number| seat(shop, &shop.seller, ("Stalls", "A", number), "64.00"));
    let (bought, declined, raised) = (bought.await, declined.await, raised.await);
    let faster = shop.account("faster@shop.example").await;
    shop.lock(&held, &faster).await;
    let stranger = shop.visitor(device).await;
    for (name, path) in [
        ("home", "/"),
        ("nothing-found", "/?q=nothing"),
        ("sign-in", "/auth/signin"),
        ("sign-up", "/auth/signup"),
        ("forgot", "/auth/forgot"),
        ("verify", "/verify"),
        ("not-found", "/no-such-page"),
        ("docs", "/api/docs"),
    ] {
        stranger.go(path).await;
        take(&stranger, name, shape).await;
    }
    stranger.close().await;
    let (browser, _) = shop.buyer(device).await;
    for (name, path) in [("orders-empty", "/orders"), ("account", "/account")] {
        browser.go(path).await;
        take(&browser, name, shape).await;
    }
    for (name, ticket) in [("ticket", &free), ("ticket-held", &held)] {
        browser.go(&format!("/tickets/{ticket}")).await;
        take(&browser, name, shape).await;
    }
    browser.css("#join-line").await.click().await.expect("a click");
    browser.wait_for("number 1").await;
    take(&browser, "ticket-line", shape).await;
    for (ticket, card, name, words) in [
        (&declined, "tok_chargeDeclined", "order-declined", "The payment was declined"),
        (&bought, "tok_visa", "order-bought", "The ticket is yours"),
    ] {
        browser.go(&format!("/tickets/{ticket}")).await;
        browser.css("#buy").await.click().await.expect("a click");
        browser.wait_for("Time left to pay").await;
        take(&browser, "order-pay", shape).await;
        pay(&browser, card).await;
        browser.wait_for(words).await;
        take(&browser, name, shape).await;
    }
    browser.press("Print").await;
    browser.wait_for("Back to the order").await;
    take(&browser, "pass", shape).await;
    browser.go("/orders").await;
    take(&browser, "orders", shape).await;
    browser.go(&format!("/tickets/{raised}")).await;
    browser.run("document.querySelector('input[name=price]').value = '60.00'").await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("The price has changed").await;
    take(&browser, "price-changed", shape).await;
    browser.close().await;
}

async fn take_sellers(shop: &Shop, device: Device, shape: &str) {
    let (browser, email) = shop.buyer(device).await;
    for (name, path) in [
        ("listings-empty", "/sell"),
        ("sell", "/tickets/new"),
        ("import", "/sell/import"),
        ("sales-empty", "/sell/sales"),
    ] {
        browser.go(path).await;
        take(&browser, name, shape).await;
    }
    browser.go("/sell/import").await;
    let lines = "title,price,currency\nFront row,48.00,EUR\n,30.00,EUR\nBalcony,free,EUR\n";
    browser.css("#csv").await.send_keys(lines).await.expect("typed");
    browser.press("Check the lines").await;
    browser.wait_for("1 of 3 lines can go on sale").await;
    take(&browser, "import-preview", shape).await;
    let (seller, buyer) = (shop.account(&email).await, shop.account("faster@shop.example").await);
    seat(shop, &seller, ("Balcony", "A", "1"), "22.00").await;
    let held = seat(shop, &seller, ("Balcony", "A", "2"), "22.00").await;
    shop.lock(&held, &buyer).await;
    browser.go("/sell").await;
    take(&browser, "listings", shape).await;
    let own = seat(shop, &seller, ("Balcony", "A", "3"), "22.00").await;
    for (name, path) in [("ticket-own", format!("/tickets/{own}")), ("ticket-edit", format!("/tickets/{own}/edit"))] {
        browser.go(&path).await;
        take(&browser, name, shape).await;
    }
    browser.close().await;
}

/// What is seen when it is over: a lock that ran out, a ticket that is sold, and its seller's sales.
async fn take_the_ends(shop: &Shop, device: Device, shape: &str) {
    let (seller_sees, seller) = shop.buyer(device).await;
    let seller = shop.account(&seller).await;
    let [sold, late] = ["8", "9"].map(|number| seat(shop, &seller, ("Stalls", "B", number), "52.00"));
    let (sold, late) = (sold.await, late.await);
    let (browser, _) = shop.buyer(device).await;
    browser.go(&format!("/tickets/{sold}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    pay(&browser, "tok_visa").await;
    browser.wait_for("The ticket is yours").await;
    shop.rule(json!({ "lock_ttl_ms": 2_000 })).await;
    browser.go(&format!("/tickets/{late}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Order expired").await;
    take(&browser, "order-expired", shape).await;
    browser.close().await;
    for (name, path) in [("ticket-sold", format!("/tickets/{sold}")), ("sales", "/sell/sales".into())] {
        seller_sees.go(&path).await;
        take(&seller_sees, name, shape).await;
    }
    seller_sees.close().await;
}

/// Two of three nodes are gone: nothing can be decided.
async fn take_without_a_quorum(device: Device, shape: &str) {
    let mut shop = Shop::open(3).await;
    let ticket = seat(&shop, &shop.seller, ("Stalls", "A", "5"), "64.00").await;
    let (browser, email) = shop.buyer(device).await;
    shop.make_operator(&shop.account(&email).await).await;
    sign_in(&browser, &email).await;
    browser.go("/operator").await;
    take(&browser, "operator-three-nodes", shape).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    shop.cluster.kill(1);
    shop.cluster.kill(2);
    browser.css("#buy").await.click().await.expect("a click");
    // Whether the leader had the request already is chance.
    let told = |said: &str| said.contains("Sales pause for a moment") || said.contains("We lost sight of your request");
    browser.wait_until("no quorum", told).await;
    take(&browser, "no-quorum", shape).await;
    browser.go("/operator").await;
    take(&browser, "operator-no-quorum", shape).await;
    browser.close().await;
}

async fn take_operators(shop: &Shop, device: Device, shape: &str) {
    let (browser, email) = shop.buyer(device).await;
    shop.make_operator(&shop.account(&email).await).await;
    sign_in(&browser, &email).await;
    for path in OPERATOR {
        browser.go(path).await;
        take(&browser, path.trim_start_matches('/').replace('/', "-").as_str(), shape).await;
    }
    for (list, name) in [("/operator/locks", "operator-order"), ("/operator/users", "operator-user")] {
        browser.go(list).await;
        browser.css("td a").await.click().await.expect("a click");
        browser.wait_for_path(|path| path.starts_with(&list.replace("locks", "orders")) && path != list, name).await;
        take(&browser, name, shape).await;
    }
    browser.close().await;
}
