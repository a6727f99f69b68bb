//! Accounts: found, banned, given roles.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::Command;
use holdfast_ledger::entities::{Personal, Roles, User};
use holdfast_ledger::id::UserId;
use holdfast_ledger::query::{self, Cursor, Page};
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Onlooker, Operator};
use crate::app::{App, Ledger};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::path_id;
use crate::headers::json;
use crate::idempotency;
use crate::openapi::{EntityId, IdempotencyParam, Time};
use crate::paging::Listing;
use crate::router::{PageQuery, PathText, QueryOf};
use crate::time::{Rfc3339, rfc3339};

/// The roles that can be given, as they are called on the wire.
const ROLES: [&str; 3] = ["seller", "operator-read", "operator-admin"];

/// An account as operators see it.
#[derive(Serialize, ToSchema)]
#[schema(as = AccountReport)]
#[serde(rename_all = "camelCase")]
pub struct AccountView<'a> {
    #[schema(value_type = EntityId)]
    id: UserId,
    /// `null` for an erased account.
    email: Option<&'a str>,
    roles: Vec<&'static str>,
    banned: bool,
    erased: bool,
    /// The address is known to be the account's.
    verified: bool,
    /// Tickets that its live locks hold.
    locks_live: u32,
    sessions: u32,
    /// Locks in a row that ran out unpaid.
    expiries_in_row: u32,
    version: u64,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
}

impl<'a> AccountView<'a> {
    pub fn new(id: UserId, user: &User, personal: Option<&'a Personal>) -> AccountView<'a> {
        let Roles { seller, operator_read, operator_admin } = user.roles;
        let held = ROLES.into_iter().zip([seller, operator_read, operator_admin]);
        AccountView {
            id,
            email: personal.map(|personal| personal.email.as_str()),
            roles: held.filter(|(_, has)| *has).map(|(name, _)| name).collect(),
            banned: user.banned,
            erased: user.erased,
            verified: user.verified,
            locks_live: user.locks_live,
            sessions: user.sessions,
            expiries_in_row: user.expiries_in_row,
            version: user.version,
            created_at: rfc3339(user.created_ms),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// How the address begins, in any case; an id finds that account.
    q: Option<String>,
}

/// `GET /api/operator/users`: accounts by how their address begins, in the order of their addresses.
#[utoipa::path(
    get, path = "/api/operator/users", tag = "operators", security(("session" = ["operator-read"])), 
    params(UsersQuery, PageQuery),
    responses((status = 200, description = "A page of them", body = Vec<AccountView>))
)]
pub async fn search(
    State(app): State<App>,
    _: Onlooker,
    QueryOf(query): QueryOf<UsersQuery>,
    listing: Listing,
) -> Result<Response, Fault> {
    let q = query.q.as_deref().unwrap_or_default().trim();
    let by_id: Option<UserId> = q.parse().ok();
    let find = |state: &Ledger, after: Option<&Cursor>, limit| match by_id {
        Some(id) => {
            let found = account(state, id)?.map(|(user, personal)| (id, user, personal));
            Ok(Page { rows: found.into_iter().collect(), next: None })
        }
        None => {
            let page = query::users_by_email(state, q, after, limit)?;
            let rows = page.rows.into_iter().map(|(id, user, personal)| (id, user, Some(personal)));
            Ok(Page { rows: rows.collect(), next: page.next })
        }
    };
    let seen = listing.read(&app, find).await?;
    Ok(listing.answer(&seen, |(id, user, personal)| AccountView::new(*id, user, personal.as_ref())))
}

/// `GET /api/operator/users/:id`: one account.
#[utoipa::path(
    get, path = "/api/operator/users/{id}", tag = "operators", security(("session" = ["operator-read"])),
    responses((status = 200, description = "The account", body = AccountView))
)]
pub async fn show(State(app): State<App>, _: Onlooker, PathText(id): PathText) -> Result<Response, Fault> {
    answer(&app, path_id(&id, "id")?, Consistency::Linearizable).await
}

/// `POST /api/operator/users/:id/ban`: ends the account's sessions, releases its locks, cancels what is not paid.
#[utoipa::path(
    post, path = "/api/operator/users/{id}/ban", tag = "operators", security(("session" = ["operator-admin"])),
    params(IdempotencyParam),
    responses((status = 200, description = "The account, banned", body = AccountView))
)]
pub async fn ban(
    State(app): State<App>,
    operator: Operator,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let user = path_id(&id, "id")?;
    act(&app, operator, &headers, user, Command::BanUser { user }).await
}

/// `POST /api/operator/users/:id/unban`: lets the account sign in again.
#[utoipa::path(
    post, path = "/api/operator/users/{id}/unban", tag = "operators", security(("session" = ["operator-admin"])),
    params(IdempotencyParam),
    responses((status = 200, description = "The account", body = AccountView))
)]
pub async fn unban(
    State(app): State<App>,
    operator: Operator,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let user = path_id(&id, "id")?;
    act(&app, operator, &headers, user, Command::UnbanUser { user }).await
}

/// The roles that an account is to have: `seller`, `operator-read`, `operator-admin`. What is left out is taken away.
#[derive(Deserialize, ToSchema)]
struct RolesBody {
    roles: Vec<String>,
}

/// `PUT /api/operator/users/:id/roles`: gives and takes roles; the account's sessions end, as they had others.
#[utoipa::path(
    put, path = "/api/operator/users/{id}/roles", tag = "operators", security(("session" = ["operator-admin"])),
    params(IdempotencyParam), request_body = RolesBody,
    responses((status = 200, description = "The account", body = AccountView))
)]
pub async fn set_roles(
    State(app): State<App>,
    operator: Operator,
    PathText(id): PathText,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    let user = path_id(&id, "id")?;
    let RolesBody { roles } = body.parse()?;
    if roles.iter().any(|role| !ROLES.contains(&role.as_str())) {
        return Err(Fault::bad_field("roles", "invalid", format!("Roles are {}", ROLES.join(", "))));
    }
    let has = |name: &str| roles.iter().any(|role| role == name);
    let [seller, operator_read, operator_admin] = ROLES.map(has);
    let roles = Roles { seller, operator_read, operator_admin };
    act(&app, operator, &headers, user, Command::SetRoles { user, roles }).await
}

async fn act(
    app: &App,
    Operator(caller): Operator,
    headers: &HeaderMap,
    user: UserId,
    command: Command,
) -> Result<Response, Fault> {
    let done = idempotency::once(app, &caller, headers, command).await??;
    answer(app, user, Consistency::AtLeast(done.index)).await
}

async fn answer(app: &App, id: UserId, freshness: Consistency) -> Result<Response, Fault> {
    let seen = app.read(freshness, |state| account(state, id)).await?;
    let (user, personal) = seen.value.ok_or_else(|| Fault::not_found("user_not_found").log_index(seen.index))?;
    Ok(json(StatusCode::OK, &AccountView::new(id, &user, personal.as_ref()), seen.index))
}

fn account(state: &Ledger, id: UserId) -> Result<Option<(User, Option<Personal>)>, StoreError> {
    let Some(user) = query::user(state, id)? else { return Ok(None) };
    Ok(Some((user, query::personal(state, id)?)))
}
