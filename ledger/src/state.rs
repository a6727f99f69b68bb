//! The state, and [`State::apply`].

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
    /// The first event still kept.
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

impl<S: Write> State<S> {
    /// Opens the state that `store` holds; an empty store is the empty state.
    pub fn open(_store: S) -> Result<State<S>, StoreError> {
        todo!()
    }

    /// Applies the entry at `index`. Total: every command has an outcome. Entries come in order, each once.
    pub fn apply(&mut self, _index: u64, _batch: &Batch) -> Result<Applied, StoreError> {
        todo!()
    }
}

impl<S: Read> State<S> {
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub fn store(&self) -> &S {
        &self.store
    }
}
