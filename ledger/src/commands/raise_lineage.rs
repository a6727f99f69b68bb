//! `RaiseLineage`: a restored or recovered ledger continues under a higher lineage, so that no id and no event number that
//! was lost is issued again. By the cluster.
//!
//! Story: "restored ledger issues no id twice".

use crate::entry::{Caller, Decided, Entry};
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, lineage: u16) -> Decided {
    caller.system()?;
    let meta = entry.meta();
    if lineage <= meta.lineage {
        return Err(Refusal::Invalid { field: Field::Lineage }.into());
    }
    meta.lineage = lineage;
    Ok(Reply::Done)
}
