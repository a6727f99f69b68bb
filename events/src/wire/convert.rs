//! From the ledger's event to the body that is told. Every value is spelled out, so that a new one is noticed here.

use holdfast_ledger::entities::{self, Holding};
use holdfast_ledger::event::{Event, EventBody};
use holdfast_ledger::id::{OrderId, PlaceId, TicketId, UserId};

use super::message::Body;
use super::types::{
    CancelReason, Expiration, LeftReason, Order, OrderStatus, OrderTicket, Payment, PaymentStatus, PaymentStep, Place,
    PlaceStatus, Ticket, TicketStatus, User, UserRequest,
};
use super::values::{Price, Time};

impl Body {
    /// What `event` says.
    pub(super) fn of(event: &Event) -> Body {
        let version = event.version;
        match &event.body {
            EventBody::Ticket { title, price_minor, price_version, currency, user, holding, withdrawn } => {
                let (status, order_id) = ticket_status(*holding, *withdrawn);
                Body::Ticket(Ticket {
                    id: TicketId(event.entity),
                    version,
                    title: title.clone(),
                    price: Price::new(*price_minor, *currency),
                    price_version: *price_version,
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
            // The fence is between the ledger and the payments service, and tells nobody else anything.
            EventBody::Payment {
                payment,
                order,
                user,
                attempt,
                status,
                next,
                amount_minor,
                currency,
                fence: _,
                intent_id,
                failure,
            } => Body::Payment(Payment {
                id: *payment,
                version,
                order_id: *order,
                user_id: *user,
                attempt: *attempt,
                stripe_id: intent_id.clone(),
                status: payment_status(*status),
                next: next.map(payment_step),
                amount: Price::new(*amount_minor, *currency),
                currency: *currency,
                failure: failure.clone(),
            }),
            EventBody::User { user, banned, erased, verified, epoch } => Body::User(User {
                id: *user,
                version,
                banned: *banned,
                erased: *erased,
                verified: *verified,
                epoch: *epoch,
            }),
            EventBody::UserRequest { user, request, expires_ms } => Body::UserRequest(UserRequest {
                id: *user,
                version,
                request_id: *request,
                expires_at: Time { ms: *expires_ms },
            }),
            EventBody::Place { place, ticket, user, status } => {
                Body::Place(place_body(*place, version, *ticket, *user, *status))
            }
        }
    }
}

fn place_body(id: PlaceId, version: u64, ticket_id: TicketId, user_id: UserId, status: entities::PlaceStatus) -> Place {
    let mut place = Place {
        id,
        version,
        ticket_id,
        user_id,
        status: PlaceStatus::Waiting,
        offered_until: None,
        order_id: None,
        reason: None,
    };
    match status {
        entities::PlaceStatus::Waiting => {}
        entities::PlaceStatus::Offered { deadline_ms } => {
            (place.status, place.offered_until) = (PlaceStatus::Offered, Some(Time { ms: deadline_ms }));
        }
        entities::PlaceStatus::Taken { order } => (place.status, place.order_id) = (PlaceStatus::Taken, Some(order)),
        entities::PlaceStatus::Left(reason) => {
            (place.status, place.reason) = (PlaceStatus::Left, Some(left_reason(reason)));
        }
        entities::PlaceStatus::Passed => place.status = PlaceStatus::Passed,
    }
    place
}

fn left_reason(reason: entities::LeftReason) -> LeftReason {
    match reason {
        entities::LeftReason::User => LeftReason::User,
        entities::LeftReason::Banned => LeftReason::Banned,
        entities::LeftReason::Erased => LeftReason::Erased,
        entities::LeftReason::Closed => LeftReason::Closed,
    }
}

fn ticket_status(holding: Holding, withdrawn: bool) -> (TicketStatus, Option<OrderId>) {
    match holding {
        Holding::Free if withdrawn => (TicketStatus::Withdrawn, None),
        Holding::Free => (TicketStatus::Available, None),
        Holding::Locked { order } => (TicketStatus::Locked, Some(order)),
        Holding::Offered { .. } => (TicketStatus::Offered, None),
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
        entities::CancelReason::Operator => CancelReason::Operator,
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
