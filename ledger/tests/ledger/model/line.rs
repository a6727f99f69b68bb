//! Who waits for what: places in the order in which they were taken, and tickets that are offered to the first.

use holdfast_ledger::entities::{Holding, LeftReason, PlaceStatus};
use holdfast_ledger::id::{PlaceId, TicketId, UserId};
use holdfast_ledger::outcome::{Bound, Refusal, Reply, Settled};

use super::{Model, Place};

impl Model {
    fn line(&self, ticket: TicketId) -> Vec<PlaceId> {
        let waits = |place: &Place| place.ticket == ticket && place.status.is_live();
        self.places.iter().filter(|(_, place)| waits(place)).map(|(id, _)| *id).collect()
    }

    fn places_of(&self, user: UserId) -> Vec<PlaceId> {
        let his = |place: &Place| place.user == user && place.status.is_live();
        self.places.iter().filter(|(_, place)| his(place)).map(|(id, _)| *id).collect()
    }

    fn stands(&self, user: UserId, ticket: TicketId) -> Option<PlaceId> {
        self.places_of(user).into_iter().find(|id| self.places[id].ticket == ticket)
    }

    /// Those who come before a user in the line for a ticket.
    pub fn ahead(&self, user: UserId, ticket: TicketId) -> Option<usize> {
        self.line(ticket).iter().position(|id| self.places[id].user == user)
    }

    pub(super) fn place_is(&mut self, id: PlaceId, status: PlaceStatus) {
        let place = self.places.get_mut(&id).expect("a place");
        place.version += 1;
        place.status = status;
    }

    /// What held a ticket has ended without a sale.
    pub(super) fn free(&mut self, id: TicketId) {
        let deadline_ms = self.now_ms + self.policy.offer_ttl_ms;
        let first = self.line(id).first().map(|place| (*place, self.places[place].user));
        let now_ms = self.now_ms;
        let ticket = self.tickets.get_mut(&id).expect("a ticket");
        ticket.version += 1;
        if let Some(price_minor) = ticket.price_next_minor {
            ticket.reprice(price_minor);
        }
        ticket.withdrawn = std::mem::take(&mut ticket.withdraw_at_release);
        ticket.holding = Holding::Free;
        let ends_ms = ticket.sale_ends_ms.unwrap_or(u64::MAX);
        match first {
            Some((place, user)) if !ticket.withdrawn && now_ms < ends_ms => {
                let deadline_ms = deadline_ms.min(ends_ms);
                ticket.holding = Holding::Offered { place, user, deadline_ms };
                self.place_is(place, PlaceStatus::Offered { deadline_ms });
            }
            _ => self.close_line(id),
        }
    }

    pub(super) fn close_line(&mut self, ticket: TicketId) {
        for place in self.line(ticket) {
            self.place_is(place, PlaceStatus::Left(LeftReason::Closed));
        }
    }

    pub(super) fn end_due_offers(&mut self) {
        let due = |place: &Place| match place.status {
            PlaceStatus::Offered { deadline_ms } => deadline_ms <= self.now_ms,
            _ => false,
        };
        let due: Vec<PlaceId> = self.places.iter().filter(|(_, place)| due(place)).map(|(id, _)| *id).collect();
        for id in due {
            self.give_up(id, PlaceStatus::Passed);
        }
    }

    /// Ends a place; the next one has his turn where it was this one's.
    fn give_up(&mut self, id: PlaceId, status: PlaceStatus) {
        let offered = matches!(self.places[&id].status, PlaceStatus::Offered { .. });
        self.place_is(id, status);
        if offered {
            self.free(self.places[&id].ticket);
        }
    }

    pub(super) fn leave_lines(&mut self, user: UserId, reason: LeftReason) {
        for id in self.places_of(user) {
            self.give_up(id, PlaceStatus::Left(reason));
        }
    }

    pub(super) fn join_line(&mut self, user: UserId, id: TicketId) -> Settled {
        let ticket = self.tickets.get(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if let Some(place) = self.stands(user, id) {
            return Ok(Reply::Place { place, ticket: id, version: self.places[&place].version });
        }
        match ticket.holding {
            _ if ticket.withdrawn || ticket.withdraw_at_release => return Err(Refusal::TicketWithdrawn { ticket: id }),
            Holding::Sold { .. } => return Err(Refusal::TicketSold { ticket: id }),
            _ => (),
        }
        if ticket.sale_ends_ms.is_some_and(|ends_ms| ends_ms <= self.now_ms) {
            return Err(Refusal::SaleEnded { ticket: id });
        }
        if !self.users[&ticket.seller].in_good_standing() {
            return Err(Refusal::SellerBanned { ticket: id });
        }
        match ticket.holding {
            _ if ticket.seller == user => return Err(Refusal::OwnTicket { ticket: id }),
            Holding::Free => return Err(Refusal::TicketAvailable { ticket: id }),
            Holding::Locked { order } if self.orders[&order].user == user => {
                return Err(Refusal::TicketReservedByYou { ticket: id, order });
            }
            _ => (),
        }
        for (what, places, max) in [
            (Bound::Line, self.line(id), self.policy.line_places_per_ticket_max),
            (Bound::Places, self.places_of(user), self.policy.line_places_per_user_max),
        ] {
            if places.len() >= max as usize {
                return Err(Refusal::TooMany { what, max });
            }
        }
        let Some(Reply::Place { place, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(self.places.keys().all(|other| *other < place), "a new place is the last");
        self.places.insert(place, Place { version: 0, ticket: id, user, status: PlaceStatus::Waiting });
        Ok(Reply::Place { place, ticket: id, version: 0 })
    }

    pub(super) fn leave_line(&mut self, user: UserId, id: TicketId) -> Settled {
        if !self.tickets.contains_key(&id) {
            return Err(Refusal::TicketNotFound { ticket: id });
        }
        let place = self.stands(user, id).ok_or(Refusal::PlaceNotFound)?;
        self.give_up(place, PlaceStatus::Left(LeftReason::User));
        Ok(Reply::Place { place, ticket: id, version: self.places[&place].version })
    }

    pub fn watches(&self, user: UserId, ticket: TicketId) -> bool {
        self.watches.contains(&(user, ticket))
    }

    pub(super) fn watch(&mut self, user: UserId, id: TicketId) -> Settled {
        let ticket = self.tickets.get(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if self.watches(user, id) {
            return Ok(Reply::Unchanged);
        }
        match ticket.holding {
            _ if ticket.withdrawn => return Err(Refusal::TicketWithdrawn { ticket: id }),
            Holding::Sold { .. } => return Err(Refusal::TicketSold { ticket: id }),
            _ if ticket.seller == user => return Err(Refusal::OwnTicket { ticket: id }),
            _ => self.watches.insert((user, id)),
        };
        Ok(Reply::Done)
    }

    pub(super) fn unwatch(&mut self, user: UserId, ticket: TicketId) -> Settled {
        Ok(if self.watches.remove(&(user, ticket)) { Reply::Done } else { Reply::Unchanged })
    }
}
