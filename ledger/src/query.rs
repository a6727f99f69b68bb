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

use crate::changes::is_available;
use crate::email;
use crate::entities::{
    Bootstrap, Change, NodeKey, Order, Payment, Personal, Request, ServiceKey, Session, Ticket, User, Webhook,
};
use crate::event::Event;
use crate::id::{Id, OrderId, PaymentId, RequestId, SessionId, TicketId, UserId, WebhookId};
use crate::keys;
use crate::limits::{
    NODE_KEYS_MAX, PAGE_ROWS_MAX, PAGE_SCAN_MAX, SERVICE_KEYS_MAX, SESSIONS_PER_USER_MAX, WEBHOOKS_MAX,
};
use crate::money::Currency;
use crate::rows::{damaged, decode};
use crate::state::State;
use crate::store::{Order as Direction, Read, StoreError, prefix_end};
use crate::tables::Table;
use crate::version::Versioned;
use crate::words::{ticket_words, words};

mod line;
mod operators;

pub use line::{Position, line_position, place, places_of_user};
pub use operators::{audit, locks_live, orders, payments, payments_stuck, sales_of_seller, users_by_email};

/// Index rows read at once.
const SCAN_CHUNK_MIN: usize = 32;

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
    /// The event's name, whole. Case does not count.
    pub event_name: Option<String>,
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

pub fn ticket<S: Read>(state: &State<S>, id: TicketId) -> Result<Option<Ticket>, StoreError> {
    state.row(Table::Tickets, id.as_bytes())
}

