//! `SetPolicy`: the rules that operators may change, within bounds that keep every sum and every entry finite. By the cluster.
//!
//! A new policy counts for what comes after it: deadlines that were given stay.
//!
//! Story: "extension once".

use crate::entities::Policy;
use crate::entry::{Caller, Decided, Entry};
use crate::limits::{
    LINE_PLACES_MAX, LOCKS_PER_USER_MAX, ORDER_PAYMENTS_MAX, ORDER_TICKETS_MAX, SESSIONS_PER_USER_MAX,
    SWEEP_ENTRIES_MAX, USER_INTERESTS_MAX,
};
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const YEAR_MS: u64 = 366 * DAY_MS;
const GRACE_MS_MAX: u64 = 120_000;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, policy: &Policy) -> Decided {
    caller.system()?;
    if !is_within_bounds(policy) {
        return Err(Refusal::Invalid { field: Field::Policy }.into());
    }
    entry.meta().policy = policy.clone();
    Ok(Reply::Done)
}

fn is_within_bounds(policy: &Policy) -> bool {
    let lock = (1..=DAY_MS).contains(&policy.lock_ttl_ms)
        && policy.lock_extension_ms <= DAY_MS
        && policy.lock_extensions_max <= 100
        && (1..=LOCKS_PER_USER_MAX).contains(&policy.locks_per_user_max)
        && (1..=ORDER_TICKETS_MAX as u32).contains(&policy.tickets_per_order_max)
        && policy.cooldown_ms <= YEAR_MS;
    let payment = policy.payment_grace_ms <= GRACE_MS_MAX
        && (1..=ORDER_PAYMENTS_MAX as u32).contains(&policy.payment_attempts_max);
    let session = (1..=YEAR_MS).contains(&policy.session_ttl_ms)
        && (1..=SESSIONS_PER_USER_MAX).contains(&policy.sessions_per_user_max)
        && (1..=YEAR_MS).contains(&policy.request_ttl_ms);
    // Whoever retries while his lock lives must find his key.
    let idempotency = (policy.lock_ttl_ms.saturating_add(policy.payment_grace_ms)..=YEAR_MS)
        .contains(&policy.idempotency_ttl_ms)
        && policy.idempotency_keys_per_user_max >= 1
        && policy.idempotency_records_max >= 1;
    let kept = (1..=SWEEP_ENTRIES_MAX).contains(&policy.sweep_entries_max)
        && (1..=10_000).contains(&policy.history_per_entity_max)
        && policy.outbox_retention_ms <= YEAR_MS
        && policy.outbox_events_hard_max >= 1
        && policy.outbox_events_soft_max <= policy.outbox_events_hard_max;
    // None at all is a rule, too.
    let interest = (1..=DAY_MS).contains(&policy.offer_ttl_ms)
        && policy.line_places_per_ticket_max <= LINE_PLACES_MAX
        && policy.line_places_per_user_max <= USER_INTERESTS_MAX
        && policy.watches_per_user_max <= USER_INTERESTS_MAX
        && policy.audit_rows_max >= 1;
    interest && lock && payment && session && idempotency && kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_within_bounds_and_each_bound_counts() {
        let ok = Policy::default();
        assert!(is_within_bounds(&ok));
        for bad in [
            Policy { lock_ttl_ms: 0, ..ok.clone() },
            Policy { lock_ttl_ms: u64::MAX, ..ok.clone() },
            Policy { payment_grace_ms: 120_001, ..ok.clone() },
            Policy { payment_attempts_max: 11, ..ok.clone() },
            Policy { sweep_entries_max: 0, ..ok.clone() },
            Policy { idempotency_ttl_ms: ok.lock_ttl_ms, ..ok.clone() },
            Policy { outbox_events_soft_max: u64::MAX, ..ok.clone() },
            Policy { history_per_entity_max: 0, ..ok.clone() },
            Policy { session_ttl_ms: u64::MAX, ..ok.clone() },
            Policy { request_ttl_ms: 0, ..ok.clone() },
            Policy { offer_ttl_ms: u64::MAX, ..ok.clone() },
            Policy { line_places_per_ticket_max: LINE_PLACES_MAX + 1, ..ok.clone() },
            Policy { line_places_per_user_max: USER_INTERESTS_MAX + 1, ..ok.clone() },
            Policy { watches_per_user_max: u32::MAX, ..ok.clone() },
            Policy { audit_rows_max: 0, ..ok.clone() },
        ] {
            assert!(!is_within_bounds(&bad), "{bad:?}");
        }
    }
}
