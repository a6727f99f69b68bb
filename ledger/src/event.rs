//! What happened, for everybody who follows the ledger. Defined here, once.
//!
//! Every change of an entity raises its version by one and emits one event with that version, numbered densely by
//! `event_seq`. Events carry ids, never personal data.

use serde::{Deserialize, Serialize};

use crate::entities::{CancelReason, Fence, Holding, OrderStatus, PaymentStatus, PaymentStep, PlaceStatus};
use crate::id::{Id, OrderId, PaymentId, PlaceId, RequestId, TicketId, UserId};
use crate::money::Currency;

/// The kinds of events. The first six are the original application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventType {
    TicketCreated,
    TicketUpdated,
    OrderCreated,
    OrderCancelled,
    ExpirationComplete,
    PaymentCreated,
    OrderUpdated,
    OrderCompleted,
    OrderReinstated,
    PaymentRequested,
    PaymentUpdated,
    UserCreated,
    UserUpdated,
    UserBanned,
    UserResetRequested,
    UserVerificationRequested,
    LineJoined,
    LineOffered,
    LineTaken,
    LineLeft,
    LinePassed,
}

impl EventType {
    /// Every kind, in the order above.
    pub const ALL: &'static [EventType] = &[
        EventType::TicketCreated,
        EventType::TicketUpdated,
        EventType::OrderCreated,
        EventType::OrderCancelled,
        EventType::ExpirationComplete,
        EventType::PaymentCreated,
        EventType::OrderUpdated,
        EventType::OrderCompleted,
        EventType::OrderReinstated,
        EventType::PaymentRequested,
        EventType::PaymentUpdated,
        EventType::UserCreated,
        EventType::UserUpdated,
        EventType::UserBanned,
        EventType::UserResetRequested,
        EventType::UserVerificationRequested,
        EventType::LineJoined,
        EventType::LineOffered,
        EventType::LineTaken,
        EventType::LineLeft,
        EventType::LinePassed,
    ];

    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            EventType::TicketCreated => "ticket:created",
            EventType::TicketUpdated => "ticket:updated",
            EventType::OrderCreated => "order:created",
            EventType::OrderCancelled => "order:cancelled",
            EventType::ExpirationComplete => "expiration:complete",
            EventType::PaymentCreated => "payment:created",
            EventType::OrderUpdated => "order:updated",
            EventType::OrderCompleted => "order:completed",
            EventType::OrderReinstated => "order:reinstated",
            EventType::PaymentRequested => "payment:requested",
            EventType::PaymentUpdated => "payment:updated",
            EventType::UserCreated => "user:created",
            EventType::UserUpdated => "user:updated",
            EventType::UserBanned => "user:banned",
            EventType::UserResetRequested => "user:reset_requested",
            EventType::UserVerificationRequested => "user:verification_requested",
            EventType::LineJoined => "line:joined",
            EventType::LineOffered => "line:offered",
            EventType::LineTaken => "line:taken",
            EventType::LineLeft => "line:left",
            EventType::LinePassed => "line:passed",
        }
    }
}

/// One event, as the outbox keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Dense: 1, 2, 3 …
    pub seq: u64,
    pub lineage: u16,
    /// The entry that caused it.
    pub index: u64,
    pub time_ms: u64,
    pub event_type: EventType,
    /// The entity that changed. For `expiration:complete`, the order.
    pub entity: Id,
    /// The entity's version after the change.
    pub version: u64,
    pub body: EventBody,
}

/// What an event says of its entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventBody {
    Ticket {
        title: String,
        price_minor: u64,
        /// The ticket's version at the last change of its price: equal to the event's, this event tells of one.
        price_version: u64,
        currency: Currency,
        /// The seller.
        user: UserId,
        holding: Holding,
        withdrawn: bool,
    },
    Order {
        user: UserId,
        status: OrderStatus,
        deadline_ms: u64,
        currency: Currency,
        /// Ticket and locked price.
        tickets: Vec<(TicketId, u64)>,
        reason: Option<CancelReason>,
    },
    Expiration {
        order: OrderId,
    },
    Payment {
        payment: PaymentId,
        order: OrderId,
        user: UserId,
        /// 1 for the order's first.
        attempt: u32,
        status: PaymentStatus,
        next: Option<PaymentStep>,
        amount_minor: u64,
        currency: Currency,
        fence: Fence,
        intent_id: Option<String>,
        failure: Option<String>,
    },
    User {
        user: UserId,
        banned: bool,
        erased: bool,
        verified: bool,
        epoch: u32,
    },
    /// A mail is asked for. Whoever sends it asks the API for what it carries.
    UserRequest {
        user: UserId,
        request: RequestId,
        expires_ms: u64,
    },
    Place {
        place: PlaceId,
        ticket: TicketId,
        user: UserId,
        status: PlaceStatus,
    },
}
