//! What can be asked of the ledger. Each command's rules stand in a file of its own under `commands/`.
//!
//! A command says what somebody wants, with what he knew when he wanted it; [`State::apply`](crate::State::apply) decides.
//! Any value that decodes is answered with an [`Outcome`](crate::outcome::Outcome), whatever is in it.

use serde::{Deserialize, Serialize};

use crate::entities::{Fence, Operation, Policy, Roles, SignedIn, Step, TicketDetails};
use crate::event::EventType;
use crate::id::{OrderId, PaymentId, RequestId, SessionId, TicketId, UserId, WebhookId};
use crate::money::{Currency, Decimal};
use crate::version::Version;

/// One entry of the log: one or more commands, stamped with the leader's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's clock when it proposed, milliseconds since the Unix epoch. Ledger time is the highest seen so far.
    pub time_ms: u64,
    /// At most [`ENTRY_COMMANDS_MAX`](crate::limits::ENTRY_COMMANDS_MAX).
    pub commands: Vec<Submitted>,
}

/// A command, who asks it, and under which idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    pub actor: Actor,
    pub idempotency: Option<IdempotencyKey>,
    pub command: Command,
}

/// A caller's key for a request, and the hash of what it asked. Scoped to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// 1 to 255 bytes.
    pub key: String,
    pub request_hash: u128,
}

/// Who asks. Checked when the command is applied: a ban that came first counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The cluster itself. Never built from what came over a public listener.
    System,
    /// Nobody signed in: may sign up and sign in.
    Anonymous,
    User(SignedIn),
    Service(Service),
}

/// A program that acts on events, known by a credential of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    Payments,
    Notifications,
}

/// What a buyer saw of a ticket before he asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// He did not say: any price.
    Nothing,
    /// Exactly this price.
    Price(Decimal),
    /// This price or a lower one.
    PriceMax(Decimal),
    /// The ticket at this version: refused only if the *price* changed after it.
    Version(u64),
}

/// One ticket of an order to be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub ticket: TicketId,
    pub seen: Seen,
}

/// A ticket to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTicket {
    pub title: String,
    pub price: Decimal,
    pub currency: Currency,
    /// The seller's own id. A second creation under the same one answers with the first ticket.
    pub external_id: Option<String>,
    pub details: TicketDetails,
}

