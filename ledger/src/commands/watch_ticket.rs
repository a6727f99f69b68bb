//! `WatchTicket`: a user wants to be told when the price changes. Watching twice changes nothing.
//!
//! A ticket that is sold or withdrawn has no price to change, and a seller knows his own. Bounded for a ticket and for a user.
//!
//! Story: "a ticket is watched for its price".

use super::unchanged;
use crate::entities::Holding;
use crate::entry::{Caller, Decided, Entry};
use crate::id::TicketId;
use crate::keys;
use crate::outcome::{Bound, Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: TicketId) -> Decided {
    let user_id = caller.user()?;
    let mut ticket = entry.ticket_seen(id)?.ok_or(Refusal::TicketNotFound { ticket: id })?;
    if entry.state.store.get(Table::WatchesByUser, &keys::pair(user_id.0, id.0))?.is_some() {
        return unchanged();
    }
    if ticket.withdrawn {
        return Err(Refusal::TicketWithdrawn { ticket: id }.into());
    }
    if matches!(ticket.holding, Holding::Sold { .. }) {
        return Err(Refusal::TicketSold { ticket: id }.into());
    }
    if ticket.seller == user_id {
        return Err(Refusal::OwnTicket { ticket: id }.into());
    }
    let mut user = entry.user_required(user_id)?;
    let policy = &entry.state.meta.policy;
    let max = policy.watchers_per_ticket_max;
    if ticket.watchers >= max {
        return Err(Refusal::TooMany { what: Bound::Watchers, max }.into());
    }
    let max = policy.watches_per_user_max;
    if user.watches >= max {
        return Err(Refusal::TooMany { what: Bound::Watches, max }.into());
    }
    entry.state.mark(Table::Watchers, &keys::pair(id.0, user_id.0))?;
    entry.state.mark(Table::WatchesByUser, &keys::pair(user_id.0, id.0))?;
    user.watches += 1;
    ticket.watchers += 1;
    entry.put_user(user_id, &user);
    entry.put_ticket_counters(id, &ticket)?;
    Ok(Reply::Done)
}
