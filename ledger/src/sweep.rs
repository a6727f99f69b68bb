//! What every entry does after its commands: reclaim and drop what is due, a bounded number of each.
//!
//! What is left over stays due: the leader proposes ticks while [`State::has_due`] says so.

use crate::entry::Entry;
use crate::event::Event;
use crate::keys;
use crate::rows::decode;
use crate::state::{Meta, State};
use crate::store::{Order, Read, StoreError, Write};
use crate::tables::Table;

impl<S: Read> State<S> {
    /// Reads anew what runs out first.
    pub(crate) fn read_fronts(&mut self) -> Result<(), StoreError> {
        self.read_deadline_front()?;
        self.read_request_front()?;
        self.read_idempotency_front()?;
        self.read_outbox_front()
    }

    pub(crate) fn read_deadline_front(&mut self) -> Result<(), StoreError> {
        self.fronts.deadline_ms = self.first_time_ms(Table::Deadlines)?;
        Ok(())
    }

    pub(crate) fn read_request_front(&mut self) -> Result<(), StoreError> {
        self.fronts.request_ms = self.first_time_ms(Table::RequestsByEnd)?;
        Ok(())
    }

    pub(crate) fn read_idempotency_front(&mut self) -> Result<(), StoreError> {
        self.fronts.idempotency_ms = self.first_time_ms(Table::IdempotencyByAge)?;
        Ok(())
    }

    fn first_time_ms(&self, table: Table) -> Result<Option<u64>, StoreError> {
        Ok(self.keys(table, &[], 1)?.first().and_then(|key| keys::time_ms(key)))
    }

    fn read_outbox_front(&mut self) -> Result<(), StoreError> {
        let first: Option<Event> = self.row(Table::Outbox, &self.meta.outbox_first.to_be_bytes())?;
        self.fronts.outbox_ms = first.map(|event| event.time_ms);
        Ok(())
    }

    /// Whether a sweep would drop an event: the stream has it, and retention has passed it.
    pub(crate) fn outbox_is_due(&self) -> bool {
        let Meta { outbox_first, outbox_acked, now_ms, .. } = self.meta;
        outbox_first <= outbox_acked
            && self.fronts.outbox_ms.is_some_and(|ms| ms + self.meta.policy.outbox_retention_ms <= now_ms)
    }

    /// Events that the stream has not got yet.
    pub(crate) fn outbox_waiting(&self) -> u64 {
        self.meta.event_seq - self.meta.outbox_acked
    }
}

impl<S: Write> Entry<'_, S> {
    /// At most `sweep_entries_max` each of locks and offers, places, requests, idempotency records and events.
    pub fn sweep(&mut self) -> Result<(), StoreError> {
        let max = self.state.meta.policy.sweep_entries_max as usize;
        self.sweep_locks(max)?;
        self.sweep_lines(max)?;
        self.sweep_requests(max)?;
        self.sweep_idempotency(max)?;
        self.sweep_outbox(max)
    }

    fn sweep_outbox(&mut self, max: usize) -> Result<(), StoreError> {
        if !self.state.outbox_is_due() {
            return Ok(());
        }
        let (first, to) =
            (self.state.meta.outbox_first.to_be_bytes(), (self.state.meta.outbox_acked + 1).to_be_bytes());
        let acked = self.state.store.range(Table::Outbox, &first, Some(&to), Order::Ascending, max)?;
        let retention_ms = self.state.meta.policy.outbox_retention_ms;
        for (key, row) in &acked {
            let event: Event = decode(Table::Outbox, key, row)?;
            if event.time_ms + retention_ms > self.now_ms() {
                break;
            }
            self.state.remove(Table::Outbox, key)?;
            self.meta().outbox_first += 1;
        }
        self.state.read_outbox_front()
    }
}

#[cfg(test)]
mod tests;
