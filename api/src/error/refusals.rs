//! What the ledger refuses, as HTTP says it: one status, one code and one wording for each refusal.

use holdfast_ledger::outcome::{Bound, Field, Refusal};
use http::StatusCode;

use super::{Complaint, Fault, NOT_AUTHORIZED, NOT_FOUND};
use crate::fields::price_json;
use crate::time::rfc3339;

/// The status and words of a refusal. Statuses of the original's routes are frozen: 400 for a conflict it knew, 401 for
/// both nobody and somebody else, 404.
fn words(refusal: &Refusal) -> (StatusCode, &'static str) {
    use Refusal::*;
    match refusal {
        NotSignedIn | Banned | NotOwner => (StatusCode::UNAUTHORIZED, NOT_AUTHORIZED),
        Forbidden => (StatusCode::FORBIDDEN, "Your role does not allow this"),
        TicketNotFound { .. } | OrderNotFound | PaymentNotFound | UserNotFound => (StatusCode::NOT_FOUND, NOT_FOUND),
        KeyNotFound | WebhookNotFound => (StatusCode::NOT_FOUND, NOT_FOUND),
        PlaceNotFound => (StatusCode::NOT_FOUND, "You are not in the line for this ticket"),
        RequestNotFound => (StatusCode::GONE, "This link was used or has run out; ask for another mail"),
        Invalid { .. } => (StatusCode::BAD_REQUEST, "Invalid value"),
        EmailInUse => (StatusCode::BAD_REQUEST, "Email in use"),
        BootstrapClaimed => (StatusCode::CONFLICT, "The first operator is appointed; ask him for the role"),
        BootstrapRefused => (StatusCode::FORBIDDEN, "This is not the bootstrap token"),
        TooMany { what, .. } => too_many(*what),
        VersionMismatch { .. } => (StatusCode::PRECONDITION_FAILED, "It has changed since the version in If-Match"),

        TicketReserved { .. } | TicketReservedByYou { .. } | TicketSold { .. } => {
            (StatusCode::BAD_REQUEST, "Ticket is already reserved")
        }
        TicketNotEditable { .. } => (StatusCode::BAD_REQUEST, "Cannot edit a reserved ticket"),
        TicketAvailable { .. } => (StatusCode::CONFLICT, "Nobody has this ticket; you can buy it now"),
        LineClosed { .. } => (StatusCode::CONFLICT, "The line for this ticket is closed; try again in a moment"),
        OwnTicket { .. } => (StatusCode::BAD_REQUEST, "You cannot buy your own ticket"),
        TicketWithdrawn { .. } => (StatusCode::GONE, "Ticket was taken off sale"),
        SaleEnded { .. } => (StatusCode::CONFLICT, "The sale of this ticket has ended"),
        SellerBanned { .. } => (StatusCode::CONFLICT, "Ticket is not for sale"),
        PriceChanged { .. } => (StatusCode::CONFLICT, "The price has changed"),
        CurrenciesDiffer => (StatusCode::BAD_REQUEST, "The tickets of one order must be of one currency"),
        TooManyTickets { .. } => (StatusCode::BAD_REQUEST, "Too many tickets in one order"),
        TooManyLocks { .. } => (StatusCode::CONFLICT, "You hold as many tickets as you may; pay or cancel first"),
        CoolingDown { .. } => (StatusCode::TOO_MANY_REQUESTS, "Too many of your orders ran out unpaid; try later"),

        OrderExpired { .. } => (StatusCode::CONFLICT, "The order has run out"),
        OrderCancelled { .. } => (StatusCode::CONFLICT, "The order is cancelled"),
        OrderComplete { .. } => (StatusCode::CONFLICT, "The order is complete"),
        PaymentInProgress { .. } => (StatusCode::CONFLICT, "The bank is being asked; try again when it has answered"),
        ExtensionsUsedUp { .. } => (StatusCode::CONFLICT, "The order cannot be extended again"),
        AttemptsUsedUp { .. } => (StatusCode::CONFLICT, "No further payment can be tried for this order"),
        StaleFence => (StatusCode::CONFLICT, "The result is of an earlier lock"),
        PaymentConflict => (StatusCode::CONFLICT, "The payment is in another state"),
        NotRefundable { .. } => (StatusCode::CONFLICT, "The order cannot be refunded"),

        IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "This Idempotency-Key was used for another request"),
        TooManyIdempotencyKeys { .. } => (StatusCode::TOO_MANY_REQUESTS, "Too many live idempotency keys"),
        OutboxFull => (StatusCode::SERVICE_UNAVAILABLE, "No new orders are taken at the moment"),
        EntryTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The request is too large"),
    }
}

