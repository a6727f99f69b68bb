//! `BeginPayment`: from here on the bank is asked. By the order's buyer.
//!
//! - The first payment of an order moves its deadline to now plus the grace, if that is later, once: a slow bank does not lose
//!   the seat.
//! - One payment at a time: a repeat answers with the payment that is under way or done, never with a second.
//! - A declined attempt may be followed by another within the lease, as often as policy allows.
//!
//! Stories: "pay and complete", "lock runs out while the bank is slow and the seat is still free", "two tabs".

use crate::entities::{Order, OrderStatus, Payment, PaymentStatus, PaymentStep};
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::{OrderId, PaymentId};
use crate::limits::ORDER_PAYMENTS_MAX;
use crate::outcome::{Field, Refusal, Reply};
use crate::planted::{Bug, at_work};
use crate::store::{StoreError, Write};
use crate::wording::check_provider_text;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: OrderId, token: &str) -> Decided {
    let user = caller.user()?;
    check_provider_text(token, Field::Token)?;
    let mut order = entry.order(id)?.ok_or(Refusal::OrderNotFound)?;
    if order.user != user {
        return Err(Refusal::NotOwner.into());
    }
    match (order.status, order.payments.last()) {
        (OrderStatus::Created, _) => {}
        (OrderStatus::AwaitingPayment | OrderStatus::Complete, Some(payment)) => {
            return Ok(Reply::Payment { payment: *payment, order: id });
        }
        (ended, _) => return Err(ended.refusal(id).into()),
    }
    let max = entry.state.meta.policy.payment_attempts_max.min(ORDER_PAYMENTS_MAX as u32);
    if order.payments.len() as u32 >= max {
        return Err(Refusal::AttemptsUsedUp { max }.into());
    }
    let payment = begin(entry, id, &mut order, token)?;
    Ok(Reply::Payment { payment, order: id })
}

fn begin<S: Write>(entry: &mut Entry<S>, id: OrderId, order: &mut Order, token: &str) -> Result<PaymentId, StoreError> {
    let payment_id = PaymentId(entry.mint());
    let created_ms = entry.now_ms();
    let grace_until_ms = created_ms + entry.state.meta.policy.payment_grace_ms;
    entry.update_order(id, order, EventType::OrderUpdated, |order| {
        order.status = OrderStatus::AwaitingPayment;
        order.payments.push(payment_id);
        if !order.grace_given {
            order.grace_given = true;
            order.deadline_ms = order.deadline_ms.max(grace_until_ms);
        }
    })?;
    let mut amount_minor = order.total_minor();
    if at_work(Bug::PriceNotFrozen) {
        amount_minor = 0;
        for line in &order.lines {
            amount_minor += entry.ticket_required(line.ticket)?.price_minor;
        }
    }
    let payment = Payment {
        version: 0,
        order: id,
        user: order.user,
        attempt: order.payments.len() as u32,
        status: PaymentStatus::Requested,
        next: Some(PaymentStep::Authorize),
        amount_minor,
        currency: order.currency,
        fence: order.fence,
        token: Some(token.to_string()),
        intent_id: None,
        action_url: None,
        failure: None,
        created_ms,
        changed_ms: created_ms,
    };
    entry.create_payment(payment_id, &payment)?;
    Ok(payment_id)
}
