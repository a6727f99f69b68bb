//! The state, and [`State::apply`]: one entry at a time, in order, with the same result on every node.
//!
//! `apply` moves ledger time forward, runs the entry's commands one by one, then does one bounded sweep of what is due, and
//! writes the meta row. What a command may do stands in `commands/`; how rows are written and hashed in `rows.rs`.
//!
//! What this deliberately does not do: roll back. A command checks first and writes after, so a refusal leaves nothing
//! half-done; a [`StoreError`] in the middle of an entry ends the node, which applies the entry anew from what was stored.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::command::Batch;
use crate::entities::{PaymentStatus, Policy};
use crate::entry::Entry;
use crate::limits::{ENTRY_COMMANDS_MAX, TIME_MS_MAX};
use crate::outcome::{Applied, Refusal};
use crate::planted::{Bug, at_work};
use crate::rows::row_hash;
use crate::store::{Read, StoreError, Write};
use crate::tables::Table;
use crate::version::{FIRST, Version};

/// The one row of [`Table::Meta`](crate::tables::Table::Meta).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Ledger time, milliseconds since the Unix epoch. Never goes back.
    pub now_ms: u64,
    /// The last entry applied here.
    pub index: u64,
    pub lineage: u16,
    /// What the cluster is at: rows are written as this version has them.
    pub version: Version,
    /// The number of the last event emitted.
    pub event_seq: u64,
    /// The stream has all events up to here.
    pub outbox_acked: u64,
    /// How often the stream has lost some that it had.
    pub outbox_losses: u32,
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
    /// Live places in lines.
    pub places_live: u64,
    /// Lines whose places are being ended.
    pub lines_closing: u64,
    pub payments_open: u64,
    /// Payments by their status, in the order of [`PaymentStatus::ALL`].
    pub payments: [u64; PaymentStatus::ALL.len()],
    pub idempotency_records: u64,
    /// The number of the last row of the audit.
    pub audit_seq: u64,
    /// So many of its first rows are not kept any more.
    pub audit_dropped: u64,
    /// The hash of its last row, which stands for all before.
    pub audit_hash: [u8; 32],
    /// The hash of the last row that is not kept: what the first that is kept follows.
    pub audit_anchor: [u8; 32],
    pub policy: Policy,
    /// Sum modulo 2^128 of the hashes of all other rows.
    pub rows_hash: u128,
}

/// The replicated state on some store.
pub struct State<S> {
    pub(crate) store: S,
    pub(crate) meta: Meta,
    pub(crate) fronts: Fronts,
    /// Where rows are encoded before they are hashed and stored.
    pub(crate) scratch: Vec<u8>,
    /// What the build could write, for [`Bug::EncodeByBuild`].
    #[cfg(feature = "planted")]
    pub(crate) build_version: Version,
}

/// Nothing runs out before these times. They are kept beside the store, so that an entry which has nothing to sweep reads
/// nothing, and read anew when ledger time reaches them: what was first may have ended in another way meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fronts {
    /// Of live locks and offers.
    pub deadline_ms: Option<u64>,
    /// When requests run out.
    pub request_ms: Option<u64>,
    /// When idempotency records were written.
    pub idempotency_ms: Option<u64>,
    /// When the events still kept were emitted.
    pub outbox_ms: Option<u64>,
}

impl<S: Read> State<S> {
    /// Opens the state that `store` holds; an empty store is the empty state.
    pub fn open(store: S) -> Result<State<S>, StoreError> {
        let mut state = State {
            store,
            meta: Meta::default(),
            fronts: Fronts::default(),
            scratch: Vec::new(),
            #[cfg(feature = "planted")]
            build_version: FIRST,
        };
        state.reload()?;
        Ok(state)
    }

    /// Reads anew what is kept beside the store, after its owner has put the store back to before an entry that failed.
    pub fn reload(&mut self) -> Result<(), StoreError> {
        let stored: Option<Meta> = self.row(Table::Meta, &[])?;
        self.meta = stored.unwrap_or_else(|| Meta { outbox_first: 1, version: FIRST, ..Meta::default() });
        self.read_fronts()
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, for what its owner does beside the rows. Whoever changes a row here breaks the state hash.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    pub fn into_store(self) -> S {
        self.store
    }

    /// Equal on two replicas that have applied the same entries: the sum of the hashes of all rows.
    pub fn state_hash(&self) -> u128 {
        let meta = Meta { rows_hash: 0, ..self.meta.clone() };
        self.meta.rows_hash.wrapping_add(row_hash(Table::Meta, &[], &codec::encode(&meta)))
    }

    /// No lock or offer runs out before this, ledger time in milliseconds: then the leader proposes a `Tick`. Never late; early
    /// where the one that was next has ended in another way.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.fronts.deadline_ms
    }

