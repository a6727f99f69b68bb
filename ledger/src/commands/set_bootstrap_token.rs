//! `SetBootstrapToken`: the hash of the token that makes the first operator. By the cluster.
//!
//! Another one takes the place of one that nobody has used. Once one was used there is never another.
//!
//! Story: "the first operator claims his role once".

use crate::entities::Bootstrap;
use crate::entry::{Caller, Decided, Entry};
use crate::limits::TOKEN_HASH_BYTES;
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;
use crate::tables::Table;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, token_hash: &[u8]) -> Decided {
    caller.system()?;
    if token_hash.len() != TOKEN_HASH_BYTES {
        return Err(Refusal::Invalid { field: Field::TokenHash }.into());
    }
    let before: Option<Bootstrap> = entry.state.row(Table::Bootstrap, &[])?;
    if before.is_some_and(|before| before.claimed_by.is_some()) {
        return Err(Refusal::BootstrapClaimed.into());
    }
    let bootstrap = Bootstrap { token_hash: token_hash.to_vec(), set_ms: entry.now_ms(), claimed_by: None };
    entry.state.put(Table::Bootstrap, &[], &bootstrap)?;
    Ok(Reply::Done)
}
