//! What happened, for everybody who follows the ledger. Defined here, once.
//!
//! Every change of an entity raises its version by one and emits one event with that version, numbered densely by
//! `event_seq`. Events carry ids, never personal data.

use serde::{Deserialize, Serialize};

use crate::entities::{CancelReason, Fence, Holding, OrderStatus, PaymentStatus, PaymentStep, PlaceStatus};
use crate::id::{Id, OrderId, PaymentId, PlaceId, RequestId, TicketId, UserId};
use crate::money::Currency;

macro_rules! event_types {
    ($($name:ident = $wire:literal),+ $(,)?) => {
        /// The kinds of events. The first six are the original application's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EventType {
            $($name),+
        }

        impl EventType {
            /// Every kind.
            pub const ALL: &'static [EventType] = &[$(EventType::$name),+];

            /// The name on the wire.
            pub fn name(&self) -> &'static str {
                match self {
                    $(EventType::$name => $wire),+
                }
            }

            /// The kind of this name.
            pub fn from_name(name: &str) -> Option<EventType> {
                EventType::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

event_types! {
    TicketCreated = "ticket:created",
    TicketUpdated = "ticket:updated",
    OrderCreated = "order:created",
    OrderCancelled = "order:cancelled",
    ExpirationComplete = "expiration:complete",
    PaymentCreated = "payment:created",
    OrderUpdated = "order:updated",
    OrderCompleted = "order:completed",
    OrderReinstated = "order:reinstated",
    PaymentRequested = "payment:requested",
    PaymentUpdated = "payment:updated",
    UserCreated = "user:created",
    UserUpdated = "user:updated",
    UserBanned = "user:banned",
    UserResetRequested = "user:reset_requested",
    UserVerificationRequested = "user:verification_requested",
    LineJoined = "line:joined",
    LineOffered = "line:offered",
    LineTaken = "line:taken",
    LineLeft = "line:left",
    LinePassed = "line:passed",
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
