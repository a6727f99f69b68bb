//! Why an entity is as it is: its changes, each with the log index that decided it.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::entities::Change;
use holdfast_ledger::id::{OrderId, TicketId};
use holdfast_ledger::query::{self, Cursor};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Ledger, Seen};
use crate::error::Fault;
use crate::fields::path_id;
use crate::openapi::{EntityId, Time};
use crate::orders::owned;
use crate::paging::Listing;
use crate::router::{PageQuery, PathText};
use crate::session::Caller;
use crate::time::{Rfc3339, rfc3339};

/// One change on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Change)]
#[serde(rename_all = "camelCase")]
struct ChangeView {
    version: u64,
    event: &'static str,
    log_index: u64,
    #[schema(value_type = Time)]
    time: Rfc3339,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EntityId>)]
    order_id: Option<OrderId>,
}

/// `GET /api/tickets/:id/history`: public, as the ticket is.
#[utoipa::path(
    get, path = "/api/tickets/{id}/history", tag = "tickets", params(PageQuery),
    responses((status = 200, description = "Done", body = Vec<ChangeView>))
)]
pub async fn of_ticket(State(app): State<App>, PathText(id): PathText, listing: Listing) -> Result<Response, Fault> {
    let id: TicketId = path_id(&id, "id")?;
    let find = |state: &Ledger, after: Option<&Cursor>, limit| {
        Ok((query::ticket(state, id)?.is_some(), query::history(state, id.0, after, limit)?))
    };
    let Seen { value: (exists, page), index, .. } = listing.read(&app, find).await?;
    if !exists {
        return Err(Fault::not_found("ticket_not_found").log_index(index));
    }
    Ok(listing.answer_page(&page, index, view))
}

/// `GET /api/orders/:orderId/history`: the caller's own.
#[utoipa::path(
    get, path = "/api/orders/{id}/history", tag = "orders", security(("session" = [])), params(PageQuery),
    responses((status = 200, description = "Done", body = Vec<ChangeView>))
)]
pub async fn of_order(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    listing: Listing,
) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "orderId")?;
    let find = |state: &Ledger, after: Option<&Cursor>, limit| {
        Ok((query::order(state, id)?, query::history(state, id.0, after, limit)?))
    };
    let Seen { value: (order, page), index, .. } = listing.read(&app, find).await?;
    owned(order, &caller, index)?;
    Ok(listing.answer_page(&page, index, view))
}

fn view((version, change): &(u64, Change)) -> ChangeView {
    ChangeView {
        version: *version,
        event: change.event_type.name(),
        log_index: change.index,
        time: rfc3339(change.time_ms),
        order_id: change.order,
    }
}
