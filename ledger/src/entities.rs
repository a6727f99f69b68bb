//! What the ledger holds: users, tickets, orders, payments, and the records around them.
//!
//! Times are ledger time in milliseconds since the Unix epoch (`_ms`), money is minor units (`_minor`), versions start at 0
//! and rise by one with every change, with one event each.

use serde::{Deserialize, Serialize};

use crate::event::EventType;
use crate::id::{OrderId, PaymentId, PlaceId, TicketId, UserId};
use crate::money::Currency;
use crate::outcome::{Refusal, Settled};

mod accounts;
mod audit;
mod keys;
mod policy;

pub use accounts::{Bootstrap, Personal, Purpose, Request, Roles, Session, SignedIn, User};
pub use audit::{AuditAction, AuditActor, AuditRow, AuditSubject, Operation, Step};
pub use keys::{NodeKey, ServiceKey, Webhook};
pub use policy::Policy;

/// Which grant of a lock is meant: a result that carries an older one is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fence {
    /// Log index of the grant.
    pub index: u64,
    /// Ordinal of the order's id within that entry.
    pub ordinal: u32,
}

/// Who has a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holding {
    Free,
    Locked {
        order: OrderId,
    },
    Sold {
        order: OrderId,
    },
    /// Kept for the next in line: only he may lock it, until ledger time reaches the deadline.
    Offered {
        place: PlaceId,
        user: UserId,
        deadline_ms: u64,
    },
}

/// What describes a ticket beyond its title. All optional; texts are at most [`TEXT_BYTES_MAX`](crate::limits::TEXT_BYTES_MAX).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketDetails {
    pub event_name: Option<String>,
    pub venue: Option<String>,
    pub section: Option<String>,
    pub row: Option<String>,
    pub seat: Option<String>,
    pub starts_ms: Option<u64>,
    /// No new lock from this time on.
    pub sale_ends_ms: Option<u64>,
}

/// One sellable unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub version: u64,
    pub seller: UserId,
    pub title: String,
    pub price_minor: u64,
    pub currency: Currency,
    /// The ticket's version at the last change of its price.
    pub price_version: u64,
    /// Takes effect at once when free, else at release.
    pub price_next_minor: Option<u64>,
    pub holding: Holding,
    pub withdrawn: bool,
    /// The seller asked to withdraw while it was locked: carried out at release.
    pub withdraw_at_release: bool,
    pub external_id: Option<String>,
    pub details: TicketDetails,
    pub created_ms: u64,
    /// Live places in its line. Equals a full scan; raises no version.
    pub waiting: u32,
    /// Users who watch its price. Equals a full scan; raises no version.
    pub watchers: u32,
    /// It will not be sold to its line any more: the sweep ends the places, a few at a time.
    pub closing: bool,
    /// What the tests' next version adds; not part of the first form.
    #[cfg(feature = "next-version")]
    #[serde(skip)]
    pub next: crate::version::TicketNext,
}

impl Ticket {
    /// Another price, as part of a change that has raised the version already. The same price is no change of it.
    pub(crate) fn set_price(&mut self, price_minor: u64) {
        if price_minor != self.price_minor {
            self.price_minor = price_minor;
            self.price_version = self.version;
        }
    }
}

/// Where an order stands. `Cancelled` and `Complete` are final, but for one way back: an expired order may be reinstated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStatus {
    Created,
    AwaitingPayment,
    Complete,
    Cancelled(CancelReason),
}

impl OrderStatus {
    /// The lock is live.
    pub fn holds_tickets(&self) -> bool {
        matches!(self, OrderStatus::Created | OrderStatus::AwaitingPayment)
    }

    /// Why nothing can be done with an order that has ended this way (or, while it is live, that waits for the bank).
    pub(crate) fn refusal(&self, order: OrderId) -> Refusal {
        match self {
            OrderStatus::Complete => Refusal::OrderComplete { order },
            OrderStatus::Cancelled(CancelReason::Expired) => Refusal::OrderExpired { order },
            OrderStatus::Cancelled(_) => Refusal::OrderCancelled { order },
            OrderStatus::Created | OrderStatus::AwaitingPayment => Refusal::PaymentInProgress { order },
        }
    }
}

/// Why an order was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelReason {
    Buyer,
    Expired,
    PaymentFailed,
    Banned,
    Withdrawn,
    Operator,
}

