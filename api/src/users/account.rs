//! The account itself: what it is, another address or password, and its end.
//!
//! Whatever takes an account away from its owner, or would help to, asks for the password again.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use holdfast_ledger::command::Command;
use holdfast_ledger::entities::{Personal, User};
use holdfast_ledger::id::UserId;
use holdfast_ledger::outcome::{Field, Refusal};
use holdfast_ledger::query;
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    BAD_EMAIL, check_password, email, is_password, new_password, present_password, session_of, with_session,
    wrong_password,
};
use crate::app::{App, Ledger, Refused, Seen};
use crate::body::JsonBody;
use crate::error::{Fault, refused};
use crate::fields::{Complaints, Raw};
use crate::headers::json;
use crate::idempotency;
use crate::limits::Limited;
use crate::openapi::{EntityId, IdempotencyParam, Time};
use crate::session::{self, Caller};
use crate::time::{Rfc3339, rfc3339};

/// What a change of the password is known by under an idempotency key.
const CHANGE_PASSWORD: &[u8] = b"change password";

#[derive(Serialize, ToSchema)]
#[schema(as = OwnAccount)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountView<'a> {
    #[schema(value_type = EntityId)]
    id: UserId,
    email: &'a str,
    /// A mail to the address has arrived.
    verified: bool,
    /// Of `buyer`, `seller`, `operator-read` and `operator-admin`.
    roles: Vec<&'static str>,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
    version: u64,
}

/// What an account may do, by name. Everybody may buy.
pub(super) fn role_names(user: &User) -> Vec<&'static str> {
    let roles = [
        (true, "buyer"),
        (user.roles.seller, "seller"),
        (user.roles.operator_read, "operator-read"),
        (user.roles.operator_admin, "operator-admin"),
    ];
    roles.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
}

/// The account of a caller, as he sees it. He may have been erased since he was let in.
pub(super) fn account_answer(id: UserId, seen: &Seen<Option<(User, Personal)>>) -> Result<Response, Fault> {
    let (user, personal) = seen.value.as_ref().ok_or_else(Fault::not_signed_in)?;
    let view = AccountView {
        id,
        email: &personal.email,
        verified: user.verified,
        roles: role_names(user),
        created_at: rfc3339(user.created_ms),
        version: user.version,
    };
    Ok(json(StatusCode::OK, &view, seen.index))
}

/// An account with its personal data, while it has any.
pub(super) fn account_of(state: &Ledger, id: UserId) -> Result<Option<(User, Personal)>, StoreError> {
    Ok(query::user(state, id)?.zip(query::personal(state, id)?))
}

/// `GET /api/users/me`: the caller's account.
#[utoipa::path(
    get, path = "/api/users/me", tag = "users", security(("session" = [])),
    responses((status = 200, description = "Done", body = AccountView))
)]
pub async fn show(State(app): State<App>, caller: Caller) -> Result<Response, Fault> {
    let id = caller.signed_in.user;
    account_answer(id, &app.read(Consistency::Linearizable, |state| account_of(state, id)).await?)
}

#[derive(Deserialize, ToSchema)]
pub(super) struct EmailChange<'a> {
    /// The new address.
    #[serde(borrow)]
    #[schema(value_type = String)]
    email: Raw<'a>,
    /// The present password.
    #[serde(borrow)]
    #[schema(value_type = String)]
    password: Raw<'a>,
}

/// `PUT /api/users/me/email`: another address; it has to be verified anew.
#[utoipa::path(
    put, path = "/api/users/me/email", tag = "users", security(("session" = [])), request_body = EmailChange,
    responses((status = 200, description = "Done", body = AccountView))
)]
pub async fn change_email(
    State(app): State<App>,
    caller: Caller,
    limited: Limited,
    body: JsonBody,
) -> Result<Response, Fault> {
    let (email, password) = {
        let change: EmailChange = body.parse()?;
        let mut complaints = Complaints::default();
        let email = complaints.require(email(change.email), "email", BAD_EMAIL);
        let password = present_password(change.password, &mut complaints);
        complaints.settle(email.zip(password))?
    };
    check_password(&app, limited, &caller, password).await?;
    match app.propose(caller.actor(), None, Command::ChangeEmail { email }).await? {
        Ok(done) => {
            let id = caller.signed_in.user;
            account_answer(id, &app.read_own(done.index, |state| account_of(state, id)).await?)
        }
        Err(Refused { refusal: Refusal::Invalid { field: Field::Email }, .. }) => {
            Err(Fault::bad_field("email", "invalid", BAD_EMAIL))
        }
        Err(Refused { refusal: Refusal::EmailInUse, .. }) => {
            Err(Fault::bad_field("email", "email_in_use", "Email in use"))
        }
        Err(refused) => Err(refused.into()),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PasswordChange<'a> {
    /// The present one.
    #[serde(borrow)]
    #[schema(value_type = String)]
    password: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = String)]
    new_password: Raw<'a>,
}

