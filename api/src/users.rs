//! Accounts and sessions: sign up, sign in, refresh, sign out, and who is asking.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use holdfast_ledger::command::{Actor, Command};
use holdfast_ledger::entities::SignedIn;
use holdfast_ledger::id::UserId;
use holdfast_ledger::limits::EMAIL_BYTES_MAX;
use holdfast_ledger::outcome::{Field, Refusal, Reply};
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Done, Refused};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{self, Complaints, Raw};
use crate::headers::json;
use crate::openapi::{EntityId, Problem};
use crate::session::{self, Identity};
use crate::token::base64url_encode;

/// The bounds of a password, in characters without the blanks around it.
const PASSWORD_CHARACTERS_MIN: usize = 4;
const PASSWORD_CHARACTERS_MAX: usize = 128;

const BAD_EMAIL: &str = "Email must be valid";
/// The original's words; up to [`PASSWORD_CHARACTERS_MAX`] are accepted all the same.
const BAD_PASSWORD: &str = "Password must be between 4 and 20 characters";

#[derive(Deserialize, ToSchema)]
struct Credentials<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    email: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = String)]
    password: Raw<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct UserView<'a> {
    email: &'a str,
    #[schema(value_type = EntityId)]
    id: UserId,
}

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(sign_in))
        .routes(routes!(sign_out))
        .routes(routes!(refresh))
        .routes(routes!(current_user))
        .routes(routes!(jwks))
}

/// `POST /api/users/signup`: an account and its first session.
#[utoipa::path(
    post, path = "/api/users/signup", tag = "users", request_body = Credentials,
    responses((status = 201, description = "Created", body = UserView))
)]
pub async fn sign_up(State(app): State<App>, body: JsonBody) -> Result<Response, Fault> {
    let (email, password) = {
        let credentials: Credentials = body.parse()?;
        let mut complaints = Complaints::default();
        let email = complaints.require(email(credentials.email), "email", BAD_EMAIL);
        let in_bounds =
            |password: &String| (PASSWORD_CHARACTERS_MIN..=PASSWORD_CHARACTERS_MAX).contains(&password.chars().count());
        let password = password(credentials.password).filter(in_bounds);
        let password = complaints.require(password, "password", BAD_PASSWORD);
        complaints.settle(email.zip(password))?
    };
    let password_hash = app.passwords.hash(password).await?;
    let command = Command::SignUp { email: email.clone(), password_hash, agent: String::new() };
    match app.propose(Actor::Anonymous, None, command).await? {
        Ok(done) => signed_in(&app, StatusCode::CREATED, &email, &done),
        Err(Refused { refusal: Refusal::Invalid { field: Field::Email }, .. }) => {
            Err(Fault::bad_field("email", "invalid", BAD_EMAIL))
        }
        Err(refused) => Err(refused.into()),
    }
}

/// `POST /api/users/signin`: one answer, after the same work, for an unknown address and a wrong password.
#[utoipa::path(
    post, path = "/api/users/signin", tag = "users", request_body = Credentials,
    responses(
        (status = 200, description = "Done", body = UserView),
        (status = 403, description = "The account is banned", body = Problem),
    )
)]
pub async fn sign_in(State(app): State<App>, body: JsonBody) -> Result<Response, Fault> {
    let (email, password) = {
        let credentials: Credentials = body.parse()?;
        let mut complaints = Complaints::default();
        let email = complaints.require(email(credentials.email), "email", BAD_EMAIL);
        let password = password(credentials.password).filter(|password| !password.is_empty());
        let password = complaints.require(password, "password", "You must supply a password");
        complaints.settle(email.zip(password))?
    };
    let account = app.read(Consistency::Linearizable, |state| query::user_by_email(state, &email)).await?.value;
    let phc = account.as_ref().map(|(_, _, personal)| personal.password_hash.clone());
    let matches = app.passwords.matches(password, phc).await?;
    let Some((user, record, personal)) = account.filter(|_| matches) else {
        return Err(Fault::invalid_credentials());
    };
    match app
        .propose(Actor::Anonymous, None, Command::SignIn { user, epoch: record.epoch, agent: String::new() })
        .await?
    {
        Ok(done) => signed_in(&app, StatusCode::OK, &personal.email, &done),
        Err(Refused { refusal: Refusal::Banned, .. }) => Err(Fault::forbidden("banned", "This account is banned")),
        // The password or the account has just changed: what was checked no longer counts.
        Err(Refused { refusal: Refusal::NotSignedIn | Refusal::UserNotFound, .. }) => Err(Fault::invalid_credentials()),
        Err(refused) => Err(refused.into()),
    }
}

#[derive(Serialize, ToSchema)]
struct Refreshed {
    #[serde(rename = "expiresInSeconds")]
    expires_in_s: u64,
}

/// `POST /api/users/refresh`: a fresh token for a session that still holds, also when the old token has expired.
#[utoipa::path(
    post, path = "/api/users/refresh", tag = "users", security(("session" = [])),
    responses((status = 200, description = "Done", body = Refreshed))
)]
pub async fn refresh(State(app): State<App>, headers: HeaderMap) -> Result<Response, Fault> {
    let token = session::refreshable(&app, &headers).await?.ok_or_else(Fault::not_signed_in)?;
    let body = axum::Json(Refreshed { expires_in_s: app.settings.token_ttl_s });
    Ok(([(header::SET_COOKIE, session::cookie(&app, token.signed_in))], body).into_response())
}

