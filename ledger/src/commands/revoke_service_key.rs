//! `RevokeServiceKey`: whatever this key signs counts no longer. By an operator or the cluster.
//!
//! Story: "services sign with keys of their own".

use crate::entry::{Caller, Decided, Entry};
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, key_id: &str) -> Decided {
    caller.operator()?;
    if entry.state.store.get(Table::ServiceKeys, key_id.as_bytes())?.is_none() {
        return Err(Refusal::KeyNotFound.into());
    }
    entry.state.remove(Table::ServiceKeys, key_id.as_bytes())?;
    Ok(Reply::Done)
}