/// One ticket in an order, as it was when it was locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    pub ticket: TicketId,
    pub title: String,
    /// The locked price: what will be charged.
    pub price_minor: u64,
    /// The ticket's version right after the lock.
    pub ticket_version: u64,
}

/// A purchase: a lock on one or more tickets of one currency, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub version: u64,
    pub user: UserId,
    pub status: OrderStatus,
    pub lines: Vec<OrderLine>,
    pub currency: Currency,
    /// The lock is over the moment ledger time reaches this.
    pub deadline_ms: u64,
    pub fence: Fence,
    pub created_ms: u64,
    pub extensions: u32,
    /// The grace of the first payment has been given.
    pub grace_given: bool,
    /// In the order of the attempts; at most `payment_attempts_max`.
    pub payments: Vec<PaymentId>,
}

impl Order {
    /// What the buyer pays, in minor units. Cannot overflow: lines and prices are bounded.
    pub fn total_minor(&self) -> u64 {
        self.lines.iter().map(|line| line.price_minor).sum()
    }
}

/// A buyer's place in the line for a ticket that somebody else has. Places stand in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub version: u64,
    pub ticket: TicketId,
    pub user: UserId,
    pub status: PlaceStatus,
    pub joined_ms: u64,
}

/// Where a place stands. Live are `Waiting` and `Offered`; the others are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlaceStatus {
    Waiting,
    /// The ticket is kept for this buyer until ledger time reaches the deadline.
    Offered {
        deadline_ms: u64,
    },
    /// He has locked the ticket.
    Taken {
        order: OrderId,
    },
    Left(LeftReason),
    /// The offer ran out.
    Passed,
}

impl PlaceStatus {
    /// It counts in the line.
    pub fn is_live(&self) -> bool {
        matches!(self, PlaceStatus::Waiting | PlaceStatus::Offered { .. })
    }
}

/// Why a place ended before its buyer could lock the ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeftReason {
    User,
    Banned,
    Erased,
    /// The ticket was sold or withdrawn, or its sale has ended.
    Closed,
}

/// Where a payment stands with the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentStatus {
    Requested,
    Authorized,
    Captured,
    CaptureFailed,
    Declined,
    Voided,
    Refunded,
}

impl PaymentStatus {
    /// All of them, in their order.
    pub const ALL: [PaymentStatus; 7] = [
        PaymentStatus::Requested,
        PaymentStatus::Authorized,
        PaymentStatus::Captured,
        PaymentStatus::CaptureFailed,
        PaymentStatus::Declined,
        PaymentStatus::Voided,
        PaymentStatus::Refunded,
    ];
}

/// What the payments service is asked to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentStep {
    Authorize,
    Capture,
    Void,
    Refund,
}

/// One attempt to pay for an order: authorise, then the ledger decides, then capture or void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub version: u64,
    pub order: OrderId,
    pub user: UserId,
    /// 1 for the first. Provider idempotency keys are `{order}:{attempt}:{step}`.
    pub attempt: u32,
    pub status: PaymentStatus,
    pub next: Option<PaymentStep>,
    pub amount_minor: u64,
    pub currency: Currency,
    /// The order's fence when the attempt began.
    pub fence: Fence,
    /// The provider's token for the buyer's means of payment. Erased when the payment ends.
    pub token: Option<String>,
    /// The provider's id for the attempt, recorded before it is confirmed.
    pub intent_id: Option<String>,
    /// Where the buyer has to go before his bank decides. Erased with the token.
    pub action_url: Option<String>,
    /// The provider's code of a decline or a failed capture.
    pub failure: Option<String>,
    pub created_ms: u64,
    /// Of the last change: what the service was asked for then has been open since.
    pub changed_ms: u64,
}

/// What a command said the first time it came with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// Of the command; the same key with another one is refused.
    pub request_hash: u128,
    pub settled: Settled,
    /// The entry that decided.
    pub index: u64,
    pub recorded_ms: u64,
}

/// One change of an entity: the entry that decided it, and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub index: u64,
    pub time_ms: u64,
    /// The type of the event that was emitted with it.
    pub event_type: EventType,
    /// The order concerned, for a change of a ticket.
    pub order: Option<OrderId>,
}
