//! `AckOutbox`: the stream has all events up to a number; the sweep may drop them once retention has passed. By the cluster.
//!
//! A stream can lose what it had. Then it is filled again, and what it is filled from must not be dropped meanwhile: the ledger
//! goes back to what the stream has. Losses are counted, so that an acknowledgement from before one cannot come late and undo it.
//!
//! Stories: "acknowledged events go after retention", "what a stream has lost is kept until it has it again".

use super::unchanged;
use crate::entry::{Caller, Decided, Entry};
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, upto: u64, losses: u32) -> Decided {
    caller.system()?;
    let meta = entry.meta();
    if upto > meta.event_seq {
        return Err(Refusal::Invalid { field: Field::Upto }.into());
    }
    if losses == meta.outbox_losses && upto > meta.outbox_acked {
        meta.outbox_acked = upto;
    } else if losses.checked_sub(1) == Some(meta.outbox_losses) {
        meta.outbox_losses = losses;
        // What is not kept any more cannot be waited for.
        meta.outbox_acked = upto.max(meta.outbox_first - 1);
    } else {
        return unchanged();
    }
    Ok(Reply::Done)
}
