//! Every page for those who see little, hear it read, or use no mouse: axe-core finds nothing, in light and in dark.

use super::{OPERATOR, Shop, pay, sign_in};
use crate::support::browser::{Browser, DARK, DESK, Device, PHONE};

async fn check(browser: &Browser, found: &mut Vec<String>) {
    let path = browser.path().await;
    found.extend(browser.violations().await.into_iter().map(|violation| format!("{path}: {violation}")));
}

async fn every_page(device: Device) {
    let shop = Shop::open(1).await;
    let [free, held, bought] = ["Free seat", "Held seat", "Bought seat"].map(|title| shop.ticket(title, "20.00"));
    let (free, held, bought) = (free.await, held.await, bought.await);
    let other = shop.account("other@shop.example").await;
    shop.lock(&held, &other).await;
    let mut found = Vec::new();
    let stranger = shop.visitor(device).await;
    for path in
        ["/", "/?q=nothing", "/auth/signin", "/auth/signup", "/auth/forgot", "/verify", "/no-such-page", "/api/docs"]
    {
        stranger.go(path).await;
        check(&stranger, &mut found).await;
    }
    stranger.go(&format!("/tickets/{free}")).await;
    check(&stranger, &mut found).await;
    stranger.close().await;

    let (browser, _) = shop.buyer(device).await;
    for path in ["/", "/orders", "/account", "/sell", "/sell/sales", "/sell/import", "/tickets/new"] {
        browser.go(path).await;
        check(&browser, &mut found).await;
    }
    for ticket in [&free, &held] {
        browser.go(&format!("/tickets/{ticket}")).await;
        check(&browser, &mut found).await;
    }
    browser.go(&format!("/tickets/{bought}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    check(&browser, &mut found).await;
    pay(&browser, "tok_visa").await;
    browser.wait_for("The ticket is yours").await;
    check(&browser, &mut found).await;
    browser.press("Print").await;
    browser.wait_for("Back to the order").await;
    check(&browser, &mut found).await;
    browser.close().await;

    let (browser, email) = shop.buyer(device).await;
    shop.make_operator(&shop.account(&email).await).await;
    sign_in(&browser, &email).await;
    for path in OPERATOR {
        browser.go(path).await;
        check(&browser, &mut found).await;
    }
    browser.close().await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_a_violation_in_light() {
    every_page(DESK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_a_violation_in_dark() {
    every_page(DARK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_has_a_violation_on_a_phone() {
    every_page(PHONE).await;
}