/// Tickets that can be bought now, oldest first (by word first where `search` is given).
///
/// Left out are also those whose sale has ended and those of sellers who are banned or erased.
pub fn tickets_available<S: Read>(
    state: &State<S>,
    filter: &TicketFilter,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(TicketId, Ticket)>, StoreError> {
    let search = words(filter.search.as_deref().unwrap_or(""), SEARCH_WORDS_MAX);
    // The longest word is the likeliest to be rare: its index is read, the others are checked on the ticket.
    let driving = search.iter().max_by_key(|word| word.len());
    let list = match (driving, filter.seller) {
        (Some(word), _) => List { table: Table::TicketsByWord, prefix: word.as_bytes(), order: Direction::Ascending },
        (None, Some(seller)) => {
            return tickets_of_seller_where(state, seller, after, limit, |ticket| {
                is_wanted(state, filter, &search, ticket)
            });
        }
        (None, None) => List { table: Table::TicketsAvailable, prefix: &[], order: Direction::Ascending },
    };
    page(state, &list, after, limit, |key| {
        let id = TicketId(id_at_end(list.table, key)?);
        let ticket: Ticket = state.row_required(Table::Tickets, id.as_bytes())?;
        let listed_here = driving.is_none_or(|word| is_first_match(&ticket, word, key));
        Ok((listed_here && is_wanted(state, filter, &search, &ticket)?).then_some((id, ticket)))
    })
}

/// Of the ticket's words that begin with `prefix`, whether `key` is the first: the others would list it twice.
fn is_first_match(ticket: &Ticket, prefix: &str, key: &[u8]) -> bool {
    let first = ticket_words(&ticket.title, &ticket.details).into_iter().filter(|word| word.starts_with(prefix)).min();
    first.is_some_and(|word| key.split(|byte| *byte == 0).next() == Some(word.as_bytes()))
}

fn is_wanted<S: Read>(
    state: &State<S>,
    filter: &TicketFilter,
    search: &[String],
    ticket: &Ticket,
) -> Result<bool, StoreError> {
    let fits = is_available(ticket)
        && ticket.details.sale_ends_ms.is_none_or(|ends_ms| state.meta().now_ms < ends_ms)
        && filter.seller.is_none_or(|seller| seller == ticket.seller)
        && filter.currency.is_none_or(|currency| currency == ticket.currency)
        && filter.event_name.as_deref().is_none_or(|name| is_event(ticket, name))
        && filter.price_minor_min.is_none_or(|min| min <= ticket.price_minor)
        && filter.price_minor_max.is_none_or(|max| ticket.price_minor <= max);
    if !fits {
        return Ok(false);
    }
    if !search.is_empty() {
        let words = ticket_words(&ticket.title, &ticket.details);
        if !search.iter().all(|prefix| words.iter().any(|word| word.starts_with(prefix.as_str()))) {
            return Ok(false);
        }
    }
    let seller: User = state.row_required(Table::Users, ticket.seller.as_bytes())?;
    Ok(seller.in_good_standing())
}

fn is_event(ticket: &Ticket, name: &str) -> bool {
    ticket.details.event_name.as_ref().is_some_and(|event| event.to_lowercase() == name.to_lowercase())
}

/// All tickets of a seller, also locked, sold and withdrawn ones, oldest first.
pub fn tickets_of_seller<S: Read>(
    state: &State<S>,
    seller: UserId,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(TicketId, Ticket)>, StoreError> {
    tickets_of_seller_where(state, seller, after, limit, |_| Ok(true))
}

fn tickets_of_seller_where<S: Read>(
    state: &State<S>,
    seller: UserId,
    after: Option<&Cursor>,
    limit: usize,
    is_wanted: impl Fn(&Ticket) -> Result<bool, StoreError>,
) -> Result<Page<(TicketId, Ticket)>, StoreError> {
    let list = List { table: Table::TicketsBySeller, prefix: seller.as_bytes(), order: Direction::Ascending };
    page(state, &list, after, limit, |key| {
        let id = TicketId(id_at_end(list.table, key)?);
        let ticket: Ticket = state.row_required(Table::Tickets, id.as_bytes())?;
        Ok(is_wanted(&ticket)?.then_some((id, ticket)))
    })
}

pub fn order<S: Read>(state: &State<S>, id: OrderId) -> Result<Option<Order>, StoreError> {
    state.row(Table::Orders, id.as_bytes())
}

/// A user's orders of every status, newest first.
pub fn orders_of_user<S: Read>(
    state: &State<S>,
    user: UserId,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(OrderId, Order)>, StoreError> {
    let list = List { table: Table::OrdersByUser, prefix: user.as_bytes(), order: Direction::Descending };
    page(state, &list, after, limit, |key| {
        let id = OrderId(id_at_end(list.table, key)?);
        Ok(Some((id, state.row_required(Table::Orders, id.as_bytes())?)))
    })
}

pub fn payment<S: Read>(state: &State<S>, id: PaymentId) -> Result<Option<Payment>, StoreError> {
    state.row(Table::Payments, id.as_bytes())
}

/// Payments for which the payments service has something to do, oldest first.
pub fn payments_open<S: Read>(
    state: &State<S>,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(PaymentId, Payment)>, StoreError> {
    let list = List { table: Table::PaymentsOpen, prefix: &[], order: Direction::Ascending };
    page(state, &list, after, limit, |key| {
        let id = PaymentId(id_at_end(list.table, key)?);
        Ok(Some((id, state.row_required(Table::Payments, id.as_bytes())?)))
    })
}

pub fn user<S: Read>(state: &State<S>, id: UserId) -> Result<Option<User>, StoreError> {
    state.row(Table::Users, id.as_bytes())
}

/// The personal data of a user; `None` for an erased one.
pub fn personal<S: Read>(state: &State<S>, id: UserId) -> Result<Option<Personal>, StoreError> {
    state.row(Table::Personal, id.as_bytes())
}

/// The account under this address, whatever its case.
pub fn user_by_email<S: Read>(state: &State<S>, email: &str) -> Result<Option<(UserId, User, Personal)>, StoreError> {
    let Some(id) = state.row::<UserId>(Table::UsersByEmail, email::folded(email).as_bytes())? else {
        return Ok(None);
    };
    let user = state.row_required(Table::Users, id.as_bytes())?;
    let personal = state.row_required(Table::Personal, id.as_bytes())?;
    Ok(Some((id, user, personal)))
}

pub fn session<S: Read>(state: &State<S>, user: UserId, session: SessionId) -> Result<Option<Session>, StoreError> {
    state.row(Table::Sessions, &keys::pair(user.0, session.0))
}

/// All sessions of a user that count still, oldest first.
pub fn sessions_of_user<S: Read>(state: &State<S>, user: UserId) -> Result<Vec<(SessionId, Session)>, StoreError> {
    let (from, to) = (user.as_bytes(), prefix_end(user.as_bytes()));
    let limit = SESSIONS_PER_USER_MAX as usize;
    let rows = state.store().range(Table::Sessions, from, to.as_deref(), Direction::Ascending, limit)?;
    let mut sessions = Vec::with_capacity(rows.len());
    for (key, row) in &rows {
        let session: Session = decode(Table::Sessions, key, row)?;
        if state.meta().now_ms < session.expires_ms {
            sessions.push((SessionId(id_at_end(Table::Sessions, key)?), session));
        }
    }
    Ok(sessions)
}

/// A user's request for a mail, while it counts.
pub fn request<S: Read>(state: &State<S>, user: UserId, request: RequestId) -> Result<Option<Request>, StoreError> {
    let row: Option<Request> = state.row(Table::Requests, &keys::pair(user.0, request.0))?;
    Ok(row.filter(|row| state.meta().now_ms < row.expires_ms))
}

/// The bootstrap token's hash, and whether it was claimed; `None` before one is set.
pub fn bootstrap<S: Read>(state: &State<S>) -> Result<Option<Bootstrap>, StoreError> {
    state.row(Table::Bootstrap, &[])
}

pub fn service_key<S: Read>(state: &State<S>, key_id: &str) -> Result<Option<ServiceKey>, StoreError> {
    state.row(Table::ServiceKeys, key_id.as_bytes())
}

/// All public signing keys of services, by key id: at most [`SERVICE_KEYS_MAX`].
pub fn service_keys<S: Read>(state: &State<S>) -> Result<Vec<(String, ServiceKey)>, StoreError> {
    all(state, Table::ServiceKeys, SERVICE_KEYS_MAX, |key| {
        String::from_utf8(key.to_vec()).map_err(|error| damaged(Table::ServiceKeys, key, error))
    })
}

/// All addresses to which events are posted: at most [`WEBHOOKS_MAX`].
pub fn webhooks<S: Read>(state: &State<S>) -> Result<Vec<(WebhookId, Webhook)>, StoreError> {
    all(state, Table::Webhooks, WEBHOOKS_MAX, |key| id_at_end(Table::Webhooks, key).map(WebhookId))
}

/// All rows of a small table.
fn all<S: Read, K, T: Versioned>(
    state: &State<S>,
    table: Table,
    max: usize,
    id: impl Fn(&[u8]) -> Result<K, StoreError>,
) -> Result<Vec<(K, T)>, StoreError> {
    let rows = state.store().range(table, &[], None, Direction::Ascending, max)?;
    rows.iter().map(|(key, row)| Ok((id(key)?, decode(table, key, row)?))).collect()
}

/// A node's public signing key.
pub fn node_key<S: Read>(state: &State<S>, key_id: &str) -> Result<Option<NodeKey>, StoreError> {
    state.row(Table::NodeKeys, key_id.as_bytes())
}

/// All public signing keys of nodes, by key id: at most [`NODE_KEYS_MAX`].
pub fn node_keys<S: Read>(state: &State<S>) -> Result<Vec<(String, NodeKey)>, StoreError> {
    all(state, Table::NodeKeys, NODE_KEYS_MAX, |key| {
        String::from_utf8(key.to_vec()).map_err(|error| damaged(Table::NodeKeys, key, error))
    })
}

/// Who watches the price of a ticket, in the order of their ids.
pub fn watchers<S: Read>(
    state: &State<S>,
    ticket: TicketId,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<UserId>, StoreError> {
    let list = List { table: Table::Watchers, prefix: ticket.as_bytes(), order: Direction::Ascending };
    page(state, &list, after, limit, |key| Ok(Some(UserId(id_at_end(list.table, key)?))))
}

/// The tickets whose price a user watches, newest first.
pub fn watches_of_user<S: Read>(
    state: &State<S>,
    user: UserId,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(TicketId, Ticket)>, StoreError> {
    let list = List { table: Table::WatchesByUser, prefix: user.as_bytes(), order: Direction::Descending };
    page(state, &list, after, limit, |key| {
        let id = TicketId(id_at_end(list.table, key)?);
        Ok(Some((id, state.row_required(Table::Tickets, id.as_bytes())?)))
    })
}

pub fn is_watching<S: Read>(state: &State<S>, user: UserId, ticket: TicketId) -> Result<bool, StoreError> {
    Ok(state.store().get(Table::WatchesByUser, &keys::pair(user.0, ticket.0))?.is_some())
}

/// What happened to an entity, oldest first, as far back as kept: version and change.
pub fn history<S: Read>(
    state: &State<S>,
    entity: Id,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(u64, Change)>, StoreError> {
    let list = List { table: Table::History, prefix: entity.as_bytes(), order: Direction::Ascending };
    page(state, &list, after, limit, |key| {
        let version = key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let version = version.ok_or_else(|| damaged(list.table, key, "short key"))?;
        Ok(Some((version, state.row_required(Table::History, key)?)))
    })
}

/// At most `limit` events with a number above `after_seq`, in order.
pub fn events<S: Read>(state: &State<S>, after_seq: u64, limit: usize) -> Result<Events, StoreError> {
    let from = after_seq.saturating_add(1).to_be_bytes();
    let rows = state.store().range(Table::Outbox, &from, None, Direction::Ascending, limit.clamp(1, PAGE_ROWS_MAX))?;
    let events: Result<_, _> = rows.iter().map(|(key, row)| decode(Table::Outbox, key, row)).collect();
    Ok(Events { first_kept: state.meta().outbox_first, last: state.meta().event_seq, events: events? })
}

/// The change that gave an entity this version, if it is still kept.
pub fn change<S: Read>(state: &State<S>, entity: Id, version: u64) -> Result<Option<Change>, StoreError> {
    state.row(Table::History, &keys::change(entity, version))
}

/// An ordered index, or the part of one that begins with `prefix`.
struct List<'a> {
    table: Table,
    prefix: &'a [u8],
    order: Direction,
}

/// One page of `list` after a cursor: the rows that `row` makes of the keys, or leaves out.
fn page<S: Read, T>(
    state: &State<S>,
    list: &List,
    after: Option<&Cursor>,
    limit: usize,
    mut row: impl FnMut(&[u8]) -> Result<Option<T>, StoreError>,
) -> Result<Page<T>, StoreError> {
    let limit = limit.clamp(1, PAGE_ROWS_MAX);
    let (mut rows, mut scanned) = (Vec::new(), 0);
    let mut last = after.map(|cursor| cursor.0.clone());
    loop {
        // One key more than wanted tells whether there is a next page.
        let chunk = (limit + 1 - rows.len()).max(SCAN_CHUNK_MIN).min(PAGE_SCAN_MAX - scanned);
        let keys = keys_beyond(state, list, last.as_deref(), chunk)?;
        let is_end = keys.len() < chunk;
        scanned += keys.len();
        for key in keys {
            if rows.len() == limit {
                return Ok(Page { rows, next: last.map(Cursor) });
            }
            rows.extend(row(&key)?);
            last = Some(key);
        }
        if is_end {
            return Ok(Page { rows, next: None });
        }
        if scanned >= PAGE_SCAN_MAX {
            return Ok(Page { rows, next: last.map(Cursor) });
        }
    }
}

/// The next `limit` keys of `list` beyond `last`. A made-up cursor does not reach outside the list.
fn keys_beyond<S: Read>(
    state: &State<S>,
    list: &List,
    last: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Bytes>, StoreError> {
    let (mut from, mut to) = (list.prefix.to_vec(), prefix_end(list.prefix));
    match (last, list.order) {
        (None, _) => {}
        // The least key above.
        (Some(last), Direction::Ascending) => from = from.max([last, &[0][..]].concat()),
        (Some(last), Direction::Descending) => to = Some(to.map_or(last.to_vec(), |to| to.min(last.to_vec()))),
    }
    let rows = state.store().range(list.table, &from, to.as_deref(), list.order, limit)?;
    Ok(rows.into_iter().map(|(key, _)| key).collect())
}

/// The id that a key of an index ends with.
fn id_at_end(table: Table, key: &[u8]) -> Result<Id, StoreError> {
    key.last_chunk().map(|bytes| Id::from_bytes(*bytes)).ok_or_else(|| damaged(table, key, "short key"))
}

#[cfg(test)]
mod tests;
