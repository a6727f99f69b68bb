//! Tokens that nobody should believe: forged, expired, of another algorithm, for another purpose, under a retired key.
//! Each is anonymous or 401, never a failure of ours.

use holdfast_api::SigningKey;
use holdfast_ledger::command::Command;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::client::{Client, PASSWORD, new_email};
use crate::server::{SEED, World, settings};

/// What a token of ours says about itself.
pub struct Claims<'a> {
    pub seed: [u8; 32],
    /// `None`: the id of the seed's key.
    pub key_id: Option<&'a str>,
    pub issuer: &'a str,
    pub audience: &'a str,
    pub expires_s: u64,
}

impl Claims<'_> {
    /// As the shared server signs a session's.
    pub fn good() -> Claims<'static> {
        Claims { seed: SEED, key_id: None, issuer: "holdfast", audience: "holdfast", expires_s: now_s() + 600 }
    }
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn private(seed: &[u8; 32]) -> EncodingKey {
    let prefix = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    EncodingKey::from_ed_der(&[&prefix[..], seed].concat())
}

/// Signs `body` with the claims added.
pub fn sign(claims: &Claims, mut body: Value) -> String {
    body["iss"] = json!(claims.issuer);
    body["aud"] = json!(claims.audience);
    body["iat"] = json!(now_s());
    body["exp"] = json!(claims.expires_s);
    let mut header = Header::new(Algorithm::EdDSA);
    let own = SigningKey::from_seed(&claims.seed).key_id().to_string();
    header.kid = Some(claims.key_id.map_or(own, str::to_string));
    jsonwebtoken::encode(&header, &body, &private(&claims.seed)).unwrap()
}

/// Somebody new at `url`, and what his token says.
async fn somebody(url: &str) -> (Client, Value) {
    let client = Client::signed_up(url).await;
    let token = client.cookie.as_ref().unwrap().strip_prefix("session=").unwrap();
    (client.clone(), said(token))
}

