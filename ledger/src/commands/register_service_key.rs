//! `RegisterServiceKey`: publishes the public half of a service's signing key. By an operator or the cluster.
//!
//! A key id stands for one key of one service until it is revoked. Over the bound one must be revoked first: to drop one unasked
//! could stop a service that runs.
//!
//! Story: "services sign with keys of their own".

use super::unchanged;
use crate::command::Service;
use crate::entities::ServiceKey;
use crate::entry::{Caller, Decided, Entry};
use crate::limits::{KEY_ID_BYTES_MAX, PUBLIC_KEY_BYTES, SERVICE_KEYS_MAX};
use crate::outcome::{Bound, Field, Refusal, Reply};
use crate::query;
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(
    entry: &mut Entry<S>,
    caller: &Caller,
    service: Service,
    key_id: &str,
    public_key: &[u8],
) -> Decided {
    caller.operator()?;
    let invalid = Refusal::Invalid { field: Field::PublicKey };
    if key_id.is_empty() || key_id.len() > KEY_ID_BYTES_MAX || public_key.len() != PUBLIC_KEY_BYTES {
        return Err(invalid.into());
    }
    let keys = query::service_keys(entry.state)?;
    if let Some((_, registered)) = keys.iter().find(|(id, _)| id == key_id) {
        let same = registered.public_key == public_key && registered.service == service;
        return if same { unchanged() } else { Err(invalid.into()) };
    }
    if keys.len() >= SERVICE_KEYS_MAX {
        return Err(Refusal::TooMany { what: Bound::ServiceKeys, max: SERVICE_KEYS_MAX as u32 }.into());
    }
    let key = ServiceKey { service, public_key: public_key.to_vec(), registered_ms: entry.now_ms() };
    entry.state.insert(Table::ServiceKeys, key_id.as_bytes(), &key)?;
    Ok(Reply::Done)
}
