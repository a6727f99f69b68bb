//! `RecordCaptureFailed`: the provider will not move the money after all. The order stays complete; an operator decides.
//!
//! Story: "capture fails and an operator decides".

use super::unchanged;
use crate::entities::{PaymentStatus, PaymentStep};
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
    match (payment.status, payment.next) {
        (PaymentStatus::Authorized, Some(PaymentStep::Capture)) => {}
        (PaymentStatus::CaptureFailed, _) => return unchanged(),
        _ => return Err(Refusal::PaymentConflict.into()),
    }
    entry.update_payment(id, &mut payment, EventType::PaymentUpdated, |payment| {
        payment.status = PaymentStatus::CaptureFailed;
        payment.next = None;
        payment.failure = Some(failure.to_string());
    })?;
    Ok(Reply::Done)
}
