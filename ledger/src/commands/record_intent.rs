//! `RecordIntent`: the provider's id of an attempt, recorded before it is confirmed, so that whoever takes over finds it.
//!
//! The same id again changes nothing; another id for the same attempt is a conflict.
//!
//! Story: "pay and complete".

use super::unchanged;
use crate::entities::PaymentStatus;
use crate::entry::{Caller, Decided, Entry};
use crate::event::EventType;
use crate::id::PaymentId;
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;
use crate::wording::check_provider_text;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, id: PaymentId, intent_id: &str) -> Decided {
    caller.payments()?;
    check_provider_text(intent_id, Field::IntentId)?;
    let mut payment = entry.payment(id)?.ok_or(Refusal::PaymentNotFound)?;
    if payment.intent_id.as_deref() == Some(intent_id) {
        return unchanged();
    }
    if payment.intent_id.is_some() || payment.status != PaymentStatus::Requested {
        return Err(Refusal::PaymentConflict.into());
    }
    entry.update_payment(id, &mut payment, EventType::PaymentUpdated, |payment| {
        payment.intent_id = Some(intent_id.to_string());
    })?;
    Ok(Reply::Done)
}
