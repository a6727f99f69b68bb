//! Reading the state: single rows, and lists in bounded pages.
//!
//! Every list reads an ordered index from a cursor on: at most [`PAGE_ROWS_MAX`] rows a page, and at most
//! [`PAGE_SCAN_MAX`] index rows passed over, so that apply never waits for long. A page that stopped at the scan bound may have
//! fewer rows than asked, even none, and still names the next.
//!
//! What this deliberately does not do: decide who may see what. That is the caller's.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::entities::{Change, NodeKey, Order, Payment, Personal, Session, Ticket, User};
use crate::event::Event;
use crate::id::{Id, OrderId, PaymentId, SessionId, TicketId, UserId};
use crate::money::Currency;
use crate::state::State;
use crate::store::{Read, StoreError};

/// Where the next page starts: opaque, printable, and harmless when it was made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Bytes);

/// A text that is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct CursorError;

/// The longest key that a cursor carries, in bytes.
const CURSOR_BYTES_MAX: usize = 512;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        let well_formed = text.len().is_multiple_of(2)
            && (2..=2 * CURSOR_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !well_formed {
            return Err(CursorError);
        }
        let bytes: Result<Vec<u8>, _> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16)).collect();
        bytes.map(|bytes| Cursor(bytes.into())).map_err(|_| CursorError)
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// `None`: this was the last page.
    pub next: Option<Cursor>,
}

/// Which of the available tickets are wanted. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TicketFilter {
    pub seller: Option<UserId>,
    /// Words that the ticket's words must begin with, each. Case does not count; only the first
    /// [`SEARCH_WORDS_MAX`] words count.
    pub search: Option<String>,
    pub price_minor_min: Option<u64>,
    pub price_minor_max: Option<u64>,
    pub currency: Option<Currency>,
}

/// The most words of a search that count.
pub const SEARCH_WORDS_MAX: usize = 5;

/// Events after a number, as far as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The first event still kept: whoever asked for an earlier one has missed some.
    pub first_kept: u64,
    /// The last event emitted.
    pub last: u64,
    pub events: Vec<Event>,
}

pub fn ticket<S: Read>(_state: &State<S>, _id: TicketId) -> Result<Option<Ticket>, StoreError> {
    todo!()
}

/// Tickets that can be bought now, oldest first (by word first where `search` is given).
pub fn tickets_available<S: Read>(
    _state: &State<S>,
    _filter: &TicketFilter,
    _after: Option<&Cursor>,
    _limit: usize,
) -> Result<Page<(TicketId, Ticket)>, StoreError> {
    todo!()
}

/// All tickets of a seller, also locked, sold and withdrawn ones, oldest first.
pub fn tickets_of_seller<S: Read>(
    _state: &State<S>,
    _seller: UserId,
    _after: Option<&Cursor>,
    _limit: usize,
) -> Result<Page<(TicketId, Ticket)>, StoreError> {
    todo!()
}

pub fn order<S: Read>(_state: &State<S>, _id: OrderId) -> Result<Option<Order>, StoreError> {
    todo!()
}

/// A user's orders of every status, newest first.
pub fn orders_of_user<S: Read>(
    _state: &State<S>,
    _user: UserId,
    _after: Option<&Cursor>,
    _limit: usize,
) -> Result<Page<(OrderId, Order)>, StoreError> {
    todo!()
}

pub fn payment<S: Read>(_state: &State<S>, _id: PaymentId) -> Result<Option<Payment>, StoreError> {
    todo!()
}

/// Payments for which the payments service has something to do, oldest first.
pub fn payments_open<S: Read>(
    _state: &State<S>,
    _after: Option<&Cursor>,
    _limit: usize,
) -> Result<Page<(PaymentId, Payment)>, StoreError> {
    todo!()
}

pub fn user<S: Read>(_state: &State<S>, _id: UserId) -> Result<Option<User>, StoreError> {
    todo!()
}

/// The personal data of a user; `None` for an erased one.
pub fn personal<S: Read>(_state: &State<S>, _id: UserId) -> Result<Option<Personal>, StoreError> {
    todo!()
}

/// The account under this address, whatever its case.
pub fn user_by_email<S: Read>(_state: &State<S>, _email: &str) -> Result<Option<(UserId, User, Personal)>, StoreError> {
    todo!()
}

pub fn session<S: Read>(_state: &State<S>, _user: UserId, _session: SessionId) -> Result<Option<Session>, StoreError> {
    todo!()
}

/// All public signing keys, by key id. Bounded by the code's limit on their number.
pub fn node_keys<S: Read>(_state: &State<S>) -> Result<Vec<(String, NodeKey)>, StoreError> {
    todo!()
}

/// What happened to an entity, oldest first, as far back as kept: version and change.
pub fn history<S: Read>(
    _state: &State<S>,
    _entity: Id,
    _after: Option<&Cursor>,
    _limit: usize,
) -> Result<Page<(u64, Change)>, StoreError> {
    todo!()
}

/// At most `limit` events with a number above `after_seq`, in order.
pub fn events<S: Read>(_state: &State<S>, _after_seq: u64, _limit: usize) -> Result<Events, StoreError> {
    todo!()
}
