//! Who is asking: the token in a cookie or as bearer, and whether its session still holds.
//!
//! A checked signature is not enough: at each request the session, the user's epoch and a ban are looked up in this node's
//! state. A session that this node has not heard of yet is waited for, since its id says which log index made it.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use holdfast_ledger::command::{Actor, Service};
use holdfast_ledger::entities::SignedIn;
use holdfast_ledger::query;
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::services;
use crate::token::{Purpose, Verified};

/// The cookie's name over plain HTTP, and over HTTPS, where browsers bind the prefix to this host.
const COOKIE: &str = "session";
const COOKIE_HTTPS: &str = "__Host-session";
/// How long a request waits for the entry that made its session to arrive here.
const SESSION_WAIT: Duration = Duration::from_secs(2);

/// A signed-in caller.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    pub signed_in: SignedIn,
    /// When the token was issued, seconds since the Unix epoch.
    pub issued_s: u64,
    /// The token came in a cookie, so a browser may have sent it unasked.
    pub by_cookie: bool,
}

impl Caller {
    pub fn actor(&self) -> Actor {
        Actor::User(self.signed_in)
    }
}

/// What came of looking for a caller. Put into every request by the outermost layer.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Nobody: no token, or none that counts.
    Anonymous,
    SignedIn(Caller),
    /// A program with a key of its own.
    Service(Service),
    /// A token whose session could not be looked up.
    Unknown(Fault),
}

impl Identity {
    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Identity::SignedIn(caller) => Some(caller),
            _ => None,
        }
    }
}

/// Where a session stands in a state.
enum Standing {
    Holds,
    Over,
    /// The state is older than the session.
    NotYetHere,
}

/// Finds the caller of a request with these headers.
pub async fn identify(app: &App, headers: &HeaderMap) -> Identity {
    let Some((token, by_cookie)) = token_of(app, headers) else { return Identity::Anonymous };
    if !by_cookie && app.tokens.remembered(token).is_none() && services::is_service_token(token) {
        return match services::verify(app, token).await {
            Ok(service) => service.map_or(Identity::Anonymous, Identity::Service),
            Err(fault) => Identity::Unknown(fault),
        };
    }
    match look_up(app, token).await {
        Ok(Some(verified)) => {
            Identity::SignedIn(Caller { signed_in: verified.signed_in, issued_s: verified.issued_s, by_cookie })
        }
        Ok(None) => Identity::Anonymous,
        Err(fault) => Identity::Unknown(fault),
    }
}

/// The service that a request is signed by, as far as this node knows by itself: looked at before anything is counted, so it
/// costs one look and one signature, and asks no other node.
pub async fn service(app: &App, headers: &HeaderMap) -> Option<Service> {
    let (token, by_cookie) = token_of(app, headers)?;
    if by_cookie || !services::is_service_token(token) {
        return None;
    }
    services::verify_here(app, token).await
}

/// The token's content, if it is good, not expired, and its session holds.
async fn look_up(app: &App, token: &str) -> Result<Option<Verified>, Fault> {
    let Some(verified) = verify(app, token).await? else { return Ok(None) };
    if verified.is_expired(app.now_s()) {
        return Ok(None);
    }
    Ok(counts(app, &verified).await?.then_some(verified))
}

/// Finds the caller of a request whose token may have expired, as long as its session holds.
pub async fn identify_expired(app: &App, headers: &HeaderMap) -> Identity {
    let Some((_, by_cookie)) = token_of(app, headers) else { return Identity::Anonymous };
    match refreshable(app, headers).await {
        Ok(Some(verified)) => {
            Identity::SignedIn(Caller { signed_in: verified.signed_in, issued_s: verified.issued_s, by_cookie })
        }
        Ok(None) => Identity::Anonymous,
        Err(fault) => Identity::Unknown(fault),
    }
}

/// A token that may be refreshed: its session holds, whether it has expired or not.
pub async fn refreshable(app: &App, headers: &HeaderMap) -> Result<Option<Verified>, Fault> {
    let Some((token, _)) = token_of(app, headers) else { return Ok(None) };
    let Some(verified) = verify(app, token).await? else { return Ok(None) };
    Ok(counts(app, &verified).await?.then_some(verified))
}

/// The caller of a request whose token is good but for its epoch. What he asks for counts only where the ledger knows that the
/// present epoch came of this very request.
pub async fn superseded(app: &App, headers: &HeaderMap) -> Result<Option<Caller>, Fault> {
    let Some((token, by_cookie)) = token_of(app, headers) else { return Ok(None) };
    let Some(verified) = verify(app, token).await? else { return Ok(None) };
    let SignedIn { user, session, .. } = verified.signed_in;
    let is_there = app.read(Consistency::Stale, |state| query::session(state, user, session)).await?.value.is_some();
    let caller = Caller { signed_in: verified.signed_in, issued_s: verified.issued_s, by_cookie };
    Ok((is_there && !verified.is_expired(app.now_s())).then_some(caller))
}

async fn verify(app: &App, token: &str) -> Result<Option<Verified>, Fault> {
    if let Some(verified) = app.tokens.remembered(token) {
        return Ok(Some(verified));
    }
    let Some((key_id, key)) = key_of(app, token).await? else { return Ok(None) };
    Ok(app.tokens.verify(token, &key_id, &key))
}

