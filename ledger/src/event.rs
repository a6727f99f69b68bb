//! What happened, for everybody who follows the ledger. Defined here, once.
//!
//! Every change of an entity raises its version by one and emits one event with that version, numbered densely by
//! `event_seq`. Events carry ids, never personal data.

use serde::{Deserialize, Serialize};

use crate::entities::{CancelReason, Holding, OrderStatus, PaymentStatus, PaymentStep};
use crate::id::{Id, OrderId, PaymentId, TicketId, UserId};
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
}

impl EventType {
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
        currency: Currency,
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
        status: PaymentStatus,
        next: Option<PaymentStep>,
        amount_minor: u64,
        currency: Currency,
        intent_id: Option<String>,
    },
    User {
        user: UserId,
        banned: bool,
        epoch: u32,
    },
}
