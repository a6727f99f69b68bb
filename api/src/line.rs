//! The fair line for a ticket that somebody else has: join, see where one stands, leave.
//!
//! The line is kept in the ledger. When a lock ends, the ticket is offered to the next in line in the same entry, for a time
//! of his own; nobody else can lock it meanwhile. He takes the offer by ordering the ticket, like anybody would.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::Command;
use holdfast_ledger::entities::Ticket;
use holdfast_ledger::id::{TicketId, UserId};
use holdfast_ledger::query::{self, Position};
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::fields::path_id;
use crate::headers::{json, no_content};
use crate::idempotency;
use crate::openapi::{EntityId, IdempotencyParam, Problem, Time};
use crate::router::{Fresh, PathText, ReadQuery};
use crate::session::Caller;
use crate::tickets::status_name;
use crate::time::{Rfc3339, rfc3339};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show, join, leave)).routes(routes!(list))
}

/// Where the caller stands in the line for a ticket.
#[derive(Serialize, ToSchema)]
#[schema(as = PlaceInLine)]
#[serde(rename_all = "camelCase")]
struct PlaceView<'a> {
    #[schema(value_type = EntityId)]
    ticket_id: TicketId,
    title: &'a str,
    ticket_status: &'static str,
    /// `none`, `waiting`, or `offered`: the ticket is kept for the caller, who takes it by ordering it.
    status: &'static str,
    /// 1 for who comes first, counting who has it offered; `null` for who does not wait.
    position: Option<u32>,
    /// How many wait for the ticket.
    line_length: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    joined_at: Option<Rfc3339>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    offered_until: Option<Rfc3339>,
    /// By ledger time.
    #[serde(skip_serializing_if = "Option::is_none")]
    offer_expires_in_seconds: Option<u64>,
    #[schema(value_type = Time)]
    server_time: Rfc3339,
}

impl<'a> PlaceView<'a> {
    fn new(id: TicketId, ticket: &'a Ticket, stands: Option<&Position>, now_ms: u64) -> PlaceView<'a> {
        let offered_until_ms = stands.and_then(|stands| stands.offered_until_ms);
        PlaceView {
            ticket_id: id,
            title: &ticket.title,
            ticket_status: status_name(&ticket.holding, ticket.withdrawn),
            status: match (stands, offered_until_ms) {
                (None, _) => "none",
                (Some(_), None) => "waiting",
                (Some(_), Some(_)) => "offered",
            },
            position: stands.filter(|_| offered_until_ms.is_none()).map(|stands| stands.ahead.saturating_add(1)),
            line_length: ticket.waiting,
            joined_at: stands.map(|stands| rfc3339(stands.joined_ms)),
            offered_until: offered_until_ms.map(rfc3339),
            offer_expires_in_seconds: offered_until_ms.map(|until_ms| until_ms.saturating_sub(now_ms).div_ceil(1_000)),
            server_time: rfc3339(now_ms),
        }
    }
}

/// `GET /api/tickets/:id/line`: where the caller stands in the line for a ticket.
#[utoipa::path(
    get, path = "/api/tickets/{id}/line", tag = "tickets", security(("session" = [])), params(ReadQuery),
    responses((status = 200, description = "Where", body = PlaceView))
)]
async fn show(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    answer(&app, StatusCode::OK, &caller, path_id(&id, "id")?, freshness).await
}

/// `POST /api/tickets/:id/line`: the caller waits for a ticket that somebody else has. Asked twice, it is one place.
#[utoipa::path(
    post, path = "/api/tickets/{id}/line", tag = "tickets", security(("session" = [])), params(IdempotencyParam),
    responses(
        (status = 201, description = "Where the caller stands", body = PlaceView),
        (status = 409, description = "Nobody has it, so buy it; or the line is full or closed", body = Problem),
    )
)]
async fn join(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let ticket = path_id(&id, "id")?;
    let command = Command::JoinLine { ticket };
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    answer(&app, StatusCode::CREATED, &caller, ticket, Consistency::AtLeast(done.index)).await
}

/// `DELETE /api/tickets/:id/line`: gives the place up, or the offer: the next in line has his turn at once.
#[utoipa::path(
    delete, path = "/api/tickets/{id}/line", tag = "tickets", security(("session" = [])), params(IdempotencyParam),
    responses((status = 204, description = "Left"))
)]
async fn leave(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let command = Command::LeaveLine { ticket: path_id(&id, "id")? };
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    Ok(no_content(done.decided_at))
}

async fn answer(
    app: &App,
    status: StatusCode,
    caller: &Caller,
    id: TicketId,
    freshness: Consistency,
) -> Result<Response, Fault> {
    let seen = app.read(freshness, |state| standing(state, caller.signed_in.user, id)).await?;
    let (ticket, stands) = seen.value.ok_or_else(|| Fault::not_found("ticket_not_found").log_index(seen.index))?;
    Ok(json(status, &PlaceView::new(id, &ticket, stands.as_ref(), seen.now_ms), seen.index))
}

/// A ticket, and where a user stands in its line.
fn standing(state: &Ledger, user: UserId, id: TicketId) -> Result<Option<(Ticket, Option<Position>)>, StoreError> {
    let Some(ticket) = query::ticket(state, id)? else { return Ok(None) };
    Ok(Some((ticket, query::line_position(state, user, id)?)))
}

/// `GET /api/line`: every line that the caller stands in.
#[utoipa::path(
    get, path = "/api/line", tag = "tickets", security(("session" = [])), params(ReadQuery),
    responses((status = 200, description = "All of them", body = Vec<PlaceView>))
)]
async fn list(State(app): State<App>, caller: Caller, Fresh(freshness): Fresh) -> Result<Response, Fault> {
    let user = caller.signed_in.user;
    let find = |state: &Ledger| {
        let places = query::places_of_user(state, user)?.into_iter();
        let stands =
            places.map(|(_, place)| Ok(standing(state, user, place.ticket)?.map(|found| (place.ticket, found))));
        stands.filter_map(Result::transpose).collect::<Result<Vec<_>, StoreError>>()
    };
    let seen = app.read(freshness, find).await?;
    let view = |(id, (ticket, stands)): &'_ (TicketId, (Ticket, Option<Position>))| {
        serde_json::to_value(PlaceView::new(*id, ticket, stands.as_ref(), seen.now_ms))
            .expect("our views have a JSON form")
    };
    let views: Vec<_> = seen.value.iter().map(view).collect();
    Ok(json(StatusCode::OK, &views, seen.index))
}
