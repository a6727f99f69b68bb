//! Payments: what the bank says, and what becomes of the order.

use holdfast_ledger::command::Command;
use holdfast_ledger::entities::{CancelReason, Fence, Holding, OrderStatus, PaymentStatus, PaymentStep};
use holdfast_ledger::id::{OrderId, PaymentId, TicketId, UserId};
use holdfast_ledger::outcome::{Refusal, Reply, Settled};

use super::{Model, Order, Payment, over};

impl Model {
    pub(super) fn begin_payment(&mut self, by: UserId, id: OrderId) -> Settled {
        let (max, grace_ms, now_ms) = (self.policy.payment_attempts_max, self.policy.payment_grace_ms, self.now_ms);
        let order = self.own_order(by, id)?;
        match order.status {
            OrderStatus::Created => (),
            OrderStatus::AwaitingPayment | OrderStatus::Complete => {
                return Ok(Reply::Payment { payment: *order.payments.last().expect("a payment"), order: id });
            }
            ended => return Err(over(id, ended)),
        }
        if order.payments.len() >= max as usize {
            return Err(Refusal::AttemptsUsedUp { max });
        }
        let Some(Reply::Payment { payment: payment_id, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(!self.payments.contains_key(&payment_id), "a new payment has a new id");
        let order = self.orders.get_mut(&id).expect("an order");
        order.version += 1;
        order.status = OrderStatus::AwaitingPayment;
        if !order.grace_given {
            order.grace_given = true;
            order.deadline_ms = order.deadline_ms.max(now_ms + grace_ms);
        }
        order.payments.push(payment_id);
        let payment = Payment {
            version: 0,
            order: id,
            status: PaymentStatus::Requested,
            next: Some(PaymentStep::Authorize),
            intent_id: None,
        };
        self.payments.insert(payment_id, payment);
        Ok(Reply::Payment { payment: payment_id, order: id })
    }

    pub(super) fn bank(&mut self, command: &Command) -> Settled {
        use PaymentStatus::*;
        let id = match command {
            Command::RecordIntent { payment, .. }
            | Command::RecordAuthorized { payment, .. }
            | Command::RecordDeclined { payment, .. }
            | Command::RecordCaptured { payment }
            | Command::RecordCaptureFailed { payment, .. }
            | Command::RecordVoided { payment }
            | Command::RecordRefunded { payment } => *payment,
            other => unreachable!("a walk does not ask {other:?}"),
        };
        let payment = self.payments.get(&id).ok_or(Refusal::PaymentNotFound)?;
        let order = payment.order;
        match (command, payment.status, payment.next) {
            (Command::RecordIntent { intent_id, .. }, ..) => return self.record_intent(id, intent_id),
            (Command::RecordAuthorized { fence, .. }, Requested, _) => return self.record_authorized(id, *fence),
            (Command::RecordDeclined { .. }, Requested, _) => {
                self.moved(id, Declined, None);
                self.attempt_failed(order, id);
                return Ok(Reply::Payment { payment: id, order });
            }
            (Command::RecordVoided { .. }, Requested, _)
            | (Command::RecordVoided { .. }, Authorized, Some(PaymentStep::Void)) => {
                self.moved(id, Voided, None);
                self.attempt_failed(order, id);
            }
            (Command::RecordCaptured { .. }, Authorized, Some(PaymentStep::Capture))
            | (Command::RecordCaptured { .. }, CaptureFailed, _) => self.moved(id, Captured, None),
            (Command::RecordCaptureFailed { .. }, Authorized, Some(PaymentStep::Capture)) => {
                self.moved(id, CaptureFailed, None)
            }
            (Command::RecordRefunded { .. }, Captured, Some(PaymentStep::Refund)) => self.moved(id, Refunded, None),
            (Command::RecordAuthorized { .. }, Authorized | Captured | CaptureFailed | Voided | Refunded, _)
            | (Command::RecordDeclined { .. }, Declined, _)
            | (Command::RecordCaptured { .. }, Captured | Refunded, _)
            | (Command::RecordCaptureFailed { .. }, CaptureFailed, _)
            | (Command::RecordVoided { .. }, Voided, _)
            | (Command::RecordRefunded { .. }, Refunded, _) => return Ok(Reply::Unchanged),
            _ => return Err(Refusal::PaymentConflict),
        }
        Ok(Reply::Done)
    }

    pub(super) fn moved(&mut self, id: PaymentId, status: PaymentStatus, next: Option<PaymentStep>) {
        let payment = self.payments.get_mut(&id).expect("a payment");
        payment.version += 1;
        payment.status = status;
        payment.next = next;
    }

    pub(super) fn record_intent(&mut self, id: PaymentId, intent_id: &str) -> Settled {
        let payment = self.payments.get_mut(&id).expect("a payment");
        match &payment.intent_id {
            Some(known) if known == intent_id => Ok(Reply::Unchanged),
            None if payment.status == PaymentStatus::Requested => {
                payment.version += 1;
                payment.intent_id = Some(intent_id.into());
                Ok(Reply::Done)
            }
            _ => Err(Refusal::PaymentConflict),
        }
    }

    /// The pivot: whoever holds the lock buys; who lost it may get it back while nothing has changed; else the money goes back.
    pub(super) fn record_authorized(&mut self, id: PaymentId, fence: Fence) -> Settled {
        let order_id = self.payments[&id].order;
        // An order is granted by the entry that made its id.
        if fence.index != order_id.0.log_index() {
            self.moved(id, PaymentStatus::Authorized, Some(PaymentStep::Void));
            return Err(Refusal::StaleFence);
        }
        let buys = self.buys(&self.orders[&order_id], id);
        self.moved(id, PaymentStatus::Authorized, Some(if buys { PaymentStep::Capture } else { PaymentStep::Void }));
        if buys {
            self.sell(order_id);
        }
        Ok(Reply::Payment { payment: id, order: order_id })
    }

    pub(super) fn buys(&self, order: &Order, payment: PaymentId) -> bool {
        let as_it_was = |(ticket, price_minor): &(TicketId, u64)| {
            let ticket = &self.tickets[ticket];
            ticket.holding == Holding::Free
                && !ticket.withdrawn
                && ticket.price_minor == *price_minor
                && self.users[&ticket.seller].in_good_standing()
        };
        order.payments.last() == Some(&payment)
            && match order.status {
                OrderStatus::AwaitingPayment => true,
                OrderStatus::Cancelled(CancelReason::Expired) => {
                    self.users[&order.user].in_good_standing() && order.lines.iter().all(as_it_was)
                }
                _ => false,
            }
    }

    pub(super) fn sell(&mut self, id: OrderId) {
        let order = self.orders.get_mut(&id).expect("an order");
        order.version += 1;
        order.status = OrderStatus::Complete;
        self.users.get_mut(&order.user).expect("a buyer").expiries_in_row = 0;
        for (ticket_id, _) in order.lines.clone() {
            let ticket = self.tickets.get_mut(&ticket_id).expect("a ticket");
            ticket.version += 1;
            ticket.holding = Holding::Sold { order: id };
            ticket.price_next_minor = None;
            ticket.withdraw_at_release = false;
            self.close_line(ticket_id);
        }
    }

    /// The bank's no: another attempt while the policy allows it, else the end of the order that waited for this one.
    pub(super) fn attempt_failed(&mut self, id: OrderId, payment: PaymentId) {
        let attempts_max = self.policy.payment_attempts_max as usize;
        let order = self.orders.get_mut(&id).expect("an order");
        if order.status != OrderStatus::AwaitingPayment || order.payments.last() != Some(&payment) {
            return;
        }
        if order.payments.len() < attempts_max {
            order.version += 1;
            order.status = OrderStatus::Created;
        } else {
            self.release(id, CancelReason::PaymentFailed);
        }
    }

    pub(super) fn request_refund(&mut self, id: OrderId) -> Settled {
        use PaymentStatus::*;
        let order = self.orders.get(&id).ok_or(Refusal::OrderNotFound)?;
        if order.status != OrderStatus::Complete {
            return Err(Refusal::NotRefundable { order: id });
        }
        let payment = *order.payments.last().expect("a complete order was paid");
        match (self.payments[&payment].status, self.payments[&payment].next) {
            (Captured, None) => self.moved(payment, Captured, Some(PaymentStep::Refund)),
            (Captured, Some(_)) | (Refunded, _) => return Ok(Reply::Unchanged),
            _ => return Err(Refusal::NotRefundable { order: id }),
        }
        Ok(Reply::Payment { payment, order: id })
    }
}
