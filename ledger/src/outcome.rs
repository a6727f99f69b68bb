//! What a command did, or why it did nothing.

use serde::{Deserialize, Serialize};

use crate::id::{OrderId, PaymentId, PlaceId, RequestId, SessionId, TicketId, UserId, WebhookId};
use crate::money::Currency;

/// What was decided about a command.
pub type Settled = Result<Reply, Refusal>;

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub settled: Settled,
    /// The log index that decided: of an earlier entry when an idempotency key was replayed.
    pub decided_at: u64,
    /// This is the remembered answer to an earlier request with the same key.
    pub replayed: bool,
}

/// All answers to one entry, in the order of its commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub index: u64,
    /// Ledger time after the entry.
    pub time_ms: u64,
    pub outcomes: Vec<Outcome>,
    /// Events that the entry emitted.
    pub events: u32,
}

/// What a command did. Ids only: the rest is read at the index that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    /// Nothing had to be changed.
    Unchanged,
    SignedIn {
        user: UserId,
        session: SessionId,
        epoch: u32,
    },
    Ticket {
        ticket: TicketId,
        version: u64,
    },
    /// One for each ticket asked for; `false`: it was there already.
    Tickets(Vec<Result<(TicketId, bool), Refusal>>),
    Order {
        order: OrderId,
        version: u64,
    },
    Payment {
        payment: PaymentId,
        order: OrderId,
    },
    Request {
        user: UserId,
        request: RequestId,
        expires_ms: u64,
    },
    Webhook {
        webhook: WebhookId,
    },
    Place {
        place: PlaceId,
        ticket: TicketId,
        version: u64,
    },
}

/// Where bad input stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    Email,
    Password,
    Title,
    Price,
    Currency,
    ExternalId,
    Details,
    SaleEnds,
    Tickets,
    Token,
    IdempotencyKey,
    Policy,
    PublicKey,
    Lineage,
    IntentId,
    Failure,
    Upto,
    TokenHash,
    Url,
    Secret,
    EventTypes,
    Version,
}

/// Of what there may be no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    ServiceKeys,
    Webhooks,
    /// Open requests of one purpose of a user.
    Requests,
    /// Of a ticket.
    Watchers,
    /// Of a user.
    Watches,
    /// Places in the line for a ticket.
    Line,
    /// Places of a user.
    Places,
}

/// Why a command did nothing. Stable: one code each (see [`Refusal::code`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Nobody is signed in, the session is over, or its epoch is old.
    NotSignedIn,
    /// The user is banned.
    Banned,
    /// The actor's role does not allow this.
    Forbidden,
    /// The entity belongs to somebody else.
    NotOwner,
    TicketNotFound {
        ticket: TicketId,
    },
    OrderNotFound,
    PaymentNotFound,
    UserNotFound,
    /// Unknown, used, or run out.
    RequestNotFound,
    KeyNotFound,
    WebhookNotFound,
    PlaceNotFound,
    /// A value is missing, too long, too large or malformed.
    Invalid {
        field: Field,
    },
    EmailInUse,
    /// The cluster has had its first operator.
    BootstrapClaimed,
    /// Not the token.
    BootstrapRefused,
    TooMany {
        what: Bound,
        max: u32,
    },
    /// The entity's version is another one than the caller named.
    VersionMismatch {
        version: u64,
    },

    /// Somebody's lock holds the ticket, until `deadline_ms` at the latest unless extended.
    TicketReserved {
        ticket: TicketId,
        deadline_ms: u64,
    },
    /// The asking user's own order holds it.
    TicketReservedByYou {
        ticket: TicketId,
        order: OrderId,
    },
    TicketSold {
        ticket: TicketId,
    },
    TicketWithdrawn {
        ticket: TicketId,
    },
    /// The ticket's end of sale has passed.
    SaleEnded {
        ticket: TicketId,
    },
    /// The seller is banned.
    SellerBanned {
        ticket: TicketId,
    },
    OwnTicket {
        ticket: TicketId,
    },
    /// The price is not the one that the buyer saw. `seen_minor` is what he named; for a version, the price is what counts.
    PriceChanged {
        ticket: TicketId,
        seen_minor: Option<u64>,
        price_minor: u64,
        currency: Currency,
        version: u64,
    },
    CurrenciesDiffer,
    TooManyTickets {
        max: u32,
    },
    TooManyLocks {
        max: u32,
    },
    /// Too many locks ran out unpaid.
    CoolingDown {
        until_ms: u64,
    },
    /// A locked or sold ticket cannot be edited.
    TicketNotEditable {
        ticket: TicketId,
    },
    /// Nobody has the ticket: it needs no line.
    TicketAvailable {
        ticket: TicketId,
    },
    /// The line for the ticket is being dissolved.
    LineClosed {
        ticket: TicketId,
    },

    OrderExpired {
        order: OrderId,
    },
    OrderCancelled {
        order: OrderId,
    },
    OrderComplete {
        order: OrderId,
    },
    /// The bank is being asked.
    PaymentInProgress {
        order: OrderId,
    },
    ExtensionsUsedUp {
        max: u32,
    },
    AttemptsUsedUp {
        max: u32,
    },
    /// The result carries an older grant of the lock.
    StaleFence,
    /// The payment is in a state in which this cannot be recorded.
    PaymentConflict,
    NotRefundable {
        order: OrderId,
    },

    /// The same key came with another request.
    IdempotencyKeyReused,
    TooManyIdempotencyKeys {
        max: u32,
    },
    /// The broker is away for so long that no new lock is taken on.
    OutboxFull,
    /// More commands in one entry than are allowed.
    EntryTooLarge,
}

