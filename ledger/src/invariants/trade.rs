//! Tickets, orders and payments: who holds what, at which price, and whose money may move.

use super::Scan;
use crate::changes::{is_available, is_listed};
use crate::entities::{Holding, Order, OrderStatus, Payment, PaymentStatus, PaymentStep, Ticket};
use crate::id::{OrderId, PaymentId, TicketId};
use crate::keys;
use crate::money::PRICE_MINOR_MAX;
use crate::store::{Read, StoreError};
use crate::tables::Table;
use crate::words::ticket_words;

impl<S: Read> Scan<'_, S> {
    pub(super) fn check_ticket(&mut self, key: &[u8], ticket: &Ticket) -> Result<(), StoreError> {
        let id = TicketId(self.id(Table::Tickets, key, 0)?);
        self.counts.tickets += 1;
        self.counts.tickets_withdrawn += u64::from(ticket.withdrawn);
        self.check_versions(id.0, ticket.version)?;
        self.check_holding(id, ticket)?;
        self.check_line(id, ticket)?;
        let watchers = self.count(Table::Watchers, key)?;
        self.holds(u64::from(ticket.watchers) == watchers, || {
            format!("ticket {id} says {} watchers, a scan {watchers}", ticket.watchers)
        });
        let price_ok = (1..=PRICE_MINOR_MAX).contains(&ticket.price_minor) && ticket.price_version <= ticket.version;
        self.holds(price_ok, || {
            format!("ticket {id} costs {} since version {}", ticket.price_minor, ticket.price_version)
        });
        self.index(Table::TicketsBySeller, &keys::pair(ticket.seller.0, id.0), &())?;
        if let Some(external_id) = &ticket.external_id {
            self.index(Table::TicketsByExternalId, &keys::text(ticket.seller.0, external_id), &id)?;
        }
        if is_available(ticket) {
            self.index(Table::TicketsAvailable, key, &())?;
        }
        if is_listed(ticket) {
            for word in ticket_words(&ticket.title, &ticket.details) {
                self.index(Table::TicketsByWord, &keys::word(&word, id.0), &())?;
            }
        }
        Ok(())
    }

    /// The order that holds a ticket knows of it; a ticket names one order, so no two hold it.
    fn check_holding(&mut self, id: TicketId, ticket: &Ticket) -> Result<(), StoreError> {
        let (order_id, sold) = match ticket.holding {
            Holding::Free => {
                let put_off = ticket.price_next_minor.is_some() || ticket.withdraw_at_release;
                self.holds(!put_off, || format!("ticket {id} is free and waits for its release"));
                return Ok(());
            }
            Holding::Offered { .. } => return self.check_offer(id, ticket),
            Holding::Locked { order } => (order, false),
            Holding::Sold { order } => (order, true),
        };
        self.counts.tickets_sold += u64::from(sold);
        self.holds(!ticket.withdrawn, || format!("ticket {id} is withdrawn and held"));
        let order: Order = self.state.row_required(Table::Orders, order_id.as_bytes())?;
        let status_fits = if sold { order.status == OrderStatus::Complete } else { order.status.holds_tickets() };
        let line = order.lines.iter().find(|line| line.ticket == id);
        let price_fits = line.is_some_and(|line| line.price_minor == ticket.price_minor);
        self.holds(status_fits && price_fits, || {
            format!("ticket {id} at {} is held by order {order_id}, which says {order:?}", ticket.price_minor)
        });
        Ok(())
    }

    pub(super) fn check_order(&mut self, key: &[u8], order: &Order) -> Result<(), StoreError> {
        let id = OrderId(self.id(Table::Orders, key, 0)?);
        let holds = order.status.holds_tickets();
        self.counts.orders += 1;
        self.counts.orders_live += u64::from(holds);
        self.counts.orders_complete += u64::from(order.status == OrderStatus::Complete);
        self.check_versions(id.0, order.version)?;
        self.index(Table::OrdersByUser, &keys::pair(order.user.0, id.0), &())?;
        if holds {
            self.counts.locks_live += order.lines.len() as u64;
            self.index(Table::LocksByUser, &keys::pair(order.user.0, id.0), &())?;
            self.index(Table::Deadlines, &keys::deadline(order.deadline_ms, id.0), &())?;
        }
        self.check_lines(id, order)?;
        self.check_attempts(id, order)
    }

    /// A live order holds all its tickets, a complete one has bought them, a cancelled one has none of them.
    fn check_lines(&mut self, id: OrderId, order: &Order) -> Result<(), StoreError> {
        self.holds(!order.lines.is_empty(), || format!("order {id} has no tickets"));
        for (at, line) in order.lines.iter().enumerate() {
            let ticket: Ticket = self.state.row_required(Table::Tickets, line.ticket.as_bytes())?;
            let fits = match order.status {
                OrderStatus::Created | OrderStatus::AwaitingPayment => ticket.holding == Holding::Locked { order: id },
                OrderStatus::Complete => ticket.holding == Holding::Sold { order: id },
                OrderStatus::Cancelled(_) => {
                    ticket.holding != Holding::Locked { order: id } && ticket.holding != Holding::Sold { order: id }
                }
            };
            let once = order.lines[..at].iter().all(|other| other.ticket != line.ticket);
            let known = line.ticket_version <= ticket.version && order.currency == ticket.currency;
            self.holds(fits && once && known, || {
                format!("order {id} is {:?}, its ticket {} {:?}", order.status, line.ticket, ticket.holding)
            });
        }
        Ok(())
    }

    /// At most the last attempt may have money, and only where the order is complete.
    fn check_attempts(&mut self, id: OrderId, order: &Order) -> Result<(), StoreError> {
        for (at, payment_id) in order.payments.iter().enumerate() {
            let payment: Payment = self.state.row_required(Table::Payments, payment_id.as_bytes())?;
            let is_last = at + 1 == order.payments.len();
            let ended = matches!(payment.status, PaymentStatus::Declined | PaymentStatus::Voided);
            let fits = match order.status {
                OrderStatus::Complete if is_last => {
                    has_or_gets_money(&payment) || payment.status == PaymentStatus::Refunded
                }
                OrderStatus::AwaitingPayment if is_last => !ended && !has_or_gets_money(&payment),
                OrderStatus::Cancelled(_) => !has_or_gets_money(&payment) && payment.status != PaymentStatus::Refunded,
                _ => ended,
            };
            let belongs = payment.order == id && payment.attempt as usize == at + 1;
            self.holds(fits && belongs, || format!("order {id} is {:?}, its payment {payment:?}", order.status));
        }
        let paid_for = !matches!(order.status, OrderStatus::Complete | OrderStatus::AwaitingPayment);
        self.holds(paid_for || !order.payments.is_empty(), || {
            format!("order {id} is {:?} without a payment", order.status)
        });
        Ok(())
    }

    pub(super) fn check_payment(&mut self, key: &[u8], payment: &Payment) -> Result<(), StoreError> {
        let id = PaymentId(self.id(Table::Payments, key, 0)?);
        self.check_versions(id.0, payment.version)?;
        self.counts.payments[payment.status as usize] += 1;
        if payment.next.is_some() {
            self.counts.payments_open += 1;
            self.index(Table::PaymentsOpen, key, &())?;
        }
        let next_fits = match payment.status {
            PaymentStatus::Requested => payment.next == Some(PaymentStep::Authorize),
            PaymentStatus::Authorized => matches!(payment.next, Some(PaymentStep::Capture | PaymentStep::Void)),
            PaymentStatus::Captured => matches!(payment.next, None | Some(PaymentStep::Refund)),
            _ => payment.next.is_none(),
        };
        let token_fits = payment.token.is_some() == (payment.status == PaymentStatus::Requested);
        let action_fits = payment.action_url.is_none() || payment.token.is_some();
        self.holds(next_fits && token_fits && action_fits, || {
            format!(
                "payment {id} is {:?}, next {:?}, token kept: {}",
                payment.status,
                payment.next,
                payment.token.is_some()
            )
        });
        let order: Order = self.state.row_required(Table::Orders, payment.order.as_bytes())?;
        let listed = order.payments.contains(&id) && order.user == payment.user && order.fence == payment.fence;
        let charged = payment.amount_minor == order.total_minor() && payment.currency == order.currency;
        self.holds(listed && charged, || format!("payment {id} is not its order's: {payment:?}, {order:?}"));
        Ok(())
    }
}

/// The money has moved or is about to.
fn has_or_gets_money(payment: &Payment) -> bool {
    matches!(payment.status, PaymentStatus::Captured | PaymentStatus::CaptureFailed)
        || payment.next == Some(PaymentStep::Capture)
}
