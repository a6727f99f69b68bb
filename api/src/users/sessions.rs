//! Where a user is signed in, and ending that from elsewhere.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use holdfast_ledger::command::Command;
use holdfast_ledger::id::SessionId;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::Fault;
use crate::fields::path_id;
use crate::headers::json;
use crate::openapi::{EntityId, Time};
use crate::router::PathText;
use crate::session::{self, Caller};
use crate::time::{Rfc3339, rfc3339};

#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionView {
    #[schema(value_type = EntityId)]
    id: SessionId,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
    /// When it was last used, to within half of a token's life.
    #[schema(value_type = Time)]
    refreshed_at: Rfc3339,
    #[schema(value_type = Time)]
    expires_at: Rfc3339,
    /// What signed in, such as `Firefox on Linux`; empty where it did not say.
    device: String,
    /// The one that asks.
    current: bool,
}

/// `GET /api/users/me/sessions`: where the caller is signed in, newest first. Bounded by the policy, so not in pages.
#[utoipa::path(
    get, path = "/api/users/me/sessions", tag = "users", security(("session" = [])),
    responses((status = 200, description = "Done", body = Vec<SessionView>))
)]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Fault> {
    let user = caller.signed_in.user;
    let seen = app.read(Consistency::Linearizable, |state| query::sessions_of_user(state, user)).await?;
    let views = seen.value.into_iter().rev().map(|(id, session)| SessionView {
        id,
        created_at: rfc3339(session.created_ms),
        refreshed_at: rfc3339(session.refreshed_ms),
        expires_at: rfc3339(session.expires_ms),
        device: session.agent,
        current: id == caller.signed_in.session,
    });
    Ok(json(StatusCode::OK, &views.collect::<Vec<_>>(), seen.index))
}

/// `DELETE /api/users/me/sessions/:id`: ends one of the caller's sessions; 204 also where it is over already.
#[utoipa::path(
    delete, path = "/api/users/me/sessions/{id}", tag = "users", security(("session" = [])),
    responses((status = 204, description = "Done"))
)]
pub async fn revoke(State(app): State<App>, caller: Caller, PathText(id): PathText) -> Result<Response, Fault> {
    let session: SessionId = path_id(&id, "id")?;
    app.propose(caller.actor(), None, Command::SignOut { session }).await??;
    if session == caller.signed_in.session {
        return Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, session::cookie_cleared(&app))]).into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /api/users/me/sessions`: signs out everywhere, here too.
#[utoipa::path(
    delete, path = "/api/users/me/sessions", tag = "users", security(("session" = [])),
    responses((status = 204, description = "Done"))
)]
pub async fn revoke_all(State(app): State<App>, caller: Caller) -> Result<Response, Fault> {
    let user = caller.signed_in.user;
    let sessions = app.read(Consistency::Linearizable, |state| query::sessions_of_user(state, user)).await?.value;
    // The one that asks goes last: it carries the others' ends.
    let (own, others): (Vec<_>, Vec<_>) =
        sessions.into_iter().map(|(id, _)| id).partition(|id| *id == caller.signed_in.session);
    for session in others.into_iter().chain(own) {
        app.propose(caller.actor(), None, Command::SignOut { session }).await??;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, session::cookie_cleared(&app))]).into_response())
}
