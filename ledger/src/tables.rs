//! The tables of the state: what is kept, under which key.
//!
//! Numbers are part of the stored format: never reuse one. Keys are fixed-width big-endian parts, so that byte order is the
//! order that pages and sweeps need.

use serde::{Deserialize, Serialize};

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $number:literal),+ $(,)?) => {
        /// One ordered table of rows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Table {
            $($(#[$doc])* $name = $number),+
        }

        impl Table {
            /// All tables, in the order of their numbers.
            pub const ALL: &'static [Table] = &[$(Table::$name),+];

            pub fn from_number(number: u8) -> Option<Table> {
                Table::ALL.iter().copied().find(|table| *table as u8 == number)
            }
        }
    };
}

tables! {
    /// `()` → [`Meta`](crate::state::Meta): ledger time, counters, policy, next event number. One row.
    Meta = 1,
    /// user → [`User`](crate::entities::User).
    Users = 2,
    /// user → [`Personal`](crate::entities::Personal): all personal data, so that erasing it is one place.
    Personal = 3,
    /// folded email → user. Erased with `Personal`.
    UsersByEmail = 4,
    /// user, session → [`Session`](crate::entities::Session).
    Sessions = 5,
    /// ticket → [`Ticket`](crate::entities::Ticket).
    Tickets = 6,
    /// ticket → `()`, for tickets that can be bought now: neither locked, sold nor withdrawn.
    TicketsAvailable = 7,
    /// seller, ticket → `()`.
    TicketsBySeller = 8,
    /// seller, external id → ticket: what makes an import repeatable.
    TicketsByExternalId = 9,
    /// word, 0, ticket → `()`, for tickets that are not sold or withdrawn: search by word prefixes.
    TicketsByWord = 10,
    /// order → [`Order`](crate::entities::Order).
    Orders = 11,
    /// user, order → `()`.
    OrdersByUser = 12,
    /// deadline, order or place → `()`, for live locks and offers, in the order in which they run out.
    Deadlines = 13,
    /// payment → [`Payment`](crate::entities::Payment).
    Payments = 14,
    /// payment → `()`, while the payments service has something to do for it.
    PaymentsOpen = 15,
    /// user, key → [`IdempotencyRecord`](crate::entities::IdempotencyRecord).
    Idempotency = 16,
    /// recorded time, user, key → `()`: records in the order in which they are dropped.
    IdempotencyByAge = 17,
    /// entity, version → [`Change`](crate::entities::Change): why an entity is as it is.
    History = 18,
    /// event number → [`Event`](crate::event::Event).
    Outbox = 19,
    /// key id → [`NodeKey`](crate::entities::NodeKey): public halves of the nodes' signing keys.
    NodeKeys = 20,
    /// user, order → `()`, for live locks: what a command reclaims, or a ban releases, without a search.
    LocksByUser = 21,
    /// user, request → [`Request`](crate::entities::Request): mails that were asked for.
    Requests = 22,
    /// end, user, request → `()`: requests in the order in which they run out.
    RequestsByEnd = 23,
    /// `()` → [`Bootstrap`](crate::entities::Bootstrap). At most one row.
    Bootstrap = 24,
    /// key id → [`ServiceKey`](crate::entities::ServiceKey).
    ServiceKeys = 25,
    /// webhook → [`Webhook`](crate::entities::Webhook).
    Webhooks = 26,
    /// ticket, user → `()`: who wants to be told when the price changes.
    Watchers = 27,
    /// user, ticket → `()`.
    WatchesByUser = 28,
    /// place → [`Place`](crate::entities::Place): places in lines for tickets, also those that have ended.
    Places = 29,
    /// ticket, place → `()`, for live places: the line.
    LineByTicket = 30,
    /// user, ticket → place, for live places.
    PlacesByUser = 31,
    /// ticket → `()`, while the places in its line are being ended.
    LinesClosing = 32,
    /// number → [`AuditRow`](crate::entities::AuditRow): what operators did.
    Audit = 33,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_tables() {
        assert!(Table::ALL.iter().all(|table| Table::from_number(*table as u8) == Some(*table)));
        assert_eq!(Table::from_number(0), None);
    }
}
