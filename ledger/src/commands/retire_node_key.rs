//! `RetireNodeKey`: no session is trusted for this key's signature any more. By an operator or the cluster.
//!
//! The key stays, for the tickets that it has signed stay good.
//!
//! Story: "a node registers its key once".

use super::unchanged;
use crate::entities::NodeKey;
use crate::entry::{Caller, Decided, Entry};
use crate::outcome::{Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, key_id: &str) -> Decided {
    caller.operator()?;
    let key: Option<NodeKey> = entry.state.row(Table::NodeKeys, key_id.as_bytes())?;
    let key = key.ok_or(Refusal::KeyNotFound)?;
    if key.retired_ms.is_some() {
        return unchanged();
    }
    let retired_ms = Some(entry.now_ms());
    entry.state.put(Table::NodeKeys, key_id.as_bytes(), &NodeKey { retired_ms, ..key })?;
    Ok(Reply::Done)
}
