//! The provider's own card form on the order's page, with a stand-in for its script.

use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use holdfast_api::server;
use tokio::net::TcpListener;

use super::Shop;
use crate::support::WAIT;
use crate::support::browser::{Browser, DESK};

/// As much of Stripe.js as the page asks for.
const SCRIPT: &str = r#"
const home = document.currentScript.src;
addEventListener("message", (event) => { if (event.data === "the frame is there") window.told.frame = event.origin; });
window.Stripe = (key) => {
  window.told = { key };
  return {
    elements(options) {
      window.told.options = options;
      return {
        create: (kind) => ({
          mount(place) {
            window.told.kind = kind;
            place.append(Object.assign(document.createElement("iframe"), { title: "Card", src: new URL("/frame", home) }));
          },
        }),
        submit: async () => (window.refused ? { error: { message: "Your card number is incomplete." } } : {}),
      };
    },
    createPaymentMethod: async ({ elements }) => ({ paymentMethod: { id: elements ? "tok_visa" : "" } }),
  };
};
"#;
const FRAME: &str = "<!doctype html><title>Card</title><input aria-label='Card number'>\
    <script>parent.postMessage('the frame is there', '*')</script>";

/// The provider's site; its origin.
async fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("its address"));
    let script = get(|| async { ([(header::CONTENT_TYPE, "text/javascript")], SCRIPT) });
    let routes = Router::new().route("/v3/", script).route("/frame", get(|| async { Html(FRAME) }));
    tokio::spawn(server::serve(listener, routes, std::future::pending()));
    origin
}

/// What the page of this path may load.
async fn policy(browser: &Browser, path: &str) -> String {
    let script = format!("return fetch('{path}').then(answer => answer.headers.get('content-security-policy'))");
    browser.run(&script).await.as_str().expect("a policy").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_given_to_the_provider_and_its_token_to_us() {
    let origin = provider().await;
    let script = format!("{origin}/v3/");
    let shop = Shop::open_with(1, &["--stripe-publishable-key", "pk_test_stand_in", "--stripe-script", &script]).await;
    let ticket = shop.ticket("Row E, seat 9", "28.50").await;
    let (browser, _) = shop.buyer(DESK).await;
    browser.go(&format!("/tickets/{ticket}")).await;
    browser.css("#buy").await.click().await.expect("a click");
    browser.wait_for("Time left to pay").await;
    let order = browser.path().await;
    let started = Instant::now();
    loop {
        let told = browser.run("return window.told ?? {}").await;
        if told["frame"] == origin.as_str() {
            assert_eq!((told["key"].as_str(), told["kind"].as_str()), (Some("pk_test_stand_in"), Some("payment")));
            let options = &told["options"];
            assert_eq!((options["amount"].as_u64(), options["currency"].as_str()), (Some(2_850), Some("usd")));
            assert_eq!(options["captureMethod"], "manual");
            break;
        }
        assert!(started.elapsed() < WAIT, "the frame is there: {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!browser.has("main input[type=radio]").await, "no test cards beside it");
    assert_eq!(browser.violations().await, [""; 0]);
    // No other page may load anything of the provider's.
    assert!(policy(&browser, &order).await.contains(&format!("frame-src {origin}")));
    for other in ["/", "/orders", "/account"] {
        assert!(!policy(&browser, other).await.contains(&origin), "{other}");
    }

    browser.run("window.refused = true").await;
    browser.css("#pay").await.click().await.expect("a click");
    browser.wait_for("Your card number is incomplete.").await;
    browser.run("window.refused = false").await;
    browser.css("#pay").await.click().await.expect("a click");
    browser.wait_for("The ticket is yours").await;
    assert!(!policy(&browser, &order).await.contains(&origin), "nothing is left to pay");
    browser.close().await;
}
