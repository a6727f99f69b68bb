//! A ticket as clients see it.

use holdfast_ledger::entities::{Holding, Ticket};
use holdfast_ledger::id::{OrderId, TicketId, UserId};
use holdfast_ledger::money::Currency;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::fields::price_json;
use crate::openapi::{Amount, CurrencyCode, EntityId, Time};
use crate::time::{Rfc3339, rfc3339};

/// A ticket on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Ticket)]
#[serde(rename_all = "camelCase")]
pub struct TicketView<'a> {
    #[schema(value_type = EntityId)]
    id: TicketId,
    title: &'a str,
    #[schema(value_type = Amount)]
    price: Box<RawValue>,
    #[schema(value_type = EntityId)]
    user_id: UserId,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EntityId>)]
    order_id: Option<OrderId>,
    status: &'static str,
    #[schema(value_type = CurrencyCode)]
    currency: Currency,
    price_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Amount>)]
    next_price: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    venue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seat: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    starts_at: Option<Rfc3339>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    sale_ends_at: Option<Rfc3339>,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
}

impl<'a> TicketView<'a> {
    pub fn new(id: TicketId, ticket: &'a Ticket) -> TicketView<'a> {
        let (status, order_id) = match ticket.holding {
            Holding::Free if ticket.withdrawn => ("withdrawn", None),
            Holding::Free => ("available", None),
            Holding::Locked { order } => ("locked", Some(order)),
            Holding::Sold { order } => ("sold", Some(order)),
            Holding::Offered { .. } => ("offered", None),
        };
        let details = &ticket.details;
        TicketView {
            id,
            title: &ticket.title,
            price: price_json(ticket.price_minor, ticket.currency),
            user_id: ticket.seller,
            version: ticket.version,
            order_id,
            status,
            currency: ticket.currency,
            price_version: ticket.price_version,
            next_price: ticket.price_next_minor.map(|minor| price_json(minor, ticket.currency)),
            external_id: ticket.external_id.as_deref(),
            event_name: details.event_name.as_deref(),
            venue: details.venue.as_deref(),
            section: details.section.as_deref(),
            row: details.row.as_deref(),
            seat: details.seat.as_deref(),
            starts_at: details.starts_ms.map(rfc3339),
            sale_ends_at: details.sale_ends_ms.map(rfc3339),
            created_at: rfc3339(ticket.created_ms),
        }
    }
}
