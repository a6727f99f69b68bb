//! The bodies of events, for consumers: one struct an aggregate.
//!
//! A field that came later is optional to whoever reads older messages. A change that would break a reader gets a new version
//! of the subject prefix and the schema, never a new meaning under the old one. Readers ignore fields that they do not know.

use holdfast_ledger::id::{Id, OrderId, PaymentId, TicketId, UserId};
use holdfast_ledger::money::Currency;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{CurrencyCode, IdText, Price, Time};

/// Who has a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TicketStatus {
    Available,
    Locked,
    Sold,
    Withdrawn,
}

/// `ticket:created`, `ticket:updated`: the ticket as it is after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    #[schemars(with = "IdText")]
    pub id: TicketId,
    /// Rises by one with every change; 0 when created.
    pub version: u64,
    pub title: String,
    pub price: Price,
    #[schemars(with = "CurrencyCode")]
    pub currency: Currency,
    /// The seller.
    #[schemars(with = "IdText")]
    pub user_id: UserId,
    /// The order that has locked or bought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<IdText>")]
    pub order_id: Option<OrderId>,
    pub status: TicketStatus,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderStatus {
    #[serde(rename = "created")]
    Created,
    #[serde(rename = "awaiting:payment")]
    AwaitingPayment,
    #[serde(rename = "complete")]
    Complete,
    #[serde(rename = "cancelled")]
    Cancelled,
}

/// Why an order was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    Buyer,
    Expired,
    PaymentFailed,
    Banned,
    Withdrawn,
}

/// A ticket in an order, at the price for which it was locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderTicket {
    #[schemars(with = "IdText")]
    pub id: TicketId,
    pub price: Price,
}

/// `order:*`: the order as it is after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    #[schemars(with = "IdText")]
    pub id: OrderId,
    /// Rises by one with every change; 0 when created.
    pub version: u64,
    pub status: OrderStatus,
    /// The buyer.
    #[schemars(with = "IdText")]
    pub user_id: UserId,
    /// When the lock is over, by ledger time.
    pub expires_at: Time,
    /// The ticket, in an order of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<OrderTicket>,
    pub tickets: Vec<OrderTicket>,
    #[schemars(with = "CurrencyCode")]
    pub currency: Currency,
    /// Of a cancelled order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
}

/// `expiration:complete`: a lock has run out. Comes beside `order:cancelled`, with its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expiration {
    #[schemars(with = "IdText")]
    pub order_id: OrderId,
}

/// Where a payment stands with the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    Requested,
    Authorized,
    Captured,
    CaptureFailed,
    Declined,
    Voided,
    Refunded,
}

/// What the payments service does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStep {
    Authorize,
    Capture,
    Void,
    Refund,
}

/// `payment:*`: an attempt to pay, as it is after the change. `payment:created` is the change that completed the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    #[schemars(with = "IdText")]
    pub id: PaymentId,
    /// Rises by one with every change; 0 when requested.
    pub version: u64,
    #[schemars(with = "IdText")]
    pub order_id: OrderId,
    /// The provider's id of the charge, whoever the provider is; the name is the original's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_id: Option<String>,
    pub status: PaymentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PaymentStep>,
    pub amount: Price,
    #[schemars(with = "CurrencyCode")]
    pub currency: Currency,
}

/// `user:*`: an account after the change, by its id alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    #[schemars(with = "IdText")]
    pub id: UserId,
    /// Rises by one with every change; 0 when created.
    pub version: u64,
    pub banned: bool,
    /// Tokens that carry a lower epoch are no longer honoured.
    pub epoch: u32,
}

/// What a body must have in common with its envelope: the entity that changed.
pub(crate) trait Entity {
    fn entity(&self) -> Id;
}

macro_rules! entity {
    ($($body:ident by $field:ident),+ $(,)?) => {$(
        impl Entity for $body {
            fn entity(&self) -> Id {
                self.$field.0
            }
        }
    )+};
}

entity! { Ticket by id, Order by id, Expiration by order_id, Payment by id, User by id }
