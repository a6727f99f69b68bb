//! The streams of one ticket and of one order.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::id::{OrderId, TicketId};
use holdfast_ledger::query;
use holdfast_ledger::store::StoreError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::availability::{__path_availability, availability};
use super::frame::Frame;
use super::{Reader, ResumeQuery, Watched, respond};
use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::fields::path_id;
use crate::openapi::Problem;
use crate::orders::{OrderView, owned};
use crate::router::PathText;
use crate::session::Caller;
use crate::tickets::{TicketView, held_until_ms};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(availability)).routes(routes!(of_ticket)).routes(routes!(of_order))
}

/// `GET /api/tickets/:id/events`: a ticket as it changes, as server-sent events. The data of a `ticket` event is what
/// `GET /api/tickets/:id` answers; its id is a log index, at which a stream that broke off is resumed.
#[utoipa::path(
    get, path = "/api/tickets/{id}/events", tag = "tickets", params(ResumeQuery),
    responses(
        (status = 200, description = "Goes on until the reader leaves", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many streams, or not now", body = Problem),
    )
)]
async fn of_ticket(State(app): State<App>, PathText(id): PathText, reader: Reader) -> Result<Response, Fault> {
    let id: TicketId = path_id(&id, "id")?;
    let find = |state: &Ledger| {
        let Some(ticket) = query::ticket(state, id)? else { return Ok(None) };
        Ok(Some(query::change(state, id.0, ticket.version)?.map(|change| (ticket.version, change.index))))
    };
    let seen = app.read(reader.freshness(), find).await?;
    let last = seen.value.ok_or_else(|| Fault::not_found("ticket_not_found").log_index(seen.index))?;
    let known = known_version(last, reader.resumes_at);
    Ok(respond(app, reader, TicketWatched { id, known, told: None }))
}

/// `GET /api/orders/:orderId/events`: the caller's own order as it changes, as server-sent events. The data of an `order`
/// event is what `GET /api/orders/:orderId` answers.
#[utoipa::path(
    get, path = "/api/orders/{id}/events", tag = "orders", security(("session" = [])), params(ResumeQuery),
    responses(
        (status = 200, description = "Goes on until the reader leaves", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many streams, or not now", body = Problem),
    )
)]
async fn of_order(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    reader: Reader,
) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "orderId")?;
    let find = |state: &Ledger| {
        let order = query::order(state, id)?;
        let change = match &order {
            Some(order) => query::change(state, id.0, order.version)?,
            None => None,
        };
        Ok((order, change))
    };
    let seen = app.read(reader.freshness(), find).await?;
    let (order, change) = seen.value;
    let order = owned(order, &caller, seen.index)?;
    let told = known_version(change.map(|change| (order.version, change.index)), reader.resumes_at);
    Ok(respond(app, reader, OrderWatched { id, told }))
}

/// The version that a reader has seen already, who left off at `resumes_at`: the present one, if it is as old as that.
fn known_version(last: Option<(u64, u64)>, resumes_at: Option<u64>) -> Option<u64> {
    let (version, changed_at) = last?;
    resumes_at.is_some_and(|index| changed_at <= index).then_some(version)
}

struct TicketWatched {
    id: TicketId,
    /// The version that the reader has seen before the stream began.
    known: Option<u64>,
    told: Option<Told>,
}

/// What of a ticket was told last: its version, and what changes without one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    version: u64,
    waiting: u32,
    held_until_ms: Option<u64>,
}

impl Watched for TicketWatched {
    fn look(&mut self, app: &App, state: &Ledger) -> Result<Vec<Frame>, StoreError> {
        let Some(ticket) = query::ticket(state, self.id)? else { return Ok(Vec::new()) };
        let held_until_ms = held_until_ms(state, &ticket)?;
        let now = Told { version: ticket.version, waiting: ticket.waiting, held_until_ms };
        let before = self.told.replace(now);
        if before == Some(now) || self.known.take() == Some(ticket.version) {
            return Ok(Vec::new());
        }
        let now_ms = app.ledger_clock.observe(state.meta().now_ms);
        let view = TicketView::new(self.id, &ticket).held_until(held_until_ms, now_ms);
        Ok(vec![Frame::new("ticket", Some(state.meta().index), &view)])
    }
}

struct OrderWatched {
    id: OrderId,
    /// The version that was told last.
    told: Option<u64>,
}

impl Watched for OrderWatched {
    fn look(&mut self, app: &App, state: &Ledger) -> Result<Vec<Frame>, StoreError> {
        let Some(order) = query::order(state, self.id)? else { return Ok(Vec::new()) };
        if self.told.replace(order.version) == Some(order.version) {
            return Ok(Vec::new());
        }
        let now_ms = app.ledger_clock.observe(state.meta().now_ms);
        let view = OrderView::new(self.id, &order, now_ms, state.meta().policy.lock_extensions_max);
        Ok(vec![Frame::new("order", Some(state.meta().index), &view)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_has_seen_the_last_change_is_not_told_it_again() {
        assert_eq!(known_version(Some((3, 100)), Some(100)), Some(3));
        assert_eq!(known_version(Some((3, 100)), Some(99)), None);
        assert_eq!(known_version(Some((3, 100)), None), None);
        assert_eq!(known_version(None, Some(500)), None, "a change that is no longer kept is told again");
    }
}
