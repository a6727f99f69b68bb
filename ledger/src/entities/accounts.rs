//! Accounts: users, their personal data, sessions, and mails that were asked for.

use serde::{Deserialize, Serialize};

use crate::id::{SessionId, UserId};

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

/// A session and its user, as a command's actor names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    pub user: UserId,
    pub session: SessionId,
    pub epoch: u32,
}
