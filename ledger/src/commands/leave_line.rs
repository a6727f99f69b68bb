//! `LeaveLine`: a buyer gives his place up. Where the ticket is offered to him, the next in line has his turn at once.
//!
//! Story: "the next in line is offered the ticket".

use crate::entities::LeftReason;
use crate::entry::{Caller, Decided, Entry};
use crate::id::TicketId;
use crate::keys;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: TicketId) -> Decided {
    let user = caller.user()?;
    entry.ticket_seen(id)?.ok_or(Refusal::TicketNotFound { ticket: id })?;
    if entry.state.store.get(Table::PlacesByUser, &keys::pair(user.0, id.0))?.is_none() {
        return Err(Refusal::PlaceNotFound.into());
    }
    let place = entry.leave_line(user, id, LeftReason::User)?;
    let version = entry.place_required(place)?.version;
    Ok(Reply::Place { place, ticket: id, version })
}
