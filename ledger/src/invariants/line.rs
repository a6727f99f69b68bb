//! Lines for tickets: who waits stands in one line, in which one at most is offered the ticket, and that one holds it.

use super::Scan;
use crate::entities::{Holding, Place, PlaceStatus, Ticket};
use crate::id::{PlaceId, TicketId};
use crate::keys;
use crate::store::{Read, StoreError};
use crate::tables::Table;

impl<S: Read> Scan<'_, S> {
    /// Whoever is offered a ticket has the place that says so.
    pub(super) fn check_offer(&mut self, id: TicketId, ticket: &Ticket) -> Result<(), StoreError> {
        let Holding::Offered { place: place_id, user, deadline_ms } = ticket.holding else { return Ok(()) };
        let place: Place = self.state.row_required(Table::Places, place_id.as_bytes())?;
        let fits = place.ticket == id && place.user == user && place.status == PlaceStatus::Offered { deadline_ms };
        self.holds(fits && !ticket.withdrawn && !ticket.closing, || {
            format!("ticket {id} is offered to place {place_id}, which says {place:?}")
        });
        Ok(())
    }

    /// Nobody waits for what he could have.
    pub(super) fn check_line(&mut self, id: TicketId, ticket: &Ticket) -> Result<(), StoreError> {
        let waiting = self.count(Table::LineByTicket, id.as_bytes())?;
        self.holds(u64::from(ticket.waiting) == waiting, || {
            format!("ticket {id} says {} waiting, a scan {waiting}", ticket.waiting)
        });
        let held = matches!(ticket.holding, Holding::Locked { .. } | Holding::Offered { .. });
        self.holds(held || ticket.closing || waiting == 0, || format!("ticket {id} is not held and {waiting} wait"));
        if ticket.closing {
            self.counts.lines_closing += 1;
            self.index(Table::LinesClosing, id.as_bytes(), &())?;
        }
        Ok(())
    }

    pub(super) fn check_place(&mut self, key: &[u8], place: &Place) -> Result<(), StoreError> {
        let id = PlaceId(self.id(Table::Places, key, 0)?);
        self.check_versions(id.0, place.version)?;
        let ticket: Ticket = self.state.row_required(Table::Tickets, place.ticket.as_bytes())?;
        if place.status.is_live() {
            self.counts.places_live += 1;
            self.index(Table::LineByTicket, &keys::pair(place.ticket.0, id.0), &())?;
            self.index(Table::PlacesByUser, &keys::pair(place.user.0, place.ticket.0), &id)?;
        }
        let holds = matches!(ticket.holding, Holding::Offered { place, .. } if place == id);
        let offered = match place.status {
            PlaceStatus::Offered { deadline_ms } => {
                self.index(Table::Deadlines, &keys::deadline(deadline_ms, id.0), &())?;
                true
            }
            _ => false,
        };
        self.holds(offered == holds, || format!("place {id} is {:?}, its ticket {:?}", place.status, ticket.holding));
        Ok(())
    }
}
