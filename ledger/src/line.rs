//! The fair line for a ticket that somebody has: who waits next gets it offered in the entry that ends what held it.
//!
//! Places stand in the order in which they were taken. When a lock ends without a sale, or an offer without a lock, the ticket
//! does not become free: it is kept for the first in line, for `offer_ttl_ms`, and only he may lock it. An offer is a lease like a
//! lock: over the moment ledger time reaches its deadline, reclaimed by whoever sees it and by the sweep. It begins in the entry
//! that makes it, so nobody loses time of his because a sweep came late.
//!
//! Once the ticket is sold or withdrawn, or its sale has ended, its line is closing: nobody is offered anything any more, and the
//! sweep ends the places, a bounded number in an entry. A user who asks for something finds his own ended already.
//!
//! What this deliberately does not do: look at the seller. A banned seller's ticket is refused to whoever has it offered, as it is
//! to everybody.

use crate::changes::is_listed;
use crate::entities::{Holding, LeftReason, Place, PlaceStatus, Ticket};
use crate::entry::Entry;
use crate::event::EventType;
use crate::id::{ID_BYTES, OrderId, PlaceId, TicketId, UserId};
use crate::keys;
use crate::rows::damaged;
use crate::state::State;
use crate::store::{Read, StoreError, Write};
use crate::tables::Table;

impl<S: Read> State<S> {
    /// Whether the sweep has places to end.
    pub(crate) fn line_is_closing(&self) -> bool {
        self.meta.lines_closing > 0
    }

    fn first_in_line(&self, ticket: TicketId) -> Result<PlaceId, StoreError> {
        let keys = self.keys(Table::LineByTicket, ticket.as_bytes(), 1)?;
        let key = keys.first().ok_or_else(|| damaged(Table::LineByTicket, ticket.as_bytes(), "no first place"))?;
        place_at(key)
    }
}

