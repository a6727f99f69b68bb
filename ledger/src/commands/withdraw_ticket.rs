//! `WithdrawTicket`: takes a ticket off sale for good, by its seller.
//!
//! Free: at once. Locked or offered: at release, unless the buyer completes his purchase first. Sold: too late.
//!
//! Story: "withdraw while locked".

use super::unchanged;
use crate::entities::Holding;
use crate::entry::{Caller, Decided, Entry};
use crate::id::TicketId;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: TicketId) -> Decided {
    let user = caller.user()?;
    let mut ticket = entry.ticket_seen(id)?.ok_or(Refusal::TicketNotFound { ticket: id })?;
    if ticket.seller != user {
        return Err(Refusal::NotOwner.into());
    }
    match ticket.holding {
        Holding::Sold { .. } => return Err(Refusal::TicketSold { ticket: id }.into()),
        _ if ticket.withdrawn || ticket.withdraw_at_release => return unchanged(),
        Holding::Locked { .. } | Holding::Offered { .. } => {
            entry.update_ticket(id, &mut ticket, None, |ticket| ticket.withdraw_at_release = true)?;
        }
        Holding::Free => entry.update_ticket(id, &mut ticket, None, |ticket| ticket.withdrawn = true)?,
    }
    Ok(Reply::Ticket { ticket: id, version: ticket.version })
}
