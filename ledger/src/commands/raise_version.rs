//! `RaiseVersion`: from here on the cluster works by a newer version. By an operator, through the leader, which has looked that
//! every member knows it; there is no way back.
//!
//! Story: "version is raised once and written down".

use crate::entry::{Caller, Decided, Entry};
use crate::outcome::{Field, Refusal, Reply};
use crate::store::Write;
use crate::version::Version;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller, to: Version) -> Decided {
    caller.operator()?;
    let meta = entry.meta();
    if to <= meta.version {
        return Err(Refusal::Invalid { field: Field::Version }.into());
    }
    meta.version = to;
    Ok(Reply::Done)
}
