//! The door: writes of other sites, forms, origins, and what browsers are told with every answer.

use holdfast_api::Settings;
use serde_json::json;

use crate::client::{Client, PASSWORD, new_email};
use crate::server::{World, settings};

const SHOP: &str = "https://shop.example";

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

/// A server that trusts the scripts of [`SHOP`].
fn open_to_the_shop() -> String {
    World::shared().with(Settings { cors_origins: vec![SHOP.into()], ..settings() })
}

#[tokio::test]
async fn a_write_of_another_site_is_refused_with_and_without_a_session() {
    let user = Client::new().await;
    let ticket = || json!({"title": "x", "price": 1});
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let answer = user.with(name, value).post("/api/tickets", ticket()).await.is(403);
        assert_eq!(answer.code(), "cross_site", "{name}: {value}");
        // Signing somebody in as somebody else is a forgery, too.
        let credentials = json!({"email": new_email(), "password": PASSWORD});
        nobody().with(name, value).post("/api/users/signup", credentials).await.is(403);
        user.with(name, value).get("/api/orders").await.is(200);
    }
    for (name, value) in [("origin", user.url.as_str()), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
    {
        user.with(name, value).post("/api/tickets", ticket()).await.is(201);
    }
    // A bearer token is never sent unasked.
    let token = user.cookie.as_ref().unwrap().strip_prefix("session=").unwrap().to_string();
    let bearer = nobody().with("authorization", format!("Bearer {token}"));
    bearer.with("origin", "https://evil.example").post("/api/tickets", ticket()).await.is(201);
}

#[tokio::test]
async fn what_a_form_can_send_is_no_body() {
    let mut user = Client::new().await;
    for content_type in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"] {
        let body = Some((content_type, br#"{"title": "x", "price": 1}"#.to_vec()));
        let answer = user.send_raw("POST", "/api/tickets", body).await.is(415);
        assert_eq!(answer.code(), "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_listed_origin_may_read_and_write_with_the_cookie_and_no_other_may() {
    let url = open_to_the_shop();
    let mut shop = Client::signed_up(&url).await.with("origin", SHOP);
    let answer = shop.post("/api/tickets", json!({"title": "x", "price": 1})).await.is(201);
    assert_eq!(answer.header("access-control-allow-origin"), SHOP);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    for exposed in ["ETag", "Link", "RateLimit", "Retry-After"] {
        assert!(answer.header("access-control-expose-headers").contains(exposed), "{exposed}");
    }
    assert!(answer.header("vary").contains("Origin"));
    // Failures are readable as well.
    assert_eq!(shop.get("/api/tickets/zz").await.is(400).header("access-control-allow-origin"), SHOP);

    for origin in ["https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null"] {
        let answer = Client::anonymous(&url).with("origin", origin).get("/api/tickets").await.is(200);
        assert!(answer.headers.get("access-control-allow-origin").is_none(), "{origin}");
        assert!(answer.header("vary").contains("Origin"));
    }
    let closed = nobody().with("origin", SHOP).get("/api/tickets").await.is(200);
    assert!(closed.headers.get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_it_may_send() {
    let asking = |url: &str, origin: &str| {
        let client = Client::anonymous(url).with("origin", origin).with("access-control-request-method", "PUT");
        client.with("access-control-request-headers", "content-type,if-match")
    };
    let url = open_to_the_shop();
    let answer = asking(&url, SHOP).send("OPTIONS", "/api/tickets/zz", None).await.is(204);
    assert_eq!(answer.header("access-control-allow-origin"), SHOP);
    assert!(answer.header("access-control-allow-methods").contains("PUT"));
    assert!(answer.header("access-control-allow-headers").to_lowercase().contains("if-match"));
    asking(&url, "https://evil.example").send("OPTIONS", "/api/tickets/zz", None).await.is(404);
    asking(&World::shared().url, SHOP).send("OPTIONS", "/api/tickets/zz", None).await.is(404);
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    for path in ["/api/tickets", "/api/tickets/zz", "/api/nothing"] {
        let answer = nobody().get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(answer.headers.get("strict-transport-security").is_none(), "there is no HTTPS here");
        assert!(!answer.header("x-request-id").is_empty());
    }
    let https = World::shared().with(Settings { public_url: "https://tickets.example".into(), ..settings() });
    let answer = Client::anonymous(&https).get("/api/tickets").await;
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn a_request_id_is_kept_where_it_is_harmless() {
    let id = |answer: crate::client::Answer| answer.header("x-request-id").to_string();
    assert_eq!(id(nobody().with("x-request-id", "a-b_c.1").get("/api/tickets").await), "a-b_c.1");
    for bad in ["a b", "<x>", "", &"x".repeat(65)] {
        let made = id(nobody().with("x-request-id", bad).get("/api/tickets").await);
        assert!(made != bad && made.len() == 20, "{made}");
    }
    assert_ne!(id(nobody().get("/api/tickets").await), id(nobody().get("/api/tickets").await));
}