/// What a token of ours for `purpose` says; `None` where it is forged, expired, for something else or no token at all.
pub async fn read_token<T: DeserializeOwned>(app: &App, purpose: Purpose, token: &str) -> Result<Option<T>, Fault> {
    let Some((_, key)) = key_of(app, token).await? else { return Ok(None) };
    Ok(app.tokens.read(purpose, token, &key, app.now_s()))
}

/// The id and the public key that a token names, if it is one of a node of ours.
async fn key_of(app: &App, token: &str) -> Result<Option<(String, Vec<u8>)>, Fault> {
    let Some(key_id) = app.tokens.key_id(token) else { return Ok(None) };
    let find = |state: &Ledger| query::node_key(state, &key_id);
    let key = match app.read(Consistency::Stale, find).await?.value {
        Some(key) => Some(key),
        // The key of a node that has just joined may not have arrived here.
        None => app.read(Consistency::Linearizable, find).await?.value,
    };
    Ok(key.map(|key| (key_id, key.public_key)))
}

/// Whether a token's session is still good, and its key still trusted, as far as this node knows.
async fn counts(app: &App, verified: &Verified) -> Result<bool, Fault> {
    if !holds(app, verified.signed_in).await? {
        return Ok(false);
    }
    // A key that has not arrived here is not retired: the token was checked under it.
    let key = app.node.read(Consistency::Stale, |state| query::node_key(state, &verified.key_id)).await?;
    Ok(key.is_none_or(|key| key.retired_ms.is_none()))
}

/// Whether a session is still good, as far as this node knows.
pub async fn holds(app: &App, signed_in: SignedIn) -> Result<bool, Fault> {
    match app.node.read(Consistency::Stale, |state| standing(state, signed_in)).await? {
        Standing::Holds => return Ok(true),
        Standing::Over => return Ok(false),
        Standing::NotYetHere => {}
    }
    let made_at = Consistency::AtLeast(signed_in.session.0.log_index());
    match timeout(SESSION_WAIT, app.node.read(made_at, |state| standing(state, signed_in))).await {
        Ok(standing) => Ok(matches!(standing?, Standing::Holds)),
        Err(_) => Err(Fault::busy("not_caught_up", "This node has not caught up with your session yet")),
    }
}

fn standing(state: &Ledger, signed_in: SignedIn) -> Result<Standing, StoreError> {
    let Some(session) = query::session(state, signed_in.user, signed_in.session)? else {
        let arrived = state.meta().index >= signed_in.session.0.log_index();
        return Ok(if arrived { Standing::Over } else { Standing::NotYetHere });
    };
    let user = query::user(state, signed_in.user)?;
    let good = user.is_some_and(|user| !user.banned && !user.erased && user.epoch == signed_in.epoch)
        && state.meta().now_ms < session.expires_ms;
    Ok(if good { Standing::Holds } else { Standing::Over })
}

/// The token of a request, and whether it came in a cookie. A bearer token goes first. Over HTTPS only the cookie counts that
/// no other host of our domain can have set.
fn token_of<'a>(app: &App, headers: &'a HeaderMap) -> Option<(&'a str, bool)> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then_some((token.trim(), false));
    }
    let (ours, _) = cookie_shape(app);
    let (_, token) = cookies(headers).find(|(name, _)| *name == ours)?;
    Some((token, true))
}

/// The cookies of a request, as name and value.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn is_session_cookie(name: &str) -> bool {
    name == COOKIE || name == COOKIE_HTTPS
}

/// Whether an answer says something about the session's cookie.
pub fn is_set_in(headers: &HeaderMap) -> bool {
    let set = headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    set.filter_map(|cookie| cookie.split_once('=')).any(|(name, _)| is_session_cookie(name))
}

/// Puts a fresh cookie in the place of the one that a request came with, for the handlers behind us.
pub fn replace_cookie(headers: &mut HeaderMap, set_cookie: &HeaderValue) {
    let fresh = set_cookie.to_str().ok().and_then(|cookie| cookie.split(';').next()).unwrap_or_default();
    let others = cookies(headers).filter(|(name, _)| !is_session_cookie(name));
    let line = others.fold(fresh.to_string(), |line, (name, value)| format!("{line}; {name}={value}"));
    if let Ok(line) = HeaderValue::try_from(line) {
        headers.insert(header::COOKIE, line);
    }
}

/// A `Set-Cookie` with a fresh token for the session.
pub fn cookie(app: &App, signed_in: SignedIn) -> HeaderValue {
    let token = app.tokens.issue(signed_in, app.now_s(), app.settings.token_ttl_s);
    let (name, secure) = cookie_shape(app);
    HeaderValue::try_from(format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{secure}"))
        .expect("a compact JWS is a header value")
}

/// A `Set-Cookie` that takes the cookie away.
pub fn cookie_cleared(app: &App) -> HeaderValue {
    let (name, secure) = cookie_shape(app);
    let cookie = format!("{name}=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(cookie).expect("constants are a header value")
}

fn cookie_shape(app: &App) -> (&'static str, &'static str) {
    if app.is_https() { (COOKIE_HTTPS, "; Secure") } else { (COOKIE, "") }
}

impl FromRequestParts<App> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Identity, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Identity::Anonymous))
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Fault;

    /// 401 for everybody who is not signed in.
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Caller, Fault> {
        match parts.extensions.get() {
            Some(Identity::SignedIn(caller)) => Ok(*caller),
            Some(Identity::Unknown(fault)) => Err(fault.clone()),
            Some(Identity::Anonymous | Identity::Service(_)) | None => Err(Fault::not_signed_in()),
        }
    }
}