impl Refusal {
    /// The stable code that clients see.
    pub fn code(&self) -> &'static str {
        use Refusal::*;
        match self {
            NotSignedIn => "not_signed_in",
            Banned => "banned",
            Forbidden => "forbidden",
            NotOwner => "not_owner",
            TicketNotFound { .. } => "ticket_not_found",
            OrderNotFound => "order_not_found",
            PaymentNotFound => "payment_not_found",
            UserNotFound => "user_not_found",
            Invalid { .. } => "invalid",
            RequestNotFound => "request_not_found",
            KeyNotFound => "key_not_found",
            WebhookNotFound => "webhook_not_found",
            PlaceNotFound => "place_not_found",
            EmailInUse => "email_in_use",
            BootstrapClaimed => "bootstrap_claimed",
            BootstrapRefused => "bootstrap_refused",
            TooMany { what, .. } => match what {
                Bound::ServiceKeys => "too_many_service_keys",
                Bound::Webhooks => "too_many_webhooks",
                Bound::Requests => "too_many_requests",
                Bound::Watchers => "too_many_watchers",
                Bound::Watches => "too_many_watches",
                Bound::Line => "line_full",
                Bound::Places => "too_many_places",
            },
            VersionMismatch { .. } => "version_mismatch",
            TicketReserved { .. } => "ticket_reserved",
            TicketReservedByYou { .. } => "ticket_reserved_by_you",
            TicketSold { .. } => "ticket_sold",
            TicketWithdrawn { .. } => "ticket_withdrawn",
            SaleEnded { .. } => "sale_ended",
            SellerBanned { .. } => "seller_banned",
            OwnTicket { .. } => "own_ticket",
            PriceChanged { .. } => "price_changed",
            CurrenciesDiffer => "currencies_differ",
            TooManyTickets { .. } => "too_many_tickets",
            TooManyLocks { .. } => "too_many_locks",
            CoolingDown { .. } => "cooling_down",
            TicketNotEditable { .. } => "ticket_not_editable",
            TicketAvailable { .. } => "ticket_available",
            LineClosed { .. } => "line_closed",
            OrderExpired { .. } => "order_expired",
            OrderCancelled { .. } => "order_cancelled",
            OrderComplete { .. } => "order_complete",
            PaymentInProgress { .. } => "payment_in_progress",
            ExtensionsUsedUp { .. } => "extensions_used_up",
            AttemptsUsedUp { .. } => "attempts_used_up",
            StaleFence => "stale_fence",
            PaymentConflict => "payment_conflict",
            NotRefundable { .. } => "not_refundable",
            IdempotencyKeyReused => "idempotency_key_reused",
            TooManyIdempotencyKeys { .. } => "too_many_idempotency_keys",
            OutboxFull => "outbox_full",
            EntryTooLarge => "entry_too_large",
        }
    }
}
