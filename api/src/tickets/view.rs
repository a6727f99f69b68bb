//! A ticket as clients see it.

use holdfast_ledger::entities::{Holding, Ticket};
use holdfast_ledger::id::{OrderId, TicketId, UserId};
use holdfast_ledger::money::Currency;
use holdfast_ledger::query;
use holdfast_ledger::store::StoreError;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::app::Ledger;
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
    /// `available`, `locked`, `offered` to the next in line, `sold` or `withdrawn`.
    status: &'static str,
    /// How many wait for it in line.
    line_length: u32,
    /// When the lock or the offer that holds it runs out, unless it is extended. Of one ticket, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    reserved_until: Option<Rfc3339>,
    /// The same by ledger time.
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_for_seconds: Option<u64>,
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

/// A ticket's status on the wire.
pub fn status_name(holding: &Holding, withdrawn: bool) -> &'static str {
    match holding {
        Holding::Free if withdrawn => "withdrawn",
        Holding::Free => "available",
        Holding::Locked { .. } => "locked",
        Holding::Offered { .. } => "offered",
        Holding::Sold { .. } => "sold",
    }
}

/// When the lock or the offer that holds a ticket runs out, in ledger time.
pub fn held_until_ms(state: &Ledger, ticket: &Ticket) -> Result<Option<u64>, StoreError> {
    Ok(match ticket.holding {
        Holding::Locked { order } => query::order(state, order)?.map(|order| order.deadline_ms),
        Holding::Offered { deadline_ms, .. } => Some(deadline_ms),
        Holding::Free | Holding::Sold { .. } => None,
    })
}

impl<'a> TicketView<'a> {
    /// The view with when its lock or offer runs out; `now_ms` is ledger time.
    pub fn held_until(mut self, until_ms: Option<u64>, now_ms: u64) -> TicketView<'a> {
        self.reserved_until = until_ms.map(rfc3339);
        self.reserved_for_seconds = until_ms.map(|until_ms| until_ms.saturating_sub(now_ms).div_ceil(1_000));
        self
    }

    pub fn new(id: TicketId, ticket: &'a Ticket) -> TicketView<'a> {
        let order_id = match ticket.holding {
            Holding::Locked { order } | Holding::Sold { order } => Some(order),
            Holding::Free | Holding::Offered { .. } => None,
        };
        let details = &ticket.details;
        TicketView {
            id,
            title: &ticket.title,
            price: price_json(ticket.price_minor, ticket.currency),
            user_id: ticket.seller,
            version: ticket.version,
            order_id,
            status: status_name(&ticket.holding, ticket.withdrawn),
            line_length: ticket.waiting,
            reserved_until: None,
            reserved_for_seconds: None,
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