/// Everything that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    // Users.
    /// An account and its first session. Actor: anybody.
    SignUp {
        email: String,
        password_hash: String,
        /// What the session is recognised by; cut where it is too long.
        agent: String,
    },
    /// A session for a user whose password the proposer has checked under `epoch`. Actor: anybody.
    SignIn {
        user: UserId,
        epoch: u32,
        agent: String,
    },
    /// Ends a session, this one or another. Actor: the user.
    SignOut {
        session: SessionId,
    },
    /// The session goes on for its whole time from now. Actor: the user.
    RefreshSession,
    /// Another address, which is not proved yet. Actor: the user.
    ChangeEmail {
        email: String,
    },
    /// Ends the user's other sessions; this one goes on under the new epoch. Actor: the user.
    ChangePassword {
        password_hash: String,
    },
    /// A mail for who has lost his password. Actor: anybody.
    RequestReset {
        user: UserId,
    },
    /// What the mail carried was checked by the proposer. Ends all sessions. Actor: anybody.
    ResetPassword {
        user: UserId,
        request: RequestId,
        password_hash: String,
    },
    /// A mail that proves the address. Actor: the user.
    RequestVerification,
    /// What the mail carried was checked by the proposer. Actor: anybody.
    VerifyEmail {
        user: UserId,
        request: RequestId,
    },
    /// Makes the user an operator, once in a cluster's life. Actor: the user.
    ClaimOperator {
        /// SHA-256 of the token.
        token_hash: Vec<u8>,
    },
    /// Actor: operator-admin or the system.
    SetRoles {
        user: UserId,
        roles: Roles,
    },
    /// Ends the user's sessions, releases the locks, cancels what is not paid, voids what is authorised. Actor: operator-admin or the system.
    BanUser {
        user: UserId,
    },
    /// Actor: operator-admin or the system.
    UnbanUser {
        user: UserId,
    },
    /// Blanks the personal data; orders stay. Actor: the user, operator-admin or the system.
    EraseUser {
        user: UserId,
    },

    // Tickets.
    /// Actor: a seller.
    CreateTicket(NewTicket),
    /// Up to [`BULK_TICKETS_MAX`](crate::limits::BULK_TICKETS_MAX), each with its own outcome. Actor: a seller.
    CreateTickets(Vec<NewTicket>),
    /// Actor: the ticket's seller. `version`: refused unless the ticket has it. Details are left as they are where `None`.
    EditTicket {
        ticket: TicketId,
        title: String,
        price: Decimal,
        version: Option<u64>,
        details: Option<TicketDetails>,
    },
    /// A price that takes effect at release (at once when free); `None` takes it back. Actor: the ticket's seller.
    SchedulePrice {
        ticket: TicketId,
        price: Option<Decimal>,
    },
    /// Takes a ticket off sale, at release when it is locked. Actor: the ticket's seller.
    WithdrawTicket {
        ticket: TicketId,
    },

    // Orders.
    /// Locks tickets of one currency, all or none. Actor: a user.
    PlaceOrder {
        tickets: Vec<Wanted>,
    },
    /// Actor: the order's user. `version`: refused unless the order has it.
    CancelOrder {
        order: OrderId,
        version: Option<u64>,
    },
    /// Actor: the order's user.
    ExtendLock {
        order: OrderId,
    },
    /// Ends a live lock. Actor: operator-admin or the system.
    ReleaseLock {
        order: OrderId,
    },
    /// Waits for a ticket that somebody else has. Actor: a user.
    JoinLine {
        ticket: TicketId,
    },
    /// Actor: a user.
    LeaveLine {
        ticket: TicketId,
    },
    /// Asks to be told when the price changes. Actor: a user.
    WatchTicket {
        ticket: TicketId,
    },
    /// Actor: a user.
    UnwatchTicket {
        ticket: TicketId,
    },

    // Payments.
    /// Actor: the order's user.
    BeginPayment {
        order: OrderId,
        token: String,
    },
    /// The provider's id for the attempt, before it is confirmed. Actor: payments or the system, as for all below.
    RecordIntent {
        payment: PaymentId,
        intent_id: String,
    },
    /// Where the buyer has to go before his bank decides (3-D Secure).
    RecordAction {
        payment: PaymentId,
        url: String,
    },
    /// The provider holds the money: completes the order, or asks for a void.
    RecordAuthorized {
        payment: PaymentId,
        fence: Fence,
    },
    RecordDeclined {
        payment: PaymentId,
        failure: String,
    },
    RecordCaptured {
        payment: PaymentId,
    },
    RecordCaptureFailed {
        payment: PaymentId,
        failure: String,
    },
    RecordVoided {
        payment: PaymentId,
    },
    /// Actor: operator-admin or the system.
    RequestRefund {
        order: OrderId,
    },
    RecordRefunded {
        payment: PaymentId,
    },

    // Services and webhooks. Actor: operator-admin or the system.
    /// Publishes the public half of a service's signing key.
    RegisterServiceKey {
        service: Service,
        key_id: String,
        public_key: Vec<u8>,
    },
    RevokeServiceKey {
        key_id: String,
    },
    /// A new address to post events to, or a change of one. `secret`: `None` keeps the one there is. No types: all events.
    PutWebhook {
        webhook: Option<WebhookId>,
        url: String,
        secret: Option<String>,
        event_types: Vec<EventType>,
    },
    /// Actor: also the notifications service, when the receiver says that it is gone.
    RemoveWebhook {
        webhook: WebhookId,
    },
    /// Sessions that a node's key has signed are trusted no longer.
    RetireNodeKey {
        key_id: String,
    },

    // The cluster. Actor: the system.
    /// Reclaims what is due and drops what is old, at most `sweep_entries_max` of each.
    Tick,
    SetPolicy(Policy),
    /// Publishes the public half of a node's signing key.
    RegisterNodeKey {
        key_id: String,
        public_key: Vec<u8>,
    },
    /// The stream has everything up to `upto`: rows past retention may be dropped.
    AckOutbox {
        upto: u64,
        /// How often the stream has lost events. As many as the ledger knows of: what is new is acknowledged. One more: the
        /// stream has nothing after `upto`, whatever was acknowledged. Any other number: this was said too late, and changes
        /// nothing.
        losses: u32,
    },
    /// The hash of the one-use token that makes the first operator.
    SetBootstrapToken {
        /// SHA-256 of the token.
        token_hash: Vec<u8>,
    },
    /// A restored or recovered ledger continues under a higher lineage.
    RaiseLineage {
        lineage: u16,
    },
    /// Something is done to the cluster itself, at a node's inside: the ledger only writes it down.
    NoteOperation {
        operation: Operation,
        step: Step,
        /// The member that it is done to.
        node: Option<u64>,
        /// SHA-256 of the certificate that was shown.
        certificate: Option<[u8; 32]>,
    },
    /// The cluster works by a newer version from here on. Actor: operator-admin or the system.
    RaiseVersion {
        to: Version,
        /// SHA-256 of the certificate that was shown.
        certificate: Option<[u8; 32]>,
    },
    /// What the tests' next version has more. Actor: operator-admin or the system.
    #[cfg(feature = "next-version")]
    ForgetLocks {
        ticket: TicketId,
    },
}

impl Actor {
    /// The signed-in user, if there is one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Actor::User(signed_in) => Some(signed_in.user),
            _ => None,
        }
    }
}
