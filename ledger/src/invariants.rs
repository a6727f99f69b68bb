//! A full scan that holds the state against everything it promises. For tests, the simulator and `holdfast verify`.
//!
//! Every promise is checked from the other side: what a counter says is counted, what the hash says is summed, and an index
//! must have the rows that its entities call for, and as many. Users and the records around them are here, tickets, orders
//! and payments in `trade.rs`, events and histories in `record.rs`.
//!
//! What this deliberately does not do: run on the way of a request. It reads every row, in pages.

use std::collections::BTreeMap;

use crate::email;
use crate::entities::{
    Bootstrap, IdempotencyRecord, NodeKey, Order, PaymentStatus, Personal, Request, ServiceKey, Session, User, Webhook,
};
use crate::id::{ID_BYTES, Id, OrderId, SessionId, TicketId, UserId};
use crate::keys;
use crate::limits::{NODE_KEYS_MAX, PUBLIC_KEY_BYTES, SERVICE_KEYS_MAX, TOKEN_HASH_BYTES, WEBHOOKS_MAX};
use crate::rows::{damaged, decode, row_hash};
use crate::state::{Meta, State};
use crate::store::{Order as Direction, Read, StoreError, prefix_end};
use crate::tables::Table;
use crate::version::Versioned;

mod line;
mod record;
mod trade;

/// The most violations that one scan reports.
pub const VIOLATIONS_MAX: usize = 100;

/// Rows read at once.
const CHUNK: usize = 1_000;

/// Scans the whole state: counters, indexes, locks, versions, payments, outbox and hash. `Err` names what does not hold, at
/// most [`VIOLATIONS_MAX`] sentences; a row that cannot be read or decoded counts as one.
pub fn check_invariants<S: Read>(state: &State<S>) -> Result<(), Vec<String>> {
    let mut scan = Scan {
        state,
        found: Vec::new(),
        counts: Counts::default(),
        indexed: BTreeMap::new(),
        last: BTreeMap::new(),
        chain: (0, [0; 32]),
    };
    if let Err(error) = scan.run() {
        scan.violation(error.to_string());
    }
    if scan.found.is_empty() { Ok(()) } else { Err(scan.found) }
}

struct Scan<'a, S> {
    state: &'a State<S>,
    found: Vec<String>,
    counts: Counts,
    /// Index rows that the entities call for, a number per table.
    indexed: BTreeMap<Table, u64>,
    /// The version of each entity's last event that is still kept.
    last: BTreeMap<Id, u64>,
    /// Number and hash of the audit's last row that was checked.
    chain: (u64, [u8; 32]),
}

/// What the meta row counts, counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    locks_live: u64,
    tickets: u64,
    tickets_sold: u64,
    tickets_withdrawn: u64,
    orders: u64,
    orders_live: u64,
    orders_complete: u64,
    users: u64,
    payments_open: u64,
    payments: [u64; PaymentStatus::ALL.len()],
    idempotency_records: u64,
    places_live: u64,
    lines_closing: u64,
}

impl Counts {
    fn of(meta: &Meta) -> Counts {
        Counts {
            locks_live: meta.locks_live,
            tickets: meta.tickets,
            tickets_sold: meta.tickets_sold,
            tickets_withdrawn: meta.tickets_withdrawn,
            orders: meta.orders,
            orders_live: meta.orders_live,
            orders_complete: meta.orders_complete,
            users: meta.users,
            payments_open: meta.payments_open,
            payments: meta.payments,
            idempotency_records: meta.idempotency_records,
            places_live: meta.places_live,
            lines_closing: meta.lines_closing,
        }
    }
}

/// Tables whose rows follow from others.
const INDEXES: [Table; 17] = [
    Table::Personal,
    Table::UsersByEmail,
    Table::TicketsAvailable,
    Table::TicketsBySeller,
    Table::TicketsByExternalId,
    Table::TicketsByWord,
    Table::OrdersByUser,
    Table::LocksByUser,
    Table::Deadlines,
    Table::PaymentsOpen,
    Table::IdempotencyByAge,
    Table::History,
    Table::RequestsByEnd,
    Table::Watchers,
    Table::LineByTicket,
    Table::PlacesByUser,
    Table::LinesClosing,
];

