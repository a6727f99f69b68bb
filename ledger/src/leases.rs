//! Leases, which are locks and offers: how they end, and how those that are due are reclaimed.
//!
//! A lease is over the moment ledger time reaches its deadline, whoever looks: a command first reclaims every due lease that it
//! can see. The sweep at the end of an entry only tidies up; it never changes what is decided. What becomes of a ticket whose lock
//! has ended stands in `line.rs`.

use crate::entities::{CancelReason, Holding, Order, OrderStatus, Policy, Ticket, User};
use crate::entry::Entry;
use crate::event::EventType;
use crate::id::{ID_BYTES, OrderId, PaymentId, PlaceId, TicketId, UserId};
use crate::keys;
use crate::limits::ORDER_PAYMENTS_MAX;
use crate::planted::{self, Bug, at_work};
use crate::rows::damaged;
use crate::state::State;
use crate::store::{Order as Direction, Read, StoreError, Write};
use crate::tables::Table;

impl<S: Read> State<S> {
    /// Whether some lock or offer may have run out that is not reclaimed yet. Exact after an entry, since its sweep looks.
    pub(crate) fn lock_is_due(&self) -> bool {
        self.fronts.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= self.over_until_ms())
    }

    /// A lock whose deadline is not after this is over.
    pub(crate) fn over_until_ms(&self) -> u64 {
        self.meta.now_ms + if at_work(Bug::ReclaimEarly) { 1_000 } else { 0 }
    }
}

impl<S: Write> Entry<'_, S> {
    /// Ends a live lock without a sale: the order is cancelled, its tickets are free again.
    pub fn cancel_order(&mut self, id: OrderId, order: &mut Order, reason: CancelReason) -> Result<(), StoreError> {
        assert!(order.status.holds_tickets(), "only a live order is cancelled");
        self.update_order(id, order, EventType::OrderCancelled, |order| {
            order.status = OrderStatus::Cancelled(reason);
        })?;
        if reason == CancelReason::Expired {
            self.emit_expiration(id, order)?;
        }
        let mut user = self.user_required(order.user)?;
        user.locks_live -= order.lines.len() as u32;
        if reason == CancelReason::Expired {
            count_expiry(&mut user, order, &self.state.meta.policy);
        }
        self.put_user(order.user, &user);
        for line in &order.lines {
            let mut ticket = self.ticket_required(line.ticket)?;
            assert_eq!(ticket.holding, Holding::Locked { order: id }, "a live order holds its tickets");
            self.free_ticket(line.ticket, &mut ticket, Some(id))?;
        }
        Ok(())
    }

    /// Ends a live lock with a sale, or sells what an expired order had locked and is still free.
    pub fn complete_order(&mut self, id: OrderId, order: &mut Order) -> Result<(), StoreError> {
        let live = order.status.holds_tickets();
        let event_type = if live { EventType::OrderCompleted } else { EventType::OrderReinstated };
        let expected = if live { Holding::Locked { order: id } } else { Holding::Free };
        self.update_order(id, order, event_type, |order| order.status = OrderStatus::Complete)?;
        let mut user = self.user_required(order.user)?;
        if live {
            user.locks_live -= order.lines.len() as u32;
        }
        user.expiries_in_row = 0;
        self.put_user(order.user, &user);
        for line in &order.lines {
            let mut ticket = self.ticket_required(line.ticket)?;
            assert_eq!(ticket.holding, expected, "a ticket is sold once, to whoever holds it");
            self.update_ticket(line.ticket, &mut ticket, Some(id), |ticket| {
                ticket.holding = Holding::Sold { order: id };
                ticket.price_next_minor = None;
                ticket.withdraw_at_release = false;
            })?;
            self.close_line_if_gone(line.ticket, &mut ticket)?;
        }
        Ok(())
    }

    /// What becomes of an order whose payment came to nothing: back to `created` while another attempt is allowed, else
    /// cancelled. Nothing where the order does not wait for this payment. Due locks are reclaimed by then.
    pub fn payment_failed(&mut self, id: OrderId, payment: PaymentId) -> Result<(), StoreError> {
        let mut order = self.order_required(id)?;
        if order.status != OrderStatus::AwaitingPayment || order.payments.last() != Some(&payment) {
            return Ok(());
        }
        let attempts_max = self.state.meta.policy.payment_attempts_max.min(ORDER_PAYMENTS_MAX as u32);
        if order.payments.len() as u32 >= attempts_max {
            return self.cancel_order(id, &mut order, CancelReason::PaymentFailed);
        }
        self.update_order(id, &mut order, EventType::OrderUpdated, |order| order.status = OrderStatus::Created)
    }

    /// The ticket, after its lock or offer was reclaimed if that was due.
    pub fn ticket_seen(&mut self, id: TicketId) -> Result<Option<Ticket>, StoreError> {
        let Some(ticket) = self.ticket(id)? else { return Ok(None) };
        if !self.state.lock_is_due() {
            return Ok(Some(ticket));
        }
        match ticket.holding {
            Holding::Locked { order } => {
                let order = self.order_required(order)?;
                if order.deadline_ms > self.state.over_until_ms() {
                    return Ok(Some(ticket));
                }
                self.reclaim_locks(order.user)?;
            }
            Holding::Offered { place, deadline_ms, .. } if deadline_ms <= self.state.over_until_ms() => {
                self.pass_on(place)?
            }
            _ => return Ok(Some(ticket)),
        }
        self.ticket(id)
    }

    /// Reclaims what a user can see of his own: his due locks, and what has become of his places in lines.
    pub fn reclaim_user(&mut self, user: UserId) -> Result<(), StoreError> {
        if !self.state.lock_is_due() && !self.state.line_is_closing() {
            return Ok(());
        }
        self.reclaim_locks(user)?;
        self.reclaim_places(user)
    }

    /// Reclaims the user's due locks, all of them (policy bounds how many a user has), in the sweep's order: which one counts
    /// last for a cool-down must not depend on who noticed.
    fn reclaim_locks(&mut self, user: UserId) -> Result<(), StoreError> {
        if !self.state.lock_is_due() {
            return Ok(());
        }
        let mut due = Vec::new();
        for id in self.locks_of(user)? {
            let order = self.order_required(id)?;
            if order.deadline_ms <= self.state.over_until_ms() {
                due.push((id, order));
            }
        }
        due.sort_by_key(|(id, order)| (order.deadline_ms, *id));
        due.iter_mut().try_for_each(|(id, order)| self.cancel_order(*id, order, CancelReason::Expired))
    }

    /// Cancels the user's live orders.
    pub fn cancel_orders_of(&mut self, user: UserId, reason: CancelReason) -> Result<(), StoreError> {
        for id in self.locks_of(user)? {
            let mut order = self.order_required(id)?;
            self.cancel_order(id, &mut order, reason)?;
        }
        Ok(())
    }

    fn locks_of(&mut self, user: UserId) -> Result<Vec<OrderId>, StoreError> {
        let locks_live = self.user(user)?.map_or(0, |user| user.locks_live);
        if locks_live == 0 {
            return Ok(Vec::new());
        }
        let keys = self.state.keys(Table::LocksByUser, user.as_bytes(), locks_live as usize)?;
        keys.iter().map(|key| order_at(Table::LocksByUser, key, ID_BYTES)).collect()
    }

    /// Reclaims what is due in the order of deadlines, at most `max` locks and offers.
    pub fn sweep_locks(&mut self, max: usize) -> Result<(), StoreError> {
        if !self.state.lock_is_due() {
            return Ok(());
        }
        let to = (self.now_ms() + 1).to_be_bytes();
        let due = self.state.store.range(Table::Deadlines, &[], Some(&to), Direction::Ascending, max)?;
        let due = if at_work(Bug::SweepUnordered) { planted::unordered(due) } else { due };
        for (key, _) in &due {
            let id = order_at(Table::Deadlines, key, size_of::<u64>())?;
            match self.order(id)? {
                Some(mut order) => self.cancel_order(id, &mut order, CancelReason::Expired)?,
                None => self.pass_on(PlaceId(id.0))?,
            }
        }
        self.state.read_deadline_front()
    }
}

