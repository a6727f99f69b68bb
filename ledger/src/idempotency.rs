//! What a user was told under an idempotency key: asked again, he is told the same, by every node and after every fail-over.
//!
//! A record stays for `idempotency_ttl_ms` of ledger time. Over the global bound the sweep drops records earlier, but none
//! that is younger than a lock can get by its first payment: whoever retries while his lock lives is never in doubt.
//!
//! Not remembered are refusals that say nothing about the request itself (not signed in, too many …, try later): the same
//! key may be tried again.

use crate::command::{Actor, IdempotencyKey, Submitted};
use crate::entities::{IdempotencyRecord, SignedIn};
use crate::entry::{Entry, settle};
use crate::id::UserId;
use crate::keys;
use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::outcome::{Field, Outcome, Refusal, Reply, Settled};
use crate::planted::{Bug, at_work};
use crate::rows::damaged;
use crate::state::State;
use crate::store::{Order, Read, StoreError, Write};
use crate::tables::Table;

impl<S: Read> State<S> {
    /// Records written up to this time are dropped now.
    fn idempotency_horizon_ms(&self) -> Option<u64> {
        let policy = &self.meta.policy;
        let kept_ms = if self.meta.idempotency_records > policy.idempotency_records_max {
            policy.lock_ttl_ms + policy.payment_grace_ms
        } else {
            policy.idempotency_ttl_ms
        };
        self.meta.now_ms.checked_sub(kept_ms)
    }

    /// Whether a sweep would drop a record.
    pub(crate) fn idempotency_is_due(&self) -> bool {
        let horizon_ms = self.idempotency_horizon_ms();
        self.fronts.idempotency_ms.is_some_and(|oldest_ms| horizon_ms.is_some_and(|horizon| oldest_ms <= horizon))
    }
}

