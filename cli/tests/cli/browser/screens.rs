//! Pictures of every page for `docs/screens/`: `make screens`.

use std::path::{Path, PathBuf};

use super::{OPERATOR, Shop, pay, sign_in};
use crate::support::browser::{Browser, DARK, DESK, PHONE};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screens")
}

async fn take(browser: &Browser, name: &str, shape: &str) {
    let picture = browser.picture().await.expect("a picture");
    std::fs::write(folder().join(format!("{name}-{shape}.png")), picture).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes docs/screens; run by make screens"]
async fn take_pictures_of_every_page() {
    std::fs::create_dir_all(folder()).expect("a folder");
    let shop = Shop::open(1).await;
    for (shape, device) in [("light", DESK), ("dark", DARK), ("phone", PHONE)] {
        for seat in 1..=5 {
            shop.ticket(&format!("Stalls, row C, seat {seat}"), &format!("{}.00", 40 + seat)).await;
        }
        let [free, held, bought] =
            ["Gallery, seat 12", "Box 3", "Stalls, row A, seat 1"].map(|title| shop.ticket(title, "64.00"));
        let (free, held, bought) = (free.await, held.await, bought.await);
        let faster = shop.account(&format!("faster-{shape}@shop.example")).await;
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
        ] {
            stranger.go(path).await;
            take(&stranger, name, shape).await;
        }
        stranger.close().await;
        let (browser, _) = shop.buyer(device).await;
        for (name, path) in [
            ("orders-empty", "/orders"),
            ("listings-empty", "/sell"),
            ("sell", "/tickets/new"),
            ("import", "/sell/import"),
            ("sales-empty", "/sell/sales"),
            ("account", "/account"),
        ] {
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
        browser.go(&format!("/tickets/{bought}")).await;
        browser.css("#buy").await.click().await.expect("a click");
        browser.wait_for("Time left to pay").await;
        take(&browser, "order-pay", shape).await;
        pay(&browser, "tok_visa").await;
        browser.wait_for("The ticket is yours").await;
        take(&browser, "order-bought", shape).await;
        browser.press("Print").await;
        browser.wait_for("Back to the order").await;
        take(&browser, "pass", shape).await;
        browser.go("/orders").await;
        take(&browser, "orders", shape).await;
        browser.close().await;
    }
    let (browser, email) = shop.buyer(DESK).await;
    shop.make_operator(&shop.account(&email).await).await;
    browser.close().await;
    for (shape, device) in [("light", DESK), ("dark", DARK), ("phone", PHONE)] {
        let browser = shop.visitor(device).await;
        sign_in(&browser, &email).await;
        for path in OPERATOR {
            browser.go(path).await;
            take(&browser, path.trim_start_matches('/').replace('/', "-").as_str(), shape).await;
        }
        browser.close().await;
    }
}