#[cfg(feature = "planted")]
const MOVED_LOCKS_MAX: usize = 1_000;

#[cfg(feature = "planted")]
impl<S: Write> Entry<'_, S> {
    /// Ends the locks that would be over if their deadlines had not been moved, for [`Bug::ReleaseOnStaleTick`].
    pub fn release_moved_locks(&mut self) -> Result<(), StoreError> {
        let locks = self.state.store.range(Table::Deadlines, &[], None, Direction::Ascending, MOVED_LOCKS_MAX)?;
        for (key, _) in locks {
            let id = order_at(Table::Deadlines, &key, size_of::<u64>())?;
            let mut order = self.order_required(id)?;
            if order.created_ms + self.state.meta.policy.lock_ttl_ms <= self.now_ms() {
                self.cancel_order(id, &mut order, CancelReason::Expired)?;
            }
        }
        self.state.read_deadline_front()
    }
}

#[cfg(not(feature = "planted"))]
impl<S: Write> Entry<'_, S> {
    /// Without the planted bugs there is nothing of the kind.
    pub fn release_moved_locks(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn order_at(table: Table, key: &[u8], at: usize) -> Result<OrderId, StoreError> {
    keys::id_at(key, at).map(OrderId).ok_or_else(|| damaged(table, key, "short key"))
}

/// The cool-down runs from the deadline, not from when somebody noticed.
fn count_expiry(user: &mut User, order: &Order, policy: &Policy) {
    user.expiries_in_row = user.expiries_in_row.saturating_add(1);
    if policy.cooldown_after_expiries > 0 && user.expiries_in_row >= policy.cooldown_after_expiries {
        user.cooldown_until_ms = user.cooldown_until_ms.max(order.deadline_ms + policy.cooldown_ms);
    }
}
