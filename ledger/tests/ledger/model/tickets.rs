//! Tickets: what sellers do.

use holdfast_ledger::command::NewTicket;
use holdfast_ledger::entities::Holding;
use holdfast_ledger::id::{TicketId, UserId};
use holdfast_ledger::money::Decimal;
use holdfast_ledger::outcome::{Refusal, Reply, Settled};

use super::{Model, Ticket, minor};

impl Model {
    pub(super) fn create_ticket(&mut self, seller: UserId, new: &NewTicket) -> Settled {
        let price_minor = minor(new.price, new.currency)?;
        let same = |ticket: &Ticket| ticket.seller == seller && ticket.external_id == new.external_id;
        if new.external_id.is_some()
            && let Some((id, ticket)) = self.tickets.iter().find(|(_, ticket)| same(ticket))
        {
            return Ok(Reply::Ticket { ticket: *id, version: ticket.version });
        }
        let Some(Reply::Ticket { ticket: id, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(!self.tickets.contains_key(&id), "a new ticket has a new id");
        let ticket = Ticket {
            version: 0,
            seller,
            price_minor,
            price_version: 0,
            price_next_minor: None,
            currency: new.currency,
            holding: Holding::Free,
            withdrawn: false,
            withdraw_at_release: false,
            sale_ends_ms: new.details.sale_ends_ms,
            external_id: new.external_id.clone(),
        };
        self.tickets.insert(id, ticket);
        Ok(Reply::Ticket { ticket: id, version: 0 })
    }

    pub(super) fn edit_ticket(&mut self, by: UserId, id: TicketId, price: Decimal, version: Option<u64>) -> Settled {
        let ticket = self.tickets.get_mut(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if ticket.holding != Holding::Free {
            return Err(Refusal::TicketNotEditable { ticket: id });
        }
        if ticket.seller != by {
            return Err(Refusal::NotOwner);
        }
        if ticket.withdrawn {
            return Err(Refusal::TicketWithdrawn { ticket: id });
        }
        if version.is_some_and(|version| version != ticket.version) {
            return Err(Refusal::VersionMismatch { version: ticket.version });
        }
        let price_minor = minor(price, ticket.currency)?;
        ticket.version += 1;
        ticket.reprice(price_minor);
        Ok(Reply::Ticket { ticket: id, version: ticket.version })
    }

    pub(super) fn schedule_price(&mut self, by: UserId, id: TicketId, price: Option<Decimal>) -> Settled {
        let ticket = self.tickets.get_mut(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if ticket.seller != by {
            return Err(Refusal::NotOwner);
        }
        if matches!(ticket.holding, Holding::Sold { .. }) {
            return Err(Refusal::TicketNotEditable { ticket: id });
        }
        if ticket.withdrawn {
            return Err(Refusal::TicketWithdrawn { ticket: id });
        }
        let price_minor = price.map(|price| minor(price, ticket.currency)).transpose()?;
        match (ticket.holding, price_minor) {
            (Holding::Free, Some(price_minor)) if price_minor != ticket.price_minor => {
                ticket.version += 1;
                ticket.reprice(price_minor);
            }
            (Holding::Locked { .. } | Holding::Offered { .. }, next) if next != ticket.price_next_minor => {
                ticket.version += 1;
                ticket.price_next_minor = next;
            }
            _ => return Ok(Reply::Unchanged),
        }
        Ok(Reply::Ticket { ticket: id, version: ticket.version })
    }

    pub(super) fn withdraw_ticket(&mut self, by: UserId, id: TicketId) -> Settled {
        let ticket = self.tickets.get_mut(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if ticket.seller != by {
            return Err(Refusal::NotOwner);
        }
        if matches!(ticket.holding, Holding::Sold { .. }) {
            return Err(Refusal::TicketSold { ticket: id });
        }
        if ticket.withdrawn || ticket.withdraw_at_release {
            return Ok(Reply::Unchanged);
        }
        ticket.version += 1;
        match ticket.holding {
            Holding::Free => ticket.withdrawn = true,
            _ => ticket.withdraw_at_release = true,
        }
        Ok(Reply::Ticket { ticket: id, version: ticket.version })
    }
}

impl Ticket {
    /// `version` is the new one already.
    pub(super) fn reprice(&mut self, price_minor: u64) {
        if price_minor != self.price_minor {
            self.price_minor = price_minor;
            self.price_version = self.version;
        }
        self.price_next_minor = None;
    }
}
