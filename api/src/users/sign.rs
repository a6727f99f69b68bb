//! Signing up, in and out, refreshing, and who is asking: rows A1 to A13.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use holdfast_ledger::command::{Actor, Command};
use holdfast_ledger::id::UserId;
use holdfast_ledger::outcome::{Field, Refusal};
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::account::{account_of, role_names};
use super::{BAD_EMAIL, agent, email, new_password, present_password, session_of, with_session};
use crate::app::{App, Refused};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{Complaints, Raw};
use crate::headers::json;
use crate::limits::Limited;
use crate::openapi::{EntityId, Problem};
use crate::session::{self, Identity};

#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"email": "anna@example.com", "password": "a long sentence"}))]
pub(super) struct Credentials<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    email: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = String)]
    password: Raw<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub(super) struct UserView<'a> {
    email: &'a str,
    #[schema(value_type = EntityId)]
    id: UserId,
}

/// `POST /api/users/signup`: an account and its first session.
#[utoipa::path(
    post, path = "/api/users/signup", tag = "users", request_body = Credentials,
    responses((status = 201, description = "Created", body = UserView))
)]
pub async fn sign_up(State(app): State<App>, headers: HeaderMap, body: JsonBody) -> Result<Response, Fault> {
    let (email, password) = {
        let credentials: Credentials = body.parse()?;
        let mut complaints = Complaints::default();
        let email = complaints.require(email(credentials.email), "email", BAD_EMAIL);
        let password = new_password(credentials.password, "password", &mut complaints);
        complaints.settle(email.zip(password))?
    };
    let password_hash = app.passwords.hash(password).await?;
    let command = Command::SignUp { email: email.clone(), password_hash, agent: agent::label(&headers) };
    match app.propose(Actor::Anonymous, None, command).await? {
        Ok(done) => {
            let signed_in = session_of(&done);
            let view = UserView { email: &email, id: signed_in.user };
            Ok(with_session(&app, json(StatusCode::CREATED, &view, done.decided_at), signed_in))
        }
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
pub async fn sign_in(
    State(app): State<App>,
    limited: Limited,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    let (email, password) = {
        let credentials: Credentials = body.parse()?;
        let mut complaints = Complaints::default();
        let email = complaints.require(email(credentials.email), "email", BAD_EMAIL);
        let password = present_password(credentials.password, &mut complaints);
        complaints.settle(email.zip(password))?
    };
    // Counted by what was typed: a limit that only accounts have would tell which addresses have one.
    limited.guess(&app, email.to_lowercase())?;
    let account = app.read(Consistency::Linearizable, |state| query::user_by_email(state, &email)).await?.value;
    let phc = account.as_ref().map(|(_, _, personal)| personal.password_hash.clone());
    let matches = app.passwords.matches(password, phc).await?;
    let Some((user, record, personal)) = account.filter(|_| matches) else {
        return Err(Fault::invalid_credentials());
    };
    let command = Command::SignIn { user, epoch: record.epoch, agent: agent::label(&headers) };
    match app.propose(Actor::Anonymous, None, command).await? {
        Ok(done) => {
            let view = UserView { email: &personal.email, id: user };
            Ok(with_session(&app, json(StatusCode::OK, &view, done.decided_at), session_of(&done)))
        }
        Err(Refused { refusal: Refusal::Banned, .. }) => Err(Fault::forbidden("banned", "This account is banned")),
        // The password or the account has just changed: what was checked no longer counts.
        Err(Refused { refusal: Refusal::NotSignedIn | Refusal::UserNotFound, .. }) => Err(Fault::invalid_credentials()),
        Err(refused) => Err(refused.into()),
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Refreshed {
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
    app.prolong(token.signed_in);
    let body = axum::Json(Refreshed { expires_in_s: app.settings.token_ttl_s });
    Ok(with_session(&app, body.into_response(), token.signed_in))
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
    /// Of `buyer`, `seller`, `operator-read` and `operator-admin`.
    roles: Vec<&'static str>,
    /// A mail to the address has arrived.
    verified: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CurrentUser)]
pub(super) struct Body<'a> {
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
        Identity::Unknown(fault) => return Err(fault.clone()),
        _ => None,
    };
    let id = caller.map(|caller| caller.signed_in.user);
    let find = |state: &_| match id {
        Some(id) => account_of(state, id),
        None => Ok(None),
    };
    let seen = app.read(Consistency::Stale, find).await?;
    let current_user = caller.zip(seen.value.as_ref()).map(|(caller, (user, personal))| Current {
        id: caller.signed_in.user,
        email: &personal.email,
        iat: caller.issued_s,
        roles: role_names(user),
        verified: user.verified,
    });
    Ok(json(StatusCode::OK, &Body { current_user }, seen.index))
}
