//! What a seller does.

use holdfast_cli::client::Ask;
use serde_json::json;

use super::Shop;
use crate::support::browser::DESK;

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_creates_edits_and_withdraws() {
    let shop = Shop::open(1).await;
    let (browser, _) = shop.buyer(DESK).await;
    browser.press("Sell tickets").await;
    browser.fill("Title", "<b>Bold</b> & \"quoted\"").await;
    browser.fill("Price", "0").await;
    browser.press("Put it on sale").await;
    browser.wait_for("Price must be greater than 0").await;
    browser.fill("Price", "15").await;
    browser.press("Put it on sale").await;
    // Markup in a title stays text.
    browser.wait_for("<b>Bold</b> & \"quoted\"").await;
    browser.wait_for("$15.00").await;
    let path = browser.wait_for_path(|path| path.starts_with("/tickets/") && !path.contains("new"), "the ticket").await;
    let ticket = path.trim_start_matches("/tickets/").split('?').next().unwrap_or_default().to_string();
    browser.press("Edit").await;
    browser.fill("Price", "17.50").await;
    browser.press("Save").await;
    browser.wait_for("$17.50").await;
    browser.go("/sell").await;
    browser.wait_for("$17.50").await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.press("Take it off sale").await;
    browser.press("Take off sale").await;
    browser.wait_for("off sale").await;
    let gone = shop.ask(Ask::get(format!("/api/tickets/{ticket}")), 200).await;
    assert_eq!(gone["status"], "withdrawn", "{gone}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_checked_before_its_lines_go_on_sale() {
    let shop = Shop::open(1).await;
    let (browser, _) = shop.buyer(DESK).await;
    browser.go("/sell/import").await;
    let lines = "title,price\nGood seat,20.00\n,30.00\nFree seat,0\nOther seat,25.00\n";
    browser.css("#csv").await.send_keys(lines).await.expect("typed");
    browser.press("Check the lines").await;
    browser.wait_for("2 of 4 lines can go on sale").await;
    for words in ["Title is required", "Price must be greater than 0"] {
        browser.wait_for(words).await;
    }
    browser.css("#import-confirm").await.click().await.expect("a click");
    browser.wait_for_path(|path| path.starts_with("/sell"), "the listings").await;
    browser.go("/sell").await;
    for words in ["Good seat", "Other seat"] {
        browser.wait_for(words).await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_ticket_takes_its_next_price_at_release() {
    let shop = Shop::open(1).await;
    let (browser, email) = shop.buyer(DESK).await;
    let owner = shop.account(&email).await;
    let body = json!({ "title": "Next price", "price": "20.00" });
    let ticket = shop.ask(Ask::post("/api/tickets", body).by(&owner), 201).await;
    let ticket = ticket["id"].as_str().expect("an id");
    let buyer = shop.account("other@shop.example").await;
    let order = shop.lock(ticket, &buyer).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.press("Set its next price").await;
    browser.fill("Next price", "30.00").await;
    browser.press("Set").await;
    browser.wait_for("$30.00").await;
    shop.ask(Ask::new(reqwest::Method::DELETE, format!("/api/orders/{order}")).by(&buyer), 204).await;
    let now = shop.ask(Ask::get(format!("/api/tickets/{ticket}")), 200).await;
    assert_eq!(now["price"].as_f64(), Some(30.0), "{now}");
    browser.close().await;
}
