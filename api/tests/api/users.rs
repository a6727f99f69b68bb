//! Rows A1 to A13 and X9, X10: accounts and sessions.

use holdfast_api::Settings;
use serde_json::{Value, json};

use crate::client::{Client, PASSWORD, new_email};
use crate::server::{World, settings};

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

#[tokio::test]
async fn a1_signup_returns_201_with_email_id_and_cookie() {
    let email = new_email();
    let answer = nobody().post("/api/users/signup", json!({"email": email, "password": PASSWORD})).await.is(201);
    assert_eq!(answer.body, json!({"email": email, "id": answer.id()}));
    assert_eq!(answer.id().len(), 24);
    assert!(answer.id().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(answer.header("set-cookie").starts_with("session=ey"), "{answer:?}");
}

#[tokio::test]
async fn a2_signup_with_a_bad_email_is_400_on_email() {
    for email in [json!("alskdflaskjfd"), json!(""), json!(null), json!(12), json!("a@b"), json!(["a@b.de"])] {
        let body = json!({"email": email, "password": PASSWORD});
        nobody().post("/api/users/signup", body).await.fails(400, "Email must be valid", Some("email"));
    }
}

#[tokio::test]
async fn a3_signup_with_a_bad_password_is_400_on_password() {
    let words = "Password must be between 4 and 20 characters";
    for password in [json!("p"), json!("   p   "), json!(null), json!(1234), json!("p".repeat(129))] {
        let body = json!({"email": new_email(), "password": password});
        nobody().post("/api/users/signup", body).await.fails(400, words, Some("password"));
    }
    let long = json!({"email": new_email(), "password": "p".repeat(128)});
    nobody().post("/api/users/signup", long).await.is(201);
}

#[tokio::test]
async fn a2_a3_both_are_named_at_once() {
    let answer = nobody().post("/api/users/signup", json!({})).await.is(400);
    let fields: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["email", "password"]);
}

#[tokio::test]
async fn a4_signup_with_a_used_email_is_400() {
    let email = new_email();
    let body = |email: &str| json!({"email": email, "password": PASSWORD});
    nobody().post("/api/users/signup", body(&email)).await.is(201);
    nobody().post("/api/users/signup", body(&email)).await.fails(400, "Email in use", None);
    let shouted = email.to_uppercase();
    let answer = nobody().post("/api/users/signup", body(&shouted)).await.fails(400, "Email in use", None);
    assert_eq!(answer.code(), "email_in_use");
}

#[tokio::test]
async fn a5_no_answer_holds_the_password_or_its_hash() {
    let mut user = Client::new().await;
    for path in ["/api/users/currentuser", "/api/orders", "/api/tickets?seller=me"] {
        let answer = user.get(path).await.is(200);
        assert!(!answer.text.contains("argon2") && !answer.text.contains("assword"), "{answer:?}");
    }
}

#[tokio::test]
async fn a6_signin_returns_200_with_email_id_and_cookie() {
    let email = new_email();
    let body = json!({"email": email, "password": PASSWORD});
    let id = nobody().post("/api/users/signup", body.clone()).await.is(201).id();
    let mut client = nobody();
    let answer = client.post("/api/users/signin", body).await.is(200);
    assert_eq!(answer.body, json!({"email": email, "id": id}));
    assert!(answer.header("set-cookie").contains("session="));
    assert_eq!(client.get("/api/users/currentuser").await.body["currentUser"]["id"], json!(id));
}

#[tokio::test]
async fn a7_signin_with_a_bad_email_is_400() {
    let body = json!({"email": "nope", "password": PASSWORD});
    nobody().post("/api/users/signin", body).await.fails(400, "Email must be valid", Some("email"));
}

#[tokio::test]
async fn a8_signin_without_a_password_is_400() {
    for password in [json!(""), json!("   "), json!(null)] {
        let body = json!({"email": "test@test.com", "password": password});
        nobody().post("/api/users/signin", body).await.fails(400, "You must supply a password", Some("password"));
    }
}

