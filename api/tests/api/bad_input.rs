//! Hostile bodies, headers and paths: always a 4xx, never a 5xx, and the server still answers afterwards.

use serde_json::{Value, json};

use crate::client::{Client, NO_SUCH_ID, send_bytes};
use crate::server::World;

const ROUTES: &[(&str, &str)] = &[
    ("POST", "/api/users/signup"),
    ("POST", "/api/users/signin"),
    ("POST", "/api/tickets"),
    ("POST", "/api/tickets/bulk"),
    ("PUT", "/api/tickets/000000000000000100000000"),
    ("PUT", "/api/tickets/000000000000000100000000/next-price"),
    ("POST", "/api/orders"),
    ("POST", "/api/payments"),
];

/// Values that no member should have.
fn odd_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("😀".repeat(200)),
        json!("x".repeat(20_000)),
        json!([]),
        json!([[[[]]]]),
        json!({}),
        json!({"$ne": null}),
        json!("4242424242424242"),
    ]
}

fn is_4xx(status: u16) -> bool {
    (400..500).contains(&status)
}

#[tokio::test]
async fn hostile_bodies_are_4xx() {
    let mut user = Client::new().await;
    let deep = format!("{{\"title\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{}".to_vec(),
        b"null".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"{\"email\":\"\xff@test.com\",\"title\":\"\xff\",\"token\":\"\xff\"}".to_vec(),
        b"{\"email\":\"a@b.de\",\"email\":\"a@b.de\",\"title\":\"a\",\"title\":\"b\",\"ticketId\":1,\"ticketId\":2,\"token\":1,\"token\":2}".to_vec(),
        b"{\"title\":\"\\ud800\",\"email\":\"\\ud800@b.de\",\"ticketId\":\"\\ud800\",\"token\":\"\\ud800\"}".to_vec(),
        deep.into_bytes(),
        "[".repeat(60_000).into_bytes(),
        b"{\"title\":\"x\",\"price\":1e999999999}".to_vec(),
        b"{\"title\":\"x\",\"price\":99999999999999999999999999999999999999}".to_vec(),
        vec![b' '; 60_000],
    ];
    for (method, path) in ROUTES {
        for body in &bodies {
            let answer = user.send_raw(method, path, Some(("application/json", body.clone()))).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert!(is_4xx(answer.status), "{method} {path} {shown}: {answer:?}");
            assert!(answer.body["errors"][0]["message"].is_string(), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn odd_members_are_4xx() {
    let mut user = Client::new().await;
    let ticket = Client::new().await.ticket("20").await;
    let good: &[(&str, &str, Value)] = &[
        ("POST", "/api/users/signup", json!({"email": "odd@test.com", "password": "password"})),
        ("POST", "/api/users/signin", json!({"email": "odd@test.com", "password": "password"})),
        ("POST", "/api/tickets", json!({"title": "x", "price": 1})),
        ("POST", "/api/orders", json!({"ticketId": ticket, "price": "999", "tickets": null})),
        ("POST", "/api/payments", json!({"token": "tok_visa", "orderId": NO_SUCH_ID})),
    ];
    for (method, path, body) in good {
        for member in body.as_object().unwrap().keys() {
            for value in odd_values() {
                let mut body = body.clone();
                body[member] = value.clone();
                let answer = user.send(method, path, Some(body)).await;
                // Some odd titles and passwords are simply titles and passwords.
                let fine = matches!((member.as_str(), &value), ("title" | "password", Value::String(_)))
                    || matches!((member.as_str(), &value), ("price", Value::Null | Value::String(_)))
                    || matches!((member.as_str(), &value), ("tickets", Value::Null));
                assert!(is_4xx(answer.status) || fine && answer.status < 500, "{path} {member}={value}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn hostile_details_are_4xx() {
    let mut seller = Client::new().await;
    for (member, value) in [
        ("externalId", json!("x".repeat(101))),
        ("externalId", json!("")),
        ("venue", json!("x".repeat(201))),
        ("eventName", json!(5)),
        ("startsAt", json!("tomorrow")),
        ("startsAt", json!("99999-01-01T00:00:00Z")),
        ("saleEndsAt", json!("2023-02-30T00:00:00Z")),
        ("currency", json!("usd")),
        ("title", json!("x".repeat(301))),
        ("price", json!("99999999999999999999")),
        ("price", json!("100000000.01")),
    ] {
        let mut body = json!({"title": "x", "price": 1});
        body[member] = value.clone();
        let answer = seller.post("/api/tickets", body).await;
        assert_eq!(
            (answer.status, answer.body["errors"][0]["field"].as_str()),
            (400, Some(member)),
            "{value}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_413() {
    let mut user = Client::new().await;
    let large = |bytes: usize| Some(("application/json", vec![b' '; bytes]));
    user.send_raw("POST", "/api/orders", large((64 << 10) + 1)).await.is(413);
    user.send_raw("POST", "/api/tickets/bulk", large((4 << 20) + 1)).await.is(413);
    assert_eq!(user.send_raw("POST", "/api/tickets/bulk", large(100_000)).await.is(400).code(), "malformed_json");
}

#[tokio::test]
async fn hostile_queries_are_400_and_name_the_parameter() {
    let mut user = Client::new().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=xyz", "cursor"),
        ("minPrice=abc", "minPrice"),
        ("maxPrice=1e5", "maxPrice"),
        ("minPrice=1.999", "minPrice"),
        ("currency=QQQ", "currency"),
        ("min-index=-1", "min-index"),
        ("limit=1&limit=2", "query"),
    ] {
        let answer = user.get(&format!("/api/tickets?{query}")).await;
        assert_eq!(
            (answer.status, answer.body["errors"][0]["field"].as_str()),
            (400, Some(field)),
            "{query}: {answer:?}"
        );
    }
    for made_up in ["00", "ff", "deadbeef", &"ab".repeat(500)] {
        assert_eq!(user.get(&format!("/api/orders?cursor={made_up}")).await.status, 200, "harmless: {made_up}");
        user.get(&format!("/api/tickets?cursor={made_up}&q=a")).await.is(200);
    }
    for odd in ["q=%ff%fe", "q=%00", "q=%F0%9F%98%80", "%", "q=%zz", "=&&=", &format!("q={}", "a+".repeat(2_000))] {
        let answer = user.get(&format!("/api/tickets?{odd}")).await;
        assert!(answer.status < 500, "{odd}: {answer:?}");
    }
}

#[tokio::test]
async fn hostile_headers_are_4xx_or_ignored() {
    let user = Client::new().await;
    let path = format!("/api/tickets/{}", user.clone().ticket("5").await);
    let edit = json!({"title": "x", "price": 1});
    for tag in ["\"-1\"", "\"99999999999999999999999\"", "\"abc\"", "\"", "", "\"0\", \"1\"", "é"] {
        let answer = user.with("if-match", tag).put(&path, edit.clone()).await;
        assert!(is_4xx(answer.status), "{tag}: {answer:?}");
    }
    for cookie in ["=", ";;;", "session", "session=;session=", &format!("session={}", "a".repeat(10_000)), "é=é"] {
        let mut client = Client::anonymous(&user.url);
        client.cookie = Some(cookie.to_string());
        client.get("/api/orders").await.is(401);
    }
    for authorization in ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer \u{e9}", "Bearer a.b.c"] {
        Client::anonymous(&user.url).with("authorization", authorization).get("/api/orders").await.is(401);
    }
}

#[tokio::test]
async fn hostile_bytes_on_the_wire_never_get_a_5xx() {
    let url = &World::shared().url;
    let huge_header = format!("GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let many_headers = format!("GET /livez HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    let long_path = format!("GET /api/tickets/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(20_000));
    let post = "POST /api/users/signup HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let requests: &[&[u8]] = &[
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /api/tickets/%00 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nhost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        huge_header.as_bytes(),
        many_headers.as_bytes(),
        long_path.as_bytes(),
        &[post, "content-length: -1\r\n\r\n"].concat().into_bytes(),
        &[post, "content-length: 5\r\ncontent-length: 6\r\n\r\n{}"].concat().into_bytes(),
        &[post, "content-length: 99999999999999999999\r\n\r\n{}"].concat().into_bytes(),
        &[post, "transfer-encoding: chunked\r\n\r\nzz\r\n"].concat().into_bytes(),
        &[post, "transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"].concat().into_bytes(),
    ];
    for request in requests {
        let answer = send_bytes(url, request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 5"), "{shown}: {answer}");
    }
    Client::anonymous(url).get("/livez").await.is(200);
}
