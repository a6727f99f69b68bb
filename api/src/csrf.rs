//! Whether a write comes from a page of ours.
//!
//! A browser sends our cookies along with what another site makes it send. So a write that has no bearer token is refused
//! where `Origin` or `Sec-Fetch-Site` say that it comes from elsewhere, and the API takes bodies as JSON only, which no
//! form can send. Forms of our own pages carry a token besides (the signed double submit of OWASP's cheat sheet): signed by
//! a node, bound to the session and to a random cookie, so that neither a planted cookie nor a token of another session
//! helps anybody. It works for forms before the sign-in as well; any node can check what another has issued.

use holdfast_ledger::id::SessionId;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::Fault;
use crate::session::{self, Identity, cookies};
use crate::token::{Purpose, base64url_encode};

/// The name of a form's hidden field.
pub const FIELD: &str = "csrf";
/// How long a form may lie open, in seconds.
const FORM_TTL_S: u64 = 12 * 3_600;
const COOKIE: &str = "csrf";
const COOKIE_HTTPS: &str = "__Host-csrf";
/// The random part of the cookie, in bytes, and as it is written.
const NONCE_BYTES: usize = 16;
const NONCE_CHARACTERS: usize = 22;

/// What a form token says.
#[derive(Serialize, Deserialize)]
struct Form {
    nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
}

/// A token for the forms of one page.
pub struct FormToken {
    /// For a hidden field named [`FIELD`].
    pub token: String,
    /// To be sent with the page, where the browser has no such cookie yet.
    pub set_cookie: Option<HeaderValue>,
}

/// A token for the forms of a page that answers a request with these headers.
pub fn issue(app: &App, identity: &Identity, headers: &HeaderMap) -> FormToken {
    let known = nonce(app, headers).map(str::to_string);
    let is_new = known.is_none();
    let nonce = known.unwrap_or_else(|| base64url_encode(&rand::random::<[u8; NONCE_BYTES]>()));
    let set_cookie = is_new.then(|| {
        let secure = if app.is_https() { "; Secure" } else { "" };
        let cookie = format!("{}={nonce}; Path=/; HttpOnly; SameSite=Lax{secure}", cookie_name(app));
        HeaderValue::try_from(cookie).expect("base64url is a header value")
    });
    let now_s = app.now_s();
    let form = Form { nonce, sid: identity.caller().map(|caller| caller.signed_in.session) };
    FormToken { token: app.tokens.sign(Purpose::Form, form, now_s, Some(now_s + FORM_TTL_S)), set_cookie }
}

/// Whether `token` was issued to this browser and for the session it has now; 403 if not.
pub async fn check(app: &App, identity: &Identity, headers: &HeaderMap, token: &str) -> Result<(), Fault> {
    if let Identity::Unknown(fault) = identity {
        return Err(fault.clone());
    }
    let form: Option<Form> = session::read_token(app, Purpose::Form, token).await?;
    let session = identity.caller().map(|caller| caller.signed_in.session);
    let fits = |form: &Form| form.sid == session && nonce(app, headers) == Some(form.nonce.as_str());
    match form.as_ref().is_some_and(fits) {
        true => Ok(()),
        false => Err(Fault::forbidden("form_out_of_date", "This page was open for too long; please send it again")),
    }
}

/// Refuses a write that a page of another site has sent: 403. A bearer token is never sent unasked.
pub fn same_site(app: &App, parts: &Parts) -> Result<(), Fault> {
    if parts.method.is_safe() || parts.headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let refused = || Err(Fault::forbidden("cross_site", "This request came from another site"));
    let Some(origin) = parts.headers.get(header::ORIGIN) else {
        let from_elsewhere = parts.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        return if from_elsewhere { refused() } else { Ok(()) };
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(parts.uri.host());
    let is_ours = origin == app.settings.public_url.trim_end_matches('/')
        || origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host)
        || app.settings.cors_origins.iter().any(|allowed| allowed == origin);
    if is_ours { Ok(()) } else { refused() }
}

/// The random part of this browser's cookie, if it has one of ours.
fn nonce<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(app);
    let (_, nonce) = cookies(headers).find(|(cookie, _)| *cookie == name)?;
    let is_ours = nonce.len() == NONCE_CHARACTERS
        && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_ours.then_some(nonce)
}

fn cookie_name(app: &App) -> &'static str {
    if app.is_https() { COOKIE_HTTPS } else { COOKIE }
}