/// `POST /api/users/signout`: always takes the cookie away; 503 where the session itself could not be ended.
#[utoipa::path(
    post, path = "/api/users/signout", tag = "users",
    responses((status = 200, description = "The cookie is taken away"))
)]
pub async fn sign_out(State(app): State<App>, identity: Identity) -> Result<Response, Fault> {
    if let Some(caller) = identity.caller() {
        let command = Command::SignOut { session: caller.signed_in.session };
        // A refusal says that the session is over already.
        let _ = app.propose(caller.actor(), None, command).await.map_err(Fault::clear_session)?;
    }
    let cookie = [(header::SET_COOKIE, session::cookie_cleared(&app))];
    Ok((cookie, axum::Json(serde_json::Map::new())).into_response())
}

#[derive(Serialize, ToSchema)]
#[schema(as = CurrentAccount)]
struct Current<'a> {
    #[schema(value_type = EntityId)]
    id: UserId,
    email: &'a str,
    /// When the token was issued, in seconds since the Unix epoch.
    iat: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CurrentUser)]
struct Body<'a> {
    #[serde(rename = "currentUser")]
    current_user: Option<Current<'a>>,
}

/// `GET /api/users/currentuser`: who is asking.
#[utoipa::path(
    get, path = "/api/users/currentuser", tag = "users",
    responses((status = 200, description = "Who is signed in, or null", body = Body))
)]
pub async fn current_user(State(app): State<App>, identity: Identity) -> Result<Response, Fault> {
    let caller = match &identity {
        Identity::SignedIn(caller) => Some(caller),
        Identity::Anonymous => None,
        Identity::Unknown(fault) => return Err(fault.clone()),
    };
    let user = caller.map(|caller| caller.signed_in.user);
    let find = |state: &_| user.map_or(Ok(None), |user| query::personal(state, user));
    let seen = app.read(Consistency::Stale, find).await?;
    let current_user = caller.zip(seen.value.as_ref()).map(|(caller, personal)| Current {
        id: caller.signed_in.user,
        email: &personal.email,
        iat: caller.issued_s,
    });
    Ok(json(StatusCode::OK, &Body { current_user }, seen.index))
}

/// A public key (RFC 7517).
#[derive(Serialize, ToSchema)]
struct Key {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    r#use: &'static str,
    kid: String,
    x: String,
}

#[derive(Serialize, ToSchema)]
struct Keys {
    keys: Vec<Key>,
}

/// `GET /.well-known/jwks.json`: the public keys of all nodes (RFC 7517, RFC 8037).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "users",
    responses((status = 200, description = "The public keys of all nodes", body = Keys))
)]
pub async fn jwks(State(app): State<App>) -> Result<Response, Fault> {
    let seen = app.read(Consistency::Linearizable, query::node_keys).await?;
    let keys = seen.value.into_iter().map(|(kid, key)| Key {
        kty: "OKP",
        crv: "Ed25519",
        alg: "EdDSA",
        r#use: "sig",
        kid,
        x: base64url_encode(&key.public_key),
    });
    Ok(json(StatusCode::OK, &Keys { keys: keys.collect() }, seen.index))
}

/// The answer to a sign-up or sign-in: the account, and the session in a cookie.
fn signed_in(app: &App, status: StatusCode, email: &str, done: &Done) -> Result<Response, Fault> {
    let Reply::SignedIn { user, session, epoch } = done.reply else {
        unreachable!("signing in is answered with a session")
    };
    let mut response = json(status, &UserView { email, id: user }, done.decided_at);
    let cookie = session::cookie(app, SignedIn { user, session, epoch });
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// A password, as the original trims it.
fn password(raw: Raw<'_>) -> Option<String> {
    Some(fields::text(raw)?.trim().to_string())
}

/// An address that mail could reach: one `@`, a local part, a domain of labels with at least one dot.
fn email(raw: Raw<'_>) -> Option<String> {
    let text = fields::text(raw)?;
    let (local, domain) = text.rsplit_once('@')?;
    let clean = |part: &str| !part.chars().any(|c| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c));
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = text.len() <= EMAIL_BYTES_MAX
        && (1..=64).contains(&local.len())
        && clean(local)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && domain.contains('.')
        && domain.split('.').all(label);
    good.then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn read(text: &str) -> Option<String> {
        let raw = RawValue::from_string(serde_json::to_string(text).unwrap()).unwrap();
        email(Some(&raw))
    }

    #[test]
    fn addresses() {
        for good in ["test@test.com", "a.b+c@x-y.co.uk", "o'hara@example.org", "ü@exämple.de"] {
            assert_eq!(read(good).as_deref(), Some(good));
        }
        for bad in ["", "test", "test@", "@test.com", "a@b", "a b@c.de", "a@b@c.de", "a@-b.de", "a@b..de", ".a@b.de"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&format!("a@{}.com", "b.".repeat(130))), None);
    }
}
