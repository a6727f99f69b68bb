//! The public halves of the nodes' signing keys, for whoever checks what we have signed without asking us.
//!
//! There are two lists because a key's two uses end at different times: a retired key vouches for no session any more, but
//! for the tickets that it has signed for as long as there are events to go to.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::entities::NodeKey;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::Fault;
use crate::headers::json;
use crate::token::base64url_encode;

/// How long a checker may keep the list, in seconds. A new key is in the list for longer than this before it signs.
pub const KEYS_MAX_AGE_S: u64 = 60;

/// A public key (RFC 7517, RFC 8037).
#[derive(Serialize, ToSchema)]
#[schema(as = PublicKey)]
struct Key {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    r#use: &'static str,
    kid: String,
    x: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PublicKeys)]
pub(super) struct Keys {
    keys: Vec<Key>,
}

/// `GET /.well-known/jwks.json`: the public keys under which session tokens count, of all nodes.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "users",
    responses((status = 200, description = "The keys of all nodes that are not retired", body = Keys))
)]
pub async fn of_sessions(State(app): State<App>) -> Result<Response, Fault> {
    answer(&app, |key| key.retired_ms.is_none()).await
}

/// `GET /.well-known/ticket-keys.json`: the public keys under which signed tickets are good, retired ones among them.
#[utoipa::path(
    get, path = "/.well-known/ticket-keys.json", tag = "users",
    responses((status = 200, description = "All keys that nodes have signed with", body = Keys))
)]
pub async fn of_tickets(State(app): State<App>) -> Result<Response, Fault> {
    answer(&app, |_| true).await
}

async fn answer(app: &App, is_listed: impl Fn(&NodeKey) -> bool) -> Result<Response, Fault> {
    let seen = app.read(Consistency::Linearizable, query::node_keys).await?;
    let listed = seen.value.into_iter().filter(|(_, key)| is_listed(key));
    let keys = listed.map(|(kid, key)| Key {
        kty: "OKP",
        crv: "Ed25519",
        alg: "EdDSA",
        r#use: "sig",
        kid,
        x: base64url_encode(&key.public_key),
    });
    let mut response = json(StatusCode::OK, &Keys { keys: keys.collect() }, seen.index);
    let caching =
        HeaderValue::try_from(format!("public, max-age={KEYS_MAX_AGE_S}")).expect("digits are a header value");
    response.headers_mut().insert(header::CACHE_CONTROL, caching);
    Ok(response)
}