#[tokio::test]
async fn a9_a10_unknown_email_and_wrong_password_get_the_same_answer() {
    let email = new_email();
    nobody().post("/api/users/signup", json!({"email": email, "password": PASSWORD})).await.is(201);
    let wrong = nobody().post("/api/users/signin", json!({"email": email, "password": "wrong"})).await;
    let unknown = nobody().post("/api/users/signin", json!({"email": new_email(), "password": "wrong"})).await;
    let body = |mut answer: crate::client::Answer| {
        answer.body["requestId"] = Value::Null;
        answer.body.take()
    };
    assert!(wrong.headers.get("set-cookie").is_none() && unknown.headers.get("set-cookie").is_none());
    let wrong = body(wrong.fails(400, "Invalid credentials", None));
    assert_eq!(wrong, body(unknown.fails(400, "Invalid credentials", None)));
}

#[tokio::test]
async fn a11_signout_is_200_clears_the_cookie_and_ends_the_session() {
    let mut user = Client::new().await;
    let kept = user.clone();
    let answer = user.post("/api/users/signout", json!({})).await.is(200);
    assert_eq!(answer.body, json!({}));
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("session=;") && cookie.contains("Expires=Thu, 01 Jan 1970"), "{cookie}");
    // The token itself is worth nothing any more.
    kept.clone().get("/api/orders").await.fails(401, "Not authorized", None);
    nobody().post("/api/users/signout", json!({})).await.is(200);
}

#[tokio::test]
async fn a12_currentuser_says_who_is_signed_in() {
    let email = new_email();
    let mut client = nobody();
    let id = client.post("/api/users/signup", json!({"email": email, "password": PASSWORD})).await.is(201).id();
    let answer = client.get("/api/users/currentuser").await.is(200);
    let iat = answer.body["currentUser"]["iat"].as_u64().expect("when the token was issued");
    // The original's members, and ours.
    let current = &answer.body["currentUser"];
    assert_eq!((&current["id"], &current["email"], &current["iat"]), (&json!(id), &json!(email), &json!(iat)));
    assert_eq!((&current["roles"], &current["verified"]), (&json!(["buyer", "seller"]), &json!(false)));
}

#[tokio::test]
async fn a13_currentuser_is_null_for_nobody_and_for_a_bad_token() {
    assert_eq!(nobody().get("/api/users/currentuser").await.is(200).body, json!({"currentUser": null}));
    for token in ["garbage", "a.b.c", "", "eyJhbGciOiJub25lIn0.e30."] {
        let mut client = nobody();
        client.cookie = Some(format!("session={token}"));
        assert_eq!(client.get("/api/users/currentuser").await.is(200).body, json!({"currentUser": null}));
        let mut client = nobody().with("authorization", format!("Bearer {token}x"));
        assert_eq!(client.get("/api/users/currentuser").await.is(200).body, json!({"currentUser": null}));
    }
}

