//! `RecordDeclined`: the bank said no.
//!
//! The order is cancelled and its tickets are free, as in the original; while policy allows another attempt and the lease is
//! live, the order goes back to `created` instead. A repeat changes nothing.
//!
//! Story: "decline cancels".

use super::unchanged;
use crate::entities::PaymentStatus;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::PaymentId;
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;
use crate::wording::check_provider_text;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: PaymentId, failure: &str) -> Decided {
    caller.payments()?;
    check_provider_text(failure, Field::Failure)?;
    let mut payment = entry.payment(id)?.ok_or(Refusal::PaymentNotFound)?;
    match payment.status {
        PaymentStatus::Requested => {}
        PaymentStatus::Declined => return unchanged(),
        _ => return Err(Refusal::PaymentConflict.into()),
    }
    entry.reclaim_user(payment.user)?;
    entry.update_payment(id, &mut payment, EventType::PaymentUpdated, |payment| {
        payment.status = PaymentStatus::Declined;
        payment.next = None;
        payment.failure = Some(failure.to_string());
    })?;
    entry.payment_failed(payment.order, id)?;
    Ok(Reply::Payment { payment: id, order: payment.order })
}