/// What stands in the way of one more, and what makes room.
fn too_many(what: Bound) -> (StatusCode, &'static str) {
    match what {
        Bound::ServiceKeys => (StatusCode::CONFLICT, "There are as many keys of services as may be; revoke one first"),
        Bound::Webhooks => (StatusCode::CONFLICT, "There are as many webhooks as may be; remove one first"),
        Bound::Requests => {
            (StatusCode::TOO_MANY_REQUESTS, "Several such mails were sent already; use one of them or try later")
        }
        Bound::Watchers => (StatusCode::CONFLICT, "As many people watch this ticket as may"),
        Bound::Watches => (StatusCode::CONFLICT, "You watch as many tickets as you may; give one up first"),
        Bound::Line => (StatusCode::CONFLICT, "The line for this ticket is full"),
        Bound::Places => (StatusCode::CONFLICT, "You stand in as many lines as you may; leave one first"),
    }
}

/// The name of a field on the wire.
fn field_name(field: Field) -> &'static str {
    match field {
        Field::Email => "email",
        Field::Password => "password",
        Field::Title => "title",
        Field::Price => "price",
        Field::Currency => "currency",
        Field::ExternalId => "externalId",
        Field::Details => "details",
        Field::SaleEnds => "saleEndsAt",
        Field::Tickets => "tickets",
        Field::Token => "token",
        Field::IdempotencyKey => "Idempotency-Key",
        Field::Policy => "policy",
        Field::PublicKey => "publicKey",
        Field::Lineage => "lineage",
        Field::IntentId => "intentId",
        Field::Failure => "failure",
        Field::Upto => "upto",
        Field::TokenHash => "token",
        Field::Url => "url",
        Field::Secret => "secret",
        Field::Version => "version",
        Field::EventTypes => "eventTypes",
    }
}

/// What is wrong, as one complaint: for a fault of its own or a line of a bulk answer.
pub fn complaint(refusal: &Refusal) -> Complaint {
    let field = match refusal {
        Refusal::Invalid { field } => Some(field_name(*field).into()),
        _ => None,
    };
    Complaint { message: words(refusal).1.into(), field, code: refusal.code() }
}

/// The ledger's refusal, with what the caller needs to go on: when to come back, whose order it is, both prices.
/// `now_ms` is ledger time.
pub fn refused(refusal: &Refusal, now_ms: u64) -> Fault {
    let fault = Fault::new(words(refusal).0, vec![complaint(refusal)]);
    let until = |fault: Fault, name: &'static str, at_ms: u64| {
        let seconds = at_ms.saturating_sub(now_ms).div_ceil(1_000);
        fault.member(name, &rfc3339(at_ms)).retry_after(seconds.max(1))
    };
    match refusal {
        Refusal::TicketReserved { ticket, deadline_ms } => {
            let fault = fault.member("ticketId", ticket).member("line", &format!("/api/tickets/{ticket}/line"));
            until(fault, "reservedUntil", *deadline_ms)
        }
        Refusal::TicketReservedByYou { ticket, order } => fault.member("ticketId", ticket).member("orderId", order),
        Refusal::TicketNotFound { ticket }
        | Refusal::TicketSold { ticket }
        | Refusal::TicketWithdrawn { ticket }
        | Refusal::SaleEnded { ticket }
        | Refusal::SellerBanned { ticket }
        | Refusal::OwnTicket { ticket }
        | Refusal::TicketAvailable { ticket }
        | Refusal::LineClosed { ticket }
        | Refusal::TicketNotEditable { ticket } => fault.member("ticketId", ticket),
        Refusal::PriceChanged { ticket, seen_minor, price_minor, currency, version } => fault
            .member("ticketId", ticket)
            .member("seenPrice", &seen_minor.map(|minor| price_json(minor, *currency)))
            .member("price", &price_json(*price_minor, *currency))
            .member("currency", currency)
            .member("version", version),
        Refusal::CoolingDown { until_ms } => until(fault, "retryAt", *until_ms),
        Refusal::VersionMismatch { version } => fault.member("version", version),
        Refusal::TooMany { max, .. }
        | Refusal::TooManyTickets { max }
        | Refusal::TooManyLocks { max }
        | Refusal::ExtensionsUsedUp { max }
        | Refusal::AttemptsUsedUp { max }
        | Refusal::TooManyIdempotencyKeys { max } => fault.member("max", max),
        Refusal::OrderExpired { order }
        | Refusal::OrderCancelled { order }
        | Refusal::OrderComplete { order }
        | Refusal::NotRefundable { order } => fault.member("orderId", order),
        Refusal::PaymentInProgress { order } => fault.member("orderId", order).retry_after(2),
        Refusal::OutboxFull => fault.retry_after(30),
        _ => fault,
    }
}

/// A refused payment, in the original's words: it knew only cancelled orders, and a lock that ran out is one.
pub fn payment_refused(refusal: &Refusal, now_ms: u64) -> Fault {
    match refusal {
        Refusal::OrderCancelled { order } | Refusal::OrderExpired { order } => Fault::new(
            StatusCode::BAD_REQUEST,
            vec![Complaint::new(refusal.code(), "Cannot pay for an cancelled order")],
        )
        .member("orderId", order),
        _ => refused(refusal, now_ms),
    }
}
