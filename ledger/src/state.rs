//! The state, and [`State::apply`]: one entry at a time, in order, with the same result on every node.
//!
//! `apply` moves ledger time forward, runs the entry's commands one by one, then does one bounded sweep of what is due, and
//! writes the meta row. What a command may do stands in `commands/`; how rows are written and hashed in `rows.rs`.
//!
//! What this deliberately does not do: roll back. A command checks first and writes after, so a refusal leaves nothing
//! half-done; a [`StoreError`] in the middle of an entry ends the node, which applies the entry anew from what was stored.

use serde::{Deserialize, Serialize};

use crate::command::Batch;
use crate::entities::Policy;
use crate::outcome::Applied;
use crate::store::{Read, StoreError, Write};

/// The one row of [`Table::Meta`](crate::tables::Table::Meta).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Ledger time, milliseconds since the Unix epoch. Never goes back.
    pub now_ms: u64,
    /// The last entry applied here.
    pub index: u64,
    pub lineage: u16,
    /// The number of the last event emitted.
    pub event_seq: u64,
    /// The stream has all events up to here.
    pub outbox_acked: u64,
    /// The first event still kept; one past `event_seq` where none is.
    pub outbox_first: u64,
    /// Tickets that live locks hold.
    pub locks_live: u64,
    pub tickets: u64,
    pub tickets_sold: u64,
    pub tickets_withdrawn: u64,
    pub orders: u64,
    pub orders_live: u64,
    pub orders_complete: u64,
    pub users: u64,
    pub payments_open: u64,
    pub idempotency_records: u64,
    pub policy: Policy,
    /// Sum modulo 2^128 of the hashes of all other rows.
    pub rows_hash: u128,
}

/// The replicated state on some store.
pub struct State<S> {
    store: S,
    meta: Meta,
}

impl<S: Read> State<S> {
    /// Opens the state that `store` holds; an empty store is the empty state.
    pub fn open(_store: S) -> Result<State<S>, StoreError> {
        todo!()
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub fn store(&self) -> &S {
        &self.store
    }

    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    pub fn into_store(self) -> S {
        self.store
    }

    /// Equal on two replicas that have applied the same entries: the sum of the hashes of all rows.
    pub fn state_hash(&self) -> u128 {
        todo!()
    }

    /// When the next lock runs out, ledger time in milliseconds: then the leader proposes a `Tick`.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        todo!()
    }

    /// Whether a `Tick` at the present ledger time would still reclaim or drop something.
    pub fn has_due(&self) -> bool {
        todo!()
    }
}

impl<S: Write> State<S> {
    /// Applies the entry at `index`. Total: every command has an outcome. Entries come in order, each once.
    pub fn apply(&mut self, _index: u64, _batch: &Batch) -> Result<Applied, StoreError> {
        todo!()
    }
}
