//! What is proved by a mail that arrives: a lost password's owner, and an address.
//!
//! A request is a row in the ledger with an id and an end. What the mail carries is a token that a node signs when the
//! notifications service asks for the link, so no secret stands in the state, the log or an event. A link works once,
//! because its request is used up; it is of no use for anything else, because its audience says what it is for.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use holdfast_ledger::command::{Actor, Command};
use holdfast_ledger::entities;
use holdfast_ledger::id::{Id, RequestId, UserId};
use holdfast_ledger::outcome::Refusal;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD_EMAIL, email, new_password};
use crate::app::{App, Done, Refused};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{self, Complaints, Raw};
use crate::headers::json;
use crate::limits::Limited;
use crate::session::{self, Caller};
use crate::token::Purpose;

/// Whom a reset is asked for where an address has no account: the same round through the log, to the same answer.
const NOBODY: (u16, u64, u32) = (u16::MAX, 0, 0);

/// What a mailed token says: whose it is, and under which request.
#[derive(Serialize, Deserialize)]
struct Link {
    sub: UserId,
    request: RequestId,
}

/// A link for a mail.
pub struct MailedLink {
    pub purpose: entities::Purpose,
    pub url: String,
    /// Ledger time, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// The link for a request of a user; `None` where there is no such request (any more).
pub async fn mailed_link(app: &App, user: UserId, request: RequestId) -> Result<Option<MailedLink>, Fault> {
    let find = |state: &_| query::request(state, user, request);
    let Some(row) = app.read(Consistency::Linearizable, find).await?.value else { return Ok(None) };
    let (purpose, path) = match row.purpose {
        entities::Purpose::Reset => (Purpose::Reset, "/auth/reset"),
        entities::Purpose::Verify => (Purpose::Verification, "/auth/verify"),
    };
    let link = Link { sub: user, request };
    let token = app.tokens.sign(purpose, link, app.now_s(), Some(row.expires_ms.div_ceil(1_000)));
    let url = format!("{}{path}?token={token}", app.settings.public_url.trim_end_matches('/'));
    Ok(Some(MailedLink { purpose: row.purpose, url, expires_ms: row.expires_ms }))
}

#[derive(Deserialize, ToSchema)]
pub(super) struct LostPassword<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    email: Raw<'a>,
}

/// `POST /api/users/reset`: asks for a mail with a link to choose a new password. The answer does not tell whether the
/// address has an account.
#[utoipa::path(
    post, path = "/api/users/reset", tag = "users", request_body = LostPassword,
    responses((status = 202, description = "If there is such an account, a mail is on its way"))
)]
pub async fn ask_for_reset(State(app): State<App>, limited: Limited, body: JsonBody) -> Result<Response, Fault> {
    let email = {
        let lost: LostPassword = body.parse()?;
        let mut complaints = Complaints::default();
        let email = complaints.require(email(lost.email), "email", BAD_EMAIL);
        complaints.settle(email)?
    };
    limited.guess(&app, email.to_lowercase())?;
    let account = app.read(Consistency::Linearizable, |state| query::user_by_email(state, &email)).await?.value;
    let (lineage, index, ordinal) = NOBODY;
    let user = account.map_or(UserId(Id::mint(lineage, index, ordinal)), |(user, _, _)| user);
    // Refused for who is unknown or banned, or has been sent enough mails: nobody is told.
    let _ = app.propose(Actor::Anonymous, None, Command::RequestReset { user }).await?;
    Ok(accepted())
}

#[derive(Deserialize, ToSchema)]
pub(super) struct NewPassword<'a> {
    /// Out of the mailed link.
    #[serde(borrow)]
    #[schema(value_type = String)]
    token: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = String)]
    password: Raw<'a>,
}

/// `POST /api/users/reset/confirm`: a new password, for who has the mail. All sessions end.
#[utoipa::path(
    post, path = "/api/users/reset/confirm", tag = "users", request_body = NewPassword,
    responses((status = 200, description = "Done"))
)]
pub async fn reset(State(app): State<App>, body: JsonBody) -> Result<Response, Fault> {
    let (token, password) = {
        let chosen: NewPassword = body.parse()?;
        let mut complaints = Complaints::default();
        let token = complaints.require(token(chosen.token), "token", BAD_LINK);
        let password = new_password(chosen.password, "password", &mut complaints);
        complaints.settle(token.zip(password))?
    };
    let link: Option<Link> = session::read_token(&app, Purpose::Reset, &token).await?;
    let Link { sub: user, request } = link.ok_or_else(bad_link)?;
    let password_hash = app.passwords.hash(password).await?;
    let command = Command::ResetPassword { user, request, password_hash };
    used(app.propose(Actor::Anonymous, None, command).await?)
}

/// `POST /api/users/me/verification`: asks for a mail that proves the caller's address.
#[utoipa::path(
    post, path = "/api/users/me/verification", tag = "users", security(("session" = [])),
    responses((status = 202, description = "A mail is on its way, unless the address is verified already"))
)]
pub async fn ask_for_verification(State(app): State<App>, caller: Caller) -> Result<Response, Fault> {
    app.propose(caller.actor(), None, Command::RequestVerification).await??;
    Ok(accepted())
}

#[derive(Deserialize, ToSchema)]
pub(super) struct Verification<'a> {
    /// Out of the mailed link.
    #[serde(borrow)]
    #[schema(value_type = String)]
    token: Raw<'a>,
}

/// `POST /api/users/verify`: the address is proved, by who has the mail.
#[utoipa::path(
    post, path = "/api/users/verify", tag = "users", request_body = Verification,
    responses((status = 200, description = "Done"))
)]
pub async fn verify(State(app): State<App>, body: JsonBody) -> Result<Response, Fault> {
    let token = {
        let verification: Verification = body.parse()?;
        let mut complaints = Complaints::default();
        let token = complaints.require(token(verification.token), "token", BAD_LINK);
        complaints.settle(token)?
    };
    let link: Option<Link> = session::read_token(&app, Purpose::Verification, &token).await?;
    let Link { sub: user, request } = link.ok_or_else(bad_link)?;
    used(app.propose(Actor::Anonymous, None, Command::VerifyEmail { user, request }).await?)
}

const BAD_LINK: &str = "This link does not work any more; ask for a new one";

fn bad_link() -> Fault {
    Fault::bad_field("token", "link_invalid", BAD_LINK)
}

/// A text that may be a token.
fn token(raw: Raw<'_>) -> Option<String> {
    fields::text(raw).map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
}

/// The answer after a link was used. Why one is of no use is nobody's business: it was used, it is old, the account is gone.
fn used(settled: Result<Done, Refused>) -> Result<Response, Fault> {
    match settled {
        Ok(done) => Ok(json(StatusCode::OK, &serde_json::Map::new(), done.decided_at)),
        Err(Refused { refusal: Refusal::RequestNotFound | Refusal::UserNotFound | Refusal::Banned, .. }) => {
            Err(bad_link())
        }
        Err(refused) => Err(refused.into()),
    }
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, axum::Json(serde_json::Map::new())).into_response()
}
