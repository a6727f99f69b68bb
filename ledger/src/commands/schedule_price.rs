//! `SchedulePrice`: a price that takes effect when the ticket is free, by the ticket's seller.
//!
//! - Free: at once. Locked or offered: at release; the buyer who has it pays what he saw, the next in line is asked the new price.
//! - `None` takes a scheduled price back. A sold ticket has no next price.
//!
//! Story: "scheduled price takes effect at release".

use super::unchanged;
use crate::entities::Holding;
use crate::entry::{Caller, Decided, Entry};
use crate::id::TicketId;
use crate::money::Decimal;
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::wording::price_minor;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: TicketId, price: Option<Decimal>) -> Decided {
    let user = caller.user()?;
    let mut ticket = entry.ticket_seen(id)?.ok_or(Refusal::TicketNotFound { ticket: id })?;
    if ticket.seller != user {
        return Err(Refusal::NotOwner.into());
    }
    if matches!(ticket.holding, Holding::Sold { .. }) {
        return Err(Refusal::TicketNotEditable { ticket: id }.into());
    }
    if ticket.withdrawn {
        return Err(Refusal::TicketWithdrawn { ticket: id }.into());
    }
    let price_minor = price.map(|price| price_minor(price, ticket.currency)).transpose()?;
    let free = ticket.holding == Holding::Free;
    let present = if free { Some(ticket.price_minor) } else { ticket.price_next_minor };
    match price_minor {
        _ if price_minor == present => return unchanged(),
        None if free => return unchanged(),
        Some(price_minor) if free => entry.update_ticket(id, &mut ticket, None, |t| t.set_price(price_minor))?,
        _ => entry.update_ticket(id, &mut ticket, None, |ticket| ticket.price_next_minor = price_minor)?,
    }
    Ok(Reply::Ticket { ticket: id, version: ticket.version })
}
