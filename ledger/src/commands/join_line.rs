//! `JoinLine`: a buyer waits for a ticket that somebody else has. He stands behind those who came before him.
//!
//! - A second time he is answered with the place that he has.
//! - A ticket that nobody has needs no line; one that will not be sold to him has none: his own, sold, withdrawn or to be
//!   withdrawn, after the end of its sale, of a seller who is banned.
//! - Bounded for a ticket and for a user.
//!
//! Stories: "the next in line is offered the ticket", "a line is bounded and only for what somebody has".

use crate::entities::{Holding, Place, PlaceStatus, Ticket};
use crate::entry::{Caller, Decided, Entry, Stop};
use crate::id::{PlaceId, TicketId, UserId};
use crate::keys;
use crate::outcome::{Bound, Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: TicketId) -> Decided {
    let user_id = caller.user()?;
    let mut ticket = entry.ticket_seen(id)?.ok_or(Refusal::TicketNotFound { ticket: id })?;
    let stands: Option<PlaceId> = entry.state.row(Table::PlacesByUser, &keys::pair(user_id.0, id.0))?;
    if let Some(place) = stands {
        let version = entry.place_required(place)?.version;
        return Ok(Reply::Place { place, ticket: id, version });
    }
    check_waited_for(entry, user_id, id, &ticket)?;
    let mut user = entry.user_required(user_id)?;
    let policy = &entry.state.meta.policy;
    let max = policy.line_places_per_ticket_max;
    if ticket.waiting >= max {
        return Err(Refusal::TooMany { what: Bound::Line, max }.into());
    }
    let max = policy.line_places_per_user_max;
    if user.places >= max {
        return Err(Refusal::TooMany { what: Bound::Places, max }.into());
    }
    if entry.state.outbox_waiting() >= policy.outbox_events_hard_max {
        return Err(Refusal::OutboxFull.into());
    }
    let place_id = PlaceId(entry.mint());
    let joined_ms = entry.now_ms();
    let place = Place { version: 0, ticket: id, user: user_id, status: PlaceStatus::Waiting, joined_ms };
    entry.create_place(place_id, &place)?;
    user.places += 1;
    ticket.waiting += 1;
    entry.put_user(user_id, &user);
    entry.put_ticket_counters(id, &ticket)?;
    Ok(Reply::Place { place: place_id, ticket: id, version: 0 })
}

fn check_waited_for<S: Write>(entry: &mut Entry<S>, user: UserId, id: TicketId, ticket: &Ticket) -> Result<(), Stop> {
    if ticket.withdrawn || ticket.withdraw_at_release {
        return Err(Refusal::TicketWithdrawn { ticket: id }.into());
    }
    if matches!(ticket.holding, Holding::Sold { .. }) {
        return Err(Refusal::TicketSold { ticket: id }.into());
    }
    if ticket.details.sale_ends_ms.is_some_and(|ends_ms| entry.now_ms() >= ends_ms) {
        return Err(Refusal::SaleEnded { ticket: id }.into());
    }
    if !entry.user_required(ticket.seller)?.in_good_standing() {
        return Err(Refusal::SellerBanned { ticket: id }.into());
    }
    if ticket.seller == user {
        return Err(Refusal::OwnTicket { ticket: id }.into());
    }
    match ticket.holding {
        Holding::Free => return Err(Refusal::TicketAvailable { ticket: id }.into()),
        Holding::Locked { order } if entry.order_required(order)?.user == user => {
            return Err(Refusal::TicketReservedByYou { ticket: id, order }.into());
        }
        _ if ticket.closing => return Err(Refusal::LineClosed { ticket: id }.into()),
        _ => {}
    }
    Ok(())
}
