//! Why an entity is as it is: its changes, each with the log index that decided it.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use holdfast_ledger::entities::Change;
use holdfast_ledger::id::{Id, OrderId, TicketId};
use holdfast_ledger::query::{self, Page};
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Seen};
use crate::error::Fault;
use crate::fields::path_id;
use crate::headers::{freshness, json};
use crate::openapi::{EntityId, Time};
use crate::orders::owned;
use crate::paging;
use crate::router::{PageQuery, PathText, QueryOf};
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
pub async fn of_ticket(
    State(app): State<App>,
    PathText(id): PathText,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Fault> {
    let id: TicketId = path_id(&id, "id")?;
    let wanted = paging::wanted(query.limit.as_deref(), query.cursor.as_deref())?;
    let freshness = freshness(&headers, query.consistency.as_deref(), query.min_index.as_deref())?;
    let read = |state: &_| {
        let history = query::history(state, id.0, wanted.after.as_ref(), wanted.limit)?;
        Ok((query::ticket(state, id)?.is_some(), history))
    };
    let Seen { value: (exists, page), index, .. } = app.read(freshness, read).await?;
    if !exists {
        return Err(Fault::not_found("ticket_not_found").log_index(index));
    }
    Ok(answer(&page, index, &uri))
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
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "orderId")?;
    let wanted = paging::wanted(query.limit.as_deref(), query.cursor.as_deref())?;
    let freshness = freshness(&headers, query.consistency.as_deref(), query.min_index.as_deref())?;
    let entity: Id = id.0;
    let read = |state: &_| {
        let history = query::history(state, entity, wanted.after.as_ref(), wanted.limit)?;
        Ok((query::order(state, id)?, history))
    };
    let Seen { value: (order, page), index, .. } = app.read(freshness, read).await?;
    owned(order, &caller, index)?;
    Ok(answer(&page, index, &uri))
}

fn answer(page: &Page<(u64, Change)>, index: u64, uri: &Uri) -> Response {
    let view = |(version, change): &(u64, Change)| ChangeView {
        version: *version,
        event: change.event_type.name(),
        log_index: change.index,
        time: rfc3339(change.time_ms),
        order_id: change.order,
    };
    let views: Vec<_> = page.rows.iter().map(view).collect();
    let mut response = json(StatusCode::OK, &views, index);
    paging::link_next(&mut response, uri, page.next.as_ref());
    response
}
