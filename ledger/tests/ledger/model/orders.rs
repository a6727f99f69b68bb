//! Orders: locks, their ends, and what buyers do.

use holdfast_ledger::command::{Seen, Wanted};
use holdfast_ledger::entities::{CancelReason, Holding, OrderStatus, PlaceStatus};
use holdfast_ledger::id::{OrderId, TicketId, UserId};
use holdfast_ledger::outcome::{Field, Refusal, Reply, Settled};

use super::{Model, Order, minor, over};

impl Model {
    pub(super) fn place_order(&mut self, buyer: UserId, wanted: &[Wanted]) -> Settled {
        let ids: Vec<TicketId> = wanted.iter().map(|wanted| wanted.ticket).collect();
        let twice = (1..ids.len()).any(|at| ids[..at].contains(&ids[at]));
        if ids.is_empty() || twice {
            return Err(Refusal::Invalid { field: Field::Tickets });
        }
        for wanted in wanted {
            self.check_wanted(buyer, wanted)?;
        }
        let currency = self.tickets[&ids[0]].currency;
        if ids.iter().any(|id| self.tickets[id].currency != currency) {
            return Err(Refusal::CurrenciesDiffer);
        }
        let max = self.policy.locks_per_user_max;
        if self.locks_of(buyer) + ids.len() > max as usize {
            return Err(Refusal::TooManyLocks { max });
        }
        let max = self.policy.tickets_per_order_max;
        if ids.len() > max as usize {
            return Err(Refusal::TooManyTickets { max });
        }
        let until_ms = self.users[&buyer].cooldown_until_ms;
        if self.now_ms < until_ms {
            return Err(Refusal::CoolingDown { until_ms });
        }
        let Some(Reply::Order { order: id, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(!self.orders.contains_key(&id), "a new order has a new id");
        let mut lines = Vec::new();
        for ticket_id in ids {
            let ticket = self.tickets.get_mut(&ticket_id).expect("a ticket");
            ticket.version += 1;
            let before = std::mem::replace(&mut ticket.holding, Holding::Locked { order: id });
            lines.push((ticket_id, ticket.price_minor));
            if let Holding::Offered { place, .. } = before {
                self.place_is(place, PlaceStatus::Taken { order: id });
            }
        }
        let order = Order {
            version: 0,
            user: buyer,
            status: OrderStatus::Created,
            lines,
            deadline_ms: self.now_ms + self.policy.lock_ttl_ms,
            extensions: 0,
            grace_given: false,
            payments: Vec::new(),
        };
        self.orders.insert(id, order);
        Ok(Reply::Order { order: id, version: 0 })
    }

    pub(super) fn check_wanted(&self, buyer: UserId, wanted: &Wanted) -> Result<(), Refusal> {
        let id = wanted.ticket;
        let ticket = self.tickets.get(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if ticket.withdrawn {
            return Err(Refusal::TicketWithdrawn { ticket: id });
        }
        match ticket.holding {
            Holding::Sold { .. } => return Err(Refusal::TicketSold { ticket: id }),
            Holding::Locked { order } if self.orders[&order].user == buyer => {
                return Err(Refusal::TicketReservedByYou { ticket: id, order });
            }
            Holding::Locked { order } => {
                return Err(Refusal::TicketReserved { ticket: id, deadline_ms: self.orders[&order].deadline_ms });
            }
            Holding::Offered { deadline_ms, user, .. } if user != buyer => {
                return Err(Refusal::TicketReserved { ticket: id, deadline_ms });
            }
            Holding::Free | Holding::Offered { .. } => (),
        }
        if ticket.sale_ends_ms.is_some_and(|ends_ms| self.now_ms >= ends_ms) {
            return Err(Refusal::SaleEnded { ticket: id });
        }
        if !self.users[&ticket.seller].in_good_standing() {
            return Err(Refusal::SellerBanned { ticket: id });
        }
        if ticket.seller == buyer {
            return Err(Refusal::OwnTicket { ticket: id });
        }
        let (seen_minor, fits) = match wanted.seen {
            Seen::Nothing => (None, true),
            Seen::Version(version) => (None, ticket.price_version <= version),
            Seen::Price(price) => {
                let seen = minor(price, ticket.currency)?;
                (Some(seen), seen == ticket.price_minor)
            }
            Seen::PriceMax(price) => {
                let seen = minor(price, ticket.currency)?;
                (Some(seen), ticket.price_minor <= seen)
            }
        };
        let (price_minor, currency, version) = (ticket.price_minor, ticket.currency, ticket.version);
        match fits {
            true => Ok(()),
            false => Err(Refusal::PriceChanged { ticket: id, seen_minor, price_minor, currency, version }),
        }
    }

    pub(super) fn cancel_order(&mut self, by: UserId, id: OrderId, version: Option<u64>) -> Settled {
        let order = self.own_order(by, id)?;
        match order.status {
            OrderStatus::Created => (),
            OrderStatus::AwaitingPayment => return Err(Refusal::PaymentInProgress { order: id }),
            ended => return Err(over(id, ended)),
        }
        if version.is_some_and(|version| version != order.version) {
            return Err(Refusal::VersionMismatch { version: order.version });
        }
        self.release(id, CancelReason::Buyer);
        Ok(Reply::Order { order: id, version: self.orders[&id].version })
    }

    pub(super) fn extend_lock(&mut self, by: UserId, id: OrderId) -> Settled {
        let (max, extension_ms) = (self.policy.lock_extensions_max, self.policy.lock_extension_ms);
        let order = self.own_order(by, id)?;
        match order.status {
            OrderStatus::Created => (),
            OrderStatus::AwaitingPayment => return Err(Refusal::PaymentInProgress { order: id }),
            ended => return Err(over(id, ended)),
        }
        if order.extensions >= max {
            return Err(Refusal::ExtensionsUsedUp { max });
        }
        let order = self.orders.get_mut(&id).expect("an order");
        order.version += 1;
        order.extensions += 1;
        order.deadline_ms += extension_ms;
        Ok(Reply::Order { order: id, version: order.version })
    }

    pub(super) fn own_order(&self, by: UserId, id: OrderId) -> Result<&Order, Refusal> {
        let order = self.orders.get(&id).ok_or(Refusal::OrderNotFound)?;
        if order.user == by { Ok(order) } else { Err(Refusal::NotOwner) }
    }

    pub(super) fn live_orders_of(&self, user: UserId) -> impl Iterator<Item = OrderId> + '_ {
        let live = move |(_, order): &(&OrderId, &Order)| order.user == user && order.status.holds_tickets();
        self.orders.iter().filter(live).map(|(id, _)| *id)
    }

    /// Tickets that the user's live locks hold.
    pub fn locks_of(&self, user: UserId) -> usize {
        self.live_orders_of(user).map(|id| self.orders[&id].lines.len()).sum()
    }

    pub(super) fn end_due(&mut self) {
        self.end_due_offers();
        let due = |(_, order): &(&OrderId, &Order)| order.status.holds_tickets() && order.deadline_ms <= self.now_ms;
        let mut due: Vec<(u64, OrderId)> =
            self.orders.iter().filter(due).map(|(id, order)| (order.deadline_ms, *id)).collect();
        due.sort();
        for (deadline_ms, id) in due {
            self.release(id, CancelReason::Expired);
            let account = self.users.get_mut(&self.orders[&id].user).expect("a buyer");
            account.expiries_in_row += 1;
            if account.expiries_in_row >= self.policy.cooldown_after_expiries {
                account.cooldown_until_ms = account.cooldown_until_ms.max(deadline_ms + self.policy.cooldown_ms);
            }
        }
    }

    /// Ends a live lock without a sale.
    pub(super) fn release(&mut self, id: OrderId, reason: CancelReason) {
        let order = self.orders.get_mut(&id).expect("an order");
        order.version += 1;
        order.status = OrderStatus::Cancelled(reason);
        for (ticket, _) in order.lines.clone() {
            self.free(ticket);
        }
    }

    pub(super) fn release_lock(&mut self, id: OrderId) -> Settled {
        match self.orders.get(&id).ok_or(Refusal::OrderNotFound)?.status {
            OrderStatus::Created | OrderStatus::AwaitingPayment => self.release(id, CancelReason::Operator),
            ended => return Err(over(id, ended)),
        }
        Ok(Reply::Order { order: id, version: self.orders[&id].version })
    }
}