fn said(token: &str) -> Value {
    use base64::Engine;
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

fn encoded(value: &Value) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Asserts that a token is nobody's: anonymous where that is allowed, 401 where not, in the cookie and as bearer.
async fn is_nobodys(token: &str) {
    for bearer in [false, true] {
        let mut client = Client::anonymous(&World::shared().url);
        match bearer {
            true => client = client.with("authorization", format!("Bearer {token}")),
            false => client.cookie = Some(format!("session={token}")),
        }
        client.get("/api/orders").await.fails(401, "Not authorized", None);
        let current = client.get("/api/users/currentuser").await.is(200);
        assert_eq!(current.body, json!({"currentUser": null}), "{token}");
        client.get("/api/tickets").await.is(200);
        client.post("/api/users/refresh", json!({})).await.is(401);
        client.post("/api/users/signout", json!({})).await.is(200);
    }
}

#[tokio::test]
async fn a_forged_or_mangled_token_is_nobodys() {
    let (mut client, claims) = somebody(&World::shared().url).await;
    let good = sign(&Claims::good(), claims.clone());
    client.cookie = Some(format!("session={good}"));
    client.get("/api/orders").await.is(200);

    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let mut raised = said(&good);
    raised["epoch"] = json!(7);
    let key_id = SigningKey::from_seed(&SEED).key_id().to_string();
    let unsigned = encoded(&json!({"alg": "none", "typ": "JWT", "kid": key_id}));
    let mut hmac = Header::new(Algorithm::HS256);
    hmac.kid = Some(key_id.clone());
    let public = jsonwebtoken::jwk::Jwk::from_encoding_key(&private(&SEED), Algorithm::EdDSA).unwrap();
    let secret = EncodingKey::from_secret(serde_json::to_string(&public).unwrap().as_bytes());
    let forged = [
        format!("{head}.{}.{signature}", encoded(&raised)),
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        format!("{unsigned}.{body}."),
        format!("{unsigned}.{body}.{signature}"),
        jsonwebtoken::encode(&hmac, &said(&good), &secret).unwrap(),
        sign(&Claims { seed: [66; 32], ..Claims::good() }, claims.clone()),
        sign(&Claims { seed: [66; 32], key_id: Some(&key_id), ..Claims::good() }, claims.clone()),
        sign(&Claims { key_id: Some("nowhere"), ..Claims::good() }, claims.clone()),
        sign(&Claims { key_id: Some(&"k".repeat(2_000)), ..Claims::good() }, claims.clone()),
        sign(&Claims { issuer: "elsewhere", ..Claims::good() }, claims.clone()),
        sign(&Claims { audience: "holdfast/form", ..Claims::good() }, claims.clone()),
        sign(&Claims::good(), json!({"sub": "nobody", "sid": claims["sid"], "epoch": 0})),
        sign(&Claims::good(), json!({"sub": claims["sub"], "sid": "fffe00000000000000000000", "epoch": -1})),
        sign(&Claims::good(), json!({"sub": claims["sub"], "sid": claims["sid"], "epoch": 99})),
        sign(&Claims::good(), json!({})),
        "..".into(),
        "x".repeat(20_000),
    ];
    for token in &forged {
        is_nobodys(token).await;
    }
}

#[tokio::test]
async fn an_expired_token_is_nobodys_but_may_be_refreshed() {
    let (mut client, claims) = somebody(&World::shared().url).await;
    let expired = sign(&Claims { expires_s: now_s() - 60, ..Claims::good() }, claims);
    client.cookie = Some(format!("session={expired}"));
    client.get("/api/orders").await.is(401);
    assert_eq!(client.get("/api/users/currentuser").await.is(200).body, json!({"currentUser": null}));
    client.post("/api/users/refresh", json!({})).await.is(200);
    client.get("/api/orders").await.is(200);
}

#[tokio::test]
async fn a_token_of_somebody_elses_session_is_nobodys() {
    let (_, one) = somebody(&World::shared().url).await;
    let (_, other) = somebody(&World::shared().url).await;
    let mixed = json!({"sub": one["sub"], "sid": other["sid"], "epoch": 0});
    is_nobodys(&sign(&Claims::good(), mixed)).await;
}

#[tokio::test]
async fn a_banned_users_token_is_nobodys() {
    let (client, claims) = somebody(&World::shared().url).await;
    let user = claims["sub"].as_str().unwrap().parse().unwrap();
    World::shared().as_system(Command::BanUser { user }).await;
    is_nobodys(client.cookie.unwrap().strip_prefix("session=").unwrap()).await;
}

#[tokio::test]
async fn a_demoted_operators_token_is_nobodys() {
    let (client, claims) = somebody(&World::shared().url).await;
    let user = claims["sub"].as_str().unwrap().parse().unwrap();
    let roles = holdfast_ledger::entities::Roles { seller: false, ..Default::default() };
    World::shared().as_system(Command::SetRoles { user, roles }).await;
    is_nobodys(client.cookie.unwrap().strip_prefix("session=").unwrap()).await;
}

#[tokio::test]
async fn a_retired_keys_sessions_end_on_every_node_and_its_tickets_stay_good() {
    let world = World::shared();
    let key = SigningKey::from_seed(&[8; 32]);
    let key_id = key.key_id().to_string();
    world.as_system(key.register()).await;
    let other = world.with_key(key, settings());
    let mut user = Client::signed_up(&other).await;
    let mut here = user.at(&world.url);
    user.get("/api/orders").await.is(200);
    here.get("/api/orders").await.is(200);

    world.as_system(Command::RetireNodeKey { key_id: key_id.clone() }).await;
    user.get("/api/orders").await.is(401);
    here.get("/api/orders").await.is(401);
    here.post("/api/users/refresh", json!({})).await.is(401);
    let lists = |keys: Value| keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == json!(key_id));
    assert!(!lists(here.get("/.well-known/jwks.json").await.is(200).body));
    assert!(lists(here.get("/.well-known/ticket-keys.json").await.is(200).body));
}

#[tokio::test]
async fn a_node_that_changes_its_key_keeps_everybody_signed_in() {
    let world = World::fresh();
    let app = world.app();
    let url = world.serve(app.clone());
    let mut user = Client::signed_up(&url).await;
    let next = SigningKey::from_seed(&[9; 32]);
    let next_id = next.key_id().to_string();
    world.as_system(next.register()).await;
    app.use_key(next);
    user.get("/api/orders").await.is(200);
    let mut client = Client::anonymous(&url);
    client.post("/api/users/signup", json!({"email": new_email(), "password": PASSWORD})).await.is(201);
    let token = client.cookie.as_ref().unwrap().strip_prefix("session=").unwrap();
    assert_eq!(jsonwebtoken::decode_header(token).unwrap().kid, Some(next_id));
    client.at(&world.url).get("/api/orders").await.is(200);
}