/// `PUT /api/users/me/password`: another password; all other sessions end, this one goes on under a fresh token. Whoever missed the
/// answer, and with it the token, asks again under the same key and with the token he has.
#[utoipa::path(
    put, path = "/api/users/me/password", tag = "users", security(("session" = [])), params(IdempotencyParam),
    request_body = PasswordChange,
    responses((status = 200, description = "Done"))
)]
pub async fn change_password(
    State(app): State<App>,
    caller: Result<Caller, Fault>,
    limited: Limited,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    // What was chosen is in no hash that is stored: that a repeat chooses the same is checked against the password itself.
    let key = idempotency::key(&headers, CHANGE_PASSWORD)?;
    let (caller, is_superseded) = match caller {
        Ok(caller) => (caller, false),
        Err(fault) => (superseded(&app, &headers, key.is_some(), fault).await?, true),
    };
    let (password, chosen) = {
        let change: PasswordChange = body.parse()?;
        let mut complaints = Complaints::default();
        let password = present_password(change.password, &mut complaints);
        let chosen = new_password(change.new_password, "newPassword", &mut complaints);
        complaints.settle(password.zip(chosen))?
    };
    if !is_password(&app, limited, &caller, password).await? {
        let is_repeat = key.is_some() && is_password(&app, limited, &caller, chosen.clone()).await?;
        if !is_repeat {
            return Err(if is_superseded { Fault::not_signed_in() } else { wrong_password() });
        }
    }
    let password_hash = app.passwords.hash(chosen.clone()).await?;
    let done = app.propose(caller.actor(), key, Command::ChangePassword { password_hash }).await??;
    if done.replayed && !is_password(&app, limited, &caller, chosen).await? {
        return Err(refused(&Refusal::IdempotencyKeyReused, 0).log_index(done.decided_at));
    }
    let response = json(StatusCode::OK, &serde_json::Map::new(), done.decided_at);
    Ok(with_session(&app, response, session_of(&done)))
}

/// Who asks under an epoch that is over, which only somebody with a key may; `fault` is what everybody else is told.
async fn superseded(app: &App, headers: &HeaderMap, has_key: bool, fault: Fault) -> Result<Caller, Fault> {
    if !has_key || fault.status() != StatusCode::UNAUTHORIZED {
        return Err(fault);
    }
    session::superseded(app, headers).await?.ok_or(fault)
}

#[derive(Deserialize, ToSchema)]
pub(super) struct Erasure<'a> {
    /// The present password.
    #[serde(borrow)]
    #[schema(value_type = String)]
    password: Raw<'a>,
}

/// `DELETE /api/users/me`: the account ends. Address and password are gone, live orders are cancelled; what was bought and
/// sold stays, under an id that names nobody.
#[utoipa::path(
    delete, path = "/api/users/me", tag = "users", security(("session" = [])), request_body = Erasure,
    responses((status = 204, description = "Done"))
)]
pub async fn erase(
    State(app): State<App>,
    caller: Caller,
    limited: Limited,
    body: JsonBody,
) -> Result<Response, Fault> {
    let password = {
        let erasure: Erasure = body.parse()?;
        let mut complaints = Complaints::default();
        let password = present_password(erasure.password, &mut complaints);
        complaints.settle(password)?
    };
    check_password(&app, limited, &caller, password).await?;
    app.propose(caller.actor(), None, Command::EraseUser { user: caller.signed_in.user }).await??;
    let cookie = [(header::SET_COOKIE, session::cookie_cleared(&app))];
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}
