//! Rules that operators may change.

use serde::{Deserialize, Serialize};

/// Rules that operators may change; part of the state, so that every node applies the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub lock_ttl_ms: u64,
    pub lock_extension_ms: u64,
    pub lock_extensions_max: u32,
    /// Given once, when payment begins: at most 120 s.
    pub payment_grace_ms: u64,
    pub payment_attempts_max: u32,
    pub locks_per_user_max: u32,
    pub tickets_per_order_max: u32,
    /// After this many locks in a row that ran out …
    pub cooldown_after_expiries: u32,
    /// … no new lock for this long.
    pub cooldown_ms: u64,
    pub session_ttl_ms: u64,
    pub sessions_per_user_max: u32,
    pub idempotency_ttl_ms: u64,
    pub idempotency_keys_per_user_max: u32,
    pub idempotency_records_max: u64,
    pub sweep_entries_max: u32,
    pub history_per_entity_max: u64,
    /// Acknowledged events stay this long.
    pub outbox_retention_ms: u64,
    /// An alert at this many events that the stream has not got yet.
    pub outbox_events_soft_max: u64,
    /// At this many new locks are refused; what ends a lock always passes.
    pub outbox_events_hard_max: u64,
    /// How long a ticket is kept for the next in line.
    pub offer_ttl_ms: u64,
    pub line_places_per_ticket_max: u32,
    pub line_places_per_user_max: u32,
    pub watchers_per_ticket_max: u32,
    pub watches_per_user_max: u32,
    /// What a mail carries is good for this long.
    pub request_ttl_ms: u64,
    /// Of what operators did, the last so many are kept.
    pub audit_rows_max: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        const MINUTE_MS: u64 = 60_000;
        const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
        Policy {
            lock_ttl_ms: 15 * MINUTE_MS,
            lock_extension_ms: 5 * MINUTE_MS,
            lock_extensions_max: 1,
            payment_grace_ms: 2 * MINUTE_MS,
            payment_attempts_max: 1,
            locks_per_user_max: 20,
            tickets_per_order_max: 10,
            cooldown_after_expiries: 5,
            cooldown_ms: 10 * MINUTE_MS,
            session_ttl_ms: 30 * DAY_MS,
            sessions_per_user_max: 20,
            idempotency_ttl_ms: DAY_MS,
            idempotency_keys_per_user_max: 10_000,
            idempotency_records_max: 10_000_000,
            sweep_entries_max: 1_000,
            history_per_entity_max: 200,
            outbox_retention_ms: DAY_MS,
            outbox_events_soft_max: 5_000_000,
            outbox_events_hard_max: 50_000_000,
            offer_ttl_ms: 5 * MINUTE_MS,
            line_places_per_ticket_max: 1_000,
            line_places_per_user_max: 20,
            watchers_per_ticket_max: 10_000,
            watches_per_user_max: 200,
            request_ttl_ms: 60 * MINUTE_MS,
            audit_rows_max: 100_000,
        }
    }
}
