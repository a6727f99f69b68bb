//! The bodies of events, for consumers: one struct an aggregate.
//!
//! A field that came later is optional to whoever reads older messages. A change that would break a reader gets a new version
//! of the subject prefix and the schema, never a new meaning under the old one. Readers ignore fields that they do not know.

use holdfast_ledger::id::{Id, OrderId, PaymentId, PlaceId, RequestId, TicketId, UserId};
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
    // Kept for the next in its line.
    Offered,
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
    /// The version of the change that set the price: equal to `version`, this event tells of it.
    pub price_version: u64,
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
    Operator,
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
    /// The buyer.
    #[schemars(with = "IdText")]
    pub user_id: UserId,
    /// 1 for the order's first.
    pub attempt: u32,
    /// The provider's id of the charge, whoever the provider is; the name is the original's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripe_id: Option<String>,
    pub status: PaymentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PaymentStep>,
    pub amount: Price,
    #[schemars(with = "CurrencyCode")]
    pub currency: Currency,
    /// The provider's code of a decline or of a capture that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// `user:created`, `user:updated`, `user:banned`: an account after the change, by its id alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    #[schemars(with = "IdText")]
    pub id: UserId,
    /// Rises by one with every change; 0 when created.
    pub version: u64,
    pub banned: bool,
    /// Its personal data is gone.
    pub erased: bool,
    /// The address is known to be the user's.
    pub verified: bool,
    /// Tokens that carry a lower epoch are no longer honoured.
    pub epoch: u32,
}

/// `user:reset_requested`, `user:verification_requested`: a mail with a link was asked for. The link itself is in no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRequest {
    /// The account.
    #[schemars(with = "IdText")]
    pub id: UserId,
    /// The account's, which the request raises by one.
    pub version: u64,
    #[schemars(with = "IdText")]
    pub request_id: RequestId,
    /// When the request is over, by ledger time.
    pub expires_at: Time,
}

/// Where a place in a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceStatus {
    Waiting,
    Offered,
    Taken,
    Left,
    Passed,
}

/// Why a place ended before its buyer could lock the ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    User,
    Banned,
    Erased,
    // The ticket was sold or withdrawn, or its sale has ended.
    Closed,
}

/// `line:*`: a buyer's place in the line for a ticket, after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    #[schemars(with = "IdText")]
    pub id: PlaceId,
    /// Rises by one with every change; 0 when joined.
    pub version: u64,
    #[schemars(with = "IdText")]
    pub ticket_id: TicketId,
    /// Who waits.
    #[schemars(with = "IdText")]
    pub user_id: UserId,
    pub status: PlaceStatus,
    /// Of an offer: when it is over, by ledger time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_until: Option<Time>,
    /// Of a place that was taken: the order that locked the ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<IdText>")]
    pub order_id: Option<OrderId>,
    /// Of a place that was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<LeftReason>,
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

entity! {
    Ticket by id, Order by id, Expiration by order_id, Payment by id, User by id, UserRequest by id, Place by id,
}
