//! What operators see and do: the cluster, locks and orders, accounts, payments, the outbox, invariants, the audit log.
//!
//! Whoever has the role operator-read may look, whoever has operator-admin may act. The door asks the role of this node's
//! state, so that nobody else learns what there is; the ledger asks it again when a command is applied, and writes down who
//! did what.

mod audit;
mod cluster;
mod events;
mod invariants;
mod keys;
mod orders;
mod outbox;
mod payments;
mod users;
mod webhooks;

use axum::extract::FromRequestParts;
use holdfast_ledger::entities::Roles;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::request::Parts;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::invariants::Checks;
use crate::app::App;
use crate::error::Fault;
use crate::session::Caller;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(cluster::show))
        .routes(routes!(cluster::follow))
        .routes(routes!(orders::locks))
        .routes(routes!(orders::search))
        .routes(routes!(orders::show))
        .routes(routes!(orders::release))
        .routes(routes!(orders::refund))
        .routes(routes!(users::search))
        .routes(routes!(users::show))
        .routes(routes!(users::ban))
        .routes(routes!(users::unban))
        .routes(routes!(users::set_roles))
        .routes(routes!(payments::stuck))
        .routes(routes!(outbox::show))
        .routes(routes!(events::show))
        .routes(routes!(audit::list))
        .routes(routes!(invariants::show, invariants::start))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::change, webhooks::remove))
        .routes(routes!(keys::list))
        .routes(routes!(keys::revoke))
}

/// A caller who may look.
pub struct Onlooker;

/// A caller who may act.
struct Operator(Caller);

impl FromRequestParts<App> for Onlooker {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Onlooker, Fault> {
        let (_, roles) = caller_and_roles(parts, app).await?;
        if !(roles.operator_read || roles.operator_admin) {
            return Err(Fault::forbidden("forbidden", "Your role does not allow this"));
        }
        Ok(Onlooker)
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Operator, Fault> {
        let (caller, roles) = caller_and_roles(parts, app).await?;
        if !roles.operator_admin {
            return Err(Fault::forbidden("forbidden", "Your role does not allow this"));
        }
        Ok(Operator(caller))
    }
}

/// A change of roles ends the sessions from before it, so what this node has applied is new enough for those that hold.
async fn caller_and_roles(parts: &mut Parts, app: &App) -> Result<(Caller, Roles), Fault> {
    let caller = Caller::from_request_parts(parts, app).await?;
    let user = app.read(Consistency::Stale, |state| query::user(state, caller.signed_in.user)).await?.value;
    Ok((caller, user.ok_or_else(Fault::not_signed_in)?.roles))
}
