//! From the ledger's event to the body that is told. Every value is spelled out, so that a new one is noticed here.

use holdfast_ledger::entities::{self, Holding};
use holdfast_ledger::event::{Event, EventBody};
use holdfast_ledger::id::{OrderId, TicketId};

use super::message::Body;
use super::types::{
    CancelReason, Expiration, Order, OrderStatus, OrderTicket, Payment, PaymentStatus, PaymentStep, Ticket,
    TicketStatus, User,
};
use super::values::{Price, Time};

impl Body {
    /// What `event` says.
    pub(super) fn of(event: &Event) -> Body {
        let version = event.version;
        match &event.body {
            EventBody::Ticket { title, price_minor, currency, user, holding, withdrawn } => {
                let (status, order_id) = ticket_status(*holding, *withdrawn);
                Body::Ticket(Ticket {
                    id: TicketId(event.entity),
                    version,
                    title: title.clone(),
                    price: Price::new(*price_minor, *currency),
                    currency: *currency,
                    user_id: *user,
                    order_id,
                    status,
                })
            }
            EventBody::Order { user, status, deadline_ms, currency, tickets, reason } => {
                let ticket = |(id, price_minor): &(TicketId, u64)| OrderTicket {
                    id: *id,
                    price: Price::new(*price_minor, *currency),
                };
                let tickets: Vec<OrderTicket> = tickets.iter().map(ticket).collect();
                Body::Order(Order {
                    id: OrderId(event.entity),
                    version,
                    status: order_status(*status),
                    user_id: *user,
                    expires_at: Time { ms: *deadline_ms },
                    ticket: if tickets.len() == 1 { tickets.first().cloned() } else { None },
                    tickets,
                    currency: *currency,
                    reason: reason.map(cancel_reason),
                })
            }
            EventBody::Expiration { order } => Body::Expiration(Expiration { order_id: *order }),
            EventBody::Payment { payment, order, status, next, amount_minor, currency, intent_id } => {
                Body::Payment(Payment {
                    id: *payment,
                    version,
                    order_id: *order,
                    stripe_id: intent_id.clone(),
                    status: payment_status(*status),
                    next: next.map(payment_step),
                    amount: Price::new(*amount_minor, *currency),
                    currency: *currency,
                })
            }
            EventBody::User { user, banned, epoch } => {
                Body::User(User { id: *user, version, banned: *banned, epoch: *epoch })
            }
        }
    }
}

fn ticket_status(holding: Holding, withdrawn: bool) -> (TicketStatus, Option<OrderId>) {
    match holding {
        Holding::Free if withdrawn => (TicketStatus::Withdrawn, None),
        Holding::Free => (TicketStatus::Available, None),
        Holding::Locked { order } => (TicketStatus::Locked, Some(order)),
        Holding::Sold { order } => (TicketStatus::Sold, Some(order)),
    }
}

fn order_status(status: entities::OrderStatus) -> OrderStatus {
    match status {
        entities::OrderStatus::Created => OrderStatus::Created,
        entities::OrderStatus::AwaitingPayment => OrderStatus::AwaitingPayment,
        entities::OrderStatus::Complete => OrderStatus::Complete,
        entities::OrderStatus::Cancelled(_) => OrderStatus::Cancelled,
    }
}

fn cancel_reason(reason: entities::CancelReason) -> CancelReason {
    match reason {
        entities::CancelReason::Buyer => CancelReason::Buyer,
        entities::CancelReason::Expired => CancelReason::Expired,
        entities::CancelReason::PaymentFailed => CancelReason::PaymentFailed,
        entities::CancelReason::Banned => CancelReason::Banned,
        entities::CancelReason::Withdrawn => CancelReason::Withdrawn,
    }
}

fn payment_status(status: entities::PaymentStatus) -> PaymentStatus {
    match status {
        entities::PaymentStatus::Requested => PaymentStatus::Requested,
        entities::PaymentStatus::Authorized => PaymentStatus::Authorized,
        entities::PaymentStatus::Captured => PaymentStatus::Captured,
        entities::PaymentStatus::CaptureFailed => PaymentStatus::CaptureFailed,
        entities::PaymentStatus::Declined => PaymentStatus::Declined,
        entities::PaymentStatus::Voided => PaymentStatus::Voided,
        entities::PaymentStatus::Refunded => PaymentStatus::Refunded,
    }
}

fn payment_step(step: entities::PaymentStep) -> PaymentStep {
    match step {
        entities::PaymentStep::Authorize => PaymentStep::Authorize,
        entities::PaymentStep::Capture => PaymentStep::Capture,
        entities::PaymentStep::Void => PaymentStep::Void,
        entities::PaymentStep::Refund => PaymentStep::Refund,
    }
}
