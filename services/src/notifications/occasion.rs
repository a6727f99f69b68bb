//! Which events somebody is written to for.

use holdfast_events::wire::types::{CancelReason, PaymentStatus, PlaceStatus};
use holdfast_events::wire::{Body, Message, Time};
use holdfast_ledger::event::EventType;
use holdfast_ledger::id::{OrderId, RequestId, TicketId, UserId};

/// An event that is a reason to write, with what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Occasion {
    Locked {
        order: OrderId,
        user: UserId,
        until: Time,
    },
    Confirmed {
        order: OrderId,
        user: UserId,
    },
    Expired {
        order: OrderId,
        user: UserId,
    },
    Refunded {
        order: OrderId,
        user: UserId,
    },
    /// Everybody who watches the ticket.
    PriceChanged {
        ticket: TicketId,
        title: String,
        price: String,
    },
    Offered {
        ticket: TicketId,
        user: UserId,
        until: Time,
    },
    /// A link was asked for: which one, the request says.
    Link {
        user: UserId,
        request: RequestId,
    },
}

/// What `message` is a reason for.
pub(super) fn of(message: &Message) -> Option<Occasion> {
    let version = message.envelope.version;
    match (message.envelope.event_type, &message.body) {
        (EventType::OrderCreated, Body::Order(order)) => {
            Some(Occasion::Locked { order: order.id, user: order.user_id, until: order.expires_at })
        }
        (EventType::OrderCompleted | EventType::OrderReinstated, Body::Order(order)) => {
            Some(Occasion::Confirmed { order: order.id, user: order.user_id })
        }
        (EventType::OrderCancelled, Body::Order(order)) if order.reason == Some(CancelReason::Expired) => {
            Some(Occasion::Expired { order: order.id, user: order.user_id })
        }
        (EventType::PaymentUpdated, Body::Payment(payment)) if payment.status == PaymentStatus::Refunded => {
            Some(Occasion::Refunded { order: payment.order_id, user: payment.user_id })
        }
        // A later change leaves the price's version behind its own.
        (EventType::TicketUpdated, Body::Ticket(ticket)) if ticket.price_version == version => {
            let price = super::text::money(ticket.price, ticket.currency);
            Some(Occasion::PriceChanged { ticket: ticket.id, title: ticket.title.clone(), price })
        }
        (EventType::LineOffered, Body::Place(place)) if place.status == PlaceStatus::Offered => {
            let until = place.offered_until?;
            Some(Occasion::Offered { ticket: place.ticket_id, user: place.user_id, until })
        }
        (EventType::UserResetRequested | EventType::UserVerificationRequested, Body::UserRequest(request)) => {
            Some(Occasion::Link { user: request.id, request: request.request_id })
        }
        _ => None,
    }
}
