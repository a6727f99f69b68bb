//! `AckOutbox`: the stream has all events up to a number; the sweep may drop them once retention has passed. By the cluster.
//!
//! Story: "acknowledged events go after retention".

use super::unchanged;
use crate::entry::{Caller, Decided, Entry};
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, upto: u64) -> Decided {
    caller.system()?;
    let meta = entry.meta();
    if upto > meta.event_seq {
        return Err(Refusal::Invalid { field: Field::Upto }.into());
    }
    if upto <= meta.outbox_acked {
        return unchanged();
    }
    meta.outbox_acked = upto;
    Ok(Reply::Done)
}
