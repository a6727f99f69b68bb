//! What was written down: the outbox is dense, and no entity's versions have a gap in events or history.

use super::Scan;
use crate::audit::row_digest;
use crate::entities::AuditRow;
use crate::event::{Event, EventType};
use crate::id::{ID_BYTES, Id};
use crate::keys;
use crate::rows::damaged;
use crate::store::{Order as Direction, Read, StoreError, prefix_end};
use crate::tables::Table;

impl<S: Read> Scan<'_, S> {
    pub(super) fn check_outbox(&mut self) -> Result<(), StoreError> {
        let meta = self.state.meta();
        let (first, last, acked) = (meta.outbox_first, meta.event_seq, meta.outbox_acked);
        self.holds(first <= acked + 1 && acked <= last, || {
            format!("outbox: first {first}, acknowledged {acked}, last {last}")
        });
        let count = self.count(Table::Outbox, &[])?;
        self.holds(count == last + 1 - first, || format!("outbox: {count} events from {first} to {last}"));
        self.each(Table::Outbox, Scan::check_event)
    }

    /// With the count, keys that equal their events' numbers and lie within the bounds make the sequence dense.
    fn check_event(&mut self, key: &[u8], event: &Event) -> Result<(), StoreError> {
        let meta = self.state.meta();
        let (first, now_ms, index) = (meta.outbox_first, meta.now_ms, meta.index);
        let numbered = key == event.seq.to_be_bytes() && event.seq >= first;
        self.holds(numbered, || damaged(Table::Outbox, key, "not the event of this number").to_string());
        let in_the_past = event.time_ms <= now_ms && event.index <= index;
        self.holds(in_the_past, || format!("event {} is from the future", event.seq));
        let (seq, entity, version) = (event.seq, event.entity, event.version);
        let before = self.last.insert(entity, version);
        // The original's event beside `order:cancelled` repeats its version.
        let repeats = event.event_type == EventType::ExpirationComplete;
        let expected = before.map(|before| if repeats { before } else { before + 1 });
        self.holds(expected.is_none_or(|expected| expected == version), || {
            format!("event {seq}: version {version} of {entity} after {before:?}")
        });
        self.holds(before.is_some() || first > 1 || version == 0, || {
            format!("event {seq}: {entity} begins at {version}")
        });
        Ok(())
    }

    /// The audit has all rows after its anchor, and each carries the hash of the one before.
    pub(super) fn check_audit(&mut self) -> Result<(), StoreError> {
        let meta = self.state.meta();
        let (last, hash) = (meta.audit_seq, meta.audit_hash);
        self.chain = (meta.audit_dropped, meta.audit_anchor);
        self.each(Table::Audit, Scan::check_audit_row)?;
        let chain = self.chain;
        self.holds(chain == (last, hash), || {
            format!("the audit ends with row {}, not with {last} and its hash", chain.0)
        });
        Ok(())
    }

    fn check_audit_row(&mut self, key: &[u8], row: &AuditRow) -> Result<(), StoreError> {
        let (before, previous_hash) = self.chain;
        let seq = before + 1;
        let follows = key == seq.to_be_bytes() && row.previous_hash == previous_hash;
        self.holds(follows && row.hash == row_digest(seq, row), || format!("row {seq} of the audit was changed"));
        self.chain = (seq, row.hash);
        Ok(())
    }

    /// The entity's last event and last change have its version, and what is kept before has no gap.
    pub(super) fn check_versions(&mut self, entity: Id, version: u64) -> Result<(), StoreError> {
        let last = self.last.get(&entity).copied();
        let emitted = last == Some(version) || (last.is_none() && self.state.meta().outbox_first > 1);
        self.holds(emitted, || format!("{entity} has version {version}, its last event {last:?}"));
        let to = prefix_end(entity.as_bytes());
        let store = self.state.store();
        let rows = store.range(Table::History, entity.as_bytes(), to.as_deref(), Direction::Ascending, usize::MAX)?;
        *self.indexed.entry(Table::History).or_default() += rows.len() as u64;
        let first = (version + 1).checked_sub(rows.len() as u64);
        let dense = first.is_some_and(|first| {
            (first..=version).zip(&rows).all(|(version, (key, _))| key[..] == keys::change(entity, version))
        });
        self.holds(dense && !rows.is_empty(), || format!("the history of {entity} up to version {version} has a gap"));
        for (key, row) in &rows {
            let change: crate::entities::Change = crate::rows::decode(Table::History, key, row)?;
            let in_the_past = change.index <= self.state.meta().index;
            self.holds(in_the_past && key.len() == ID_BYTES + 8, || {
                damaged(Table::History, key, "from the future").to_string()
            });
        }
        Ok(())
    }
}
