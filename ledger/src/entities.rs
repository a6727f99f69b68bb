//! What the ledger holds: users, tickets, orders, payments, and the records around them.
//!
//! Times are ledger time in milliseconds since the Unix epoch (`_ms`), money is minor units (`_minor`), versions start at 0
//! and rise by one with every change, with one event each.

use serde::{Deserialize, Serialize};

use crate::command::Service;
use crate::event::EventType;
use crate::id::{OrderId, PaymentId, PlaceId, SessionId, TicketId, UserId, WebhookId};
use crate::money::Currency;
use crate::outcome::{Refusal, Settled};

/// What a user may do beyond buying, as a set of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    pub seller: bool,
    pub operator_read: bool,
    pub operator_admin: bool,
}

impl Default for Roles {
    /// Everybody may buy and sell.
    fn default() -> Roles {
        Roles { seller: true, operator_read: false, operator_admin: false }
    }
}

/// An account, without its personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub version: u64,
    pub roles: Roles,
    pub banned: bool,
    pub erased: bool,
    /// A mail to the present address has arrived.
    pub verified: bool,
    /// Raised by a ban, a change of roles or password, and an erasure: what was authenticated under an older one is refused.
    pub epoch: u32,
    pub created_ms: u64,
    /// Tickets that this user's live locks hold. Equals a full scan.
    pub locks_live: u32,
    /// Live idempotency records of this user. Equals a full scan.
    pub idempotency_records: u32,
    /// Sessions of this user. Equals a full scan.
    pub sessions: u32,
    /// Open requests of this user. Equals a full scan.
    pub requests: u32,
    /// Tickets whose price this user watches. Equals a full scan.
    pub watches: u32,
    /// Live places of this user in the lines for tickets. Equals a full scan.
    pub places: u32,
    /// Locks in a row that ran out unpaid; a completed order sets it back.
    pub expiries_in_row: u32,
    /// No new lock before this time.
    pub cooldown_until_ms: u64,
}

impl User {
    /// Neither banned nor erased: his tickets may be locked, his expired order reinstated.
    pub fn in_good_standing(&self) -> bool {
        !self.banned && !self.erased
    }
}

/// A user's personal data. Never in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal {
    /// As the user wrote it.
    pub email: String,
    /// Argon2id in PHC string format, made by the proposer.
    pub password_hash: String,
}

/// A signed-in session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub created_ms: u64,
    pub refreshed_ms: u64,
    pub expires_ms: u64,
    /// What its user recognises it by: a few words on the program that signed in, at most
    /// [`AGENT_BYTES_MAX`](crate::limits::AGENT_BYTES_MAX).
    pub agent: String,
}

/// What a user has to prove with a mail that reaches him.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A new password, for who has lost his.
    Reset,
    /// The address.
    Verify,
}

/// A mail was asked for. What it carries is signed by a node and stands nowhere here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub purpose: Purpose,
    pub created_ms: u64,
    /// It is over the moment ledger time reaches this.
    pub expires_ms: u64,
}

/// The one-use token that makes the first operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
    pub set_ms: u64,
    pub claimed_by: Option<UserId>,
}

/// A node's public signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeKey {
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    pub registered_ms: u64,
    /// From here on no session is trusted for its signature; tickets that it has signed stay good.
    pub retired_ms: Option<u64>,
}

/// A service's public signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceKey {
    pub service: Service,
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    pub registered_ms: u64,
}

/// An address to which events are posted, signed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub url: String,
    /// Of the signature (HMAC), shared with the receiver.
    pub secret: String,
    /// Empty: all.
    pub event_types: Vec<EventType>,
    pub created_ms: u64,
    pub updated_ms: u64,
}

impl std::fmt::Debug for Webhook {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.url)
            .field("event_types", &self.event_types)
            .finish_non_exhaustive()
    }
}

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

/// Who did what the audit tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditActor {
    /// The cluster itself, or who works on one of its machines.
    Cluster,
    User(UserId),
    Service(Service),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditAction {
    SetRoles,
    BanUser,
    UnbanUser,
    EraseUser,
    ClaimOperator,
    ReleaseLock,
    RequestRefund,
    RegisterServiceKey,
    RevokeServiceKey,
    RetireNodeKey,
    PutWebhook,
    RemoveWebhook,
    SetPolicy,
    SetBootstrapToken,
    RaiseLineage,
}

