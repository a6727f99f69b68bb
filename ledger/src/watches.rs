//! Watches: who wants to be told when the price of a ticket changes. Rows beside the ticket and the user, with a counter in
//! each; no versions, no events.

use crate::entities::Ticket;
use crate::entry::Entry;
use crate::id::{ID_BYTES, TicketId, UserId};
use crate::keys;
use crate::rows::damaged;
use crate::store::{StoreError, Write};
use crate::tables::Table;

impl<S: Write> Entry<'_, S> {
    /// Ends a watch that is there.
    pub fn unwatch(&mut self, user: UserId, ticket: TicketId) -> Result<(), StoreError> {
        self.state.unmark(Table::Watchers, &keys::pair(ticket.0, user.0))?;
        self.state.unmark(Table::WatchesByUser, &keys::pair(user.0, ticket.0))?;
        let mut account = self.user_required(user)?;
        account.watches -= 1;
        self.put_user(user, &account);
        let mut row = self.ticket_required(ticket)?;
        row.watchers -= 1;
        self.put_ticket_counters(ticket, &row)
    }

    /// Ends all watches of a user.
    pub fn unwatch_all(&mut self, user: UserId) -> Result<(), StoreError> {
        let watches = self.user_required(user)?.watches;
        for key in self.state.keys(Table::WatchesByUser, user.as_bytes(), watches as usize)? {
            let ticket = keys::id_at(&key, ID_BYTES);
            self.unwatch(user, TicketId(ticket.ok_or_else(|| damaged(Table::WatchesByUser, &key, "short key"))?))?;
        }
        Ok(())
    }

    /// Writes a ticket whose counters have changed, and nothing else.
    pub fn put_ticket_counters(&mut self, id: TicketId, ticket: &Ticket) -> Result<(), StoreError> {
        self.state.put(Table::Tickets, id.as_bytes(), ticket)
    }
}
