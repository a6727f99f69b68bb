//! `CreateTicket` and `CreateTickets`: tickets for sale, by a seller.
//!
//! - Title, price and currency are required; the price is above 0 and has no more decimals than the currency.
//! - A second creation under the seller's own id answers with the first ticket, so an import may be repeated.
//! - Of several, each has its own outcome.
//!
//! Story: "import twice is import once".

use crate::command::NewTicket;
use crate::entities::{Holding, Ticket};
use crate::entry::{Caller, Decided, Entry, Stop, settle};
use crate::id::{TicketId, UserId};
use crate::keys;
use crate::limits::{BULK_TICKETS_MAX, EXTERNAL_ID_BYTES_MAX};
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;
use crate::wording::{check_details, check_title, price_minor};

/// One ticket: answers with it and its version.
pub(super) fn run_one<S: Write>(entry: &mut Entry<S>, caller: &Caller, new: &NewTicket) -> Decided {
    let seller = caller.seller()?;
    let (ticket, created) = create(entry, seller, new)?;
    let version = match created {
        true => 0,
        false => entry.ticket_seen(ticket)?.ok_or(Refusal::TicketNotFound { ticket })?.version,
    };
    Ok(Reply::Ticket { ticket, version })
}

/// Several tickets, each with its own outcome.
pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, new: &[NewTicket]) -> Decided {
    let seller = caller.seller()?;
    if new.is_empty() {
        return Err(Refusal::Invalid { field: Field::Tickets }.into());
    }
    if new.len() > BULK_TICKETS_MAX {
        return Err(Refusal::TooManyTickets { max: BULK_TICKETS_MAX as u32 }.into());
    }
    let mut outcomes = Vec::with_capacity(new.len());
    for new in new {
        outcomes.push(settle(create(entry, seller, new))?);
    }
    Ok(Reply::Tickets(outcomes))
}

/// The ticket, and whether it is new.
fn create<S: Write>(entry: &mut Entry<S>, seller: UserId, new: &NewTicket) -> Result<(TicketId, bool), Stop> {
    check_title(&new.title)?;
    let price_minor = price_minor(new.price, new.currency)?;
    check_details(&new.details)?;
    if let Some(external_id) = &new.external_id {
        if external_id.is_empty() || external_id.len() > EXTERNAL_ID_BYTES_MAX {
            return Err(Refusal::Invalid { field: Field::ExternalId }.into());
        }
        if let Some(id) = entry.state.row(Table::TicketsByExternalId, &keys::text(seller.0, external_id))? {
            return Ok((id, false));
        }
    }
    let id = TicketId(entry.mint());
    let ticket = Ticket {
        version: 0,
        seller,
        title: new.title.clone(),
        price_minor,
        currency: new.currency,
        price_version: 0,
        price_next_minor: None,
        holding: Holding::Free,
        withdrawn: false,
        withdraw_at_release: false,
        external_id: new.external_id.clone(),
        details: new.details.clone(),
        created_ms: entry.now_ms(),
        waiting: 0,
        watchers: 0,
        closing: false,
        #[cfg(feature = "next-version")]
        next: Default::default(),
    };
    entry.create_ticket(id, &ticket)?;
    Ok((id, true))
}
