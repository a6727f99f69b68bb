//! The same purchase without scripts, on a phone, and without a mouse.

use super::{PASSWORD, Shop, pay};
use crate::support::browser::{Browser, DESK, NO_SCRIPTS, PHONE};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const SPACE: &str = " ";

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_purchase_without_scripts() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("No scripts", "20.00").await;
    let browser = shop.visitor(NO_SCRIPTS).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for_path(|path| path.starts_with("/auth/sign"), "signing up").await;
    if browser.path().await.starts_with("/auth/signin") {
        browser.press("Sign up").await;
    }
    browser.wait_for_path(|path| path.starts_with("/auth/signup"), "signing up").await;
    browser.fill("Email", "plain@shop.example").await;
    // What is wrong stands beside the field, and what was typed stays.
    browser.fill("Password", "abc").await;
    browser.css("main form button").await.click().await.expect("a click");
    browser.wait_for("Use 4 to 128 characters").await;
    let typed = browser.field("Email").await.prop("value").await.expect("a property");
    assert_eq!(typed.as_deref(), Some("plain@shop.example"));
    browser.fill("Password", PASSWORD).await;
    browser.css("main form button").await.click().await.expect("a click");
    browser.wait_for_path(|path| path.starts_with(&format!("/tickets/{ticket}")), "the ticket again").await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    pay(&browser, "tok_visa").await;
    browser.wait_for("The ticket is yours").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_purchase_on_a_phone_without_scrolling_sideways() {
    let shop = Shop::open(1).await;
    let title = "A rather long title of a ticket for an evening that nobody who was there will ever forget";
    let ticket = shop.ticket(title, "1234.50").await;
    let (browser, _) = shop.buyer(PHONE).await;
    browser.go("/").await;
    assert_fits(&browser).await;
    // The navigation is one row, and all of it is in its menu.
    let head = browser.run("return document.querySelector('header.top').getBoundingClientRect().height").await;
    assert!(head.as_f64().is_some_and(|height| height < 72.0), "{head}");
    assert!(!browser.says("Sign out").await);
    browser.press("Menu").await;
    browser.wait_for("Sign out").await;
    assert_fits(&browser).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    assert_fits(&browser).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    assert_fits(&browser).await;
    pay(&browser, "tok_visa").await;
    browser.wait_for("The ticket is yours").await;
    assert_fits(&browser).await;
    for path in ["/orders", "/account", "/sell", "/tickets/new", "/sell/import", "/verify"] {
        browser.go(path).await;
        assert_fits(&browser).await;
    }
    browser.close().await;
}

/// Nothing is wider than the screen, and what is to be touched is large enough for a finger.
async fn assert_fits(browser: &Browser) {
    let path = browser.path().await;
    let wide = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
    assert_eq!(wide.as_i64(), Some(0), "{path} is {wide} pixels too wide");
    let small = browser
        .run(
            "return [...document.querySelectorAll('main .button, main input:not([type=hidden]):not([type=radio]), main select')] \
             .filter(e => e.offsetParent && e.getBoundingClientRect().height < 24).map(e => e.outerHTML.slice(0, 120))",
        )
        .await;
    assert_eq!(small.as_array().map(Vec::len), Some(0), "{path}: too small for a finger: {small}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_purchase_by_keyboard_alone() {
    let shop = Shop::open(1).await;
    let ticket = shop.ticket("Keys alone", "20.00").await;
    let browser = shop.visitor(DESK).await;
    browser.go("/auth/signup").await;
    // The first field has the focus, and the first stop of every page leads past its head.
    browser.keys("keys@shop.example").await;
    browser.keys(TAB).await;
    browser.keys(PASSWORD).await;
    browser.keys(ENTER).await;
    browser.wait_for("Sign out").await;
    browser.go("/").await;
    browser.tab_to("Skip to the content").await;
    browser.keys(ENTER).await;
    browser.tab_to("Keys alone").await;
    browser.keys(ENTER).await;
    browser.wait_for_path(|path| path == format!("/tickets/{ticket}"), "the ticket").await;
    browser.tab_to("Buy this ticket").await;
    browser.keys(ENTER).await;
    browser.wait_for("Time left to pay").await;
    browser.tab_to("Visa").await;
    browser.keys(SPACE).await;
    browser.tab_to("Pay").await;
    browser.keys(ENTER).await;
    browser.wait_for("The ticket is yours").await;
    browser.close().await;
}
