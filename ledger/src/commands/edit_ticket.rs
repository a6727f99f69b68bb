//! `EditTicket`: another title, price or description, by the ticket's seller.
//!
//! - A locked or sold ticket cannot be edited: the buyer gets what he saw. The original says so before it says who owns it.
//! - The currency stays. `version`: refused unless the ticket has it.
//! - Every edit is a change, also one that says the same again: clients count on the version.
//!
//! Stories: "price raised between page and purchase", "edit while locked is refused".

use crate::entities::{Holding, TicketDetails};
use crate::entry::{Caller, Decided, Entry};
use crate::id::TicketId;
use crate::money::Decimal;
use crate::outcome::{Refusal, Reply};
use crate::planted::{Bug, at_work};
use crate::store::Write;
use crate::wording::{check_details, check_title, price_minor};

/// What is to be written.
pub(super) struct Edit<'a> {
    pub title: &'a str,
    pub price: Decimal,
    pub version: Option<u64>,
    pub details: Option<&'a TicketDetails>,
}

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: TicketId, edit: &Edit) -> Decided {
    let user = caller.user()?;
    let mut ticket = entry.ticket_seen(id)?.ok_or(Refusal::TicketNotFound { ticket: id })?;
    if ticket.holding != Holding::Free && !at_work(Bug::PriceNotFrozen) {
        return Err(Refusal::TicketNotEditable { ticket: id }.into());
    }
    if ticket.seller != user {
        return Err(Refusal::NotOwner.into());
    }
    if ticket.withdrawn {
        return Err(Refusal::TicketWithdrawn { ticket: id }.into());
    }
    if edit.version.is_some_and(|version| version != ticket.version) {
        return Err(Refusal::VersionMismatch { version: ticket.version }.into());
    }
    check_title(edit.title)?;
    let price_minor = price_minor(edit.price, ticket.currency)?;
    if let Some(details) = edit.details {
        check_details(details)?;
    }
    entry.update_listing(id, &mut ticket, |ticket| {
        ticket.title = edit.title.to_string();
        ticket.set_price(price_minor);
        if let Some(details) = edit.details {
            ticket.details = details.clone();
        }
    })?;
    Ok(Reply::Ticket { ticket: id, version: ticket.version })
}
