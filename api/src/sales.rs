//! What a seller has sold.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::entities::{Change, Holding, Order, Ticket};
use holdfast_ledger::event::EventType;
use holdfast_ledger::id::{OrderId, TicketId, UserId};
use holdfast_ledger::money::Currency;
use holdfast_ledger::query::{self, Cursor, Page};
use holdfast_ledger::store::StoreError;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::fields::price_json;
use crate::openapi::{Amount, CurrencyCode, EntityId, Time};
use crate::paging::Listing;
use crate::router::PageQuery;
use crate::session::Caller;
use crate::time::{Rfc3339, rfc3339};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A sold ticket on the wire. Its buyer is not named.
#[derive(Serialize, ToSchema)]
#[schema(as = Sale)]
#[serde(rename_all = "camelCase")]
struct SaleView<'a> {
    #[schema(value_type = EntityId)]
    ticket_id: TicketId,
    #[schema(value_type = EntityId)]
    order_id: OrderId,
    title: &'a str,
    /// What was paid for it.
    #[schema(value_type = Amount)]
    price: Box<RawValue>,
    #[schema(value_type = CurrencyCode)]
    currency: Currency,
    /// When the order was complete, as far as that is still kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    sold_at: Option<Rfc3339>,
}

/// A sold ticket as it is found.
struct Sale {
    id: TicketId,
    ticket: Ticket,
    order_id: OrderId,
    order: Order,
    sold: Option<Change>,
}

impl Sale {
    fn view(&self) -> SaleView<'_> {
        let line = self.order.lines.iter().find(|line| line.ticket == self.id);
        let price_minor = line.map_or(self.ticket.price_minor, |line| line.price_minor);
        SaleView {
            ticket_id: self.id,
            order_id: self.order_id,
            title: &self.ticket.title,
            price: price_json(price_minor, self.order.currency),
            currency: self.order.currency,
            sold_at: self.sold.as_ref().map(|change| rfc3339(change.time_ms)),
        }
    }
}

/// `GET /api/sales`: the caller's tickets that are sold, oldest first.
#[utoipa::path(
    get, path = "/api/sales", tag = "tickets", security(("session" = [])), params(PageQuery),
    responses((status = 200, description = "A page of them", body = Vec<SaleView>))
)]
async fn list(State(app): State<App>, caller: Caller, listing: Listing) -> Result<Response, Fault> {
    let seller = caller.signed_in.user;
    let seen = listing.read(&app, |state, after, limit| sales(state, seller, after, limit)).await?;
    Ok(listing.answer(&seen, Sale::view))
}

fn sales(state: &Ledger, seller: UserId, after: Option<&Cursor>, limit: usize) -> Result<Page<Sale>, StoreError> {
    let page = query::sales_of_seller(state, seller, after, limit)?;
    let mut rows = Vec::with_capacity(page.rows.len());
    for (id, ticket) in page.rows {
        let Holding::Sold { order: order_id } = ticket.holding else { continue };
        let Some(order) = query::order(state, order_id)? else { continue };
        let last = query::change(state, order_id.0, order.version)?;
        let completes =
            |change: &Change| matches!(change.event_type, EventType::OrderCompleted | EventType::OrderReinstated);
        rows.push(Sale { id, ticket, order_id, order, sold: last.filter(completes) });
    }
    Ok(Page { rows, next: page.next })
}