impl<S: Write> Entry<'_, S> {
    /// What held a ticket has ended without a sale. What was put off until then happens, and the next in line gets the ticket
    /// offered; where nobody waits it is free.
    pub fn free_ticket(&mut self, id: TicketId, ticket: &mut Ticket, about: Option<OrderId>) -> Result<(), StoreError> {
        let sale_ends_ms = ticket.details.sale_ends_ms.unwrap_or(u64::MAX);
        let offered = ticket.waiting > 0 && !ticket.closing && !ticket.withdraw_at_release;
        if !offered || sale_ends_ms <= self.now_ms() {
            self.update_ticket(id, ticket, about, |ticket| release(ticket, Holding::Free))?;
            return self.close_line(id, ticket);
        }
        let place_id = self.state.first_in_line(id)?;
        let mut place = self.place_required(place_id)?;
        let deadline_ms = sale_ends_ms.min(self.now_ms() + self.state.meta.policy.offer_ttl_ms);
        let holding = Holding::Offered { place: place_id, user: place.user, deadline_ms };
        self.update_ticket(id, ticket, about, |ticket| release(ticket, holding))?;
        self.update_place(place_id, &mut place, EventType::LineOffered, PlaceStatus::Offered { deadline_ms })
    }

    /// The ticket's offer is over, and the next in line has his turn.
    pub fn end_offer(
        &mut self,
        id: TicketId,
        ticket: &mut Ticket,
        place: PlaceId,
        status: PlaceStatus,
    ) -> Result<(), StoreError> {
        self.end_place(place, ticket, status)?;
        self.free_ticket(id, ticket, None)
    }

    /// Ends the offer of this place, whose deadline ledger time has reached.
    pub fn pass_on(&mut self, place: PlaceId) -> Result<(), StoreError> {
        let id = self.place_required(place)?.ticket;
        let mut ticket = self.ticket_required(id)?;
        self.end_offer(id, &mut ticket, place, PlaceStatus::Passed)
    }

    /// Ends a place. Counts it in `ticket`, which the caller writes.
    pub fn end_place(&mut self, id: PlaceId, ticket: &mut Ticket, status: PlaceStatus) -> Result<(), StoreError> {
        assert!(!status.is_live(), "a place ends in a status that is not live");
        let event_type = match status {
            PlaceStatus::Taken { .. } => EventType::LineTaken,
            PlaceStatus::Passed => EventType::LinePassed,
            _ => EventType::LineLeft,
        };
        let mut place = self.place_required(id)?;
        self.update_place(id, &mut place, event_type, status)?;
        ticket.waiting -= 1;
        let mut user = self.user_required(place.user)?;
        user.places -= 1;
        self.put_user(place.user, &user);
        Ok(())
    }

    /// Ends a user's place in the line for a ticket; where the ticket is offered to him, the next one has his turn.
    pub fn leave_line(&mut self, user: UserId, id: TicketId, reason: LeftReason) -> Result<PlaceId, StoreError> {
        let place: PlaceId = self.state.row_required(Table::PlacesByUser, &keys::pair(user.0, id.0))?;
        let mut ticket = self.ticket_required(id)?;
        if matches!(ticket.holding, Holding::Offered { place: offered, .. } if offered == place) {
            self.end_offer(id, &mut ticket, place, PlaceStatus::Left(reason))?;
        } else {
            self.end_place(place, &mut ticket, PlaceStatus::Left(reason))?;
            self.put_ticket_counters(id, &ticket)?;
        }
        Ok(place)
    }

    /// Ends all places of a user. Due locks and offers that he can see are reclaimed by then.
    pub fn leave_lines(&mut self, user: UserId, reason: LeftReason) -> Result<(), StoreError> {
        for ticket in self.lines_of(user)? {
            self.leave_line(user, ticket, reason)?;
        }
        Ok(())
    }

    /// The tickets in whose lines the user stands: his counter bounds them.
    pub fn lines_of(&mut self, user: UserId) -> Result<Vec<TicketId>, StoreError> {
        let places = self.user(user)?.map_or(0, |user| user.places);
        if places == 0 {
            return Ok(Vec::new());
        }
        let keys = self.state.keys(Table::PlacesByUser, user.as_bytes(), places as usize)?;
        let tickets = keys.iter().map(|key| {
            let ticket = keys::id_at(key, ID_BYTES);
            ticket.map(TicketId).ok_or_else(|| damaged(Table::PlacesByUser, key, "short key"))
        });
        tickets.collect()
    }

    /// What a user sees of his places: due offers are passed on, and where the line is closing his place is ended.
    pub fn reclaim_places(&mut self, user: UserId) -> Result<(), StoreError> {
        for id in self.lines_of(user)? {
            let closing = self.ticket_seen(id)?.is_some_and(|ticket| ticket.closing);
            let stands = || self.state.store.get(Table::PlacesByUser, &keys::pair(user.0, id.0));
            if closing && stands()?.is_some() {
                self.leave_line(user, id, LeftReason::Closed)?;
            }
        }
        Ok(())
    }

    /// Nobody will be offered the ticket any more: the sweep ends the places that are left.
    pub fn close_line(&mut self, id: TicketId, ticket: &mut Ticket) -> Result<(), StoreError> {
        if ticket.waiting == 0 || ticket.closing {
            return Ok(());
        }
        ticket.closing = true;
        self.state.mark(Table::LinesClosing, id.as_bytes())?;
        self.meta().lines_closing += 1;
        self.put_ticket_counters(id, ticket)
    }

    /// Ends places in lines that are closing, at most `max`.
    pub fn sweep_lines(&mut self, max: usize) -> Result<(), StoreError> {
        let mut left = max;
        while left > 0 && self.state.line_is_closing() {
            let keys = self.state.keys(Table::LinesClosing, &[], 1)?;
            let id = keys.first().and_then(|key| keys::id_at(key, 0));
            let id = TicketId(id.ok_or_else(|| damaged(Table::LinesClosing, &[], "no line is closing"))?);
            let mut ticket = self.ticket_required(id)?;
            let places = self.state.keys(Table::LineByTicket, id.as_bytes(), left)?;
            for key in &places {
                self.end_place(place_at(key)?, &mut ticket, PlaceStatus::Left(LeftReason::Closed))?;
            }
            // A line that was emptied by others counts, too, so that the loop is bounded.
            left = left.saturating_sub(places.len().max(1));
            if ticket.waiting == 0 {
                ticket.closing = false;
                self.state.unmark(Table::LinesClosing, id.as_bytes())?;
                self.meta().lines_closing -= 1;
            }
            self.put_ticket_counters(id, &ticket)?;
        }
        Ok(())
    }

    /// Ends the line of a ticket that has just been sold or withdrawn.
    pub fn close_line_if_gone(&mut self, id: TicketId, ticket: &mut Ticket) -> Result<(), StoreError> {
        if is_listed(ticket) { Ok(()) } else { self.close_line(id, ticket) }
    }

    pub fn place_required(&self, id: PlaceId) -> Result<Place, StoreError> {
        self.state.row_required(Table::Places, id.as_bytes())
    }
}

/// What a ticket becomes when its hold ends without a sale; what was put off until then happens.
fn release(ticket: &mut Ticket, holding: Holding) {
    ticket.holding = holding;
    if let Some(price_minor) = ticket.price_next_minor.take() {
        ticket.set_price(price_minor);
    }
    ticket.withdrawn |= std::mem::take(&mut ticket.withdraw_at_release);
}

fn place_at(key: &[u8]) -> Result<PlaceId, StoreError> {
    keys::id_at(key, ID_BYTES).map(PlaceId).ok_or_else(|| damaged(Table::LineByTicket, key, "short key"))
}