impl AuditAction {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            AuditAction::SetRoles => "set_roles",
            AuditAction::BanUser => "ban_user",
            AuditAction::UnbanUser => "unban_user",
            AuditAction::EraseUser => "erase_user",
            AuditAction::ClaimOperator => "claim_operator",
            AuditAction::ReleaseLock => "release_lock",
            AuditAction::RequestRefund => "request_refund",
            AuditAction::RegisterServiceKey => "register_service_key",
            AuditAction::RevokeServiceKey => "revoke_service_key",
            AuditAction::RetireNodeKey => "retire_node_key",
            AuditAction::PutWebhook => "put_webhook",
            AuditAction::RemoveWebhook => "remove_webhook",
            AuditAction::SetPolicy => "set_policy",
            AuditAction::SetBootstrapToken => "set_bootstrap_token",
            AuditAction::RaiseLineage => "raise_lineage",
        }
    }
}

/// To whom or what it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditSubject {
    Cluster,
    User(UserId),
    Order(OrderId),
    Webhook(WebhookId),
    /// A signing key, by its id.
    Key(String),
}

/// One thing that an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// The entry that decided it.
    pub index: u64,
    pub time_ms: u64,
    pub actor: AuditActor,
    pub action: AuditAction,
    pub subject: AuditSubject,
    /// Of the row before; zeros for the first.
    pub previous_hash: [u8; 32],
    /// SHA-256 of all the above and the row's number.
    pub hash: [u8; 32],
}

/// Rules that operators may change; part of the state, so that every node applies the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub lock_ttl_ms: u64,
    pub lock_extension_ms: u64,
    pub lock_extensions_max: u32,
    /// Given once, when payment begins: at most 120 s.
    pub payment_grace_ms: u64,
    pub payment_attempts_max: u32,
    pub locks_per_user_max: u32,
    pub tickets_per_order_max: u32,
    /// After this many locks in a row that ran out …
    pub cooldown_after_expiries: u32,
    /// … no new lock for this long.
    pub cooldown_ms: u64,
    pub session_ttl_ms: u64,
    pub sessions_per_user_max: u32,
    pub idempotency_ttl_ms: u64,
    pub idempotency_keys_per_user_max: u32,
    pub idempotency_records_max: u64,
    pub sweep_entries_max: u32,
    pub history_per_entity_max: u64,
    /// Acknowledged events stay this long.
    pub outbox_retention_ms: u64,
    /// An alert at this many events that the stream has not got yet.
    pub outbox_events_soft_max: u64,
    /// At this many new locks are refused; what ends a lock always passes.
    pub outbox_events_hard_max: u64,
    /// How long a ticket is kept for the next in line.
    pub offer_ttl_ms: u64,
    pub line_places_per_ticket_max: u32,
    pub line_places_per_user_max: u32,
    pub watchers_per_ticket_max: u32,
    pub watches_per_user_max: u32,
    /// What a mail carries is good for this long.
    pub request_ttl_ms: u64,
    /// Of what operators did, the last so many are kept.
    pub audit_rows_max: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        const MINUTE_MS: u64 = 60_000;
        const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
        Policy {
            lock_ttl_ms: 15 * MINUTE_MS,
            lock_extension_ms: 5 * MINUTE_MS,
            lock_extensions_max: 1,
            payment_grace_ms: 2 * MINUTE_MS,
            payment_attempts_max: 1,
            locks_per_user_max: 20,
            tickets_per_order_max: 10,
            cooldown_after_expiries: 5,
            cooldown_ms: 10 * MINUTE_MS,
            session_ttl_ms: 30 * DAY_MS,
            sessions_per_user_max: 20,
            idempotency_ttl_ms: DAY_MS,
            idempotency_keys_per_user_max: 10_000,
            idempotency_records_max: 10_000_000,
            sweep_entries_max: 1_000,
            history_per_entity_max: 200,
            outbox_retention_ms: DAY_MS,
            outbox_events_soft_max: 5_000_000,
            outbox_events_hard_max: 50_000_000,
            offer_ttl_ms: 5 * MINUTE_MS,
            line_places_per_ticket_max: 1_000,
            line_places_per_user_max: 20,
            watchers_per_ticket_max: 10_000,
            watches_per_user_max: 200,
            request_ttl_ms: 60 * MINUTE_MS,
            audit_rows_max: 100_000,
        }
    }
}

/// A session and its user, as a command's actor names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    pub user: UserId,
    pub session: SessionId,
    pub epoch: u32,
}