impl<S: Write> Entry<'_, S> {
    /// The outcome that the key stands for already: the remembered one, or why the key cannot be used.
    pub fn remembered(&mut self, user: UserId, key: &IdempotencyKey) -> Result<Option<Outcome>, StoreError> {
        if key.key.is_empty() || key.key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Ok(Some(self.refused(Refusal::Invalid { field: Field::IdempotencyKey })));
        }
        if at_work(Bug::IgnoreKeys) {
            return Ok(None);
        }
        let row_key = keys::text(user.0, &key.key);
        let record: Option<IdempotencyRecord> = self.state.row(Table::Idempotency, &row_key)?;
        if let Some(record) = record {
            if self.now_ms() < record.recorded_ms + self.state.meta.policy.idempotency_ttl_ms {
                let same = record.request_hash == key.request_hash;
                return Ok(Some(match same {
                    true => Outcome { settled: record.settled, decided_at: record.index, replayed: true },
                    false => self.refused(Refusal::IdempotencyKeyReused),
                }));
            }
            self.forget(&row_key, record.recorded_ms)?;
        }
        let max = self.state.meta.policy.idempotency_keys_per_user_max;
        let used_up = self.user_required(user)?.idempotency_records >= max;
        Ok(used_up.then(|| self.refused(Refusal::TooManyIdempotencyKeys { max })))
    }

    /// What a user was told who comes under an older epoch because of what he was told: his session went on under the present
    /// epoch, but that answer was lost on its way to him, and he asks again.
    pub fn remembered_of_older_epoch(&mut self, submitted: &Submitted) -> Result<Option<Outcome>, StoreError> {
        let (Actor::User(old), Some(key)) = (&submitted.actor, &submitted.idempotency) else { return Ok(None) };
        let record: Option<IdempotencyRecord> =
            self.state.row(Table::Idempotency, &keys::text(old.user.0, &key.key))?;
        let Some(record) = record.filter(|record| record.request_hash == key.request_hash) else { return Ok(None) };
        let is_kept = self.now_ms() < record.recorded_ms + self.state.meta.policy.idempotency_ttl_ms;
        let Ok(Reply::SignedIn { user, session, epoch }) = record.settled else { return Ok(None) };
        if !is_kept || (user, session) != (old.user, old.session) {
            return Ok(None);
        }
        let holds = settle(self.check_signed_in(&SignedIn { user, session, epoch }))?.is_ok();
        let told = Outcome { settled: record.settled, decided_at: record.index, replayed: true };
        Ok(holds.then_some(told))
    }

    /// Keeps what was decided under a key that [`Entry::remembered`] found free.
    pub fn remember(&mut self, user: UserId, key: &IdempotencyKey, settled: &Settled) -> Result<(), StoreError> {
        if settled.as_ref().is_err_and(may_be_tried_again) || at_work(Bug::IgnoreKeys) {
            return Ok(());
        }
        let recorded_ms = self.now_ms();
        let index = self.state.meta.index;
        let record = IdempotencyRecord { request_hash: key.request_hash, settled: settled.clone(), index, recorded_ms };
        let row_key = keys::text(user.0, &key.key);
        self.state.insert(Table::Idempotency, &row_key, &record)?;
        self.state.mark(Table::IdempotencyByAge, &keys::aged(recorded_ms, &row_key))?;
        self.state.fronts.idempotency_ms.get_or_insert(recorded_ms);
        self.meta().idempotency_records += 1;
        let mut account = self.user_required(user)?;
        account.idempotency_records += 1;
        self.put_user(user, &account);
        Ok(())
    }

    /// Drops every record, for [`Bug::DropKeysAtSnapshot`].
    #[cfg(feature = "planted")]
    pub(crate) fn forget_all(&mut self) -> Result<(), StoreError> {
        for (key, _) in self.state.store.range(Table::Idempotency, &[], None, Order::Ascending, usize::MAX)? {
            let record: IdempotencyRecord = self.state.row_required(Table::Idempotency, &key)?;
            self.forget(&key, record.recorded_ms)?;
        }
        self.state.read_idempotency_front()
    }

    /// Drops one record.
    fn forget(&mut self, row_key: &[u8], recorded_ms: u64) -> Result<(), StoreError> {
        self.state.remove(Table::Idempotency, row_key)?;
        self.state.unmark(Table::IdempotencyByAge, &keys::aged(recorded_ms, row_key))?;
        self.meta().idempotency_records -= 1;
        let user = keys::id_at(row_key, 0).ok_or_else(|| damaged(Table::Idempotency, row_key, "short key"))?;
        let mut account = self.user_required(UserId(user))?;
        account.idempotency_records -= 1;
        self.put_user(UserId(user), &account);
        Ok(())
    }

    /// Drops what is too old, oldest first, at most `max` records.
    pub fn sweep_idempotency(&mut self, max: usize) -> Result<(), StoreError> {
        let mut left = max;
        // Over the global bound no more than the excess at once: below it the horizon moves back.
        while left > 0 && self.state.idempotency_is_due() {
            let over =
                self.state.meta.idempotency_records.saturating_sub(self.state.meta.policy.idempotency_records_max);
            let chunk = if over > 0 { left.min(over as usize) } else { left };
            let horizon = self.state.idempotency_horizon_ms().unwrap_or(0);
            let to = (horizon + 1).to_be_bytes();
            let due = self.state.store.range(Table::IdempotencyByAge, &[], Some(&to), Order::Ascending, chunk)?;
            for (key, _) in &due {
                let recorded_ms = keys::time_ms(key);
                let recorded_ms = recorded_ms.ok_or_else(|| damaged(Table::IdempotencyByAge, key, "short key"))?;
                self.forget(&key[8..], recorded_ms)?;
            }
            left -= due.len();
            self.state.read_idempotency_front()?;
        }
        Ok(())
    }
}

/// Whether a refusal says nothing about the request itself.
fn may_be_tried_again(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotSignedIn
            | Refusal::Banned
            | Refusal::Forbidden
            | Refusal::IdempotencyKeyReused
            | Refusal::TooManyIdempotencyKeys { .. }
            | Refusal::TooMany { .. }
            | Refusal::TooManyTickets { .. }
            | Refusal::TooManyLocks { .. }
            | Refusal::CoolingDown { .. }
            | Refusal::OutboxFull
            | Refusal::EntryTooLarge
    )
}
