//! `RegisterNodeKey`: publishes the public half of a node's signing key. By the cluster.
//!
//! A key id stands for one key for ever. Over the bound the key registered first is dropped.
//!
//! Story: "a node registers its key once".

use super::unchanged;
use crate::entities::NodeKey;
use crate::entry::{Caller, Decided, Entry};
use crate::limits::{KEY_ID_BYTES_MAX, NODE_KEYS_MAX, PUBLIC_KEY_BYTES};
use crate::outcome::{Field, Refusal, Reply};
use crate::query;
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, key_id: &str, public_key: &[u8]) -> Decided {
    caller.system()?;
    let invalid = Refusal::Invalid { field: Field::PublicKey };
    if key_id.is_empty() || key_id.len() > KEY_ID_BYTES_MAX || public_key.len() != PUBLIC_KEY_BYTES {
        return Err(invalid.into());
    }
    let keys = query::node_keys(entry.state)?;
    if let Some((_, registered)) = keys.iter().find(|(id, _)| id == key_id) {
        return if registered.public_key == public_key { unchanged() } else { Err(invalid.into()) };
    }
    if keys.len() >= NODE_KEYS_MAX
        && let Some((first, _)) = keys.iter().min_by_key(|(id, key)| (key.registered_ms, id.as_str()))
    {
        entry.state.remove(Table::NodeKeys, first.as_bytes())?;
    }
    let key = NodeKey { public_key: public_key.to_vec(), registered_ms: entry.now_ms(), retired_ms: None };
    entry.state.insert(Table::NodeKeys, key_id.as_bytes(), &key)?;
    Ok(Reply::Done)
}
