//! `PlaceOrder`: locks tickets of one currency for a buyer, all or none.
//!
//! - A ticket can be locked while it is free or offered to the buyer, on sale, its seller in good standing and somebody else.
//! - What the buyer saw must still be the price; the refusal names the new one. The lock freezes it.
//! - Policy bounds the tickets of an order and the live locks of a user, holds back who let several locks run out, and takes
//!   on no new lock while the outbox is full.
//!
//! Stories: "two buyers one ticket", "price raised between page and purchase", "multi ticket order all or none",
//! "seller cannot buy own ticket", "cool down after expiries", "the next in line is offered the ticket".

use crate::command::{Seen, Wanted};
use crate::entities::{Fence, Holding, Order, OrderLine, OrderStatus, PlaceStatus, Ticket};
use crate::entry::{Caller, Decided, Entry, Stop};
use crate::id::{OrderId, TicketId, UserId};
use crate::limits::ORDER_TICKETS_MAX;
use crate::outcome::{Field, Refusal, Reply};
use crate::planted::{Bug, at_work};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, wanted: &[Wanted]) -> Decided {
    let user = caller.user()?;
    check_list(wanted)?;
    let mut tickets = Vec::with_capacity(wanted.len());
    let mut seller_checked = None;
    for wanted in wanted {
        let id = wanted.ticket;
        let ticket = entry.ticket_seen(id)?.ok_or(Refusal::TicketNotFound { ticket: id })?;
        check_lockable(entry, user, id, &ticket, &mut seller_checked)?;
        check_seen(wanted, &ticket)?;
        tickets.push((id, ticket));
    }
    if tickets.iter().any(|(_, ticket)| ticket.currency != tickets[0].1.currency) {
        return Err(Refusal::CurrenciesDiffer.into());
    }
    check_limits(entry, user, tickets.len() as u32)?;
    lock(entry, user, tickets)
}

fn check_list(wanted: &[Wanted]) -> Result<(), Refusal> {
    if wanted.len() > ORDER_TICKETS_MAX {
        return Err(Refusal::TooManyTickets { max: ORDER_TICKETS_MAX as u32 });
    }
    let twice = |(at, one): (usize, &Wanted)| wanted[..at].iter().any(|other| other.ticket == one.ticket);
    if wanted.is_empty() || wanted.iter().enumerate().any(twice) {
        return Err(Refusal::Invalid { field: Field::Tickets });
    }
    Ok(())
}

/// `seller_checked`: the seller last found in good standing, since an order's tickets often have one.
fn check_lockable<S: Write>(
    entry: &mut Entry<S>,
    user: UserId,
    id: TicketId,
    ticket: &Ticket,
    seller_checked: &mut Option<UserId>,
) -> Result<(), Stop> {
    if ticket.withdrawn {
        return Err(Refusal::TicketWithdrawn { ticket: id }.into());
    }
    match ticket.holding {
        Holding::Free => {}
        Holding::Offered { user: next, .. } if next == user => {}
        Holding::Offered { deadline_ms, .. } => return Err(Refusal::TicketReserved { ticket: id, deadline_ms }.into()),
        Holding::Sold { .. } => return Err(Refusal::TicketSold { ticket: id }.into()),
        Holding::Locked { .. } if at_work(Bug::CheckApartFromLock) => {}
        Holding::Locked { order } => return Err(reserved(entry, user, id, order)?.into()),
    }
    if ticket.details.sale_ends_ms.is_some_and(|ends_ms| entry.now_ms() >= ends_ms) {
        return Err(Refusal::SaleEnded { ticket: id }.into());
    }
    if *seller_checked != Some(ticket.seller) {
        if !entry.user_required(ticket.seller)?.in_good_standing() {
            return Err(Refusal::SellerBanned { ticket: id }.into());
        }
        *seller_checked = Some(ticket.seller);
    }
    if ticket.seller == user {
        return Err(Refusal::OwnTicket { ticket: id }.into());
    }
    Ok(())
}