#[tokio::test]
async fn x10_a_token_whose_signature_was_changed_is_nobodys() {
    let mut user = Client::new().await;
    let token = user.cookie.clone().unwrap();
    let (head, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    user.cookie = Some(format!("{head}.{other}{}", &signature[1..]));
    user.get("/api/orders").await.is(401);
}

#[tokio::test]
async fn a_bearer_token_is_as_good_as_the_cookie() {
    let user = Client::new().await;
    let token = user.cookie.as_ref().unwrap().strip_prefix("session=").unwrap().to_string();
    nobody().with("authorization", format!("Bearer {token}")).get("/api/orders").await.is(200);
}

#[tokio::test]
async fn d13_cookies_are_httponly_samesite_and_secure_under_https() {
    let world = World::shared();
    let mut client = nobody();
    let body = json!({"email": new_email(), "password": PASSWORD});
    let plain = client.post("/api/users/signup", body).await.is(201);
    let cookie = plain.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"), "{cookie}");
    assert!(!cookie.contains("Secure"), "{cookie}");
    let https = world.with(Settings { public_url: "https://tickets.example".into(), ..settings() });
    let body = json!({"email": new_email(), "password": PASSWORD});
    let secure = Client::anonymous(&https).post("/api/users/signup", body).await.is(201);
    let cookie = secure.header("set-cookie");
    assert!(cookie.starts_with("__Host-session=") && cookie.contains("; Secure"), "{cookie}");
    // Another host of the domain can set a cookie of the plain name, but not one with the prefix.
    let mut client = Client::anonymous(&https);
    client.cookie = Some(cookie.split(';').next().unwrap().to_string());
    client.get("/api/orders").await.is(200);
    client.cookie = client.cookie.map(|cookie| cookie.replace("__Host-session", "session"));
    client.get("/api/orders").await.is(401);
}

#[tokio::test]
async fn d13_a_token_expires_and_is_refreshed_while_the_session_holds() {
    let world = World::shared();
    // A clock of its own, an hour ahead: what the shared server issues has expired there.
    let ahead = std::sync::Arc::new(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_millis() as u64 + 3_600_000
    });
    let later = world.with(Settings { wall_clock: ahead, ..settings() });
    let mut user = Client::new().await.at(&later);
    user.get("/api/orders").await.is(401);
    let refreshed = user.post("/api/users/refresh", json!({})).await.is(200);
    assert!(refreshed.header("set-cookie").starts_with("session=ey"));
    user.get("/api/orders").await.is(200);
    user.post("/api/users/signout", json!({})).await.is(200);
    user.post("/api/users/refresh", json!({})).await.is(401);
}

#[tokio::test]
async fn d13_an_old_token_is_renewed_on_the_way() {
    let ahead = std::sync::Arc::new(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_millis() as u64 + 600_000
    });
    let later = World::shared().with(Settings { wall_clock: ahead, ..settings() });
    let mut user = Client::new().await;
    assert!(user.get("/api/orders").await.headers.get("set-cookie").is_none(), "a fresh token stays");
    let answer = user.at(&later).get("/api/orders").await.is(200);
    assert!(answer.header("set-cookie").starts_with("session=ey"), "{answer:?}");
}

#[tokio::test]
async fn d13_a_banned_user_is_out_at_once() {
    let world = World::shared();
    let email = new_email();
    let mut user = nobody();
    let body = json!({"email": email, "password": PASSWORD});
    let id = user.post("/api/users/signup", body.clone()).await.is(201).id();
    let (ticket, _) = crate::client::a_ticket_and_a_buyer(&world.url).await;
    user.order(&ticket).await;
    world.as_system(holdfast_ledger::command::Command::BanUser { user: id.parse().unwrap() }).await;
    user.get("/api/orders").await.fails(401, "Not authorized", None);
    user.post("/api/tickets", json!({"title": "x", "price": 1})).await.is(401);
    nobody().post("/api/users/signin", body).await.is(403);
    let released = nobody().get(&format!("/api/tickets/{ticket}")).await.is(200);
    assert_eq!(released.body["status"], "available");
}

#[tokio::test]
async fn d14_of_sign_ups_at_once_with_one_email_one_succeeds() {
    let email = new_email();
    let tries = (0..10).map(|_| {
        let body = json!({"email": email, "password": PASSWORD});
        async move { nobody().post("/api/users/signup", body).await.status }
    });
    let mut statuses = futures_util::future::join_all(tries).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![201], vec![400; 9]].concat());
}

#[tokio::test]
async fn the_public_keys_check_our_tokens() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    let user = Client::new().await;
    let token = user.cookie.as_ref().unwrap().strip_prefix("session=").unwrap().to_string();
    let keys = nobody().get("/.well-known/jwks.json").await.is(200).body;
    let kid = decode_header(&token).unwrap().kid.unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == json!(kid)).expect("the key is listed");
    assert_eq!((key["kty"].as_str(), key["crv"].as_str()), (Some("OKP"), Some("Ed25519")));
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["holdfast"]);
    validation.set_issuer(&["holdfast"]);
    let key = DecodingKey::from_ed_components(key["x"].as_str().unwrap()).unwrap();
    let claims = decode::<Value>(&token, &key, &validation).expect("anybody can check it").claims;
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 15 * 60);
    assert!(!token.contains("@") && claims.get("email").is_none(), "no personal data in a token");
}