impl<S: Read> Scan<'_, S> {
    fn run(&mut self) -> Result<(), StoreError> {
        self.check_meta_and_hash()?;
        self.check_outbox()?;
        self.check_audit()?;
        self.each(Table::Users, Scan::check_user)?;
        self.each(Table::Sessions, Scan::check_session)?;
        self.each(Table::Idempotency, Scan::check_idempotency)?;
        self.each(Table::NodeKeys, Scan::check_node_key)?;
        self.each(Table::Requests, Scan::check_request)?;
        self.each(Table::Bootstrap, Scan::check_bootstrap)?;
        self.each(Table::ServiceKeys, Scan::check_service_key)?;
        self.each(Table::Webhooks, Scan::check_webhook)?;
        self.each(Table::WatchesByUser, Scan::check_watch)?;
        self.each(Table::Tickets, Scan::check_ticket)?;
        self.each(Table::Orders, Scan::check_order)?;
        self.each(Table::Payments, Scan::check_payment)?;
        self.each(Table::Places, Scan::check_place)?;
        let (counted, said) = (std::mem::take(&mut self.counts), Counts::of(self.state.meta()));
        self.holds(counted == said, || format!("counters: the meta row says {said:?}, a scan {counted:?}"));
        for table in INDEXES {
            let (called_for, there) = (self.indexed.get(&table).copied().unwrap_or(0), self.count(table, &[])?);
            self.holds(called_for == there, || {
                format!("{table:?} has {there} rows, its entities call for {called_for}")
            });
        }
        self.check_fronts()
    }

    fn violation(&mut self, sentence: String) {
        if self.found.len() < VIOLATIONS_MAX {
            self.found.push(sentence);
        }
    }

    fn holds(&mut self, holds: bool, sentence: impl FnOnce() -> String) {
        if !holds {
            self.violation(sentence());
        }
    }

    /// Runs `check` on every row of a table.
    fn each<T: Versioned>(
        &mut self,
        table: Table,
        check: fn(&mut Self, &[u8], &T) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut from = Vec::new();
        loop {
            let rows = self.state.store().range(table, &from, None, Direction::Ascending, CHUNK)?;
            for (key, row) in &rows {
                let checked = decode(table, key, row).and_then(|row| check(self, key, &row));
                if let Err(error) = checked {
                    self.violation(error.to_string());
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == CHUNK => from = [key, &[0][..]].concat(),
                _ => return Ok(()),
            }
        }
    }

    fn count(&self, table: Table, prefix: &[u8]) -> Result<u64, StoreError> {
        let (mut from, to) = (prefix.to_vec(), prefix_end(prefix));
        let mut count = 0;
        loop {
            let rows = self.state.store().range(table, &from, to.as_deref(), Direction::Ascending, CHUNK)?;
            count += rows.len() as u64;
            match rows.last() {
                Some((key, _)) if rows.len() == CHUNK => from = [key, &[0][..]].concat(),
                _ => return Ok(count),
            }
        }
    }

    /// An index must have this row, and it must say `value`.
    fn index<T: Versioned + PartialEq>(&mut self, table: Table, key: &[u8], value: &T) -> Result<(), StoreError> {
        *self.indexed.entry(table).or_default() += 1;
        let row: Option<T> = self.state.row(table, key)?;
        self.holds(row.as_ref() == Some(value), || damaged(table, key, "missing, or says something else").to_string());
        Ok(())
    }

    fn id(&self, table: Table, key: &[u8], at: usize) -> Result<Id, StoreError> {
        keys::id_at(key, at).ok_or_else(|| damaged(table, key, "short key"))
    }

    fn check_meta_and_hash(&mut self) -> Result<(), StoreError> {
        let meta = self.state.meta();
        let stored: Option<Meta> = self.state.row(Table::Meta, &[])?;
        self.holds(stored.as_ref() == Some(meta) || (stored.is_none() && meta.index == 0), || {
            "the meta row is not what the state works with".to_string()
        });
        let mut sum = 0u128;
        for table in Table::ALL.iter().copied().filter(|table| *table != Table::Meta) {
            let mut from = Vec::new();
            loop {
                let rows = self.state.store().range(table, &from, None, Direction::Ascending, CHUNK)?;
                for (key, row) in &rows {
                    sum = sum.wrapping_add(row_hash(table, key, row));
                }
                match rows.last() {
                    Some((key, _)) if rows.len() == CHUNK => from = [key, &[0][..]].concat(),
                    _ => break,
                }
            }
        }
        self.holds(sum == meta.rows_hash, || format!("the rows sum to {sum:032x}, not to {:032x}", meta.rows_hash));
        Ok(())
    }

    fn check_fronts(&mut self) -> Result<(), StoreError> {
        for (table, front) in [
            (Table::Deadlines, self.state.fronts.deadline_ms),
            (Table::RequestsByEnd, self.state.fronts.request_ms),
            (Table::IdempotencyByAge, self.state.fronts.idempotency_ms),
        ] {
            let first = self.state.keys(table, &[], 1)?.first().and_then(|key| keys::time_ms(key));
            let in_time = first.is_none_or(|first_ms| front.is_some_and(|front_ms| front_ms <= first_ms));
            self.holds(in_time, || format!("{table:?} begins at {first:?}, before {front:?}"));
        }
        Ok(())
    }

    fn check_user(&mut self, key: &[u8], user: &User) -> Result<(), StoreError> {
        let id = UserId(self.id(Table::Users, key, 0)?);
        self.counts.users += 1;
        self.check_versions(id.0, user.version)?;
        let mut locks = 0;
        for key in self.state.keys(Table::LocksByUser, id.as_bytes(), usize::MAX)? {
            let order = OrderId(self.id(Table::LocksByUser, &key, ID_BYTES)?);
            locks += self.state.row_required::<Order>(Table::Orders, order.as_bytes())?.lines.len() as u64;
        }
        let sessions = self.count(Table::Sessions, id.as_bytes())?;
        let records = self.count(Table::Idempotency, id.as_bytes())?;
        let requests = self.count(Table::Requests, id.as_bytes())?;
        let watches = self.count(Table::WatchesByUser, id.as_bytes())?;
        let places = self.count(Table::PlacesByUser, id.as_bytes())?;
        for (what, said, counted) in [
            ("live locks", user.locks_live, locks),
            ("sessions", user.sessions, sessions),
            ("idempotency records", user.idempotency_records, records),
            ("requests", user.requests, requests),
            ("watches", user.watches, watches),
            ("places", user.places, places),
        ] {
            self.holds(u64::from(said) == counted, || format!("user {id} says {said} {what}, a scan {counted}"));
        }
        let in_good_standing = user.in_good_standing();
        self.holds(in_good_standing || sessions + locks + places == 0, || {
            format!("user {id} is banned or erased and has {sessions} sessions, {locks} locks and {places} places")
        });
        self.holds(!user.erased || requests + watches == 0, || {
            format!("user {id} is erased and has {requests} requests and {watches} watches")
        });
        if user.erased {
            let personal: Option<Personal> = self.state.row(Table::Personal, key)?;
            self.holds(personal.is_none(), || format!("user {id} is erased and has personal data"));
            return Ok(());
        }
        let personal: Personal = self.state.row_required(Table::Personal, key)?;
        self.index(Table::Personal, key, &personal)?;
        self.index(Table::UsersByEmail, email::folded(&personal.email).as_bytes(), &id)
    }

    fn check_session(&mut self, key: &[u8], session: &Session) -> Result<(), StoreError> {
        let user = self.id(Table::Sessions, key, 0)?;
        let id = SessionId(self.id(Table::Sessions, key, ID_BYTES)?);
        self.state.row_required::<User>(Table::Users, user.as_bytes())?;
        self.holds(session.created_ms <= self.state.meta().now_ms, || format!("session {id} is from the future"));
        Ok(())
    }

    fn check_idempotency(&mut self, key: &[u8], record: &IdempotencyRecord) -> Result<(), StoreError> {
        let user = self.id(Table::Idempotency, key, 0)?;
        self.counts.idempotency_records += 1;
        self.state.row_required::<User>(Table::Users, user.as_bytes())?;
        let meta = self.state.meta();
        let in_the_past = record.index <= meta.index && record.recorded_ms <= meta.now_ms;
        self.holds(in_the_past, || damaged(Table::Idempotency, key, "from the future").to_string());
        self.index(Table::IdempotencyByAge, &keys::aged(record.recorded_ms, key), &())
    }

    fn check_request(&mut self, key: &[u8], request: &Request) -> Result<(), StoreError> {
        let user = self.id(Table::Requests, key, 0)?;
        self.state.row_required::<User>(Table::Users, user.as_bytes())?;
        let in_the_past = request.created_ms <= self.state.meta().now_ms;
        self.holds(in_the_past, || damaged(Table::Requests, key, "from the future").to_string());
        self.index(Table::RequestsByEnd, &keys::aged(request.expires_ms, key), &())
    }

    /// Who has claimed the first operator's role is a user, and there is one such token at most.
    fn check_bootstrap(&mut self, key: &[u8], bootstrap: &Bootstrap) -> Result<(), StoreError> {
        let well_formed = key.is_empty() && bootstrap.token_hash.len() == TOKEN_HASH_BYTES;
        self.holds(well_formed, || damaged(Table::Bootstrap, key, "not the bootstrap token").to_string());
        match bootstrap.claimed_by {
            Some(user) => self.state.row_required::<User>(Table::Users, user.as_bytes()).map(drop),
            None => Ok(()),
        }
    }

    fn check_service_key(&mut self, key: &[u8], service_key: &ServiceKey) -> Result<(), StoreError> {
        let well_formed = service_key.public_key.len() == PUBLIC_KEY_BYTES && std::str::from_utf8(key).is_ok();
        self.holds(well_formed, || damaged(Table::ServiceKeys, key, "not a public key").to_string());
        let count = self.count(Table::ServiceKeys, &[])?;
        self.holds(count <= SERVICE_KEYS_MAX as u64, || format!("{count} keys of services"));
        Ok(())
    }

    fn check_webhook(&mut self, key: &[u8], webhook: &Webhook) -> Result<(), StoreError> {
        let id = self.id(Table::Webhooks, key, 0)?;
        let in_order = webhook.created_ms <= webhook.updated_ms && webhook.updated_ms <= self.state.meta().now_ms;
        self.holds(in_order, || format!("webhook {id} is from the future"));
        let count = self.count(Table::Webhooks, &[])?;
        self.holds(count <= WEBHOOKS_MAX as u64, || format!("{count} webhooks"));
        Ok(())
    }

    fn check_watch(&mut self, key: &[u8], _: &()) -> Result<(), StoreError> {
        let user = self.id(Table::WatchesByUser, key, 0)?;
        let ticket = TicketId(self.id(Table::WatchesByUser, key, ID_BYTES)?);
        self.state.row_required::<User>(Table::Users, user.as_bytes())?;
        self.index(Table::Watchers, &keys::pair(ticket.0, user), &())
    }

    fn check_node_key(&mut self, key: &[u8], node_key: &NodeKey) -> Result<(), StoreError> {
        let well_formed = node_key.public_key.len() == PUBLIC_KEY_BYTES && std::str::from_utf8(key).is_ok();
        self.holds(well_formed, || damaged(Table::NodeKeys, key, "not a public key").to_string());
        let count = self.count(Table::NodeKeys, &[])?;
        self.holds(count <= NODE_KEYS_MAX as u64, || format!("{count} signing keys"));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