fn reserved<S: Write>(entry: &Entry<S>, user: UserId, ticket: TicketId, id: OrderId) -> Result<Refusal, Stop> {
    let order = entry.order_required(id)?;
    Ok(match order.user == user {
        true => Refusal::TicketReservedByYou { ticket, order: id },
        false => Refusal::TicketReserved { ticket, deadline_ms: order.deadline_ms },
    })
}

/// What the buyer saw must not have changed to his disadvantage, or at all, as he asked.
fn check_seen(wanted: &Wanted, ticket: &Ticket) -> Result<(), Refusal> {
    let in_minor = |price: crate::money::Decimal| {
        price.to_minor(ticket.currency).map_err(|_| Refusal::Invalid { field: Field::Price })
    };
    let (seen_minor, holds) = match wanted.seen {
        Seen::Nothing => (None, true),
        Seen::Price(price) => {
            let seen_minor = in_minor(price)?;
            (Some(seen_minor), ticket.price_minor == seen_minor)
        }
        Seen::PriceMax(price) => {
            let seen_minor = in_minor(price)?;
            (Some(seen_minor), ticket.price_minor <= seen_minor)
        }
        Seen::Version(version) => (None, ticket.price_version <= version),
    };
    if holds {
        return Ok(());
    }
    Err(Refusal::PriceChanged {
        ticket: wanted.ticket,
        seen_minor,
        price_minor: ticket.price_minor,
        currency: ticket.currency,
        version: ticket.version,
    })
}

fn check_limits<S: Write>(entry: &mut Entry<S>, user: UserId, tickets: u32) -> Result<(), Stop> {
    let user = entry.user_required(user)?;
    let policy = &entry.state.meta.policy;
    if user.locks_live + tickets > policy.locks_per_user_max {
        return Err(Refusal::TooManyLocks { max: policy.locks_per_user_max }.into());
    }
    if tickets > policy.tickets_per_order_max {
        return Err(Refusal::TooManyTickets { max: policy.tickets_per_order_max }.into());
    }
    if entry.now_ms() < user.cooldown_until_ms {
        return Err(Refusal::CoolingDown { until_ms: user.cooldown_until_ms }.into());
    }
    if entry.state.outbox_waiting() >= policy.outbox_events_hard_max {
        return Err(Refusal::OutboxFull.into());
    }
    Ok(())
}

fn lock<S: Write>(entry: &mut Entry<S>, user: UserId, tickets: Vec<(TicketId, Ticket)>) -> Decided {
    let fence = Fence { index: entry.state.meta.index, ordinal: entry.next_ordinal() };
    let id = OrderId(entry.mint());
    let currency = tickets[0].1.currency;
    let lines = tickets.iter().map(|(ticket, row)| OrderLine {
        ticket: *ticket,
        title: row.title.clone(),
        price_minor: row.price_minor,
        ticket_version: row.version + 1,
    });
    let order = Order {
        version: 0,
        user,
        status: OrderStatus::Created,
        lines: lines.collect(),
        currency,
        deadline_ms: entry.now_ms() + entry.state.meta.policy.lock_ttl_ms,
        fence,
        created_ms: entry.now_ms(),
        extensions: 0,
        grace_given: false,
        payments: Vec::new(),
    };
    entry.create_order(id, &order)?;
    for (ticket, mut row) in tickets {
        if let Holding::Offered { place, .. } = row.holding {
            entry.end_place(place, &mut row, PlaceStatus::Taken { order: id })?;
        }
        row.count_lock(entry.state.meta.version);
        entry.update_ticket(ticket, &mut row, Some(id), |row| row.holding = Holding::Locked { order: id })?;
    }
    let mut buyer = entry.user_required(user)?;
    buyer.locks_live += order.lines.len() as u32;
    entry.put_user(user, &buyer);
    Ok(Reply::Order { order: id, version: 0 })
}
