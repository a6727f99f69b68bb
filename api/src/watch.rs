//! Watching a ticket: whoever does is told when its price changes.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::Command;
use holdfast_ledger::id::TicketId;
use holdfast_ledger::query;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::Fault;
use crate::fields::path_id;
use crate::headers::{json, no_content};
use crate::openapi::Problem;
use crate::paging::Listing;
use crate::router::{Fresh, PageQuery, PathText, ReadQuery};
use crate::session::Caller;
use crate::tickets::TicketView;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show, watch, unwatch)).routes(routes!(list))
}

/// Whether the caller watches a ticket.
#[derive(Serialize, ToSchema)]
struct Watching {
    watching: bool,
}

/// `GET /api/tickets/:id/watch`: whether the caller watches it.
#[utoipa::path(
    get, path = "/api/tickets/{id}/watch", tag = "tickets", security(("session" = [])), params(ReadQuery),
    responses((status = 200, description = "Whether", body = Watching))
)]
async fn show(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    let id: TicketId = path_id(&id, "id")?;
    let user = caller.signed_in.user;
    let find = |state: &_| Ok((query::ticket(state, id)?.is_some(), query::is_watching(state, user, id)?));
    let seen = app.read(freshness, find).await?;
    match seen.value {
        (true, watching) => Ok(json(StatusCode::OK, &Watching { watching }, seen.index)),
        (false, _) => Err(Fault::not_found("ticket_not_found").log_index(seen.index)),
    }
}

/// `POST /api/tickets/:id/watch`: the caller is told when its price changes. Asked twice, it is done once.
#[utoipa::path(
    post, path = "/api/tickets/{id}/watch", tag = "tickets", security(("session" = [])),
    responses(
        (status = 204, description = "Watched"),
        (status = 409, description = "Too many watch it, or the caller watches too many", body = Problem),
    )
)]
async fn watch(State(app): State<App>, caller: Caller, PathText(id): PathText) -> Result<Response, Fault> {
    let ticket = path_id(&id, "id")?;
    act(&app, caller, Command::WatchTicket { ticket }).await
}

/// `DELETE /api/tickets/:id/watch`: no longer.
#[utoipa::path(
    delete, path = "/api/tickets/{id}/watch", tag = "tickets", security(("session" = [])),
    responses((status = 204, description = "Not watched"))
)]
async fn unwatch(State(app): State<App>, caller: Caller, PathText(id): PathText) -> Result<Response, Fault> {
    let ticket = path_id(&id, "id")?;
    act(&app, caller, Command::UnwatchTicket { ticket }).await
}

async fn act(app: &App, caller: Caller, command: Command) -> Result<Response, Fault> {
    let done = app.propose(caller.actor(), None, command).await??;
    Ok(no_content(done.decided_at))
}

/// `GET /api/watches`: the tickets that the caller watches, newest first.
#[utoipa::path(
    get, path = "/api/watches", tag = "tickets", security(("session" = [])), params(PageQuery),
    responses((status = 200, description = "The tickets", body = Vec<TicketView>))
)]
async fn list(State(app): State<App>, caller: Caller, listing: Listing) -> Result<Response, Fault> {
    let user = caller.signed_in.user;
    let seen = listing.read(&app, |state, after, limit| query::watches_of_user(state, user, after, limit)).await?;
    Ok(listing.answer(&seen, |(id, ticket)| TicketView::new(*id, ticket)))
}