    /// Whether a `Tick` at the present ledger time would still reclaim or drop something.
    pub fn has_due(&self) -> bool {
        self.lock_is_due()
            || self.line_is_closing()
            || self.request_is_due()
            || self.idempotency_is_due()
            || self.outbox_is_due()
    }
}

impl<S: Write> State<S> {
    /// Applies the entry at `index`. Total: every command has an outcome. Entries come in order, each once.
    ///
    /// After an error part of the entry may have been written: the state is not to be used any more, unless the store is put
    /// back to before the entry and the state [reloaded](State::reload).
    pub fn apply(&mut self, index: u64, batch: &Batch) -> Result<Applied, StoreError> {
        assert!(index > self.meta.index, "entries come in order: {index} after {}", self.meta.index);
        self.meta.index = index;
        let back_ms = if at_work(Bug::TimeGoesBack) { self.meta.now_ms } else { 0 };
        self.meta.now_ms = (self.meta.now_ms - back_ms).max(batch.time_ms.min(TIME_MS_MAX));
        let mut entry = Entry::new(self);
        let fits = batch.commands.len() <= ENTRY_COMMANDS_MAX;
        let mut outcomes = Vec::with_capacity(batch.commands.len());
        for submitted in &batch.commands {
            outcomes.push(if fits { entry.decide(submitted)? } else { entry.refused(Refusal::EntryTooLarge) });
        }
        let events = entry.finish()?;
        Ok(Applied { index, time_ms: self.meta.now_ms, outcomes, events })
    }
}

#[cfg(not(feature = "planted"))]
impl<S> State<S> {
    /// How rows are written.
    pub(crate) fn rows_version(&self) -> Version {
        self.meta.version
    }
}

#[cfg(feature = "planted")]
impl<S> State<S> {
    /// How rows are written.
    pub(crate) fn rows_version(&self) -> Version {
        if at_work(Bug::EncodeByBuild) { self.build_version } else { self.meta.version }
    }

    /// Tells what the build could write, for [`Bug::EncodeByBuild`].
    pub fn built_for(&mut self, version: Version) {
        self.build_version = version;
    }
}

#[cfg(feature = "planted")]
impl<S: Write> State<S> {
    /// Forgets all idempotency records, as the state of a snapshot that was made without them.
    pub fn forget_keys(&mut self) -> Result<(), StoreError> {
        let mut entry = Entry::new(self);
        entry.forget_all()?;
        entry.finish().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Actor, Command};
    use crate::market::{Market, OPENING_MS};

    #[test]
    fn a_state_that_is_opened_again_goes_on_as_if_it_had_not_been_closed() {
        let mut market = Market::open();
        let mut reopened = State::open(market.state.store().clone()).expect("a store in memory");
        assert_eq!(reopened.state_hash(), market.state.state_hash());
        assert_eq!((reopened.meta(), reopened.fronts), (market.state.meta(), market.state.fronts));
        let deadline_ms = market.state.next_deadline_ms().expect("locks live");
        let index = market.state.meta().index + 1;
        let outcome = market.ask_at(deadline_ms, &Actor::System, None, Command::Tick);
        let submitted = crate::command::Submitted { actor: Actor::System, idempotency: None, command: Command::Tick };
        let applied = reopened.apply(index, &Batch { time_ms: deadline_ms, commands: vec![submitted] });
        assert_eq!(applied.expect("a store in memory").outcomes, [outcome]);
        assert_eq!(reopened.state_hash(), market.state.state_hash());
    }

    #[test]
    fn what_an_entry_left_half_done_is_gone_after_the_store_is_put_back() {
        let mut market = Market::open();
        let (before, hash) = (market.state.store().clone(), market.state.state_hash());
        market.ask_at(OPENING_MS + 1, &Actor::System, None, Command::BanUser { user: market.bob });
        assert_ne!(market.state.state_hash(), hash);
        *market.state.store_mut() = before;
        market.state.reload().expect("a store in memory");
        assert_eq!(market.state.state_hash(), hash);
    }

    #[test]
    #[should_panic(expected = "entries come in order")]
    fn an_entry_is_applied_once() {
        let mut market = Market::open();
        let index = market.state.meta().index;
        let _ = market.state.apply(index, &Batch { time_ms: OPENING_MS, commands: Vec::new() });
    }
}
